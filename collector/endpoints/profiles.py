"""`/v1/customers/…` and `/v1/visitors/…`: who somebody is and what is known of them, for programs with a key.

    GET  /v1/customers/{id}                 by the organisation's own key, or by a pseudonym (`kind=`: of which kind)
    GET  /v1/customers/{id}/timeline
    PUT  /v1/customers/{id}/traits/{name}   a correction; DELETE takes it back
    POST /v1/customers/lookup               by a personal value, which never stands in an address
    POST /v1/customers/search               in other sources, by what they know: see `search`
    GET  /v1/visitors/{id}                  and its timeline

Parses and answers, no more: `profiles.profile` reads. A key needs scope `profile:read` and is one of a whole space;
personal values are masked unless `personal=1` asks for them with a key of scope `pii:read` as well. Every look, and
every correction, is on disk in the log of reads before its answer goes out; where it cannot be, there is no answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from functools import partial
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.routing import Route

from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.edge import Edge, RequestFacts, read_facts
from collector.endpoints.keyed import BASE, BODY_STATUS, Refused, find_key, refuse
from collector.endpoints.limits import MAX_WAIT_S, Pace
from collector.endpoints.pixel import make_id
from collector.endpoints.plain import PlainEndpoint, Receive, Scope, Send, send_answer
from collector.endpoints.profile_answers import show_page, show_profile
from collector.endpoints.profile_questions import (
    Asked,
    Correction,
    Lookup,
    ProfileProblem,
    Question,
    name_customer,
    name_visitor,
    read_lookup,
    read_question,
)
from collector.endpoints.search import NotAllowed, Search, Searches
from collector.errors import SpoolError, StoreError
from collector.event import NIL_ID, LandingRow, ReadRow
from collector.logs import get_logger
from collector.metrics import count_request
from collector.profiles.definitions import Definitions, TraitRefused
from collector.profiles.profile import Part, Profile, Unknown, Withheld, read_profile
from collector.profiles.record_keys import RecordKey
from collector.profiles.states import State
from collector.profiles.together import Reads
from collector.profiles.traits import correct
from collector.reasons import Reason
from collector.sites.book import ApiKey
from collector.sites.keys import PII_READ, PROFILE_READ, PROFILE_WRITE
from collector.store.client import StoreClient
from collector.store.threads import StoreThreads
from collector.use.records import Records, list_key_kinds, read_records
from collector.use.sources import Sources

CUSTOMERS, VISITORS = "/v1/customers", "/v1/visitors"
MAX_BYTES = 65_536
COST_S, PATIENCE_S = 0.005, 2.0
"""Each key may ask 200 times a second, and 400 times at once."""
MAX_ASKED = 64
RETRY_AFTER_S = 5

MESSAGES = {
    "unauthorized": "Send a key in force: Authorization: Bearer ts_… (tagstitch key create --scope profile:read).",
    "scope": "The key may not do this: it needs scope {scope}, and to be one of the whole space, not of one site.",
    "unavailable": "The store or the disk cannot be reached now; ask again later.",
    "rate": "Too many requests with this key; ask again later.",
    "unknown": "Nothing is known of this identifier.",
    State.ERASED: "This person was erased: nothing of them is kept, and nothing will be told.",
    State.RESTRICTED: "This person's data may not be used: they are kept, and nobody is told of them.",
    "argument": "The request is not as it is described.",
    "trait": "The value cannot be taken for this trait.",
    "personal": "A personal value does not stand in an address: POST it to /v1/customers/lookup.",
    Reason.SIZE: f"The body is larger than {MAX_BYTES} bytes.",
    Reason.ENCODING: "The body must be UTF-8, as it is or as one gzip member.",
}
WITHHELD_STATUS = {State.ERASED: 410, State.RESTRICTED: 451}
"""Gone, and unavailable for legal reasons (RFC 7725)."""
_ENCODE = msgspec.json.Encoder().encode
_DECODE_LOOKUP = msgspec.json.Decoder(Lookup).decode
_DECODE_SEARCH = msgspec.json.Decoder(Search).decode
_DECODE_CORRECTION = msgspec.json.Decoder(Correction).decode


class Profiles:
    """The endpoints of one web process. `note_use`: takes note that a key was used, by its id and the time in ms.
    `define`: the traits of a space, as the configuration declares them. `sources`: of customer records elsewhere."""

    def __init__(
        self,
        edge: Edge,
        threads: StoreThreads,
        note_use: Callable[[str, int], None],
        define: Callable[[str], Definitions],
        sources: Sources,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._edge = edge
        self._threads = threads
        self._note_use = note_use
        self._define = define
        self._sources = sources
        self._searches = Searches(edge, threads, sources)
        self._reads = Reads()
        self._pace = Pace(clock=clock)
        self._asked = 0

    def make_endpoint(self, way: str, scope: str) -> PlainEndpoint:
        """Return the endpoint for one kind of requests. `scope`: what its keys need."""
        return PlainEndpoint(partial(self._receive, way, scope))

    async def _receive(self, way: str, wanted: str, scope: Scope, receive: Receive, send: Send) -> None:
        facts = read_facts(self._edge, scope)
        if not facts.context.sites.read_at_ms:
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S, is_unread=True)
            return
        key = find_key(self._edge, facts, scope, wanted, is_of_space=True)
        if isinstance(key, Refused):
            await _refuse(send, key.status, key.error, scope=wanted, retry_after_s=key.retry_after_s, is_unread=True)
            return
        wait_s = self._pace.find_wait_s(key.key_id, COST_S, PATIENCE_S)
        if wait_s:
            await _refuse(send, 429, "rate", retry_after_s=min(int(wait_s) + 1, MAX_WAIT_S), is_unread=True)
            return
        self._note_use(key.key_id, facts.context.received_at_ms)
        body: bytes | Reason = b""
        if scope["method"] in ("POST", "PUT"):
            try:
                body = await read_body(receive, facts.content_length, facts.content_encoding, MAX_BYTES)
            except Disconnected:
                count_request("disconnected")
                return
        if isinstance(body, Reason):
            await _refuse(send, BODY_STATUS.get(body, 400), body, is_unread=True)
            return
        if self._asked >= MAX_ASKED:
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S)
            return
        self._asked += 1
        try:
            await self._answer(way, key, scope, facts, body, send)
        except ProfileProblem as problem:
            await _refuse(send, 400, problem.error, str(problem))
        except TraitRefused as error:
            await _refuse(send, 422, "trait", str(error))
        except (StoreError, SpoolError) as error:
            get_logger().warning("a profile cannot be read", reason=str(error))
            await _refuse(send, 503, "unavailable", retry_after_s=RETRY_AFTER_S)
        finally:
            self._asked -= 1

    async def _answer(self, way: str, key: ApiKey, scope: Scope, facts: RequestFacts, body: bytes, send: Send) -> None:
        """Find out what is asked, read it, write down that it was read, and answer."""
        if way == "search":
            try:
                told = await self._searches.find(key, facts, _decode(_DECODE_SEARCH, body))
            except NotAllowed:
                await _refuse(send, 403, "scope", scope=PII_READ)
            else:
                await send_answer(send, 200, BASE, _ENCODE(told))
            return
        asked = self._read(way, key, scope, facts, body)
        if asked.question.shows_personal and PII_READ not in key.scopes:
            await _refuse(send, 403, "scope", scope=PII_READ)
            return
        definitions, now_ms = self._define(key.space_id), facts.context.received_at_ms
        if way == "correction":
            name, value = scope["path_params"]["name"], _read_value(scope, body)
            if value is not None:
                definitions.check(name, value)
        wanted = asked.question
        kinds = list_key_kinds(self._sources, key.space_id, wanted.records) if Part.RECORDS in wanted.parts else ()
        found = await self._threads.ask(
            partial(_read_first, self._edge, self._reads, definitions, asked, now_ms, kinds)
        )
        records, _ = await asyncio.gather(
            self._read_records(key, wanted, found), self._log(key, facts, way, asked, found)
        )
        if isinstance(found, Unknown):
            await _refuse(send, 404, "unknown")
            return
        if isinstance(found, Withheld):
            await _refuse(send, WITHHELD_STATUS[found.state], found.state)
            return
        if way == "correction":
            about = found.customer_key if found.customer_id else asked.keys[0]
            change = partial(correct, key=about, name=name, value=value, actor=f"key:{key.key_id}", now_ms=now_ms)
            await self._threads.ask(lambda client: change(client, self._edge.keyring, definitions))
            await send_answer(send, 200, BASE, _ENCODE({"person_id": found.person_id, "trait": name, "value": value}))
            return
        shown: Any = show_page(found.page)
        if way != "timeline":
            shown = show_profile(found, wanted.parts, records, shows_personal=wanted.shows_personal)
        await _send(send, scope, _ENCODE(shown))

    async def _read_records(
        self, key: ApiKey, question: Question, found: Profile | Unknown | Withheld
    ) -> Records | None:
        """Return what other sources know of a person, where that is wanted, and there are any."""
        if not isinstance(found, Profile) or Part.RECORDS not in question.parts:
            return None
        if not self._sources.list_adapters(key.space_id):
            return None
        return await read_records(self._sources, key.space_id, found.record_keys, question.records)

    def _read(self, way: str, key: ApiKey, scope: Scope, facts: RequestFacts, body: bytes) -> Asked:
        """Return what is asked for, and of whom. Raises ProfileProblem."""
        book, keyring, space_id = facts.context.sites, self._edge.keyring, key.space_id
        names = [adapter.name for adapter in self._sources.list_adapters(space_id)]
        if way == "lookup":
            return read_lookup(book, keyring, space_id, _decode(_DECODE_LOOKUP, body), names)
        parameters = _read_query(scope)
        question = read_question(parameters, names)
        if way in ("timeline", "correction"):
            question = msgspec.structs.replace(question, parts=frozenset((Part.TIMELINE,) if way == "timeline" else ()))
        text = scope["path_params"]["id"]
        if scope["path"].startswith(VISITORS):
            return name_visitor(book, keyring, space_id, text, question)
        return name_customer(book, keyring, space_id, dict(parameters).get("kind", ""), text, question)

    async def _log(
        self, key: ApiKey, facts: RequestFacts, way: str, asked: Asked, found: Profile | Unknown | Withheld
    ) -> None:
        """Write the look down. Raises SpoolError."""
        read = ReadRow(
            read_id=make_id(facts.context.received_at_ms),
            key=asked.keys[0],
            person_id=NIL_ID,
            actor=f"key:{key.key_id}",
            way=way,
            parts="",
            personal=0,
            found="unknown",
        )
        if isinstance(found, Profile):
            read.key, read.person_id, read.found = found.asked, found.person_id, "known"
            read.parts, read.personal = ",".join(asked.question.list_parts()), int(asked.question.shows_personal)
            if found.merged_from:
                read.found = "merged"
        elif isinstance(found, Withheld):
            read.key, read.found = found.key, str(found.state)
            read.person_id = found.person_id if found.state is State.RESTRICTED else NIL_ID
        row = LandingRow(
            received_at_ms=facts.context.received_at_ms,
            site_id="",
            space_id=key.space_id,
            visitor_proof="none",
            own_person_id=read.key,
            reads=[read],
        )
        await self._edge.spool.append(_ENCODE(row))


def _read_first(
    edge: Edge,
    reads: Reads,
    definitions: Definitions,
    asked: Asked,
    now_ms: int,
    key_kinds: Collection[str],
    client: StoreClient,
) -> Profile | Unknown | Withheld:
    """Return the first of the names that somebody has: one value has a name for each personal key in force."""
    found: Profile | Unknown | Withheld = Unknown(asked.keys[0])
    for key in asked.keys:
        found = read_profile(
            client,
            edge.keyring,
            definitions,
            key,
            now_ms=now_ms,
            parts=asked.question.parts,
            cursor=asked.question.cursor,
            limit=asked.question.limit,
            shows_personal=asked.question.shows_personal,
            is_person_id=asked.is_person_id,
            key_kinds=key_kinds,
            given=(asked.given[0], RecordKey(key, asked.given[1])) if asked.given else None,
            reads=reads,
        )
        if not isinstance(found, Unknown):
            return found
    return Withheld(asked.keys[0], "", State.ERASED) if asked.was_erased else found


def _read_value(scope: Scope, body: bytes) -> Any:
    if scope["method"] == "DELETE":
        return None
    value = _decode(_DECODE_CORRECTION, body).value
    if value is None:
        raise ProfileProblem("argument", "null is no value: DELETE takes a correction back")
    return value


def _decode(decode: Callable[[bytes], Any], body: bytes) -> Any:
    try:
        return decode(body)
    except msgspec.MsgspecError as error:
        # The decoder names types and places, never a value.
        raise ProfileProblem("argument", str(error)) from None
    except RecursionError:
        raise ProfileProblem("argument", "the body is nested too deeply") from None
    except UnicodeDecodeError:
        raise ProfileProblem("argument", MESSAGES[Reason.ENCODING]) from None


def _read_query(scope: Scope) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=20, errors="strict"
        )
    except ValueError:
        raise ProfileProblem("argument", "the query cannot be read") from None


async def _send(send: Send, scope: Scope, body: bytes) -> None:
    """Answer, or 304 where whoever asks has that very answer already."""
    tag = b'"' + blake2b(body, digest_size=12).hexdigest().encode() + b'"'
    headers = [*((name, value) for name, value in BASE if name != b"cache-control"), (b"etag", tag)]
    headers.append((b"cache-control", b"private, no-cache"))
    known = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
    if tag in [text.strip().removeprefix(b"W/") for text in known.split(b",")]:
        await send_answer(send, 304, headers)
        return
    await send_answer(send, 200, headers, body)


async def _refuse(send: Send, status: int, error: str, message: str = "", *, scope: str = "", **how: Any) -> None:
    text = message or MESSAGES.get(error, "").format(scope=scope)
    await refuse(send, status, error, text, **how)


def routes(
    edge: Edge,
    threads: StoreThreads,
    note_use: Callable[[str, int], None],
    define: Callable[[str], Definitions],
    sources: Sources,
) -> list[Route]:
    """Return the routes."""
    profiles = Profiles(edge, threads, note_use, define, sources)

    def route(path: str, way: str, methods: list[str], scope: str = PROFILE_READ) -> Route:
        return Route(path, profiles.make_endpoint(way, scope), methods=methods)

    return [
        route(f"{CUSTOMERS}/lookup", "lookup", ["POST"]),
        route(f"{CUSTOMERS}/search", "search", ["POST"]),
        route(f"{CUSTOMERS}/{{id}}", "customer", ["GET"]),
        route(f"{CUSTOMERS}/{{id}}/timeline", "timeline", ["GET"]),
        route(f"{CUSTOMERS}/{{id}}/traits/{{name}}", "correction", ["PUT", "DELETE"], PROFILE_WRITE),
        route(f"{VISITORS}/{{id}}", "visitor", ["GET"]),
        route(f"{VISITORS}/{{id}}/timeline", "timeline", ["GET"]),
    ]
