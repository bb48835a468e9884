"""`/x/opt-out`: the public page on which a visitor objects, and takes the objection back.

The objection is the cookie `_ts_out=1`, for this host and for the domain that a site of this host shares its visitors
in. With it the collector refuses beacons, and the tag is silent. Our visitor cookies, the tag's own among them, go in
the same answer.

No script runs here. A form that another site makes its visitors send is refused by what the browser says of itself
(Sec-Fetch-Site, else Origin); whoever is silent about where the form stands is refused as well.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.cookies import pick_cookies, write_cookie_header
from collector.endpoints.edge import Edge, RequestFacts, read_facts
from collector.endpoints.opt_out_text import TEXTS, OptOutText, choose_language
from collector.endpoints.plain import Receive
from collector.reasons import Reason
from collector.sites.book import Site
from collector.sites.cookies import OPT_OUT, CookieForm, list_cookie_forms, name_tag_cookie
from collector.sites.validate import is_below

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
        host = (urlsplit(self._edge.public_origin).netloc or request.headers.get("host", "")).partition(":")[0].lower()
        sites = [site for site in facts.context.sites.sites.values() if not site.deleted]
        secure = facts.context.secure
        for form in _list_objections(host, sites):
            text_of = write_cookie_header(form, "1" if is_objecting else "", secure, http_only=False)
            response.headers.append("set-cookie", text_of)
        if is_objecting:
            for form in _find_visitor_cookies(request, host, sites, secure):
                response.headers.append("set-cookie", write_cookie_header(form, "", secure))
        return response


def _is_own_form(request: Request, public_origin: str) -> bool:
    fetch_site = request.headers.get("sec-fetch-site")
    if fetch_site is not None:
        return fetch_site == "same-origin"
    origin = request.headers.get("origin", "")
    if public_origin:
        return origin == public_origin
    # The host is compared, not the scheme, which a proxy in front may have changed.
    return bool(origin) and origin.partition("://")[2] == request.headers.get("host", "")


def _list_objections(host: str, sites: Iterable[Site]) -> list[CookieForm]:
    """Return where the objection is kept: on this host, and for each domain that its sites share visitors in."""
    domains = {site.cookie_domain for site in sites if site.cookie_domain and is_below(host, site.cookie_domain)}
    return [CookieForm(OPT_OUT), *(CookieForm(OPT_OUT, domain) for domain in sorted(domains))]


def _find_visitor_cookies(request: Request, host: str, sites: Iterable[Site], secure: bool) -> list[CookieForm]:
    """Return the cookies of ours that came along, in every form that they may have."""
    forms = {form for site in sites for form in (*list_cookie_forms(site, secure), *_list_tag_forms(site))}
    names = frozenset(form.name.encode("latin-1", "replace") for form in forms)
    headers = [value for name, value in request.scope["headers"] if name == b"cookie"]
    sent, _ = pick_cookies(headers, names)
    return sorted(form for form in forms if form.name in sent and (not form.domain or is_below(host, form.domain)))


def _list_tag_forms(site: Site) -> Iterable[CookieForm]:
    name = name_tag_cookie(site)
    return [CookieForm(name), CookieForm(name, site.cookie_domain)] if site.cookie_domain else [CookieForm(name)]


def routes(edge: Edge) -> list[Route]:
    """Return the route of the page."""
    return [Route(edge.config.opt_out_path, OptOut(edge).serve, methods=["GET", "POST"], name="opt-out")]
