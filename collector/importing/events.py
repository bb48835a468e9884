"""Imports events of the past: from a file into the spool, by the code that judges a server's calls.

    read      the file once for its digest: the import's id (see `state`)
    sort      rows → calls → a file for each month (see `rows`, `calls`, `months`), of those that grant analytics
    spool     month by month: judged (`accept_calls`), appended to `spool/import-<id>`, noted how far

Invariants: how far it is stands in the state only after everything before that point is in the spool or among the
refused rows, synced. After a crash at most STATE_CALLS calls are spooled again, with the same ids and times: one row
of each for every reader. A file that was imported is known by its content and not imported again.

An event may be as old as 1970. Everything else is as for a server's call of today: bounds, consent, minimisation.
What is refused stands in the file of refused rows, with its reason. The content of a row whose consent lacks analytics,
or cannot be read, is written nowhere, whatever the row is refused for. The import leaves half of the spool and twice
the least free disk to the beacons of today, and waits.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import IO, Literal, Protocol

import msgspec

from collector import disk
from collector.accept.server_events import AcceptedCalls, accept_calls
from collector.accept.server_events_call import Call, read_call
from collector.accept.server_events_statement import Caller
from collector.accept.validate import NEWEST_MS
from collector.config import Config
from collector.country import open_country_lookup
from collector.errors import ConfigError, ImportFileError, SpoolFull
from collector.event import Rejected
from collector.importing.calls import RowReader, check_call
from collector.importing.months import SUFFIX, MonthSorter, list_months, read_calls
from collector.importing.rows import Form, Row, read_rows
from collector.importing.state import FOLDER_NAME, ImportState, make_import_id, read_state, write_state
from collector.keyring import Keyring
from collector.reasons import Reason
from collector.sites.book import Site, SiteBook
from collector.spool.writer import SpoolWriter

CHUNK_CALLS = 500
STATE_CALLS = 5_000
SHOWN_REFUSALS = 20
LONGEST_WAIT_S = 5.0
LOCK_PATIENCE_S = 2.0  # the loader may hold the folder's lock for a moment


class Options(msgspec.Struct, frozen=True):
    """How a file is read. Part of the import's id: read in another way it is another import."""

    site_id: str
    form: Form
    mapping: dict[str, str] = {}
    kind: str = "track"
    delimiter: str = ""


class Watcher(Protocol):
    """Whoever shows how the import goes."""

    def begin(self, step: str, total: int, unit: str) -> None:
        """Hear of the next step, and how many bytes or events it has."""

    def reach(self, count: int) -> None:
        """Hear how many of them are done."""

    def wait(self, reason: str) -> None:
        """Hear that it waits; "": it goes on."""


class RefusedRow(msgspec.Struct, omit_defaults=True):
    """A line of the file of refused rows. `row`: the call as it was understood, or the line as it stood."""

    line: int
    reason: str
    step: str = ""
    field: str = ""
    row: msgspec.Raw | str = ""


@dataclass(slots=True)
class Preview:
    """What a dry run found. `first`: the first refused rows. `expired`: events older than the site keeps any."""

    rows: int = 0
    events: int = 0
    months: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[RefusedRow] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)
    expired: int = 0


