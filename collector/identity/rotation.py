"""Rotating the personal keys: from two keys in force to one, without a person changing.

    begin     `key_changes.add_personal_key`: new pseudonyms are made with the new key. Whoever is seen from then on is
              written under both, tied by rekey evidence (see `accept.evidence`)
    period    as long as the operator likes: everybody who comes back keeps their thread
    rekey     whoever is in the vault is named anew from there, seen or not, as often as one likes
    finish    what the old keys sealed is removed, then the old keys: nobody can make the old pseudonyms again

Invariants: nothing is removed before the store has everything that was made in its place. Every step may be repeated,
after a crash too: what is there already is not made again, and the same row made twice is one row. What is written
goes through the spool, so that the list of batches shows it to stitch. Clear values stay in this process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from collector.config import Config
from collector.errors import KeyringError
from collector.event import NIL_ID, LandingRow, VaultRow
from collector.identity import audit
from collector.identity.identifiers import Named, make_pseudonym, own_person_id
from collector.identity.rekey import PROOF, make_rekey
from collector.identity.vault import open_value, seal_value
from collector.keyring import Keyring, PersonalKey
from collector.sites.book import IdentifierKind
from collector.sites.rows import read_sites
from collector.spool.writer import SpoolWriter
from collector.store.client import StoreClient
from collector.store.rendering import Target, render

PAGE_ROWS = 20_000  # each page asks anew what is left, which costs by what is done
LINE_ROWS = 200
LOOK_S = 0.5
LATE_MS = 3_600_000
"""A pseudonym made with an old key alone, so shortly ago, means that some web process does not know the new one."""
FOLDER_NAME = "rekey"

# Left of the vault: what an old key sealed and has no name under the newest key yet, or not in the vault.
_COUNT_LEFT = """
    SELECT count() AS n FROM identifier_vault FINAL
    WHERE key_id = {old:String} AND key GLOBAL NOT IN (
        SELECT a_key FROM identity_evidence WHERE kind = 'rekey' AND startsWith(b_value, {new_prefix:String})
        AND b_key GLOBAL IN (SELECT key FROM identifier_vault WHERE key_id = {new:String}))
"""
_READ_LEFT = """
    SELECT space_id, site_id, kind, pseudonym AS value, toString(vault.key) AS key, sealed
    FROM identifier_vault AS vault FINAL
    WHERE (space_id, vault.key) > ({space:String}, {after:UUID}) AND key_id = {old:String} AND vault.key GLOBAL NOT IN (
        SELECT a_key FROM identity_evidence WHERE kind = 'rekey' AND startsWith(b_value, {new_prefix:String})
        AND b_key GLOBAL IN (SELECT key FROM identifier_vault WHERE key_id = {new:String}))
    ORDER BY space_id, vault.key LIMIT {most:UInt32}
"""
# A link brings the pseudonym that it was minted with, for as long as it lives: no host is late for that.
_COUNT = """
    SELECT count() AS known, countIf(is_seen) AS seen, countIf(is_vaulted) AS vaulted,
        countIf(NOT is_seen AND NOT is_vaulted) AS lost, toUnixTimestamp64Milli(max(last)) AS last_ms
    FROM (
        SELECT key, last,
            key GLOBAL IN (SELECT a_key FROM identity_evidence
                WHERE kind = 'rekey' AND startsWith(a_value, {old_prefix:String})) AS is_seen,
            key GLOBAL IN (SELECT key FROM identifier_vault WHERE key_id = {old:String}) AS is_vaulted
        FROM (
            SELECT name.1 AS key, maxIf(received_at, kind != 'link') AS last
            FROM identity_evidence ARRAY JOIN [(a_key, a_value), (b_key, b_value)] AS name
            WHERE kind != 'rekey' AND startsWith(name.2, {old_prefix:String}) AND length(name.2) = {length:UInt8}
            GROUP BY key))
