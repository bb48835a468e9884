from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collector import supervisor as supervisor_module
from collector.errors import RoleFailed
from collector.supervisor import Role, Supervisor


def _python(name: str, code: str, **settings: object) -> Role:
    return Role(name, [sys.executable, "-c", code], **settings)  # type: ignore[arg-type]


WAITS = "import sys, time; print('{}', flush=True); time.sleep(600)"


def test_a_role_that_dies_is_started_again_with_its_reason(capfd: pytest.CaptureFixture[str]) -> None:
    """kill -9 of a role brings a new process within moments, and the log says what killed the old one."""

    async def story() -> tuple[int | None, int | None]:
        supervisor = Supervisor()
        running = await supervisor.start(_python("web", WAITS, announces=True))
        await running.announced
        first = running.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        for _ in range(200):
            await asyncio.sleep(0.05)
            if running.pid not in (None, first):
                break
        second = running.pid
        await supervisor.stop(["web"])
        return first, second

    first, second = asyncio.run(story())
    assert second is not None
    assert second != first
    assert "killed by SIGKILL" in "".join(capfd.readouterr())


def test_a_role_that_keeps_dying_stops_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a handful of deaths the supervisor gives up and passes the last words on."""
    monkeypatch.setattr(supervisor_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(supervisor_module, "LONGEST_PAUSE_S", 0.002)

    async def story() -> None:
        supervisor = Supervisor()
        try:
            await supervisor.start(_python("load", "import sys; sys.exit('the disk is made of cheese')"))
            await supervisor.wait()
        finally:
            await supervisor.stop([])

    with pytest.raises(RoleFailed, match=r"load keeps dying.*status 1: the disk is made of cheese"):
        asyncio.run(story())


def test_roles_stop_in_the_order_of_an_events_way(tmp_path: Path) -> None:
    """Web ends before load is asked to, so that load sees everything that was accepted."""
    log = tmp_path / "log"
    code = (
        "import signal, sys, time\n"
        f"log = open({str(log)!r}, 'a', buffering=1)\n"
        "def end(*_):\n    time.sleep(0.2); log.write(sys.argv[1] + ' '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('{}', flush=True); time.sleep(600)"
    )

    async def story() -> None:
        supervisor = Supervisor()
        for name in ("engine", "load", "web"):
            running = await supervisor.start(Role(name, [sys.executable, "-c", code, name], announces=True))
            await running.announced
        await supervisor.stop(["web", "load", "stitch", "engine"])

    asyncio.run(story())
    assert log.read_text().split() == ["web", "load", "engine"]


def test_a_role_that_will_not_end_is_killed() -> None:
    """The whole stops even where a role ignores the request."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); time.sleep(600)"
    )

    async def story() -> int | None:
        supervisor = Supervisor()
        running = await supervisor.start(_python("load", code, announces=True, stop_s=0.3))
        await running.announced
        await supervisor.stop([])
        return running.pid

    assert asyncio.run(story()) is None


def test_roles_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    """kill -9 of the supervisor leaves no role behind."""
    pid_file = tmp_path / "pid"
    child = (
        "import os, time; from collector.supervisor import end_with_parent; end_with_parent();"
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); print('{{}}', flush=True); time.sleep(600)"
    )
    parent = (
        "import asyncio, sys; from collector.supervisor import Role, Supervisor\n"
        "async def story():\n"
        "    running = await Supervisor().start(Role('web', [sys.executable, '-c', sys.argv[1]], announces=True))\n"
        "    await running.announced; print('up', flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(story())"
    )
    with subprocess.Popen([sys.executable, "-c", parent, child], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.kill()
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _is_alive(pid):
        time.sleep(0.05)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
