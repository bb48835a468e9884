"""From changes to deliveries: what webhooks are to be told becomes rows, and their deliverers hear that there are some.

A change counts as read once its rows are written, and how far that is gets written down after that. So whoever is
killed in between makes the same rows again, which changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from collector.logs import get_logger
from collector.webhooks.configuration import WebhookConfig
from collector.webhooks.deliveries import (
    GONE_REASON,
    Delivery,
    State,
    drop_all,
    find_superseded,
    make_delivery,
    write_deliveries,
)
from collector.webhooks.delivering import Ask, Deliverer
from collector.webhooks.following import PAGE, ChangeRow, Follower, Moment
from collector.webhooks.progress import Progress, begin, read_progress, step, write_progress

NOTE_S = 5.0
"""How often it is written down how far it is, and looked for replays."""
WITHDRAWN = "consent"
"""The reason of a change by which somebody's earlier ones are not to be told any more."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Feed:
    """Feeds the deliverers. Belongs to one event loop. `say`: hears what is done next; for tests."""

    def __init__(
        self,
        webhooks: Mapping[str, WebhookConfig],
        ask: Ask,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.deliverers: dict[str, Deliverer] = {}
        self._webhooks = webhooks
        self._ask = ask
        self._say = say
        self._follower = Follower(0)
        self._progress: dict[str, Progress] = {}
        self._gone: list[str] = []
        self._noted_s = 0.0
        self._is_begun = False

    async def turn(self) -> None:
        """Read what is new, and now and then write down how far that is. Raises StoreError; whatever was not done is
        done by the next turn."""
        if not self._is_begun:
            await self._begin()
        while self._gone:
            await self._forget(self._gone[0])
            del self._gone[0]
        for portion in await self._ask(self._follower.look):
            await self._read(portion)
            self._follower.note(portion)
        if time.monotonic() - self._noted_s >= NOTE_S:
            await self.note()

    async def note(self) -> None:
        """Write down how far it is, and take over what others wrote. Raises StoreError."""
        if not self._is_begun:
            return
        at_ms = self._follower.at_ms
        for progress in list(self._progress.values()):
            if progress.at_ms < at_ms:
                self._say("note")
                await self._write(msgspec.structs.replace(progress, at_ms=at_ms))
        for name, found in (await self._ask(read_progress)).items():
            before = self._progress.get(name)
            if before is None or found.replay_ms <= before.replay_ms:
                continue
            self._progress[name] = msgspec.structs.replace(
                before, replay_ms=found.replay_ms, replay_from_ms=found.replay_from_ms
            )
            if (deliverer := self.deliverers.get(name)) is not None:
                deliverer.set_gone(self._progress[name].is_gone)
                deliverer.tell(found.replay_from_ms)
        self._noted_s = time.monotonic()

    def say_gone(self, config: WebhookConfig) -> None:
        """The receiver of this webhook wants nothing any more."""
        self._gone.append(config.name)

    async def _begin(self) -> None:
        self._progress = await self._ask(partial(begin, webhooks=self._webhooks))
        if self._progress:
            self._follower.at_ms = min(progress.at_ms for progress in self._progress.values())
        for name, deliverer in self.deliverers.items():
            deliverer.set_gone(self._progress[name].is_gone)
        self._noted_s = time.monotonic()
        self._is_begun = True
        self._say("begun")

    async def _read(self, portion: list[Moment]) -> None:
        last: ChangeRow | None = None
        while True:
            page = await self._ask(partial(self._follower.read_page, portion=portion, last=last))
            made = [delivery for change in page for delivery in self._make(change)]
            if made:
                self._say("make")
                await self._ask(partial(_write, made))
                await self._drop_superseded([one for one in made if one.change_reason == WITHDRAWN])
                self._say("made")
            for name in {one.webhook for one in made}:
                if (deliverer := self.deliverers.get(name)) is not None:
                    mine = [one.created_ms for one in made if one.webhook == name]
                    deliverer.counts.made += len(mine)
                    deliverer.tell(min(mine))
            if len(page) < PAGE:
                return
            last = page[-1]

    def _make(self, change: ChangeRow) -> list[Delivery]:
        return [
            make_delivery(name, change)
            for name, config in self._webhooks.items()
            if config.wants(change.space_id, change.audience, change.change)
            and change.at_ms >= self._progress[name].since_ms
            and not self._progress[name].is_gone
        ]

    async def _drop_superseded(self, ends: list[Delivery]) -> None:
        """Drop what is pending of people who have withdrawn. `ends`: what tells of that."""
        leaves = [one for one in ends if one.change == "leave"]
        if not leaves:
            return
        found = await self._ask(partial(find_superseded, deliveries=leaves, from_ms=0))
        now_ms = _now_ms()
        await self._ask(partial(_write, [one.settle(State.DROPPED, now_ms, "consent withdrawn") for one in found]))
        for name, deliverer in self.deliverers.items():
            deliverer.drop([one.delivery_id for one in found if one.webhook == name])

    async def _forget(self, name: str) -> None:
        # In this order: who sees that it is gone may ask for a replay, and what is pending by that must not be dropped.
        await self._ask(partial(drop_all, webhook=name, reason=GONE_REASON))
        now_ms = max(_now_ms(), self._progress[name].replay_ms + 1)
        await self._write(msgspec.structs.replace(self._progress[name], gone_ms=now_ms))
        get_logger().info("what a webhook was to be told is dropped", webhook=name)

    async def _write(self, progress: Progress) -> None:
        progress = step(progress, _now_ms())
        await self._ask(partial(write_progress, progress=progress))
        self._progress[progress.webhook] = progress


def _write(deliveries: list[Delivery], client: object) -> None:
    write_deliveries(client, deliveries)  # type: ignore[arg-type]
