"""How the REST adapter says who it is: a token, name and password, a header, or OAuth2 client credentials.

Secrets come from the environment alone. They stand in headers, and in no message and no log line.

Source: RFC 6750 (bearer), RFC 7617 (basic), RFC 6749, sections 2.3.1 and 4.4 (client credentials).
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote_plus, urlencode

from collector.adapters.rest_client import FORM, RestClient
from collector.errors import AdapterError, AdapterReason

MAX_TOKEN_CHARS = 8_192
DEFAULT_TOKEN_S = 300.0
EARLY_S = 30.0
"""A token is renewed so long before its end, or after nine tenths of its life where that is short."""

_TOKEN = re.compile(r"[\x21-\x7e]+")


class Auth(Protocol):
    """What a request is signed with."""

    async def sign(self, deadline_s: float) -> dict[str, str]:
        """Return headers. Raises AdapterError where they cannot be had in time."""

    def renew(self, used: dict[str, str]) -> bool:
        """Those that were used were not accepted: whether it is worth asking once more with new ones."""

    async def close(self) -> None: ...


class FixedAuth:
    """Headers that do not change; none at all for a source that asks for none."""

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        self._headers = headers or {}

    async def sign(self, deadline_s: float) -> dict[str, str]:
        return self._headers

    def renew(self, used: dict[str, str]) -> bool:
        return False

    async def close(self) -> None:
        pass


def make_basic(user: str, password: str) -> dict[str, str]:
    """Return the header of name and password."""
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")}


def make_bearer(token: str) -> dict[str, str]:
    """Return the header of a token."""
    return {"authorization": f"Bearer {token}"}


class ClientCredentials:
    """Tokens from an issuer of the source's own, each used for as long as it holds. For one event loop."""

    def __init__(
        self,
        client: RestClient,
        target: bytes,
        client_id: str,
        client_secret: str,
        scope: str,
        clock: Callable[[], float],
    ) -> None:
        """`target`: path of the token endpoint; `client` is bound to its origin, and closed with this. `clock`:
        seconds that never go back."""
        self._client = client
        self._target = target
        self._headers = make_basic(quote_plus(client_id), quote_plus(client_secret))
        self._form = urlencode({"grant_type": "client_credentials", **({"scope": scope} if scope else {})}).encode(
            "ascii"
        )
        self._clock = clock
        self._token = ""
        self._until_s = float("-inf")
        self._lock = asyncio.Lock()

    async def sign(self, deadline_s: float) -> dict[str, str]:
        """Return the header with a token that still holds."""
        try:
            async with asyncio.timeout(deadline_s), self._lock:  # the first one asks for all
                if self._clock() >= self._until_s:
                    await self._fetch(deadline_s)
        except TimeoutError:
            raise AdapterError(AdapterReason.TIMEOUT, "no token in time") from None
        return self._make_headers()

    def renew(self, used: dict[str, str]) -> bool:
        """Tokens can be withdrawn before their end. Many may come to know it at once: one new token is enough."""
        if used == self._make_headers():
            self._until_s = float("-inf")
        return True

    async def close(self) -> None:
        await self._client.close()

    def _make_headers(self) -> dict[str, str]:
        return make_bearer(self._token)

    async def _fetch(self, deadline_s: float) -> None:
        answer = await self._client.ask(self._target, self._headers, deadline_s, self._form, FORM)
        document = answer.document if isinstance(answer.document, dict) else {}
        token, life_s = document.get("access_token"), document.get("expires_in", DEFAULT_TOKEN_S)
        if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARS or not _TOKEN.fullmatch(token):
            raise AdapterError(AdapterReason.REFUSED, "the issuer of tokens gave none")
        if str(document.get("token_type", "bearer")).lower() != "bearer":
            raise AdapterError(AdapterReason.REFUSED, "the issuer of tokens gave one of another type than bearer")
        if isinstance(life_s, bool) or not isinstance(life_s, int | float):
            life_s = DEFAULT_TOKEN_S
        self._token = token
        self._until_s = self._clock() + max(0.0, life_s - min(EARLY_S, life_s / 10))
