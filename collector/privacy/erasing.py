"""Erasing: everything that is held about people, in the store and on this host's disk, until nothing is found of it.

    find ─► close ─► drain ─► part ─► (counts) ─► delete ─► files ─► verify

    find     whom it is about, and the times in which shared browsers are theirs
    close    tombstones: the store takes nothing of them in any more, web processes begin anew with who comes back
    drain    what lies in this host's spool is loaded, so that it is found
    part     evidence that ties others to them is taken back, and stitch has seen it: the others stay as they are
    counts   where they are anonymised instead: their events are written once more, of nobody
    delete   rows go, those of analysts' tables too; files of the store are written anew without them, and the files
             before leave the disk
    files    refused bodies, lines and damaged pieces of the spool on this host
    verify   the same conditions find nothing; if they do, from `delete` on again

Every step may be repeated, so whoever is killed begins again: tombstones say what a request erases, and find what is
left. While the store is away nothing is erased, and the request says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from collector.config import Config
from collector.errors import PrivacyError, PrivacyReason
from collector.identity.arrival import make_lines, spool_lines, wait_for_map
from collector.identity.rekey import REKEY
from collector.identity.selection import Statement, read_around, take_back
from collector.instance import MARKER
from collector.keyring import Keyring
from collector.load.drain import wait_for_spool
from collector.privacy.anonymising import keep_counts
from collector.privacy.certificate import FORMAT, Certificate, Erased, sign_certificate
from collector.privacy.deleting import Counted, Deleting, count_rows
from collector.privacy.inventory import PLACES
from collector.privacy.journal import JournalEntry, note_erasure
from collector.privacy.materialised import check_listed, erase_materialised
from collector.privacy.requests import ANONYMISE
from collector.privacy.subjects import FOR_EVER_MS, Subject, hash_keys
from collector.privacy.tombstones import mark_key, mark_value
from collector.privacy.traces import Names, remove_traces
from collector.profiles.keys import Span
from collector.store.client import StoreClient
from collector.store.dictionaries import ERASED, reload_dictionaries
from collector.store.writer import insert_rows

ROUNDS = 3
STITCH_S = 120.0
MOST_PIECES = 5_000_000
KEYS_PER_QUESTION = 3_000


class Watcher(Protocol):
    """Who is told how far an erasure is."""

    def begin(self, step: str) -> None:
        """A step begins."""

    def advance(self, done: int, total: int) -> None:
        """So much of the step is done."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be erased. `names`: as `read_names` gave them before anything was deleted; `values`: kind and value in
    normal form of personal identifiers that are known in clear; `counted`: what an earlier try had found. Times in
    milliseconds since 1970."""

    request_id: str
    space_id: str
    subjects: Sequence[Subject]
    asked_at_ms: int
    names: Names
    values: Collection[tuple[str, str]] = ()
    kind: str = "erase"
    counted: Mapping[str, Counted] = field(default_factory=dict)


@dataclass(slots=True)
class Erasing:
    """Carries out one order. For one thread, as its client."""

    client: StoreClient
    config: Config
    keyring: Keyring
    order: Order
    watcher: Watcher
    remember: Callable[[Mapping[str, Counted]], None] = lambda counts: None  # of what there was, for who begins again
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    _unreached: tuple[str, ...] = ()
    _materialised: dict[str, int] = field(default_factory=dict)

    def run(self) -> Certificate:
        """Erase, and return the certificate. Raises PrivacyError where something is left, InstanceError where this
        host's spool cannot be drained, StoreError."""
        begun_ms = self.now_ms()
        names = self.order.names
        check_listed(self.client)
        self._close(begun_ms)
        self.watcher.begin("drain")
        self._drain()
        self.watcher.begin("part")
        self._part()
        request_id = self.order.request_id
        before = count_rows(self.client, request_id)
        self.remember(before)
        if self.order.kind == ANONYMISE:
            self.watcher.begin("counts")
            keep_counts(self.client, self.order.space_id, request_id)
        has_shared = any(subject.shared for subject in self.order.subjects)
        deleting = Deleting(self.client, request_id, self.watcher.advance)
        found: dict[str, int] = {}
        for round_number in range(ROUNDS):
            self.watcher.begin("delete")
            deleting.delete(count_rows(self.client, request_id) if round_number else before, has_shared=has_shared)
            for name, count in erase_materialised(self.client, names).items():
                self._materialised[name] = self._materialised.get(name, 0) + count
            self.watcher.begin("files")
            removed = remove_traces(self.config, self.keyring, names)
            for name, count in removed.items():
                found[name] = found.get(name, 0) + count
            self.watcher.begin("verify")
            left = {name: counts for name, counts in count_rows(self.client, request_id).items() if sum(counts)}
            if not left:
                break
        else:
            where = ", ".join(sorted(left))
            raise PrivacyError(PrivacyReason.LEFT, f"after {ROUNDS} rounds rows are left in {where}: run it again")
        return self._certify(begun_ms, before, found)

    # --- the steps

    def _close(self, now_ms: int) -> None:
        self.watcher.begin("close")
        erased_ms = now_ms + int(2_000 * self.config.settings_interval_s) + 2_000
        rows: list[dict[str, object]] = []
        hashes = hash_keys(self.client, {item.key for subject in self.order.subjects for item in subject.held})
        for subject in self.order.subjects:
            for item in subject.held:
                is_whole = item.key not in subject.shared
                spans = (Span(0, erased_ms),) if is_whole else item.spans
                rows += [
                    {
                        "mark": mark_key(item.key),
                        "key_hash": hashes[item.key],
                        "is_whole": int(is_whole),
                        "from_ms": span.from_ms,
                        "to_ms": erased_ms if span.to_ms is None else min(span.to_ms, FOR_EVER_MS),
                        "events": str(span.events),
                        "begins_anew": int(is_whole or span.to_ms is None),
                    }
                    for span in spans
                ]
        secret, space_id = self.keyring.pseudonym_key, self.order.space_id
        for kind, value in sorted(set(self.order.values)):
            mark = mark_value(secret, space_id, kind, value)
            whole = {"key_hash": 0, "is_whole": 1, "from_ms": 0, "to_ms": erased_ms, "events": "all", "begins_anew": 1}
            rows.append({"mark": mark, **whole})
        request = {"space_id": space_id, "request_id": self.order.request_id}
        entry = JournalEntry(self.order.request_id, space_id, now_ms, tuple(rows))
        self._unreached = note_erasure(self.config, entry)
        insert_rows(self.client, "tombstones", [{**request, **row} for row in rows])
        reload_dictionaries(self.client, (ERASED,))

    def _drain(self) -> None:
        """Wait for this host's spool. A command on a host without an instance has none."""
        if (self.config.data_path / MARKER).is_file():
            wait_for_spool(self.config.data_path, lambda waiting: self.watcher.advance(0, waiting))

    def _part(self) -> None:
        """Take back what ties others to them, so that stitch leaves the others as they are without them."""
        whole = {key for subject in self.order.subjects for key in subject.whole}
        rows = read_around(self.client, self.order.space_id, sorted(whole), MOST_PIECES)
        gone = {statement.row.evidence_id for statement in rows if statement.row.op < 0}
        shared = [
            statement
            for statement in rows
            if statement.row.op > 0
            and statement.row.evidence_id not in gone
            and statement.row.kind != REKEY
            and not {statement.row.a_key, statement.row.b_key} <= whole
        ]
        if not shared:
            return
        back: list[Statement] = take_back(shared, self.order.request_id)
        asyncio.run(spool_lines(self.config, make_lines(back, self.now_ms())))
        if not wait_for_map(self.client, back, (), STITCH_S):
            raise PrivacyError(
                PrivacyReason.PENDING,
                f"evidence that ties others to them was taken back, and is not in the map after {STITCH_S:g} s: is "
                "everything running? `tagstitch status` says it. Then run this again",
            )

    def _certify(self, begun_ms: int, before: Mapping[str, tuple[int, int]], files: Mapping[str, int]) -> Certificate:
        there = {name: max(counts, tuple(self.order.counted.get(name, (0, 0)))) for name, counts in before.items()}
        places = [Erased(place.table, place.holds, *there[place.table]) for place in PLACES]
        places += [Erased(name, "a table of analysts", count) for name, count in sorted(self._materialised.items())]
        places += [Erased(name, "files of this host", count) for name, count in sorted(files.items())]
        identifiers = {item.key for subject in self.order.subjects for item in subject.held}
        certificate = Certificate(
            format=FORMAT,
            instance_id=self.keyring.instance_id,
            request_id=self.order.request_id,
            space_id=self.order.space_id,
            kind=self.order.kind,
            people=len(self.order.subjects),
            identifiers=len(identifiers),
            asked_at=_write_time(self.order.asked_at_ms),
            begun_at=_write_time(begun_ms),
            done_at=_write_time(self.now_ms()),
            places=tuple(places),
            verified=VERIFIED,
            remarks=(
                *REMARKS,
                *((COUNTS_STAY,) if self.order.kind == ANONYMISE else ()),
                *(f"{folder} was away: copy erasures.jsonl into it" for folder in self._unreached),
            ),
        )
        return sign_certificate(self.keyring, certificate)


