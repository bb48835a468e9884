"""What the configuration declares of traits goes into the store, for the views that readers see.

A web process writes it once after its start, as soon as the store answers. Several of them write the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping

from collector.config import Config
from collector.errors import StoreError
from collector.keyring import Keyring
from collector.logs import get_logger
from collector.profiles.definitions import Definitions, TraitConfig, publish
from collector.sites.book import DEFAULT_SPACE
from collector.store.client import open_client

PAUSE_S = 10.0


class TraitPublisher:
    """Writes the declarations of all spaces, and tries again while the store is away."""

    def __init__(self, config: Config, keyring: Keyring, traits: Mapping[str, TraitConfig]) -> None:
        self._config = config
        self._keyring = keyring
        self._traits = traits
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, done or not."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                changed = await asyncio.to_thread(self._publish)
            except StoreError as error:
                get_logger().debug("declared traits wait for the store", reason=str(error))
                await asyncio.sleep(PAUSE_S)
            else:
                if changed:
                    get_logger().info("declared traits are in the store", changed=changed)
                return

    def _publish(self) -> int:
        """Return how many declarations changed. Raises StoreError."""
        version = time.time_ns() // 1_000_000
        spaces = {DEFAULT_SPACE, *(trait.space for trait in self._traits.values())}
        with open_client(self._config, self._keyring, "writer") as client:
            return sum(publish(client, Definitions(self._traits, space), version) for space in sorted(spaces))
