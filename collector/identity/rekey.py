"""Rekey evidence: that a pseudonym under an earlier personal key and one under the newest stand for the same value.

    a   the identifier under the earlier key
    b   the same under the newest

Level 4, and only ever from us: whoever writes it holds both keys and the value, so it is a computation, not somebody's
word, and it says nothing about any visitor. It is the same row whenever and wherever it is written: its id follows
from the two, its time is when the newest key came into force.
"""

from __future__ import annotations

from hashlib import blake2b

from collector.event import EvidenceRow
from collector.sites.book import IdentifierKind

REKEY = "rekey"
EDGE = "edge"
LEVEL = 4
PROOF = "server"


def make_rekey(kind: IdentifierKind, earlier: tuple[str, str], newest: tuple[str, str], *, at_ms: int) -> EvidenceRow:
    """Return the evidence. `earlier`, `newest`: the value as stored and its own person id. `at_ms`: of the new key."""
    return EvidenceRow(
        evidence_id=_make_id(earlier[1], newest[1]),
        kind=REKEY,
        level=LEVEL,
        a_kind=kind.name,
        a_value=earlier[0],
        a_key=earlier[1],
        b_kind=kind.name,
        b_value=newest[0],
        b_key=newest[1],
        b_unique=int(kind.unique),
        source=EDGE,
        proof=PROOF,
        time_ms=at_ms,
    )


def _make_id(a_key: str, b_key: str) -> str:
    digest = blake2b(f"{REKEY}|{a_key}|{b_key}".encode(), digest_size=16, person=b"tagstitch.eviden").hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"
