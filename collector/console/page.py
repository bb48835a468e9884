"""How a page of ours is made: templates that escape by default, a strict content policy, static files that cache.

Invariants of every page: text is escaped by Jinja2 and never marked safe, except the snippet, which is ours; scripts
run by a nonce that is new on every answer; there are no inline event handlers and no inline styles; nothing comes from
another host; nobody may frame it. A static file has the digest of its content in its address and is kept for a year;
without that digest it is asked for again each time.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC_PATH = "/demo/static"
STATIC_FOLDER = Path(__file__).parent / "static"

POLICY = (
    "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; "
    "script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self'; img-src 'self'; connect-src 'self'"
)


@cache
def digest_static(name: str) -> str:
    """Return the first 12 digits of the digest of a static file's content. Raises FileNotFoundError."""
    return hashlib.sha256((STATIC_FOLDER / name).read_bytes()).hexdigest()[:12]


def find_static(name: str) -> str:
    """Return the address of a static file, with its digest."""
    return f"{STATIC_PATH}/{name}?v={digest_static(name)}"


def make_nonce() -> str:
    """Make the nonce of one answer: 128 bits."""
    return secrets.token_urlsafe(16)


def make_environment() -> Environment:
    """Make the environment of all templates. A name that a template expects and does not get is an error."""
    environment = Environment(
        loader=PackageLoader("collector.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = find_static
    return environment


class Pages:
    """Renders templates into answers with the headers that all our pages carry."""

    def __init__(self) -> None:
        self.environment = make_environment()

    def render(
        self,
        template: str,
        context: dict[str, Any],
        *,
        nonce: str,
        status: int = 200,
        referrer_policy: str = "strict-origin-when-cross-origin",
        cache_control: str = "private, no-cache",
    ) -> HTMLResponse:
        """Render a page.

        `referrer_policy`: never `no-referrer` where the page has forms, or browsers send `Origin: null` with them and
        `is_own_form` refuses.
        """
        text = self.environment.get_template(template).render(nonce=nonce, **context)
        headers = {
            "Content-Security-Policy": POLICY.format(nonce=nonce),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": referrer_policy,
            "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": cache_control,
        }
        return HTMLResponse(text, status_code=status, headers=headers)


def is_own_form(request: Request) -> bool:
    """Tell whether a POST comes from a page of this very origin.

    Browsers say so themselves: by `Sec-Fetch-Site`, or the older ones by `Origin`. A request with neither is refused.
    The host is compared, not the scheme, which a proxy in front may have changed.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin", "")
    return bool(origin) and origin.partition("://")[2] == request.headers.get("host", "")


class CachedFiles(StaticFiles):
    """Static files whose address carries the digest of their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a year of caching where the digest in the query is that of the file."""
        answer = await super().get_response(path, scope)
        asked = Request(scope).query_params.get("v", "")
        fresh = answer.status_code in {200, 304} and asked == digest_static(path)
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if fresh else "no-cache"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer


def static_mount() -> Mount:
    """Return the one mount that serves the static files of all our pages."""
    return Mount(STATIC_PATH, app=CachedFiles(directory=STATIC_FOLDER), name="console-static")
