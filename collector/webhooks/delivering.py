"""The deliveries of one webhook: which are tried now, how many at once, and what is written down of each try.

    store ──heads, WINDOW at most──► queue ──CONCURRENCY──► receiver ──► results ──► store

A person has one delivery here at a time, the oldest that is pending, so that what is told of them comes in order. All
else waits in the store: a backlog of any size takes the memory of WINDOW rows. What a try led to is written down after
it; a process that is killed in between tries it again, under the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from collector.audiences.activate_status import WebhookCounts
from collector.errors import StoreError
from collector.logs import get_logger
from collector.profiles.states import State as PersonState
from collector.profiles.states import read_states
from collector.store.client import StoreClient
from collector.webhooks.configuration import WebhookConfig
from collector.webhooks.deliveries import (
    MOST_AGE_MS,
    Delivery,
    State,
    encode_body,
    read_heads,
    read_waiting,
    write_deliveries,
)
from collector.webhooks.following import KEYS, find_withdrawn
from collector.webhooks.pace import Breath, find_delay_s
from collector.webhooks.posting import Outcome

CONCURRENCY = 8
WINDOW = 1_000
LOW = 250
"""With fewer in memory, more are looked for."""
MOST_RESULTS = 200
"""So many that are not written down, and nothing new is tried."""
WRITE_S = 0.05
"""How often results are written down while there is more to send."""
QUEUE_S = 5.0
"""For how long what was found may be told without another look at whether it still may."""
FORGOTTEN_S = 120.0
TELL_S = 60.0
"""A receiver that is away for days costs one line a minute, not one for each delivery that is given up."""
STOP_S = 1.0
STORE_PAUSE_S = 1.0
_NEVER = 2**62
_MARGIN_MS = 120_000
Result = TypeVar("Result")


class Post(Protocol):
    """Tries a delivery once, and raises nothing."""

    async def __call__(self, delivery_id: str, body: bytes) -> Outcome: ...


class Ask(Protocol):
    """Puts a question to the store, in a thread. Raises StoreError."""

    async def __call__(self, question: Callable[[StoreClient], Result]) -> Result: ...


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Deliverer:
    """Delivers for one webhook until cancelled. Belongs to one event loop.

    `say_gone`: called where the receiver wants nothing any more. `say`: hears what is done next; for tests.
    """

    def __init__(
        self,
        config: WebhookConfig,
        post: Post,
        ask: Ask,
        say_gone: Callable[[WebhookConfig], None],
        *,
        now_ms: Callable[[], int] = _now_ms,
        chance: random.Random | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.counts = WebhookCounts()
        self._post = post
        self._ask = ask
        self._say_gone = say_gone
        self._now_ms = now_ms
        self._chance = chance or random.SystemRandom()
        self._say = say
        self._breath = Breath(self._chance)
        self._queue: deque[Delivery] = deque()
        self._running: dict[asyncio.Task[Outcome], Delivery] = {}
        self._results: list[Delivery] = []
        self._dropped: dict[str, float] = {}
        self._news = asyncio.Event()
        self._is_stale = True
        self._has_more = False
        self._has_settled = False
        self._from_ms = 0  # nothing that was made before is pending
        self._told_ms = _NEVER
        self._wake_ms = 0
        self._wrote_s = self._filled_s = 0.0
        self._is_gone = False
        self._is_failing = False
        self._told_dead, self._told_dead_s = 0, -TELL_S

    def tell(self, from_ms: int) -> None:
        """There are new deliveries, of which the oldest was made then."""
        self._told_ms = min(self._told_ms, from_ms)
        self._is_stale = True
        self._news.set()

    def drop(self, ids: Sequence[str]) -> None:
        """These must not be sent any more; the store has them dropped already."""
        now_s = time.monotonic()
        self._dropped = {one: until_s for one, until_s in self._dropped.items() if until_s > now_s}
        self._dropped.update(dict.fromkeys(ids, now_s + FORGOTTEN_S))
        self._queue = deque(one for one in self._queue if one.delivery_id not in self._dropped)
        self._has_settled = True
        self._news.set()

    def set_gone(self, is_gone: bool) -> None:
        """Whether the receiver has said that it wants nothing any more."""
        if is_gone:
            self._queue.clear()
        elif self._is_gone:
            self.tell(0)
        self._is_gone = is_gone

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            self._news.clear()
            try:
                await self._turn()
            except StoreError as error:
                if not self._is_failing:
                    self._is_failing = True
                    get_logger().warning("webhook waits for the store", webhook=self.config.name, reason=str(error))
                await asyncio.sleep(STORE_PAUSE_S)
            except Exception:
                get_logger().exception("a webhook's deliveries: something unexpected", webhook=self.config.name)
                self.tell(0)
                await asyncio.sleep(STORE_PAUSE_S)
            else:
                self._is_failing = False

    async def close(self) -> None:
        """After `run`: give tries that are under way a moment, and write down what came of them. The others are done
        again by whoever is next."""
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_S)
        self._take_results()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self._write_results()

    async def _turn(self) -> None:
        """Take what has come back, send what can be sent, write down what came of it, look for more, and wait."""
        self._take_results()
        self._send()
        if self._results and (not self._queue or time.monotonic() - self._wrote_s >= WRITE_S):
            await self._write_results()
        if self._wants_more():
            await self._fill()
            self._send()
        await self._wait()

    def _take_results(self) -> None:
        for task in [task for task in self._running if task.done()]:
            delivery = self._running.pop(task)
            self._say("answered")
            self._judge(delivery, task.result())

    def _send(self) -> None:
        if self._queue and time.monotonic() - self._filled_s > QUEUE_S:
            # Who was erased or has withdrawn meanwhile must not be told of: they are looked for anew.
            self._queue.clear()
            self._is_stale = True
        most = 1 if self._breath.is_away else CONCURRENCY
        while (
            self._queue
            and len(self._running) < most
            and len(self._results) < MOST_RESULTS
            and not self._is_gone
            and not self._breath.find_wait_s(time.monotonic())
        ):
            delivery = self._queue.popleft()
            self._say("send")
            self.counts.tries += 1
            body = encode_body(delivery, customer_ids=self.config.customer_ids)
            task = asyncio.get_running_loop().create_task(self._post(delivery.delivery_id, body))
            task.add_done_callback(lambda _: self._news.set())
            self._running[task] = delivery

    def _judge(self, delivery: Delivery, outcome: Outcome) -> None:
        now_ms = self._now_ms()
        is_dropped = self._is_gone or delivery.delivery_id in self._dropped  # in the store already, or soon
        tried = msgspec.structs.replace(delivery, attempts=min(delivery.attempts + 1, 65_535))
        if outcome.is_taken:
            self._breath.note_taken()
            self.counts.delivered += 1
            self._results.append(tried.settle(State.DELIVERED, now_ms, more_versions=1 + is_dropped))
            return
        self._breath.note_failed(time.monotonic(), outcome.retry_after_s)
        if outcome.is_gone:
            self._results.append(tried.settle(State.DROPPED, now_ms, outcome.reason))
            self.counts.dropped += 1
            if not self._is_gone:
                get_logger().error(
                    "webhook is gone: its receiver wants nothing any more (410), and what was to be told is dropped; "
                    "give it another url, or `tagstitch webhook replay` it",
                    webhook=self.config.name,
                )
                self.set_gone(True)
                self._say_gone(self.config)
            return
        if is_dropped:
            self._has_settled = True
            return
        delay_s = find_delay_s(tried.attempts, outcome.retry_after_s, self._chance)
        if delay_s is None:
            self._give_up(tried, now_ms, outcome.reason)
            return
        next_ms = now_ms + int(delay_s * 1000)
        self._wake_ms = min(self._wake_ms or next_ms, next_ms)
        waiting = tried.settle(State.PENDING, now_ms, outcome.reason)
        self._results.append(msgspec.structs.replace(waiting, next_ms=next_ms))

    def _give_up(self, delivery: Delivery, now_ms: int, reason: str) -> None:
        self.counts.dead += 1
        if time.monotonic() - self._told_dead_s >= TELL_S:
            self._told_dead_s = time.monotonic()
            get_logger().warning(
                "deliveries of a webhook are given up; `tagstitch webhook dead` shows them",
                webhook=self.config.name,
                given_up=self.counts.dead - self._told_dead,
                latest=delivery.delivery_id,
                reason=reason,
            )
            self._told_dead = self.counts.dead
        self._results.append(delivery.settle(State.DEAD, now_ms, reason))

    async def _write_results(self) -> None:
        results = list(self._results)
        self._say("write")
        await self._ask(lambda client: write_deliveries(client, results))
        self._say("written")
        # Not before: what is not written down is pending in the store, and must be known as ours.
        del self._results[: len(results)]
        self._has_settled = True
        self._wrote_s = time.monotonic()

    def _wants_more(self) -> bool:
        if self._is_gone:
            return False
        is_time = bool(self._wake_ms) and self._wake_ms <= self._now_ms()
        is_low = len(self._queue) + len(self._running) <= LOW
        return is_low and (self._is_stale or is_time or (self._has_more and self._has_settled))

    async def _fill(self) -> None:
        """Look for deliveries whose turn it is."""
        name, from_ms, now_ms = self.config.name, min(self._from_ms, self._told_ms), self._now_ms()
        # First, so that news that come meanwhile count as news.
        self._from_ms, self._told_ms = from_ms, _NEVER
        self._is_stale = self._has_settled = False
        held = {delivery.person for delivery in (*self._queue, *self._running.values(), *self._results)}
        try:
            waiting = await self._ask(lambda client: read_waiting(client, name, from_ms, now_ms))
            heads = []
            if waiting.due:
                heads = await self._ask(lambda client: read_heads(client, name, from_ms, now_ms, WINDOW))
                heads = await self._drop_withdrawn([one for one in heads if one.person not in held])
        except StoreError:
            self._is_stale = True
            raise
        held |= {delivery.person for delivery in self._running.values()}
        fresh = [one for one in heads if one.delivery_id not in self._dropped]
        self._queue.extend(fresh)
        self._filled_s = time.monotonic()
        self._wake_ms = waiting.wake_ms
        self.counts.waiting = waiting.pending
        self._has_more = waiting.pending > len(self._queue) + len(self._running)
        self._from_ms = waiting.from_ms if waiting.heads else now_ms - _MARGIN_MS

    async def _drop_withdrawn(self, heads: list[Delivery]) -> list[Delivery]:
        """Return those that may be told. Of somebody erased or restricted, or who has withdrawn since, only that they
        left is: also where what was dead is replayed."""
        people = sorted({one.person_id for one in heads if one.change != "leave"})
        states: dict[str, PersonState] = {}
        for start in range(0, len(people), KEYS):
            part = people[start : start + KEYS]
            states |= await self._ask(partial(_read_states, self.config.space, part))
        entered = [one.entering for one in heads if one.change != "leave"]
        withdrawn = await self._ask(partial(find_withdrawn, entered=entered))
        now_ms = self._now_ms()
        kept = []
        for one in heads:
            reason = "consent withdrawn" if one.change != "leave" and one.entering in withdrawn else ""
            if one.change != "leave" and one.person_id in states:
                reason = f"the person is {states[one.person_id]}"
            if reason:
                self.counts.dropped += 1
                self._results.append(one.settle(State.DROPPED, now_ms, reason))
            elif now_ms - one.next_ms > MOST_AGE_MS:
                self._give_up(one, now_ms, one.reason or "it has waited for too long")
            else:
                kept.append(one)
        return kept

    async def _wait(self) -> None:
        """Wait for news, for the next turn, or for the end of a pause."""
        if self._wants_more() or len(self._results) >= MOST_RESULTS:
            return
        waits = [WRITE_S] if self._results else []
        if self._wake_ms:
            waits.append((self._wake_ms - self._now_ms()) / 1000)
        if self._queue and (pause_s := self._breath.find_wait_s(time.monotonic())):
            waits.append(pause_s)
        timeout_s = max(0.001, min(waits)) if waits else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()


def _read_states(space_id: str, people: list[str], client: StoreClient) -> dict[str, PersonState]:
    return read_states(client, space_id, people)
