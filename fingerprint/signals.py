"""The signals of a device: what each one is, which form it takes, and whether it counts.

A signal arrives as a value or as `{"error": "reason"}`; one that failed, has the wrong form or breaks its bounds is
left out and nothing else happens. A signal counts towards the fingerprint only if it is the same after a restart,
an update of the browser's minor version, a move to another screen and in a private window. The others are listed
so that later versions may use them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

MAX_TEXT_CHARS = 512
MAX_LIST_ITEMS = 256
MAX_ITEM_CHARS = 64

_SPACE = re.compile(r"\s+")
_SIDE = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,6})?")


class Signal(NamedTuple):
    """One signal. `normalise` returns its normal form as text, or None where the value cannot be used."""

    name: str
    what: str
    normalise: Callable[[Any], str | None]
    counts: bool = True


def _text(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
        return None
    return _SPACE.sub(" ", value).strip() or None


def _number(low: float, high: float) -> Callable[[Any], str | None]:
    def normalise(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return None
        return format(round(float(value), 6), ".10g")

    return normalise


def _digest(value: Any) -> str | None:
    """Accept what a script has hashed itself: text or a number, compared as text without case."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(-1e16, 1e16)(value)
    text = _text(value)
    return text.lower() if text else None


def _items(ordered: bool) -> Callable[[Any], str | None]:
    def normalise(value: Any) -> str | None:
        if not isinstance(value, list) or len(value) > MAX_LIST_ITEMS:
            return None
        items = [_text(item) for item in value]
        if any(item is None or len(item) > MAX_ITEM_CHARS or "\x1f" in item for item in items):
            return None
        known = [item for item in items if item is not None]
        return "\x1f".join(known if ordered else sorted(set(known)))

    return normalise


def _screen(value: Any) -> str | None:
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


SIGNALS: tuple[Signal, ...] = (
    Signal("canvas", "digest of a small picture drawn with text and curves", _digest),
    Signal("webgl_vendor", "who made the graphics driver", _text),
    Signal("webgl_renderer", "graphics chip and driver", _text),
    Signal("audio", "sum over a rendered tone, as a number or a digest", _digest),
    Signal("fonts", "installed fonts out of a probe list", _items(ordered=False)),
    Signal("languages", "languages by preference; private windows shorten them", _items(ordered=True), counts=False),
    Signal("time_zone", "time zone; people travel", _text, counts=False),
    Signal("screen", "width and height of the screen; people dock their laptops", _screen, counts=False),
    Signal("color_depth", "bits per pixel", _number(1, 128)),
    Signal(
        "hardware_concurrency",
        "processor threads; browsers in private windows shade it",
        _number(1, 1024),
        counts=False,
    ),
    Signal("device_memory", "memory in GiB, rounded by the browser; Chromium only", _number(0.25, 1024), counts=False),
    Signal("touch_points", "fingers that the screen tells apart", _number(0, 256)),
    Signal("platform", "what the browser calls its platform", _text),
    Signal("math", "last digits of a few functions, which differ between engines", _digest),
)

_BY_NAME = {signal.name: signal for signal in SIGNALS}


def normalise_signals(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return the usable signals in normal form, by name. Unknown and failed ones are left out; never raises."""
    normal: dict[str, str] = {}
    for signal in SIGNALS:
        value = raw.get(signal.name)
        if value is None:
            continue
        form = signal.normalise(value)
        if form is not None:
            normal[signal.name] = form
    return normal


def is_counted(name: str) -> bool:
    """Whether the signal goes into the fingerprint."""
    signal = _BY_NAME.get(name)
    return signal is not None and signal.counts
