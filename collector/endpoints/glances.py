"""Glances for pages, several in one statement: who asks while a statement runs asks together with the others after it.

A statement costs a few milliseconds of the store whatever it asks for. So under load a page waits for at most two of
them, and the store does no more than one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial

from collector.keyring import Keyring
from collector.offers.standing import NOTHING, Wanted
from collector.profiles.definitions import Definitions
from collector.profiles.glance import MAX_AT_ONCE, Glance, read_glances
from collector.store.client import StoreClient
from collector.store.threads import StoreThreads

_Waiting = list[tuple[frozenset[str], asyncio.Future[dict[str, Glance]]]]


class Glances:
    """The glances of one web process. `define`: the traits of a space; `want`: what is read besides; `list_kinds`:
    by which kinds of identifiers pages are told of records, by space."""

    def __init__(
        self,
        threads: StoreThreads,
        keyring: Keyring,
        define: Callable[[str], Definitions],
        want: Callable[[str], Wanted] = lambda space_id: NOTHING,
        list_kinds: Callable[[str], frozenset[str]] = lambda space_id: frozenset(),
    ) -> None:
        self._threads = threads
        self._keyring = keyring
        self._define = define
        self._want = want
        self._list_kinds = list_kinds
        self._waiting: dict[str, _Waiting] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def read(self, space_id: str, keys: Collection[str], now_ms: int) -> dict[str, Glance]:
        """Return the people of some identifiers, by own person id. Raises StoreError."""
        future: asyncio.Future[dict[str, Glance]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(space_id, []).append((frozenset(keys), future))
        if space_id not in self._running:
            self._running[space_id] = asyncio.create_task(self._run(space_id, now_ms))
        return await future

    async def _run(self, space_id: str, now_ms: int) -> None:
        try:
            while waiting := self._waiting.get(space_id):
                together, self._waiting[space_id] = _take(waiting)
                keys = frozenset().union(*(keys for keys, _ in together))
                try:
                    found = await self._threads.ask(partial(self._ask, space_id, keys, now_ms))
                except Exception as error:
                    for _, future in together:
                        if not future.done():
                            future.set_exception(error)
                else:
                    for wanted, future in together:
                        if not future.done():
                            future.set_result({key: found[key] for key in wanted})
        finally:
            del self._running[space_id]

    def _ask(self, space_id: str, keys: frozenset[str], now_ms: int, client: StoreClient) -> dict[str, Glance]:
        wanted, kinds = self._want(space_id), self._list_kinds(space_id)
        definitions = self._define(space_id)
        return read_glances(client, self._keyring, definitions, keys, now_ms=now_ms, wanted=wanted, key_kinds=kinds)


def _take(waiting: _Waiting) -> tuple[_Waiting, _Waiting]:
    """Return those that one statement can hold, and the rest."""
    count, keys = 0, 0
    for wanted, _ in waiting:
        keys += len(wanted)
        if keys > MAX_AT_ONCE and count:
            break
        count += 1
    return waiting[:count], waiting[count:]
