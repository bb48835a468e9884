"""All signals of a device, and the versions of the set.

A signal arrives as a value or as `{"error": "reason"}`; one that failed, has the wrong form or breaks its bounds is
left out and nothing else happens.

A version is a set of signals, as one generation of the tag reads them, and a choice of those that count. A signal
counts towards the fingerprint only if it is the same after a restart, an update of the browser's minor version, a move
to another screen and in a private window, and if the person cannot change it at will. The others are kept apart from
the fingerprint, for linking: there `stability` says what a change of the value is worth, and `blurred_by` where the
value says nothing. Version 1 judged a few of them otherwise and stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fingerprint.hardware import HARDWARE
from fingerprint.signal import Signal
from fingerprint.software import SOFTWARE

SIGNALS: tuple[Signal, ...] = HARDWARE + SOFTWARE

_BY_NAME = {signal.name: signal for signal in SIGNALS}


def list_signals(version: int) -> tuple[Signal, ...]:
    """The signals of this version of the set."""
    return tuple(signal for signal in SIGNALS if version in signal.counts)


def normalise_signals(raw: Mapping[str, Any], version: int) -> dict[str, str]:
    """Return the usable signals of this version in normal form, by name. Unknown and failed ones are left out; never
    raises."""
    normal: dict[str, str] = {}
    for signal in list_signals(version):
        value = raw.get(signal.name)
        if value is None:
            continue
        form = signal.normalise(value)
        if form is not None:
            normal[signal.name] = form
    return normal


def is_counted(name: str, version: int) -> bool:
    """Whether the signal goes into the fingerprint of this version."""
    signal = _BY_NAME.get(name)
    return signal is not None and signal.counts.get(version, False)
