"""What people take along: nothing is held that is not shown, and all languages say all of it."""

from __future__ import annotations

import pytest

from collector.privacy.inventory import PLACES
from collector.privacy.parts import NOT_SHOWN, PARTS, read_meanings, read_part
from collector.privacy.words import ENGLISH, LANGUAGES, list_sentences
from tests.running_store import RunningStore


def test_every_place_is_shown_or_says_why_not() -> None:
    """Whoever adds a place where data about people lie says how they are shown to them."""
    shown = {part.table for part in PARTS}
    assert shown | NOT_SHOWN.keys() == {place.table for place in PLACES}
    assert not shown & NOT_SHOWN.keys()


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_every_language_says_everything(code: str) -> None:
    """No sentence is missing in any language, none stands in one alone, and each part has its title."""
    words = LANGUAGES[code]
    assert words.language == code
    assert list_sentences(words) == list_sentences(ENGLISH)
    assert len(words.rights) == len(ENGLISH.rights)
    assert words.parts.keys() == {"identifiers", "traits", *(part.name for part in PARTS)}
    for name in ("made_on", "rows", "more_in_files"):
        text, other = getattr(words, name), getattr(ENGLISH, name)
        assert sorted(word for word in text.split() if "{" in word.strip("(")) or "{" not in other


@pytest.mark.engine
def test_every_part_is_one_that_the_engine_reads(store: RunningStore) -> None:
    """Each part is asked for on an empty store, and each of its columns has a meaning."""
    params = {"whole": [1], "part": [2], "spans": [(2, 0, 9, "all")]}
    for part in PARTS:
        assert list(read_part(store.writer, "main", part, params)) == []
        assert all(read_meanings(store.writer, part).values()), part.name
