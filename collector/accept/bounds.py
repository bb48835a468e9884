"""How much one event may hold, and the walk that finds out.

What passes here can be written as JSON and read back anywhere: integers fit 64 bits and nothing nests deeper than
MAX_DEPTH. One row that the store cannot read would hold a whole batch back.
"""

from __future__ import annotations

import re
from typing import Any

from collector.accept.decode import MAX_DEPTH
from collector.event import Rejected, WireEvent
from collector.reasons import Reason

MAX_STRING_CHARS = 8_192
MAX_EVENT_CHARS = 65_536
MAX_KEYS = 256
MAX_KEY_CHARS = 128
VALUE_CHARS = 8
"""What a value counts for besides its characters, so that many small ones are bounded as well."""
MAX_NAME_CHARS = 128
MAX_IDENTIFIERS = 8
MAX_KIND_CHARS = 64
MAX_SIGNATURE_CHARS = 256
MAX_COUNT = 2**32 - 1  # sequence and session numbers are UInt32 in the store
MIN_INT, MAX_INT = -(2**63), 2**63 - 1

PROPS_DEPTH = 4  # body, list of events, event, props
_PLAIN_KEY = re.compile(r"[A-Za-z_]{1,32}")  # a key may be somebody's token; only words are named


def find_excess(event: WireEvent) -> Rejected | None:
    """Return why the event holds too much, or None. The field's path is relative to the event."""
    for field, text in (("u", event.url), ("r", event.referrer), ("h", event.title)):
        if len(text) > MAX_STRING_CHARS:
            return Rejected(Reason.SIZE, field=field)
    if not event.name or event.name.isspace():
        return Rejected(Reason.SHAPE, field="n")
    if len(event.name) > MAX_NAME_CHARS:
        return Rejected(Reason.SIZE, field="n")
    if not 0 <= event.sequence <= MAX_COUNT:
        return Rejected(Reason.SHAPE, field="q")
    if len(event.identifiers) > MAX_IDENTIFIERS:
        return Rejected(Reason.COUNT, field="k")
    for index, identifier in enumerate(event.identifiers):
        proof_chars = max(len(identifier.signature), len(identifier.nonce))
        if len(identifier.kind) > MAX_KIND_CHARS or proof_chars > MAX_SIGNATURE_CHARS:
            return Rejected(Reason.SIZE, field=f"k[{index}]")
        if len(identifier.value) > MAX_STRING_CHARS:
            return Rejected(Reason.SIZE, field=f"k[{index}].v")
    if not event.props:
        return None
    walk = _Walk(len(event.url) + len(event.referrer) + len(event.title))
    excess = walk.visit(event.props, PROPS_DEPTH)
    return Rejected(excess[0], field=f"p{excess[1]}") if excess else None


ROOM = 64
ROOM_KEY_CHARS = 64
ROOM_STRING_CHARS = 512
"""Within these no bound above can be reached: 64 keys and values of a string each are 37 KB; url, referrer and title at
their longest are 24 KB."""
_NO_ROOM = -1
_ROOM_DEPTH = 8
_NO_TYPES: frozenset[type] = frozenset()
_FLAT_TYPES: frozenset[type] = frozenset((str, int, float, bool, type(None)))
_FLAT_TYPES_BUT_INT = frozenset(kind for kind in _FLAT_TYPES if kind is not int)
_DIGITS_TO_0 = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
_LONG_NUMBER = b"0" * 19


def find_flat_types(body: bytes) -> frozenset[type]:
    """Return the types of values of which `is_small` needs no more than the type, in a body of this size and content.

    In a body of MAX_STRING_CHARS bytes no text is longer than that and no event, at VALUE_CHARS a value, larger than
    MAX_EVENT_CHARS. And where no nineteen digits stand side by side, every integer fits.
    """
    if len(body) > MAX_STRING_CHARS:
        return _NO_TYPES
    return _FLAT_TYPES if body.translate(_DIGITS_TO_0).find(_LONG_NUMBER) < 0 else _FLAT_TYPES_BUT_INT


