"""A replay judges what was kept by the sites as they are now, puts it into the spool, and can be repeated."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector import disk
from collector.accept.kept_bodies import make_kept
from collector.accept.kept_bodies_files import DAY_MS, FILE_MS, KeptBodies, list_files
from collector.accept.pipeline import accept
from collector.commands.replay import read_since
from collector.errors import ConfigError
from collector.event import Context, LandingRow
from collector.instance import open_instance
from collector.keyring import open_keyring
from collector.reasons import Reason
from collector.replaying.judgement import judge
from collector.replaying.replay import STORE, Replay, Tally, Wanted, list_reasons
from collector.sites.book import IdentifierKind, Site, SiteBook
from collector.spool.frames import scan_frames
from collector.spool.writer import SpoolWriter
from tests.edge_examples import KEYRING, NOW_MS, ORIGIN, SITE, VISITOR, make_body, make_context, make_event, make_id
from tests.faulty_disk import FaultyOs

LATER_MS = NOW_MS + 2 * FILE_MS
NEW_SITE = Site(site_id="blog", space_id="main", origins=(ORIGIN,), consent="required")
BOOK = SiteBook(sites={"shop": SITE, "blog": NEW_SITE}, read_at_ms=LATER_MS)


@pytest.fixture(autouse=True)
def _do_not_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "os", FaultyOs())


def keep(data: Path, *bodies: dict[str, Any], context: Context | None = None, at_ms: int = NOW_MS) -> None:
    """Refuse these bodies, and write down what may be kept of them."""
    context = context or make_context()
    store = KeptBodies(data, "web-0", KEYRING, keep_days=7, max_bytes=10_000_000, now_ms=lambda: at_ms)
    for body in bodies:
        raw = msgspec.json.encode(body)
        store.note(raw, context, accept(raw, context))
    asyncio.run(store.flush())


def replay(data: Path, book: SiteBook = BOOK, now_ms: int = LATER_MS, **wanted: Any) -> Tally:
    work = Replay(data, KEYRING, book, Wanted(**wanted), now_ms)

    async def run() -> None:
        spool = SpoolWriter(data / "spool/replay")
        try:
            await work.run(spool)
        finally:
            spool.close()

    asyncio.run(run())
    return work.tally


def read_spool(data: Path) -> list[LandingRow]:
    lines = [
        stretch.line
        for path in sorted((data / "spool/replay").glob("*.seg"))
        for stretch in scan_frames(path.read_bytes())
    ]
    return [msgspec.json.decode(line, type=LandingRow) for line in lines if line is not None]


def read_events(data: Path) -> list[str]:
    return [event.event_id for row in read_spool(data) for event in row.events]


def test_a_site_that_was_added_gets_its_events(tmp_path: Path) -> None:
    """Bodies of an unknown site become the rows that they would have become, at the time they were received."""
    keep(tmp_path, *(make_body(make_event(number), s="blog", c="a") for number in range(1, 4)))
    tally = replay(tmp_path)
    assert (tally.bodies, tally.accepted, tally.events, tally.refused) == (3, 3, 3, {})
    rows = read_spool(tmp_path)
    assert [row.events[0].event_id for row in rows] == [make_id(1), make_id(2), make_id(3)]
    (first, *_) = rows
    assert (first.site_id, first.received_at_ms, first.visitor_id) == ("blog", NOW_MS, VISITOR)
    assert (first.browser, first.network, first.consent) == ("Chrome", "203.0.113.0/24", "analytics")
    assert first.rejected == []
    assert list_files(tmp_path) == [], "nothing is left to send"
    assert replay(tmp_path).bodies == 0


def test_what_is_refused_again_stays(tmp_path: Path) -> None:
    """Of a file the accepted bodies go, those of sites that are still not known stay, and are tried again."""
    keep(tmp_path, make_body(make_event(1), s="blog", c="a"), make_body(make_event(2), s="other", c="a"))
    tally = replay(tmp_path)
    assert (tally.accepted, tally.refused) == (1, {"site": 1})
    again = replay(tmp_path)
    assert (again.bodies, again.accepted, again.refused) == (1, 0, {"site": 1})
    assert read_events(tmp_path) == [make_id(1)]
    other = SiteBook(sites={"other": msgspec.structs.replace(NEW_SITE, site_id="other")}, read_at_ms=1)
    assert replay(tmp_path, other).accepted == 1


def test_a_file_that_still_grows_stays_whole(tmp_path: Path) -> None:
    """A web process may be writing it: it is sent, and sent again the next time, as the same rows."""
    keep(tmp_path, make_body(make_event(1), s="blog", c="a"))
    for _ in range(2):
        assert replay(tmp_path, now_ms=NOW_MS + 60_000).accepted == 1
    first, second = read_spool(tmp_path)
    assert first == second
    assert len(list_files(tmp_path)) == 1


def test_a_file_that_is_swept_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web process may remove a file between listing and reading it: it is skipped, and the others are sent."""
    keep(tmp_path, make_body(make_event(1), s="blog", c="a"))
    [gone] = list_files(tmp_path)
    gone.path.rename(tmp_path / "gone")
    keep(tmp_path, make_body(make_event(2), s="blog", c="a"))
    monkeypatch.setattr("collector.replaying.replay.list_files", lambda data: [gone, *list_files(data)])
    tally = replay(tmp_path)
    assert (tally.bodies, tally.accepted) == (1, 1)
    assert read_events(tmp_path) == [make_id(2)]