REMARKS = (
    "systems from which records were copied, and who was told by webhooks or exports, have what they have: tell them",
    "backups hold what they held until their keys are destroyed; who brings one back erases again by the journal",
)
COUNTS_STAY = (
    "what they did stays as counts: events by the hour under ids that were drawn, with texts alone that others share"
)
VERIFIED = (
    "each table was asked with the condition by which it was erased, rows that no reader sees included: none is left",
    "each table of analysts says by which columns it names people, or that it names nobody, and was asked by these",
    "no file of the store that was replaced by the erasing is on disk any more",
    "what lay in the spool of this host when it began was loaded first, and what comes later is refused by tombstones",
)


def erase_again(client: StoreClient, since_ms: int) -> int:
    """Erase what has come in of people whose erasing was carried out since then: from a host that did not know of it.

    Returns how many rows. Raises StoreError, PrivacyError.
    """
    rows = client.query_rows(
        "SELECT toString(request_id) AS request, max(is_whole = 0) AS has_shared FROM tombstones"
        " WHERE request_id IN (SELECT request_id FROM data_requests FINAL WHERE state = 'done'"
        " AND changed_at >= fromUnixTimestamp64Milli({since:Int64})) GROUP BY request",
        {"since": since_ms},
    )
    found = 0
    for row in rows:
        counts = count_rows(client, row["request"])
        if left := sum(map(sum, counts.values())):
            found += left
            Deleting(client, row["request"]).delete(counts, has_shared=bool(row["has_shared"]))
    return found