def is_small(event: WireEvent, flat_types: frozenset[type] = _NO_TYPES) -> bool:
    """Whether the event, its identifiers aside, is so small and plain that `find_excess` finds nothing, and no key of
    its properties holds a dot.

    A cheap test that most events pass; False says nothing. `flat_types`: see `find_flat_types`.
    """
    name, props = event.name, event.props
    if (
        not name.isidentifier()
        or len(name) > MAX_NAME_CHARS
        or not 0 <= event.sequence <= MAX_COUNT
        or (not flat_types and max(len(event.url), len(event.referrer), len(event.title)) > MAX_STRING_CHARS)
    ):
        return False
    if not props:
        return True
    if flat_types.issuperset(map(type, props.values())) and len(props) <= ROOM:
        keys = "".join(props)
        return len(keys) <= MAX_KEY_CHARS and "." not in keys
    return _take_room(props, ROOM, _ROOM_DEPTH) >= 0


def _take_room(values: dict[str, Any] | list[Any], room: int, depth: int) -> int:
    """Return how many keys and values there is still room for, negative where one is too large or has no plain form."""
    room -= len(values)
    if room < 0 or not depth:
        return _NO_ROOM
    if type(values) is dict:
        for key in values:
            if len(key) > ROOM_KEY_CHARS or "." in key:
                return _NO_ROOM
        items: Any = values.values()
    else:
        items = values
    for item in items:
        kind = type(item)
        if kind is str:
            if len(item) > ROOM_STRING_CHARS:
                return _NO_ROOM
        elif kind is int:
            if not MIN_INT <= item <= MAX_INT:
                return _NO_ROOM
        elif kind is dict or kind is list:
            room = _take_room(item, room, depth - 1)
            if room < 0:
                return _NO_ROOM
    return room


_Excess = tuple[Reason, str]
"""Why there is too much, and the path to where, put together on the way back: most walks never need one."""


class _Walk:
    """Counts keys and characters of one event's properties while it goes through them."""

    __slots__ = ("chars", "keys")

    def __init__(self, chars: int) -> None:
        self.chars = chars
        self.keys = 0

    def visit(self, value: Any, depth: int) -> _Excess | None:
        """Visit a value. The path names keys only where they are plain words."""
        if isinstance(value, str):
            self.chars += len(value)
            if len(value) > MAX_STRING_CHARS or self.chars > MAX_EVENT_CHARS:
                return Reason.SIZE, ""
        elif isinstance(value, dict):
            return self._visit_mapping(value, depth) if depth <= MAX_DEPTH else (Reason.DEPTH, "")
        elif isinstance(value, list):
            return self._visit_list(value, depth) if depth <= MAX_DEPTH else (Reason.DEPTH, "")
        elif isinstance(value, int) and not MIN_INT <= value <= MAX_INT:
            return Reason.SHAPE, ""
        return None

    def _visit_list(self, values: list[Any], depth: int) -> _Excess | None:
        self.chars += VALUE_CHARS * len(values)
        if self.chars > MAX_EVENT_CHARS:
            return Reason.SIZE, ""
        for index, item in enumerate(values):
            excess = self.visit(item, depth + 1)
            if excess:
                return excess[0], f"[{index}]{excess[1]}"
        return None

    def _visit_mapping(self, values: dict[str, Any], depth: int) -> _Excess | None:
        self.keys += len(values)
        if self.keys > MAX_KEYS:
            return Reason.DEPTH, ""
        self.chars += VALUE_CHARS * len(values)
        for key, item in values.items():
            self.chars += len(key)
            if len(key) > MAX_KEY_CHARS or self.chars > MAX_EVENT_CHARS:
                return Reason.SIZE, ""
            excess = self.visit(item, depth + 1)
            if excess:
                return excess[0], f"{_name(key)}{excess[1]}"
        return None


def _name(key: str) -> str:
    return f".{key}" if _PLAIN_KEY.fullmatch(key) else "[…]"
