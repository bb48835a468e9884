"""Stitch: follows the list of loaded batches and keeps the identity map as `resolve` says. The role `stitch`.

    list of batches ─► new evidence ─► touched keys ─► components ─► resolve ─► rows that differ ─► reload ─► progress

Invariants: nothing is skipped: new evidence is found by host and number of its batch, never by time, and progress is
written last; after a crash at any point the same work is done again and gives the same rows. A row's version is the
position in the list (the sum of all hosts' numbers), and each step takes the whole list there is, so the positions
of two stitchers are stages of one history, and the later stage wins. Where a step spans several batches, another
stitcher may have stopped half way: then all touched rows are written, changed or not. A stitcher that finds itself
overtaken looks at what it wrote once more. Readers see a change once the dictionaries are loaded anew: in the role
beside the next steps, see `reloading`; a stitcher that starts begins with it.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from collector.config import Config
from collector.errors import StoreError
from collector.identity.blocks import read_blocked
from collector.identity.policy import Policy, make_policy
from collector.identity.stitching import first_look
from collector.identity.stitching.component_columns import count_rows
from collector.identity.stitching.map_step import LetGo, MapStep
from collector.identity.stitching.reloading import Reloader
from collector.identity.stitching.stitch_status import MergeFuse, StitchCounts, StitchStatusFile
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.sites.book import Site
from collector.sites.rows import read_sites
from collector.store.client import StoreClient, open_client
from collector.store.dictionaries import DICTIONARIES, reload_dictionaries
from collector.store.writer import insert_rows

KEYS_PER_ROUND = 60_000
WALK_KEYS = 60_000  # beyond, after a long absence, the whole space is read at once
WHOLE_SPACE_ROWS = 20_000_000
IDLE_PROGRESS_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0


@dataclass(frozen=True, slots=True)
class Position:
    """How far the list of batches goes without a gap: the last number by host."""

    hosts: dict[str, int] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The place in the list's history: grows with each batch."""
        return sum(self.hosts.values())


