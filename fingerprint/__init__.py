"""Device fingerprints from a browser's signals: pure functions, no I/O, nothing of the collector imported.

signals      all signals, and the versions of the set (hardware and software have the lists)
signal       what is known of one: its form, what changes it, who blurs it, in which versions it counts
forms        normal forms and bounds of what a page sends
identifier   one versioned text from a set of signals
"""

from fingerprint.identifier import VERSIONS, make_fingerprint
from fingerprint.signal import Blur, Signal, Stability
from fingerprint.signals import SIGNALS, list_signals, normalise_signals

__all__ = [
    "SIGNALS",
    "VERSIONS",
    "Blur",
    "Signal",
    "Stability",
    "list_signals",
    "make_fingerprint",
    "normalise_signals",
]
