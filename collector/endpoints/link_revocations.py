"""`/v1/links/revocations`: links that tie nobody any more, taken back and given back by programs with a key.

Parses and answers, no more: what is done stands in `links.revoking`. A key needs the scope `links`, and is one of a
whole space: a campaign's links may lead to all its sites. A change is in the audit log before it is made, and holds
once every web process has asked the store, which each does every `settings_interval_s`. References and tokens come in
bodies, never in addresses, which proxies write down, and are never answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from starlette.routing import Route

from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.edge import Edge, read_facts
from collector.endpoints.identity import STATUS
from collector.endpoints.keyed import BASE, BODY_STATUS, Refused, find_key, refuse
from collector.endpoints.limits import MAX_WAIT_S, Pace
from collector.endpoints.plain import PlainEndpoint, Receive, Scope, Send, send_answer
from collector.errors import RepairError, RepairReason, StoreError
from collector.links.revocations import Revocation
from collector.links.revoking import Wanted, lift_revocation, plan_revocations, write_revocations
from collector.links.rows import read_revocations
from collector.logs import get_logger
from collector.metrics import count_request
from collector.reasons import Reason
from collector.sites.book import ApiKey
from collector.sites.keys import LINKS_SCOPE
from collector.store.client import open_client

PATH = "/v1/links/revocations"
MAX_BYTES = 16_384
COST_S, PATIENCE_S = 0.2, 4.0
"""Each key may ask five times a second, and twenty times at once: an answer costs the store some questions."""
AT_ONCE = 1
MAX_ASKED = 16
RETRY_AFTER_S = 5
DEFAULT_LISTED, MAX_LISTED = 1_000, 10_000

MESSAGES = {
    "unauthorized": "Send a key in force: Authorization: Bearer ts_… (tagstitch key create --scope links).",
    "scope": "The key may not do this: it needs scope links, and to be one of the whole space, not of one site.",
    "unavailable": "The store cannot be reached now; whether anything was changed the list says; ask again later.",
    "rate": "Too many requests with this key; ask again later.",
    Reason.SIZE: f"The body is larger than {MAX_BYTES} bytes.",
    Reason.ENCODING: "The body must be UTF-8, as it is or as one gzip member.",
}
_ENCODE = msgspec.json.Encoder().encode

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
"""Never empty: what names nothing would not narrow what else is named."""
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class RevokeLinks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which links: all for which everything holds that is given. `token`: its id, the whole of it, or a link with it.
    `key`: id of the key that signed. `customer`: the reference, of kind `kind`. Times of issue, `to` not included."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=6_000)] = ""
    campaign: Name = ""
    message: Name = ""
    key: Name = ""
    customer: Name = ""
    kind: Name = "customer"
    issued_from: Moment | None = None
    issued_to: Moment | None = None
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class ListRevocations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is listed: the newest first, `lifted` ones only where that is 1."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LISTED)] = DEFAULT_LISTED
    lifted: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0


class Revocations(msgspec.Struct, frozen=True):
    """Revocations. A customer is named by the own person id of the reference; times in seconds or, `_ms`, in
    milliseconds since 1970, 0 for none. A reference with several names is revoked under each."""

    revocations: list[Revocation]


class RevocationsDesk:
    """The endpoints. `note_use`: takes note that a key was used, by its id and the time in milliseconds."""

    def __init__(
        self, edge: Edge, note_use: Callable[[str, int], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._edge = edge
        self._note_use = note_use
        self._pace = Pace(clock=clock)
        self._threads = asyncio.Semaphore(AT_ONCE)
        self._asked = 0
        self._decode = msgspec.json.Decoder(RevokeLinks).decode

    async def receive(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        facts = read_facts(self._edge, scope)
        if not facts.context.sites.read_at_ms:
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S, is_unread=True)
            return
        key = find_key(self._edge, facts, scope, LINKS_SCOPE, is_of_space=True)
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
            do = self._read(scope, body, key, facts.context.received_at_ms)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            # The decoder names types and places, never a value.
            said = str(error) if isinstance(error, msgspec.MsgspecError) else "The body is no UTF-8."
            await _refuse(send, 400, RepairReason.ARGUMENT, said)
            return
        if self._asked >= MAX_ASKED:
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S)
            return
        await self._answer(do, send)

    def _read(self, scope: Scope, body: bytes, key: ApiKey, now_ms: int) -> Callable[[], list[Revocation]]:
        """Return what is to be done, in a thread. Raises MsgspecError where that cannot be understood."""
        actor = f"key:{key.key_id}"
        if scope["method"] == "POST":
            wanted = make_wanted(self._decode(body))
            return lambda: self._revoke(key, wanted, actor, now_ms)
        if scope["method"] == "DELETE":
            revocation_id: str = scope["path_params"]["revocation"]
            return lambda: self._lift(key, revocation_id, actor, now_ms)
        text = scope["query_string"].decode("latin-1")
        values = dict(part.partition("=")[::2] for part in text.split("&") if part)
        listed = msgspec.convert(values, ListRevocations, strict=False)
        return lambda: self._list(key, listed)

    async def _answer(self, do: Callable[[], list[Revocation]], send: Send) -> None:
        self._asked += 1
        try:
            async with self._threads:
                found = await asyncio.to_thread(do)
        except RepairError as error:
            await _refuse(send, STATUS[error.reason], error.reason, str(error))
            return
        except StoreError as error:
            get_logger().warning("a request about revocations waits", reason=str(error))
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S)
            return
        finally:
            self._asked -= 1
        await send_answer(send, 200, BASE, _ENCODE(Revocations(found)))

    def _revoke(self, key: ApiKey, wanted: Wanted, actor: str, now_ms: int) -> list[Revocation]:
        with contextlib.closing(open_client(self._edge.config, self._edge.keyring, "writer")) as client:
            planned = plan_revocations(client, self._edge.keyring, key.space_id, wanted, actor, now_ms)
            return write_revocations(client, planned, "api")

    def _lift(self, key: ApiKey, revocation_id: str, actor: str, now_ms: int) -> list[Revocation]:
        with contextlib.closing(open_client(self._edge.config, self._edge.keyring, "writer")) as client:
            return [lift_revocation(client, key.space_id, revocation_id, actor, now_ms, "api")]

    def _list(self, key: ApiKey, listed: ListRevocations) -> list[Revocation]:
        with contextlib.closing(open_client(self._edge.config, self._edge.keyring, "writer")) as client:
            found = read_revocations(client, key.space_id)
        return [row for row in found if listed.lifted or not row.lifted][: listed.limit]


def make_wanted(asked: RevokeLinks) -> Wanted:
    """Return what a body asks for, its times in seconds."""
    names = ("token", "campaign", "message", "key", "customer", "kind", "reason")
    return Wanted(
        **{name: getattr(asked, name) for name in names},
        issued_from_s=_read_s(asked.issued_from),
        issued_to_s=_read_s(asked.issued_to),
    )


def _read_s(moment: datetime | None) -> int:
    return int(moment.timestamp()) if moment is not None else 0


async def _refuse(send: Send, status: int, error: str, message: str = "", **how: Any) -> None:
    await refuse(send, status, error, message or MESSAGES.get(error, ""), **how)


def routes(edge: Edge, note_use: Callable[[str, int], None]) -> list[Route]:
    """Return the routes."""
    endpoint = PlainEndpoint(RevocationsDesk(edge, note_use).receive)
    return [
        Route(PATH, endpoint, methods=["GET", "POST"]),
        Route(f"{PATH}/{{revocation}}", endpoint, methods=["DELETE"]),
    ]
