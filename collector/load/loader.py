"""The role `load`: brings what is sealed in this host's spool into ClickHouse, every batch exactly once.

One batch
    collect frames → freeze (journal, synced) → check the landing → insert → row into `batches`
    → settle (journal, synced) → remove the segments → sync the folder

Invariants
    1. At most one batch is unsettled. While it is, nothing but its own bytes is sent, under its own token, until the
       store has answered definitely; a crash in between changes nothing, for the journal has the manifest.
    2. `seq` is contiguous on a host, and a row in `batches` is written only after its batch has landed.
    3. Nothing is discarded. A line that the store refuses lies in `load/refused/` before its rejection is loaded in
       its place. Trouble with the schema, the rights or the store stops the loading, never an event: it waits in the
       spool, and the way in does not notice.
    4. One loader per host (lock `load/lock`).

Refused rows
    A definite refusal that is about a row's content splits the batch: its halves are batches of their own, until the
    bad line stands alone. If the store refuses even the rejection in its place, the row was not at fault: that is
    trouble with the schema. All other refusals (no table, read-only, no memory, too many parts) are waited out.

Maintenance
    While `load/maintenance` is there no batch is begun. The one on its way is finished, so that whoever moves the
    store has no batch whose fate it alone knows; if the store does not take it now, it stays frozen, and is sent
    again as it was when the file is gone.

Stopping
    The batch in hand is finished; then, if asked to drain, what is sealed is loaded until nothing is left or DRAIN_S
    are over. With the store away the loader stops at once: the frozen batch is sent again by the next one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from collector import disk
from collector.config import Config
from collector.errors import InstanceBusy, StoreError
from collector.keyring import Keyring
from collector.load.batch import (
    Batch,
    as_places,
    build_body,
    collect_batch,
    count_prefix,
    make_manifest,
    make_rejection,
    make_token,
    split_ranges,
)
from collector.load.counts import LoaderCounts
from collector.load.journal import LoadJournal, Manifest, Range
from collector.load.maintenance import FILE_NAME as MAINTENANCE_NAME
from collector.load.patience import MAINTENANCE, Patience, Paused, Stopping
from collector.load.status import LoadStatusFile, Position
from collector.load.store import ClickHouseLanding, LandingStore, is_bad_row
from collector.logs import get_logger
from collector.spool.reader import adopt_folders, list_foreign, list_places
from collector.spool.segments import quarantine
from collector.store.writer import BATCH_SETTINGS_VERSION

LOCK_NAME = "lock"
REFUSED_NAME = "refused"
DRAIN_S = 3.0
"""Less than the supervisor's patience with a role that was told to stop."""
NO_BOUND = 2**62


