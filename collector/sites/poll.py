"""The SitePoller: keeps a web process's snapshot of sites and keys fresh, and a copy of it on disk.

A thread of its own asks the store every `settings_interval_s`. Where the store is away, the last snapshot stays in
force, and a process that starts then begins with the copy on disk (`web/sites.json`, and `web/links.msgpack` for what
tagged links are judged by, which may be long and seldom changes, and `web/tombstones.msgpack` for what was
erased; shared by the web processes of a host). How old the snapshot is, is a metric and stands in /health; nothing is
refused for its age.

Invariants: a snapshot is replaced whole, by one assignment, so that a request sees one state. A copy that is damaged
or of another version is left aside: an empty book knows no site and lets nothing pass.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from collector import disk
from collector.config import Config
from collector.errors import StoreError, StoreUnavailable
from collector.identity.erased import TombstoneReader
from collector.keyring import Keyring
from collector.links.rows import RuleReader
from collector.links.rules import LinkRules
from collector.logs import get_logger
from collector.privacy.tombstones import Tombstones
from collector.sites.book import SiteBook
from collector.sites.day_salt import DaySalts
from collector.sites.keys import KeyUses
from collector.sites.rows import read_book, write_uses
from collector.store.client import open_client

FILE_NAME, RULES_NAME, TOMBSTONES_NAME = "sites.json", "links.msgpack", "tombstones.msgpack"
COPY_INTERVAL_MS = 60_000
FIRST_INTERVAL_S = 0.2
"""Until the store has answered once, nothing can be accepted: ask often."""


_Copy = TypeVar("_Copy", SiteBook, LinkRules, Tombstones)
_Decoded = TypeVar("_Decoded", covariant=True)


class _Decoder(Protocol[_Decoded]):
    def decode(self, text: bytes, /) -> _Decoded: ...


def _read_clock() -> int:
    return time.time_ns() // 1_000_000


def read_copy(data: Path) -> SiteBook:
    """Read the copy in an instance's folder; an empty book where there is none, or none that can be read."""
    folder = data / "web"
    book = _read_file(folder / FILE_NAME, msgspec.json.Decoder(SiteBook)) or SiteBook()
    rules = _read_file(folder / RULES_NAME, msgspec.msgpack.Decoder(LinkRules)) or book.links
    tombstones = _read_file(folder / TOMBSTONES_NAME, msgspec.msgpack.Decoder(Tombstones)) or book.tombstones
    return msgspec.structs.replace(book, links=rules, tombstones=tombstones)


def write_copy(data: Path, book: SiteBook, *, with_rules: bool = True) -> bool:
    """Write the copy. False: another process of this host is writing the same. Raises OSError.

    `with_rules`: also what links are judged by, and what was erased.
    """
    path = data / "web" / FILE_NAME
    disk.make_folder(path.parent)
    lock = disk.take_lock(path.with_suffix(".lock"))
    if lock is None:
        return False
    try:
        if with_rules:
            disk.write_file(path.with_name(RULES_NAME), msgspec.msgpack.encode(book.links))
            disk.write_file(path.with_name(TOMBSTONES_NAME), msgspec.msgpack.encode(book.tombstones))
        plain = msgspec.structs.replace(book, links=LinkRules(), tombstones=Tombstones())
        disk.write_file(path, msgspec.json.encode(plain))
    finally:
        disk.close(lock)
    return True


def _read_file(path: Path, decoder: _Decoder[_Copy]) -> _Copy | None:
    try:
        return decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        get_logger().warning("the copy of sites and keys cannot be read", path=str(path), reason=str(error))
        return None


