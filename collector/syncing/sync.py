"""One sync: a source is read from beginning to end, and what differs from the last time is written.

    adapter ──scan──► forms ──digests──► new, changed, same ──► customer_records (begun)
                                                            ──► spool: evidence ──► load ──► stitch ──► customers
                                                            ──► traits
                                                            ──► customer_records (done)
    what nobody met ──► gone: evidence and values are taken back

Invariants: nothing counts as copied before its evidence is in the spool and its values are in the store; whoever was
killed in between does these records again, with the same ids. What has gone is taken back at the very end, and not at
all where that is suspiciously much.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

from collector.adapters.configuration import AdapterConfig
from collector.adapters.contract import Record, Scanned
from collector.config import Config
from collector.errors import SpoolFull, SyncError
from collector.keyring import Keyring
from collector.profiles.definitions import Definitions
from collector.sites.book import IdentifierKind
from collector.spool.writer import SpoolWriter
from collector.store.client import StoreClient
from collector.syncing.forms import Form, Former, Refused
from collector.syncing.preparing import CHANGED, NEW, Preparer, RecordRow, Writable
from collector.syncing.standing import Standing, make_record_rows, read_standing, read_states

CHUNK = 20_000
"""Records written at a time."""
MOST_GONE = 0.3
FEW_GONE = 20
"""So many may always be gone: a source of a hundred customers may well lose forty."""
SAMPLE = 10
LOCK_PATIENCE_S = 1.0
LONGEST_WAIT_S = 5.0
SAME = "same"


class Watcher(Protocol):
    """Whoever shows how the sync goes."""

    def reach(self, records: int) -> None:
        """Hear how many records have been read."""

    def wait(self, reason: str) -> None:
        """Hear that it waits; "": it goes on."""


class Sample(msgspec.Struct, frozen=True):
    """A record of the difference: its key as it is stored, what became of it, and which traits differ."""

    key: str
    outcome: str
    traits: tuple[str, ...] = ()


class Outcome(msgspec.Struct, kw_only=True):
    """What a sync found, and did unless it was a dry run. Counts of records; `traits`: in how many records each trait
    differs; `unfit`: in how many a field's value cannot be taken. `warning`: what would stop it, of a dry run."""

    adapter: str
    space: str
    is_dry: bool
    read: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    gone: int = 0
    refused: dict[str, int] = {}
    traits: dict[str, int] = {}
    unfit: dict[str, int] = {}
    values_written: int = 0
    evidence_added: int = 0
    evidence_taken_back: int = 0
    sample: list[Sample] = []
    warning: str = ""


