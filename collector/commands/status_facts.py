"""What `tagstitch status` knows: the folder's condition, what web and store answer, and what has changed since.

Web and store are asked by threads of their own, so that a view that is refreshed every second never waits for what is
away. Rates are of the last RATE_MS, percentiles of the last minute, or of all time where nothing happened in it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collector.condition import Condition, read_condition
from collector.config import Config
from collector.errors import TagstitchError
from collector.instance import MARKER
from collector.keyring import Keyring
from collector.metrics import ACK_BOUNDS_S, SEPARATOR, Histogram, Totals, find_quantile
from collector.spool.writer import COMMIT_BOUNDS_S
from collector.store.client import open_client

RATE_MS = 10_000
WINDOW_MS = 60_000
ASK_INTERVAL_S = 2.0
PATIENCE_S = 6.0
"""How long a single look waits for web and store: a little more than a connection may take."""
SILENCE_S = 5.0
NOT_YET = "not asked yet"

BEHIND = """
SELECT sum(greatest(toInt64(loaded.seq) - toInt64(stitched.seq), 0)) AS batches_behind
FROM (SELECT host, max(seq) AS seq FROM batches GROUP BY host) AS loaded
LEFT JOIN (SELECT host, max(seq) AS seq FROM stitch_progress GROUP BY host) AS stitched USING (host)
"""


@dataclass(slots=True, frozen=True)
class Asked:
    """What web and store have answered last. `web`: `ready`, or why not. `store`: `answers`, or why not."""

    web: str = NOT_YET
    store: str = NOT_YET
    batches_behind: int | None = None  # of stitch; None: not known


@dataclass(slots=True, frozen=True)
class Facts:
    """Everything at one moment. Rates in a second, durations in seconds; None where nothing can be said."""

    config: Config
    condition: Condition
    asked: Asked
    beacons_per_s: float | None
    events_per_s: float | None
    rejected: dict[str, tuple[int, float | None]]  # by reason: in all, and in a second
    acknowledgement: tuple[float | None, float | None]  # p50, p99
    sync: tuple[float | None, float | None]
    cpu: dict[str, float]  # share of a core, by process
    is_instance: bool  # whether the folder is one of ours

    @property
    def is_anything_running(self) -> bool:
        """Whether a process of this instance lives, or something answers in its place."""
        return bool(self.condition.uses) or self.asked.web == "ready"


class Watcher:
    """Looks at one instance again and again."""

    def __init__(
        self,
        config: Config,
        keyring: Keyring | None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`keyring`: None where the secrets are not there; then the store is not asked."""
        self._config = config
        self._keyring = keyring
        self._now_ms = now_ms
        self._seen: deque[tuple[Condition, int]] = deque()
        self._web = self._store = NOT_YET
        self._behind: int | None = None
        self._asked_at: dict[str, float] = {}  # when a question was put that is not answered yet
        self._stop = threading.Event()
        self._answered = {name: threading.Event() for name in ("web", "store")}

    def start(self) -> None:
        """Begin to ask web and store."""
        for name, ask in (("web", self._ask_web), ("store", self._ask_store)):
            threading.Thread(target=self._run, args=(name, ask), name=f"ask {name}", daemon=True).start()

    def wait(self) -> None:
        """Wait until both have answered once, PATIENCE_S at most."""
        give_up_at = time.monotonic() + PATIENCE_S
        for answered in self._answered.values():
            answered.wait(max(0.0, give_up_at - time.monotonic()))

    def stop(self) -> None:
        """Ask no more. The threads end with the process."""
        self._stop.set()

    def look(self) -> Facts:
        """Read the folder and put everything together."""
        condition = read_condition(Path(self._config.data), self._now_ms())
        self._seen.append((condition, condition.at_ms))
        while self._seen[0][1] < condition.at_ms - WINDOW_MS or self._seen[0][1] > condition.at_ms:
            self._seen.popleft()
        recent = next((seen for seen, at_ms in self._seen if at_ms >= condition.at_ms - RATE_MS), condition)
        elapsed_s = (condition.at_ms - recent.at_ms) / 1000
        now, before = condition.totals, recent.totals
        oldest = self._seen[0][0].totals
        return Facts(
            config=self._config,
            condition=condition,
            asked=Asked(self._find_answer("web", self._web), self._find_answer("store", self._store), self._behind),
            beacons_per_s=_find_rate(now, before, "accepted_beacons", elapsed_s),
            events_per_s=_find_rate(now, before, "accepted_events", elapsed_s),
            rejected=_sum_reasons(now, before, elapsed_s),
            acknowledgement=_find_percentiles(now, oldest, "acknowledgement_seconds", ACK_BOUNDS_S),
            sync=_find_percentiles(now, oldest, "spool_commit_seconds", COMMIT_BOUNDS_S),
            cpu=_find_cpu(condition, recent, elapsed_s),
            is_instance=(Path(self._config.data) / MARKER).exists(),
        )

    def _run(self, name: str, ask: Callable[[], None]) -> None:
        while not self._stop.is_set():
            self._asked_at[name] = time.monotonic()
            ask()
            del self._asked_at[name]
            self._answered[name].set()
            self._stop.wait(ASK_INTERVAL_S)

    def _find_answer(self, name: str, answer: str) -> str:
        """Return the last answer; that there is none, where a question has been waiting for too long."""
        waited_s = time.monotonic() - self._asked_at.get(name, float("inf"))
        return f"has not answered for {waited_s:.0f} s" if waited_s > SILENCE_S else answer

    def _ask_web(self) -> None:
        host, port = self._config.host, self._config.port
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/ready", timeout=5) as answer:
                answer.read()
            self._web = "ready"
        except urllib.error.HTTPError as error:
            reason: Any = error.code
            with contextlib.suppress(OSError, ValueError, AttributeError):
                reason = json.load(error).get("reason", reason)
            self._web = f"not ready: {reason}"
            error.close()
        except (OSError, ValueError) as error:
            self._web = f"does not answer on {host}:{port} ({getattr(error, 'reason', error)})"

    def _ask_store(self) -> None:
        if self._keyring is None:
            self._store = "not asked: there are no secrets"
            return
        try:
            with open_client(self._config, self._keyring, "writer") as client:
                [row] = client.query_rows(BEHIND)
            self._behind = int(row["batches_behind"] or 0)
            self._store = "answers"
        except TagstitchError as error:
            self._behind, self._store = None, str(error)


