"""Spools with random lines and random damage: what was acknowledged and not hit comes back, in order and once."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from collector.load.loader import Loader
from collector.load.patience import Patience
from collector.spool.frames import HEADER_BYTES, scan_frames
from collector.spool.segments import list_segments
from collector.spool.writer import SpoolWriter
from tests.folder_store import FolderStore

SMALL = 600
EXAMPLES = int(os.environ.get("TAGSTITCH_TEST_EXAMPLES", "30"))


class Flip(NamedTuple):
    """One bit of one segment; all numbers are taken modulo what there is."""

    segment: int
    byte: int
    bit: int


texts = st.text(max_size=60) | st.sampled_from(["\n", "}\n{", "00000000 00000007 {}\n", "\x00" * 20, "é" * 30])
flips = st.lists(st.builds(Flip, st.integers(0, 50), st.integers(0, 5_000), st.integers(0, 7)), max_size=6)


def _write(folder: Path, lines: list[bytes]) -> None:
    """Have the real writer acknowledge every line, over several segments."""

    async def work() -> None:
        writer = SpoolWriter(folder, segment_bytes=SMALL, segment_age_s=600, durability="os")
        for line in lines:
            await writer.append(line)
        writer.close()

    asyncio.run(work())


def _find_frames(folder: Path) -> dict[Path, list[tuple[int, int, bytes]]]:
    """Return where each line stands: start, end and the line, by segment."""
    return {
        path: [(s.start, s.end, s.line) for s in scan_frames(path.read_bytes()) if s.line is not None]
        for path in list_segments(folder, is_open=False)
    }


def _load(data: Path) -> list[str]:
    """Have the real loader bring everything into a store, and return the numbers of the rows in order."""
    store = FolderStore(data / "store")
    loader = Loader(data / "spool", data / "load", store, Patience(threading.Event()), batch_events=5)
    while loader.step():
        pass
    loader.close()
    return [row["viewport"] for row in store.rows]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(texts, min_size=1, max_size=24), flips, st.integers(0, 400), st.booleans(), st.integers(0, 64))
def test_what_was_not_hit_comes_back(said: list[str], hits: list[Flip], cut: int, is_crash: bool, zeros: int) -> None:
    """Bits flip anywhere, the last segment is cut off or ends in zeros, and may never have been sealed."""
    lines = [
        msgspec.json.encode(
            {"received_at_ms": 1, "site_id": text, "space_id": "m", "viewport": str(number), "events": [{}]}
        )
        for number, text in enumerate(said)
    ]
    with tempfile.TemporaryDirectory() as name, capture_logs():
        data = Path(name)
        folder = data / "spool" / "web-0"
        _write(folder, lines)
        frames = _find_frames(folder)
        paths = sorted(frames)
        assert [line for path in paths for _, _, line in frames[path]] == lines

        written = {path: path.read_bytes() for path in paths}
        for hit in hits:
            path = paths[hit.segment % len(paths)]
            contents = bytearray(path.read_bytes())
            contents[hit.byte % len(contents)] ^= 1 << hit.bit
            path.write_bytes(contents)
        last = paths[-1]
        contents = bytearray(last.read_bytes())
        last.write_bytes(contents[: max(0, len(contents) - cut)] + bytes(zeros))
        damaged = {path: path.read_bytes() for path in paths}
        places = [(path, start, end, line) for path in paths for start, end, line in frames[path]]
        untouched = {line for path, start, end, line in places if damaged[path][start:end] == written[path][start:end]}
        # What is hit in its head or newline alone may still prove itself by its checksum; a line that is hit never may.
        readable = {line for path, start, end, line in places if damaged[path][start:end].find(line) == HEADER_BYTES}
        if is_crash:
            last.rename(last.with_name(f"{last.name.partition('-')[0]}-00000000.v1.open"))

        found = _load(data)
        came = [lines[int(number)] for number in found]
        assert found == sorted(set(found), key=int), "in order, and once"
        assert untouched <= set(came) <= readable
        assert _load(data) == found, "a second loader brings nothing twice"
