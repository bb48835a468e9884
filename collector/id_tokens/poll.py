"""The KeyPoller: keeps the issuers' keys of a web process fresh, and a copy of them on disk.

A thread of its own asks every issuer of every site when it first hears of it, then once an hour, and when a token
names a key that is not there: each issuer once a minute at most (`issuer_pause_s`), so that forged tokens cannot make
us ask more.
Where an issuer is away its last keys stay in force, and a process that starts then begins with the copy
(`web/issuer_keys.json`, shared by the web processes of a host).

Invariant: a request never waits for any of this.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from collector import disk
from collector.errors import IssuerUnavailable
from collector.id_tokens.keys import PAUSE_S, KeyBook, KeySet, Source
from collector.logs import get_logger
from collector.sites.book import SiteBook

FILE_NAME = "issuer_keys.json"
REFRESH_MS = 3_600_000
LOOK_S = 1.0


class _CopiedSet(msgspec.Struct):
    issuer: str
    jwks_url: str
    read_at_ms: int
    keys: list[dict[str, str]]


@dataclass(slots=True)
class _Asked:
    """When a source was last asked, and whether it answered."""

    at_ms: int
    answered: bool


def _read_clock() -> int:
    return time.time_ns() // 1_000_000


def _fetch(source: Source, now_ms: int) -> KeySet:
    from collector.id_tokens.fetch import fetch_keys  # late, for what `key_sets` says

    return fetch_keys(source, now_ms)


class KeyPoller:
    """The issuers' keys of one web process. `keys`: where the accept path looks them up."""

    def __init__(
        self,
        folder: Path,
        site_book: Callable[[], SiteBook],
        now_ms: Callable[[], int] = _read_clock,
        fetch: Callable[[Source, int], KeySet] = _fetch,
        pause_s: float = PAUSE_S,
    ) -> None:
        """Read the copy on disk, if there is one. Asks the issuers from `start` on. `folder`: of the web processes.
        `pause_s`: least time between two questions to one issuer."""
        self._path = folder / FILE_NAME
        self._site_book = site_book
        self._now_ms = now_ms
        self._fetch = fetch
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._asked: dict[Source, _Asked] = {}
        self._pause_ms = int(pause_s * 1000)
        self.keys = KeyBook(self._read_copy(), pause_s=pause_s)

    def start(self) -> None:
        """Begin to poll, in a thread."""
        self._thread = threading.Thread(target=self._run, name="key-poller", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop polling. A question that is under way is hardly waited for: nothing depends on its answer."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=LOOK_S)
            self._thread = None

    def poll(self) -> None:
        """Ask those issuers whose time has come."""
        sources = {
            Source(issuer.issuer, issuer.jwks_url)
            for site in self._site_book().sites.values()
            if not site.deleted
            for issuer in site.issuers
        }
        wanted = self.keys.take_wanted()
        sets = {source: key_set for source, key_set in self.keys.sets.items() if source in sources}
        is_changed = len(sets) < len(self.keys.sets)
        for source in sorted(sources):
            if self._stop.is_set() or not self._is_due(source, source in wanted):
                continue
            key_set = self._ask(source)
            if key_set is not None:
                sets[source] = key_set
                self.keys.sets = dict(sets)
                is_changed = True
        self.keys.sets = sets
        if is_changed:
            self._keep_copy(sets)

    def _is_due(self, source: Source, is_wanted: bool) -> bool:
        asked = self._asked.get(source)
        if asked is None:
            return True
        pause_ms = REFRESH_MS if asked.answered and not is_wanted else self._pause_ms
        passed_ms = self._now_ms() - asked.at_ms
        return passed_ms >= pause_ms or passed_ms < 0  # the clock was set back: when that was is not known any more

    def _ask(self, source: Source) -> KeySet | None:
        asked = self._asked.get(source)
        was_away = asked is not None and not asked.answered
        try:
            key_set = self._fetch(source, self._now_ms())
        except IssuerUnavailable as error:
            if not was_away:
                get_logger().warning("an issuer's keys cannot be read, the last ones stay", reason=str(error))
            self._asked[source] = _Asked(self._now_ms(), answered=False)
            return None
        if was_away or asked is None:
            get_logger().info("an issuer's keys are read", issuer=source.issuer, keys=len(key_set.keys))
        self._asked[source] = _Asked(self._now_ms(), answered=True)
        return key_set

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.poll()

    def _read_copy(self) -> dict[Source, KeySet]:
        try:
            copied = msgspec.json.decode(self._path.read_bytes(), type=list[_CopiedSet])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            get_logger().warning("the copy of issuers' keys cannot be read", path=str(self._path), reason=str(error))
            return {}
        if not copied:
            return {}
        from collector.id_tokens.key_sets import make_key_set

        return {Source(item.issuer, item.jwks_url): make_key_set(item.keys, item.read_at_ms) for item in copied}

    def _keep_copy(self, sets: Mapping[Source, KeySet]) -> None:
        copied = [
            _CopiedSet(source.issuer, source.jwks_url, key_set.read_at_ms, [dict(keys) for keys in key_set.members])
            for source, key_set in sorted(sets.items(), key=lambda item: item[0])
        ]
        try:
            disk.make_folder(self._path.parent)
            lock = disk.take_lock(self._path.with_suffix(".lock"))
            if lock is None:
                return  # another web process of this host is writing the same
            try:
                disk.write_file(self._path, msgspec.json.encode(copied))
            finally:
                disk.close(lock)
        except OSError as error:
            get_logger().warning("the copy of issuers' keys cannot be written", reason=error.strerror or "unknown")
