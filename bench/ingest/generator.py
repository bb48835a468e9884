"""The generator of load: wrk on a core of its own, with distinct beacons and event ids that never repeat.

Everybody who is measured gets the same bytes. A request that is not answered 2xx spoils the run and is said.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import msgspec

from bench.ingest.traffic import Request

SCRIPT = Path(__file__).with_name("generator.lua")
PATH = "/x/b"
_seeds = count(1)


class GeneratorError(Exception):
    """wrk is missing, or it did not run. `str(error)` is one line for the person at the terminal."""


class Shot(msgspec.Struct, frozen=True):
    """What one run of wrk saw. Times in microseconds; `refused`: answers that were no 2xx, `broken`: no answer."""

    requests: int
    duration_us: int
    p50_us: int
    p90_us: int
    p99_us: int
    most_us: int
    refused: int
    broken: int

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.requests * 1e6 / self.duration_us

    @property
    def is_clean(self) -> bool:
        """Whether every request was taken."""
        return not self.refused and not self.broken


@dataclass(frozen=True, slots=True)
class Ammunition:
    """A file of requests for wrk, and how many events each carries (mean)."""

    path: Path
    requests: int
    events_each: float


def write_requests(path: Path, requests: Iterable[Request]) -> Ammunition:
    """Write the requests as the script reads them. They are for any host: wrk names none in a raw request."""
    number = events = 0
    with path.open("wb") as file:
        for request in requests:
            file.write(encode_request(request))
            number += 1
            events += len(request.event_ids)
    return Ammunition(path, number, events / number)


def encode_request(request: Request) -> bytes:
    """Return one request in HTTP, byte 1 where an event id goes and byte 0 at its end.

    The client's address stands in a header, as behind a proxy: else all would come from one.
    """
    body = request.body
    for event_id in request.event_ids:
        body = body.replace(event_id.encode(), b"\1")
    head = [
        f"POST {PATH} HTTP/1.1",
        "Host: shop.example",
        "Origin: https://shop.example",
        "Content-Type: text/plain;charset=UTF-8",
        f"User-Agent: {request.agent}",
        "Accept: */*",
        "Accept-Language: de-DE,de;q=0.9,en;q=0.8",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Referer: https://shop.example/",
        "Sec-Fetch-Dest: empty",
        "Sec-Fetch-Mode: no-cors",
        "Sec-Fetch-Site: same-origin",
        f"X-Forwarded-For: {request.address}",
        f"Content-Length: {len(request.body)}",
    ]
    if request.cookie:
        head.append(f"Cookie: _consent=yes; {request.cookie}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body + b"\0"


def run_wrk(
    port: int, ammunition: Ammunition, *, connections: int, seconds: float, core: int, per_s: float = 0.0
) -> Shot:
    """Send for so many seconds and say what came back. `per_s`: so many requests a second; 0: as many as are taken.

    Raises GeneratorError.
    """
    if shutil.which("wrk") is None:
        raise GeneratorError("wrk is missing: sudo apt-get install wrk")
    mean_ms = connections * 1000 / per_s if per_s else 0.0
    command = ["taskset", "-c", str(core), "wrk", "-t", "1", "-c", str(connections), "-d", f"{round(seconds)}s"]
    command += ["--timeout", "10s", "-s", str(SCRIPT), f"http://127.0.0.1:{port}{PATH}"]
    command += ["--", str(ammunition.path), str(next(_seeds) + 1000 * (id(command) % 997)), f"{mean_ms:.3f}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode != 0 or not last.startswith("{"):
        raise GeneratorError(f"wrk did not run: {(done.stderr or done.stdout).strip()[-300:]}")
    return msgspec.convert(json.loads(last), Shot)
