"""Fetching an issuer's public keys: discovery document, then key set. Blocking; for a thread of its own.

Only the operator names issuers, so what is asked here is the operator's choice, addresses inside the own network
included. Bounds all the same, because an issuer is another party: HTTPS (plain HTTP on this machine only), no
redirect to another origin, 64 KiB, five seconds for each document.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import IO, Any
from urllib.parse import urlsplit

import msgspec

from collector.errors import IssuerUnavailable
from collector.id_tokens.key_sets import read_key_set
from collector.id_tokens.keys import KeySet, Source

MAX_BYTES = 65_536
TIME_LIMIT_S = 5.0
MAX_REDIRECTS = 3
DISCOVERY_PATH = "/.well-known/openid-configuration"
_LOCAL_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))


class _Discovery(msgspec.Struct):
    """Of the discovery document, what we need."""

    issuer: str
    jwks_uri: str


def fetch_keys(source: Source, now_ms: int) -> KeySet:
    """Ask an issuer for its keys. Raises IssuerUnavailable, with the reason, where none can be had."""
    address = source.jwks_url or _discover(source.issuer)
    document = _get(source.issuer, address)
    try:
        key_set = read_key_set(document, now_ms)
    except ValueError as error:
        raise IssuerUnavailable(source.issuer, f"{address} is no key set") from error
    if not key_set.keys:
        raise IssuerUnavailable(source.issuer, f"{address} has no key that can be used")
    return key_set


def is_fetchable(address: str) -> bool:
    """Whether keys may be asked from there: HTTPS, or HTTP on this machine; no user name, query or fragment."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_local = host in _LOCAL_HOSTS or host.endswith(".localhost")
    is_plain = address.isascii() and address.isprintable() and " " not in address
    if not host or "@" in parts.netloc or parts.fragment or not is_plain:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_local)


def _discover(issuer: str) -> str:
    """Return the address of the keys, as the issuer's discovery document says."""
    document = _get(issuer, issuer.rstrip("/") + DISCOVERY_PATH)
    try:
        found = msgspec.json.decode(document, type=_Discovery)
    except (ValueError, RecursionError) as error:
        raise IssuerUnavailable(issuer, "its discovery document cannot be read") from error
    if found.issuer != issuer:
        raise IssuerUnavailable(issuer, "its discovery document names another issuer: name that one in the settings")
    return found.jwks_uri


def _get(issuer: str, address: str) -> bytes:
    if not is_fetchable(address):
        raise IssuerUnavailable(issuer, "its keys are not at an https address")
    request = urllib.request.Request(address, headers={"Accept": "application/json", "User-Agent": "tagstitch"})  # noqa: S310
    until_s = time.monotonic() + TIME_LIMIT_S
    try:
        with urllib.request.build_opener(_SameOrigin()).open(request, timeout=TIME_LIMIT_S) as answer:
            return _read_bounded(issuer, answer, until_s)
    except urllib.error.HTTPError as error:
        error.close()
        raise IssuerUnavailable(issuer, f"it answers with status {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise IssuerUnavailable(issuer, f"it does not answer ({type(reason).__name__})") from error


def _read_bounded(issuer: str, answer: Any, until_s: float) -> bytes:
    """Read to the end, as long as it is neither too much nor too slow."""
    body = b""
    while part := answer.read1(MAX_BYTES + 1 - len(body)):
        body += part
        if len(body) > MAX_BYTES:
            raise IssuerUnavailable(issuer, f"its answer has more than {MAX_BYTES} bytes")
        if time.monotonic() > until_s:
            raise IssuerUnavailable(issuer, f"its answer takes more than {TIME_LIMIT_S:g} s")
    return body


class _SameOrigin(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to the same scheme, host and port."""

    max_redirections = MAX_REDIRECTS
    max_repeats = 1

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request that follows, or None: the redirect then is an error of its status."""
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)
