"""How much one event may hold, and the walk that finds out.

What passes here can be written as JSON and read back anywhere: integers fit 64 bits and nothing nests deeper than
MAX_DEPTH. One row that the store cannot read would hold a whole batch back.
"""

from __future__ import annotations

import re
from typing import Any

from collector.accept.decode import MAX_DEPTH
from collector.event import Reason, Rejected, WireEvent

MAX_STRING_CHARS = 8_192
MAX_EVENT_CHARS = 65_536
MAX_KEYS = 256
MAX_KEY_CHARS = 128
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
        if len(identifier.kind) > MAX_KIND_CHARS or len(identifier.signature) > MAX_SIGNATURE_CHARS:
            return Rejected(Reason.SIZE, field=f"k[{index}]")
        if len(identifier.value) > MAX_STRING_CHARS:
            return Rejected(Reason.SIZE, field=f"k[{index}].v")
    if not event.props:
        return None
    walk = _Walk(len(event.url) + len(event.referrer) + len(event.title))
    return walk.visit(event.props, PROPS_DEPTH, "p")


class _Walk:
    """Counts keys and characters of one event's properties while it goes through them."""

    __slots__ = ("chars", "keys")

    def __init__(self, chars: int) -> None:
        self.chars = chars
        self.keys = 0

    def visit(self, value: Any, depth: int, path: str) -> Rejected | None:
        """Visit a value. The path names keys only where they are plain words."""
        if isinstance(value, str):
            self.chars += len(value)
            if len(value) > MAX_STRING_CHARS or self.chars > MAX_EVENT_CHARS:
                return Rejected(Reason.SIZE, field=path)
        elif isinstance(value, bool) or value is None or isinstance(value, float):
            self.chars += 8
        elif isinstance(value, int):
            self.chars += 8
            if not MIN_INT <= value <= MAX_INT:
                return Rejected(Reason.SHAPE, field=path)
        elif depth > MAX_DEPTH:
            return Rejected(Reason.DEPTH, field=path)
        elif isinstance(value, dict):
            return self._visit_mapping(value, depth, path)
        else:
            self.chars += len(value)
            if self.chars > MAX_EVENT_CHARS:
                return Rejected(Reason.SIZE, field=path)
            for index, item in enumerate(value):
                refused = self.visit(item, depth + 1, f"{path}[{index}]")
                if refused:
                    return refused
        return None

    def _visit_mapping(self, value: dict[str, Any], depth: int, path: str) -> Rejected | None:
        self.keys += len(value)
        if self.keys > MAX_KEYS:
            return Rejected(Reason.DEPTH, field=path)
        for key, item in value.items():
            if len(key) > MAX_KEY_CHARS:
                return Rejected(Reason.SIZE, field=path)
            self.chars += len(key)
            if isinstance(item, str):  # the usual case, without building its path
                self.chars += len(item)
                if len(item) <= MAX_STRING_CHARS and self.chars <= MAX_EVENT_CHARS:
                    continue
                return Rejected(Reason.SIZE, field=_join(path, key))
            refused = self.visit(item, depth + 1, _join(path, key))
            if refused:
                return refused
        return None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if _PLAIN_KEY.fullmatch(key) else f"{path}[…]"