class SitePoller:
    """The sites and keys of one web process.

    `uses`: where endpoints note that a key was used. `day_salts`: what cookieless sites need; those of days that are
    over are deleted with each poll.
    """

    def __init__(self, config: Config, keyring: Keyring, now_ms: Callable[[], int] = _read_clock) -> None:
        """Read the copy on disk, if there is one. Asks the store from `start` on."""
        self.uses = KeyUses()
        self.day_salts = DaySalts(config.data_path / "web")
        self._interval_s = config.settings_interval_s
        self._data = config.data_path
        self._now_ms = now_ms
        self._client = open_client(config, keyring, "writer")
        self._stop = threading.Event()
        self._polled = threading.Event()
        self._thread: threading.Thread | None = None
        self._unwritten: dict[str, int] = {}
        self._is_away = False
        self._book = self._copied = read_copy(config.data_path)
        self._rules = RuleReader(self._client, self._book.links)
        self._tombstones = TombstoneReader(self._client, self._book.tombstones)
        self._is_refused = False

    def read_book(self) -> SiteBook:
        """Return the snapshot in force. Costs nothing; to be called once per request."""
        return self._book

    def measure_age_s(self) -> float:
        """Return how old the snapshot is, in seconds; infinite where there is none."""
        read_at_ms = self._book.read_at_ms
        return max(0.0, (self._now_ms() - read_at_ms) / 1000) if read_at_ms else float("inf")

    def start(self) -> None:
        """Begin to poll, in a thread."""
        self._thread = threading.Thread(target=self._run, name="site-poller", daemon=True)
        self._thread.start()

    def wait_for_poll(self, timeout_s: float) -> bool:
        """Wait for the first answer of the store. Returns whether it came."""
        return self._polled.wait(timeout_s)

    def stop(self) -> None:
        """Stop polling and wait for the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def poll(self) -> bool:
        """Ask the store once. Returns whether it answered; the snapshot is then as it says."""
        try:
            book = read_book(self._client, self._now_ms())
            links, tombstones = self._read_rules()
            book = msgspec.structs.replace(book, links=links, tombstones=tombstones)
            self._write_uses()
        except StoreError as error:
            self._note_away(str(error))
            return False
        if self._is_away:
            self._is_away = False
            get_logger().info("sites and keys are read from the store again")
        self._book = book
        self._polled.set()
        self._keep_copy()
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            self.poll()
            self._sweep_salts()
            self._stop.wait(self._interval_s if self._book.read_at_ms else min(FIRST_INTERVAL_S, self._interval_s))
        self._client.close()

    def _sweep_salts(self) -> None:
        try:
            self.day_salts.sweep(self._now_ms())
        except OSError as error:
            get_logger().warning("the salt of an earlier day cannot be deleted", reason=error.strerror or "unknown")

    def _read_rules(self) -> tuple[LinkRules, Tombstones]:
        """Return what links are judged by, and what was erased. A store that is not migrated yet has none: sites and
        keys go on."""
        try:
            if self._tombstones.read():  # who was erased is gone from the rules as well
                self._rules = RuleReader(self._client, self._rules.rules)
            rules = self._rules.read()
        except StoreUnavailable:
            raise
        except StoreError as error:
            if not self._is_refused:
                self._is_refused = True
                get_logger().warning("what tagged links are judged by cannot be read, it stays", reason=str(error))
            return self._rules.rules, self._tombstones.tombstones
        self._is_refused = False
        return rules, self._tombstones.tombstones

    def _write_uses(self) -> None:
        self._unwritten |= self.uses.take()
        if self._unwritten:
            write_uses(self._client, self._unwritten)
            self._unwritten = {}

    def _note_away(self, reason: str) -> None:
        if not self._is_away:
            self._is_away = True
            get_logger().warning("sites and keys cannot be read, the last ones stay in force", reason=reason)

    def _keep_copy(self) -> None:
        """Write the copy where something has changed, and once a minute, so that its age can be told."""
        book, copied = self._book, self._copied
        is_same = (book.sites, book.keys) == (copied.sites, copied.keys) and book.links.rows is copied.links.rows
        is_same &= book.tombstones is copied.tombstones
        # A clock that was set back makes the copy look as if it came from the future: write it then too.
        # Who wants no marketing may change at any time and be long: once a minute is often enough.
        if is_same and abs(book.read_at_ms - copied.read_at_ms) < COPY_INTERVAL_MS:
            return
        try:
            if write_copy(self._data, book, with_rules=book.links is not copied.links or not is_same):
                self._copied = book
        except OSError as error:
            get_logger().warning("the copy of sites and keys cannot be written", reason=error.strerror or "unknown")
