"""The page /links, for marketers: tag a list, take it back, read what came of each campaign.

An operator lets somebody in with `tagstitch links page` (see `links_page_session`); without a session the page says
how. Everything that the page sends is a JSON line, with a piece of the list behind it where one is meant, so that
nothing of it stands in an address. No other site's page can send it: the cookie stays at home, and browsers say where
a request comes from. Of a list nothing is kept and nothing logged; a minting is recorded once its last piece is done.

The page is there whenever web runs, and costs nothing until it is asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from collector.console.links_page_list import (
    MAX_LIST_BYTES,
    MAX_PIECE_BYTES,
    PREVIEWS,
    ListOptions,
    ListProblem,
    ListState,
    ListTagger,
    TaggedPiece,
)
from collector.console.links_page_results import ask_results, read_asked, write_results
from collector.console.links_page_session import (
    MAX_TEXT_BYTES,
    PATH,
    PageDoor,
    PageSession,
    read_signed,
    write_signed,
)
from collector.console.links_page_store import PageStore
from collector.endpoints.body import Disconnected, Receive, read_body
from collector.endpoints.edge import Edge, read_facts
from collector.endpoints.guard import is_local
from collector.errors import LinkError, StoreError
from collector.links.minting import find_kinds
from collector.logs import get_logger
from collector.reasons import Reason
from collector.sites.book import Site

if TYPE_CHECKING:
    from collector.console.page import Pages

STATIC_PATH = f"{PATH}/static"
STATIC_FILES = frozenset(("console.css", "links.css", "links.js", "tagstitch-mark.svg"))
MAX_OPTIONS_BYTES = 16_384
AT_ONCE = 2
"""How many pieces of lists, and how many questions, one process works on at the same time: beacons come first."""

_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
Handler = Callable[[Request, PageSession], Awaitable[Response]]


class Asked(msgspec.Struct, frozen=True):
    """The first line of what the page sends with a piece. `state`: as the piece before was answered; first: empty."""

    options: ListOptions
    state: str = ""
    is_last: bool = False


class LinksPage:
    """The page, its two lists and its results."""

    def __init__(self, edge: Edge, store: PageStore) -> None:
        self._edge = edge
        self._store = store
        self._door = PageDoor(edge.keyring, edge.config.data_path)
        self._tagging = asyncio.Semaphore(AT_ONCE)
        self._asking = asyncio.Semaphore(AT_ONCE)

    # --- who may ---

    async def open(self, request: Request) -> Response:
        """Exchange the secret of a link for a session."""
        if not _is_own(request):
            return _refuse(403, "origin", "The page itself must ask this.")
        text = await _read_text(request, MAX_TEXT_BYTES)
        now_s = self._edge.now_ms() // 1000
        try:
            opened = None if text is None else await asyncio.to_thread(self._door.open, text, now_s)
        except OSError as error:
            get_logger().error("links page cannot mark a link as used", reason=error.strerror or "unknown")
            return _refuse(503, "disk", "The collector cannot write to its disk just now. Tell whoever runs it.")
        if opened is None:
            return _refuse(403, "link", "This link was used before, or its time is over. Ask for a new one.")
        value, session = opened
        get_logger().info("links page opened", name=session.name, space=session.space_id)
        answer = Response(status_code=204, headers=_NO_STORE)
        self._set_cookie(answer, request, value, session.until_s - now_s)
        return answer

    async def close(self, request: Request, session: PageSession) -> Response:
        """End the session of this browser."""
        answer = Response(status_code=204, headers=_NO_STORE)
        self._set_cookie(answer, request, "", 0)
        return answer

    def protect(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Wrap a handler, so that it answers who has a session, and POSTs of the page itself alone."""

        async def guarded(request: Request) -> Response:
            session = self._find_session(request)
            if session is None:
                return _refuse(403, "session", "The session is over. Ask for a new link to this page.")
            if request.method == "POST" and not _is_own(request):
                return _refuse(403, "origin", "The page itself must ask this.")
            return await handler(request, session)

        return guarded

    def _find_session(self, request: Request) -> PageSession | None:
        value = request.cookies.get(_name_cookie(self._is_secure(request)), "")
        return self._door.find_session(value, self._edge.now_ms() // 1000)

    def _is_secure(self, request: Request) -> bool:
        # Whoever comes by a tunnel to this machine has no HTTPS, whatever the settings say of others.
        return not is_local(request) and read_facts(self._edge, dict(request.scope)).context.secure

    def _set_cookie(self, answer: Response, request: Request, value: str, age_s: int) -> None:
        secure = self._is_secure(request)
        answer.set_cookie(
            _name_cookie(secure), value, max_age=age_s, path=PATH, secure=secure, httponly=True, samesite="strict"
        )

    # --- the page ---

    async def show(self, request: Request) -> Response:
        """Show the page, or without a session how to open it."""
        from collector.console.page import make_nonce

        session = self._find_session(request)
        sites = self._list_sites(session)
        config = self._edge.config
        context = {
            "session": session,
            "sites": [{"id": site.site_id, "origins": site.origins, "hosts": site.link_hosts} for site in sites],
            "kinds": find_kinds(self._edge.site_book(), session.space_id) if session else [],
            "parameter": config.link_parameter,
            "link_base": self._find_link_base(request),
            "is_public": bool(config.public_url),
            "max_bytes": MAX_LIST_BYTES,
            "static": _find_static,
        }
        return _load_pages().render(
            "links.html",
            context,
            nonce=make_nonce(),
            status=200 if session else 403,
            referrer_policy="same-origin",
            cache_control="no-store",
        )

    def _list_sites(self, session: PageSession | None) -> list[Site]:
        sites = self._edge.site_book().sites.values() if session else ()
        mine = [site for site in sites if session and site.space_id == session.space_id and not site.deleted]
        return sorted(mine, key=lambda site: site.site_id)

    def _find_link_base(self, request: Request) -> str:
        base = self._edge.config.public_url or str(request.base_url)
        return f"{base.rstrip('/')}{self._edge.config.link_path.rstrip('/')}/"

    # --- lists ---

    async def preview(self, request: Request, session: PageSession) -> Response:
        """Say what would become of the first rows: with true tokens, which nobody keeps."""
        asked, piece, problem = await _read_asked_piece(request)
        if asked is None:
            return problem
        try:
            tagger = self._make_tagger(request, session, asked.options)
            state = ListState(minting_id="", started_s=self._edge.now_ms() // 1000)
            async with self._tagging:
                shown = await asyncio.to_thread(tagger.tag, piece, state, is_last=asked.is_last, most_rows=PREVIEWS)
        except (ListProblem, LinkError) as error:
            return _explain(error)
        return _answer({"previews": shown.previews})

    async def tag(self, request: Request, session: PageSession) -> Response:
        """Tag a piece of a list. The answer: a JSON line, the tagged rows, the refused rows."""
        asked, piece, problem = await _read_asked_piece(request)
        if asked is None:
            return problem
        purpose = f"list.{session.name}.{hashlib.sha256(msgspec.json.encode(asked.options)).hexdigest()}"
        state = ListState(minting_id=str(uuid.uuid4()), started_s=self._edge.now_ms() // 1000)
        if asked.state:
            known = read_signed(self._edge.keyring, purpose, asked.state, ListState)
            if known is None:
                return _refuse(400, "state", "The list was changed on the way. Begin again.", "list")
            state = known
        if state.taken + len(piece) > MAX_LIST_BYTES:
            return _refuse(413, "size", f"A list may have {MAX_LIST_BYTES // 1_000_000} MB here.", "list")
        try:
            tagger = self._make_tagger(request, session, asked.options)
            async with self._tagging:
                done = await asyncio.to_thread(tagger.tag, piece, state, is_last=asked.is_last)
                is_kept = await asyncio.to_thread(self._keep, tagger, done, state.taken, session, is_last=asked.is_last)
        except (ListProblem, LinkError) as error:
            return _explain(error)
        except StoreError as error:
            get_logger().error("links page cannot record a minting", reason=type(error).__name__)
            told = "What the list says about consent is kept in the store, which is away. Or choose no consent column."
            if asked.options.consent_column < 0:
                told = "The record of the links cannot be written: neither disk nor store takes it."
            return _refuse(503, "record", told, retry=True)
        if asked.is_last:
            get_logger().info("links page tagged a list", name=session.name, made=done.state.made)
        head = {
            "state": write_signed(self._edge.keyring, purpose, done.state),
            "taken": done.state.taken,
            "made": done.state.made,
            "refused": done.state.refused,
            "reasons": done.reasons,
            "tagged_bytes": len(done.tagged),
            "recorded": is_kept,
        }
        body = b"%b\n%b%b" % (msgspec.json.encode(head), done.tagged, done.refused)
        return Response(body, headers={**_NO_STORE, "Content-Type": "application/octet-stream"})

    def _keep(self, tagger: ListTagger, done: TaggedPiece, taken: int, session: PageSession, *, is_last: bool) -> bool:
        """Keep what a piece leaves behind. False: the store is away, and the record waits. Blocks."""
        record = tagger.make_record(done.state, session.actor)
        if done.said and not record.is_test:
            self._store.keep_consent(record, tagger.mailing.identifier_kind, done.said, taken)
        return self._store.keep_record(record) if is_last and record.made else True

    def _make_tagger(self, request: Request, session: PageSession, options: ListOptions) -> ListTagger:
        return ListTagger(
            self._edge.keyring,
            options,
            self._edge.site_book(),
            session.space_id,
            parameter=self._edge.config.link_parameter,
            link_base=self._find_link_base(request),
        )

    # --- results ---

    async def show_results(self, request: Request, session: PageSession) -> Response:
        """Answer campaigns and days as JSON, or the campaigns as a CSV file."""
        asked = read_asked(request.query_params, self._list_sites(session), self._find_today(request, session))
        if asked is None:
            return _refuse(400, "asked", "Choose a site, and at most 400 days, the first before the last.")
        today = self._find_today(request, session)
        try:
            async with self._asking:
                found = await asyncio.to_thread(ask_results, self._store.open_reader, asked, today)
        except StoreError as error:
            get_logger().warning("links page cannot read the store", reason=type(error).__name__)
            return _refuse(503, "store", "The results cannot be read: the store does not answer.", retry=True)
        if not request.url.path.endswith(".csv"):
            return _answer({"first": asked.first, "last": asked.last, **found})
        name = f"links-{asked.site.site_id}-{asked.first}-{asked.last}.csv"
        headers = {**_NO_STORE, "Content-Disposition": f'attachment; filename="{name}"'}
        return Response(write_results(found["campaigns"]), media_type="text/csv", headers=headers)

    def _find_today(self, request: Request, session: PageSession) -> date:
        """Return the day that it is on the site."""
        wanted = request.query_params.get("site")
        zone = next((site.time_zone for site in self._list_sites(session) if site.site_id == wanted), "UTC")
        return datetime.fromtimestamp(self._edge.now_ms() / 1000, UTC).astimezone(ZoneInfo(zone)).date()


def routes(edge: Edge, store: PageStore) -> list[BaseRoute]:
    """Return the routes of the page."""
    page = LinksPage(edge, store)
    return [
        Route(PATH, page.show, methods=["GET"]),
        Route(f"{PATH}/", page.show, methods=["GET"]),
        Route(f"{PATH}/open", page.open, methods=["POST"]),
        Route(f"{PATH}/close", page.protect(page.close), methods=["POST"]),
        Route(f"{PATH}/preview", page.protect(page.preview), methods=["POST"]),
        Route(f"{PATH}/tag", page.protect(page.tag), methods=["POST"]),
        Route(f"{PATH}/results", page.protect(page.show_results), methods=["GET"]),
        Route(f"{PATH}/results.csv", page.protect(page.show_results), methods=["GET"]),
        Route(f"{STATIC_PATH}/{{name}}", _show_static, methods=["GET"]),
    ]


@cache
def _load_pages() -> Pages:
    """Load the templates when the page is first asked for: what makes them costs 4 MB, and most are never asked."""
    from collector.console.page import Pages

    return Pages()


def _find_static(name: str) -> str:
    from collector.console.page import digest_static

    return f"{STATIC_PATH}/{name}?v={digest_static(name)}"


async def _show_static(request: Request) -> Response:
    """Give one of the page's own files: others of the console are none of its visitors' business."""
    from collector.console.page import STATIC_FOLDER, CachedFiles

    name = request.path_params["name"]
    if name not in STATIC_FILES:
        return Response(status_code=404)
    return await CachedFiles(directory=STATIC_FOLDER).get_response(name, request.scope)


async def _read_asked_piece(request: Request) -> tuple[Asked | None, bytes, Response]:
    """Return what the page asks, the piece behind it, and in case of None the answer to give instead."""
    refusal = _refuse(400, "shape", "The collector does not understand the page. Load it anew.")
    body = await _read_bytes(request, MAX_PIECE_BYTES + MAX_OPTIONS_BYTES)
    if body is None:
        return None, b"", _refuse(413, "size", f"A piece of a list may have {MAX_PIECE_BYTES} bytes.", "list")
    head, _, piece = body.partition(b"\n")
    try:
        return msgspec.json.decode(head, type=Asked), piece, refusal
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None, b"", refusal


async def _read_text(request: Request, max_bytes: int) -> str | None:
    body = await _read_bytes(request, max_bytes)
    return body.decode() if body is not None and body.isascii() else None


async def _read_bytes(request: Request, max_bytes: int) -> bytes | None:
    length = request.headers.get("content-length", "")
    said = int(length) if length.isdigit() and len(length) < 16 else -1
    encoding = request.headers.get("content-encoding", "").encode("latin-1")
    try:
        body = await read_body(cast(Receive, request.receive), said, encoding, max_bytes)
    except Disconnected:
        return None
    return None if isinstance(body, Reason) else body


def _is_own(request: Request) -> bool:
    from collector.console.page import is_own_form

    return is_own_form(request)


def _explain(error: ListProblem | LinkError) -> Response:
    if isinstance(error, ListProblem):
        return _refuse(422, "list", str(error), error.field)
    return _refuse(422, error.refusal.value, str(error), error.refusal.value)


def _refuse(status: int, error: str, message: str, field: str = "", *, retry: bool = False) -> Response:
    return _answer({"error": error, "field": field, "message": message, "retry": retry}, status)


def _answer(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, {**_NO_STORE, "Content-Type": "application/json"})


def _name_cookie(secure: bool) -> str:
    return "__Secure-ts_links" if secure else "ts_links"
