"""The benchmark of privacy: it erases, searches, and its figures are judged. No time is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.privacy.__main__ import app
from bench.privacy.erasing import find_hits, spell
from bench.privacy.figures import CANARY, ERASE_1M, find_all


def test_marks_are_found_in_every_form(tmp_path: Path) -> None:
    """An id as text, without its hyphens, as bytes, and as the store has it."""
    text = "00112233-4455-6677-8899-aabbccddeeff"
    forms = spell(text)
    assert len(set(forms)) == 4
    for number, form in enumerate(forms):
        (tmp_path / f"part{number}").write_bytes(b"before" + form + b"behind")
    (tmp_path / "none").write_bytes(b"00112233-4455-6677-8899-aabbccddeef")
    assert {path.name for path in find_hits(tmp_path, forms)} == {"part0", "part1", "part2", "part3"}


def test_figures_are_judged() -> None:
    """A single file with a mark misses the bound; what was not measured is open."""
    found = {one.figure.name: one for one in find_all({"canary_hits": [0, 1, 1], "erase_1m_s": [5.0]})}
    assert found[CANARY.name].verdict == "missed"
    assert found[ERASE_1M.name].verdict == "aim"
    assert found["erase_20m_s"].value is None


@pytest.mark.long
@pytest.mark.engine
def test_a_look(tmp_path: Path) -> None:
    """At a small size everything runs, and nothing is found."""
    to = tmp_path / "figures.json"
    options = ["--scale", "0.05", "--runs", "1", "--folder", str(tmp_path), "--json", str(to)]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    figures = {one["figure"]: one["value"] for one in json.loads(to.read_text())["figures"]}
    assert figures["canary_hits"] == 0
    assert all(value is not None for value in figures.values())
