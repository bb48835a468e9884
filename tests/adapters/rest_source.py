"""A REST adapter before a server of the test's own, by a name that nobody else resolves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from collector.adapters.contract import Described, Field, Record
from collector.adapters.rest import RestAdapter
from collector.adapters.rest_settings import RestSettings
from collector.errors import AdapterError, AdapterReason
from tests.adapters.faulty_server import FaultyServer

HOST = "crm.test"
SECRETS = {"CRM_SECRET": "s3cr3t-Zq8"}
FIELDS = (
    Field(name="name", type="text"),
    Field(name="points", type="integer"),
    Field(name="orders", type="json"),
)
ALL = frozenset(field.name for field in FIELDS)
LONG_S = 20.0
"""A deadline that no answer needs."""


def make_adapter(
    port: int, resolve: Callable[[str, int], list[str]] | None = None, clock: Any = None, **settings: Any
) -> RestAdapter:
    said = {
        "base_url": f"http://{HOST}:{port}/api",
        "path": "/customers/{key}",
        "allow_networks": ["127.0.0.0/8"],
        **settings,
    }
    described = Described(
        name="crm", key_kind="customer", fields=FIELDS, can_search="search" in settings, can_scan=False
    )
    more = {} if clock is None else {"clock": clock}
    settings_read = msgspec.convert(said, RestSettings)
    return RestAdapter(described, settings_read, SECRETS, resolve or (lambda _, __: ["127.0.0.1"]), **more)


@asynccontextmanager
async def serve(server: FaultyServer, **settings: Any) -> AsyncIterator[RestAdapter]:
    adapter = make_adapter(await server.start(), **settings)
    try:
        yield adapter
    finally:
        await adapter.close()
        await server.stop()


def ask(server: FaultyServer, key: str = "7", deadline_s: float = LONG_S, **settings: Any) -> Record | None:
    """One question, from beginning to end."""

    async def story() -> Record | None:
        async with serve(server, **settings) as adapter:
            return await adapter.retrieve(key, ALL, deadline_s)

    return asyncio.run(story())


def find_reason(server: FaultyServer, key: str = "7", deadline_s: float = LONG_S, **settings: Any) -> AdapterReason:
    """Why one question has no answer. No message tells what came, or what was asked for, or a secret."""
    with pytest.raises(AdapterError) as caught:
        ask(server, key, deadline_s, **settings)
    assert not any(word in str(caught.value) for word in ("Ada", *SECRETS.values()))
    return caught.value.reason


async def gather_all(*work: Awaitable[Any]) -> list[Any]:
    return list(await asyncio.gather(*work, return_exceptions=True))
