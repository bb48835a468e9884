"""Records of mintings on their way from the data folder to the store, in the background of one web process.

A link is answered once its record is on disk, so the store is asked later: for the records of some seconds together,
and again where it is away. A process that starts looks whether one that died has left any.
"""

from __future__ import annotations

import asyncio
import contextlib

from collector.config import Config
from collector.errors import StoreError
from collector.keyring import Keyring
from collector.links.record import count_pending, send_pending
from collector.logs import get_logger
from collector.store.client import open_client

SEND_AFTER_S, SEND_AGAIN_S = 2.0, 30.0
"""When records go to the store: those of two seconds together; where it is away, again half a minute later."""


class RecordSender:
    """Brings records into the store. For one event loop."""

    def __init__(self, config: Config, keyring: Keyring) -> None:
        self._config, self._keyring = config, keyring
        self._task: asyncio.Task[None] | None = None
        self._has_new = False

    def start(self) -> None:
        """Bring in what waits from before."""
        if count_pending(self._config.data_path):
            self.wake()

    def wake(self) -> None:
        """Take note that a record waits."""
        self._has_new = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End. What waits is on disk, and goes in at the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while self._has_new:  # one may come while others are sent, and stay behind
            await asyncio.sleep(SEND_AFTER_S)
            self._has_new = False
            try:
                await asyncio.to_thread(self._send)
            except StoreError as error:
                get_logger().info("records of mintings wait for the store", reason=str(error))
                self._has_new = True
                await asyncio.sleep(SEND_AGAIN_S)

    def _send(self) -> None:
        with contextlib.closing(open_client(self._config, self._keyring, "writer")) as client:
            send_pending(client, self._config.data_path)
