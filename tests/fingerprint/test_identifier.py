"""The fingerprint: stable, versioned, and absent where it would say nothing."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerprint import VERSIONS, list_signals, make_fingerprint
from fingerprint.signals import is_counted

VERSION_1: dict[str, Any] = {
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
VERSION_2: dict[str, Any] = {
    **{name: value for name, value in VERSION_1.items() if name != "canvas"},
    "canvas_text": "1111111111111111",
    "canvas_geometry": "2222222222222222",
    "canvas_emoji": "3333333333333333",
    "webgl_parameters": "16384;32767,32767;1,1024",
    "webgl_extensions": "4444444444444444",
    "webgl_precision": "127,127,23",
    "codecs": "pp-m",
    "font_preferences": ["45530", "42551"],
    "system_font": ["12px Segoe UI"],
    "architecture": 255,
    "heap_limit": 4_294_705_152,
    "ua_device": ["Windows", "x86", "64", "", "Desktop"],
    "ua_version": ["Windows 19.0.0", "Google Chrome 156.0.1.2"],
    "vendor": "Google Inc.",
    "engine": "37 Cannot read properties of null (reading 'x')",
    "flavors": ["chrome"],
    "locale": "de",
    "keyboard": "5555555555555555",
    "plugins": ["PDF Viewer"],
    "pdf_viewer": 1,
    "storage": ["localStorage"],
    "cookies": 1,
    "screen_frame": "0,0,48,0",
    "pixel_ratio": 1.25,
    "color_gamut": "srgb",
    "hdr": "standard",
    "monochrome": "0",
    "pointers": ["fine", "hover"],
    "contrast": "no-preference",
    "forced_colors": "none",
    "inverted_colors": "none",
    "reduced_motion": "no-preference",
    "reduced_transparency": "no-preference",
}
SETS = {1: VERSION_1, 2: VERSION_2}
COUNTED_IN_2 = {
    "architecture",
    "audio",
    "canvas_emoji",
    "canvas_geometry",
    "canvas_text",
    "codecs",
    "engine",
    "fonts",
    "math",
    "platform",
    "ua_device",
    "vendor",
    "webgl_parameters",
    "webgl_precision",
    "webgl_renderer",
    "webgl_vendor",
}


def make_other(value: Any) -> Any:
    """Another value of the same form."""
    if isinstance(value, list):
        return [*value[:-1], "other"]
    if isinstance(value, str):
        other = re.sub("[1-5]", "7", value).replace("p", "m")
        return other if other != value else value + "x"
    return value - 1 if value > 1 else value + 1


@pytest.mark.parametrize(
    ("version", "text"),
    [(1, "v1.21b8f707df65eceb4b0c7e0392600b72"), (2, "v2.c1c7c065e42cd3cc52b762346466e70d")],
)
def test_it_is_pinned(version: int, text: str) -> None:
    """A version never computes anything else: stored fingerprints must stay comparable."""
    assert make_fingerprint(SETS[version], version) == text


def test_version_1_does_not_see_later_signals() -> None:
    """Signals that version 1 does not have change nothing in it."""
    assert make_fingerprint({**VERSION_2, **VERSION_1}, 1) == make_fingerprint(VERSION_1, 1)


@pytest.mark.parametrize("version", [1, 2])
def test_order_does_not_matter(version: int) -> None:
    """Neither the order of the signals nor that of the fonts changes it."""
    items = list(SETS[version].items())
    for seed in range(20):
        random.Random(seed).shuffle(items)
        shuffled = dict(items)
        shuffled["fonts"] = ["Inter", "Calibri", "Arial Black"]
        assert make_fingerprint(shuffled, version) == make_fingerprint(SETS[version], version)


@pytest.mark.parametrize("name", ["languages", "time_zone", "screen", "hardware_concurrency", "device_memory"])
def test_unstable_signals_do_not_count_in_version_1(name: str) -> None:
    """Travel, a docking station and a private window leave it as it was."""
    assert make_fingerprint({**VERSION_1, name: {"error": "missing"}}, 1) == make_fingerprint(VERSION_1, 1)
    other = {"languages": ["fr"], "time_zone": "Asia/Tokyo", "screen": "800x600"}.get(name, 4)
    assert make_fingerprint({**VERSION_1, name: other}, 1) == make_fingerprint(VERSION_1, 1)


@pytest.mark.parametrize("name", sorted(VERSION_2.keys() - COUNTED_IN_2))
def test_unstable_signals_do_not_count_in_version_2(name: str) -> None:
    """Travel, a docking station, a private window, an update and a change of settings leave it as it was."""
    assert not is_counted(name, 2)
    for value in ({"error": "missing"}, make_other(VERSION_2[name])):
        assert make_fingerprint({**VERSION_2, name: value}, 2) == make_fingerprint(VERSION_2, 2)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        *((1, name) for name in ("canvas", "webgl_vendor", "webgl_renderer", "audio", "fonts")),
        *((1, name) for name in ("color_depth", "touch_points", "platform", "math")),
        *((2, name) for name in sorted(COUNTED_IN_2)),
    ],
)
def test_stable_signals_count(version: int, name: str) -> None:
    """A different value of a stable signal is a different fingerprint; a failed one is left out."""
    signals = SETS[version]
    changed = make_fingerprint({**signals, name: make_other(signals[name])}, version)
    failed = make_fingerprint({**signals, name: {"error": "noise"}}, version)
    without = make_fingerprint({key: value for key, value in signals.items() if key != name}, version)
    assert len({changed, failed, make_fingerprint(signals, version)}) == 3
    assert failed == without


def test_the_set_of_version_2_is_whole() -> None:
    """Every signal of version 2 is in these tests, and those that count are these."""
    assert {signal.name for signal in list_signals(2)} == VERSION_2.keys()
    assert {signal.name for signal in list_signals(2) if is_counted(signal.name, 2)} == COUNTED_IN_2


def test_too_few_signals_give_none_in_version_1() -> None:
    """Four signals at least, one of them strong: a text that thousands share is worse than none."""
    weak = {"platform": "Win32", "math": "a", "color_depth": 24, "touch_points": 0, "webgl_vendor": "x"}
    assert make_fingerprint(weak, 1) == ""
    assert make_fingerprint({"canvas": "ab", "platform": "Win32", "math": "a"}, 1) == ""
    assert make_fingerprint({"canvas": "ab", "platform": "Win32", "math": "a", "color_depth": 24}, 1) != ""
    assert make_fingerprint({}, 1) == ""


def test_too_few_signals_give_none_in_version_2() -> None:
    """Eight signals that count at least, two of them strong."""
    strong = {"canvas_text", "webgl_renderer", "audio", "fonts"}
    weak = sorted(COUNTED_IN_2 - strong)

    def make(names: list[str]) -> str:
        return make_fingerprint({name: VERSION_2[name] for name in names}, 2)

    assert make(weak) == ""
    assert make([*weak, "audio"]) == ""
    assert make([*weak[:5], "audio", "fonts"]) == ""
    assert make([*weak[:6], "audio", "fonts"]) != ""
    assert make_fingerprint({}, 2) == ""


def test_resist_fingerprinting_gives_none() -> None:
    """A browser that gives the same answers to all has no fingerprint: what it replaces arrives marked."""
    marked = {
        signal.name: {"error": "rfp"} if "rfp" in signal.blurred_by else VERSION_2[signal.name]
        for signal in list_signals(2)
    }
    assert make_fingerprint(marked, 2) == ""


def test_unknown_versions() -> None:
    """Only versions that exist can be made."""
    assert frozenset({1, 2}) == VERSIONS
    with pytest.raises(ValueError, match="version 3"):
        make_fingerprint(VERSION_2, 3)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(st.dictionaries(st.sampled_from([*VERSION_1, *VERSION_2, "other"]), _ANY), st.sampled_from([1, 2]))
def test_no_signals_break_it(signals: dict[str, Any], version: int) -> None:
    """Whatever a page sends, the result is a fingerprint or none."""
    text = make_fingerprint({**SETS[version], **signals}, version)
    assert text == "" or (text.startswith(f"v{version}.") and len(text) == 35)