def read_names(client: StoreClient, space_id: str, subjects: Sequence[Subject]) -> Names:
    """Return what else than a key may name these people on a disk. Before anything is deleted. Raises StoreError."""
    keys = sorted({key for subject in subjects for key in subject.whole})
    visitors: set[str] = set()
    for start in range(0, len(keys), KEYS_PER_QUESTION):
        part = keys[start : start + KEYS_PER_QUESTION]
        rows = client.query_rows(
            "SELECT DISTINCT toString(events.visitor_id) AS visitor FROM events"
            " WHERE space_id = {space:String} AND own_person_id IN {keys:Array(UUID)}"
            " AND visitor_proof IN ('cookie', 'script', 'server')",
            {"space": space_id, "keys": part},
        )
        visitors |= {row["visitor"] for row in rows}
        rows = client.query_rows(
            "SELECT DISTINCT a_value AS value FROM identity_evidence AS evidence WHERE space_id = {space:String}"
            " AND evidence.a_key IN {keys:Array(UUID)} AND a_kind = 'visitor'",
            {"space": space_id, "keys": part},
        )
        visitors |= {row["value"] for row in rows}
    values = {item.value for subject in subjects for item in subject.held if item.value}
    return Names(space_id, frozenset(keys), frozenset(visitors), frozenset(values))


def _write_time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
