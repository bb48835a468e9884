"""One text from a set of signals: the fingerprint.

Its form is `v<version>.<32 hexadecimal digits>`. The same signals give the same text whatever their order, and a
version never changes what it computes: a test pins it. Too few signals give no fingerprint at all, because a text
that thousands of devices share is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from fingerprint.signals import is_counted, normalise_signals


class Demands(NamedTuple):
    """What must be there for a fingerprint: signals that count, and among them strong ones, which say most."""

    signals: int
    strong: int
    strong_names: frozenset[str]


_DEMANDS = {
    1: Demands(4, 1, frozenset(("canvas", "webgl_renderer", "audio", "fonts"))),
    # Twice as many count, most of which many devices share, so two strong ones are wanted.
    2: Demands(8, 2, frozenset(("canvas_text", "webgl_renderer", "audio", "fonts"))),
}
VERSIONS = frozenset(_DEMANDS)


def make_fingerprint(signals: Mapping[str, Any], version: int) -> str:
    """Return the fingerprint, or "" where too few signals are usable.

    `signals`: values or `{"error": reason}` by name. Raises ValueError for a version that does not exist.
    """
    demands = _DEMANDS.get(version)
    if demands is None:
        raise ValueError(f"fingerprint version {version} does not exist; known: {sorted(VERSIONS)}")
    counted = {name: form for name, form in normalise_signals(signals, version).items() if is_counted(name, version)}
    if len(counted) < demands.signals or len(demands.strong_names & counted.keys()) < demands.strong:
        return ""
    digest = sha256(f"fingerprint {version}".encode())
    for name in sorted(counted):
        for part in (name, counted[name]):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(4, "big"))
            digest.update(raw)
    return f"v{version}.{digest.hexdigest()[:32]}"