"""
_Page = Sequence[tuple[str, str, VaultRow]]


class Watcher(Protocol):
    """Whoever shows how it goes."""

    def begin(self, total: int) -> None:
        """Hear how many vaulted values there are to name anew."""

    def reach(self, count: int) -> None:
        """Hear how many are done."""

    def wait(self, left: int) -> None:
        """Hear that all are spooled, and how many the store does not have yet."""


class Rotation(NamedTuple):
    """How far a rotation is. Counts are of personal identifiers that the old key named.

    `seen`: since the new key is in force. `vaulted`: in the vault. `lost`: neither, so that they would begin anew.
    `last_ms`: when the store last received a name under the old key alone, 0: never.
    """

    old: PersonalKey
    new: PersonalKey
    known: int = 0
    seen: int = 0
    vaulted: int = 0
    lost: int = 0
    last_ms: int = 0

    def find_late_s(self, now_ms: int) -> int | None:
        """Return how many seconds ago somebody still wrote without the new key; None where that is long enough ago."""
        age_ms = now_ms - self.last_ms
        return age_ms // 1000 if self.last_ms > self.new.made_at_ms and age_ms < LATE_MS else None


def read_rotation(client: StoreClient, keyring: Keyring) -> list[Rotation]:
    """Return how far it is, for each old key that is in force; nothing where none is. Raises StoreError."""
    new, *olds = keyring.personal_keys
    found = []
    for old in olds:
        [row] = client.query_rows(_COUNT, {**_bind(old, new), "length": len(old.id) + 33})
        found.append(Rotation(old, new, **{name: int(row[name]) for name in Rotation._fields[2:]}))
    return found


def note_begun(client: StoreClient, keyring: Keyring, actor: str) -> None:
    """Write into the audit log of every space that a rotation is under way, where it does not say so yet.

    Beginning one needs no store, so whoever finishes it says it too. Raises StoreError.
    """
    new, *olds = keyring.personal_keys
    for space_id in _list_spaces(client) if olds else ():
        digest = blake2b(f"{space_id}|{new.id}".encode(), digest_size=16, person=b"tagstitch.rotate")
        audit_id = str(UUID(bytes=digest.digest()))
        if audit.read_entry(client, space_id, audit_id) is None:
            arguments = {"old": [old.id for old in olds], "new": new.id}
            audit.write_setting(client, space_id, audit.ROTATE, actor, arguments, new.made_at_ms, audit_id)


def note_finish(client: StoreClient, rotations: Sequence[Rotation], actor: str, now_ms: int) -> None:
    """Write into the audit log of every space that the old keys are about to be destroyed. Raises StoreError."""
    for space_id in _list_spaces(client):
        for rotation in rotations:
            counts = {name: getattr(rotation, name) for name in ("known", "seen", "vaulted", "lost")}
            arguments = {"old": rotation.old.id, "new": rotation.new.id, **counts}
            audit.write_setting(client, space_id, audit.FINISH_ROTATION, actor, arguments, now_ms)


def _list_spaces(client: StoreClient) -> list[str]:
    return sorted({site.space_id for site in read_sites(client)})


def rekey_vault(config: Config, keyring: Keyring, client: StoreClient, watcher: Watcher) -> int:
    """Spool new names for everybody in the vault who has none yet. Returns how many could not be opened.

    Raises StoreError, SpoolError, InstanceBusy; then call it again.
    """
    return asyncio.run(_rekey_vault(config, keyring, client, watcher))


async def _rekey_vault(config: Config, keyring: Keyring, client: StoreClient, watcher: Watcher) -> int:
    new, *olds = keyring.personal_keys
    kinds = {(site.space_id, kind.name): kind for site in read_sites(client) for kind in site.kinds}
    watcher.begin(sum(_count_left(client, old, new) for old in olds))
    done = unreadable = 0
    writer = await asyncio.to_thread(
        SpoolWriter,
        config.data_path / "spool" / FOLDER_NAME,
        segment_bytes=config.segment_bytes,
        segment_age_s=config.segment_age_s,
        max_spool_bytes=config.max_spool_bytes,
        min_free_bytes=config.min_free_bytes,
        durability=config.durability,
    )
    try:
        for old in olds:
            for page in _read_pages(client, old, new):
                rows = _rekey(page, keyring, old, kinds)
                await asyncio.gather(*(writer.append(msgspec.json.encode(row)) for row in rows))
                done += len(page)
                unreadable += len(page) - sum(len(row.vault) for row in rows)
                watcher.reach(done)
    finally:
        await asyncio.to_thread(writer.close)
    return unreadable


def wait_for_vault(
    keyring: Keyring,
    client: StoreClient,
    watcher: Watcher,
    unreadable: int = 0,
    *,
    limit_s: float = 600.0,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when the store has a new name for everybody in the vault but `unreadable`.

    Raises KeyringError where it comes no nearer to that for `limit_s`, StoreError.
    """
    new, *olds = keyring.personal_keys
    waited_s, before = 0.0, -1
    while (left := sum(_count_left(client, old, new) for old in olds)) > unreadable:
        watcher.wait(left)
        waited_s = waited_s + LOOK_S if left == before else 0.0
        before = left
        if waited_s >= limit_s:
            raise KeyringError(
                f"{left} new names are in the spool, and nobody loads them: start `tagstitch load`, then finish again"
            )
        sleep(LOOK_S)


