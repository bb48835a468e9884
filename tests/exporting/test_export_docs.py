"""docs/exports.md: its commands do what it says, and it names every column, option and refusal."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.endpoints.exports import DEFAULT_LIMIT, MESSAGES, MOST_ROWS
from collector.exporting import customers, history, members
from collector.exporting.cells import FORMULA_SIGNS
from collector.exporting.files import ENDINGS
from tests.exporting.shop import fill, make_options
from tests.instance_process import run_command
from tests.running_store import RunningStore, running_store

PAGE = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- tested: sh -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = "".join(BLOCKS).splitlines()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as running:
        fill(running)
        yield running


@pytest.mark.engine
def test_the_commands_are_taken(store: RunningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand on the page; the audience of the page is that of the test's shop."""
    monkeypatch.chdir(tmp_path)
    options = make_options(store, tmp_path)
    assert len(COMMANDS) == 7
    for line in COMMANDS[:-1]:
        words = [word.replace("lamp_lovers", "buyers") for word in shlex.split(line)[1:]]
        done = run_command(*words, "--force", *options)
        assert done.returncode == 0, (line, done.stderr)
        assert (tmp_path / words[words.index("--out") + 1]).stat().st_size > 0
    log = run_command(*shlex.split(COMMANDS[-1])[1:], *options)
    assert log.stdout.count("export") >= 6, log.stderr


def test_everything_is_named() -> None:
    """Columns, endings, signs, errors and bounds."""
    columns = (*members.COLUMNS, *customers.COLUMNS, *history.Timeline.columns, *history.Changes.columns)
    for name in {column.name for column in columns} | {*ENDINGS} | set(MESSAGES) - {"cursor"}:
        assert f"`{name}`" in PAGE, name
    for sign in FORMULA_SIGNS[:4]:
        assert f"`{sign}`" in PAGE
    assert f"{DEFAULT_LIMIT:,} members a page" in PAGE
    assert f"{MOST_ROWS:,} at most" in PAGE