class AdapterSync:
    """The sync of one source. For one event loop; the store is asked in threads, one question at a time."""

    def __init__(
        self,
        config: Config,
        client: StoreClient,
        keyring: Keyring,
        adapter_config: AdapterConfig,
        former: Former,
        *,
        kinds: Mapping[str, IdentifierKind],
        definitions: Definitions,
        vault: bool,
        watcher: Watcher,
        is_dry: bool = False,
        allow_gone: bool = False,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        before: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`kinds`: of the space, by name. `vault`: whether a site of the space keeps clear values. `before` hears each
        step before it is done; for tests."""
        self._config = config
        self._client = client
        self._former = former
        self._watcher = watcher
        self._allow_gone = allow_gone
        self._now_ms = now_ms
        self._before = before
        self._name = adapter_config.name
        self._space_id = adapter_config.space
        self._source = f"adapter:{adapter_config.name}"
        self._preparer = Preparer(
            client, keyring, former, definitions, kinds, self._source, vault=vault, show=self._show, now_ms=now_ms
        )
        self._version = 0
        self._met: dict[bytes, str] = {}
        self._doubled: set[bytes] = set()
        self._shown: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self.outcome = Outcome(adapter=self._name, space=self._space_id, is_dry=is_dry)

    async def run(self, adapter: Scanned) -> Outcome:
        """Read the source and write what differs; of a dry run nothing.

        Raises AdapterError, StoreError, SpoolError; InstanceBusy where the same sync runs; SyncError where too much has
        gone. What was written until then stands, and the same words go on from there.
        """
        if self.outcome.is_dry:
            await self._run(adapter, None)
            return self.outcome
        writer = await asyncio.to_thread(self._open_spool)
        try:
            await self._run(adapter, writer)
        finally:
            await asyncio.to_thread(writer.close)
        return self.outcome

    async def _run(self, adapter: Scanned, writer: SpoolWriter | None) -> None:
        states = await asyncio.to_thread(read_states, self._client, self._space_id)
        standing = await asyncio.to_thread(read_standing, self._client, self._space_id, self._source)
        # While some records are written, the next ones are judged; those that have changed ask the store as well.
        writing: asyncio.Task[None] | None = None
        differing: list[tuple[Form, bool]] = []
        try:
            async for records in adapter.scan():
                differing += self._judge(records, standing, states)
                if len(differing) < CHUNK:
                    continue
                writing = await self._settle(differing, writer, writing)
                differing = []
            writing = await self._settle(differing, writer, writing)
            await writing
        finally:
            if writing is not None and not writing.done():
                with suppress(Exception, asyncio.CancelledError):
                    await writing
        gone = standing.list_unseen()
        self.outcome.gone = len(gone)
        doubled = self._count_doubles()
        self._sum_up()
        self._check_gone(len(standing), len(gone) + doubled)
        await self._remove(gone, writer)
        self._sum_up()

    # --- judging

    def _judge(
        self, records: Sequence[Record], standing: Standing, states: Mapping[str, str]
    ) -> list[tuple[Form, bool]]:
        """Return the records that differ, and whether each is new."""
        forms: list[Form] = []
        for record in records:
            form = self._former.form(record)
            if isinstance(form, Refused):
                self._refused[form.value] += 1
                continue
            if form.key in self._met:
                self._refused[Refused.DOUBLE.value] += 1
                self._doubled.add(form.key)
                continue
            if states and (state := _find_state(form, states)):
                self._refused[state] += 1
                if state == Refused.RESTRICTED:
                    standing.compare([form.key], [form.digest])  # it stays as it is
                continue
            self._met[form.key] = SAME
            forms.append(form)
        self.outcome.read += len(records)
        self._watcher.reach(self.outcome.read)
        found = standing.compare([form.key for form in forms], [form.digest for form in forms])
        differing = []
        for form, is_same in zip(forms, found, strict=True):
            if not is_same:
                self._met[form.key] = NEW if is_same is None else CHANGED
                differing.append((form, is_same is None))
        return differing

    def _count_doubles(self) -> int:
        """Count the first of those that share a key as what it is: none of the records. Returns how many stood."""
        stood = 0
        for key in self._doubled:
            self._refused[Refused.DOUBLE.value] += 1
            stood += self._met.pop(key) != NEW
        counts = Counter(self._met.values())
        self.outcome.new, self.outcome.changed, self.outcome.same = counts[NEW], counts[CHANGED], counts[SAME]
        return stood

    def _sum_up(self) -> None:
        for name, counter in (
            ("refused", self._refused),
            ("traits", self._preparer.traits),
            ("unfit", self._former.unfit),
        ):
            setattr(self.outcome, name, dict(counter.most_common()))

    def _check_gone(self, stood: int, lost: int) -> None:
        """See that what is taken back is not suspiciously much: half of a file, or a file appended to itself."""
        if self._allow_gone or lost <= max(FEW_GONE, stood * MOST_GONE):
            return
        reason = (
            f"{lost:,} of {stood:,} records that were copied are not in {self._name} any more, or there twice: is the"
            " source whole? Nothing of them was taken back. If it is right, say --allow-gone"
        )
        if not self.outcome.is_dry:
            raise SyncError(reason)
        self.outcome.warning = f"the sync would stop: {reason}"

    # --- settling

    async def _settle(
        self, chunk: Sequence[tuple[Form, bool]], writer: SpoolWriter | None, before: asyncio.Task[None] | None
    ) -> asyncio.Task[None]:
        """Begin to write what differs of some records; what was begun before has ended by then."""
        if before is not None and not all(is_new for _, is_new in chunk):
            await before
        done = await asyncio.to_thread(self._preparer.prepare, chunk)
        if before is not None:
            await before
        return asyncio.create_task(self._write(done, writer, is_deleted=False))

    async def _remove(self, gone: list[bytes], writer: SpoolWriter | None) -> None:
        """Take back what has gone from the source, and what several records have a key of."""
        keys = [*gone, *self._doubled]
        for start in range(0, len(keys), CHUNK):
            done = await asyncio.to_thread(self._preparer.prepare_removal, keys[start : start + CHUNK], self._doubled)
            await self._write(done, writer, is_deleted=True)

    async def _write(self, done: Writable, writer: SpoolWriter | None, *, is_deleted: bool) -> None:
        outcome, now_ms = self.outcome, self._now_ms()
        outcome.values_written += len(done.traits)
        outcome.evidence_added += done.evidence.added
        outcome.evidence_taken_back += done.evidence.taken_back
        if writer is None:
            return
        if done.begun:
            self._before("begin")
            await asyncio.to_thread(self._insert_records, done.begun, is_deleted=False)
        self._before("spool")
        await self._append(writer, done.evidence.make_lines(now_ms))
        self._before("traits")
        if len(done.traits):
            await asyncio.to_thread(self._client.insert_columns, "traits", done.traits.make_table(now_ms))
        self._before("end")
        if done.done:
            await asyncio.to_thread(self._insert_records, done.done, is_deleted=is_deleted)

    def _insert_records(self, rows: list[RecordRow], *, is_deleted: bool) -> None:
        self._version = max(self._version + 1, time.time_ns() // 1_000)
        table = make_record_rows(self._space_id, self._source, rows, self._version, is_deleted=is_deleted)
        self._client.insert_columns("customer_records", table)

    async def _append(self, writer: SpoolWriter, lines: list[bytes]) -> None:
        """Spool lines; while there is no room, wait. Raises SpoolError."""
        waits = False
        while lines:
            try:
                await writer.append_all(lines)
                break
            except SpoolFull as full:
                waits = True
                self._watcher.wait(str(full))
                await asyncio.sleep(min(full.retry_after_s, LONGEST_WAIT_S))
        if waits:
            self._watcher.wait("")

    def _show(self, key: str, outcome: str, traits: Sequence[str]) -> None:
        if self._shown[outcome] < SAMPLE:
            self._shown[outcome] += 1
            self.outcome.sample.append(Sample(key, outcome, tuple(sorted(traits))))

    def _open_spool(self) -> SpoolWriter:
        """Take the folder of the spool; its lock makes this the only sync of this adapter."""
        return SpoolWriter(
            self._config.data_path / "spool" / f"sync-{self._name}",
            segment_bytes=self._config.segment_bytes,
            segment_age_s=self._config.segment_age_s,
            max_spool_bytes=self._config.max_spool_bytes // 2,
            min_free_bytes=self._config.min_free_bytes * 2,
            durability=self._config.durability,
            lock_patience_s=LOCK_PATIENCE_S,
        )


def _find_state(form: Form, states: Mapping[str, str]) -> str:
    """Return whether somebody whom a record names was erased or restricted, as the word for it; else ""."""
    return next((states[tied.named.key] for tied in form.ties if tied.named.key in states), "")
