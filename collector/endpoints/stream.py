"""`GET /v1/stream`: who enters and leaves audiences, as it happens, for programs with a key. Server-Sent Events.

    id: 1790000000000-5b0c…
    event: audience.entered
    data: {"type":"audience.entered","timestamp":"…","data":{…}}

The data are what webhooks are told. A key needs scope `audience:read` and is one of a whole space. Who comes again with
`Last-Event-ID` misses nothing: what was written about a minute before that one comes once more, because rows do not
come in the order of their times; `change_id` tells what was had already. Each stream reads for itself, so that a slow
one takes no memory; one look at the store for all of a process tells when there is something to read.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, MutableMapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.responses import StreamingResponse
from starlette.routing import Route

from collector.endpoints.edge import Edge, read_facts
from collector.endpoints.keyed import Refused, find_key, refuse
from collector.endpoints.plain import PlainEndpoint, Receive, Scope, Send
from collector.errors import StoreError
from collector.logs import get_logger
from collector.profiles.states import read_states
from collector.sites.book import ApiKey
from collector.sites.keys import AUDIENCE_READ, is_in_force
from collector.store.client import StoreClient
from collector.store.threads import StoreThreads
from collector.webhooks.deliveries import KINDS, encode_body
from collector.webhooks.following import PAGE, ChangeRow, Follower, Moment, find_withdrawn
from collector.webhooks.progress import read_store_time

PATH = "/v1/stream"
MOST_STREAMS, MOST_OF_KEY = 32, 8
"""Of one process."""
MOST_AUDIENCES = 100
LOOK_S = 0.4
HEARTBEAT_S = 15.0
SEND_S = 60.0
CHECK_S = 0.25
RETRY_MS = 2_000
RETRY_AFTER_S = 5
STORE_PAUSE_S = 2.0
MOST_KNOWN = 50_000
"""Ids that a stream remembers, so that it tells none of them twice."""
MESSAGES = {
    "unauthorized": "Send a key in force: Authorization: Bearer ts_… (tagstitch key create --scope audience:read).",
    "scope": "The key may not do this: it needs scope audience:read, and to be one of the whole space.",
    "unavailable": "The store cannot be reached now; come again later.",
    "rate": f"Too many streams: {MOST_OF_KEY} for a key and {MOST_STREAMS} for all; close one, or come again later.",
    "argument": "The query has `audience` alone, a name such as lamp_lovers; it may come several times.",
    "last_event_id": "Last-Event-ID is none that was given here: leave it out to begin now.",
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_EVENT_ID = re.compile(r"(\d{1,15})-[0-9a-f-]{36}")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold the stream back
    "X-Content-Type-Options": "nosniff",
}


class _Wrong(Exception):
    """A request cannot be understood; its argument is a word of MESSAGES."""


class _Unread(Exception):
    """Whoever listened has not taken what was sent for so long that the place is given to others."""


class _Asked(NamedTuple):
    """What a stream is to tell. `after_ms`: the time of the last event that whoever asks has had; None: from now on."""

    audiences: tuple[str, ...]
    after_ms: int | None


class Pulse:
    """Whether there may be something new, for all streams of a process. Asks while somebody listens."""

    def __init__(self, threads: StoreThreads) -> None:
        self._threads = threads
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.beats = 0

    def enter(self) -> None:
        """Somebody listens."""
        self._listeners += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def leave(self) -> None:
        """They no longer do."""
        self._listeners -= 1
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    async def wait(self, beats: int, seconds: float) -> None:
        """Wait until there have been more beats than that, or for so long."""
        if self.beats == beats:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()

    async def _run(self) -> None:
        follower: Follower | None = None
        while True:
            try:
                if follower is None:
                    follower = Follower(await self._threads.ask(read_store_time))
                    self._beat()  # what came before is nobody's to tell but theirs who begin now
                found = await self._threads.ask(follower.look)
            except Exception as error:
                if not isinstance(error, StoreError):
                    get_logger().exception("streams: something unexpected, it is tried again")
                await asyncio.sleep(STORE_PAUSE_S)
                continue
            for portion in found:
                follower.note(portion)
            if found:
                self._beat()
            await asyncio.sleep(LOOK_S)

    def _beat(self) -> None:
        self.beats += 1
        self._changed.set()
        self._changed = asyncio.Event()


class Streams:
    """The streams of one web process. `note_use`: takes note that a key was used, by its id and the time in ms.
    `is_stopping`: whether the process is about to end."""

    def __init__(
        self,
        edge: Edge,
        threads: StoreThreads,
        note_use: Callable[[str, int], None],
        is_stopping: Callable[[], bool],
        *,
        heartbeat_s: float = HEARTBEAT_S,
        send_s: float = SEND_S,
    ) -> None:
        self._edge = edge
        self._threads = threads
        self._note_use = note_use
        self._is_stopping = is_stopping
        self._heartbeat_s = heartbeat_s
        self._send_s = send_s
        self._open: Counter[str] = Counter()
        self._pulse: Pulse | None = None

    async def receive(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge a request, and tell for as long as it is listened to."""
        facts = read_facts(self._edge, scope)
        if not facts.context.sites.read_at_ms:
            await _refuse(send, 503, "unavailable", RETRY_AFTER_S)
            return
        key = find_key(self._edge, facts, scope, AUDIENCE_READ, is_of_space=True)
        if isinstance(key, Refused):
            await _refuse(send, key.status, key.error, key.retry_after_s)
            return
        try:
            asked = _read(scope)
        except _Wrong as wrong:
            await _refuse(send, 400, str(wrong))
            return
        if self._open.total() >= MOST_STREAMS or self._open[key.key_id] >= MOST_OF_KEY:
            await _refuse(send, 429, "rate", RETRY_AFTER_S)
            return
        self._note_use(key.key_id, facts.context.received_at_ms)
        if scope["method"] == "HEAD":
            await _stream((), scope, receive, send)
            return
        self._pulse = self._pulse or Pulse(self._threads)
        self._open[key.key_id] += 1
        self._pulse.enter()
        try:
            await self._answer(key, asked, self._pulse, (scope, receive, send))
        except _Unread:
            get_logger().info("a stream is ended: nobody reads it", key=key.key_id)
        finally:
            self._pulse.leave()
            self._open[key.key_id] -= 1

    async def _answer(self, key: ApiKey, asked: _Asked, pulse: Pulse, call: tuple[Scope, Receive, Send]) -> None:
        scope, receive, send = call
        try:
            follower = await self._begin(key, asked)
        except StoreError:
            await _refuse(send, 503, "unavailable", RETRY_AFTER_S)
            return

        async def send_in_time(message: MutableMapping[str, Any]) -> None:
            try:
                async with asyncio.timeout(self._send_s):
                    await send(dict(message))
            except TimeoutError:
                raise _Unread from None

        told = self._tell(key, follower, pulse)
        await _stream(told, scope, receive, send_in_time)

    async def _begin(self, key: ApiKey, asked: _Asked) -> Follower:
        """Return where a stream begins. Raises StoreError."""
        now_ms = await self._threads.ask(read_store_time)
        at_ms = now_ms if asked.after_ms is None else min(asked.after_ms, now_ms)
        follower = Follower(at_ms, space_id=key.space_id, audiences=asked.audiences)
        if asked.after_ms is None:
            for portion in await self._threads.ask(follower.look):
                follower.note(portion)
        return follower

    async def _tell(self, key: ApiKey, follower: Follower, pulse: Pulse) -> AsyncGenerator[bytes, None]:
        """Yield what is new until the server stops or the key is no longer in force. Raises nothing: what the store
        does not give now is read later."""
        known: dict[str, None] = {}
        yield b"retry: %d\n\n" % RETRY_MS
        spoke_s = time.monotonic()
        while self._may_go_on(key):
            beats = pulse.beats
            try:
                for portion in await self._threads.ask(follower.look):
                    last: ChangeRow | None = None
                    while True:
                        page = await self._threads.ask(partial(_read_page, follower, portion, last))
                        if text := _write(page.told, known):
                            yield text
                            spoke_s = time.monotonic()
                        if len(page.read) < PAGE or not self._may_go_on(key):
                            break
                        last = page.read[-1]
                    follower.note(portion)
            except StoreError as error:
                get_logger().debug("a stream waits for the store", reason=str(error))
                beats = -1
            while self._may_go_on(key) and pulse.beats == beats and self._has_time(spoke_s):
                await pulse.wait(beats, CHECK_S)
            if beats == -1:
                await asyncio.sleep(CHECK_S)
            if not self._has_time(spoke_s):
                yield b": still here\n\n"
                spoke_s = time.monotonic()
        if self._is_stopping():
            yield b": the server stops, come again\n\n"
        else:
            yield b": the key is no longer in force\n\n"

    def _has_time(self, spoke_s: float) -> bool:
        return time.monotonic() - spoke_s < self._heartbeat_s

    def _may_go_on(self, key: ApiKey) -> bool:
        now = self._edge.site_book().keys.get(key.key_id)
        is_allowed = now is not None and is_in_force(now, self._edge.now_ms()) and AUDIENCE_READ in now.scopes
        return is_allowed and not self._is_stopping()


