"""kill -9 of each role in the middle of a stream of beacons: what got its 204 is there, exactly once."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from pathlib import Path

import pytest
from instance_process import RunningInstance, running_instance

from collector.errors import StoreError

pytestmark = pytest.mark.chaos

ROLES = ("web", "load", "stitch", "engine")


class Stream:
    """Sends beacons one after another, as an impatient client: a beacon without an answer is sent again."""

    def __init__(self, instance: RunningInstance) -> None:
        self._instance = instance
        self._stop = threading.Event()
        self.acknowledged: list[str] = []
        self.visitor = str(uuid.uuid4())
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            event_id = str(uuid.uuid4())
            body = {
                "v": 1,
                "s": "demo",
                "st": time.time_ns() // 1_000_000,
                "d": self.visitor,
                "c": "si",
                "u": f"{self._instance.url}/demo/chaos",
                "e": [{"i": event_id, "n": "page_view", "t": time.time_ns() // 1_000_000}],
            }
            while not self._stop.is_set():
                try:
                    status, _ = self._instance.post(body)
                except OSError:
                    time.sleep(0.01)
                    continue
                if status in (200, 204):
                    self.acknowledged.append(event_id)
                    break
                assert status in (429, 503), status
                time.sleep(0.05)
            time.sleep(0.002)

    def wait_for(self, count: int) -> None:
        """Wait until so many beacons are acknowledged."""
        deadline = time.monotonic() + 60
        while len(self.acknowledged) < count:
            assert time.monotonic() < deadline, self._instance.log[-3000:]
            time.sleep(0.01)

    def stop(self) -> None:
        """End the stream."""
        self._stop.set()
        self._thread.join(30)


def test_every_acknowledged_beacon_is_there_once(tmp_path: Path) -> None:
    """Each role dies twice under load and the whole is stopped and started again; nothing is lost, nothing doubled."""
    with running_instance(tmp_path, "--demo") as instance:
        stream = Stream(instance)
        try:
            for role in ROLES * 2:
                time.sleep(0.4)
                pid = _wait_for_role(instance, role)
                os.kill(pid, signal.SIGKILL)
            time.sleep(1)
        finally:
            stream.stop()
        assert "killed by SIGKILL" in instance.log
        _compare(instance, stream)
        assert instance.stop() == 0
    with running_instance(tmp_path, "--demo") as instance:
        _compare(instance, stream)


def test_the_supervisor_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    """kill -9 of the supervisor ends every role; the next start finds all that was acknowledged."""
    with pytest.raises(AssertionError), running_instance(tmp_path, "--demo") as instance:
        stream = Stream(instance)
        time.sleep(1)
        pids = instance.role_pids()
        assert set(pids) == set(ROLES)
        instance.process.kill()
        instance.process.wait()
        stream.stop()
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in pids.values()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert stream.acknowledged
    with running_instance(tmp_path, "--demo") as instance:
        _compare(instance, stream)


def _wait_for_role(instance: RunningInstance, role: str) -> int:
    deadline = time.monotonic() + 30
    while role not in (pids := instance.role_pids()):
        assert time.monotonic() < deadline, instance.log[-2000:]
        time.sleep(0.05)
    return pids[role]


def _compare(instance: RunningInstance, stream: Stream) -> None:
    question = (
        "SELECT count() AS n, uniqExact(event_id) AS ids FROM v_events "
        f"WHERE site_id = 'demo' AND visitor_id = toUUID('{stream.visitor}')"
    )
    deadline = time.monotonic() + 40
    while True:
        try:
            [row] = instance.sql(question)
        except StoreError:  # the engine is on its way back
            if time.monotonic() > deadline:
                raise
            row = {"n": 0, "ids": 0}
        if row["n"] >= len(stream.acknowledged):
            break
        assert time.monotonic() < deadline, (row, len(stream.acknowledged), instance.log[-3000:])
        time.sleep(0.2)
    assert row["n"] == row["ids"]
    stored = {
        str(row["event_id"])
        for row in instance.sql(
            f"SELECT event_id FROM v_events WHERE site_id = 'demo' AND visitor_id = toUUID('{stream.visitor}')"
        )
    }
    assert set(stream.acknowledged) <= stored
    # What was stored without its answer having arrived is at most what was under way when web died.
    assert len(stored) - len(stream.acknowledged) <= len(ROLES)
