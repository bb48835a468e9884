"""One text from a set of signals: the fingerprint.

Its form is `v<version>.<32 hexadecimal digits>`. The same signals give the same text whatever their order, and a
version never changes what it computes: a test pins it. Too few signals give no fingerprint at all, because a text
that thousands of devices share is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from fingerprint.signals import is_counted, normalise_signals

VERSIONS = frozenset((1,))
MIN_SIGNALS = 4
STRONG = frozenset(("canvas", "webgl_renderer", "audio", "fonts"))
"""At least one of these must be there: the others alone say little more than the model."""


def make_fingerprint(signals: Mapping[str, Any], version: int = 1) -> str:
    """Return the fingerprint, or "" where too few signals are usable.

    `signals`: values or `{"error": reason}` by name. Raises ValueError for a version that does not exist.
    """
    if version not in VERSIONS:
        raise ValueError(f"fingerprint version {version} does not exist; known: {sorted(VERSIONS)}")
    counted = {name: form for name, form in normalise_signals(signals).items() if is_counted(name)}
    if len(counted) < MIN_SIGNALS or not STRONG & counted.keys():
        return ""
    digest = sha256(f"fingerprint {version}".encode())
    for name in sorted(counted):
        for part in (name, counted[name]):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(4, "big"))
            digest.update(raw)
    return f"v{version}.{digest.hexdigest()[:32]}"
