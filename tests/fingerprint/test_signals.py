"""Each signal: its normal form, what is not accepted as one, and what is said about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from fingerprint import SIGNALS, VERSIONS, Blur, Stability, list_signals, normalise_signals
from fingerprint.signals import is_counted

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tag_js" / "src" / "fingerprint" / "sources"

VERSION_1 = {
    "canvas": True,
    "webgl_vendor": True,
    "webgl_renderer": True,
    "audio": True,
    "fonts": True,
    "languages": False,
    "time_zone": False,
    "screen": False,
    "color_depth": True,
    "hardware_concurrency": False,
    "device_memory": False,
    "touch_points": True,
    "platform": True,
    "math": True,
}


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
def test_normal_forms_of_version_1(name: str, value: Any, normal: str | None) -> None:
    """A usable value has one form; anything else is left out."""
    assert normalise_signals({name: value}, 1) == ({} if normal is None else {name: normal})


@pytest.mark.parametrize(
    ("name", "value", "normal"),
    [
        *(
            (name, "0123456789abcdef", "0123456789abcdef")
            for name in ("canvas_text", "canvas_geometry", "canvas_emoji")
        ),
        ("canvas_text", "0123456789ABCDEF", None),
        ("canvas_text", "0123456789abcdef0", None),
        ("canvas_text", 7, None),
        ("canvas_text", {"error": "noise"}, None),
        ("webgl_vendor", "Apple Inc.", "Apple Inc."),
        ("webgl_renderer", "Apple GPU", "Apple GPU"),
        ("webgl_parameters", "8192;16384;1,1023", "8192;16384;1,1023"),
        ("webgl_parameters", "null;8192", "null;8192"),
        ("webgl_parameters", "<b>", None),
        ("webgl_parameters", "1;" * 257, None),
        ("webgl_extensions", "ffffffffffffffff", "ffffffffffffffff"),
        ("webgl_extensions", ["EXT_a"], None),
        ("webgl_precision", "127,127,23;15,14,0", "127,127,23;15,14,0"),
        ("webgl_precision", "", None),
        ("audio", 124.04347776696522, "124.043478"),
        ("audio", {"error": "noise"}, None),
        ("codecs", "p-m", "p-m"),
        ("codecs", "probably", None),
        ("codecs", "p" * 65, None),
        ("fonts", ["Ubuntu"], "Ubuntu"),
        ("font_preferences", ["45530", "42551"], "45530\x1f42551"),
        ("font_preferences", [45530], None),
        ("system_font", ["16px Arial", "16px Arial"], "16px Arial\x1f16px Arial"),
        ("system_font", "16px Arial", None),
        ("architecture", 255, "255"),
        ("architecture", 256, None),
        ("architecture", 127.5, None),
        ("architecture", "255", None),
        ("math", "df5918e47fe24f53", "df5918e47fe24f53"),
        ("hardware_concurrency", 0, None),
        ("hardware_concurrency", {"error": "rfp"}, None),
        ("device_memory", 16, "16"),
        ("heap_limit", 4_395_630_592, "4395630592"),
        ("heap_limit", 17_179_869_184, "17179869184"),
        ("heap_limit", 1e300, None),
        ("platform", "Win32", "Win32"),
        ("ua_device", ["Windows", "x86", "64", "", "Desktop"], "Windows\x1fx86\x1f64\x1f\x1fDesktop"),
        ("ua_device", ["Windows", "x86", "64", ""], None),
        ("ua_device", ["", "", "", "", ""], None),
        ("ua_device", ["Windows", "x86", 64, "", ""], None),
        ("ua_device", ["a\x1fb", "", "", "", ""], "a b\x1f\x1f\x1f\x1f"),
        ("ua_device", ["a" * 65, "", "", "", ""], None),
        ("ua_device", "Windows", None),
        ("ua_version", ["Windows 19.0.0", "Chromium 156.0.1.2"], "Windows 19.0.0\x1fChromium 156.0.1.2"),
        ("ua_version", "156", None),
        ("vendor", "Google Inc.", "Google Inc."),
        ("vendor", 1, None),
        (
            "engine",
            "37 Cannot read properties of null (reading 'x')",
            "37 Cannot read properties of null (reading 'x')",
        ),
        ("engine", [], None),
        ("flavors", ["safari", "chrome"], "chrome\x1fsafari"),
        ("flavors", "chrome", None),
        ("languages", ["de"], "de"),
        ("locale", "de", "de"),
        ("locale", ["de"], None),
        ("time_zone", "Asia/Tokyo", "Asia/Tokyo"),
        ("keyboard", "0123456789abcdef", "0123456789abcdef"),
        ("keyboard", "qwertz", None),
        ("plugins", ["PDF Viewer", "Chrome PDF Viewer"], "Chrome PDF Viewer\x1fPDF Viewer"),
        ("plugins", "PDF Viewer", None),
        ("pdf_viewer", 1, "1"),
        ("pdf_viewer", True, None),
        ("storage", ["localStorage", "indexedDB"], "indexedDB\x1flocalStorage"),
        ("storage", 1, None),
        ("cookies", 0, "0"),
        ("cookies", 2, None),
        ("screen", "1920x1080", "1920x1080"),
        ("screen_frame", "0,0,48,-1920", "0,0,48,-1920"),
        ("screen_frame", "0,0,47.5,0", "0,0,47.5,0"),
        ("screen_frame", "0,0,48", None),
        ("color_depth", 30, "30"),
        ("pixel_ratio", 1.25, "1.25"),
        ("pixel_ratio", 0, None),
        ("color_gamut", "p3", "p3"),
        ("color_gamut", "all", None),
        ("hdr", "high", "high"),
        ("hdr", 1, None),
        ("monochrome", "0", "0"),
        ("monochrome", "3", None),
        ("touch_points", 5, "5"),
        ("pointers", ["hover", "fine"], "fine\x1fhover"),
        ("pointers", "fine", None),
        ("contrast", "more", "more"),
        ("contrast", "most", None),
        ("forced_colors", "active", "active"),
        ("forced_colors", True, None),
        ("inverted_colors", "none", "none"),
        ("inverted_colors", {"error": "missing"}, None),
        ("reduced_motion", "reduce", "reduce"),
        ("reduced_motion", ["reduce"], None),
        ("reduced_transparency", "no-preference", "no-preference"),
        ("reduced_transparency", "", None),
        ("canvas", "9f3a", None),
    ],
)
def test_normal_forms_of_version_2(name: str, value: Any, normal: str | None) -> None:
    """A usable value has one form; anything else, and a signal of version 1 only, is left out."""
    assert normalise_signals({name: value}, 2) == ({} if normal is None else {name: normal})


def test_version_1_stays() -> None:
    """The set of version 1, and what counts in it, never changes."""
    assert {signal.name: signal.counts[1] for signal in list_signals(1)} == VERSION_1


def test_the_tag_reads_exactly_version_2() -> None:
    """The tag's sources and version 2 have the same names, thirty at least."""
    named = {
        match.group(1)
        for path in SOURCES.glob("*.ts")
        if (match := re.search(r'\bname: "(\w+)"', path.read_text(encoding="utf-8")))
    }
    assert len(named) == len(list(SOURCES.glob("*.ts"))) >= 30
    assert named == {signal.name for signal in list_signals(2)}


