"""What a source has answered lately, by key and field, within bounds of entries and bytes. Pure, no clock.

A field is fresh for its time to live, then stale for as long as the source allows, then gone. That a record has no
such field is kept like a value, that there is no record at all like an answer of its own; neither is ever stale: what
cannot be asked anew is not known. Bounded twice; who was asked for least lately goes first.

Values are handed out as they are kept: nobody may change them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

ENTRY_BYTES = 256
"""What an entry costs beside its key and values, roughly; a field costs as much as FIELD_BYTES."""

FIELD_BYTES = 96
SWEPT = 2
"""How many of the entries that were asked for least lately are looked at, each time one is put in."""


class Held(NamedTuple):
    """One field as it was fetched. `at_s`: seconds of the cache's clock; `at_ms`: milliseconds since 1970."""

    value: Any
    is_absent: bool
    at_s: float
    at_ms: int


class Look(NamedTuple):
    """What the cache knows of the fields that were asked for. `fresh` holds what is known to be absent, too."""

    fresh: dict[str, Held]
    stale: dict[str, Held]
    is_none: bool


@dataclass(slots=True)
class _Entry:
    fields: dict[str, Held] = field(default_factory=dict)
    none_at_s: float | None = None
    size: int = 0


class RecordCache:
    """The cache of one source. All times are seconds of one clock that never goes back."""

    def __init__(
        self, ttl_by_field: Mapping[str, float], none_ttl_s: float, stale_s: float, max_entries: int, max_bytes: int
    ) -> None:
        """`none_ttl_s`: how long "there is no such record" holds. `max_bytes`: of keys and values as JSON, and what
        keeping them costs, roughly."""
        self._ttl = dict(ttl_by_field)
        self._none_ttl_s = none_ttl_s
        self._stale_s = stale_s
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """What the entries count as, at most `max_bytes`."""
        return self._bytes

    def look(self, key: str, names: Iterable[str], now_s: float) -> Look:
        """Return what is known of these fields now."""
        look = Look({}, {}, is_none=False)
        entry = self._entries.get(key)
        if entry is None:
            return look
        if not self._is_alive(entry, now_s):
            self.forget(key)
            return look
        self._entries.move_to_end(key)
        if entry.none_at_s is not None:
            return look._replace(is_none=now_s - entry.none_at_s < self._none_ttl_s)
        for name in names:
            held = entry.fields.get(name)
            if held is None:
                continue
            ttl_s, age_s = self._find_ttl(name, held), now_s - held.at_s
            if age_s < ttl_s:
                look.fresh[name] = held
            elif age_s < ttl_s + self._stale_s and not held.is_absent:
                look.stale[name] = held
        return look

    def put(self, key: str, names: Iterable[str], values: Mapping[str, Any], now_s: float, now_ms: int) -> None:
        """Keep what the source said of these fields of a record; those that `values` lacks are absent from it. Fields
        that were kept before stay, each with its own age. What is larger than a tenth of the cache is not kept."""
        fetched = {name: Held(values.get(name), name not in values, now_s, now_ms) for name in names}
        before = self._take(key)
        kept = {} if before is None else before.fields
        alive = {name: held for name, held in kept.items() if self._can_be_given(name, held, now_s)}
        self._add(key, _Entry({**alive, **fetched}), now_s)

    def put_none(self, key: str, now_s: float) -> None:
        """Keep that the source has no such record; whatever it had said before is gone."""
        self._take(key)
        self._add(key, _Entry(none_at_s=now_s), now_s)

    def forget(self, key: str) -> bool:
        """Drop what is known of a key; whether anything was."""
        return self._take(key) is not None

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._bytes = 0

    def _find_ttl(self, name: str, held: Held) -> float:
        ttl_s = self._ttl.get(name, 0.0)
        return min(ttl_s, self._none_ttl_s) if held.is_absent else ttl_s

    def _is_alive(self, entry: _Entry, now_s: float) -> bool:
        """Whether any of it can still be handed out."""
        if entry.none_at_s is not None:
            return now_s - entry.none_at_s < self._none_ttl_s
        return any(self._can_be_given(name, held, now_s) for name, held in entry.fields.items())

    def _can_be_given(self, name: str, held: Held, now_s: float) -> bool:
        return now_s - held.at_s < self._find_ttl(name, held) + (0.0 if held.is_absent else self._stale_s)

    def _take(self, key: str) -> _Entry | None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size
        return entry

    def _add(self, key: str, entry: _Entry, now_s: float) -> None:
        size = _measure(key, entry)
        if size is None or size > self._max_bytes // 10:
            return
        entry.size = size
        self._entries[key] = entry
        self._bytes += size
        # Nobody may ask for a person again for days: what is over is not kept until others push it out.
        for oldest in [name for name, _ in zip(self._entries, range(SWEPT), strict=False)]:
            if oldest != key and not self._is_alive(self._entries[oldest], now_s):
                self.forget(oldest)
        while self._bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self.forget(next(iter(self._entries)))


def _measure(key: str, entry: _Entry) -> int | None:
    """Return what an entry counts as, or None for what cannot be measured, and so cannot be bounded either."""
    try:
        values = msgspec.json.encode([held.value for held in entry.fields.values()], enc_hook=str)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    return ENTRY_BYTES + 4 * len(key) + FIELD_BYTES * len(entry.fields) + len(values)
