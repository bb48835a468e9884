"""A whole instance with two web processes, whose spool lies on a small disk and whose clock we turn: the disk full,
the clock wrong, the same beacon again and again.

The clock is turned in all roles but the engine, which starts with an empty environment (see `turned_clock`). The small
disk is a tmpfs, for which one has to be root.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import email.utils
import os
import signal
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from instance_process import RunningInstance

from collector.instance import open_instance
from tests.chaos.ledger import Ledger, ask_patiently, wait_until_loaded
from tests.chaos.outcome import chaos_case, count_rounds
from tests.chaos.running_chaos import ask, compare, list_pids, running_chaos
from tests.chaos.senders import Connection, Senders, make_beacon

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

DISK_BYTES = 6 * 1024 * 1024
HOUR_MS = 3_600_000
LOOKS = 20


class Clock:
    """The clock of the instance, as many milliseconds off the real one as the file says."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.turn(0)

    @property
    def environ(self) -> dict[str, str]:
        """What the roles must be started with."""
        path = os.pathsep.join([str(Path(__file__).parent / "turned_clock"), os.environ.get("PYTHONPATH", "")])
        return {"PYTHONPATH": path.rstrip(os.pathsep), "CHAOS_CLOCK": str(self.file)}

    def turn(self, by_ms: int, instance: RunningInstance | None = None) -> None:
        """Set it so far off the real time, in one step, and wait until every web process of the instance sees it."""
        draft = self.file.with_suffix(".draft")
        draft.write_text(str(by_ms))
        draft.rename(self.file)
        give_up_at = time.monotonic() + 30
        seen = 0 if instance is not None else LOOKS
        while instance is not None and seen < LOOKS:  # a connection each time: any process may answer
            assert time.monotonic() < give_up_at, "the clock of the web processes does not turn"
            with urllib.request.urlopen(f"{instance.url}/health") as answer:
                told_s = email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp()
            seen = seen + 1 if abs(told_s - time.time() - by_ms / 1000) < 5 else 0


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock") / "offset")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[RunningInstance]:
    folder = tmp_path_factory.mktemp("instance")
    open_instance(folder / "data", lock=False).close()  # a folder with a foreign disk in it would not be taken for new
    with (
        small_disk(folder / "data" / "spool"),
        running_chaos(folder, "--workers", "2", environ={**clock.environ, "TAGSTITCH_MIN_FREE_BYTES": "0"}) as instance,
    ):
        yield instance


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Put a small disk of its own under the folder, where we may."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "chaos", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def send(instance: RunningInstance, body: bytes, times: int = 1) -> list[tuple[int, dict[str, str]]]:
    """Send the same bytes over so many connections at once, again and again where no answer comes."""

    async def send_one() -> tuple[int, dict[str, str]]:
        connection = Connection(instance.config.port)
        give_up_at = time.monotonic() + 30
        try:
            while True:
                try:
                    return await connection.post(body)
                except ConnectionError:
                    assert time.monotonic() < give_up_at, instance.log[-3000:]
                    await asyncio.sleep(0.02)
        finally:
            await connection.close()

    async def send_all() -> list[tuple[int, dict[str, str]]]:
        return list(await asyncio.gather(*[send_one() for _ in range(times)]))

    return asyncio.run(send_all())


def test_disk_full(instance: RunningInstance) -> None:
    """While the spool's disk is full web says 503 and when to come again; then it goes on, without a restart."""
    if os.statvfs(instance.data / "spool").f_blocks * 4096 > 2 * DISK_BYTES:
        pytest.skip("the spool needs a small disk of its own, and only root may mount one")
    ledger = Ledger()
    rounds = count_rounds(1, 10)
    with chaos_case("disk full", f"the spool on a tmpfs of {DISK_BYTES:,} bytes, the loader halted", rounds) as outcome:
        web = list_pids(instance, "web")
        assert len(web) == 2
        [load] = list_pids(instance, "load")
        refused = 0
        for number in range(rounds):
            with Senders(
                ledger, [instance.config.port], connections=6, most_events=10, padding=6000, seed=number
            ) as senders:
                senders.wait_for(len(ledger.acknowledged) + 50)
                os.kill(load, signal.SIGSTOP)
                try:
                    give_up_at = time.monotonic() + 60
                    while senders.answers["503"] < 40:
                        assert time.monotonic() < give_up_at, senders.answers
                        time.sleep(0.02)
                    event = {"i": str(uuid.uuid4()), "n": "page_view", "p": {"text": "z" * 8000}}
                    [(status, headers)] = send(instance, make_beacon(str(uuid.uuid4()), str(uuid.uuid4()), [event]))
                    assert status == 204 or (status == 503 and int(headers["retry-after"]) >= 1)
                finally:
                    os.kill(load, signal.SIGCONT)
                senders.wait_for(len(ledger.acknowledged) + 500)
                refused += senders.answers["503"]
        found = compare(instance, ledger)
        assert list_pids(instance, "web") == web, "web was started again"
        assert list_pids(instance, "load") == [load], "load was started again"
        assert "Traceback" not in instance.log
        outcome.found = f"{found}, {refused:,} answers 503, no restart"


