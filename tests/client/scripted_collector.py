"""A collector that answers by a script: to see what the client makes of each answer. Real HTTP on a real socket."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CUT = (0, {}, {})
"""In place of an answer: the connection is cut after the body was read."""


class ScriptedCollector:
    """Answers with the script's next entry, and with success when it is at its end."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, Any], dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections = 0
        self.gate = threading.Event()
        self.gate.set()
        self.url = ""

    def calls(self, index: int) -> list[dict[str, Any]]:
        """Return the calls of a body that came."""
        found: list[dict[str, Any]] = json.loads(self.bodies[index])["batch"]
        return found


@contextlib.contextmanager
def scripted_collector(*script: tuple[int, dict[str, Any], dict[str, str]]) -> Iterator[ScriptedCollector]:
    """Run one on a free port. An entry: status, JSON of the answer, headers."""
    state = ScriptedCollector()
    state.script = list(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            state.connections += 1
            super().setup()

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            state.paths.append(self.path)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            state.bodies.append(gzip.decompress(raw) if packed else raw)
            state.gate.wait(20)
            status, text, headers = state.script.pop(0) if state.script else (200, {"success": True}, {})
            if not status:
                self.close_connection = True
                return
            answer = json.dumps(text).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
