"""Audiences for programs with a key: which there are (`GET /v1/audiences`), and who is in one, page by page.

    GET /v1/audiences/lamp_lovers/members?format=jsonl&limit=1000
    Next-Cursor: NTA5…

Pseudonymous, without traits; nobody who was erased or restricted. Each page is an export, and in the audit log before
it is answered. Members take the scope `export`, the list that or `audience:read`; keys are of a whole space.
"""

from __future__ import annotations

import io
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec
from starlette.routing import Route

from collector.audiences.configuration import AudienceConfig
from collector.endpoints.edge import Edge, RequestFacts, read_facts
from collector.endpoints.keyed import BASE, Refused, find_key, refuse
from collector.endpoints.plain import PlainEndpoint, Receive, Scope, Send, send_answer
from collector.errors import StoreError
from collector.exporting.allowed import Allowed
from collector.exporting.chosen import Chosen
from collector.exporting.columns import write_time
from collector.exporting.files import CsvWriter
from collector.exporting.members import Members
from collector.exporting.pages import FIRST, Page
from collector.exporting.run import Done, Log
from collector.keyring import Keyring
from collector.profiles.definitions import Definitions, TraitConfig
from collector.sites.book import ApiKey
from collector.sites.keys import AUDIENCE_READ, EXPORT
from collector.store.client import StoreClient
from collector.store.threads import StoreThreads

LIST_PATH = "/v1/audiences"
MEMBERS_PATH = "/v1/audiences/{name}/members"
DEFAULT_LIMIT, MOST_ROWS = 1_000, 10_000
MOST_AT_A_TIME = 2
"""Of one process: a page may take the store a second."""
RETRY_AFTER_S = 2
TYPES = {"jsonl": b"application/jsonl", "csv": b"text/csv; charset=utf-8"}
MESSAGES = {
    "unauthorized": "Send a key in force: Authorization: Bearer ts_… (tagstitch key create --scope export).",
    "scope": "The key may not do this: it needs scope export, for the list of audiences export or audience:read, and "
    "to be one of the whole space.",
    "unavailable": "The store cannot be reached now; come again later.",
    "rate": f"{MOST_AT_A_TIME} such questions are under way already; come again later.",
    "argument": f"The query has format (csv or jsonl), limit (1 to {MOST_ROWS}) and cursor, each once at most.",
    "cursor": "This is no cursor: leave it out for the first page, then send Next-Cursor.",
    "unknown": "No audience of this name is configured in the key's space.",
}
_COUNTS = """
SELECT audience, count() AS members FROM v_audience_members WHERE space_id = {space:String} GROUP BY audience
"""


class _Wrong(Exception):
    """A request cannot be understood; its argument is a word of MESSAGES."""


class Asked(NamedTuple):
    """Which page."""

    form: str = "jsonl"
    limit: int = DEFAULT_LIMIT
    after: str = FIRST


