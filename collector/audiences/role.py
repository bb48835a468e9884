"""The role `activate` as a process: keeps audiences, and sends what webhooks want to hear, until told to stop.

The order of work is in `judging_loop`; statements that take long are asked by `sql_runs`; webhooks have a thread of
their own. A store that does not answer is waited for, with one line in the log; a statement that it refuses is said
with its reason, and done again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.audiences.activate_status import ActivateStatusFile, forget_activate_status, read_activate_status
from collector.audiences.changes import Reason
from collector.audiences.compile import make_judge, run_sql_audience
from collector.audiences.configuration import digest
from collector.audiences.judging import Judge
from collector.audiences.judging_loop import JudgingLoop
from collector.audiences.sql_runs import SqlRuns
from collector.config import Config
from collector.errors import StoreError
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.store.client import open_client

if TYPE_CHECKING:
    from collector.use.config import UseConfig
    from collector.webhooks.sending import Sender

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
LEFT_S = 5.0
"""Without any audience: where nothing has happened for so long, everybody has left."""
IDLE_S, IDLE_FACTOR = 10.0, 2.5
"""Where nothing has happened for so long, it is looked for less often: each look costs the store some milliseconds."""


class Activator:
    """The loop of one role, with its patience. Belongs to one thread."""

    def __init__(
        self,
        loop: JudgingLoop,
        runs: SqlRuns,
        status: ActivateStatusFile,
        audiences: Mapping[str, Any],
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """`tell`: called after changes were written."""
        self._loop = loop
        self._runs = runs
        self._status = status
        self._audiences = audiences
        self._tell = tell
        self._told = 0
        self._found_s = time.monotonic()
        self._trouble = ""
        self._pause_s = FIRST_PAUSE_S
        status.counts = loop.counts

    def turn(self) -> float | None:
        """Do a piece of work. Returns how long to wait because the store refuses, 0 where there may be more to do, and
        None where there is nothing."""
        try:
            self._take_over()
            found = self._loop.step()
        except StoreError as error:
            return self._wait_for(error)
        if self._trouble:
            get_logger().info("activate goes on")
        self._trouble, self._pause_s = "", FIRST_PAUSE_S
        if found:
            self._found_s = time.monotonic()
        counts = self._loop.counts
        if counts.enters + counts.leaves != self._told:
            self._told = counts.enters + counts.leaves
            self._tell()
        self._status.write(self._loop.oldest_ms, *self._loop.round)
        return 0.0 if found else None

    def is_quiet(self, seconds: float) -> bool:
        """Whether there has been nothing to do for so long."""
        return time.monotonic() - self._found_s > seconds

    def close(self) -> None:
        """Write down how far it is, where the store lets us."""
        self._status.write(is_last=True)
        try:
            self._loop.close()
        except StoreError:
            get_logger().info("progress is not written, the next start judges some people again")

    def _take_over(self) -> None:
        found = self._runs.take()
        if found is None:
            return
        audience = self._audiences[found.audience]
        is_known = self._loop.is_judged(audience.space, found.audience, digest(audience))
        self._loop.place(found.audience, found.wanted, Reason.TIME if is_known else Reason.DEFINITION)

    def _wait_for(self, error: StoreError) -> float:
        if str(error) != self._trouble:
            get_logger().warning("activate waits for the store", reason=str(error))
        self._trouble = str(error)
        self._loop.counts.errors += 1
        self._loop.forget()
        self._runs.again()
        self._status.write(self._loop.oldest_ms, trouble=self._trouble)
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, LONGEST_PAUSE_S)
        return pause_s


def has_work(use: UseConfig, data: Path) -> bool:
    """Whether there is anything for this role: by the configuration, or because it has kept audiences in this folder
    that are configured no more, so that their members leave."""
    return _is_configured(use) or read_activate_status(data) is not None


def run_activate(config: Config, keyring: Keyring, use: UseConfig, stop: threading.Event) -> None:
    """Keep the audiences of a configuration, and tell its webhooks, until told to stop."""
    audiences = use.audiences
    judge, run_sql = find_rules(keyring, use)
    with contextlib.ExitStack() as stack:
        client, comparing = (stack.enter_context(open_client(config, keyring, "writer")) for _ in range(2))
        asking = stack.enter_context(open_client(config, keyring, "reader"))
        ask = partial(run_sql, asking, checking=comparing)
        runs = stack.enter_context(SqlRuns(comparing, audiences, ask))
        sender = stack.enter_context(_sending(config, keyring, use))
        loop = JudgingLoop(client, audiences, judge, sweep_s=config.audience_sweep_s)
        status = ActivateStatusFile(config.data_path)
        if sender is not None:
            status.count_webhooks = sender.count
        activator = Activator(loop, runs, status, audiences, sender.wake if sender else lambda: None)
        while not stop.is_set():
            pause_s = activator.turn()
            if pause_s is None and not _is_configured(use) and activator.is_quiet(LEFT_S):
                activator.close()
                forget_activate_status(config.data_path)
                get_logger().info("no audience is configured any more, and everybody has left")
                stop.wait()
                return
            if pause_s is None:
                pause_s = config.activate_interval_s * (IDLE_FACTOR if activator.is_quiet(IDLE_S) else 1)
            if pause_s:
                stop.wait(pause_s)
        activator.close()


@contextlib.contextmanager
def _sending(config: Config, keyring: Keyring, use: UseConfig) -> Iterator[Sender | None]:
    """Tell webhooks of changes, where there are any."""
    if not use.webhooks:
        yield None
        return
    from collector.webhooks.sending import Sender  # late: it brings what only webhooks need

    sender = Sender(config, keyring, use.webhooks)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop()


def _is_configured(use: UseConfig) -> bool:
    return bool(use.audiences or use.webhooks)


def find_rules(keyring: Keyring, use: UseConfig) -> tuple[Judge, Callable[..., Iterable[str]]]:
    """Return what judges people by the rules, and what asks an audience that is a statement."""
    return make_judge(keyring, use.traits), run_sql_audience
