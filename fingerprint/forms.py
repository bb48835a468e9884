"""Normal forms of signals: each function takes whatever a page has sent, and returns text, or None where it is of no
use.

None of them raises. What arrives is not to be trusted: wrong types, lists of the wrong length, texts without end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Normalise = Callable[[Any], str | None]

MAX_TEXT_CHARS = 512
MAX_LIST_ITEMS = 256
MAX_ITEM_CHARS = 64
SEPARATOR = "\x1f"
"""Between the items of a list. It is white space, so no normal text contains it."""

_SPACE = re.compile(r"\s+")
_SIDE = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,6})?")


def take_text(value: Any) -> str | None:
    """Text of at most 512 characters, white space made one space."""
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
        return None
    return _SPACE.sub(" ", value).strip() or None


def matching(pattern: str) -> Normalise:
    """Text that is wholly of this pattern."""
    compiled = re.compile(pattern)

    def take(value: Any) -> str | None:
        return value if isinstance(value, str) and len(value) <= MAX_TEXT_CHARS and compiled.fullmatch(value) else None

    return take


def number(low: float, high: float) -> Normalise:
    """A number within bounds, to six places."""

    def take(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return None
        return format(round(float(value), 6), ".10g")

    return take


def integer(low: int, high: int) -> Normalise:
    """A whole number within bounds."""

    def take(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return None
        return str(int(value)) if value == int(value) else None

    return take


def one_of(*known: str) -> Normalise:
    """One of the texts that this signal can have."""
    return lambda value: value if isinstance(value, str) and value in known else None


def take_digest(value: Any) -> str | None:
    """What a script has hashed itself: text or a number, compared as text without case."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(-1e16, 1e16)(value)
    text = take_text(value)
    return text.lower() if text else None


take_hex = matching("[0-9a-f]{16}")
"""The tag's own digest."""


def items(*, ordered: bool) -> Normalise:
    """A list of texts; sorted and each once where the order says nothing. An empty list is a value."""

    def take(value: Any) -> str | None:
        if not isinstance(value, list) or len(value) > MAX_LIST_ITEMS:
            return None
        texts = [take_text(item) for item in value]
        if any(text is None or len(text) > MAX_ITEM_CHARS for text in texts):
            return None
        known = [text for text in texts if text is not None]
        return SEPARATOR.join(known if ordered else sorted(set(known)))

    return take


def fields(count: int) -> Normalise:
    """Exactly so many texts, each in its place; some may be empty, not all."""

    def take(value: Any) -> str | None:
        if not isinstance(value, list) or len(value) != count or not any(value):
            return None
        texts = ["" if item == "" else take_text(item) for item in value]
        if any(text is None or len(text) > MAX_ITEM_CHARS for text in texts):
            return None
        return SEPARATOR.join(text or "" for text in texts)

    return take


def take_screen(value: Any) -> str | None:
    """Take width and height, as a list, a mapping or `1920x1080`, the longer side first: tablets turn."""
    if isinstance(value, str):
        parts: list[Any] = [float(part) for part in value.split("x", 2) if _SIDE.fullmatch(part)]
    elif isinstance(value, Mapping):
        parts = [value.get("width"), value.get("height")]
    elif isinstance(value, list):
        parts = value[:2]
    else:
        return None
    if len(parts) < 2 or not all(type(part) in (int, float) and 0 < part < 100_000 for part in parts):
        return None
    long_side, short_side = sorted((round(parts[0]), round(parts[1])), reverse=True)
    return f"{long_side}x{short_side}"
