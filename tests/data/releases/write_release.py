"""Writes the folder of an instance as this program leaves it in the middle of its work, for tests of later versions.

    PYTHONPATH=. python tests/data/releases/write_release.py 0.1.0

Run it once for a release, and keep what it wrote: later programs must be able to start on it. In the archive:

    data/       the instance's folder after kill -9: sealed and open segments of two writers, one with a torn tail, a
                segment that is loaded in part, the journal with a batch whose fate is unknown, copies of the sites
    landed/     what the store was sent, a file for each batch; the last of them is the unsettled one
    facts.json  what must be found in the store in the end, each once

The store itself is not in it: its schema is upgraded by migrations, which have tests of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collector.errors import StoreUnavailable
from collector.load.loader import Loader
from collector.load.patience import Patience, Stopping
from collector.spool.frames import encode_frame, scan_frames
from collector.store.writer import BATCH_SETTINGS_VERSION
from tests.instance_process import start_instance

ORIGIN = "https://shop.example"
BEACONS = 160
BATCH_EVENTS = 30
LANDED = 3
LEFT_OUT = {"engine", "engine-tmp", "run", "lock", "cache"}


class RecordingStore:
    """Takes LANDED batches, then is away. Keeps what it was sent."""

    def __init__(self, folder: Path, stop: threading.Event) -> None:
        self._folder, self._stop = folder, stop
        self.listed: list[dict[str, object]] = []
        self.tokens: list[str] = []

    def check(self) -> None:
        """All is well."""

    def insert(self, body: bytes, token: str) -> None:
        """Keep the batch; the last one has no answer."""
        self.tokens.append(token)
        (self._folder / f"{len(self.tokens)}.jsonl").write_bytes(body)
        if len(self.tokens) > LANDED:
            self._stop.set()
            raise StoreUnavailable("no answer")

    def list_batch(self, row: Mapping[str, object]) -> None:
        """Keep the row of the list."""
        self.listed.append(dict(row))


def make_beacons() -> tuple[list[dict[str, Any]], list[str]]:
    """Return beacons of 40 visitors, every fourth with an identify, and the ids of all events."""
    beacons, ids = [], []
    now_ms = time.time_ns() // 1_000_000
    visitors = [str(uuid.uuid4()) for _ in range(40)]
    for number in range(BEACONS):
        events = [
            {"i": str(uuid.uuid4()), "n": "page_view", "t": now_ms, "p": {"price": number / 4, "name": "Grüße"}},
            {"i": str(uuid.uuid4()), "n": "order", "t": now_ms + 1},
        ]
        if number % 4 == 0:
            key = {"k": "customer", "v": str(4000 + number % 40)}
            events.append({"i": str(uuid.uuid4()), "n": "identify", "t": now_ms + 2, "k": [key]})
        ids += [event["i"] for event in events]
        beacons.append(
            {
                "v": 1,
                "s": "shop",
                "st": now_ms,
                "d": visitors[number % 40],
                "c": "si",
                "x": {"i": visitors[number % 40], "n": 1, "t": now_ms},
                "u": f"{ORIGIN}/p/{number}?utm_source=release",
                "e": events,
            }
        )
    return beacons, ids


def write_release(target: Path) -> None:
    """Make the archive."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data, landed = folder / "data", folder / "landed"
        landed.mkdir()
        options = ("--set", "segment_age_s=3600", "--set", "segment_bytes=65536", "--set", "web_workers=2")
        instance = start_instance(data, folder / "log", *options)
        instance.command("site", "add", "shop", "--origin", ORIGIN)
        instance.command("maintenance", "on")
        beacons, ids = make_beacons()
        deadline = time.monotonic() + 60
        for beacon in [*beacons, {**beacons[0], "d": "no id"}]:
            while instance.post(beacon, {"Origin": ORIGIN, "Connection": "close"})[0] not in (200, 204, 400):
                assert time.monotonic() < deadline, "the site is not known"
                time.sleep(0.2)
        time.sleep(1.5)  # the refusal is written once a second
        _kill_all(instance.process)
        assert instance.process.stdout is not None
        instance.process.stdout.close()
        (data / "load" / "maintenance").unlink()
        (data / "load" / "status.json").unlink(missing_ok=True)

        # Of one writer all is sealed, as its successor would do; the other one's last segment is torn and stays open.
        [(first, *_), (second, *_)] = [sorted((data / "spool" / f"web-{n}").glob("*.open")) for n in (0, 1)]
        first.rename(first.with_name(first.name.removesuffix(".open") + ".seg"))
        with second.open("ab") as file:
            file.write(encode_frame(b'{"never":"acknowledged"}')[:-7])

        segments = [path.read_bytes() for path in (data / "spool").rglob("0*.v*.*")]
        lines = [frame.line for segment in segments for frame in scan_frames(segment) if frame.line is not None]
        evidence = sum(len(json.loads(line).get("evidence", [])) for line in lines)
        refusals = sum(len(json.loads(line).get("rejected", [])) for line in lines)
        assert evidence
        assert refusals

        stop = threading.Event()
        store = RecordingStore(landed, stop)
        (data / "spool" / "web-1").rename(folder / "web-1")  # so that the loader does not adopt it
        loader = Loader(data / "spool", data / "load", store, Patience(stop), batch_events=BATCH_EVENTS)
        with contextlib.suppress(Stopping):
            while loader.step():
                pass
        state = loader._journal.state if loader._journal is not None else None
        loader.close()
        (folder / "web-1").rename(data / "spool" / "web-1")
        assert state is not None
        assert state.manifest is not None
        assert state.offsets
        assert len(store.listed) == LANDED
        facts = {
            "events": ids,
            "refusals": refusals,
            "visitors": 40,
            "evidence": evidence,
            "host": state.host,
            "listed": store.listed,
            "unsettled": store.tokens[LANDED],
            "tokens": store.tokens[: LANDED + 1],
            "settings_version": BATCH_SETTINGS_VERSION,
            "origin": ORIGIN,
        }
        (folder / "facts.json").write_text(json.dumps(facts, indent=1))
        for extra in sorted(landed.iterdir())[LANDED + 1 :]:
            extra.unlink()
        with tarfile.open(target, "w:xz") as archive:
            for path in (data, landed, folder / "facts.json"):
                archive.add(path, path.name, filter=_strip)


def _kill_all(supervisor: subprocess.Popen[bytes]) -> None:
    """kill -9 of every role and of the supervisor, which may start none again."""
    supervisor.send_signal(signal.SIGSTOP)
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
    for pid in map(int, children):
        os.kill(pid, signal.SIGKILL)
    supervisor.kill()
    supervisor.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        time.sleep(0.05)


def _strip(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = member.name.split("/")
    if len(parts) > 1 and parts[0] == "data" and parts[1] in LEFT_OUT:
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    write_release(Path(__file__).parent / f"{sys.argv[1]}.tar.xz")
