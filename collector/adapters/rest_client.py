"""Requests to one origin over HTTP, with bounds: the part of the REST adapter that has the network.

It stands on httpcore and not on a whole client on purpose: so there are no redirects, no cookies that one person's
answer leaves for the next one's question, no proxies and no netrc of the environment, and no log line with an address
in it. An answer is read up to its bound, as sent and as unpacked: what is larger is refused unread.
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpcore
import msgspec

from collector import __version__
from collector.adapters.address_guard import AddressGuard
from collector.adapters.rest_connections import Connections
from collector.errors import AdapterError, AdapterReason

_HEADERS = {"accept": "application/json", "accept-encoding": "gzip", "user-agent": f"tagstitch/{__version__}"}
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
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
        self._host = guard.origin.host
        self._url = httpcore.URL(scheme=guard.origin.scheme, host=self._host, port=guard.origin.port, target="/")
        self._headers = {"host": guard.origin.authority, **_HEADERS}
        self._max_bytes = max_bytes
        self._connections = Connections(guard, context)

    async def ask(
        self,
        target: bytes,
        headers: Mapping[str, str],
        deadline_s: float,
        body: bytes | None = None,
        body_type: str = JSON,
    ) -> Answer:
        """Send a GET, or with `body` a POST of it. `target`: path and query, encoded. `headers`: added to ours.

        Raises AdapterError for what is no answer: `timeout`, `unreachable`, `rate` (it says we ask too often), `config`
        (the address may not be reached), `refused` (401, 403), `bad_answer`. 404 and 410 are answers without document.
        """
        url = httpcore.URL(scheme=self._url.scheme, host=self._url.host, port=self._url.port, target=target)
        said = {**self._headers, **headers}
        if body is not None:
            said |= {"content-type": body_type, "content-length": str(len(body))}
        limits = dict.fromkeys(("read", "write"), deadline_s)
        request = httpcore.Request(
            "GET" if body is None else "POST",
            url,
            headers=list(said.items()),
            content=body,
            extensions={"timeout": limits},
        )
        ends_s = asyncio.get_running_loop().time() + deadline_s
        try:
            async with asyncio.timeout_at(ends_s), self._connections.send(request, ends_s) as response:
                return await self._read(response)
        except (TimeoutError, httpcore.TimeoutException):
            raise AdapterError(AdapterReason.TIMEOUT, f"{self._host} does not answer in time") from None
        except (httpcore.NetworkError, httpcore.RemoteProtocolError) as error:
            raise AdapterError(
                AdapterReason.UNREACHABLE, f"{self._host} does not answer: {type(error).__name__}"
            ) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    async def _read(self, response: httpcore.Response) -> Answer:
        status, headers = response.status, _read_headers(response)
        if status in (204, 404, 410):
            return Answer(status, None)
        if status != 200:
            raise _judge_status(status, headers.get("retry-after", ""))
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            raise AdapterError(AdapterReason.BAD_ANSWER, "the answer says that it is no JSON")
        body = await self._read_body(response, headers)
        try:
            return Answer(status, _DECODE(body))
        except (ValueError, RecursionError):
            # Not with the decoder's words: they may quote the answer.
            raise AdapterError(AdapterReason.BAD_ANSWER, "the answer is no JSON") from None

    async def _read_body(self, response: httpcore.Response, headers: dict[str, str]) -> bytes:
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise AdapterError(AdapterReason.BAD_ANSWER, "the answer is packed in a way that was not asked for")
        said = headers.get("content-length", "")
        if said.isdigit() and int(said) > self._max_bytes:
            raise self._make_too_large()
        body = bytearray()
        async for part in response.aiter_stream():
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


def _read_headers(response: httpcore.Response) -> dict[str, str]:
    """Return the headers by name in lower case; one that comes twice is one with a comma."""
    headers: dict[str, str] = {}
    for name, value in response.headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


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
