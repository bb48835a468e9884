from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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


async def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_replaced_one_at_a_time_without_a_gap(tmp_path: Path) -> None:
    """Each process gets a successor that is ready before it is asked to go; the others live on meanwhile."""
    log = tmp_path / "log"
    code = (
        "import os, signal, sys, time\n"
        f"log = open({str(log)!r}, 'a', buffering=1)\n"
        "def end(*_):\n    log.write(f'end {sys.argv[1]}\\n'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); time.sleep(0.2)\n"
        "log.write(f'ready {sys.argv[1]}\\n'); print('{}', flush=True); time.sleep(600)"
    )

    async def story() -> tuple[list[int | None], list[int | None], str]:
        supervisor = Supervisor()
        roles = [
            Role("web", [sys.executable, "-c", code, str(n)], announces=True, is_replaceable=True, number=n)
            for n in range(3)
        ]
        running = [await supervisor.start(role) for role in roles]
        other = await supervisor.start(_python("load", WAITS, announces=True))
        for one in (*running, other):
            await one.announced
        log.write_text("")
        before = [one.pid for one in (*running, other)]
        os.kill(os.getpid(), signal.SIGUSR1)
        await _until(lambda: log.read_text().count("end") == 3)
        await _until(lambda: all(not _is_alive(pid) for pid in before[:3] if pid))
        after = [one.pid for one in (*running, other)]
        told = log.read_text()
        await supervisor.stop([])
        return before, after, told

    before, after, told = asyncio.run(story())
    assert not set(before[:3]) & set(after[:3])
    assert None not in after
    assert before[3] == after[3], "a role that cannot be replaced stays"
    assert told.split("\n")[:-1] == [f"{word} {n}" for n in range(3) for word in ("ready", "end")]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [("sys.exit('no secrets')", "status 1: no secrets"), ("time.sleep(600)", "not ready after")],
    ids=["dies", "hangs"],
)
def test_a_successor_that_does_not_become_ready_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], broken: str, reason: str
) -> None:
    """The old process goes on, the next ones are not touched, and the log says why. Mended, it works."""
    monkeypatch.setattr(supervisor_module, "READY_LIMIT_S", 2.0)
    switch = tmp_path / "switch"
    code = (
        "import os, sys, time\n"
        f"if os.path.exists({str(switch)!r}):\n    {broken}\n"
        "print('{}', flush=True); time.sleep(600)"
    )

    async def story() -> None:
        supervisor = Supervisor()
        roles = [_python("web", code, announces=True, is_replaceable=True, number=n) for n in range(2)]
        running = [await supervisor.start(role) for role in roles]
        for one in running:
            await one.announced
        before = [one.pid for one in running]
        switch.touch()
        said = ""

        def told(text: str) -> bool:
            nonlocal said
            said += "".join(capfd.readouterr())
            return text in said

        supervisor.request_reload()
        await _until(lambda: told("replaced processes"))
        assert reason in said
        assert "the old one goes on" in said
        assert [one.pid for one in running] == before
        switch.unlink()
        said = ""
        supervisor.request_reload()
        await _until(lambda: told("replaced processes"))
        assert not {one.pid for one in running} & set(before)
        await supervisor.stop(["web"])

    asyncio.run(story())


def test_stopped_while_it_replaces(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Told to stop in the middle of a reload: the successor, the old process and all others end, none is left."""
    # The successor is not ready before the test has seen it, however busy the machine is.
    code = f"import pathlib, time\nmark = pathlib.Path({str(tmp_path / 'mark')!r})\nif mark.exists(): time.sleep(600)\n"
    code += "mark.touch(); print('{}', flush=True); time.sleep(600)"

    async def story() -> None:
        supervisor = Supervisor()
        others = set(_list_children())  # of tests before this one
        running = await supervisor.start(_python("web", code, announces=True, is_replaceable=True))
        await running.announced
        supervisor.request_reload()
        await _until(lambda: len(set(_list_children()) - others) == 2)
        children = set(_list_children()) - others
        await supervisor.stop(["web"])
        assert not any(_is_alive(pid) for pid in children)

    asyncio.run(story())
    assert "Traceback" not in "".join(capfd.readouterr())


def test_one_that_dies_after_it_was_replaced_is_started_again() -> None:
    """A successor is watched as its predecessor was."""

    async def story() -> None:
        supervisor = Supervisor()
        running = await supervisor.start(_python("web", WAITS, announces=True, is_replaceable=True))
        await running.announced
        await running.replace()
        second = running.pid
        assert second is not None
        os.kill(second, signal.SIGKILL)
        await _until(lambda: running.pid not in (None, second))
        await supervisor.stop([])

    asyncio.run(story())


def _list_children() -> list[int]:
    me = os.getpid()
    return [int(pid) for pid in Path(f"/proc/{me}/task/{me}/children").read_text().split()]


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
