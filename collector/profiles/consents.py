"""Consent of a person: what holds by the ledger, for each purpose, over all identifiers; the latest word counts.

What was said of the person counts before what one browser of theirs was told (`purposes.PERSONAL_SOURCES`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from collector.profiles.keys import Held
from collector.purposes import PERSONAL_SOURCES
from collector.store.client import StoreClient

CONSENTS = """
SELECT 'consent' AS part, toJSONString((entry.key, purpose, state, toUnixTimestamp64Milli(time), source, policy_version,
    toUnixTimestamp64Milli(received_at), consent_id)) AS row
FROM consent_ledger AS entry
WHERE space_id = {space:String} AND entry.key IN {keys:Array(UUID)}
"""

_GRANTED = """
SELECT count() AS found FROM consent_ledger AS entry
WHERE space_id = {space:String} AND entry.key = {key:UUID} AND state = 'granted'
"""


class ConsentRow(msgspec.Struct, frozen=True, array_like=True):
    """An entry of the ledger; one that came twice is there twice, as long as nothing has merged them."""

    key: str
    purpose: str
    state: str
    since_ms: int
    source: str
    policy_version: int
    received_ms: int
    consent_id: str


class Consent(msgspec.Struct, frozen=True):
    """What holds for one purpose. `state`: granted, denied or withdrawn."""

    purpose: str
    state: str
    since_ms: int
    source: str
    policy_version: int


decode_consent = msgspec.json.Decoder(ConsentRow).decode


def has_granted(client: StoreClient, space_id: str, key: str) -> bool:
    """Whether anything was ever granted under this own person id. Raises StoreError."""
    rows = client.query_rows(_GRANTED, {"space": space_id, "key": key})
    return int(rows[0]["found"]) > 0


def settle_consents(held: Mapping[str, Held], rows: Iterable[ConsentRow]) -> tuple[Consent, ...]:
    """Return what holds of a person, by purpose."""
    latest: dict[str, ConsentRow] = {}
    for row in rows:
        item = held.get(row.key)
        if item is not None and item.has(row.since_ms):
            before = latest.get(row.purpose)
            if before is None or _rank(row) > _rank(before):
                latest[row.purpose] = row
    return tuple(
        Consent(row.purpose, row.state, row.since_ms, row.source, row.policy_version)
        for row in sorted(latest.values(), key=lambda row: row.purpose)
    )


def _rank(row: ConsentRow) -> tuple[bool, int, int, str]:
    """As `v_consents` says which entry is the last."""
    return (row.source in PERSONAL_SOURCES, row.since_ms, row.received_ms, row.consent_id)
