"""One connection to the collector: a body goes out, an answer comes back, or there is none.

Keeps its connection between requests and makes a new one when it is gone. Not safe for threads: each has its own.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import ipaddress
import json
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PATH = "/v1/batch"
MAX_ANSWER_BYTES = 4_194_304
COMPRESS_FROM_BYTES = 1_024
MAX_RETRY_AFTER_S = 3_600.0


@dataclass(frozen=True)
class Address:
    """Where the collector is. `path`: what stands before `/v1`, without a slash at the end."""

    host: str
    port: int | None
    path: str
    is_secure: bool


@dataclass(frozen=True)
class Answer:
    """What the collector said. `status` 0: nothing, for the reason in `problem`."""

    status: int
    text: dict[str, Any] = field(default_factory=dict)
    retry_after_s: float = 0.0
    problem: str = ""

    @property
    def is_retryable(self) -> bool:
        """Whether the same bytes may be kept later. A 200 that is none of the collector's says nothing."""
        is_foreign = self.status == 200 and self.text.get("success") is not True
        return self.status in (0, 408, 429) or self.status >= 500 or is_foreign


def read_address(url: str, *, allow_http: bool = False) -> Address:
    """Return where a URL points. Raises ValueError where it is none, or where the key would travel in clear."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url must be the collector's address, such as https://collector.shop.example")
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname):
        raise ValueError("over plain http everybody on the way can read the key: use https, or allow_http=True")
    return Address(parts.hostname, parts.port, parts.path.rstrip("/"), parts.scheme == "https")


class Transport:
    """Sends bodies, one after the other."""

    def __init__(self, address: Address, key: str, *, timeout_s: float, agent: str) -> None:
        """Nothing is connected yet. `timeout_s`: longest wait for the connection and for each part of an answer."""
        self._address = address
        self._timeout_s = timeout_s
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "User-Agent": agent,
        }
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes, path: str = PATH) -> Answer:
        """Send a body of JSON. Never raises: an answer that did not come has status 0."""
        headers = self._headers
        if len(body) >= COMPRESS_FROM_BYTES:
            body, headers = gzip.compress(body, 6, mtime=0), {**headers, "Content-Encoding": "gzip"}
        is_reused = self._connection is not None
        answer = self._exchange(path, body, headers)
        if answer.status == 0 and is_reused:
            answer = self._exchange(path, body, headers)  # a connection that was idle may have been closed meanwhile
        return answer

    def close(self) -> None:
        """Close the connection. The next body opens another."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def _exchange(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.request("POST", self._address.path + path, body, headers)
            response = self._connection.getresponse()
            raw = response.read(MAX_ANSWER_BYTES)
            if response.will_close or not response.isclosed():
                self.close()
            return Answer(response.status, _read_json(raw), _read_seconds(response.getheader("Retry-After")))
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(0, problem=f"{type(error).__name__}: {error}")

    def _connect(self) -> http.client.HTTPConnection:
        address = self._address
        if address.is_secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(address.host, address.port, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(address.host, address.port, timeout=self._timeout_s)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_json(raw: bytes) -> dict[str, Any]:
    try:
        text = json.loads(raw)
    except ValueError:
        return {}
    return text if isinstance(text, dict) else {}


def _read_seconds(text: str | None) -> float:
    """Return what Retry-After asks for; 0 where it asks for nothing that we read (a date is none of ours)."""
    return min(float(text), MAX_RETRY_AFTER_S) if text and text.isascii() and text.isdigit() else 0.0