def test_a_clock_that_was_wrong(tmp_path: Path) -> None:
    """Events refused while the collector's clock was wrong are judged by the clock as it is now."""
    wrong = make_context(received_at_ms=NOW_MS - 400 * DAY_MS)
    keep(tmp_path, make_body(make_event(1)), context=wrong)
    assert replay(tmp_path).events == 1
    (row,) = read_spool(tmp_path)
    assert (row.received_at_ms, row.events[0].time_ms) == (LATER_MS, NOW_MS)


def test_a_kind_that_was_declared(tmp_path: Path) -> None:
    """An identify whose kind was not declared becomes an event with evidence, no stronger than the claim it was."""
    keep(tmp_path, make_body(make_event(1, n="identify", k=[{"k": "card", "v": "12"}])))
    assert replay(tmp_path).refused == {"shape": 1}
    declared = msgspec.structs.replace(SITE, kinds=(*SITE.kinds, IdentifierKind(name="card")))
    assert replay(tmp_path, SiteBook(sites={"shop": declared}, read_at_ms=1)).events == 1
    (row,) = read_spool(tmp_path)
    (evidence,) = row.evidence
    assert (evidence.b_kind, evidence.b_value, evidence.level) == ("card", "12", 1)


def test_consent_is_judged_again(tmp_path: Path) -> None:
    """A site that is switched off meanwhile gets nothing; what was not granted then is not granted now."""
    keep(tmp_path, make_body(make_event(1), s="blog", c="a"))
    off = msgspec.structs.replace(NEW_SITE, tag=False)
    assert replay(tmp_path, SiteBook(sites={"blog": off}, read_at_ms=1)).refused == {"off": 1}
    raw = msgspec.json.encode(make_body(make_event(1), s="blog", c="a"))
    kept = make_kept(raw, make_context(), accept(raw, make_context()))
    assert kept is not None
    denied = msgspec.structs.replace(kept, envelope=msgspec.structs.replace(kept.envelope, consent=""))
    assert judge(denied, BOOK, KEYRING, LATER_MS).refused == {Reason.CONSENT: 1}


def test_what_the_store_refused_goes_as_it_is(tmp_path: Path) -> None:
    """A line in load/refused/ goes into the spool unchanged, and its file is gone then; a damaged one stays."""
    folder = tmp_path / "load/refused"
    folder.mkdir(parents=True)
    row = LandingRow(received_at_ms=NOW_MS, site_id="shop", space_id="main", viewport="1x1")
    (folder / "000000000001-26.json").write_bytes(msgspec.json.encode(row) + b"\n")
    (folder / "000000000002-26.json").write_bytes(b"{torn")
    assert replay(tmp_path, reason="clock").bodies == 0
    tally = replay(tmp_path, reason=STORE)
    assert (tally.accepted, tally.unreadable) == (1, 1)
    assert [kept.viewport for kept in read_spool(tmp_path)] == ["1x1"]
    assert [path.name for path in folder.iterdir()] == ["000000000002-26.json"]


