"""Traits as the configuration declares them: type, personal or not, whom it may be shown to, and who is believed.

    [traits.first_name]
    type = "text"
    min_assurance = 3
    policy = "sources"
    sources = ["adapter:crm", "server", "identify"]
    sentence = "First name, as the customer writes it"

A trait that nobody has declared is personal, and never given to a page. Readers of the store see what is declared not
personal, by `v_traits`: so the declarations are written there too, by `publish`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import msgspec

from collector.errors import TagstitchError
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
SOURCE = re.compile(r"identify|server|adapter:[a-z][a-z0-9_]{0,62}")
MAX_TEXT_CHARS = 8_192
HIGHEST = 4


class TraitRefused(TagstitchError):
    """A value cannot be taken for this trait: it is not declared, or not of its type. Names no value."""


class TraitType(StrEnum):
    """What a value is. `date`: `2026-11-23`; `time`: ISO 8601 with a time zone; `json`: anything."""

    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DATE = "date"
    TIME = "time"
    JSON = "json"


class Policy(StrEnum):
    """Who is believed of those who are equally sure of whom they speak."""

    RECENT = "recent"
    SOURCES = "sources"


class TraitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One trait. `personal`: seen in clear by those alone who may see personal values.

    `min_assurance`: how sure it must be who sits in front of the page before the page is given it, 0 to 4.
    `sources`: for the policy of that name, the one most believed first; those it does not name come last.
    """

    type: TraitType = TraitType.TEXT
    personal: bool = True
    min_assurance: int = 3
    policy: Policy = Policy.RECENT
    sources: tuple[str, ...] = ()
    sentence: str = ""
    space: str = DEFAULT_SPACE

    def __post_init__(self) -> None:
        """Check what the types do not say. Raises ValueError."""
        if not 0 <= self.min_assurance <= HIGHEST:
            raise ValueError(f"min_assurance is a level from 0 to {HIGHEST}")
        if (self.policy is Policy.SOURCES) != bool(self.sources):
            raise ValueError('sources goes with policy = "sources", and that policy with sources')
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("sources names one twice")
        for source in self.sources:
            if not SOURCE.fullmatch(source):
                raise ValueError("sources are identify, server and adapter:NAME; a correction always comes first")


class Definitions:
    """The traits of one space, by name. What is not declared has a definition too: `is_declared` tells."""

    _undeclared = TraitConfig(type=TraitType.JSON, min_assurance=HIGHEST)

    def __init__(self, traits: Mapping[str, TraitConfig], space_id: str = DEFAULT_SPACE) -> None:
        """Take those of `traits` that are of this space."""
        self.space_id = space_id
        self.traits = {name: trait for name, trait in traits.items() if trait.space == space_id}

    def find(self, name: str) -> TraitConfig:
        """Return a trait's declaration, or that of what nobody has declared: personal, of any type."""
        return self.traits.get(name, self._undeclared)

    def is_declared(self, name: str) -> bool:
        """Whether the configuration names it. What it does not name is given to no page."""
        return name in self.traits

    def check(self, name: str, value: Any) -> Any:
        """Return a value as it is stored. Raises TraitRefused where the trait is not declared or the value not of its
        type."""
        if name not in self.traits:
            raise TraitRefused(f"space {self.space_id} declares no such trait: write it into the configuration first")
        kind = self.traits[name].type
        if not _is_of(kind, value):
            raise TraitRefused(f"trait {name} is {_WORDS[kind]}")
        return value


_WORDS = {
    TraitType.TEXT: f"a text of at most {MAX_TEXT_CHARS:,} characters",
    TraitType.NUMBER: "a finite number",
    TraitType.INTEGER: "a whole number of 64 bits",
    TraitType.BOOLEAN: "true or false",
    TraitType.DATE: "a date such as 2026-11-23",
    TraitType.TIME: "a time such as 2026-11-23T10:00:00Z",
    TraitType.JSON: f"JSON of at most {MAX_TEXT_CHARS:,} bytes, and not null",
}


def _is_of(kind: TraitType, value: Any) -> bool:
    try:
        match kind:
            case TraitType.TEXT:
                return isinstance(value, str) and len(value) <= MAX_TEXT_CHARS
            case TraitType.NUMBER:
                return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
            case TraitType.INTEGER:
                return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
            case TraitType.BOOLEAN:
                return isinstance(value, bool)
            case TraitType.DATE:
                return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
            case TraitType.TIME:
                return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
            case TraitType.JSON:
                return value is not None and len(msgspec.json.encode(value)) <= MAX_TEXT_CHARS
    except (ValueError, OverflowError, TypeError):
        return False


_STANDING = """
    SELECT name, type, personal, min_assurance, sentence FROM trait_definitions FINAL WHERE space_id = {space:String}
"""


def publish(client: StoreClient, definitions: Definitions, version: int) -> int:
    """Write the declarations of a space for `v_traits`, those that changed. Returns how many that were.

    `version`: milliseconds since 1970, the highest wins. Raises StoreError.
    """
    wanted = {
        name: {
            "type": trait.type.value,
            "personal": int(trait.personal),
            "min_assurance": trait.min_assurance,
            "sentence": trait.sentence,
        }
        for name, trait in definitions.traits.items()
    }
    rows = client.query_rows(_STANDING, {"space": definitions.space_id})
    found = {row.pop("name"): row for row in rows}
    changed: list[dict[str, Any]] = [
        {"name": name, **row, "is_deleted": 0} for name, row in wanted.items() if found.get(name) != row
    ]
    changed += [{"name": name, "is_deleted": 1} for name in found.keys() - wanted.keys()]
    head = {"space_id": definitions.space_id, "version": version}
    insert_rows(client, "trait_definitions", [{**head, **row} for row in changed])
    return len(changed)