class EventImport:
    """The import of one file. For one thread, or one event loop."""

    def __init__(
        self,
        config: Config,
        keyring: Keyring,
        book: SiteBook,
        path: Path,
        options: Options,
        watcher: Watcher,
        *,
        refused_path: Path | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`refused_path`: where refused rows go; beside the file by default. Raises ConfigError for an unknown site."""
        site = book.find_site(options.site_id)
        if site is None:
            raise ConfigError("--site", "command line", f"there is no site {options.site_id}: `tagstitch site list`")
        self.refused_path = refused_path or path.with_name(f"{path.name}.rejected.jsonl")
        self._config = config
        self._keyring = keyring
        self._book = book
        self._site: Site = site
        self._path = path
        self._options = options
        self._watcher = watcher
        self._now_ms = now_ms
        self._find_country = open_country_lookup(config.country_database)
        self._reader = RowReader(options.mapping, options.kind, is_text=options.form == "csv")

    @property
    def unknown(self) -> dict[str, int]:
        """Columns that no event has a place for, with the number of rows that had them."""
        return self._reader.unknown

    def preview(self) -> Preview:
        """Read and judge the whole file, and write nothing. Raises ImportFileError."""
        found = Preview(unknown=self._reader.unknown)
        rows = self._read_rows("checking")
        while chunk := list(islice(rows, CHUNK_CALLS)):
            found.rows += len(chunk)
            calls: list[tuple[int, bytes]] = []
            for row in chunk:
                read = self._read_call(row)
                if isinstance(read, Rejected):
                    _count_refused(found, self._describe_row(row, read))
                else:
                    calls.append((row.number, read[0]))
                    found.months[read[2]] += 1
                    found.expired += self._is_expired(read[1])
            outcome = self._judge([call for _, call in calls])
            found.events += outcome.events
            for judged in outcome.rejected:
                number, call = calls[judged.index]
                refused = Rejected(judged.reason, field=judged.field)
                _count_refused(found, _describe(number, refused, msgspec.Raw(call)))
        return found

    async def run(self) -> ImportState:
        """Import the file, or go on where an earlier try was. Returns the state in the end.

        Raises ImportFileError, SpoolError, InstanceBusy; then call it again.
        """
        try:
            return await self._run()
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            reason = f"its import had to stop ({place}{error.strerror or error}): mend that, then start it again"
            raise ImportFileError(self._path, reason) from error

    async def _run(self) -> ImportState:
        before = self._look()
        self._watcher.begin("reading", before[0], "bytes")
        import_id = make_import_id(self._path, self._options, self._watcher.reach)
        folder = self._config.data_path / FOLDER_NAME / import_id
        spool = self._config.data_path / "spool"
        disk.make_folder(folder)
        # Its lock makes this the only import of this file.
        writer = await asyncio.to_thread(self._open_spool, spool / f"import-{import_id}")
        try:
            state = read_state(folder, self._path)
            if state.phase == "sort":
                await self._sort(folder, state, before)
            if state.phase == "spool":
                await self._spool(folder, state, writer)
        finally:
            await asyncio.to_thread(writer.close)
        return state

    # --- sort

    async def _sort(self, folder: Path, state: ImportState, before: tuple[int, int]) -> None:
        sorter = MonthSorter(folder)
        state.rows = state.calls = state.events = state.spooled = 0
        state.reasons = {}
        with self._open_refused("wb") as refused:
            for row in self._read_rows("sorting"):
                state.rows += 1
                if state.rows % CHUNK_CALLS == 0:
                    await asyncio.sleep(0)  # so that Ctrl-C is heard
                read = self._read_call(row)
                if isinstance(read, Rejected):
                    _refuse(state, refused.write, self._describe_row(row, read))
                else:
                    sorter.put(read[2], row.number, read[0])
                    state.calls += 1
            sorter.flush()
            refused.flush()
            os.fsync(refused.fileno())
            state.rejected_bytes = refused.tell()
        if self._look() != before:
            raise ImportFileError(self._path, "it has changed while it was read: import it when it is complete")
        for path in list_months(folder):
            _sync(path)
        disk.sync_folder(folder)
        state.phase = "spool"
        write_state(folder, state)

    def _read_rows(self, step: str) -> Iterator[Row]:
        self._watcher.begin(step, self._look()[0], "bytes")
        return read_rows(
            self._path, self._options.form, delimiter=self._options.delimiter, read_bytes=self._watcher.reach
        )

    def _look(self) -> tuple[int, int]:
        """Return the file's size and when it was changed."""
        try:
            facts = self._path.stat()
        except OSError as error:
            raise ImportFileError(self._path, f"it cannot be read: {error.strerror or error}") from error
        return facts.st_size, facts.st_mtime_ns

    def _open_refused(self, mode: Literal["wb", "ab"]) -> IO[bytes]:
        """Open the file of refused rows, for its owner alone: they hold what the source holds."""
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if mode == "wb" else os.O_APPEND)
        if self.refused_path.exists() and self.refused_path.samefile(self._path):
            raise ImportFileError(self._path, "refused rows would overwrite it: --rejected names another file")
        try:
            return os.fdopen(os.open(self.refused_path, flags, 0o600), mode)
        except OSError as error:
            reason = f"refused rows cannot be written there ({error.strerror or error}): --rejected names another file"
            raise ImportFileError(self.refused_path, reason) from error

    # --- spool

    async def _spool(self, folder: Path, state: ImportState, writer: SpoolWriter) -> None:
        self._watcher.begin("spooling", state.calls, "events")
        self._watcher.reach(state.spooled)
        with self._open_refused("ab") as refused:
            if refused.tell() > state.rejected_bytes:
                refused.truncate(state.rejected_bytes)
            for path in list_months(folder):
                month = path.name.removesuffix(SUFFIX)
                if month != state.month:
                    state.month, state.offset = month, 0
                calls = read_calls(path, state.offset)
                unsaved = 0
                while chunk := list(islice(calls, CHUNK_CALLS)):
                    outcome = self._judge([call for _, call, _ in chunk])
                    await self._append(writer, outcome.lines)
                    for judged in outcome.rejected:
                        number, call, _ = chunk[judged.index]
                        row = _describe(number, Rejected(judged.reason, field=judged.field), msgspec.Raw(call))
                        _refuse(state, refused.write, row)
                    state.events += outcome.events
                    state.spooled += len(chunk)
                    state.offset = chunk[-1][2]
                    unsaved += len(chunk)
                    if unsaved >= STATE_CALLS:
                        self._save(folder, state, refused.fileno(), refused.flush)
                        unsaved = 0
                    self._watcher.reach(state.spooled)
                self._save(folder, state, refused.fileno(), refused.flush)
                disk.unlink(path)
        if state.rejected == 0:
            self.refused_path.unlink(missing_ok=True)
        state.phase = "done"
        write_state(folder, state)

    def _save(self, folder: Path, state: ImportState, fd: int, flush: Callable[[], None]) -> None:
        flush()
        os.fsync(fd)
        state.rejected_bytes = os.fstat(fd).st_size
        write_state(folder, state)

    async def _append(self, writer: SpoolWriter, lines: list[bytes]) -> None:
        """Spool all lines; while there is no room, wait. Raises SpoolError."""
        waits = False
        while lines:
            answers = await asyncio.gather(*(writer.append(line) for line in lines), return_exceptions=True)
            full: SpoolFull | None = None
            left = []
            for line, answer in zip(lines, answers, strict=True):
                if isinstance(answer, SpoolFull):
                    full = answer
                    left.append(line)
                elif answer is not None:
                    raise answer
            lines = left
            if full is not None:
                waits = True
                self._watcher.wait(str(full))
                await asyncio.sleep(min(full.retry_after_s, LONGEST_WAIT_S))
        if waits:
            self._watcher.wait("")

    def _open_spool(self, folder: Path) -> SpoolWriter:
        return SpoolWriter(
            folder,
            segment_bytes=self._config.segment_bytes,
            segment_age_s=self._config.segment_age_s,
            max_spool_bytes=self._config.max_spool_bytes // 2,
            min_free_bytes=self._config.min_free_bytes * 2,
            durability=self._config.durability,
            lock_patience_s=LOCK_PATIENCE_S,
        )

    # --- judging

    def _read_call(self, row: Row) -> tuple[bytes, Call, str] | Rejected:
        """Return the row's call as JSON and as a struct, and its month; or why it is none."""
        encoded = self._reader.make_call(row)
        if isinstance(encoded, Rejected):
            return encoded
        checked = check_call(encoded)
        return checked if isinstance(checked, Rejected) else (encoded, *checked)

    def _describe_row(self, row: Row, refused: Rejected) -> RefusedRow:
        return _describe(row.number, refused, row.text if self._reader.may_be_kept(row) else "")

    def _judge(self, calls: Iterable[bytes]) -> AcceptedCalls:
        now_ms = self._now_ms()
        caller = Caller(
            received_at_ms=now_ms,
            sites=self._book,
            keyring=self._keyring,
            space_id=self._site.space_id,
            site_id=self._site.site_id,
            source="import",
            oldest_ms=now_ms,
            newest_ms=NEWEST_MS,
            find_country=self._find_country,
            link_parameter=self._config.link_parameter,
        )
        return accept_calls([read_call(call) for call in calls], caller)

    def _is_expired(self, call: Call) -> bool:
        days, when = self._site.keep_days, call.timestamp
        if not days or when is None:
            return False
        return self._now_ms() / 1000 - (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() > days * 86_400


def _count_refused(found: Preview, row: RefusedRow) -> None:
    found.reasons[row.reason] += 1
    if len(found.first) < SHOWN_REFUSALS:
        found.first.append(row)


def _refuse(state: ImportState, write: Callable[[bytes], object], row: RefusedRow) -> None:
    write(msgspec.json.encode(row) + b"\n")
    state.reasons[row.reason] = state.reasons.get(row.reason, 0) + 1


def _describe(number: int, refused: Rejected, row: msgspec.Raw | str) -> RefusedRow:
    """Return the refusal for the file. `row`: "" where its consent lacks analytics: that is named, never written."""
    kept = "" if refused.reason == Reason.CONSENT else row
    return RefusedRow(number, refused.reason, refused.step, refused.field, kept)


def _sync(path: Path) -> None:
    fd = disk.open_file(path)
    try:
        disk.sync(fd)
    finally:
        disk.close(fd)
