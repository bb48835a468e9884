"""The fingerprint: stable, versioned, and absent where it would say nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerprint import VERSIONS, make_fingerprint

SIGNALS: dict[str, Any] = {
    "canvas": "9f3a77b0c4",
    "webgl_vendor": "Google Inc. (NVIDIA)",
    "webgl_renderer": "ANGLE (NVIDIA, GeForce RTX 3060)",
    "audio": 124.04347527516074,
    "fonts": ["Arial Black", "Calibri", "Inter"],
    "languages": ["de-DE", "en"],
    "time_zone": "Europe/Berlin",
    "screen": "1920x1080",
    "color_depth": 24,
    "hardware_concurrency": 8,
    "device_memory": 8,
    "touch_points": 0,
    "platform": "Win32",
    "math": "8c1f0e",
}


def test_it_is_pinned() -> None:
    """Version 1 never computes anything else: stored fingerprints must stay comparable."""
    assert make_fingerprint(SIGNALS) == "v1.21b8f707df65eceb4b0c7e0392600b72"


def test_order_does_not_matter() -> None:
    """Neither the order of the signals nor that of the fonts changes it."""
    items = list(SIGNALS.items())
    for seed in range(20):
        random.Random(seed).shuffle(items)
        shuffled = dict(items)
        shuffled["fonts"] = ["Inter", "Calibri", "Arial Black"]
        assert make_fingerprint(shuffled) == make_fingerprint(SIGNALS)


@pytest.mark.parametrize("name", ["languages", "time_zone", "screen", "hardware_concurrency", "device_memory"])
def test_unstable_signals_do_not_count(name: str) -> None:
    """Travel, a docking station and a private window leave it as it was."""
    assert make_fingerprint({**SIGNALS, name: {"error": "missing"}}) == make_fingerprint(SIGNALS)
    other = {"languages": ["fr"], "time_zone": "Asia/Tokyo", "screen": "800x600"}.get(name, 4)
    assert make_fingerprint({**SIGNALS, name: other}) == make_fingerprint(SIGNALS)


@pytest.mark.parametrize(
    "name",
    ["canvas", "webgl_vendor", "webgl_renderer", "audio", "fonts", "color_depth", "touch_points", "platform", "math"],
)
def test_stable_signals_count(name: str) -> None:
    """A different value of a stable signal is a different fingerprint; a failed one is left out."""
    other: Any = ["Impact"] if name == "fonts" else 5 if name in ("color_depth", "touch_points") else "other"
    changed = make_fingerprint({**SIGNALS, name: other})
    failed = make_fingerprint({**SIGNALS, name: {"error": "noise"}})
    without = make_fingerprint({key: value for key, value in SIGNALS.items() if key != name})
    assert len({changed, failed, make_fingerprint(SIGNALS)}) == 3
    assert failed == without


def test_too_few_signals_give_none() -> None:
    """Four signals at least, one of them strong: a text that thousands share is worse than none."""
    weak = {"platform": "Win32", "math": "a", "color_depth": 24, "touch_points": 0, "webgl_vendor": "x"}
    assert make_fingerprint(weak) == ""
    assert make_fingerprint({"canvas": "ab", "platform": "Win32", "math": "a"}) == ""
    assert make_fingerprint({"canvas": "ab", "platform": "Win32", "math": "a", "color_depth": 24}) != ""
    assert make_fingerprint({}) == ""


def test_unknown_versions() -> None:
    """Only versions that exist can be made."""
    assert frozenset({1}) == VERSIONS
    with pytest.raises(ValueError, match="version 2"):
        make_fingerprint(SIGNALS, 2)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(st.dictionaries(st.sampled_from([*SIGNALS, "other"]), _ANY))
def test_no_signals_break_it(signals: dict[str, Any]) -> None:
    """Whatever a page sends, the result is a fingerprint or none."""
    text = make_fingerprint(signals)
    assert text == "" or (text.startswith("v1.") and len(text) == 35)
