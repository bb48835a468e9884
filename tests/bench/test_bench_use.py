"""The benchmark of use: it measures what it says, and its figures are judged. No time is asserted."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.use.__main__ import app
from bench.use.figures import FIGURES, SOURCE_DOWN, find_all
from bench.use.load import Times, ask_steadily


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(0.3)
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", "2")
        if self.path == "/last":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_request_is_sent_once(port: int) -> None:
    """By its number, whatever became of the connection; only good answers have a time."""
    asked = []

    def make_head(number: int) -> str:
        asked.append(number)
        return f"GET /{('ok', 'none', 'last')[number % 3]} HTTP/1.1"

    times = ask_steadily(port, 200, 0.3, make_head)
    assert sorted(asked) == list(range(60))
    assert times.statuses == {200: 40, 404: 20}
    assert len(times.seconds) == 40


def test_who_waits_behind_others_waits_too(port: int) -> None:
    """Where answers cannot keep up the time is that since each was due, and not since it could be sent."""
    times = ask_steadily(port, 400, 0.5, lambda _: "GET /slow HTTP/1.1")
    assert times.find_quantile_ms(0.99) >= times.find_quantile_ms(0.01) + 300


def test_quantiles() -> None:
    """The time within which a share of the answers came."""
    times = Times(seconds=[number / 1000 for number in range(100, 0, -1)])
    assert (times.find_quantile_ms(0.5), times.find_quantile_ms(0.99), times.find_quantile_ms(1)) == (50, 99, 100)
    assert math.isnan(Times().find_quantile_ms(0.5))


def test_figures() -> None:
    """What was not measured is open; a source that hangs is compared with one that answers."""
    found = {
        one.figure: one for one in find_all({"me_p99_source_down_ms": [11, 12, 13], "me_p99_source_up_ms": [10] * 3})
    }
    assert set(found) == set(FIGURES)
    assert found[SOURCE_DOWN].value == pytest.approx(1.2)
    assert sum(one.verdict == "open" for one in found.values()) == 4


@pytest.mark.long
@pytest.mark.engine
def test_a_small_run_measures_everything(tmp_path: Path) -> None:
    """From an empty folder, with real processes; the second size is measured after the first."""
    words = ["--scale", "0.0005", "--runs", "1", "--seconds", "5", "--folder", str(tmp_path)]
    result = CliRunner().invoke(app, [*words, "--json", str(tmp_path / "use.json")])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "use.json").read_text(encoding="utf-8"))
    assert {figure["figure"] for figure in report["figures"] if figure["value"]} == {one.name for one in FIGURES}
