"""The salt of the day, under which cookieless sites tell today's visitors apart, and nobody can tell them tomorrow.

    data/web/day-salt-2026-11-22    64 hexadecimal digits, mode 0600, shared by the web processes of a host

Made by whoever needs it first on that day (UTC), at random, and never derived from another secret: once the file is
gone, no key of the instance leads back to who was who. The file of a day that is over is deleted within one poll of
the sites, with or without visitors, and by the next start.

Invariants: processes that make one at the same moment end with the same (`link` of a finished draft). A file that is
damaged is replaced, by one of them (lock `day-salt.lock`). Where the disk refuses, there is no salt, and events are
kept without a visitor.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collector import disk
from collector.logs import get_logger

PREFIX = "day-salt-"
LOCK_NAME = "day-salt.lock"
LOCK_PATIENCE_S = 1.0
DAY_MS = 86_400_000

_FORM = re.compile(rb"[0-9a-f]{64}")


class DaySalts:
    """The salts of one host, of which there is one at a time. Safe for threads."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where the file lies; made when the first salt is."""
        self._folder = folder
        self._known: tuple[int, bytes] = (-1, b"")
        self._is_failing = False

    def find(self, now_ms: int) -> bytes:
        """Return the salt of the day, 32 bytes; none where the disk refuses. Reads the disk once a day."""
        day = now_ms // DAY_MS
        known_day, salt = self._known
        if day == known_day:
            return salt
        try:
            self.sweep(now_ms)
            salt = self._open(self._path(day))
        except OSError as error:
            if not self._is_failing:
                self._is_failing = True
                reason = error.strerror or "unknown"
                get_logger().error("no salt of the day: events of cookieless sites have no visitor", reason=reason)
            return b""
        self._is_failing = False
        self._known = day, salt
        return salt

    def sweep(self, now_ms: int) -> None:
        """Delete the salts of other days and forget them. Tomorrow's may be there: a clock may be ahead by a moment."""
        day = now_ms // DAY_MS
        if self._known[0] < day:
            self._known = (-1, b"")
        kept = {self._path(day).name, self._path(day + 1).name}
        for path in self._folder.glob(f"{PREFIX}*"):
            if path.name not in kept:
                disk.unlink(path)

    def _path(self, day: int) -> Path:
        return self._folder / f"{PREFIX}{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day):%Y-%m-%d}"

    def _open(self, path: Path) -> bytes:
        salt = _read(path)
        if salt is not None:
            return salt
        disk.make_folder(path.parent)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        fd = disk.create_file(draft)
        try:
            try:
                disk.write_all(fd, secrets.token_hex(32).encode())
                disk.sync(fd)
            finally:
                disk.close(fd)
            try:
                os.link(draft, path)  # fails where another process was faster
            except FileExistsError:
                self._mend(path, draft)
        finally:
            disk.unlink(draft)
        salt = _read(path)
        if salt is None:
            raise OSError(0, "the file does not hold what was written")
        return salt

    def _mend(self, path: Path, draft: Path) -> None:
        """Put the draft in the place of a damaged file, unless another process has done so already."""
        give_up_at = time.monotonic() + LOCK_PATIENCE_S
        while _read(path) is None:
            lock = disk.take_lock(self._folder / LOCK_NAME)
            if lock is not None:
                try:
                    if _read(path) is None:
                        disk.rename(draft, path)
                finally:
                    disk.close(lock)
                return
            if time.monotonic() > give_up_at:
                raise OSError(0, "another process keeps the salt's lock")
            time.sleep(0.01)


def _read(path: Path) -> bytes | None:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    return bytes.fromhex(text.decode()) if _FORM.fullmatch(text) else None
