"""Adapter for files: the records of a CSV, JSON lines or Parquet file, by key, from an index of it.

The file is looked at once a second. A new state of it is indexed while the last one is served; one that is written to
is waited for, and one that is no whole file leaves the last one in force. Processes of one instance share the index.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from collector.adapters.blocking import BlockingThreads
from collector.adapters.configuration import FilesSettings
from collector.adapters.contract import Described, Record, Wrong
from collector.adapters.file_index import (
    HERE_BYTES,
    FileIndex,
    Signature,
    Task,
    build_apart,
    build_index,
    name_index,
    read_signature,
)
from collector.adapters.file_rows import BATCH_ROWS, RowPlan, Tally, read_rows
from collector.adapters.values import make_fitter
from collector.errors import AdapterError, AdapterReason
from collector.logs import get_logger

CHECK_S = 1.0
RETRY_S = 30.0
"""A state of the file that could not be indexed is tried again after so long, or when it has changed."""
GONE_S = 60.0
"""For how long after a file has gone its last state is served."""
WAIT_S = 600.0
"""How long a file may go on changing before its index is given up."""
POLL_S = 0.05
MAX_FOUND = 100
ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


class FilesAdapter:
    """One file, in one event loop."""

    def __init__(
        self,
        described: Described,
        settings: FilesSettings,
        folder: Path,
        data: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        is_scanned: bool = False,
    ) -> None:
        """`folder`: where relative paths begin. `data`: the instance's folder; None, or one that is not there: the
        index is the adapter's own, and goes with it. `clock`: seconds that never go back. `is_scanned`: `scan` reads
        the file itself, and not its index, which takes longer to make than a scan. Raises Wrong."""
        self._described = described
        self._settings = settings
        self._columns = {field.name: settings.map.get(field.name, field.name) for field in described.fields}
        columns = tuple(dict.fromkeys(self._columns.values()))
        self._places = {name: columns.index(column) for name, column in self._columns.items()}
        self._types = {field.name: field.type for field in described.fields}
        self._fit = self._make_fitter(self._types)
        self._plan = RowPlan(
            path=str(folder / settings.path),
            format=settings.format or _find_format(settings.path),
            key=settings.key,
            columns=columns,
            search=tuple(dict.fromkeys(self._places[name] for name in settings.search)),
            ignore_case=settings.ignore_case,
            delimiter=settings.delimiter,
            encoding=_check_encoding(settings.encoding),
        )
        self._own_folder: tempfile.TemporaryDirectory[str] | None = None
        self._folder = data / "adapters" if data is not None and data.is_dir() else None
        self._clock = clock
        self._is_scanned = is_scanned
        self._reads = BlockingThreads(f"files-{described.name}", 1)
        self._builds = BlockingThreads(f"index-{described.name}", 1)
        self._is_closed = threading.Event()
        self._index: FileIndex | None = None
        self._building: asyncio.Task[None] | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._check_at_s = 0.0
        self._gone_since_s: float | None = None
        self._failed: tuple[Signature, float, AdapterError] | None = None

    def describe(self) -> Described:
        return self._described

    async def retrieve(self, key: str, fields: frozenset[str], deadline_s: float) -> Record | None:
        """Return these fields of the row with this key, or None. Raises AdapterError: `bad_answer` where several rows
        have the key or the file is none, `config` where it has no such column, `unreachable`."""
        await self._follow()
        rows = await self._reads.run(lambda: self._read(lambda index: index.find(key)))
        if not rows:
            return None
        if len(rows) > 1:
            message = "several rows of the file have this key: choose a column that is unique"
            raise AdapterError(AdapterReason.BAD_ANSWER, message)
        return self._make_fitter(fields & self._types.keys())(key, rows[0])

    async def search(self, terms: Mapping[str, str], limit: int) -> list[Record]:
        """Return the records whose fields begin with the terms, `limit` and MAX_FOUND at most. Raises AdapterError:
        `not_supported` for other fields than `search` names, and for no term."""
        terms = {name: term.strip() for name, term in terms.items() if term.strip()}
        if not terms or terms.keys() - set(self._settings.search):
            known = ", ".join(self._settings.search) or "nothing"
            raise AdapterError(AdapterReason.NOT_SUPPORTED, f"it is searched by: {known}")
        await self._follow()
        wanted = [(self._places[name], term) for name, term in terms.items()]
        most = max(1, min(limit, MAX_FOUND))
        rows = await self._reads.run(lambda: self._read(lambda index: index.search(wanted, most)))
        return [self._fit(key, values) for key, values in rows]

    async def scan(self) -> AsyncIterator[list[Record]]:
        """Yield the records of the file as it is now, in batches of some thousands. Raises AdapterError: also where the
        file changes meanwhile, and it is not the index that is read."""
        if self._is_scanned:
            async for batch in self._scan_file():
                yield batch
            return
        await self._follow()
        if self._building is not None:
            await asyncio.wait({self._building})
        if self._failed is not None:
            raise self._failed[2]
        index = await self._reads.run(lambda: self._read(lambda index: index.open_again()))
        threads = BlockingThreads(f"scan-{self._described.name}", 1)
        try:
            batches: Iterator[list[Record]] = index.scan(self._fit)
            while batch := await threads.run(lambda: next(batches, [])):
                yield batch
        except sqlite3.Error as error:
            raise _broken(error) from None
        finally:
            with contextlib.suppress(AdapterError, asyncio.CancelledError):
                await threads.run(index.close)
            threads.close()

    async def _scan_file(self) -> AsyncIterator[list[Record]]:
        threads = BlockingThreads(f"scan-{self._described.name}", 1)
        try:
            signature = await threads.run(self._await_settled)
            rows = read_rows(self._plan, Tally())
            while batch := await threads.run(lambda: [self._fit(*row) for row in islice(rows, BATCH_ROWS)]):
                yield batch
            if await threads.run(lambda: read_signature(self._plan.path)) != signature:
                message = f"{self._plan.path} has changed while it was read: write it under another name, and rename it"
                raise AdapterError(AdapterReason.BAD_ANSWER, message)
        finally:
            threads.close()

    def _await_settled(self) -> Signature:
        """In a thread: wait until nobody writes to the file any more."""
        seen: Signature | None = None
        began_s = seen_s = time.monotonic()
        while time.monotonic() < began_s + WAIT_S and not self._is_closed.is_set():
            signature = read_signature(self._plan.path)
            if signature != seen:
                seen, seen_s = signature, time.monotonic()
            if self._is_settled(signature, seen_s):
                return signature
            self._is_closed.wait(POLL_S)
        raise AdapterError(AdapterReason.UNREACHABLE, f"{self._plan.path} does not stop changing")

    def begin(self) -> None:
        """Begin to index the file, before anybody asks for it; the loop must run."""
        self._beginning = asyncio.get_running_loop().create_task(self._prepare())

    async def _prepare(self) -> None:
        with contextlib.suppress(AdapterError):  # who asks is told
            await self._follow()

    async def look(self) -> list[str]:
        """Return what there is to say of the file, for `tagstitch adapter test`. Raises AdapterError."""
        await self._follow()
        tally = await self._reads.run(lambda: self._read(lambda index: index.tally))
        said = [f"{tally.rows:,} rows"]
        if tally.skipped:
            where = "line" if self._plan.format != "parquet" else "row"
            first = f"the first in {where} {tally.first_skipped}"
            said.append(f"{tally.skipped:,} left out for want of a key or of columns, {first}")
        if tally.doubled:
            said.append(f"{tally.doubled:,} with a key that another one has: those keys have no answer")
        if self._failed is not None:
            said.append(f"an older state of the file is served, for the new one cannot be read: {self._failed[2]}")
        return said

    async def close(self) -> None:
        """Let go of the index; one that is being made is given up."""
        self._is_closed.set()
        if working := {task for task in (self._beginning, self._building) if task is not None}:
            await asyncio.wait(working)
        self._reads.close()
        self._builds.close()
        if self._index is not None:
            self._index.close()
            self._index = None
        if self._own_folder is not None:
            self._own_folder.cleanup()

    async def _follow(self) -> None:
        """See to it that there is an index, and that a newer one is made where the file has changed. Raises
        AdapterError where there is none."""
        if self._index is None or self._clock() >= self._check_at_s:
            await self._check()
        if self._index is None and self._building is not None:
            await asyncio.wait({self._building})
        if self._index is None:
            if self._failed is not None:
                raise self._failed[2]
            raise AdapterError(AdapterReason.UNREACHABLE, f"{self._plan.path} is not indexed yet")

    async def _check(self) -> None:
        now_s = self._clock()
        self._check_at_s = now_s + CHECK_S
        try:
            signature = await self._reads.run(lambda: read_signature(self._plan.path))
        except AdapterError:
            self._gone_since_s = now_s if self._gone_since_s is None else self._gone_since_s
            if self._index is not None and now_s - self._gone_since_s < GONE_S:
                return
            await self._drop()
            raise
        self._gone_since_s = None
        if self._building is not None or (self._index is not None and self._index.signature == signature):
            return
        if self._failed is not None and self._failed[0] == signature and now_s < self._failed[1]:
            return
        self._building = asyncio.get_running_loop().create_task(self._build(signature))

    async def _build(self, signature: Signature) -> None:
        """Make the index of the file as it is now, and serve it."""
        try:
            index = await self._builds.run(self._make_index)
        except AdapterError as error:
            self._failed = (signature, self._clock() + RETRY_S, error)
            if self._index is not None and not self._is_closed.is_set():  # else who asks is told
                get_logger().warning(
                    "a new state of the file cannot be read: the last one is served",
                    adapter=self._described.name,
                    reason=str(error.reason),
                )
            return
        finally:
            self._building = None
        self._failed = None
        last, self._index = self._index, index
        if last is not None:
            await self._reads.run(last.close)

    async def _drop(self) -> None:
        """Serve nothing any more: the file has gone for good, or the index is damaged."""
        last, self._index = self._index, None
        if last is not None:
            last.path.unlink(missing_ok=True)
            await self._reads.run(last.close)

    def _read(self, ask: Callable[[FileIndex], Any]) -> Any:
        index = self._index
        if index is None:
            raise AdapterError(AdapterReason.UNREACHABLE, f"{self._plan.path} is not indexed")
        try:
            return ask(index)
        except sqlite3.Error as error:
            index.path.unlink(missing_ok=True)  # made anew by the next question
            index.close()
            self._index = None
            raise _broken(error) from None

    def _make_fitter(self, names: Iterable[str]) -> Callable[[str, Sequence[Any]], Record]:
        return make_fitter((name, self._types[name], self._places[name]) for name in names)

    def _make_index(self) -> FileIndex:
        """In a thread: wait until the file has settled, and open its index, which another process may have made."""
        folder = self._find_folder()
        seen: Signature | None = None
        began_s = seen_s = time.monotonic()
        with _hold(folder / f"{self._described.name}.lock", self._is_closed):
            while time.monotonic() < began_s + WAIT_S and not self._is_closed.is_set():
                signature = read_signature(self._plan.path)
                target = folder / f"{self._described.name}-{name_index(self._plan, signature)}.sqlite"
                if (index := self._open(target, signature)) is not None:
                    return index
                if signature != seen:
                    seen, seen_s = signature, time.monotonic()
                if self._is_settled(signature, seen_s):
                    draft = target.with_suffix(".new")
                    self._write(Task(self._plan, str(draft)), signature)
                    if read_signature(self._plan.path) == signature:
                        draft.replace(target)
                        self._sweep(folder, target)
                        return FileIndex(target, self._plan, signature)
                    draft.unlink()
                self._is_closed.wait(POLL_S)
        raise AdapterError(AdapterReason.UNREACHABLE, f"{self._plan.path} does not stop changing")

    def _is_settled(self, signature: Signature, seen_s: float) -> bool:
        """Whether nobody has written to it for a while: by its own time, or, where that is yet to come, by ours."""
        age_s = max(time.time() - signature.mtime_ns / 1e9, time.monotonic() - seen_s)
        return age_s >= self._settings.settle_s

    def _write(self, task: Task, signature: Signature) -> None:
        if signature.size <= HERE_BYTES:
            build_index(task)
        else:
            build_apart(task, self._is_closed.is_set)

    def _open(self, path: Path, signature: Signature) -> FileIndex | None:
        if not path.exists():
            return None
        try:
            return FileIndex(path, self._plan, signature)
        except (sqlite3.Error, TypeError, ValueError):
            path.unlink(missing_ok=True)  # damaged: it is made anew
            return None

    def _sweep(self, folder: Path, target: Path) -> None:
        """Remove indexes of other states; who reads one still may go on."""
        for path in folder.glob(f"{self._described.name}-*"):
            if path != target:
                path.unlink(missing_ok=True)

    def _find_folder(self) -> Path:
        if self._folder is None:
            self._own_folder = tempfile.TemporaryDirectory(prefix="tagstitch-")
            self._folder = Path(self._own_folder.name)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            message = f"the folder {self._folder} for indexes cannot be made: {error.strerror}"
            raise AdapterError(AdapterReason.UNREACHABLE, message) from None
        return self._folder


@contextlib.contextmanager
def _hold(path: Path, is_closed: threading.Event) -> Iterator[None]:
    """Hold a lock among processes: one makes the index, the others find it made."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        while not is_closed.is_set():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                is_closed.wait(0.05)
        yield
    finally:
        os.close(descriptor)


def _broken(error: sqlite3.Error) -> AdapterError:
    return AdapterError(AdapterReason.UNREACHABLE, f"the index is damaged, and made anew ({type(error).__name__})")


def _find_format(path: str) -> str:
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise Wrong("format", "the path does not tell it: say csv, jsonl or parquet")
    return ENDINGS[ending]


def _check_encoding(name: str) -> str:
    try:
        "".encode(name)  # raises LookupError also for what encodes no text, such as base64
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise Wrong("encoding", "there is no such encoding: say utf-8, latin-1, cp1252 or the like") from None


def remove_orphans(data: Path, names: Container[str]) -> None:
    """Remove the indexes of adapters that are configured no more: they hold customers' records."""
    for path in (data / "adapters").glob("*-*"):
        if path.name.rpartition("-")[0] not in names:
            path.unlink(missing_ok=True)
