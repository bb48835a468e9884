"""The spool's files damaged at rest: it always starts, loads all that is whole, and says what was lost, and where.

Segments are made by the real writer and read by the real loader; the store is the folder of the tests, as there are a
thousand rounds. Each line carries its number as `viewport`, so that what arrives can be held against what was written.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from collector import disk
from collector.load.loader import Loader
from collector.load.patience import Patience
from collector.spool.frames import HEADER_BYTES, encode_frame
from collector.spool.writer import SpoolWriter
from tests.chaos.outcome import SEED, chaos_case, count_rounds
from tests.faulty_disk import FaultyOs
from tests.folder_store import FolderStore

pytestmark = pytest.mark.chaos

LINES = 24
PER_SEGMENT = 8


@pytest.fixture(autouse=True)
def _do_not_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "os", FaultyOs())


def make_line(number: int) -> bytes:
    """Return a landing row of some size that shows its number."""
    return json.dumps({"received_at_ms": 1, "viewport": str(number), "events": [{}], "title": "x" * number}).encode()


def write_spool(data: Path) -> list[Path]:
    """Write three segments with the real writer and return them. The third is left open, as by a kill."""
    folder = data / "spool" / "web-0"

    async def work() -> None:
        for first in range(0, LINES, PER_SEGMENT):
            writer = SpoolWriter(folder, segment_age_s=60)
            await asyncio.gather(*[writer.append(make_line(n)) for n in range(first, first + PER_SEGMENT)])
            writer.close()

    asyncio.run(work())
    *sealed, last = sorted(folder.glob("*.seg"))
    return [*sealed, last.rename(last.with_suffix(".open"))]


def load(data: Path) -> tuple[list[int], Loader, list[str]]:
    """Start the loader on the folder, load all that is there, and return numbers, the loader and its log's events."""
    store = FolderStore(data / "store")
    loader = Loader(data / "spool", data / "load", store, Patience(threading.Event()))
    with capture_logs() as logs:
        while loader.step():
            pass
    loader.close()
    assert not [path for path in (data / "spool" / "web-0").iterdir() if path.suffix in (".seg", ".open")]
    for row in store.rows:  # damaged or not: nothing that was never written may come out
        row.pop("batch_host"), row.pop("batch_seq")
        assert json.loads(make_line(int(row["viewport"]))) == row
    return [int(row["viewport"]) for row in store.rows], loader, [str(entry) for entry in logs]


def test_bit_flips(tmp_path: Path) -> None:
    """A flipped bit costs the frame that it is in and no other; the bytes are set aside, counted and named."""
    chance = random.Random(SEED)
    rounds = count_rounds(60, 1000)
    template = tmp_path / "template"
    names = [path.relative_to(template) for path in write_spool(template)]
    ends = [0]
    for number in range(LINES):
        ends.append(ends[-1] + len(encode_frame(make_line(number))))
    with chaos_case("spool: bits flipped", "one bit of a segment, sealed or open", rounds) as outcome:
        lost_lines = 0
        for number in range(rounds):
            data = tmp_path / str(number)
            shutil.copytree(template, data)
            segment = chance.randrange(len(names))
            path = data / names[segment]
            damaged = bytearray(path.read_bytes())
            place = chance.randrange(len(damaged))
            damaged[place] ^= 1 << chance.randrange(8)
            path.write_bytes(damaged)

            loaded, loader, logs = load(data)
            base = ends[segment * PER_SEGMENT]
            hit = next(line for line in range(LINES) if base + place < ends[line + 1])
            lost = sorted(set(range(LINES)) - set(loaded))
            about = f"round {number}: segment {segment}, byte {place}"
            assert sorted(loaded) == sorted(set(loaded)), about
            assert lost in ([], [hit]), about
            within = base + place - ends[hit] - HEADER_BYTES
            # The newline behind a frame carries nothing, and a digit of its header may change from a to A.
            assert lost or within < 0 or base + place == ends[hit + 1] - 1, about
            assert loader.counts.damaged == len(lost), about
            if lost:
                (bad,) = path.parent.glob("*.bad")
                assert bad.read_bytes() == bytes(damaged[ends[hit] - base : ends[hit + 1] - base]), about
                assert path.stem in bad.name
                assert any(path.stem in line for line in logs), about
                lost_lines += 1
            shutil.rmtree(data)
        outcome.found = f"started always; {lost_lines:,} frames lost, each one set aside and named, no other touched"


def test_segment_deleted(tmp_path: Path) -> None:
    """Somebody removes a segment: the others are loaded, in order, and the numbering goes on."""
    with chaos_case("spool: a segment deleted", "each of three segments removed by hand", 3) as outcome:
        for gone in range(3):
            data = tmp_path / str(gone)
            paths = write_spool(data)
            paths[gone].unlink()
            loaded, loader, _ = load(data)
            assert loaded == [n for n in range(LINES) if n // PER_SEGMENT != gone]
            assert loader.counts.damaged == 0
        outcome.found = "started always, the others loaded; not named, as a removed segment looks like a loaded one"


def test_length_of_the_last_frame_damaged(tmp_path: Path) -> None:
    """A last frame whose length reads too long is no torn write, for its end is there: set aside, never cut off."""
    last = write_spool(tmp_path)[-1]
    data = last.read_bytes()
    start = len(data) - len(encode_frame(make_line(LINES - 1)))
    last.write_bytes(data[: start + 8] + b"00001000" + data[start + 16 :])
    loaded, loader, _ = load(tmp_path)
    assert loaded == list(range(LINES - 1))
    assert loader.counts.damaged == 1
    (bad,) = last.parent.glob("*.bad")
    assert bad.read_bytes()[17:] == data[start + 17 :]


def test_tail_of_zeros(tmp_path: Path) -> None:
    """A power cut leaves a file longer than what was written to it, with zeros: they are cut off."""
    sizes = [1, 16, 17, 18, 4096, 1_000_000]
    with chaos_case("spool: tail of zeros", "zeros behind the last frame", len(sizes)) as outcome:
        for size in sizes:
            data = tmp_path / str(size)
            last = write_spool(data)[-1]
            with last.open("ab") as file:
                file.write(bytes(size))
            loaded, loader, logs = load(data)
            assert loaded == list(range(LINES))
            assert loader.counts.damaged == 0
            assert any("torn tail" in line and str(size) in line for line in logs)
        outcome.found = "every whole frame loaded; the tail cut off and named"


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    """The open segment ends anywhere within its last two frames: what is whole is loaded, the rest is cut off."""
    template = tmp_path / "template"
    name = write_spool(template)[-1].relative_to(template)
    sizes = [len(encode_frame(make_line(number))) for number in (LINES - 2, LINES - 1)]
    cuts = range(0, sum(sizes) + 1, 1 if count_rounds(0, 1) else 7)
    with chaos_case("spool: truncated", "the last two frames cut at every byte", len(cuts)) as outcome:
        for cut in cuts:
            data = tmp_path / str(cut)
            shutil.copytree(template, data)
            path = data / name
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size - cut)
            loaded, loader, _ = load(data)
            whole = LINES if cut == 0 else LINES - 1 if cut <= sizes[1] else LINES - 2
            assert loaded == list(range(whole)), f"cut {cut}"
            assert loader.counts.damaged == 0
            shutil.rmtree(data)
        outcome.found = "every whole frame loaded; the torn one cut off and named"
