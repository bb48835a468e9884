"""Requests to one source as they run: bounded in number, time and rate, with a circuit breaker and one retry.

A request runs in a task of its own, for nobody's time but its own: who waits for it may give up earlier. When its
time is over it is cancelled, and what comes of that is not waited for either. An adapter that does not let itself be
cancelled keeps its place among the `max_fetches` until it ends, so that what hangs is bounded.

A source is late where PATIENCE of its requests have run for longer than one waits for them, or for many times what they
usually take. Then nobody should wait for another one: it would be in vain for each of them, and the answer would be
late for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from itertools import islice
from typing import Any

from collector.adapters.bounds import SourceBounds
from collector.adapters.breaker import Breaker, Ticket
from collector.adapters.pace import Pace
from collector.errors import AdapterError, AdapterReason
from collector.logs import get_logger

PATIENCE = 3
LATE_TIMES, LATE_S = 10, 0.05
"""So many times what an answer usually takes is late, and never less than that many seconds."""

RETRY_AFTER_S = 0.03
"""How long a request whose connection broke waits before it is sent once more."""

REST_S = 1.0
"""How long the source is left alone that says we ask too often, and not for how long."""

CLOSE_S = 2.0
"""How long closing waits for what was cancelled."""

Call = Callable[[float], Awaitable[Any]]
"""One request; it is told how many seconds it has."""


@dataclass(slots=True, eq=False)
class Fetch:
    """A request to the source. `done` comes to its end when the answer is there, and never raises: then `reason` says
    why there is no `answer`. `began_s`: by the clock of the source. `is_search`: it takes its own time."""

    call: Call
    began_s: float
    done: asyncio.Future[None]
    answer: Any = None
    reason: AdapterReason | None = None
    is_search: bool = False


class Fetches:
    """All requests to one source, in one event loop."""

    def __init__(self, name: str, bounds: SourceBounds, clock: Callable[[], float]) -> None:
        """`name`: of the source, for log lines. `clock`: seconds that never go back."""
        self._name = name
        self._bounds = bounds
        self._clock = clock
        self._breaker = Breaker(bounds.failures, bounds.open_s, bounds.most_open_s)
        self._pace = Pace(bounds.rate_per_s)
        self._running: dict[Fetch, asyncio.Task[None]] = {}  # in the order in which they began
        self._stuck: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self._usual_s: float | None = None
        self.last_reason: AdapterReason | None = None

    @property
    def busy(self) -> int:
        """How many places are taken, `max_fetches` at most."""
        return len(self._running) + len(self._stuck)

    @property
    def is_open(self) -> bool:
        """Whether the circuit breaker holds requests back, but for its probe."""
        return not self._breaker.is_closed

    def is_late(self, seconds: float) -> bool:
        """Whether it is in vain to wait so long. Who waits longer than the deadline waits whatever there is."""
        if seconds > self._bounds.deadline_s:
            return False
        if self._usual_s is not None:
            seconds = min(seconds, max(LATE_TIMES * self._usual_s, LATE_S))
        late_since_s = self._clock() - seconds
        oldest = list(islice((fetch for fetch in self._running if not fetch.is_search), PATIENCE))
        return len(oldest) == PATIENCE and all(fetch.began_s <= late_since_s for fetch in oldest)

    def start(self, call: Call, *, is_search: bool = False) -> Fetch | AdapterReason:
        """Begin a request, or say why not. `call` must be safe to send twice."""
        if self._is_closed:
            return AdapterReason.UNREACHABLE
        if self.busy >= self._bounds.max_fetches:
            return AdapterReason.TIMEOUT if self.is_late(self._bounds.deadline_s) or self._stuck else AdapterReason.RATE
        now_s = self._clock()
        ticket = self._breaker.admit(now_s)
        if ticket is None:
            return AdapterReason.OPEN
        if not self._pace.take(now_s):
            self._breaker.abandon(ticket)
            return AdapterReason.RATE
        loop = asyncio.get_running_loop()
        fetch = Fetch(call, now_s, loop.create_future(), is_search=is_search)
        # In a context of its own: what the first of those who wait has bound to its log lines is not the others'.
        self._running[fetch] = loop.create_task(self._run(fetch, ticket), context=Context())
        return fetch

    async def close(self) -> None:
        """Cancel what runs. Waits CLOSE_S at most; who still waits for a request is told that it was in vain."""
        self._is_closed = True
        for task in self._running.values():
            task.cancel()
        for tasks in (list(self._running.values()), self._stuck):  # the first leave what they had called to the second
            if tasks:
                await asyncio.wait(list(tasks), timeout=CLOSE_S)

    async def _run(self, fetch: Fetch, ticket: Ticket) -> None:
        reason: AdapterReason | None = AdapterReason.UNREACHABLE  # where this task is cancelled
        try:
            error = await self._try(fetch)
            if error is not None and self._may_retry(error, fetch, ticket):
                await asyncio.sleep(RETRY_AFTER_S)
                error = await self._try(fetch)
            reason = None if error is None else error.reason
            self._judge(error, ticket)
            if error is None and not fetch.is_search:
                took_s = self._clock() - fetch.began_s
                self._usual_s = took_s if self._usual_s is None else 0.8 * self._usual_s + 0.2 * took_s
        finally:
            del self._running[fetch]
            fetch.reason = reason
            fetch.done.set_result(None)

    async def _try(self, fetch: Fetch) -> AdapterError | None:
        """Send the request once; return what went wrong."""
        left_s = self._bounds.timeout_s - (self._clock() - fetch.began_s)
        task = asyncio.get_running_loop().create_task(_call(fetch.call, left_s))
        try:
            await asyncio.wait({task}, timeout=max(left_s, 0.0))
        finally:
            if not task.done():
                self._stuck.add(task)
                task.add_done_callback(self._end_stuck)
                task.cancel()
        if not task.done() or task.cancelled():
            return AdapterError(AdapterReason.TIMEOUT, "no answer in time")
        error = task.exception()
        if error is None:
            fetch.answer = task.result()
            return None
        if isinstance(error, AdapterError):
            return error
        if isinstance(error, TimeoutError):
            return AdapterError(AdapterReason.TIMEOUT, "no answer in time")
        if isinstance(error, OSError):
            return AdapterError(AdapterReason.UNREACHABLE, type(error).__name__)
        # Its message may hold anything, a customer's record too: only its kind is told.
        get_logger().error("adapter raised what it should not", adapter=self._name, error=type(error).__name__)
        return AdapterError(AdapterReason.BAD_ANSWER, type(error).__name__)

    def _may_retry(self, error: AdapterError, fetch: Fetch, ticket: Ticket) -> bool:
        """Whether it may be sent once more: the connection broke, and somebody can still be waiting."""
        now_s = self._clock()
        in_time = now_s + RETRY_AFTER_S < fetch.began_s + self._bounds.deadline_s
        return error.reason is AdapterReason.UNREACHABLE and in_time and not ticket.is_probe and self._pace.take(now_s)

    def _judge(self, error: AdapterError | None, ticket: Ticket) -> None:
        now_s, was_open = self._clock(), self.is_open
        self.last_reason = None if error is None else error.reason
        if error is None:
            self._breaker.succeed(ticket)
        elif error.reason is AdapterReason.RATE:
            self._pace.rest(now_s, error.retry_after_s or REST_S)
            self._breaker.abandon(ticket)
        elif error.reason is AdapterReason.NOT_SUPPORTED:
            self._breaker.abandon(ticket)  # it is about this question, not about the source
        else:
            self._breaker.fail(ticket, now_s)
        if self.is_open and not was_open:
            reason = str(self.last_reason)
            get_logger().warning("adapter fails, and is left alone", adapter=self._name, reason=reason)
        elif was_open and not self.is_open:
            get_logger().info("adapter answers again", adapter=self._name)

    def _end_stuck(self, task: asyncio.Task[Any]) -> None:
        self._stuck.discard(task)
        if not task.cancelled():
            task.exception()  # nobody waits for it


async def _call(call: Call, left_s: float) -> Any:
    return await call(left_s)
