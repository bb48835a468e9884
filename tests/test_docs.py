"""The documents say what the program does: made parts are fresh, links lead somewhere, nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collector.config import Config
from collector.document import render_commands, render_privacy, render_settings
from collector.purposes import Purpose
from collector.reasons import Reason

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])


def test_the_settings_page_is_fresh() -> None:
    """Every setting is documented with its default; `make docs` writes the page."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == render_settings()
    for name in Config.__struct_fields__:
        assert f"`{name}`" in render_settings()


def test_the_table_of_purposes_is_fresh() -> None:
    """docs/privacy.md says what each purpose switches, as the code does; every purpose switches something."""
    text = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
    assert text == render_privacy(text)
    for purpose in Purpose:
        assert f"| `{purpose}` |" in text


def test_the_commands_page_is_fresh() -> None:
    """Every command is documented with its options; `make docs` writes the page."""
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert text == render_commands()
    for name in [
        "run",
        "web",
        "load",
        "stitch",
        "engine",
        "migrate",
        "sql",
        "link",
        "tail",
        "status",
        "snippet",
        "doctor",
    ]:
        assert f"## tagstitch {name}\n" in text
    assert "## tagstitch site add" in text
    assert "## tagstitch key create" in text


def test_every_reason_is_explained() -> None:
    """Whoever is refused finds the reason in docs/wire-format.md."""
    text = (ROOT / "docs" / "wire-format.md").read_text(encoding="utf-8")
    for reason in Reason:
        assert f"`{reason}`" in text, reason


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """No page points at a file that is not there."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target


def test_no_page_names_this_machine() -> None:
    """The repository speaks of the project alone: no paths of somebody's machine."""
    for page in PAGES:
        assert not re.search(r"/(root|home)/\w|/work/", page.read_text(encoding="utf-8")), page


def test_the_changelog_has_its_form() -> None:
    """Keep a Changelog: an Unreleased part, and only its kinds of change."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
