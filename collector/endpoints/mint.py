"""`POST /v1/links`: tagged links for backends, one or many at a time.

Parses and answers, no more: a LinkMaker makes the tokens. A key needs the scope `links`; its space is the links' space,
and a key of one site makes links to that site alone. A reference that cannot be used is an answer of its own in its
place, and the others get their links. Links are answered once the record of the minting is on disk; it goes to the
store a little later, so that a store that is away keeps nobody waiting. Of recipients nothing is kept, and nothing of
a body is logged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.routing import Route

from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.edge import Edge, RequestFacts, read_facts
from collector.endpoints.keyed import BASE, BODY_STATUS, Refused, find_key, refuse
from collector.endpoints.limits import MAX_WAIT_S, Pace
from collector.endpoints.mint_links import LinkDraft, MadeLink, Minted, MintRequest, RequestProblem
from collector.endpoints.mint_records import RecordSender
from collector.endpoints.plain import PlainEndpoint, Receive, Scope, Send, send_answer
from collector.links.record import begin_minting, put_pending
from collector.logs import get_logger
from collector.metrics import count_request
from collector.reasons import Reason
from collector.sites.book import ApiKey
from collector.sites.keys import LINKS_SCOPE

PATH = "/v1/links"
MAX_BYTES = 4_194_304
REQUEST_COST_S, LINK_COST_S, PATIENCE_S = 0.02, 0.000_05, 4.0
"""Each key may ask 50 times a second, or have 20,000 links made; and 200 times at once."""
AT_ONCE = 2
MAX_ASKED = 16
RETRY_AFTER_S = 5

MESSAGES = {
    "unauthorized": "Send a key in force: Authorization: Bearer ts_… (tagstitch key create --scope links).",
    "scope": "The key may not do this: it needs scope links.",
    "unavailable": "No link can be made just now, and none was; ask again later.",
    "rate": "Too many links with this key; ask again later.",
    "argument": "The body is not as it is described.",
    Reason.SIZE: f"The body is larger than {MAX_BYTES} bytes.",
    Reason.ENCODING: "The body must be UTF-8, as it is or as one gzip member.",
}


class Mint:
    """The endpoint of one web process. `note_use`: takes note that a key was used, by its id and the time in ms."""

    def __init__(
        self, edge: Edge, note_use: Callable[[str, int], None], records: RecordSender, clock: Callable[[], float]
    ) -> None:
        self._edge = edge
        self._records = records
        self._note_use = note_use
        self._pace = Pace(clock=clock)
        self._threads = asyncio.Semaphore(AT_ONCE)
        self._asked = 0
        self._decode = msgspec.json.Decoder(MintRequest).decode

    async def receive(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        facts = read_facts(self._edge, scope)
        if not facts.context.sites.read_at_ms:
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S, is_unread=True)
            return
        key = find_key(self._edge, facts, scope, LINKS_SCOPE)
        if isinstance(key, Refused):
            await _refuse(send, key.status, key.error, retry_after_s=key.retry_after_s, is_unread=True)
            return
        self._note_use(key.key_id, facts.context.received_at_ms)
        try:
            body = await read_body(receive, facts.content_length, facts.content_encoding, MAX_BYTES)
        except Disconnected:
            count_request("disconnected")
            return
        if isinstance(body, Reason):
            await _refuse(send, BODY_STATUS.get(body, 400), body, is_unread=True)
            return
        try:
            request = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            # The decoder names types and places, never a value.
            await _refuse(send, 400, "argument", message=str(error) if isinstance(error, msgspec.MsgspecError) else "")
            return
        cost_s = REQUEST_COST_S + LINK_COST_S * len(request.recipients)
        wait_s = self._pace.find_wait_s(key.key_id, cost_s, PATIENCE_S)
        if wait_s:
            await _refuse(send, 429, "rate", retry_after_s=min(int(wait_s) + 1, MAX_WAIT_S))
            return
        if self._asked >= MAX_ASKED:
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S)
            return
        await self._answer(key, request, facts, scope, send)

    async def _answer(self, key: ApiKey, request: MintRequest, facts: RequestFacts, scope: Scope, send: Send) -> None:
        base = find_base(self._edge, facts, scope)
        self._asked += 1
        try:
            async with self._threads:
                answer = await asyncio.to_thread(self._make, key, request, facts, base)
        except RequestProblem as problem:
            await _refuse(send, 400, problem.error, problem.field, str(problem))
            return
        except OSError as error:
            get_logger().warning("the record of a minting cannot be written", reason=error.strerror or "unknown")
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S)
            return
        finally:
            self._asked -= 1
        if answer.made:
            self._records.wake()
        await send_answer(send, 200, BASE, msgspec.json.encode(answer))

    def _make(self, key: ApiKey, request: MintRequest, facts: RequestFacts, base: str) -> Minted:
        """Make the links, and put the record on disk. Raises RequestProblem, OSError."""
        edge, now_ms = self._edge, facts.context.received_at_ms
        desk = LinkDraft(edge.keyring, edge.config.link_parameter, facts.context.sites, key, request, base, now_ms)
        links = desk.make_all()
        made = sum(isinstance(link, MadeLink) for link in links)
        if not made:
            return Minted("", 0, links)
        minting = begin_minting(edge.keyring, desk.mailing, now_ms=now_ms, actor=f"key:{key.key_id}", via="api")
        put_pending(
            edge.config.data_path,
            msgspec.structs.replace(
                minting, made=made, recipients=made, refused=len(links) - made, links=desk.list_names()
            ),
        )
        return Minted(minting.minting_id, made, links)


def find_base(edge: Edge, facts: RequestFacts, scope: Scope) -> str:
    """Return what stands before the token of a link by way of the collector: of `public_url`, else of the host that
    was asked."""
    base = edge.config.public_url
    if not base:
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "localhost")
        base = f"{'https' if facts.context.secure else 'http'}://{host}"
    return f"{base.rstrip('/')}{edge.config.link_path.rstrip('/')}/"


async def _refuse(send: Send, status: int, error: str, field: str = "", message: str = "", **how: Any) -> None:
    await refuse(send, status, error, message or MESSAGES.get(error, ""), field=field, **how)


def routes(
    edge: Edge,
    note_use: Callable[[str, int], None],
    records: RecordSender,
    clock: Callable[[], float] = time.monotonic,
) -> list[Route]:
    """Return the route. `records`: woken with each record. `clock`: seconds that never go back."""
    return [Route(PATH, PlainEndpoint(Mint(edge, note_use, records, clock).receive), methods=["POST"])]
