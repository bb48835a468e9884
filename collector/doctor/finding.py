"""One line of the doctor's report."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["good", "warning", "bad", "unknown"]


class Finding(msgspec.Struct, frozen=True):
    """What was looked at, how it is, and what to do about it (`fix`, empty where nothing is)."""

    subject: str
    verdict: Verdict
    text: str
    fix: str = ""


def good(subject: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(subject, "good", text)


def warn(subject: str, text: str, fix: str) -> Finding:
    """It works, but something is lost or will be."""
    return Finding(subject, "warning", text, fix)


def bad(subject: str, text: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(subject, "bad", text, fix)


def unknown(subject: str, text: str, fix: str = "") -> Finding:
    """It could not be looked at."""
    return Finding(subject, "unknown", text, fix)
