"""Requests to one origin over HTTP, with bounds: the part of the REST adapter that has the network.

It is bound to its origin, and connects to addresses that its guard has judged, with the origin's name in the Host
header and in the TLS handshake. httpx's transport is used without its client on purpose: so there are no redirects, no
cookies that one person's answer leaves for the next one's question, no proxies and no netrc of the environment, and no
log line with an address in it.

An answer is read up to its bound, as sent and as unpacked: what is larger is refused unread.
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx
import msgspec

from collector import __version__
from collector.adapters.address_guard import AddressGuard
from collector.errors import AdapterError, AdapterReason

MAX_CONNECTIONS = 16
KEPT_S = 30.0
_HEADERS = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": f"tagstitch/{__version__}"}
_DECODE = msgspec.json.Decoder().decode


class Answer(NamedTuple):
    """An answer. `document`: what was read of its JSON; None where it has none of it."""

    status: int
    document: Any


class RestClient:
    """The connections to one origin, in one event loop."""

    def __init__(self, guard: AddressGuard, max_bytes: int, context: ssl.SSLContext | None = None) -> None:
        """`max_bytes`: of an answer's body, as sent and as unpacked. `context`: whom TLS trusts; None for
        an origin without TLS alone: then there is nobody to trust."""
        self._guard = guard
        self._max_bytes = max_bytes
        self._transport = httpx.AsyncHTTPTransport(
            verify=context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # the latter trusts no certificate at all
            trust_env=False,
            http2=False,
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS, keepalive_expiry=KEPT_S
            ),
        )
        self._best = ""

    async def ask(
        self, target: bytes, headers: Mapping[str, str], deadline_s: float, form: bytes | None = None
    ) -> Answer:
        """Send a GET, or with `form` a POST of it. `target`: path and query, encoded. `headers`: added to ours.

        Raises AdapterError for what is no answer: `timeout`, `unreachable`, `rate` (it says we ask too often), `config`
        (the address may not be reached), `refused` (401, 403), `bad_answer`. 404 and 410 are answers without document.
        """
        try:
            async with asyncio.timeout(deadline_s):
                return await self._ask(target, {**_HEADERS, **headers}, deadline_s, form)
        except (TimeoutError, httpx.TimeoutException):
            raise AdapterError(AdapterReason.TIMEOUT, f"{self._guard.origin.host} does not answer in time") from None
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise AdapterError(
                AdapterReason.UNREACHABLE, f"{self._guard.origin.host} does not answer: {type(error).__name__}"
            ) from None
        except httpx.HTTPError as error:
            raise AdapterError(
                AdapterReason.BAD_ANSWER, f"{self._guard.origin.host} cannot be asked: {type(error).__name__}"
            ) from None

    async def close(self) -> None:
        """Close all connections."""
        self._guard.close()
        await self._transport.aclose()

    async def _ask(self, target: bytes, headers: dict[str, str], deadline_s: float, form: bytes | None) -> Answer:
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + deadline_s
        addresses = sorted(await self._guard.find_addresses(), key=lambda address: address != self._best)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            # A machine that is gone takes its share of the time alone.
            connect_s = max((ends_s - loop.time()) / left, 0.001)
            request = self._make_request(address, target, headers, connect_s, deadline_s, form)
            try:
                response = await self._transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                # Nothing has been sent yet. The next one was judged together with this one.
                if left == 1:
                    raise
                continue
            self._best = address
            try:
                return await self._read(response)
            finally:
                await response.aclose()
        raise AdapterError(AdapterReason.UNREACHABLE, "no address")  # pragma: no cover: the guard gives one at least

    def _make_request(
        self,
        address: str,
        target: bytes,
        headers: dict[str, str],
        connect_s: float,
        deadline_s: float,
        form: bytes | None,
    ) -> httpx.Request:
        origin = self._guard.origin
        if form is not None:
            headers = {**headers, "content-type": "application/x-www-form-urlencoded"}
        return httpx.Request(
            "GET" if form is None else "POST",
            httpx.URL(scheme=origin.scheme, host=address, port=origin.port, path="/"),
            headers={**headers, "host": origin.authority},
            content=form,
            extensions={
                "target": target,
                "sni_hostname": origin.host,
                "timeout": {"connect": connect_s, "read": deadline_s, "write": deadline_s, "pool": deadline_s},
            },
        )

    async def _read(self, response: httpx.Response) -> Answer:
        status = response.status_code
        if status in (204, 404, 410):
            return Answer(status, None)
        if status != 200:
            raise _judge_status(status, response.headers.get("retry-after", ""))
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            raise AdapterError(AdapterReason.BAD_ANSWER, "the answer says that it is no JSON")
        body = await self._read_body(response)
        try:
            return Answer(status, _DECODE(body))
        except (ValueError, RecursionError):
            # Not with the decoder's words: they may quote the answer.
            raise AdapterError(AdapterReason.BAD_ANSWER, "the answer is no JSON") from None

    async def _read_body(self, response: httpx.Response) -> bytes:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise AdapterError(AdapterReason.BAD_ANSWER, "the answer is packed in a way that was not asked for")
        said = response.headers.get("content-length", "")
        if said.isdigit() and int(said) > self._max_bytes:
            raise self._make_too_large()
        body = bytearray()
        async for part in response.aiter_raw():
            body += part
            if len(body) > self._max_bytes:
                raise self._make_too_large()
        return self._unpack(bytes(body)) if encoding == "gzip" else bytes(body)

    def _unpack(self, packed: bytes) -> bytes:
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            body = unpacker.decompress(packed, self._max_bytes + 1)
        except zlib.error:
            raise AdapterError(AdapterReason.BAD_ANSWER, "the answer is no gzip") from None
        if len(body) > self._max_bytes:
            raise self._make_too_large()
        if not unpacker.eof or unpacker.unused_data:
            raise AdapterError(AdapterReason.BAD_ANSWER, "the answer is not one whole gzip stream")
        return body

    def _make_too_large(self) -> AdapterError:
        return AdapterError(
            AdapterReason.BAD_ANSWER, f"the answer is larger than {self._max_bytes} bytes: see max_bytes"
        )


def _judge_status(status: int, retry_after: str) -> AdapterError:
    if status == 429 or (status == 503 and retry_after):
        return AdapterError(AdapterReason.RATE, f"status {status}", retry_after_s=_read_retry_after(retry_after))
    if status in (401, 403, 407):
        return AdapterError(AdapterReason.REFUSED, f"status {status}: what stands in `auth` is not accepted")
    if 300 <= status < 400:
        return AdapterError(
            AdapterReason.BAD_ANSWER, f"status {status}: redirects are not followed, name the last address"
        )
    if status in (502, 503):
        return AdapterError(AdapterReason.UNREACHABLE, f"status {status}")
    if status in (408, 504):
        return AdapterError(AdapterReason.TIMEOUT, f"status {status}")
    return AdapterError(AdapterReason.BAD_ANSWER, f"status {status}")


def _read_retry_after(text: str) -> float:
    """Return seconds; 0 where it does not say."""
    if text.strip().isascii() and text.strip().isdigit():
        return float(text.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