@pytest.mark.long
def test_clocks(instance: RunningInstance, clock: Clock) -> None:
    """Whoever's clock is wrong: `time` is what the tag froze, or the event is refused as `clock`; nothing stalls."""
    visitor, session = str(uuid.uuid4()), str(uuid.uuid4())
    now_ms = time.time_ns() // 1_000_000
    wanted: dict[str, tuple[int, int]] = {}  # event id: time, and how far received_at is off, both in milliseconds
    refused = 0
    injected = "the server an hour forward and back; clients in 1970 and 2099, with and without their offset"
    with chaos_case("clocks", injected) as outcome:
        for server_ms in (HOUR_MS, -HOUR_MS, 0):
            clock.turn(server_ms, instance)
            for client_ms in (now_ms, now_ms + server_ms, 3_600_000, 4_080_000_000_000):
                offset_ms = now_ms + server_ms - client_ms
                for offset in {0, offset_ms}:
                    event = {"i": str(uuid.uuid4()), "n": "page_view", "t": client_ms}
                    body = make_beacon(visitor, session, [event], now_ms=client_ms)
                    body = body.replace(b'"v": 1,', b'"v": 1, "o": %d,' % offset)
                    [(status, headers)] = send(instance, body)
                    assert status in (200, 204), (status, headers)
                    if -7 * 24 * HOUR_MS < client_ms + offset - now_ms - server_ms < 240_000:
                        assert "x-tagstitch-rejected" not in headers
                        wanted[event["i"]] = (client_ms + offset, server_ms)
                    else:
                        assert headers["x-tagstitch-rejected"] == "clock"
                        refused += 1
        assert refused > 5
        wait_until_loaded(instance.data, explain=lambda: instance.log[-3000:])
        rows = ask(
            instance,
            "SELECT toString(event_id) AS id, toUnixTimestamp64Milli(time) AS at,"
            " toUnixTimestamp64Milli(received_at) AS received FROM v_events"
            f" WHERE visitor_id = '{visitor}'",
        )
        assert {row["id"]: row["at"] for row in rows} == {event: at for event, (at, _) in wanted.items()}
        for row in rows:
            assert 0 <= row["received"] - now_ms - wanted[row["id"]][1] < 300_000
        for role in ("web", "load", "stitch"):
            assert f"tagstitch-{role} died" not in instance.log
        outcome.found = f"{len(wanted)} events with the time that the tag froze, {refused} refused as `clock`"


@pytest.mark.long
def test_same_event_again_and_again(instance: RunningInstance, clock: Clock) -> None:
    """A hundred times at once over both web processes, after a restart, an hour later and over midnight: one row."""
    visitor, session = str(uuid.uuid4()), str(uuid.uuid4())
    event = {"i": str(uuid.uuid4()), "n": "identify", "k": [{"k": "customer", "v": "4711"}]}
    body = make_beacon(visitor, session, [event])
    ledger = Ledger()
    ledger.note_sent(visitor, session, [event])
    sent = 0
    injected = "100 at once over two web processes, then after kill -9, an hour later, over midnight"
    with chaos_case("the same event again and again", injected) as outcome:
        offsets = (0, 0, HOUR_MS, 24 * HOUR_MS)
        for number, offset in enumerate(offsets):
            clock.turn(offset, instance)
            if number == 1:
                for pid in list_pids(instance, "web"):
                    os.kill(pid, signal.SIGKILL)
            answers = send(instance, body, 100)
            assert collections.Counter(status in (200, 204) for status, _ in answers) == {True: 100}
            assert not any("x-tagstitch-rejected" in headers for _, headers in answers)
            ledger.note_acknowledged([event])
            sent += len(answers)
            wait_until_loaded(instance.data, explain=lambda: instance.log[-3000:])
        ledger.compare(ask_patiently(lambda question: ask(instance, question)))
        for view, column in (("v_events", "count()"), ("v_sessions", "sum(events)"), ("v_sessions", "count()")):
            [row] = ask(instance, f"SELECT {column} AS n FROM {view} WHERE visitor_id = '{visitor}'")
            assert row["n"] == 1, (view, column, row)
        [row] = ask(
            instance, f"SELECT uniqExact(evidence_id) AS n FROM v_identity_evidence WHERE event_id = '{event['i']}'"
        )
        assert row["n"] == 1
        folders = ask(instance, f"SELECT count() AS n FROM events WHERE event_id = '{event['i']}'")
        assert sum(row["n"] for row in folders) >= 1
        outcome.rounds = sent
        outcome.found = "one row in every view"
        clock.turn(0, instance)
