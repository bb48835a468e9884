"""The table of `docs/reliability.md`: what ran is in it, what failed shows, what did not run stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.outcome import REPORT, chaos_case

EMPTY = f"# Page\n\n{report.BEGIN}\n{report.END}\n\nrest\n"


def test_cases_become_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a case are one line with their rounds added; one bad part makes it a failed one; the rest stays."""
    notes = tmp_path / "notes"
    monkeypatch.setenv(REPORT, str(notes))
    for rounds in (2, 1500):
        with chaos_case("kill | each", "kill -9", rounds) as outcome:
            outcome.found = "0 lost"
    with pytest.raises(AssertionError), chaos_case("bad", "flips", 7):
        raise AssertionError("3 lost\nmore")
    entries = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    page = report.render(EMPTY, report.sum_up(entries))
    assert "| kill / each | kill -9 | 1,502 | 0 lost |" in page
    assert "| bad | flips | 7 | **failed**, 1 of 1: AssertionError: 3 lost |" in page
    assert page.startswith("# Page\n")
    assert page.endswith("\n\nrest\n")

    del entries[-1]
    again = report.render(page, report.sum_up([{**entries[0], "case": "new"}]))
    assert again.count("| bad |") == again.count("| new |") == again.count("| kill / each |") == 1
    assert report.render(again, {}) == again


def test_page_has_its_marks() -> None:
    """The page that is published can be written anew."""
    page = report.PAGE.read_text(encoding="utf-8")
    assert report.render(page, {}) == page
