"""The roles as processes: started in order, restarted with their reason, stopped so that nothing is lost.

A role that dies is started again after a pause that doubles (0.2 s to 5 s); more than DEATHS_ALLOWED deaths in
DEATHS_WINDOW_S stop the whole with the last reason. Each role is a session of its own, so that Ctrl-C reaches only
us, and ends by itself when we are gone: its standard input is a pipe that we hold. The listening socket of web is
ours and survives its death, so that a connection made meanwhile waits and is not refused.

Stopping goes the way of an event: web first (no new beacons), then load (drains the spool), stitch, engine.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from collector.errors import RoleFailed
from collector.logs import get_logger

DEATHS_ALLOWED = 5
DEATHS_WINDOW_S = 60.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
TAIL_LINES = 20


@dataclass(frozen=True)
class Role:
    """How to start one role. `stdin` is written first and the pipe stays open; `stop_s` bounds its good end."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    stdin: bytes = b""
    pass_fds: Sequence[int] = ()
    stop_s: float = 3.0
    announces: bool = False  # prints a JSON line on standard output when it is ready


class RunningRole:
    """One role and the process that plays it at the moment."""

    def __init__(self, role: Role, on_failure: Callable[[RoleFailed], None]) -> None:
        self.role = role
        self._on_failure = on_failure
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self._deaths: collections.deque[float] = collections.deque()
        self._task: asyncio.Task[None] | None = None
        self.announced: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int | None:
        """Process id, None between two lives."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start the process and keep it alive from now on."""
        await self._spawn()
        self._task = asyncio.create_task(self._watch(), name=f"watch {self.role.name}")

    async def stop(self) -> None:
        """End the process: SIGTERM, and SIGKILL where it does not end in time."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), self.role.stop_s)
            except TimeoutError:
                get_logger().warning("role did not end in time, killed", name=self.role.name, after_s=self.role.stop_s)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self.role.argv,
            env=dict(self.role.env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=tuple(self.role.pass_fds),
            start_new_session=True,
        )
        if self.role.stdin and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._process.stdin.write(self.role.stdin)
                await self._process.stdin.drain()

    async def _watch(self) -> None:
        next_pause_s = FIRST_PAUSE_S
        while True:
            process = self._process
            if process is None or process.stdout is None or process.stderr is None:
                return
            born = time.monotonic()
            await asyncio.gather(self._copy(process.stdout, announce=True), self._copy(process.stderr), process.wait())
            if self._stopping:
                return
            reason = _describe_end(process.returncode or 0, self._tail)
            now = time.monotonic()
            self._deaths.append(now)
            while self._deaths and now - self._deaths[0] > DEATHS_WINDOW_S:
                self._deaths.popleft()
            if len(self._deaths) > DEATHS_ALLOWED:
                self._on_failure(RoleFailed(self.role.name, reason))
                return
            pause_s = FIRST_PAUSE_S if now - born > DEATHS_WINDOW_S else next_pause_s
            next_pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            get_logger().error("role died, starting it again", name=self.role.name, reason=reason, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            self._tail.clear()
            await self._spawn()

    async def _copy(self, stream: asyncio.StreamReader, announce: bool = False) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line longer than the reader's bound: it has been dropped
                continue
            if not line:
                return
            if announce and self.role.announces and line.startswith(b"{"):
                if not self.announced.done():
                    self.announced.set_result(line)
                continue
            self._tail.append(line.decode("utf-8", "replace").rstrip())
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()


class Supervisor:
    """All roles of one instance."""

    def __init__(self) -> None:
        self._roles: list[RunningRole] = []
        self._end: asyncio.Future[RoleFailed | None] = asyncio.get_running_loop().create_future()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.request_stop)

    def request_stop(self) -> None:
        """Ask for a clean end."""
        if not self._end.done():
            self._end.set_result(None)

    def _fail(self, failure: RoleFailed) -> None:
        if not self._end.done():
            self._end.set_result(failure)

    async def start(self, role: Role) -> RunningRole:
        """Start one role and keep it alive."""
        running = RunningRole(role, self._fail)
        self._roles.append(running)
        await running.start()
        return running

    async def until(self, ready: Awaitable[bytes], limit_s: float, what: str) -> bytes | None:
        """Wait for something at the start; None where we were told to stop. Raises RoleFailed."""
        waiter = asyncio.ensure_future(ready)
        both: set[asyncio.Future[bytes] | asyncio.Future[RoleFailed | None]] = {waiter, self._end}
        await asyncio.wait(both, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if waiter.done():
            return waiter.result()
        waiter.cancel()
        if self._end.done():
            failure = self._end.result()
            if failure is not None:
                raise failure
            return None
        raise RoleFailed(what, f"not ready after {limit_s:.0f} s, see the lines above")

    async def wait(self) -> None:
        """Wait until somebody asks for the end. Raises RoleFailed where a role keeps dying."""
        failure = await asyncio.shield(self._end)
        if failure is not None:
            raise failure

    async def stop(self, order: Sequence[str]) -> None:
        """Stop the roles in this order, then the rest, each within its bound."""
        by_name = {running.role.name: running for running in self._roles}
        for name in [*order, *(name for name in by_name if name not in order)]:
            if name in by_name:
                await by_name[name].stop()


def _describe_end(code: int, tail: collections.deque[str]) -> str:
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    last = next((line for line in reversed(tail) if line.strip()), "")
    return f"{how}: {last}" if last and code >= 0 else how


def end_with_parent() -> None:
    """End this process by SIGTERM when the supervisor is gone: it holds the other end of our standard input."""
    import threading

    def wait_for_end() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_end, name="parent", daemon=True).start()
