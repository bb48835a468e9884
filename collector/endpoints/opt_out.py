"""`/x/opt-out`: the public page on which a visitor objects, and takes the objection back.

The objection is the cookie `_ts_out=1`, for this host and for the domain that a site of this host shares its visitors
in. With it the collector refuses beacons, and the tag is silent. Our visitor cookies, the tag's own among them, go in
the same answer.

No script runs here. A form that another site makes its visitors send is refused by what the browser says of itself
(Sec-Fetch-Site, else Origin); whoever is silent about where the form stands is refused as well.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import msgspec
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from collector.accept.own_answers import BROWSER_SOURCE, WITHDRAWN, make_own_answers
from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.cookies import list_browser_forms, list_places, pick_cookies, write_cookie_header
from collector.endpoints.edge import Edge, RequestFacts, read_facts, read_visitor_cookie
from collector.endpoints.opt_out_text import TEXTS, OptOutText, choose_language
from collector.endpoints.plain import Receive
from collector.endpoints.privacy_sitting import find_path
from collector.errors import SpoolError
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.purposes import ASKED
from collector.reasons import Reason
from collector.sites.book import Site
from collector.sites.cookies import OPT_OUT, CookieForm

if TYPE_CHECKING:
    from jinja2 import Template

MAX_FORM_BYTES = 256

STYLE = (Path(__file__).parent / "templates" / "opt_out.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "frame-ancestors 'self'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Robots-Tag": "noindex",
    # Not `no-referrer`: browsers would send `Origin: null` with the form.
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Language, Cookie",
}


@cache
def _load_template() -> Template:
    """Load the page when it is first asked for: what makes it costs 4 MB, and many collectors are never asked."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("collector.endpoints"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("opt_out.html")


class OptOut:
    """The page."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def serve(self, request: Request) -> Response:
        """Show the page, or take the answer and show it again."""
        facts = read_facts(self._edge, dict(request.scope))
        language = choose_language(request.headers.get("accept-language", ""))
        if request.method == "POST":
            return await self._take_answer(request, facts, TEXTS[language])
        text = _load_template().render(
            language=language,
            text=TEXTS[language],
            is_out=facts.context.cookies.get(OPT_OUT) == "1",
            own_data_path=find_path(self._edge.config),
            style=Markup(STYLE),  # noqa: S704  our own file
        )
        return HTMLResponse(text, headers=HEADERS)

    async def _take_answer(self, request: Request, facts: RequestFacts, text: OptOutText) -> Response:
        if not _is_own_form(request, self._edge.public_origin):
            return PlainTextResponse(text.refused, status_code=403, headers=HEADERS)
        try:
            receive = cast(Receive, request.receive)
            body = await read_body(receive, facts.content_length, facts.content_encoding, MAX_FORM_BYTES)
        except Disconnected:
            return Response(status_code=400)
        answers = set() if isinstance(body, Reason) else set(body.split(b"&"))
        if not answers & {b"answer=object", b"answer=undo"}:
            return PlainTextResponse(text.refused, status_code=400, headers=HEADERS)
        is_objecting = b"answer=object" in answers
        # The last part alone, so that it holds under whatever path a proxy shows us.
        response = Response(status_code=303, headers={**HEADERS, "Location": request.url.path.rpartition("/")[2]})
        host = find_host(self._edge, request)
        sites = [site for site in facts.context.sites.sites.values() if not site.deleted]
        secure = facts.context.secure
        for form in list_places(OPT_OUT, host, sites):
            text_of = write_cookie_header(form, "1" if is_objecting else "", secure, http_only=False)
            response.headers.append("set-cookie", text_of)
        if is_objecting:
            await self._note_objection(request, facts, sites)
            for form in _find_visitor_cookies(request, host, sites, secure):
                response.headers.append("set-cookie", write_cookie_header(form, "", secure))
        return response

    async def _note_objection(self, request: Request, facts: RequestFacts, sites: Iterable[Site]) -> None:
        """Write into the ledger that the visitors of the cookies that came along have taken everything back. The
        objection counts whether that can be written or not."""
        context = facts.context
        for site in sites:
            cookie = read_visitor_cookie(self._edge, site, facts)
            if cookie is None:
                continue
            key = own_person_id(self._edge.keyring.pseudonym_key, site.space_id, VISITOR_KIND, cookie.visitor_id)
            page = str(request.url.path)
            row = make_own_answers(site, [key], ASKED, WITHDRAWN, BROWSER_SOURCE, page, context.received_at_ms)
            with contextlib.suppress(SpoolError):
                await self._edge.spool.append(msgspec.json.encode(row))


def find_host(edge: Edge, request: Request) -> str:
    """Return the host that a page is asked from, without its port."""
    return (urlsplit(edge.public_origin).netloc or request.headers.get("host", "")).partition(":")[0].lower()


def _is_own_form(request: Request, public_origin: str) -> bool:
    fetch_site = request.headers.get("sec-fetch-site")
    if fetch_site is not None:
        return fetch_site == "same-origin"
    origin = request.headers.get("origin", "")
    if public_origin:
        return origin == public_origin
    # The host is compared, not the scheme, which a proxy in front may have changed.
    return bool(origin) and origin.partition("://")[2] == request.headers.get("host", "")


def _find_visitor_cookies(request: Request, host: str, sites: Iterable[Site], secure: bool) -> list[CookieForm]:
    """Return the cookies of ours that came along, in every form that they may have."""
    forms = {form for site in sites for form in list_browser_forms(site, host, secure)}
    names = frozenset(form.name.encode("latin-1", "replace") for form in forms)
    headers = [value for name, value in request.scope["headers"] if name == b"cookie"]
    sent, _ = pick_cookies(headers, names)
    return sorted(form for form in forms if form.name in sent)


def routes(edge: Edge) -> list[Route]:
    """Return the route of the page."""
    return [Route(edge.config.opt_out_path, OptOut(edge).serve, methods=["GET", "POST"], name="opt-out")]
