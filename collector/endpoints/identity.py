"""`/v1/identity/…`: who somebody is and why, and the changes that operators make, for programs with a key.

Parses and answers, no more: what is done stands in `identity.requests`. A key needs the scope `repair` and is one of a
whole space: people are shared by all its sites. 202 says that a change is on disk and in the audit log; the map follows
within seconds. Names come in bodies, never in addresses, which proxies write down.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec
from starlette.routing import Route

from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.edge import Edge, read_facts
from collector.endpoints.keyed import BASE, BODY_STATUS, Refused, find_key, refuse
from collector.endpoints.limits import MAX_WAIT_S, Pace
from collector.endpoints.plain import PlainEndpoint, Receive, Scope, Send, send_answer
from collector.errors import RepairError, RepairReason, SpoolError, StoreError
from collector.identity.requests import (
    REQUESTS,
    Carried,
    ListBlocks,
    ListEntries,
    Request,
    carry_out,
    note_failure,
)
from collector.logs import get_logger
from collector.metrics import count_request
from collector.reasons import Reason
from collector.sites.book import ApiKey
from collector.sites.keys import REPAIR_SCOPE

PATH = "/v1/identity"
MAX_BYTES = 65_536
COST_S, PATIENCE_S = 0.2, 4.0
"""Each key may ask five times a second, and twenty times at once: an answer may cost the store a second."""
AT_ONCE = 2
MAX_ASKED = 16
RETRY_AFTER_S = 5

STATUS = {
    RepairReason.ARGUMENT: 400,
    RepairReason.UNKNOWN: 404,
    RepairReason.AMBIGUOUS: 409,
    RepairReason.NOTHING: 409,
    RepairReason.CONFLICT: 409,
    RepairReason.TOO_MANY: 422,
    RepairReason.PENDING: 503,
}
MESSAGES = {
    "unauthorized": "Send a key in force: Authorization: Bearer ts_… (tagstitch key create --scope repair).",
    "scope": "The key may not do this: it needs scope repair, and to be one of the whole space, not of one site.",
    "unavailable": "The store or the disk cannot be reached now; nothing was changed; ask again later.",
    "rate": "Too many requests with this key; ask again later.",
    Reason.SIZE: f"The body is larger than {MAX_BYTES} bytes.",
    Reason.ENCODING: "The body must be UTF-8, as it is or as one gzip member.",
}
_ENCODE = msgspec.json.Encoder().encode


class IdentityApi:
    """The endpoints. `note_use`: takes note that a key was used, by its id and the time in milliseconds."""

    def __init__(
        self, edge: Edge, note_use: Callable[[str, int], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._edge = edge
        self._note_use = note_use
        self._pace = Pace(clock=clock)
        self._threads = asyncio.Semaphore(AT_ONCE)
        self._asked = 0  # requests that are carried out, or wait for it
        self._begun: set[asyncio.Task[Carried]] = set()  # the loop itself holds tasks weakly

    def make_endpoint(self, read: Callable[[Scope, bytes], Request]) -> PlainEndpoint:
        """Return the endpoint for one kind of requests. `read`: makes the request of query and body."""

        async def receive(scope: Scope, receive: Receive, send: Send) -> None:
            await self._receive(read, scope, receive, send)

        return PlainEndpoint(receive)

    async def _receive(
        self, read: Callable[[Scope, bytes], Request], scope: Scope, receive: Receive, send: Send
    ) -> None:
        facts = read_facts(self._edge, scope)
        if not facts.context.sites.read_at_ms:
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S, is_unread=True)
            return
        key = find_key(self._edge, facts, scope, REPAIR_SCOPE, is_of_space=True)
        if isinstance(key, Refused):
            await _refuse(send, key.status, key.error, retry_after_s=key.retry_after_s, is_unread=True)
            return
        wait_s = self._pace.find_wait_s(key.key_id, COST_S, PATIENCE_S)
        if wait_s:
            await _refuse(send, 429, "rate", retry_after_s=min(int(wait_s) + 1, MAX_WAIT_S), is_unread=True)
            return
        self._note_use(key.key_id, facts.context.received_at_ms)
        body: bytes | Reason = b""
        if scope["method"] == "POST":
            try:
                body = await read_body(receive, facts.content_length, facts.content_encoding, MAX_BYTES)
            except Disconnected:
                count_request("disconnected")
                return
        if isinstance(body, Reason):
            await _refuse(send, BODY_STATUS.get(body, 400), body, is_unread=True)
            return
        try:
            request = read(scope, body)
        except msgspec.MsgspecError as error:
            # The decoder names types and places, never a value.
            await _refuse(send, 400, RepairReason.ARGUMENT, str(error))
            return
        except UnicodeDecodeError:  # of a text inside; the decoder looks at them one by one
            await _refuse(send, 415, Reason.ENCODING)
            return
        await self._answer(key, request, send)

    async def _answer(self, key: ApiKey, request: Request, send: Send) -> None:
        """Carry the request out, spool what must be on disk, and answer."""
        if self._asked >= MAX_ASKED:
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S)
            return
        try:
            done = await self._finish(key, request)
        except RepairError as error:
            await _refuse(send, STATUS[error.reason], error.reason, str(error))
            return
        except (StoreError, SpoolError) as error:
            get_logger().warning("a request about identity waits", reason=str(error))
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S)
            return
        await send_answer(send, 202 if done.entry is not None else 200, BASE, _ENCODE(done.answer))

    async def _finish(self, key: ApiKey, request: Request) -> Carried:
        """Carry the request out to its end, even where whoever asked is gone: the audit log must not announce what is
        then not spooled. Raises as `_carry_out`."""
        task = asyncio.create_task(self._carry_out(key, request))
        self._asked += 1
        self._begun.add(task)
        task.add_done_callback(self._end)
        return await asyncio.shield(task)

    def _end(self, task: asyncio.Task[Carried]) -> None:
        self._asked -= 1
        self._begun.discard(task)
        if not task.cancelled():
            task.exception()  # asked for, or asyncio complains where nobody waits any more

    async def _carry_out(self, key: ApiKey, request: Request) -> Carried:
        """Carry the request out in a thread, and spool what must be on disk.

        Raises RepairError, StoreError; SpoolError, which then stands in the audit log as failed.
        """
        edge, actor = self._edge, f"key:{key.key_id}"
        async with self._threads:
            done = await asyncio.to_thread(carry_out, edge.config, edge.keyring, key.space_id, actor, request)
            if done.entry is not None:
                try:
                    await edge.spool.append_all(done.lines)
                except SpoolError:
                    await asyncio.to_thread(note_failure, edge.config, edge.keyring, key.space_id, actor, done.entry)
                    raise
        return done


async def _refuse(
    send: Send, status: int, error: str, message: str = "", *, retry_after_s: int = 0, is_unread: bool = False
) -> None:
    message = message or MESSAGES.get(error, "")
    await refuse(send, status, error, message, retry_after_s=retry_after_s, is_unread=is_unread)


def _make_reader(form: type[Request]) -> Callable[[Scope, bytes], Request]:
    decoder = msgspec.json.Decoder(form)
    return lambda scope, body: decoder.decode(body)


def _read_list(scope: Scope, body: bytes) -> Request:
    text = scope["query_string"].decode("latin-1")
    values = dict(part.partition("=")[::2] for part in text.split("&") if part)
    return msgspec.convert(values, ListEntries, strict=False)


def routes(edge: Edge, note_use: Callable[[str, int], None]) -> list[Route]:
    """Return the routes."""
    api = IdentityApi(edge, note_use)
    found = [
        Route(f"{PATH}/{name}", api.make_endpoint(_make_reader(form)), methods=["POST"])
        for name, form in REQUESTS.items()
    ]
    found.append(Route(f"{PATH}/log", api.make_endpoint(_read_list), methods=["GET"]))
    found.append(Route(f"{PATH}/blocks", api.make_endpoint(lambda scope, body: ListBlocks()), methods=["GET"]))
    return found