class AudiencePages:
    """The audiences of one web process. `note_use`: takes note that a key was used, by its id and the time in ms."""

    def __init__(
        self,
        edge: Edge,
        keyring: Keyring,
        threads: StoreThreads,
        note_use: Callable[[str, int], None],
        audiences: Mapping[str, AudienceConfig],
        traits: Mapping[str, TraitConfig],
    ) -> None:
        self._edge = edge
        self._keyring = keyring
        self._threads = threads
        self._note_use = note_use
        self._audiences = audiences
        self._traits = traits
        self._under_way = 0

    async def answer_list(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer which audiences there are, and how many people are in each."""
        key = await self._admit(scope, send, EXPORT, AUDIENCE_READ)
        if key is None:
            return
        self._under_way += 1
        try:
            counted = await self._threads.ask(lambda client: client.query_rows(_COUNTS, {"space": key.space_id}))
        except StoreError:
            await _refuse(send, 503, "unavailable", RETRY_AFTER_S)
            return
        finally:
            self._under_way -= 1
        members = {row["audience"]: int(row["members"]) for row in counted}
        told = [
            {"name": one.name, "sentence": one.sentence, "purpose": one.purpose, "members": members.get(one.name, 0)}
            for one in self._audiences.values()
            if one.space == key.space_id
        ]
        await send_answer(send, 200, BASE, msgspec.json.encode({"audiences": told}))

    async def answer_members(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a page of the members of an audience."""
        key = await self._admit(scope, send, EXPORT)
        if key is None:
            return
        try:
            asked = read_query(scope["query_string"])
        except _Wrong as wrong:
            await _refuse(send, 400, str(wrong))
            return
        audience = self._audiences.get(scope["path_params"]["name"])
        if audience is None or audience.space != key.space_id:
            await _refuse(send, 404, "unknown")
            return
        self._under_way += 1
        try:
            body, cursor = await self._threads.ask(partial(self._read, key, audience.name, asked))
        except StoreError:
            await _refuse(send, 503, "unavailable", RETRY_AFTER_S)
            return
        finally:
            self._under_way -= 1
        headers = [header for header in BASE if header[0] != b"content-type"]
        headers.append((b"content-type", TYPES[asked.form]))
        if cursor:
            headers.append((b"next-cursor", cursor.encode()))
        await send_answer(send, 200, headers, body)

    async def _admit(self, scope: Scope, send: Send, *wanted: str) -> ApiKey | None:
        """Return the key where it has one of these scopes; None: the request was refused."""
        facts: RequestFacts = read_facts(self._edge, scope)
        if not facts.context.sites.read_at_ms:
            await _refuse(send, 503, "unavailable", RETRY_AFTER_S)
            return None
        found = find_key(self._edge, facts, scope, wanted[0], is_of_space=True)
        for name in wanted[1:]:
            if isinstance(found, Refused) and found.error == "scope":
                found = find_key(self._edge, facts, scope, name, is_of_space=True)
        if isinstance(found, Refused):
            await _refuse(send, found.status, found.error, found.retry_after_s)
            return None
        if self._under_way >= MOST_AT_A_TIME:
            await _refuse(send, 429, "rate", RETRY_AFTER_S)
            return None
        self._note_use(found.key_id, facts.context.received_at_ms)
        return found

    def _read(self, key: ApiKey, audience: str, asked: Asked, client: StoreClient) -> tuple[bytes, str]:
        """Return a page as it is sent, and the cursor of the next, "" where it is the last. Raises StoreError."""
        now_ms = self._edge.now_ms()
        allowed = Allowed(client, self._keyring, self._traits, key.space_id, now_ms=now_ms)
        chosen = Chosen(Definitions(self._traits, key.space_id))
        source = Members(
            client, self._keyring, allowed, chosen, audience, now_ms=now_ms, after=asked.after, page=asked.limit
        )
        page = next(source.read(), Page([], 0))
        log = Log(client, key.space_id, f"key:{key.key_id}", self._edge.now_ms, "api")
        log.note(source, Done(len(page.rows), page.withheld, page.refused), asked.form)
        return _write(asked.form, source, page), encode_cursor(source.after) if page.read == asked.limit else ""


def _write(form: str, source: Members, page: Page) -> bytes:
    if form == "csv":
        out = io.BytesIO()
        writer = CsvWriter(out, source.columns)
        writer.write(page.rows)
        writer.close()
        return out.getvalue()
    rows = [{"person_id": person, "customer_id": known, "since": write_time(at)} for person, known, at in page.rows]
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def read_query(query: bytes) -> Asked:
    """Return what a query asks for. Raises _Wrong."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), max_num_fields=3)
    except ValueError:
        raise _Wrong("argument") from None
    given: dict[str, Any] = dict(pairs)
    if len(given) < len(pairs) or not given.keys() <= {"format", "limit", "cursor"}:
        raise _Wrong("argument")
    form, limit = given.get("format", "jsonl"), given.get("limit", str(DEFAULT_LIMIT))
    is_number = limit.isascii() and limit.isdigit() and len(limit) <= len(str(MOST_ROWS))
    if form not in TYPES or not is_number or not 1 <= int(limit) <= MOST_ROWS:
        raise _Wrong("argument")
    return Asked(form, int(limit), decode_cursor(given["cursor"]) if "cursor" in given else FIRST)


def encode_cursor(person_id: str) -> str:
    """Return a text that stands for the place behind a person."""
    return urlsafe_b64encode(UUID(person_id).bytes).rstrip(b"=").decode()


def decode_cursor(text: str) -> str:
    """Return the person that a text stands for. Raises _Wrong."""
    try:
        return str(UUID(bytes=urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))))
    except ValueError:
        raise _Wrong("cursor") from None


async def _refuse(send: Send, status: int, error: str, retry_after_s: int = 0) -> None:
    word = "argument" if error == "cursor" else error
    await refuse(send, status, word, MESSAGES[error], retry_after_s=retry_after_s)


def routes(
    edge: Edge,
    keyring: Keyring,
    threads: StoreThreads,
    note_use: Callable[[str, int], None],
    audiences: Mapping[str, AudienceConfig],
    traits: Mapping[str, TraitConfig],
) -> list[Route]:
    """Return the routes."""
    pages = AudiencePages(edge, keyring, threads, note_use, audiences, traits)
    return [
        Route(LIST_PATH, PlainEndpoint(pages.answer_list), methods=["GET"]),
        Route(MEMBERS_PATH, PlainEndpoint(pages.answer_members), methods=["GET"]),
    ]
