"""What a signal is to those who judge it: its form, what changes it, who blurs it, and in which versions it counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from fingerprint.forms import Normalise

Stability = Literal["hardware", "system", "browser", "setting", "place"]
"""What it takes to change the value, from the rarest on: another device · a system, driver or font update or software
installed · a new major version of the browser · a setting that the person changes at will · another screen, mouse or
country."""

Blur = Literal["rfp", "firefox_private", "brave", "safari", "safari_private", "chromium_private"]
"""Who replaces, rounds or withholds the value: Firefox's resistFingerprinting (also Tor Browser) · Firefox's private
windows and strict protection · Brave · Safari always · Safari's private windows · Chromium's private windows."""


class Signal(NamedTuple):
    """One signal. `normalise` returns its normal form as text, or None where the value cannot be used."""

    name: str
    what: str
    normalise: Normalise
    stability: Stability
    counts: Mapping[int, bool]
    """By version that has the signal: whether it counts."""
    why: str
    """Why it counts in the newest version, or does not."""
    blurred_by: frozenset[Blur] = frozenset()


IN_2 = {2: False}
COUNTS_IN_2 = {2: True}
IN_BOTH = {1: False, 2: False}
COUNTS_IN_1 = {1: True, 2: False}
COUNTS_IN_BOTH = {1: True, 2: True}

RFP: frozenset[Blur] = frozenset(("rfp",))
BRAVE: frozenset[Blur] = frozenset(("brave",))
