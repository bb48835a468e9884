"""docs/identity.md is current: each picture is what `resolve` says of its story today, each reason is explained."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from collector.identity.guards import GuardReason
from tests.identity.draw_cases import FOLDER, draw
from tests.identity.pictured_cases import STORIES, Story

PAGE = FOLDER.parent / "identity.md"


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_picture_is_current(story: Story) -> None:
    """`make docs` draws them anew."""
    assert (FOLDER / f"{story.name}.svg").read_text(encoding="utf-8") == draw(story)


def test_there_is_a_picture_for_each_story_and_no_other() -> None:
    """The eleven classic cases are among them."""
    assert {path.stem for path in FOLDER.glob("*.svg")} == {story.name for story in STORIES}
    assert {story.number for story in STORIES} >= {str(number) for number in range(1, 12)}


def test_the_page_shows_every_picture_with_its_sentence() -> None:
    """Who cannot see it reads it."""
    shown = dict(re.findall(r"!\[([^\]]+)\]\(identity/([a-z0-9-]+)\.svg\)", PAGE.read_text(encoding="utf-8")))
    assert {name: sentence for sentence, name in shown.items()} == {story.name: story.sentence for story in STORIES}


def test_the_page_explains_every_reason() -> None:
    """Whoever finds a word in the guard log finds it in the table."""
    explained = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(explained) == sorted(GuardReason)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_picture_can_be_read(story: Story) -> None:
    """Well-formed, with title and description for those who hear it, and nothing that is drawn beyond its edge."""
    root = ElementTree.fromstring(draw(story))
    assert [child.tag.rpartition("}")[2] for child in root][:2] == ["title", "desc"]
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        assert 0 < float(text.attrib["x"]) < width
        assert 0 < float(text.attrib["y"]) < height