class Stitcher:
    """One stitcher. Belongs to one thread."""

    def __init__(
        self,
        client: StoreClient,
        config: Config,
        *,
        now_s: Callable[[], float] = time.monotonic,
        reload: Callable[[Collection[str]], None] | None = None,
        before_write: Callable[[], None] = lambda: None,
        tell: Callable[[StitchCounts, int], None] = lambda _, __: None,
    ) -> None:
        """`now_s`: a clock that never goes back. `reload`: asked to load the dictionaries that what was
        written is seen through; without one it is done at once. `before_write`: called between reading and writing;
        for tests. `tell`: hears before and after each step how it is going, and since when something waits."""
        self._client = client
        self._config = config
        self.counts = StitchCounts()
        self._tell = tell
        self._fuse = MergeFuse(config.merges_per_minute, now_s)
        self._is_held = False
        self._now_s = now_s
        self._before_write = before_write
        self._done: Position | None = None
        self._written = Position()
        self._written_at_s = 0.0
        self._sites: dict[str, list[Site]] = {}
        self._sites_at_s: float | None = None
        self._again: defaultdict[str, set[bytes]] = defaultdict(set)
        self._gaps: set[tuple[str, int]] = set()
        self._looks: dict[str, first_look.FirstLook] = {}
        self._let_go = LetGo()
        self._moved: set[str] = set()  # spaces whose policy has changed: everybody who is seen is resolved again
        self._reload = reload or (lambda names: reload_dictionaries(self._client, names))
        # What readers do not see yet. Whoever wrote last may have died before it made that visible.
        self._stale = set(DICTIONARIES)

    def step(self) -> bool:
        """Do what is there to be done. Returns whether there was anything. Raises StoreError; then call it again."""
        if self._done is None:
            self._done = self._written = read_progress(self._client)
            self._written_at_s = self._now_s()
        if self._is_held_up():
            self._make_visible()
            return False
        position, evidence, oldest_ms = self._look(self._done)
        self._tell(self.counts, oldest_ms)
        self._looks = {}
        touched = self._find_touched(self._done, position) if evidence else defaultdict[str, set[bytes]](set)
        for space_id, keys in self._again.items():
            touched[space_id] |= keys

        if touched:
            self._work(touched, position, evidence)
            overtaken = any(
                seq > position.hosts.get(host, 0) for host, seq in read_progress(self._client).hosts.items()
            )
            self._again = touched if overtaken else defaultdict(set)
        self._make_visible()
        found = position != self._done
        self._done = position
        if touched:
            self.counts.steps += 1
        self._tell(self.counts, 0)
        if position != self._written and (touched or self._now_s() - self._written_at_s >= IDLE_PROGRESS_S):
            self.write_progress()
        return found

    def write_progress(self) -> None:
        """Note how far everything is in the map."""
        done = self._done or Position()
        rows = [
            {"host": host, "seq": seq, "version": done.version}
            for host, seq in done.hosts.items()
            if seq != self._written.hosts.get(host)
        ]
        insert_rows(self._client, "stitch_progress", rows)
        self._written, self._written_at_s = done, self._now_s()

    def forget(self) -> None:
        """Begin anew from the progress in the store: after an error nobody knows what was written."""
        self._done = None
        self._let_go = LetGo()
        self._stale = set(DICTIONARIES)

    def read_policy(self, space_id: str) -> Policy:
        """Return the policy of a space: by its sites, read every few seconds, and by what it has blocked."""
        now_s = self._now_s()
        if self._sites_at_s is None or now_s - self._sites_at_s >= self._config.settings_interval_s:
            sites: dict[str, list[Site]] = {}
            for site in read_sites(self._client):
                sites.setdefault(site.space_id, []).append(site)
            for space, before in self._sites.items():
                if make_policy(self._config, before) != make_policy(self._config, sites.get(space, ())):
                    self._moved.add(space)
                    get_logger().warning(
                        "identifier kinds have changed: until a restart people follow when they are next seen; "
                        "`tagstitch stitch --rebuild` is how all of them do",
                        space=space,
                    )
            self._sites, self._sites_at_s = sites, now_s
        # What is blocked is read each time: the evidence that brings a key here comes after its row, see `blocks`.
        return make_policy(self._config, self._sites.get(space_id, ()), read_blocked(self._client, space_id))

    def _is_held_up(self) -> bool:
        """Whether too many customers have become one within a minute: then say so, and wait."""
        was_held, self._is_held = self._is_held, self._fuse.is_blown()
        if self._is_held and not was_held:
            self.counts.delays += 1
            get_logger().warning(
                "very many customers became one within a minute, stitch waits: look at v_identity_evidence for what"
                " merged them; `tagstitch identity undo` or retract takes it back",
                most=self._config.merges_per_minute,
            )
        return self._is_held

    def _look(self, done: Position) -> tuple[Position, int, int]:
        """Return how far the list goes now, how many of its new batches have evidence, and when the oldest of those
        was loaded (milliseconds since 1970; 0: none)."""
        params: dict[str, object] = {"hosts": sorted(done.hosts) or [""]}
        terms = ["host NOT IN {hosts:Array(String)}"]
        for place, (host, seq) in enumerate(sorted(done.hosts.items())):
            params |= {f"host{place}": host, f"seq{place}": seq}
            terms.append(f"(host = {{host{place}:String}} AND seq > {{seq{place}:UInt64}})")
        rows = self._client.query_rows(
            "SELECT host, seq, max(evidence) AS pieces, toUnixTimestamp64Milli(min(loaded_at)) AS loaded_at_ms"  # noqa: S608
            f" FROM batches WHERE {' OR '.join(terms)}"
            " GROUP BY host, seq ORDER BY host, seq",
            params,
        )
        hosts = dict(done.hosts)
        with_evidence = oldest_ms = 0
        for row in rows:
            if row["seq"] == hosts.get(row["host"], 0) + 1:
                hosts[row["host"]] = row["seq"]
                if row["pieces"]:
                    with_evidence += 1
                    oldest_ms = min(oldest_ms or row["loaded_at_ms"], row["loaded_at_ms"])
            else:
                self._note_gap(row["host"], hosts.get(row["host"], 0) + 1)
        return Position(hosts), with_evidence, oldest_ms

    def _note_gap(self, host: str, seq: int) -> None:
        if (host, seq) not in self._gaps:
            self._gaps.add((host, seq))
            get_logger().warning("a batch is missing in the list, stitch waits for it", host=host, seq=seq)

    def _find_touched(self, done: Position, position: Position) -> defaultdict[str, set[bytes]]:
        """Return the keys that the new batches' evidence names, by space, without those that it cannot change."""
        touched: defaultdict[str, set[bytes]] = defaultdict(set)
        for space_id, news in first_look.read_news(self._client, done.hosts, position.hosts).items():
            policy = self.read_policy(space_id)
            self._let_go.forget(space_id, first_look.find_undone(news))
            keys = first_look.find_touched(news)
            self.counts.touched += len(keys)
            if len(keys) >= first_look.LEAST_KEYS and space_id not in self._moved:
                look = first_look.leave_settled(self._client, space_id, policy, news, done.hosts, position.hosts)
                self._looks[space_id] = look
                self.counts.settled += len(keys) - len(look.keys)
                keys = look.keys
            touched[space_id] |= keys | first_look.find_beside_blocked(self._client, space_id, news)
        return touched

    def _work(self, touched: dict[str, set[bytes]], position: Position, batches: int) -> None:
        """Resolve what is touched, and write what differs."""
        step = MapStep(
            self._client,
            position.version,
            is_again=batches != 1 or bool(self._again),
            looks=self._looks,
            let_go=self._let_go,
        )
        for space_id, keys in sorted(touched.items()):
            policy = self.read_policy(space_id)
            if len(keys) > WALK_KEYS and count_rows(self._client, space_id) <= WHOLE_SPACE_ROWS:
                step.bring_all(space_id, keys, policy, self._before_write)
                continue
            left = set(keys)
            while left:
                left -= step.bring(space_id, set(sorted(left)[:KEYS_PER_ROUND]), policy, self._before_write)
        step.log()
        self._count(step)
        self._stale |= step.stale

    def _count(self, step: MapStep) -> None:
        counts = self.counts
        counts.evidence += step.evidence
        counts.written += step.written
        counts.merges += step.merges
        for reason, count in step.refusals.items():
            counts.refusals[reason] = counts.refusals.get(reason, 0) + count
        self._fuse.count(step.merges)

    def _make_visible(self) -> None:
        """Have the map loaded into its dictionaries where it has changed."""
        if self._stale:
            self._reload(self._stale)
            self._stale = set()


