"""Withdrawals that an officer or a person makes for all identifiers of somebody at once, in the consent ledger."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b

from collector.store.client import StoreClient
from collector.store.writer import insert_rows

SOURCE = "objection"


def write_withdrawals(
    client: StoreClient,
    space_id: str,
    keys: Collection[str],
    purposes: Collection[str],
    *,
    actor: str,
    proof: str,
    now_ms: int,
) -> None:
    """Take back what these identifiers consented to. `keys`: own person ids; `proof`: id of the request.

    The same twice is one entry. Raises StoreError.
    """
    rows = []
    for key in sorted(keys):
        for purpose in sorted(purposes):
            text = f"{proof}|{key}|{purpose}"
            rows.append(
                {
                    "space_id": space_id,
                    "key": key,
                    "purpose": purpose,
                    "time": now_ms / 1000,
                    "state": "withdrawn",
                    "source": SOURCE,
                    "site_id": "",
                    "policy_version": 1,
                    "actor": actor,
                    "proof": proof,
                    "consent_id": blake2b(text.encode(), digest_size=16, person=b"tagstitch.consen").hexdigest(),
                    "received_at": now_ms / 1000,
                    "batch_host": "",
                    "batch_seq": now_ms,
                }
            )
    insert_rows(client, "consent_ledger", rows)
