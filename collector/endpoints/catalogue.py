"""`/x/privacy/catalogue`: what is kept about people, for anybody who wants to know, as a page or as JSON.

`?s=SITE` adds what that site keeps for how long, and which cookies it sets; sites are not listed. A browser gets the
page in its language, everybody else JSON. It names nobody, and is the same for all.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from collector.config import Config
from collector.endpoints.edge import Edge
from collector.endpoints.opt_out import HEADERS, STYLE
from collector.endpoints.opt_out_text import choose_language
from collector.privacy.catalogue import PURPOSES, Category, describe, list_cookies, list_fields
from collector.privacy.catalogue_words import list_languages, read_language
from collector.sites.book import Site

if TYPE_CHECKING:
    from jinja2 import Template

_CACHE = "public, max-age=300"
_VARY = "Accept, Accept-Language"


@cache
def _load_template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("collector.endpoints"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("catalogue.html")


class Catalogue:
    """The endpoint."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def serve(self, request: Request) -> Response:
        """Answer the catalogue."""
        site = self._edge.site_book().find_site(request.query_params.get("s", ""))
        sites = [] if site is None else [site]
        if "text/html" not in request.headers.get("accept", ""):
            body = msgspec.json.encode(describe(sites))
            headers = {"cache-control": _CACHE, "vary": _VARY, "access-control-allow-origin": "*"}
            return Response(body, media_type="application/json", headers=headers)
        asked = request.query_params.get("language", "")
        code = asked if asked in list_languages() else choose_language(request.headers.get("accept-language", ""))
        return HTMLResponse(_render(code, sites), headers={**HEADERS, "Cache-Control": _CACHE, "Vary": _VARY})


def _render(code: str, sites: list[Site]) -> str:
    words = read_language(code)
    return _load_template().render(
        code=code,
        words=words,
        categories=list(Category),
        purposes=PURPOSES,
        fields=list_fields(),
        sites=[(site, list_cookies(site)) for site in sites],
        style=Markup(STYLE),  # noqa: S704  our own file
    )


def find_path(config: Config) -> str:
    """Return the endpoint's path: beside that of the beacon."""
    return f"{config.beacon_path.rpartition('/')[0]}/privacy/catalogue"


def routes(edge: Edge) -> list[Route]:
    """Return the route."""
    return [Route(find_path(edge.config), Catalogue(edge).serve, methods=["GET"])]