def _find_rate(now: Totals, before: Totals, name: str, elapsed_s: float) -> float | None:
    if elapsed_s <= 0:
        return None
    return max(0, _sum(now, name) - _sum(before, name)) / elapsed_s


def _sum(totals: Totals, name: str) -> int:
    return sum(totals.counters.get(name, {}).values())


def _sum_reasons(now: Totals, before: Totals, elapsed_s: float) -> dict[str, tuple[int, float | None]]:
    """Return refusals by reason, the most frequent first."""
    sums: dict[str, list[int]] = {}
    for place, totals in enumerate((now, before)):
        for labels, count in totals.counters.get("rejected", {}).items():
            sums.setdefault(labels.partition(SEPARATOR)[2], [0, 0])[place] += count
    ordered = sorted(sums.items(), key=lambda item: (-item[1][0], item[0]))
    return {
        reason: (count, max(0, count - earlier) / elapsed_s if elapsed_s > 0 else None)
        for reason, (count, earlier) in ordered
    }


def _find_percentiles(
    now: Totals, before: Totals, name: str, bounds: tuple[float, ...]
) -> tuple[float | None, float | None]:
    current, earlier = now.histograms.get(name), before.histograms.get(name)
    if current is None:
        return None, None
    if earlier is not None and len(earlier.buckets) == len(current.buckets):
        recent = Histogram([a - b for a, b in zip(current.buckets, earlier.buckets, strict=True)])
        if sum(recent.buckets) > 0 and min(recent.buckets) >= 0:
            current = recent
    return find_quantile(current, bounds, 0.5), find_quantile(current, bounds, 0.99)


def _find_cpu(now: Condition, before: Condition, elapsed_s: float) -> dict[str, float]:
    if elapsed_s <= 0:
        return {}
    earlier = {use.pid: use.cpu_s for use in before.uses}
    return {use.name: max(0.0, use.cpu_s - earlier[use.pid]) / elapsed_s for use in now.uses if use.pid in earlier}
