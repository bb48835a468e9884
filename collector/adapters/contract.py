"""What a data adapter is: the bridge to one source of customer records. Anyone may write one.

An adapter describes its fields, and gives the record of a key; it may also search, and be read as a whole. It keeps
nothing, retries nothing and bounds nothing but itself: cache, deadline, circuit breaker and rate stand around it, in
`source`. What goes wrong is an AdapterError with its reason; its message holds no value, no key and no secret.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, Protocol

import msgspec

FieldType = Literal["text", "number", "integer", "boolean", "date", "time", "json"]
"""`date`: 2026-09-21, `time`: an instant, 2026-09-21T12:00:00Z, both as text; `json`: whatever JSON can say."""


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field of a source. `personal`: seen in clear with the scope `pii:read` alone. `ttl_s`: for how many seconds a
    value is taken as it is. `min_assurance`: the level of assurance (0–4) that a visitor needs. `sentence`: what it
    is, for those who read `tagstitch adapter describe`.

    `page`: pages are told it, by `page_name` (`as` in the file; "": ADAPTER_FIELD), where `min_assurance` is reached.
    Only a configuration says so, whatever a plugin says of itself.

    `trait`, `identifier`: for `tagstitch adapter sync`: the trait that it becomes ("": of the field's own name), and
    the kind of identifier that its value is ("": none)."""

    name: str
    type: FieldType = "text"
    personal: bool = True
    ttl_s: float = 300.0
    min_assurance: int = 3
    sentence: str = ""
    page: bool = False
    page_name: str = msgspec.field(default="", name="as")
    trait: str = ""
    identifier: str = ""


class Described(msgspec.Struct, frozen=True):
    """What an adapter says of itself. `name`: as configured. `key_kind`: which kind of identifier its key is."""

    name: str
    key_kind: str
    fields: tuple[Field, ...]
    can_search: bool = False
    can_scan: bool = False


class Record(msgspec.Struct, frozen=True):
    """A record of a source. `values`: by field; a field without a value is not in it. `unfit`: fields whose value is
    not of the type that the field has."""

    key: str
    values: dict[str, Any]
    unfit: frozenset[str] = frozenset()


class Adapter(Protocol):
    """One source. Of one event loop; calls may overlap. Every call may be cancelled at any time."""

    def describe(self) -> Described:
        """Return what the source has. Always the same, and without asking the source."""

    async def retrieve(self, key: str, fields: frozenset[str], deadline_s: float) -> Record | None:
        """Return these fields of the record with this key, or None where the source has no such record. A read that
        may be done twice. `deadline_s`: how many seconds are left; what comes later is not waited for. Raises
        AdapterError."""

    async def search(self, terms: Mapping[str, str], limit: int) -> list[Record]:
        """Return the records that fit all terms, `limit` at most. Only where `can_search`. Raises AdapterError."""

    async def close(self) -> None:
        """Let go of everything. The adapter is not used any more."""


class Scanned(Adapter, Protocol):
    """One that can be read as a whole: it says `can_scan`."""

    def scan(self) -> AsyncIterator[list[Record]]:
        """Yield all records, in batches. Raises AdapterError."""


class Wrong(Exception):
    """A setting cannot be used; `setting` is its name below the adapter's section."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(reason)
        self.setting = setting
