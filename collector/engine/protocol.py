"""uvicorn's HTTP protocol with one thing more: header lines can be sent while the answer is still being made.

ClickHouse reports progress as repeated `X-ClickHouse-Progress` lines in a head that stays open until the first row
is ready. ASGI has no message for that, so each request finds an `EarlyHead` among its scope's extensions.
"""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

EXTENSION = "tagstitch.early_head"


class EarlyHead:
    """The head of one response, written line by line. Use it instead of `http.response.start`, never with it."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self.is_open = False

    def open(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Send status 200 and the first headers."""
        cycle = self._cycle
        lines = [STATUS_LINE[200]]
        lines += [name + b": " + value + b"\r\n" for name, value in [*cycle.default_headers, *headers]]
        lines.append(b"transfer-encoding: chunked\r\n")
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        self._write(b"".join(lines))
        self.is_open = True

    def add(self, name: bytes, value: bytes) -> None:
        """Send one more header line. `value` must be free of line breaks."""
        if self.is_open:
            self._write(name + b": " + value + b"\r\n")

    def close(self) -> None:
        """End the head; body messages of ASGI follow."""
        self.is_open = False
        self._write(b"\r\n")
        cycle = self._cycle
        cycle.response_started = True
        cycle.chunked_encoding = True
        cycle.waiting_for_100_continue = False

    def _write(self, data: bytes) -> None:
        if not self._cycle.disconnected:
            self._cycle.transport.write(data)


class EngineProtocol(HttpToolsProtocol):
    """`HttpToolsProtocol` that puts an `EarlyHead` into every scope."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        scope = cast("dict[str, Any]", cycle.scope)
        scope.setdefault("extensions", {})[EXTENSION] = EarlyHead(cycle)
        super()._start_asgi_task(cycle, app)
