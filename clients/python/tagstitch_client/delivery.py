"""Delivery: a bounded queue, a thread that empties it, and what becomes of each call.

A batch is put together once and sent unchanged until there is a definite answer: a call that was stored although its
answer got lost is known again by its id and time. Nothing is dropped without a word: what is refused, does not fit or
is left at the end goes to `on_error`, each call alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any

from tagstitch_client.transport import Answer, Transport

MAX_BATCH_BYTES = 786_432
RETRY_CAP_S = 60.0

logger = logging.getLogger("tagstitch_client")


@dataclass(frozen=True)
class Problem:
    """Why a call, or a part of it, is not kept.

    `reason`: the collector's word (docs/server-events.md), or `queue_full`, `closed`, `call` (it cannot be written as
    JSON), `unavailable` (no definite answer before the end), `fault` (this library's own). `is_kept`: only `field` of
    it was left out.
    """

    reason: str
    field: str = ""
    message: str = ""
    call: dict[str, Any] = attribute(default_factory=dict)
    is_kept: bool = False


@dataclass(frozen=True)
class Receipt:
    """The answer to a call that was sent at once. `is_stored`: it is on the collector's disk."""

    is_stored: bool
    message_id: str
    problems: tuple[Problem, ...] = ()


OnError = Callable[[Problem], None]


@dataclass(frozen=True)
class Pace:
    """How calls are put together and sent again. Times in seconds."""

    max_queue: int = 10_000
    batch_size: int = 100
    interval_s: float = 0.5
    retry_base_s: float = 0.5


def judge_answer(answer: Answer, calls: Sequence[bytes]) -> list[Problem]:
    """Return what a definite answer says is not kept, call by call."""
    text = answer.text
    if answer.status == 200:
        return [
            *_read_entries(text.get("rejected"), calls, is_kept=False),
            *_read_entries(text.get("left_out"), calls, is_kept=True),
        ]
    named = _read_entries(text.get("rejected"), calls, is_kept=False)
    if named:
        return named
    reason = str(text.get("error") or f"status {answer.status}")
    path, message = str(text.get("field") or ""), str(text.get("message") or "")
    return [Problem(reason, path, message, json.loads(call)) for call in calls]


def _read_entries(entries: object, calls: Sequence[bytes], *, is_kept: bool) -> list[Problem]:
    problems = []
    for entry in entries if isinstance(entries, list) else ():
        index = entry.get("index") if isinstance(entry, dict) else None
        if isinstance(index, int) and 0 <= index < len(calls):
            reason, path, message = (str(entry.get(name) or "") for name in ("reason", "field", "message"))
            problems.append(Problem(reason, path, message, json.loads(calls[index]), is_kept))
    return problems


def join_batch(calls: Sequence[bytes]) -> bytes:
    """Return the body of a batch."""
    return b'{"batch":[' + b",".join(calls) + b"]}"


def find_delay_s(attempt: int, retry_after_s: float, base_s: float) -> float:
    """Return how long to wait before sending again: never less than was asked for, and never all at one moment."""
    backoff_s: float = min(RETRY_CAP_S, base_s * 2 ** min(attempt, 16))
    return retry_after_s + backoff_s * random.uniform(0.5, 1.0)  # noqa: S311


class Delivery:
    """The queue and its thread. Safe for threads. The thread starts with the first call."""

    def __init__(self, make_transport: Callable[[], Transport], pace: Pace, on_error: OnError | None) -> None:
        """`make_transport`: makes the thread's own connection."""
        self._make_transport = make_transport
        self._pace = pace
        self._on_error = on_error
        self.restart()

    def restart(self) -> None:
        """Begin anew with an empty queue: in a forked child, where the parent has the thread and the calls."""
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._queued = self._settled = 0  # calls so far; those between wait or are under way, in their order
        self._wants_flush = 0
        self._stop_at: float | None = None  # when to give up; None: not closed
        self._thread: threading.Thread | None = None

    def put(self, call: bytes) -> bool:
        """Queue a call. False where it is not taken: the queue is full, or closed; `on_error` has heard of it."""
        with self._changed:
            if self._stop_at is not None:
                reason = "closed"
            elif self._queued - self._settled >= self._pace.max_queue:
                reason = "queue_full"
            else:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="tagstitch", daemon=True)
                    thread.start()  # raises where Python is about to end
                    self._thread = thread
                self._waiting.append(call)
                self._queued += 1
                if len(self._waiting) in (1, self._pace.batch_size):
                    self._changed.notify_all()
                return True
        self.report([Problem(reason, "", "The call was not queued.", json.loads(call))])
        return False

    def flush(self, timeout_s: float) -> bool:
        """Send what waits now. True where everything that was queued until now has been settled in time."""
        with self._changed:
            until = self._queued
            self._wants_flush += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: self._settled >= until, timeout_s)
            finally:
                self._wants_flush -= 1

    def close(self, timeout_s: float) -> bool:
        """Take no more calls, send what waits, and stop. What is not settled in time goes to `on_error`."""
        with self._changed:
            if self._stop_at is None:
                self._stop_at = time.monotonic() + timeout_s
            self._changed.notify_all()
            thread = self._thread
            if thread is None or thread is threading.current_thread():
                return self._settled == self._queued
        thread.join(timeout_s + 0.5)
        with self._changed:  # what is still under way is settled by the thread itself, if Python lives so long
            is_settled = self._settled == self._queued
            left, self._waiting = list(self._waiting), deque()
        self.report([Problem("closed", "", "The client was closed before.", json.loads(call)) for call in left])
        return is_settled

    def report(self, problems: Sequence[Problem]) -> None:
        """Tell `on_error`, or the log, which never has a value. Nothing that the callback raises comes back."""
        for problem in problems:
            if self._on_error is None:
                logger.warning("tagstitch: %s %s", problem.reason, problem.field)
                continue
            try:
                self._on_error(problem)
            except Exception:
                logger.exception("tagstitch: on_error failed")

    # --- the thread's side

    def _run(self) -> None:
        transport = self._make_transport()
        with contextlib.closing(transport):
            while batch := self._take_batch():
                try:
                    self._deliver(transport, batch)
                except Exception as error:  # a fault of ours must not stop the calls behind it
                    logger.exception("tagstitch: a batch could not be delivered")
                    self.report([Problem("fault", "", repr(error), json.loads(call)) for call in batch])
                with self._changed:
                    self._settled += len(batch)
                    self._changed.notify_all()

    def _take_batch(self) -> list[bytes]:
        """Wait for a batch that is full, old enough or wanted now; nothing where the client was closed and is empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stop_at is not None)
            self._changed.wait_for(
                lambda: len(self._waiting) >= self._pace.batch_size or self._wants_flush or self._stop_at is not None,
                self._pace.interval_s,
            )
            if self._stop_at is not None and time.monotonic() >= self._stop_at:
                return []
            batch: list[bytes] = []
            size = 0
            while self._waiting and len(batch) < self._pace.batch_size:
                size += len(self._waiting[0]) + 1
                if batch and size > MAX_BATCH_BYTES:
                    break
                batch.append(self._waiting.popleft())
            return batch

    def _deliver(self, transport: Transport, batch: list[bytes]) -> None:
        """Send a batch until it is settled."""
        body = join_batch(batch)
        attempt, is_last = 0, False
        answer = transport.post(body)
        while answer.is_retryable and not is_last:
            delay_s = find_delay_s(attempt, answer.retry_after_s, self._pace.retry_base_s)
            attempt, is_last = attempt + 1, not self._wait(delay_s)
            answer = transport.post(body)
        if answer.is_retryable:
            message = answer.problem or f"The collector answered {answer.status}."
            self.report([Problem("unavailable", "", message, json.loads(call)) for call in batch])
            return
        if answer.status == 413 and len(batch) > 1:  # a collector with lower bounds than ours
            half = len(batch) // 2
            self._deliver(transport, batch[:half])
            self._deliver(transport, batch[half:])
            return
        self.report(judge_answer(answer, batch))

    def _wait(self, delay_s: float) -> bool:
        """Wait before the next attempt. False where the client is closed before it, so that it is the last one."""
        until = time.monotonic() + delay_s
        with self._changed:
            while (now := time.monotonic()) < until:
                if self._stop_at is not None and until > self._stop_at:
                    return False
                self._changed.wait(until - now)
        return True