def run_stitch(config: Config, keyring: Keyring, stop: threading.Event) -> None:
    """Stitch until told to stop. A store that does not answer is waited for, with one line in the log."""
    pause_s = FIRST_PAUSE_S
    away = False
    with (
        open_client(config, keyring, "writer") as client,
        open_client(config, keyring, "writer") as loading,
        Reloader(lambda names: reload_dictionaries(loading, names)) as reloader,
    ):
        status = StitchStatusFile(config.data_path)
        stitcher = Stitcher(client, config, reload=reloader.request, tell=status.write)
        while not stop.is_set():
            try:
                found = stitcher.step()
            except StoreError as error:
                if not away:
                    get_logger().warning("stitch waits for the store", reason=str(error))
                away = True
                stitcher.forget()
                stop.wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            if away:
                get_logger().info("stitch goes on")
            away, pause_s = False, FIRST_PAUSE_S
            if not found:
                stop.wait(config.stitch_interval_s)
        if not away:
            try:
                stitcher.write_progress()
            except StoreError:
                get_logger().info("progress is not written, the next start looks at some batches again")


def read_progress(client: StoreClient) -> Position:
    """Return how far stitch has come."""
    rows = client.query_rows("SELECT host, max(seq) AS last FROM stitch_progress GROUP BY host")
    return Position({row["host"]: row["last"] for row in rows})