class Loader:
    """Drains one spool. Made and used by one thread; the caller holds the lock."""

    def __init__(
        self,
        spool: Path,
        folder: Path,
        store: LandingStore,
        patience: Patience,
        *,
        batch_events: int = 50_000,
        batch_bytes: int = 8_388_608,
        digest_key: str = "",
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`spool`, `folder`: the instance's `spool/` and `load/`. `clock_ms`: milliseconds since 1970."""
        self.counts = LoaderCounts()
        self._spool = spool
        self._folder = folder
        self._maintenance = folder / MAINTENANCE_NAME
        self._store = store
        self._patience = patience
        self._batch_events = batch_events
        self._batch_bytes = batch_bytes
        self._digest_key = digest_key
        self._clock_ms = clock_ms
        self._journal: LoadJournal | None = None
        self._halves: list[list[Range]] = []  # of batches that were refused, the next one last
        self._turn = 0
        self._foreign: set[Path] = set()

    @property
    def position(self) -> Position:
        """How far it is. May be read by another thread."""
        journal = self._journal
        return Position() if journal is None else Position(journal.state.host, journal.state.seq, journal.state.offsets)

    @property
    def trouble(self) -> str:
        """Why nothing is loaded now, see `Patience.trouble`; "" while all is well."""
        return self._patience.trouble

    def step(self) -> bool:
        """Load one batch, if one waits. True: look again at once, there may be more.

        While the store is in trouble it stays here, sending the same batch. Raises Stopping when told to stop
        meanwhile, InstanceError where the journal holds what this version cannot repeat.
        """
        try:
            if self._is_paused():
                return False
            journal = self._open_journal()
            self._look_around()
            if journal.state.manifest is not None:
                return self._resume(journal, journal.state.manifest)
            return self._load_next(journal)
        except Paused:
            return False
        except OSError as error:
            # What is on disk is not known any more: read it again.
            self.close()
            self._halves.clear()
            self._patience.say("disk", error.strerror or str(error))
            self._patience.wait()
            return False

    def close(self) -> None:
        """Close the journal. A later `step` opens it again."""
        if self._journal is not None:
            journal, self._journal = self._journal, None
            journal.close()

    def _is_paused(self) -> bool:
        """Whether maintenance is on, and say once when it begins and ends."""
        if self._maintenance.exists():
            self._patience.say_maintenance()
            return True
        if self._patience.trouble == MAINTENANCE:
            self._patience.is_over()
        return False

    # --- one batch

    def _open_journal(self) -> LoadJournal:
        if self._journal is None:
            self._journal = LoadJournal(self._folder, BATCH_SETTINGS_VERSION)
            self._journal.remove_finished(self._spool)
        return self._journal

    def _load_next(self, journal: LoadJournal) -> bool:
        host, seq = journal.state.host, journal.state.seq + 1
        batch = self._collect(journal, host)
        for damage in batch.damage:
            if quarantine(self._spool / damage.folder / damage.segment, damage.start, damage.data):
                self.counts.damaged += 1
                self.counts.damaged_bytes += len(damage.data)
        if not batch.ranges:
            return False
        if not batch.lines:  # nothing but damage
            journal.settle(batch.ranges, journal.state.seq)
            journal.remove_finished(self._spool)
            return True
        body = build_body(batch.lines, host, seq)
        manifest = make_manifest(batch, body, host, seq, BATCH_SETTINGS_VERSION)
        journal.freeze(manifest)
        return self._deliver(journal, manifest, batch, body)

    def _collect(self, journal: LoadJournal, host: str) -> Batch:
        if self._halves:
            return self._read_ranges(self._halves.pop())
        places = list_places(self._spool, journal.state.offsets, self._turn)
        self._turn += 1
        return collect_batch(self._spool, places, self._batch_events, self._batch_bytes, count_prefix(host))

    def _read_ranges(self, ranges: list[Range]) -> Batch:
        """Read exactly these ranges: they were one batch before, so no bound may cut them short."""
        return collect_batch(self._spool, as_places(ranges), NO_BOUND, NO_BOUND)

    def _resume(self, journal: LoadJournal, manifest: Manifest) -> bool:
        """Send a frozen batch again, made of the same bytes."""
        host = journal.state.host
        body = b""
        batch = Batch()
        try:
            batch = self._read_ranges(manifest.ranges)
        except FileNotFoundError:
            get_logger().error("a segment of an unsettled batch is gone", seq=manifest.seq)
        if batch.lines:
            lines = [make_rejection(batch.lines[0], self._digest_key)] if manifest.refusal_code else batch.lines
            body = build_body(lines, host, manifest.seq)
        if make_token(body, host, manifest.seq) != manifest.token:
            return self._give_up(journal, manifest)
        return self._deliver(journal, manifest, batch, body)

    def _give_up(self, journal: LoadJournal, manifest: Manifest) -> bool:
        """Close a frozen batch whose bytes are damaged or gone. Its number is spent: it may have landed."""
        get_logger().error(
            "an unsettled batch cannot be made again from the spool: what is left of it is sent anew; "
            "events that had landed already become one row again",
            seq=manifest.seq,
            events=manifest.events,
        )
        self._list(journal, manifest)
        journal.settle([], manifest.seq)
        return True

    def _deliver(self, journal: LoadJournal, manifest: Manifest, batch: Batch, body: bytes) -> bool:
        refusal = self._send(lambda: self._store.insert(body, manifest.token))
        if refusal is not None:
            return self._handle_refusal(journal, manifest, batch, refusal)
        self._list(journal, manifest)
        journal.settle(manifest.ranges, manifest.seq)
        journal.remove_finished(self._spool)
        self._patience.is_over()
        self.counts.count_batch(len(batch.lines), manifest.events, len(body), self._clock_ms())
        return True

    def _list(self, journal: LoadJournal, manifest: Manifest) -> None:
        row = self._make_list_row(journal.state.host, manifest)
        while (refusal := self._send(lambda: self._store.list_batch(row))) is not None:
            self._patience.say_store(refusal)
            self._patience.wait()

    def _send(self, insert: Callable[[], None]) -> StoreError | None:
        """Insert, again and again until the answer is definite. Return None, or the refusal if it is about a row.

        Before every attempt the landing is checked: a Null table whose views are missing takes rows and loses them.
        """
        times, code = 0, 0
        while True:
            try:
                self._store.check()
                insert()
            except StoreError as error:
                times, code = (times + 1 if error.code == code else 1), error.code
                if is_bad_row(error, times):
                    return error
                self._patience.say_store(error)
                self._patience.wait()
                if self._is_paused():
                    raise Paused from None
                self.counts.retries += 1
            else:
                return None

    def _handle_refusal(self, journal: LoadJournal, manifest: Manifest, batch: Batch, refusal: StoreError) -> bool:
        if len(batch.lines) > 1:
            first, rest = split_ranges(batch, len(batch.lines) // 2)
            self._halves += [rest, first]
            journal.thaw()
            return True
        if manifest.refusal_code:
            self._halves.clear()
            disk.unlink(self._name_refused(manifest))
            journal.thaw()
            self._patience.say("rejection", f"ClickHouse takes no row at all, code {refusal.code}: check the schema")
            self._patience.wait()
            return False
        return self._deliver_rejection(journal, manifest, batch, refusal)

    def _deliver_rejection(self, journal: LoadJournal, manifest: Manifest, batch: Batch, refusal: StoreError) -> bool:
        """Put a rejection in the place of the one line of the batch, and keep the line for a person to look at."""
        line = batch.lines[0]
        body = build_body([make_rejection(line, self._digest_key)], journal.state.host, manifest.seq)
        rejection = msgspec.structs.replace(
            manifest,
            token=make_token(body, journal.state.host, manifest.seq),
            events=0,
            evidence=0,
            rejected=1,
            refusal_code=refusal.code,
        )
        kept = self._name_refused(rejection)
        disk.make_folder(kept.parent)
        disk.write_file(kept, line + b"\n")
        journal.freeze(rejection)
        if not self._deliver(journal, rejection, batch, body):
            return False
        self.counts.refused += 1
        get_logger().error(
            "the store refused a beacon: it is kept, and counted as a rejection", code=refusal.code, file=kept.name
        )
        return True

    def _name_refused(self, manifest: Manifest) -> Path:
        return self._folder / REFUSED_NAME / f"{manifest.seq:012d}-{manifest.refusal_code}.json"

    def _make_list_row(self, host: str, manifest: Manifest) -> dict[str, object]:
        return {
            "host": host,
            "seq": manifest.seq,
            "token": manifest.token,
            "events": manifest.events,
            "evidence": manifest.evidence,
            "rejected": manifest.rejected,
            "first_received_at": _format_time(manifest.first_received_at_ms),
            "last_received_at": _format_time(manifest.last_received_at_ms),
            "loaded_at": _format_time(self._clock_ms()),
        }

    # --- what lies around

    def _look_around(self) -> None:
        for folder, found in adopt_folders(self._spool):
            self.counts.adopted += 1
            get_logger().info("adopted a segment of a dead writer", writer=folder.name, frames=found.frames)
        for path in list_foreign(self._spool):
            if path not in self._foreign:
                self._foreign.add(path)
                get_logger().error(
                    "another version wrote this spool segment: run that version to load it",
                    writer=path.parent.name,
                    segment=path.name,
                )


def run_loader(config: Config, keyring: Keyring, stop: threading.Event, *, drain: bool = True) -> None:
    """Load until `stop` is set. The role `load`: one per host, started again by the supervisor if it dies.

    `drain`: then load what is sealed, for DRAIN_S at most. Raises InstanceBusy where another loader runs.
    """
    folder = config.data_path / "load"
    disk.make_folder(folder)
    lock = disk.take_lock(folder / LOCK_NAME)
    if lock is None:
        raise InstanceBusy(folder, "another loader runs here: there is one per host, stop it first")
    store = ClickHouseLanding(config, keyring)
    loader = Loader(
        config.data_path / "spool",
        folder,
        store,
        Patience(stop),
        batch_events=config.batch_events,
        batch_bytes=config.batch_bytes,
        digest_key=keyring.digest_key,
    )
    status = LoadStatusFile(config.data_path, lambda: loader.position, lambda: loader.trouble, loader.counts)
    status.start()
    try:
        drain_loader(loader, stop, config.load_interval_s, DRAIN_S if drain else 0.0)
    finally:
        status.stop()
        loader.close()
        store.close()
        disk.close(lock)


def drain_loader(loader: Loader, stop: threading.Event, interval_s: float, drain_s: float) -> None:
    """Step until `stop` is set, looking every `interval_s` seconds; then on for `drain_s`, while there is more."""
    try:
        while not stop.is_set():
            if not loader.step():
                stop.wait(interval_s)
        give_up_at = time.monotonic() + drain_s
        while time.monotonic() < give_up_at and loader.step():
            pass
    except Stopping:
        return


def _format_time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
