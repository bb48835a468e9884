"""A fake collector behind the proxies under test: it answers everything and remembers what reached it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COOKIE = "__Host-ts_shop=signed; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age=34560000"


@dataclass(frozen=True)
class Seen:
    """One request as the upstream saw it. `target` is the path with its query string; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """The fake collector. `seen` grows by one entry a request."""

    port: int
    seen: list[Seen] = field(default_factory=list)

    def find(self, start: str) -> Seen:
        """Return the first request whose target starts so."""
        return next(seen for seen in self.seen if seen.target.startswith(start))


@contextlib.contextmanager
def running_upstream() -> Iterator[Upstream]:
    """Run the fake collector on a free port of 127.0.0.1 until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65_536  # one packet an answer

        def do_GET(self) -> None:
            self._answer(200, b"script", {"Cache-Control": "public, max-age=600", "Content-Type": "text/javascript"})

        def do_POST(self) -> None:
            self._answer(204, b"", {"Set-Cookie": COOKIE, "X-Tagstitch-Rejected": "blocked"})

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream.seen.append(
                Seen(self.command, self.path, {name.lower(): text for name, text in self.headers.items()}, sent)
            )
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    upstream = Upstream(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
