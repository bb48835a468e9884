"""Device fingerprints from a browser's signals: pure functions, no I/O, nothing of the collector imported.

signals      what each signal is, its normal form and bounds
identifier   one versioned text from a set of signals
"""

from fingerprint.identifier import VERSIONS, make_fingerprint
from fingerprint.signals import SIGNALS, Signal, normalise_signals

__all__ = ["SIGNALS", "VERSIONS", "Signal", "make_fingerprint", "normalise_signals"]
