"""`/v1/data-requests`: what people ask for about their data, by programs of an organisation that help them.

    POST /v1/data-requests                  {"kind": "erase", "names": ["customer=4711"], "dry_run": true}
    GET  /v1/data-requests?state=open       what waits, what is due first first
    GET  /v1/data-requests/{id}             how far it is; when it is done, the certificate
    GET  /v1/data-requests/{id}/export      the zip of what is held, of a request of kind export
    POST /v1/data-requests/{id}/approve     by another key than that which asked; or /refuse
    POST /v1/data-requests/{id}/link        of a request of kind link: the link, and to whom it is to be sent

A key needs the scope `privacy` and is one of a whole space. 202 says that an erasure is written down; the role govern
carries it out. Names come in bodies, never in addresses, which proxies write down. What carries a request out is loaded
with the first of them: most web processes never see one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.routing import Route

from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.edge import Edge, read_facts
from collector.endpoints.keyed import BASE, BODY_STATUS, Refused, find_key, refuse
from collector.endpoints.limits import MAX_WAIT_S, Pace
from collector.endpoints.plain import PlainEndpoint, Receive, Scope, Send, send_answer
from collector.errors import PrivacyError, PrivacyReason, RepairError, RepairReason, StoreError
from collector.logs import get_logger
from collector.metrics import count_request
from collector.profiles.definitions import Definitions, TraitConfig, TraitRefused
from collector.reasons import Reason
from collector.sites.book import ApiKey
from collector.sites.keys import PRIVACY_SCOPE

PATH = "/v1/data-requests"
MAX_BYTES = 262_144
COST_S, PATIENCE_S = 0.5, 5.0
"""Each key may ask twice a second, and ten times at once: to find what is held reads every table."""
AT_ONCE = 2
MAX_ASKED = 8
RETRY_AFTER_S = 5
STATUS = {
    PrivacyReason.ARGUMENT: 400,
    PrivacyReason.UNKNOWN: 404,
    PrivacyReason.CONFLICT: 409,
    PrivacyReason.PENDING: 503,
    PrivacyReason.BUSY: 503,
    PrivacyReason.STORE: 503,
    PrivacyReason.LEFT: 503,
}
NAME_STATUS = {RepairReason.ARGUMENT: 400, RepairReason.UNKNOWN: 404, RepairReason.AMBIGUOUS: 409}
MESSAGES = {
    "unauthorized": "Send a key in force: Authorization: Bearer ts_… (tagstitch key create --scope privacy).",
    "scope": "The key may not do this: it needs scope privacy, and to be one of the whole space, not of one site.",
    "unavailable": "The store cannot be reached now; nothing was written down; ask again later.",
    "rate": "Too many requests with this key; ask again later.",
    Reason.SIZE: f"The body is larger than {MAX_BYTES} bytes.",
    Reason.ENCODING: "The body must be UTF-8, as it is or as one gzip member.",
}
_ENCODE = msgspec.json.Encoder().encode
_ZIP = [(name, b"application/zip" if name == b"content-type" else value) for name, value in BASE]
_Work = Callable[[], Any]


class DataRequests:
    """The endpoints. `note_use`: takes note that a key was used, by its id and the time in milliseconds."""

    def __init__(
        self,
        edge: Edge,
        note_use: Callable[[str, int], None],
        traits: Mapping[str, TraitConfig],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._edge = edge
        self._note_use = note_use
        self._traits = traits
        self._pace = Pace(clock=clock)
        self._threads = asyncio.Semaphore(AT_ONCE)
        self._asked = 0

    def make_endpoint(self, plan: Callable[[DataRequests, ApiKey, Scope, bytes], _Work]) -> PlainEndpoint:
        """Return the endpoint for one kind of questions. `plan`: makes of query and body what a thread then does."""

        async def receive(scope: Scope, receive: Receive, send: Send) -> None:
            await self._receive(plan, scope, receive, send)

        return PlainEndpoint(receive)

    async def _receive(
        self, plan: Callable[[DataRequests, ApiKey, Scope, bytes], _Work], scope: Scope, receive: Receive, send: Send
    ) -> None:
        facts = read_facts(self._edge, scope)
        if not facts.context.sites.read_at_ms:
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S, is_unread=True)
            return
        key = find_key(self._edge, facts, scope, PRIVACY_SCOPE, is_of_space=True)
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
            work = plan(self, key, scope, body)
        except msgspec.MsgspecError as error:  # it names types and places, never a value
            await _refuse(send, 400, PrivacyReason.ARGUMENT, str(error))
            return
        except RecursionError:
            await _refuse(send, 400, PrivacyReason.ARGUMENT, "nested too deep")
            return
        except UnicodeDecodeError:
            await _refuse(send, 415, Reason.ENCODING)
            return
        await self._answer(work, send)

    async def _answer(self, work: _Work, send: Send) -> None:
        if self._asked >= MAX_ASKED:
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S)
            return
        self._asked += 1
        try:
            async with self._threads:
                done = await asyncio.to_thread(work)
        except PrivacyError as error:
            status = STATUS[error.reason]
            await _refuse(send, status, error.reason, str(error), retry_after_s=RETRY_AFTER_S if status == 503 else 0)
        except RepairError as error:
            await _refuse(send, NAME_STATUS.get(error.reason, 409), error.reason, str(error))
        except TraitRefused as error:
            await _refuse(send, 422, "trait", str(error))
        except StoreError as error:
            get_logger().warning("a request about somebody's data waits", reason=str(error))
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S)
        else:
            if isinstance(done, bytes):
                await send_answer(send, 200, _ZIP, done)
            else:
                is_open = getattr(done, "state", "") in ("open", "waiting", "running")
                await send_answer(send, 202 if is_open else 200, BASE, _ENCODE(done))
        finally:
            self._asked -= 1

    # --- what is asked, as work for a thread

    def plan_call(self, key: ApiKey, scope: Scope, body: bytes) -> _Work:
        """Return the work of a new request."""
        from collector.privacy.calls import Call, make_call

        definitions = Definitions(self._traits, key.space_id)
        return self._partial(make_call, key, definitions, msgspec.json.decode(body, type=Call))

    def plan_list(self, key: ApiKey, scope: Scope, body: bytes) -> _Work:
        """Return the work of a list."""
        from collector.privacy.calls import answer_list

        states = tuple(value for name, value in _read_query(scope) if name == "state")
        return partial(answer_list, self._edge.config, self._edge.keyring, key.space_id, states)

    def plan_one(self, key: ApiKey, scope: Scope, body: bytes) -> _Work:
        """Return the work of one request: to see it, to approve or to refuse it."""
        from collector.privacy.calls import answer_one

        step = "" if scope["method"] != "POST" else scope["path"].rpartition("/")[2]
        return self._partial(answer_one, key, scope["path_params"]["id"], step)

    def plan_link(self, key: ApiKey, scope: Scope, body: bytes) -> _Work:
        """Return the work of a confirmation link."""
        from collector.privacy.calls import answer_link

        return self._partial(answer_link, key, scope["path_params"]["id"])

    def plan_export(self, key: ApiKey, scope: Scope, body: bytes) -> _Work:
        """Return the work of handing over what is held."""
        from collector.privacy.calls import answer_export

        language = dict(_read_query(scope)).get("language", "en")
        return self._partial(answer_export, key, scope["path_params"]["id"], language)

    def _partial(self, function: Callable[..., Any], key: ApiKey, *arguments: Any) -> _Work:
        edge = self._edge
        return partial(function, edge.config, edge.keyring, key.space_id, f"key:{key.key_id}", *arguments)


def _plan(api: DataRequests, key: ApiKey, scope: Scope, body: bytes) -> _Work:
    return (api.plan_call if scope["method"] == "POST" else api.plan_list)(key, scope, body)


def _read_query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


async def _refuse(
    send: Send, status: int, error: str, message: str = "", *, retry_after_s: int = 0, is_unread: bool = False
) -> None:
    message = message or MESSAGES.get(error, "")
    await refuse(send, status, error, message, retry_after_s=retry_after_s, is_unread=is_unread)


def routes(edge: Edge, note_use: Callable[[str, int], None], traits: Mapping[str, TraitConfig]) -> list[Route]:
    """Return the routes."""
    api = DataRequests(edge, note_use, traits)
    one = f"{PATH}/{{id}}"
    return [
        Route(PATH, api.make_endpoint(_plan), methods=["GET", "POST"]),
        Route(one, api.make_endpoint(DataRequests.plan_one), methods=["GET"]),
        Route(f"{one}/export", api.make_endpoint(DataRequests.plan_export), methods=["GET"]),
        Route(f"{one}/link", api.make_endpoint(DataRequests.plan_link), methods=["POST"]),
        Route(f"{one}/approve", api.make_endpoint(DataRequests.plan_one), methods=["POST"]),
        Route(f"{one}/refuse", api.make_endpoint(DataRequests.plan_one), methods=["POST"]),
    ]
