"""Reading a request of ClickHouse's HTTP interface: who asks, what, with which parameters and settings.

Source: https://clickhouse.com/docs/interfaces/http and ClickHouse `src/Server/HTTPHandler.cpp`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from collector.engine.body import Body
from collector.engine.credentials import read_basic
from collector.engine.errors import BAD_ARGUMENTS, BAD_HTTP, TOO_LARGE, QueryFailed

_MAX_FIELDS = 2000
_NOT_IMPLEMENTED = 48

# Parameters that belong to the interface; every other one is a setting. The last three lines change nothing here.
_INTERFACE = frozenset(
    [
        *("query", "database", "default_format", "session_id", "session_timeout", "session_check", "query_id"),
        *("user", "password", "wait_end_of_query", "enable_http_compression", "compress", "decompress"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms"),
        *("client_protocol_version", "quota_key", "role", "stacktrace", "buffer_size", "replace_running_query"),
        *("add_http_cors_header", "http_zlib_compression_level", "close_session"),
        *("cancel_http_readonly_queries_on_client_close", "http_native_compression_disable_checksumming_on_decompress"),
    ]
)


@dataclass(slots=True)
class Asked:
    """One request, read. `interface` holds the parameters that are no settings."""

    user: str
    password: str
    query: str
    interface: dict[str, str]
    settings: dict[str, str]
    parameters: dict[str, str]
    headers: dict[str, str] = field(default_factory=dict)

    def flag(self, name: str) -> bool:
        """Tell whether a parameter of the interface is switched on."""
        return self.interface.get(name, "0").lower() in ("1", "true", "yes", "on")

    def number(self, name: str, default: int) -> int:
        """Return a whole number of the interface; raise `QueryFailed` 36 for anything else."""
        value = self.interface.get(name, "")
        if not value:
            return default
        if not value.isdecimal() or len(value) > 9:
            raise QueryFailed(BAD_ARGUMENTS, f"{name} must be a whole number.")
        return int(value)


def read_asked(request: Request) -> Asked:
    """Read the URL and the headers. Raise `QueryFailed` 1000 for a query string that cannot be read."""
    try:
        pairs = parse_qsl(
            request.scope["query_string"].decode("latin-1"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except (ValueError, UnicodeDecodeError):
        raise QueryFailed(BAD_HTTP, "The query string cannot be read: UTF-8 and fewer fields, please.") from None
    headers = request.headers
    asked = Asked("default", "", "", {}, {}, {})
    take_fields(asked, pairs)
    user, password = asked.interface.get("user", "default"), asked.interface.get("password", "")
    if basic := read_basic(headers.get("authorization", "")):
        user, password = basic
    elif "x-clickhouse-user" in headers:
        user, password = headers["x-clickhouse-user"], headers.get("x-clickhouse-key", "")
    asked.user, asked.password = user, password
    for header, name in (("x-clickhouse-database", "database"), ("x-clickhouse-format", "default_format")):
        if header in headers:
            asked.interface.setdefault(name, headers[header])
    return asked


def take_fields(asked: Asked, pairs: list[tuple[str, str]]) -> None:
    """Sort fields of the URL or of a form into query, parameters, interface and settings."""
    for name, value in pairs:
        if name == "query":
            asked.query += value
        elif name.startswith("param_"):
            asked.parameters[name.removeprefix("param_")] = value
        elif name in _INTERFACE:
            asked.interface[name] = value
        else:
            asked.settings[name] = value


async def read_body(request: Request, body: Body) -> None:
    """Take the whole body off the wire. Raises `ClientDisconnect` where the client goes away."""
    async for chunk in request.stream():
        if chunk:
            body.feed(chunk)


async def read_form(request: Request, asked: Asked, max_bytes: int) -> None:
    """Read a multipart form into `asked`. Tables that come with a query are not supported (code 48)."""

    async def bounded() -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise QueryFailed(TOO_LARGE, f"The form is larger than {max_bytes} bytes.")
            yield chunk

    try:
        form = await MultiPartParser(
            request.headers,
            bounded(),
            max_fields=_MAX_FIELDS,
            max_part_size=max_bytes,
        ).parse()
    except MultiPartException as error:
        raise QueryFailed(BAD_HTTP, f"The form cannot be read: {error.message}.") from None
    pairs = form.multi_items()
    if any(isinstance(value, UploadFile) for _, value in pairs):
        await form.close()
        raise QueryFailed(
            _NOT_IMPLEMENTED, "The embedded engine takes no external tables with a query.", "NOT_IMPLEMENTED"
        )
    take_fields(asked, [(name, value) for name, value in pairs if isinstance(value, str)])
