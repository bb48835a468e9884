"""Each signal: its normal form, and what is not accepted as one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fingerprint.signals import SIGNALS, normalise_signals

SOURCES = Path(__file__).parents[2] / "tag_js" / "src" / "fingerprint" / "sources"


@pytest.mark.parametrize(
    ("name", "value", "normal"),
    [
        ("canvas", "9F3A", "9f3a"),
        ("canvas", {"error": "noise"}, None),
        ("canvas", "x" * 513, None),
        ("audio", 124.043475275, "124.043475"),
        ("audio", float("nan"), None),
        ("audio", 1e300, None),
        ("webgl_renderer", "  ANGLE \n (x) ", "ANGLE (x)"),
        ("webgl_renderer", "", None),
        ("fonts", ["B", "A", "A"], "A\x1fB"),
        ("fonts", [], ""),
        ("fonts", ["x" * 65], None),
        ("fonts", ["a", 1], None),
        ("fonts", ["a"] * 257, None),
        ("fonts", "Arial", None),
        ("languages", ["de-DE", "en"], "de-DE\x1fen"),
        ("languages", ["en", "de-DE"], "en\x1fde-DE"),
        ("time_zone", "Europe/Berlin", "Europe/Berlin"),
        ("screen", "1080x1920", "1920x1080"),
        ("screen", "1280.5x720", "1280x720"),
        ("screen", [1080, 1920], "1920x1080"),
        ("screen", {"width": 800, "height": 600}, "800x600"),
        ("screen", "1920", None),
        ("screen", "ax b", None),
        ("screen", "0x0", None),
        ("screen", [True, 5], None),
        ("color_depth", 24, "24"),
        ("color_depth", True, None),
        ("color_depth", 0, None),
        ("color_depth", "24", None),
        ("hardware_concurrency", 8, "8"),
        ("device_memory", 0.25, "0.25"),
        ("touch_points", 0, "0"),
        ("touch_points", -1, None),
        ("platform", "Linux x86_64", "Linux x86_64"),
        ("math", 1.5, "1.5"),
        ("math", None, None),
        ("unknown", "x", None),
    ],
)
def test_normal_forms(name: str, value: Any, normal: str | None) -> None:
    """A usable value has one form; anything else is left out."""
    assert normalise_signals({name: value}) == ({} if normal is None else {name: normal})


def test_the_tag_reads_exactly_these_signals() -> None:
    """The tag's sources and this list have the same names."""
    named = {
        match.group(1)
        for path in SOURCES.glob("*.ts")
        if (match := re.search(r'\bname: "(\w+)"', path.read_text(encoding="utf-8")))
    }
    assert named == {signal.name for signal in SIGNALS}


def test_each_signal_is_described() -> None:
    """Every signal says what it is, and no two share a name."""
    assert len({signal.name for signal in SIGNALS}) == len(SIGNALS)
    assert all(signal.what for signal in SIGNALS)