async def _stream(told: AsyncGenerator[bytes, None] | tuple[()], scope: Scope, receive: Receive, send: Any) -> None:
    """Answer with these messages, as they come."""
    await StreamingResponse(told, media_type="text/event-stream", headers=_HEADERS)(scope, receive, send)


class _Page(NamedTuple):
    """Changes as they were read, and those of them that may be told."""

    read: list[ChangeRow]
    told: list[ChangeRow]


def _read_page(follower: Follower, portion: list[Moment], last: ChangeRow | None, client: StoreClient) -> _Page:
    """Return a page. Of somebody erased or restricted, or who has withdrawn since, only that they left is told. Raises
    StoreError."""
    read = follower.read_page(client, portion, last)
    entered = [change for change in read if change.change != "leave"]
    hidden = read_states(client, read[0].space_id, sorted({one.person_id for one in entered})) if entered else {}
    withdrawn = find_withdrawn(client, [one.entering for one in entered])
    told = [
        one for one in read if one.change == "leave" or (one.person_id not in hidden and one.entering not in withdrawn)
    ]
    return _Page(read, told)


def _write(changes: list[ChangeRow], known: dict[str, None]) -> bytes:
    """Return the messages of changes that are not `known` yet, which they are after that."""
    lines = []
    for change in changes:
        if change.change_id in known:
            continue
        known[change.change_id] = None
        head = f"id: {change.at_ms}-{change.change_id}\nevent: {KINDS[change.change]}\ndata: "
        # The encoder escapes line breaks: a text of the store cannot end the message.
        lines.append(head.encode() + encode_body(change, customer_ids=True) + b"\n\n")
    while len(known) > MOST_KNOWN:
        del known[next(iter(known))]
    return b"".join(lines)


