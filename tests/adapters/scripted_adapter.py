"""An adapter that does what a test tells it, for tests of what stands around adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from collector.adapters.bounds import SourceBounds
from collector.adapters.contract import Described, Field, Record
from collector.adapters.source import Fetched, Source
from tests.adapters.virtual_time import now

ADA = {"name": "Ada", "tier": "gold", "points": 7}
FIELDS = (
    Field(name="name", type="text", ttl_s=100.0),
    Field(name="tier", type="text", ttl_s=50.0),
    Field(name="points", type="integer", ttl_s=10.0),
)
ALL = frozenset(field.name for field in FIELDS)
Behaviour = Callable[[str, frozenset[str]], Awaitable[Any]]


class ScriptedAdapter:
    """`behave` answers; every call is noted with its time."""

    def __init__(self, behave: Behaviour | None = None) -> None:
        self.behave = behave or answer
        self.calls: list[tuple[str, frozenset[str]]] = []
        self.deadlines: list[float] = []
        self.closed = False

    def describe(self) -> Described:
        return Described(name="crm", key_kind="customer", fields=FIELDS, can_search=True, can_scan=False)

    async def retrieve(self, key: str, fields: frozenset[str], deadline_s: float) -> Any:
        self.calls.append((key, fields))
        self.deadlines.append(deadline_s)
        return await self.behave(key, fields)

    async def search(self, terms: Mapping[str, str], limit: int) -> Any:
        return await self.behave(str(dict(terms)), ALL)

    async def close(self) -> None:
        self.closed = True


def make_source(adapter: ScriptedAdapter, **bounds: Any) -> Source:
    """A source in the running loop's time, which begins at 0 s of the loop and 1,000,000 ms of the calendar."""
    return Source(adapter, SourceBounds(**bounds), now, lambda: 1_000_000 + round(now() * 1_000))


async def answer(key: str, _: frozenset[str]) -> Record:
    """Say more than was asked for."""
    return Record(key, {**ADA, "secret": "not asked for"})


async def hang(*_: Any) -> None:
    await asyncio.Event().wait()


def hang_until(ended: asyncio.Event) -> Behaviour:
    """Hang, and do not let oneself be cancelled either."""

    async def behave(*_: Any) -> None:
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError:
                continue

    return behave


def after(seconds: float, then: Behaviour = answer) -> Behaviour:
    async def behave(key: str, fields: frozenset[str]) -> Any:
        await asyncio.sleep(seconds)
        return await then(key, fields)

    return behave


def failing(error: BaseException) -> Behaviour:
    async def behave(*_: Any) -> None:
        raise error

    return behave


def one_after_another(*behaviours: Behaviour) -> Behaviour:
    """Each call its own; the last one for all that follow."""
    left = list(behaviours)

    async def behave(key: str, fields: frozenset[str]) -> Any:
        return await (left.pop(0) if len(left) > 1 else left[0])(key, fields)

    return behave


def plain(fetched: Fetched) -> dict[str, Any]:
    return {name: value.value for name, value in fetched.values.items()}
