"""Who may see the operator's pages: this machine, or whoever holds the operator key.

A request is from this machine when four things hold: its connection comes from a loopback address, it names a
loopback host, no proxy left a mark on it, and it speaks HTTP/1.1. A reverse proxy connects from 127.0.0.1 as well, so
the address alone would open the pages to the world; a page that rebinds its DNS name to 127.0.0.1 does not name a
loopback host; and nginx, where nobody told it otherwise, names us as the host, leaves no mark and speaks HTTP/1.0.

Everybody else shows the key: in the header `X-Tagstitch-Key`, or once as `?key=`, which is exchanged for an HttpOnly
cookie and taken off the address at once. The cookie is a signed time, never the key. Nothing here is logged.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from hmac import compare_digest
from urllib.parse import urlencode

from itsdangerous import BadSignature, TimestampSigner
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from collector.keyring import Keyring

Endpoint = Callable[[Request], Awaitable[Response]]

KEY_HEADER = "X-Tagstitch-Key"
KEY_PARAMETER = "key"
COOKIE_AGE_S = 12 * 3600
PROXY_MARKS = frozenset(("forwarded", "via", "x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "cdn-loop"))
PROXY_MARK_PREFIXES = ("x-forwarded", "x-original-", "x-envoy-", "x-cluster-", "cf-", "fastly-", "x-amz", "x-arr-")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")
REFUSAL = (
    "This page is for the operator of this collector. From another machine, open it with ?key=… once, or send the\n"
    f"header {KEY_HEADER}. The key is `operator_key` in the instance's secrets.\n"
)


def is_local(request: Request) -> bool:
    """Tell whether the request was made on this machine, by nobody in between."""
    if request.client is None or request.scope.get("http_version") == "1.0":
        return False
    if any(name in PROXY_MARKS or name.startswith(PROXY_MARK_PREFIXES) for name in request.headers):
        return False
    # The header as it was sent: an address made from it would be read in more than one way (`a.example#@localhost`).
    host = _HOST.fullmatch(request.headers.get("host", ""))
    return host is not None and _is_loopback(request.client.host) and _is_loopback(host.group(1).strip("[]"))


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


class OperatorGuard:
    """Lets this machine and holders of the operator key through."""

    def __init__(self, keyring: Keyring) -> None:
        self._key = keyring.operator_key.encode()
        self._signer = TimestampSigner(
            keyring.operator_key, salt="tagstitch.operator", key_derivation="hmac", digest_method=hashlib.sha256
        )

    def protect(self, endpoint: Endpoint) -> Endpoint:
        """Wrap an endpoint, so that it answers the operator only and everybody else 403."""

        @wraps(endpoint)
        async def guarded(request: Request) -> Response:
            answer = self.check(request)
            return await endpoint(request) if answer is None else answer

        return guarded

    def check(self, request: Request) -> Response | None:
        """Return None where the request may go on, else the answer to give instead: 403, or 303 with a cookie."""
        key = request.query_params.get(KEY_PARAMETER, "")
        if key and self._is_key(key) and request.method in {"GET", "HEAD"}:
            return self._exchange(request)
        if is_local(request) or self._is_key(request.headers.get(KEY_HEADER, "")) or self._has_cookie(request):
            return None
        return PlainTextResponse(REFUSAL, status_code=403, headers={"Cache-Control": "no-store"})

    def _is_key(self, text: str) -> bool:
        return compare_digest(text.encode(), self._key)

    def _has_cookie(self, request: Request) -> bool:
        value = request.cookies.get(_cookie_name(request), "")
        if not value or len(value) > 256:
            return False
        try:
            return self._signer.unsign(value, max_age=COOKIE_AGE_S) == b"operator"
        except BadSignature:
            return False

    def _exchange(self, request: Request) -> Response:
        rest = [(name, value) for name, value in request.query_params.multi_items() if name != KEY_PARAMETER]
        # The path alone, never what the request says its host is. Two slashes in front would name another host.
        path = "/" + request.url.path.lstrip("/\\")
        answer = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, status_code=303)
        answer.set_cookie(
            _cookie_name(request),
            self._signer.sign("operator").decode(),
            max_age=COOKIE_AGE_S,
            path="/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer


def _cookie_name(request: Request) -> str:
    return "__Host-ts_operator" if request.url.scheme == "https" else "ts_operator"