def test_what_the_tag_marks_is_known_as_blurred() -> None:
    """Where the tag marks a signal as replaced by a protection, `blurred_by` names that protection."""
    blurred_by = {signal.name: signal.blurred_by for signal in SIGNALS}
    marked = 0
    for path in SOURCES.glob("*.ts"):
        text = path.read_text(encoding="utf-8")
        if match := re.search(r'\bblur: "(\w+)"', text):
            by = {{"r": "rfp", "b": "brave"}[letter] for letter in match.group(1)}
            assert by <= blurred_by[path.stem], path.name
            marked += 1
    assert marked > 10


def test_each_signal_is_described() -> None:
    """Every signal says what it is, why it counts or not, what changes it and who blurs it; no two share a name."""
    assert len({signal.name for signal in SIGNALS}) == len(SIGNALS)
    for signal in SIGNALS:
        assert signal.what
        assert signal.why
        assert signal.stability in get_args(Stability)
        assert signal.blurred_by <= set(get_args(Blur))
        assert signal.counts.keys() <= VERSIONS


def test_what_the_person_changes_does_not_count() -> None:
    """Neither a setting, nor the place, nor what a private window of Chromium blurs counts in version 2."""
    for signal in list_signals(2):
        changes = signal.stability in ("setting", "place") or "chromium_private" in signal.blurred_by
        assert not (changes and is_counted(signal.name, 2)), signal.name
        assert signal.why.startswith("does not count") != is_counted(signal.name, 2), signal.name
    assert not is_counted("canvas", 2)
    assert not is_counted("unknown", 1)


def test_the_docs_name_them_all() -> None:
    """The table for site owners has every signal of version 2 once, and says how many there are."""
    section = (
        (ROOT / "docs" / "tag.md").read_text(encoding="utf-8").split("## Device fingerprint\n")[1].split("\n## ")[0]
    )
    table = section.split("|---|---|---|\n")[1].split("\n\n")[0]
    names = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[2])]
    assert sorted(names) == sorted(signal.name for signal in list_signals(2))
    assert f"reads {len(names)} signals" in section