def test_only_what_is_wanted(tmp_path: Path) -> None:
    """By reason, by site, by time; what is left alone stays where it is."""
    keep(tmp_path, make_body(make_event(1), s="blog", c="a"))
    keep(tmp_path, make_body(make_event(2), c="a"), context=make_context(origin="https://new.example"))
    early = make_context(received_at_ms=NOW_MS - DAY_MS)
    keep(tmp_path, make_body(make_event(3, t=NOW_MS - DAY_MS), s="blog", c="a"), context=early)
    assert replay(tmp_path, reason="origin").bodies == 1
    tally = replay(tmp_path, site_id="blog", since_ms=NOW_MS - 1)
    assert (tally.accepted, tally.skipped) == (1, 2)
    assert read_events(tmp_path) == [make_id(1)]
    assert replay(tmp_path).accepted == 1
    assert read_events(tmp_path) == [make_id(1), make_id(3)]


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """The same counts, no spool, every file as it was."""
    keep(tmp_path, make_body(make_event(1), s="blog", c="a"), make_body(make_event(2), s="other", c="a"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    work = Replay(tmp_path, KEYRING, BOOK, Wanted(), LATER_MS)
    sizes: list[int] = []
    work.try_out(sizes.append)
    assert (work.tally.accepted, work.tally.refused) == (1, {"site": 1})
    assert sum(sizes) == work.measure()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("text", "ms"), [("", 0), ("90m", NOW_MS - 5_400_000), ("3d", NOW_MS - 3 * DAY_MS), ("2026-11-18T20:00Z", None)]
)
def test_when_is_said_in_two_ways(text: str, ms: int | None) -> None:
    """So long ago, or a date."""
    assert read_since(text, NOW_MS) == (1_795_032_000_000 if ms is None else ms)


@pytest.mark.parametrize("text", ["yesterday", "3w", "-1d", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigError, match="--since"):
        read_since(text, NOW_MS)


def test_every_reason_has_its_word() -> None:
    """The words that the command offers are reasons, and one for the store."""
    assert set(list_reasons()) == {"clock", "count", "origin", "shape", "signature", "site", "size", "unsigned", STORE}


def _run(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command where no store answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "collector",
                "replay",
                "--data",
                str(data),
                "--set",
                f"engine_port={port}",
                *options,
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=data.parent,
        )


def test_with_the_store_away_the_copy_of_the_sites_counts(tmp_path: Path) -> None:
    """Without one it ends with a sentence, and nothing is changed; with one it says how old that is and goes on."""
    data = tmp_path / "data"
    open_instance(data, lock=False)
    keyring = open_keyring(data / "secrets.json", {})
    nothing = _run(data)
    assert (nothing.returncode, "Traceback" in nothing.stderr) == (1, False)
    assert "does not answer" in nothing.stderr
    now_ms = time.time_ns() // 1_000_000
    store = KeptBodies(data, "web-0", keyring, keep_days=7, max_bytes=1_000_000, now_ms=lambda: now_ms)
    context = make_context(received_at_ms=now_ms, keyring=keyring)
    raw = msgspec.json.encode(make_body(make_event(1, t=now_ms), s="blog", c="a"))
    store.note(raw, context, accept(raw, context))
    asyncio.run(store.flush())
    (data / "web").mkdir()
    book = msgspec.structs.replace(BOOK, read_at_ms=now_ms - 180_000)
    (data / "web/sites.json").write_bytes(msgspec.json.encode(book))
    done = _run(data, "--json")
    assert "as they were 3 minutes ago" in done.stderr
    assert (done.returncode, json.loads(done.stdout)["events"]) == (0, 1)
    assert read_events(data) == [make_id(1)]


def test_a_folder_that_is_no_instance(tmp_path: Path) -> None:
    """It is named, and not made into one."""
    done = _run(tmp_path / "none")
    assert done.returncode == 1
    assert done.stderr.startswith("tagstitch: ")
    assert not (tmp_path / "none").exists()
