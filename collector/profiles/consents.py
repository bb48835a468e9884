"""Consent of a person: what holds by the ledger, for each purpose, over all identifiers; the latest word counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from collector.profiles.keys import Held

CONSENTS = """
SELECT 'consent' AS part, toJSONString((entry.key, toString(purpose), toString(last.2), toUnixTimestamp64Milli(last.1),
    toString(last.3), last.4)) AS row
FROM
(
    SELECT ledger.key AS key, purpose,
        argMax((time, state, source, policy_version), (time, received_at, consent_id)) AS last
    FROM consent_ledger AS ledger
    WHERE space_id = {space:String} AND ledger.key IN (keys)
    GROUP BY ledger.key, purpose
) AS entry
"""


class ConsentRow(msgspec.Struct, frozen=True, array_like=True):
    """What holds for one identifier and purpose."""

    key: str
    purpose: str
    state: str
    since_ms: int
    source: str
    policy_version: int


class Consent(msgspec.Struct, frozen=True):
    """What holds for one purpose. `state`: granted, denied or withdrawn."""

    purpose: str
    state: str
    since_ms: int
    source: str
    policy_version: int


decode_consent = msgspec.json.Decoder(ConsentRow).decode


def settle_consents(held: Mapping[str, Held], rows: Iterable[ConsentRow]) -> tuple[Consent, ...]:
    """Return what holds of a person, by purpose. Of a no and a yes of the same moment the no holds."""
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


def _rank(row: ConsentRow) -> tuple[int, bool, str]:
    return (row.since_ms, row.state != "granted", row.key)
