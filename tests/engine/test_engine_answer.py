"""The answer to one statement, over a worker that is played."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import cast

from starlette.requests import Request
from starlette.types import Message

from collector.engine.answer import Answer, Shared
from collector.engine.body import Body
from collector.engine.credentials import Credential, Role
from collector.engine.handles import Chdb, Outcome
from collector.engine.order import Order
from collector.engine.request import Asked
from tests.console.event_loop import run


class Engine:
    """What an answer asks the engine for."""

    time_zone = "UTC"


def test_a_statement_is_over_before_its_client_can_know(tmp_path: Path) -> None:
    """Session and query id are free when the last bytes go out: the client may use both at once."""
    said: list[str] = []

    def enter(order: Order) -> asyncio.Future[Outcome]:
        os.write(order.pipe, b"1\n")
        os.close(order.pipe)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        future.set_result(Outcome(result_rows=1))
        return future

    async def send(message: Message) -> None:
        said.append("end" if message["type"] == "http.response.body" and not message["more_body"] else "on its way")

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def answer() -> None:
        shared = Shared(cast(Chdb, Engine()), enter, {role: {} for role in Role}, 1000, str(tmp_path))
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        asked = Asked("writer", "", "SELECT 1", {}, {}, {})
        credential = Credential("writer", "", Role.WRITER)
        body = Body("", 1000, tmp_path)
        await Answer(shared, request, asked, credential, "id", send).run(body, None, lambda: said.append("free"))
        body.close()

    run(answer())
    assert said == ["on its way", "on its way", "free", "end"]
