"""docs/marketers.md promises nothing that is not there: its commands, its merge tags, its words, its pictures."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from collector.cli import make_app
from collector.links.clicks import CLASS_BY_LOOK, Look
from collector.links.judgement import is_unfilled

PAGE = Path(__file__).parent.parent / "docs" / "marketers.md"
TEXT = PAGE.read_text(encoding="utf-8")
MAX_PICTURE_BYTES = 150_000
OF_OPENS_ALONE = {Look.APPLE_PRIVACY, Look.IMAGE_PROXY}


def _list_commands() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("tagstitch ")]
    return sorted({*lines, *re.findall(r"`(tagstitch [^`]+)`", TEXT)})


@pytest.mark.parametrize("line", _list_commands())
def test_every_command_is_there(line: str) -> None:
    """With every option that is given to it."""
    command: Any = typer.main.get_command(make_app())
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        assert words[0] in command.commands
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_merge_tag_is_known_unfilled() -> None:
    """Whatever the recipes put behind `lt=` is told from a forged token where a sender leaves it as it is."""
    tags = [tag.replace("\\|", "|") for tag in re.findall(r"&lt=((?:\\\||[^`])+)` \|", TEXT)]
    assert len(tags) >= 8
    for tag in tags:
        assert is_unfilled(tag), tag


def test_every_class_and_reason_is_explained() -> None:
    """The table says what the code does."""
    for look in Look:
        if look in OF_OPENS_ALONE:
            continue
        [row] = re.findall(rf"^\|.*`{look}`.*\|$", TEXT, re.MULTILINE)
        if look in CLASS_BY_LOOK:
            assert row.startswith(f"| {CLASS_BY_LOOK[look]} |")


def test_the_pictures_are_small() -> None:
    """And each says in words what it shows."""
    found = re.findall(r"!\[([^\]]{30,})\]\((marketers/[^)]+\.png)\)", TEXT)
    assert sorted(name for _, name in found) == [
        f"marketers/{path.name}" for path in sorted((PAGE.parent / "marketers").iterdir())
    ]
    for _, name in found:
        assert (PAGE.parent / name).stat().st_size < MAX_PICTURE_BYTES


def test_every_anchor_of_the_page_is_there() -> None:
    """The list at its head leads somewhere."""
    heads = {
        re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-")
        for head in re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    }
    for anchor in re.findall(r"\]\(#([^)]+)\)", TEXT):
        assert anchor in heads
