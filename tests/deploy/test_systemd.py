"""The systemd units, as systemd itself judges them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import typer

from collector.cli import make_app
from collector.config import ENVIRONMENT_PREFIX, Config
from tests.deploy.tools import DEPLOY, need_program

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
WORST_EXPOSURE = 15  # tenths; systemd calls everything up to 49 medium or better

INSTALL = "as root on Debian, apt-get install systemd"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they would be installed, with a program that is really there."""
    folder = tmp_path / "units"
    shutil.copytree(DEPLOY / "systemd", folder)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/tagstitch/bin/tagstitch", sys.executable))
    return folder


def test_systemd_takes_every_unit(installed: Path) -> None:
    """`systemd-analyze verify` accepts all units together and has nothing to remark."""
    program = need_program("systemd-analyze", INSTALL)
    units = sorted(str(path) for path in installed.iterdir() if path.suffix in {".service", ".target"})
    done = subprocess.run(
        [program, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(units) == 8


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_are_locked_down(installed: Path, unit: Path) -> None:
    """systemd's own measure of exposure (0 best, 10 worst) stays at or under 1.5 for every unit."""
    program = need_program("systemd-analyze", INSTALL)
    done = subprocess.run(
        [
            program,
            "security",
            "--offline=true",
            f"--threshold={WORST_EXPOSURE}",
            "--no-pager",
            str(installed / unit.name),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_say_only_what_the_program_knows(unit: Path) -> None:
    """Every command that a unit starts, every option of it and every setting in its environment exists."""
    text = unit.read_text()
    words = re.findall(r"^ExecStart=/opt/tagstitch/bin/tagstitch (.+)$", text, re.MULTILINE)
    assert len(words) == 1
    command, *options = words[0].split()
    commands = typer.main.get_command(make_app()).commands  # type: ignore[attr-defined]  # a group has them
    assert command in commands
    known = {
        option for parameter in commands[command].params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {option for option in options if option.startswith("--")} <= known
    settings = re.findall(rf"{ENVIRONMENT_PREFIX}([A-Z_]+)=", text)
    assert {name.lower() for name in settings} - {"name"} <= {item.name for item in msgspec.structs.fields(Config)}


def test_only_the_engine_may_make_code_at_run_time() -> None:
    """All roles but ClickHouse are denied memory that is both writable and executable."""
    allowed = {unit.name for unit in UNITS if "MemoryDenyWriteExecute=no" in unit.read_text()}
    denied = {unit.name for unit in UNITS if "MemoryDenyWriteExecute=yes" in unit.read_text()}
    assert allowed == {"tagstitch.service", "tagstitch-engine.service"}
    assert denied == {
        *("tagstitch-web@.service", "tagstitch-load.service"),
        *("tagstitch-stitch.service", "tagstitch-activate.service", "tagstitch-govern.service"),
    }
