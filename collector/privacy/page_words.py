"""What the page `/x/privacy` says, in the languages that people speak.

The sentences stand in `languages/page.CODE.toml`; titles of the parts are those of `words`. To add a language, add
both, and one of the catalogue: whoever reads it checks that nothing is missing.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from collector.errors import ConfigError
from collector.privacy.words import LANGUAGES
from collector.purposes import ASKED, Purpose

FOLDER = Path(__file__).parent / "languages"

COLUMNS: dict[str, tuple[str, ...]] = {
    "events": ("time", "site_id", "event_name", "url"),
    "links_between_identifiers": ("time", "kind", "level", "a_kind", "b_kind", "b_value"),
    "consents": ("time", "purpose", "state", "source"),
    "audiences": ("at", "audience", "change"),
    "audiences_now": ("audience", "since"),
    "offers": ("time", "offer", "action"),
    "recipients": ("sent_at", "webhook", "audience", "change"),
    "looked_at_by": ("at", "way", "parts"),
    "records_of_other_systems": ("source", "copied_at"),
    "refused_evidence": ("at", "reason"),
    "states": ("state", "since"),
}
"""Which columns of each part the page shows; all of them are in what somebody takes along."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A purpose: its name, and what it allows."""

    title: str
    what: str


class PageWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sentences. `columns`: heads of tables; `values`: by column and value, what stands for a word of ours."""

    labels: dict[str, str]
    purposes: dict[Purpose, Asked]
    columns: dict[str, str]
    values: dict[str, dict[str, str]]

    def say(self, column: str, value: Any) -> str:
        """Return a value as people read it."""
        text = "" if value is None else str(value)
        return self.values.get(column, {}).get(text, text)


@cache
def read_page_words(code: str) -> PageWords:
    """Return the sentences of a language. Raises ConfigError where there is none of this code, or one is missing."""
    if code not in LANGUAGES:
        raise ConfigError("language", code, f"there is no such language: it is one of {', '.join(LANGUAGES)}")
    name = f"page.{code}.toml"
    try:
        words = msgspec.toml.decode((FOLDER / name).read_bytes(), type=PageWords)
    except (msgspec.MsgspecError, OSError) as error:
        raise ConfigError("language", name, str(error)) from error
    wanted: dict[str, Any] = {
        "columns": {column for columns in COLUMNS.values() for column in columns},
        "purposes": set(ASKED),
    }
    if code != "en":
        english = read_page_words("en")
        wanted |= {"labels": english.labels.keys(), "values": english.values.keys()}
    for part, keys in wanted.items():
        if missing := sorted(set(keys) ^ set(getattr(words, part))):
            raise ConfigError("language", name, f"{part}: {', '.join(missing)} is missing, or unknown")
    return words
