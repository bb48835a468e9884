"""The operators' pages: their links lead somewhere, and what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from collector.config import ENVIRONMENT_PREFIX, Config
from tests.deploy.tools import DEPLOY, REPOSITORY

DECISIONS = sorted((REPOSITORY / "docs" / "adr").glob("*.md"))
PAGES = [
    *(REPOSITORY / name for name in ("SECURITY.md", "CONTRIBUTING.md")),
    *(REPOSITORY / "docs" / name for name in ("architecture.md", "operations.md", "deploy.md")),
    *DECISIONS,
]
COMPOSE_VARIABLES = {"publish", "site", "shop", "web", "store_memory", "admin", "log", "cluster_secret"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of the repository."""
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """What stands in the text as a path below collector/, deploy/, docs/, tests/ or tag_js/ is there."""
    named = re.findall(r"`((?:collector|deploy|docs|tests|tag_js)/[\w./-]+)`", page.read_text())
    assert not [name for name in named if not (REPOSITORY / name).exists()]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda path: path.stem)
def test_decisions_have_one_form(page: Path) -> None:
    """Number and title, then context, decision, consequences, what was refused; half a page, a whole one at most."""
    text = page.read_text()
    assert text.startswith(f"# {page.name[:4]}: ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences", "Refused"]
    assert 120 < len(text.split()) < 520


def test_decisions_are_numbered_without_a_gap() -> None:
    """0001, 0002, …"""
    assert [page.name[:4] for page in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_variables_are_settings(page: Path) -> None:
    """A TAGSTITCH_ variable in the text is a setting, the secrets, or one that compose.yaml or a sample reads."""
    names = {name.lower() for name in re.findall(rf"\b{ENVIRONMENT_PREFIX}([A-Z][A-Z_]*)", page.read_text())}
    known = {item.name for item in msgspec.structs.fields(Config)} | {"secrets", "name"} | COMPOSE_VARIABLES
    assert names <= known


def test_compose_variables_are_documented() -> None:
    """Every variable that compose.yaml reads from whoever starts it stands in docs/deploy.md."""
    read = set(re.findall(r"\$\{([A-Z_]+):-", (DEPLOY / "compose.yaml").read_text()))
    assert read
    page = (REPOSITORY / "docs" / "deploy.md").read_text()
    assert not [name for name in read if f"`{name}`" not in page]