def clear_vault(client: StoreClient, target: Target, keyring: Keyring) -> None:
    """Remove from the vault what keys other than the newest have sealed. Raises StoreError."""
    rows = client.query_rows("SELECT DISTINCT key_id FROM identifier_vault")
    for key_id in sorted(str(row["key_id"]) for row in rows):
        if key_id == keyring.personal_keys[0].id or not (key_id.isascii() and key_id.isalnum()):
            continue
        [statement] = render(
            f"ALTER TABLE @local(identifier_vault) @on_cluster DROP PARTITION '{key_id}'",  # alphanumeric, as seen
            target,
        )
        client.command(statement)


def _read_pages(client: StoreClient, old: PersonalKey, new: PersonalKey) -> Iterator[_Page]:
    """Yield what is left: space, site and sealed value of each, in the order of their keys."""
    place = {"space": "", "after": NIL_ID}
    while rows := client.query_rows(_READ_LEFT, {**_bind(old, new), **place, "most": PAGE_ROWS}):
        yield [(row["space_id"], row["site_id"], msgspec.convert(row, VaultRow)) for row in rows]
        place = {"space": rows[-1]["space_id"], "after": rows[-1]["key"]}


def _rekey(
    page: _Page,
    keyring: Keyring,
    old: PersonalKey,
    kinds: dict[tuple[str, str], IdentifierKind],
) -> list[LandingRow]:
    """Return the rows that give everybody of a page their new name, in the vault too. What cannot be opened is left."""
    now_ms, new = time.time_ns() // 1_000_000, keyring.personal_keys[0]
    rows: dict[tuple[str, str], list[LandingRow]] = {}
    for space_id, site_id, vaulted in page:
        value = open_value(old, space_id, vaulted)
        if value is None:
            continue
        kind = kinds.get((space_id, vaulted.kind), IdentifierKind(vaulted.kind, unique=False))
        stored = make_pseudonym(new, space_id, vaulted.kind, value)
        named = Named(stored, own_person_id(keyring.pseudonym_key, space_id, vaulted.kind, stored), is_clear=False)
        made = seal_value(keyring, space_id, vaulted.kind, named, value)
        group = rows.setdefault((space_id, site_id), [])
        if not group or len(group[-1].vault) >= LINE_ROWS:
            group.append(LandingRow(received_at_ms=now_ms, site_id=site_id, space_id=space_id, visitor_proof=PROOF))
        tie = make_rekey(kind, (vaulted.value, vaulted.key), (made.value, made.key), at_ms=new.made_at_ms)
        group[-1].evidence.append(tie)
        group[-1].vault.append(made)
    return [row for group in rows.values() for row in group]


def _count_left(client: StoreClient, old: PersonalKey, new: PersonalKey) -> int:
    return int(client.query_rows(_COUNT_LEFT, _bind(old, new))[0]["n"])


def _bind(old: PersonalKey, new: PersonalKey) -> dict[str, str]:
    return {"old": old.id, "new": new.id, "old_prefix": f"{old.id}.", "new_prefix": f"{new.id}."}
