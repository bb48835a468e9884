"""Kept bodies on disk: `rejected/`, for `tagstitch replay`. See `kept_bodies` for what may be kept at all.

    rejected/<reason>/<ms>-<writer>-<salt>.kept     frames (see `spool.frames`), each one sealed body

Best effort, unlike the spool: nobody was promised anything. Bodies are collected in memory and written once a second by
a thread, without a sync; a kill loses those of the last second, a full disk loses what it cannot take, and both are
counted. Neither an answer nor the spool ever waits for it.

Invariants
    1. Sealed (AES-256-GCM, under a key derived from the digest key): what was refused is judged by nobody, so it is
       not to be found by whoever looks through the disk or a backup. Without the secrets it is noise.
    2. Nothing is older than `rejected_days`, and all of it together is about `rejected_bytes` at most. Where it grows
       beyond, the oldest file of the reason that holds the most goes: a flood of one kind pushes out itself.
    3. A file is written by the process that made it, for FILE_MS at most, then only read and removed.

**Erasure and access requests must look here as well**: for a visitor or an identifier nothing but reading every body
finds it (`read_bodies`). Whoever cannot wait `rejected_days` removes the folder; nothing else depends on it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from collector import disk, sealing
from collector.accept.kept_bodies import KEPT_REASONS, MAX_KEPT_BYTES, KeptBody, decode_kept, encode_kept, make_kept
from collector.accept.pipeline import Accepted, Refused
from collector.event import Context
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.metrics import count_kept_body
from collector.reasons import Reason
from collector.spool.frames import encode_frame, scan_frames

FOLDER = "rejected"
PURPOSE = b"tagstitch.rejected"
INTERVAL_S = 1.0
SWEEP_S = 60.0
FILE_MS = 3_600_000
FILE_BYTES = 4_194_304
MAX_PENDING_BYTES = 4_194_304
"""More waits in memory for no second: what comes beyond is dropped and counted."""
MAX_PENDING = 500
"""The same by number: making one costs as much as judging a beacon, and a flood must not cost twice."""
MAX_CPU_S = 0.1
"""Most seconds of the processor between two writes. Attempts count, also those of which nothing is kept: what is made
of a long text may cost far more than its judgement did."""
DAY_MS = 86_400_000

_NAME = re.compile(r"(\d{13})-[a-z0-9-]{1,40}-[0-9a-f]{8}\.kept")


class _Sealed(msgspec.Struct):
    k: str  # nonce and sealed body, base64


class KeptFile(NamedTuple):
    """One file. `began_ms`: when its first body was written, milliseconds since 1970."""

    path: Path
    reason: Reason
    began_ms: int
    size: int


class KeptBodies:
    """The bodies that one web process keeps. For its event loop."""

    def __init__(
        self,
        data: Path,
        writer: str,
        keyring: Keyring,
        *,
        keep_days: int,
        max_bytes: int,
        min_free_bytes: int = 0,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        """`data`: the instance's folder. `keep_days`, `max_bytes`: 0 keeps nothing, and what is there goes.

        `min_free_bytes`: with less free disk nothing is written; what is left is the spool's.
        `cpu_s`: seconds of the processor that the calling thread has used.
        """
        self._folder = data / FOLDER
        self._writer = writer
        self._keyring = keyring
        self._keep_days = keep_days
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._now_ms = now_ms
        self._cpu_s = cpu_s
        self._spent_s = 0.0  # since the last write
        self._pending: list[tuple[Reason, bytes]] = []
        self._pending_bytes = 0
        self._files: dict[Reason, KeptFile] = {}  # those that grow
        self._swept_at: float | None = None
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None

    def note(self, body: bytes, context: Context, outcome: Accepted | Refused) -> None:
        """Keep what may be kept of a body that was refused, whole or in part. Costs nothing where nothing was.

        A body of more than MAX_KEPT_BYTES is dropped unread: reducing it would cost more than it is worth.
        """
        refused = (outcome.rejected,) if isinstance(outcome, Refused) else outcome.rejected
        if not refused or not self._keep_days or not self._max_bytes:
            return
        if KEPT_REASONS.isdisjoint(rejected.reason for rejected in refused):
            return
        is_full = len(self._pending) >= MAX_PENDING or self._pending_bytes >= MAX_PENDING_BYTES
        if is_full or self._spent_s >= MAX_CPU_S or len(body) > MAX_KEPT_BYTES:
            count_kept_body("dropped")
            return
        began_s = self._cpu_s()
        kept = make_kept(body, context, outcome, self._keep_days)
        if kept is not None:
            frame = seal(self._keyring, kept)
            self._pending.append((kept.reason, frame))
            self._pending_bytes += len(frame)
        self._spent_s += self._cpu_s() - began_s

    def start(self) -> None:
        """Write from now on, until `stop`."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Write what waits, and no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.flush()

    async def flush(self) -> None:
        """Write what waits, in a thread."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        self._spent_s = 0.0
        if pending:
            await asyncio.to_thread(self._write, pending)

    async def _run(self) -> None:
        while True:
            await self.flush()
            if self._swept_at is None or time.monotonic() - self._swept_at >= SWEEP_S:
                self._swept_at = time.monotonic()
                await asyncio.to_thread(self._sweep)
            await asyncio.sleep(INTERVAL_S)

    # --- the thread's side

    def _write(self, pending: list[tuple[Reason, bytes]]) -> None:
        if not self._has_room():
            count_kept_body("dropped", len(pending))
            return
        for reason in dict.fromkeys(reason for reason, _ in pending):
            frames = [frame for of, frame in pending if of == reason]
            try:
                self._append(reason, b"".join(frames))
            except OSError as error:
                self._files.pop(reason, None)
                count_kept_body("failed", len(frames))
                if not self._is_failing:
                    self._is_failing = True
                    get_logger().warning(
                        "refused bodies cannot be kept for replay, they are counted alone",
                        reason=error.strerror or str(error),
                    )
            else:
                self._is_failing = False
                count_kept_body("kept", len(frames))

    def _has_room(self) -> bool:
        try:
            return not self._min_free_bytes or disk.measure_free(self._folder.parent) >= self._min_free_bytes
        except OSError:
            return False

    def _append(self, reason: Reason, data: bytes) -> None:
        now_ms = self._now_ms()
        file = self._files.get(reason)
        if file is None or file.size >= FILE_BYTES or not 0 <= now_ms - file.began_ms < FILE_MS:
            if file is not None:
                self._sweep()  # in a flood a minute is long
            folder = self._folder / reason
            disk.make_folder(folder)
            path = folder / f"{now_ms:013d}-{self._writer}-{secrets.token_hex(4)}.kept"
            disk.close(disk.create_file(path))
            file = KeptFile(path, reason, now_ms, 0)
        fd = os.open(file.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)  # not made again where somebody removed it
        try:
            disk.write_all(fd, data)
        finally:
            disk.close(fd)
        self._files[reason] = file._replace(size=file.size + len(data))

    def _sweep(self) -> None:
        try:
            sweep(self._folder.parent, self._keep_days, self._max_bytes, self._now_ms())
        except OSError as error:
            get_logger().warning("old kept bodies cannot be removed", reason=error.strerror or str(error))


def list_files(data: Path) -> list[KeptFile]:
    """Return all files, the oldest first."""
    found = []
    for reason in KEPT_REASONS:
        try:
            paths = list((data / FOLDER / reason).iterdir())
        except OSError:
            continue
        for path in paths:
            name = _NAME.fullmatch(path.name)
            if name is not None:
                with contextlib.suppress(OSError):
                    found.append(KeptFile(path, reason, int(name[1]), path.stat().st_size))
    return sorted(found, key=lambda file: (file.began_ms, file.path.name))


def sweep(data: Path, keep_days: int, max_bytes: int, now_ms: int) -> None:
    """Remove what is too old and what is too much. Several processes may do it at once. Raises OSError."""
    files = list_files(data)
    for file in [file for file in files if file.began_ms + keep_days * DAY_MS <= now_ms]:
        disk.unlink(file.path)
        files.remove(file)
        count_kept_body("expired")
    total = sum(file.size for file in files)
    while files and total > max_bytes:
        sizes = {reason: sum(file.size for file in files if file.reason == reason) for reason in KEPT_REASONS}
        most = max(sizes, key=lambda reason: sizes[reason])
        oldest = next(file for file in files if file.reason == most)
        disk.unlink(oldest.path)
        files.remove(oldest)
        total -= oldest.size
        count_kept_body("pushed out")


def seal(keyring: Keyring, kept: KeptBody) -> bytes:
    """Return the body as a frame of a file."""
    sealed = sealing.seal(keyring.digest_key, PURPOSE, encode_kept(kept))
    return encode_frame(msgspec.json.encode(_Sealed(base64.b64encode(sealed).decode())))


def read_bodies(path: Path, keyring: Keyring) -> Iterator[KeptBody | None]:
    """Yield the bodies of a file in order; None for each that is damaged, or that other secrets have sealed.

    A file that is gone has none: a web process may have swept it since it was listed.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for stretch in scan_frames(data):
        if stretch.line is None:
            yield None
            continue
        try:
            sealed = base64.b64decode(msgspec.json.decode(stretch.line, type=_Sealed).k)
            plain = sealing.unseal(keyring.digest_key, PURPOSE, sealed)
            yield None if plain is None else decode_kept(plain)
        except (msgspec.MsgspecError, ValueError):
            yield None
