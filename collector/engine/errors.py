"""ClickHouse's errors: their codes and names, how they look on the wire, which HTTP status they become.

An error of the engine is always a `QueryFailed`. Its text is what ClickHouse's own server would answer:
`Code: 62. DB::Exception: Syntax error: … (SYNTAX_ERROR) (version 26.9.2.1)`.

Source: ClickHouse `src/Server/HTTP/exceptionCodeToHTTPStatus.cpp` for the status table.
"""

from __future__ import annotations

import re

SYNTAX_ERROR = 62
UNKNOWN_SETTING = 115
BAD_ARGUMENTS = 36
QUERY_WITH_SAME_ID = 216
READONLY = 164
TIMEOUT_EXCEEDED = 159
TOO_MANY_QUERIES = 202
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
QUERY_WAS_CANCELLED = 394
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
TOO_LARGE = 173
UNKNOWN_COMPRESSION = 432
CANNOT_DECOMPRESS = 271
BAD_HTTP = 1000
LOGICAL_ERROR = 49

_NAMES = {
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_SETTING: "UNKNOWN_SETTING",
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    QUERY_WITH_SAME_ID: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    READONLY: "READONLY",
    TIMEOUT_EXCEEDED: "TIMEOUT_EXCEEDED",
    TOO_MANY_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    SESSION_NOT_FOUND: "SESSION_NOT_FOUND",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    QUERY_WAS_CANCELLED: "QUERY_WAS_CANCELLED",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    TOO_LARGE: "CANNOT_ALLOCATE_MEMORY",
    UNKNOWN_COMPRESSION: "UNKNOWN_COMPRESSION_METHOD",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    BAD_HTTP: "POCO_EXCEPTION",
    LOGICAL_ERROR: "LOGICAL_ERROR",
}

_STATUS = {
    **dict.fromkeys((SYNTAX_ERROR, BAD_ARGUMENTS, UNKNOWN_SETTING, UNKNOWN_COMPRESSION, CANNOT_DECOMPRESS), 400),
    **dict.fromkeys((6, 25, 26, 27, 38, 41, 43, 53, 72, 117, 130, 131, 167, 168, 306, 321, 441, 456, 457), 400),
    **dict.fromkeys((46, 47, 60, 79, 81, 482), 404),
    **dict.fromkeys((AUTHENTICATION_FAILED, 192, 193, 194), 403),
    ACCESS_DENIED: 403,
    SESSION_NOT_FOUND: 404,
    SESSION_IS_LOCKED: 500,
    TOO_MANY_QUERIES: 503,
    TOO_LARGE: 413,
    TIMEOUT_EXCEEDED: 408,
    48: 501,
    BAD_HTTP: 400,
}

_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")
_TAIL = re.compile(r"(?: \(([A-Z][A-Z0-9_]+)\))?(?: \(version [^()]*(?:\([^()]*\))?[^()]*\))?\s*$")


class QueryFailed(Exception):
    """A statement that was refused or that failed.

    `code` is ClickHouse's own number, `name` its symbol, `reason` one paragraph without either.
    """

    def __init__(self, code: int, reason: str, name: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.name = name or _NAMES.get(code, "UNKNOWN")

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse's server answers with."""
        return _STATUS.get(self.code, 500)

    def text(self, version: str) -> str:
        """Return the error as ClickHouse's server writes it into a body."""
        return f"Code: {self.code}. DB::Exception: {self.reason} ({self.name}) (version {version})"


def read_error(message: str) -> QueryFailed:
    """Turn the text of an exception that chdb raised into `QueryFailed`; code 0 where it has none.

    chdb wraps some errors in a second one with the same code: only the innermost is kept.
    """
    name = None
    found = None
    while match := _CODE.search(message):
        found = int(match.group(1))
        message = message[match.end() :]
    while True:
        tail = _TAIL.search(message)
        if tail is None or tail.start() == len(message.rstrip()):
            break
        name = tail.group(1) or name
        message = message[: tail.start()]
    return QueryFailed(found or 0, message.strip(), name)
