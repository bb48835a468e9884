"""`/x/privacy`: what is held about whoever opens it, and what they may do about it. Any site may link or embed it.

    GET   what is held about the browser of the visitor's signed cookie; about the person from level 3 on
    POST  the page's own forms: refuse a purpose, object, take everything along, have something put right, erase,
          have a confirmation link sent, open one

The page has no script, and stands in a sandbox: a script of the site around it can neither read it nor ask for it,
since it is given only to a browser that goes there (Sec-Fetch-Dest). So its forms bring no cookies; what they bring is
a signed word of who the page was shown to (`privacy.page_tokens`). Nothing of it may be kept by anybody on the way.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector.accept.own_answers import BROWSER_SOURCE, GRANTED, PERSON_SOURCE, WITHDRAWN, make_own_answers
from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.cookies import list_browser_forms, list_places, write_cookie_header
from collector.endpoints.edge import Edge, RequestFacts, read_facts
from collector.endpoints.opt_out import find_host
from collector.endpoints.opt_out_text import choose_language
from collector.endpoints.privacy_sitting import find_address, find_path, find_site, find_sitting, find_visitor_key
from collector.errors import SpoolError, StoreError
from collector.event import LandingRow, ReadRow
from collector.logs import get_logger
from collector.profiles.definitions import Definitions, TraitConfig
from collector.purposes import PURPOSE_BY_LETTER, REFUSABLE
from collector.reasons import Reason
from collector.sites.book import Site
from collector.sites.cookies import OPT_OUT, REFUSED

if TYPE_CHECKING:
    from collector.endpoints.privacy_rendering import Page
    from collector.privacy.own_calls import OwnCalls
    from collector.privacy.own_view import OwnView
    from collector.privacy.page_tokens import Sitting

MAX_FORM_BYTES = 8_192
AT_ONCE, MAX_ASKED = 2, 16
"""How many questions of this page run at once in a process, and how many there may be: each reads every table."""
RETRY_AFTER_S = 5
_NAVIGATIONS = ("document", "iframe", "frame")
_T = TypeVar("_T")


class Busy(Exception):
    """Too many ask at once."""


class PrivacyPage:
    """The page of one web process. `traits`: as the configuration declares them."""

    def __init__(self, edge: Edge, traits: Mapping[str, TraitConfig]) -> None:
        self._edge = edge
        self._traits = traits
        self._threads = asyncio.Semaphore(AT_ONCE)
        self._asked = 0
        self._background: set[asyncio.Task[None]] = set()

    async def serve(self, request: Request) -> Response:
        """Answer one look or one form."""
        from collector.endpoints.privacy_rendering import Page

        facts = read_facts(self._edge, dict(request.scope))
        asked = request.query_params.get("language", "")
        page = Page(
            language=asked if asked in ("en", "de") else choose_language(request.headers.get("accept-language", "")),
            path=request.url.path.rpartition("/")[2],
            is_framed=request.headers.get("sec-fetch-dest", "") in ("iframe", "frame"),
        )
        if not facts.context.sites.read_at_ms:
            return page.fail("failed_later", 503, RETRY_AFTER_S)
        wait_s = self._edge.limits.judge_address(facts.context.address)
        if wait_s:
            return page.fail("failed_later", 429, wait_s)
        try:
            if request.method == "POST":
                return await self._take_form(request, facts, page)
            return await self._show(request, facts, page)
        except Busy:
            return page.fail("failed_later", 503, RETRY_AFTER_S)
        except StoreError as error:
            get_logger().warning("a page of one's own data waits", reason=str(error))
            return page.fail("failed_later", 503, RETRY_AFTER_S)

    # --- a look

    async def _show(self, request: Request, facts: RequestFacts, page: Page) -> Response:
        from collector.privacy.page_tokens import Sitting, read_confirmation

        site = find_site(self._edge, request, facts)
        if site is None:
            return page.fail("nobody", 404)
        page.site = site
        if "t" in request.query_params:
            text = request.query_params["t"]
            confirmation = read_confirmation(self._edge.keyring, text, self._edge.config.privacy_link_hours * 3_600)
            if confirmation is None:
                page.complain("failed_link")
            else:
                return page.offer_link(text)
        dest = request.headers.get("sec-fetch-dest", "")
        if dest not in _NAVIGATIONS:
            # A script of the site, or a browser that does not say: what is shown to it could be read by others.
            page.complain("unsafe")
            return self._render(request, page, Sitting(site.site_id), None)
        sitting = find_sitting(self._edge, facts, site)
        return await self._render_held(request, facts, page, sitting)

    async def _render_held(self, request: Request, facts: RequestFacts, page: Page, sitting: Sitting) -> Response:
        calls = self._make_calls(facts, sitting)
        view = await self._ask(lambda: calls.show(sitting))
        await self._note_look(facts, page.site, sitting, view)
        return self._render(request, page, sitting, view)

    def _render(self, request: Request, page: Page, sitting: Sitting, view: OwnView | None) -> Response:
        from collector.privacy.page_tokens import write_sitting

        site = page.site
        declared = Definitions(self._traits, site.space_id).traits
        page.traits = tuple((name, trait.sentence or name) for name, trait in declared.items())
        page.can_send = bool(find_address(self._edge, request, site))
        page.link_hours = self._edge.config.privacy_link_hours
        return page.render(sitting, write_sitting(self._edge.keyring, sitting), view)

    async def _note_look(self, facts: RequestFacts, site: Site, sitting: Sitting, view: OwnView) -> None:
        """Note that a person was shown what is held about them. Nothing is shown that cannot be noted: StoreError."""
        if not sitting.key or not view.person_id:
            return
        look = ReadRow(str(uuid.uuid4()), sitting.key, view.person_id, "person", "privacy", "all", 1, "known")
        row = LandingRow(facts.context.received_at_ms, site.site_id, site.space_id, visitor_proof="none", reads=[look])
        await self._write(row)

    # --- a form

    async def _take_form(self, request: Request, facts: RequestFacts, page: Page) -> Response:
        from collector.privacy.page_tokens import Sitting, read_confirmation, read_sitting

        try:
            receive = cast(Any, request.receive)
            body = await read_body(receive, facts.content_length, facts.content_encoding, MAX_FORM_BYTES)
        except Disconnected:
            return Response(status_code=400)
        form = {} if isinstance(body, Reason) else _read_form(body)
        book = facts.context.sites
        if form.get("action") == "open":
            text = form.get("t", "")
            confirmation = read_confirmation(self._edge.keyring, text, self._edge.config.privacy_link_hours * 3_600)
            site = find_site(self._edge, request, facts)
            if confirmation is None or site is None or site.space_id != confirmation.space_id:
                return page.fail("failed_link", 400)
            page.site = site
            calls = self._make_calls(facts, Sitting(site.site_id))
            key = await self._ask(lambda: calls.open_link(confirmation))
            if not key:
                return page.fail("failed_link", 410)
            return await self._render_held(request, facts, page, Sitting(site.site_id, key=key))
        sitting = read_sitting(self._edge.keyring, form.get("token", ""))
        found = None if sitting is None else book.find_site(sitting.site_id)
        if sitting is None or found is None:
            return page.fail("failed_form", 400)
        page.site = found
        match form.get("action"):
            case "take":
                return await self._take_along(facts, page, sitting)
            case "switch" if form.get("purpose") in REFUSABLE and form.get("answer") in ("refuse", "allow"):
                return await self._switch(request, facts, page, sitting, form["purpose"], form["answer"] == "refuse")
            case "object" | "undo" as action:
                return await self._object(request, facts, page, sitting, is_objecting=action == "object")
            case "erase":
                page.asks_to_erase = True
                return await self._show_again(request, facts, page, sitting)
            case "erase-sure":
                return await self._erase(request, facts, page, sitting)
            case "correct":
                return await self._correct(request, facts, page, sitting, form)
            case "link" | "link-linked" as action:
                return await self._send_link(request, facts, page, sitting, action, form)
            case "keep":
                return await self._show_again(request, facts, page, sitting)
        return page.fail("failed_form", 400)

    async def _show_again(self, request: Request, facts: RequestFacts, page: Page, sitting: Sitting) -> Response:
        calls = self._make_calls(facts, sitting)
        view = await self._ask(lambda: calls.show(sitting))
        return self._render(request, page, sitting, view)

    async def _take_along(self, facts: RequestFacts, page: Page, sitting: Sitting) -> Response:
        from collector.privacy.words import LANGUAGES

        calls = self._make_calls(facts, sitting)
        archive = await self._ask(lambda: calls.take(sitting, LANGUAGES[page.language]))
        return page.hand_over(archive) if archive else page.fail("failed_nothing", 404)

    async def _switch(
        self, request: Request, facts: RequestFacts, page: Page, sitting: Sitting, letter: str, is_refusing: bool
    ) -> Response:
        from collector.privacy.own_view import Whose

        purpose, calls = PURPOSE_BY_LETTER[letter], self._make_calls(facts, sitting)
        view = await self._ask(lambda: calls.show(sitting))
        is_person = view.whose is Whose.PERSON
        source = PERSON_SOURCE if is_person else BROWSER_SOURCE
        keys = {*view.keys, sitting.key} if is_person else {find_visitor_key(self._edge.keyring, page.site, sitting)}
        keys.discard("")
        if keys:
            state = WITHDRAWN if is_refusing else GRANTED
            await self._write(self._make_answers(request, facts, page.site, keys, {purpose}, state, source))
        letters = set(sitting.refused) | {letter} if is_refusing else set(sitting.refused) - {letter}
        sitting = msgspec.structs.replace(sitting, refused="".join(sorted(letters)))
        refused = view.refused | {purpose} if is_refusing else view.refused - {purpose}
        page.tell("done_switch", purpose=purpose, is_refused=is_refusing)
        answer = self._render(request, page, sitting, msgspec.structs.replace(view, refused=refused))
        self._set(request, facts, answer, REFUSED, sitting.refused)
        return answer

    async def _object(
        self, request: Request, facts: RequestFacts, page: Page, sitting: Sitting, *, is_objecting: bool
    ) -> Response:
        site, key = page.site, find_visitor_key(self._edge.keyring, page.site, sitting)
        if is_objecting and key:
            purposes = PURPOSE_BY_LETTER.values()
            await self._write(self._make_answers(request, facts, site, {key}, purposes, WITHDRAWN, BROWSER_SOURCE))
        sitting = msgspec.structs.replace(sitting, is_out=is_objecting)
        page.tell("done_out" if is_objecting else "done_in")
        answer = await self._show_again(request, facts, page, sitting)
        self._set(request, facts, answer, OPT_OUT, "1" if is_objecting else "")
        if is_objecting:
            self._drop_visitor(request, facts, answer, site)
        return answer

    async def _erase(self, request: Request, facts: RequestFacts, page: Page, sitting: Sitting) -> Response:
        calls = self._make_calls(facts, sitting)
        made = await self._ask(lambda: calls.erase(sitting))
        if made is None:
            page.complain("failed_nothing")
            return await self._show_again(request, facts, page, sitting)
        page.tell("done_erase", request=made.request_id, due_at_ms=made.due_at_ms)
        # What is left of it is not shown any more, and the browser is somebody new from now on.
        gone = msgspec.structs.replace(sitting, visitor_id="", key="", linked_key="")
        answer = self._render(request, page, gone, None)
        self._drop_visitor(request, facts, answer, page.site)
        return answer

    async def _correct(
        self, request: Request, facts: RequestFacts, page: Page, sitting: Sitting, form: Mapping[str, str]
    ) -> Response:
        calls, definitions = self._make_calls(facts, sitting), Definitions(self._traits, page.site.space_id)
        trait, value = form.get("trait", ""), form.get("value", "")
        made = await self._ask(lambda: calls.correct(sitting, trait, value, definitions))
        if made is None:
            page.complain("failed_correct")
        else:
            page.tell("done_correct", request=made.request_id, due_at_ms=made.due_at_ms)
        return await self._show_again(request, facts, page, sitting)

    async def _send_link(
        self, request: Request, facts: RequestFacts, page: Page, sitting: Sitting, action: str, form: Mapping[str, str]
    ) -> Response:
        """Answer at once, and the same whoever asks for whomever; look whether there is anybody after that."""
        site, address = page.site, find_address(self._edge, request, page.site)
        kind, value = form.get("kind", ""), form.get("value", "").strip()
        name = f"{kind}={value}" if kind in {one.name for one in site.kinds} and value else ""
        if action == "link-linked":
            name = f"person={sitting.linked_key}" if sitting.linked_key else ""
        if name and address:
            calls = self._make_calls(facts, sitting)
            task = asyncio.create_task(self._ask_for_link(calls, name, address))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
        page.tell("done_link")
        return self._render(request, page, sitting, None)

    async def _ask_for_link(self, calls: OwnCalls, name: str, address: str) -> None:
        try:
            await self._ask(lambda: calls.ask_for_link(name, address))
        except (Busy, StoreError) as error:
            get_logger().warning("a confirmation link could not be asked for", reason=str(error) or "busy")

    # --- what they share

    def _make_calls(self, facts: RequestFacts, sitting: Sitting) -> OwnCalls:
        from collector.privacy.own_calls import OwnCalls

        edge, book = self._edge, facts.context.sites
        site = book.find_site(sitting.site_id)
        return OwnCalls(edge.config, edge.keyring, book, "" if site is None else site.space_id, edge.now_ms)

    def _make_answers(
        self,
        request: Request,
        facts: RequestFacts,
        site: Site,
        keys: set[str],
        purposes: Any,
        state: str,
        source: str,
    ) -> LandingRow:
        return make_own_answers(site, keys, purposes, state, source, request.url.path, facts.context.received_at_ms)

    async def _write(self, row: LandingRow) -> None:
        """Spool a row. Raises StoreError where it cannot be: then nothing is said to be done."""
        try:
            await self._edge.spool.append(msgspec.json.encode(row))
        except SpoolError as error:
            raise StoreError(str(error)) from error

    async def _ask(self, work: Callable[[], _T]) -> _T:
        """Run something in a thread. Raises what it raises, Busy."""
        if self._asked >= MAX_ASKED:
            raise Busy
        self._asked += 1
        try:
            async with self._threads:
                return await asyncio.to_thread(work)
        finally:
            self._asked -= 1

    def _set(self, request: Request, facts: RequestFacts, answer: Response, name: str, value: str) -> None:
        sites = [site for site in facts.context.sites.sites.values() if not site.deleted]
        for form in list_places(name, find_host(self._edge, request), sites):
            answer.headers.append("set-cookie", write_cookie_header(form, value, facts.context.secure, http_only=False))

    def _drop_visitor(self, request: Request, facts: RequestFacts, answer: Response, site: Site) -> None:
        for form in sorted(list_browser_forms(site, find_host(self._edge, request), facts.context.secure)):
            answer.headers.append("set-cookie", write_cookie_header(form, "", facts.context.secure))


def _read_form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=16))
    except (UnicodeDecodeError, ValueError):
        return {}


def routes(edge: Edge, traits: Mapping[str, TraitConfig]) -> list[Route]:
    """Return the route."""
    page = PrivacyPage(edge, traits)
    return [Route(find_path(edge.config), page.serve, methods=["GET", "POST"], name="privacy")]
