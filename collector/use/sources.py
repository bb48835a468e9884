"""The sources of one web process: opened beside its start, in threads of their own, and closed at its end.

Opening loads libraries, reads certificates and makes whatever classes a plugin has: none of that may hold up the
start, nor a beacon. A source that cannot be opened costs its own fields, with the reason `config`. Without an adapter
in the configuration nothing is loaded at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from collector.adapters.configuration import AdapterConfig
from collector.config import Config
from collector.errors import AdapterError, AdapterReason, ConfigError
from collector.keyring import Keyring
from collector.logs import get_logger

if TYPE_CHECKING:
    from collector.adapters.blocking import BlockingThreads
    from collector.adapters.contract import Adapter
    from collector.adapters.source import Source

CLOSE_S = 4.0
"""How long closing waits for all of them."""


class Sources:
    """The sources that the configuration names, in one event loop."""

    def __init__(self, config: Config, keyring: Keyring, adapters: Mapping[str, AdapterConfig]) -> None:
        self._config = config
        self._keyring = keyring
        self._adapters = adapters
        self._opened: dict[str, Source] = {}
        self._problems: set[str] = set()
        self._opening: dict[str, asyncio.Task[None]] = {}

    def list_adapters(self, space_id: str) -> list[AdapterConfig]:
        """Return the adapters of an identity space, in the order of the file."""
        return [adapter for adapter in self._adapters.values() if adapter.space == space_id]

    def start(self) -> None:
        """Begin to open them all; the loop must run."""
        if not self._adapters:
            return
        from collector.adapters.blocking import BlockingThreads

        # A thread for each: what hangs in one holds up nobody, and not the end of the process either.
        self._threads = [BlockingThreads(f"open-{name}", 1) for name in ("", *self._adapters)]
        tidy, *others = self._threads
        self._tidying = asyncio.create_task(self._tidy(tidy))
        self._opening = {
            name: asyncio.create_task(self._open(adapter, threads))
            for (name, adapter), threads in zip(self._adapters.items(), others, strict=True)
        }

    async def stop(self) -> None:
        """Close them, within some seconds whatever they do."""
        if not self._opening:
            return
        for threads in self._threads:
            threads.close()
        await asyncio.wait([self._tidying, *self._opening.values()])
        if self._opened:
            closing = [asyncio.create_task(source.close()) for source in self._opened.values()]
            await asyncio.wait(closing, timeout=CLOSE_S)

    async def find(self, name: str, seconds: float) -> Source | AdapterReason:
        """Return a source, or why there is none: `timeout` where it is not open yet, after so many seconds. `name`: of
        a configured adapter."""
        opening = self._opening.get(name)
        if opening is not None and not opening.done() and seconds > 0:
            await asyncio.wait({opening}, timeout=seconds)
        if name in self._opened:
            return self._opened[name]
        return AdapterReason.CONFIG if name in self._problems else AdapterReason.TIMEOUT

    async def _open(self, config: AdapterConfig, threads: BlockingThreads) -> None:
        try:
            adapter = await threads.run(partial(self._open_adapter, config))
        except AdapterError:
            return  # it ends before it has begun
        except Exception as error:
            self._problems.add(config.name)
            # What else may come of it, a plugin for one, may say anything.
            reason = str(error) if isinstance(error, ConfigError) else type(error).__name__
            get_logger().error("adapter cannot be opened", adapter=config.name, reason=reason)
            return
        from collector.adapters.files import FilesAdapter
        from collector.adapters.source import Source

        self._opened[config.name] = Source(adapter, config.bounds)
        if isinstance(adapter, FilesAdapter):
            adapter.begin()

    def _open_adapter(self, config: AdapterConfig) -> Adapter:
        from collector.adapters.opening import make_place, open_adapter

        return open_adapter(config, make_place(self._config, lambda: self._keyring))

    async def _tidy(self, threads: BlockingThreads) -> None:
        """Forget what was kept of adapters that are configured no more."""
        with contextlib.suppress(AdapterError, OSError):
            await threads.run(self._remove_orphans)

    def _remove_orphans(self) -> None:
        from collector.adapters.files import remove_orphans

        remove_orphans(self._config.data_path, self._adapters)