def _read(scope: Scope) -> _Asked:
    """Return what is asked for. Raises _Wrong."""
    try:
        pairs = parse_qsl(
            scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(scope["query_string"]),
            max_num_fields=MOST_AUDIENCES,
        )
    except ValueError:
        raise _Wrong("argument") from None
    if any(name != "audience" or not _NAME.fullmatch(value) for name, value in pairs):
        raise _Wrong("argument")
    last = next((value for name, value in scope["headers"] if name == b"last-event-id"), b"").decode("latin-1")
    found = _EVENT_ID.fullmatch(last)
    if last and not found:
        raise _Wrong("last_event_id")
    return _Asked(tuple(dict.fromkeys(value for _, value in pairs)), int(found[1]) if found else None)


async def _refuse(send: Send, status: int, error: str, retry_after_s: int = 0) -> None:
    word = "argument" if error == "last_event_id" else error
    await refuse(send, status, word, MESSAGES[error], retry_after_s=retry_after_s)


def routes(
    edge: Edge,
    threads: StoreThreads,
    note_use: Callable[[str, int], None],
    is_stopping: Callable[[], bool] = lambda: False,
) -> list[Route]:
    """Return the route."""
    return [Route(PATH, PlainEndpoint(Streams(edge, threads, note_use, is_stopping).receive), methods=["GET"])]
