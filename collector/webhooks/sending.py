"""Telling webhooks of changes: a thread beside the role `activate`.

    audience_changes ──Feed──► webhook_deliveries ──Deliverer, one for each webhook──► receivers

The thread has one event loop; the store is asked in threads of its own. What was read becomes rows before it counts as
read, and what is sent comes out of the store, so a process that is killed anywhere loses nothing. A receiver that is
away holds up its own deliveries and nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial

from collector.adapters.address_guard import Resolve, resolve_name
from collector.audiences.activate_status import WebhookCounts
from collector.config import Config
from collector.errors import ConfigError, StoreError
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.store.client import open_client
from collector.store.threads import StoreThreads
from collector.webhooks.configuration import WebhookConfig
from collector.webhooks.delivering import Deliverer
from collector.webhooks.feeding import Feed
from collector.webhooks.posting import Poster
from collector.webhooks.signing import BadSecret, read_secrets

POLL_S = 0.2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
THREADS = 3
STOP_S = 10.0


class Sender:
    """Tells the configured webhooks of changes, from `start` to `stop`."""

    def __init__(
        self,
        config: Config,
        keyring: Keyring,
        webhooks: Mapping[str, WebhookConfig],
        *,
        environ: Mapping[str, str] = os.environ,
        resolve: Resolve = resolve_name,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`environ`: where the secrets are. `say`: hears what is done next, in the thread; for tests."""
        self._open_store = partial(open_client, config, keyring, "writer")
        self._webhooks = webhooks
        self._environ = environ
        self._resolve = resolve
        self._say = say
        self._thread = threading.Thread(target=self._play, name="webhooks", daemon=True)
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: asyncio.Event | None = None
        self._deliverers: Mapping[str, Deliverer] = {}

    def start(self) -> None:
        """Begin. A webhook that cannot be sent to as it is configured is logged, and the others are told."""
        self._thread.start()

    def wake(self) -> None:
        """Look for changes at once and not at the next turn. From any thread, at any time."""
        loop, news = self._loop, self._news
        if loop is not None and news is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(news.set)

    def stop(self) -> None:
        """End, and write down what came of the last tries. Waits for STOP_S at most; twice is no error."""
        self._stopping.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def count(self) -> dict[str, WebhookCounts]:
        """Return what was done so far, by webhook. From any thread."""
        return {name: deliverer.counts for name, deliverer in self._deliverers.items()}

    def _play(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception:
            # What is owed stands in the store, and audiences go on.
            get_logger().exception("webhooks have stopped: nothing is sent until the role activate starts again")

    async def _run(self) -> None:
        self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        store = StoreThreads(self._open_store, THREADS)
        feed = Feed(self._webhooks, store.ask, self._say)
        posters = self._open_posters()
        for name, poster in posters.items():
            config = self._webhooks[name]
            feed.deliverers[name] = Deliverer(config, poster.post, store.ask, feed.say_gone, say=self._say)
        self._deliverers = feed.deliverers
        tasks = []
        try:
            await self._turn_until(feed, is_enough=True)
            tasks = [asyncio.create_task(deliverer.run()) for deliverer in feed.deliverers.values()]
            if self._webhooks:
                await self._turn_until(feed)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(deliverer.close() for deliverer in feed.deliverers.values()))
            with contextlib.suppress(StoreError):
                await feed.note()
            for poster in posters.values():
                await poster.close()
            store.close()

    def _open_posters(self) -> dict[str, Poster]:
        posters = {}
        for name, config in self._webhooks.items():
            try:
                keys = read_secrets(config.secret_names, self._environ)
                posters[name] = Poster(config, keys, self._resolve)
            except (BadSecret, ConfigError) as error:
                get_logger().error(
                    "a webhook cannot be sent to: what it is to be told waits", webhook=name, reason=str(error)
                )
        return posters

    async def _turn_until(self, feed: Feed, *, is_enough: bool = False) -> None:
        """Turn until told to stop; with `is_enough` until a turn went well."""
        pause_s, is_failing = FIRST_PAUSE_S, False
        while not self._stopping.is_set():
            try:
                await feed.turn()
            except Exception as error:
                if not isinstance(error, StoreError):
                    get_logger().exception("webhooks: something unexpected, it is tried again")
                elif not is_failing:
                    get_logger().warning("webhooks wait for the store", reason=str(error))
                is_failing = True
                await self._wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            if is_failing:
                get_logger().info("webhooks go on")
            pause_s, is_failing = FIRST_PAUSE_S, False
            if is_enough:
                return
            await self._wait(POLL_S)

    async def _wait(self, seconds: float) -> None:
        news = self._news or asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await news.wait()
        news.clear()
