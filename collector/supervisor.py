"""The roles as processes: started in order, restarted with their reason, stopped so that nothing is lost.

A role that dies is started again after a pause that doubles (0.2 s to 5 s); more than DEATHS_ALLOWED deaths in
DEATHS_WINDOW_S stop the whole with the last reason. Each role is a session of its own, so that Ctrl-C reaches only
us, and ends by itself when we are gone: its standard input is a pipe that we hold. The listening sockets of web
are ours and survive its death, so that a connection made meanwhile waits and is not refused.

Stopping goes the way of an event: web first (no new beacons), then load (drains the spool), stitch, engine.

Replacing (SIGHUP, SIGUSR1): the processes of a role that can be replaced get a successor, one after the other. The new
one is ready before the old one is asked to go; where it does not become ready, the old one stays. Both have the same
listening socket meanwhile, so that no connection is refused. In a terminal SIGHUP means that the terminal is gone, and
ends the whole.
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
from collector.role_board import RoleBoard

DEATHS_ALLOWED = 5
DEATHS_WINDOW_S = 60.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
TAIL_LINES = 20
READY_LIMIT_S = 30.0
"""How long a successor may take to become ready."""


@dataclass(frozen=True)
class Role:
    """How to start one role. `stdin` is written first and the pipe stays open; `stop_s` bounds its good end.

    Several processes may play one role: they have the same name, and `number` tells them apart, 0 first.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    stdin: bytes = b""
    pass_fds: Sequence[int] = ()
    stop_s: float = 3.0
    announces: bool = False  # prints a JSON line on standard output when it is ready
    is_replaceable: bool = False  # two processes may play it for a moment: has to announce
    number: int = 0

    @property
    def label(self) -> str:
        """Tells the processes of one role apart: `web-0`, `web-1`; the name alone where there is one."""
        return f"{self.name}-{self.number}" if self.is_replaceable else self.name


class _Life:
    """One process that plays a role, from its start to its end."""

    def __init__(self, role: Role, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.born = time.monotonic()
        self.tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self.announced: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._role = role
        self.ended = asyncio.create_task(self._follow(), name=f"follow {role.name} {process.pid}")

    @classmethod
    async def begin(cls, role: Role) -> _Life:
        """Start the process."""
        process = await asyncio.create_subprocess_exec(
            *role.argv,
            env=dict(role.env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=tuple(role.pass_fds),
            start_new_session=True,
        )
        life = cls(role, process)
        if role.stdin and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(role.stdin)
                await process.stdin.drain()
        return life

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self.process.returncode is not None

    async def end(self) -> None:
        """End the process: SIGTERM, and SIGKILL where it does not end in time."""
        if not self.is_over:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), self._role.stop_s)
            except TimeoutError:
                get_logger().warning(
                    "role did not end in time, killed", name=self._role.name, after_s=self._role.stop_s
                )
            finally:
                if not self.is_over:
                    with contextlib.suppress(ProcessLookupError):
                        self.process.kill()
        await self.process.wait()
        await asyncio.shield(self.ended)

    def describe_end(self) -> str:
        """Say what ended it, with its last words."""
        code = self.process.returncode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        last = next((line for line in reversed(self.tail) if line.strip()), "")
        return f"{how}: {last}" if last and code >= 0 else how

    async def _follow(self) -> None:
        if self.process.stdout is not None and self.process.stderr is not None:
            await asyncio.gather(self._copy(self.process.stdout, is_output=True), self._copy(self.process.stderr))
        await self.process.wait()

    async def _copy(self, stream: asyncio.StreamReader, is_output: bool = False) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line longer than the reader's bound: it has been dropped
                continue
            if not line:
                return
            if is_output and self._role.announces and line.startswith(b"{"):
                if not self.announced.done():
                    self.announced.set_result(line)
                continue
            self.tail.append(line.decode("utf-8", "replace").rstrip())
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()


class RunningRole:
    """One role and the process that plays it at the moment."""

    def __init__(self, role: Role, on_failure: Callable[[RoleFailed], None], board: RoleBoard | None = None) -> None:
        self.role = role
        self._board = board
        self.announced: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._on_failure = on_failure
        self._life: _Life | None = None
        self._leaving: asyncio.Task[None] | None = None  # ends the life before this one
        self._succession = asyncio.Lock()  # held while a process is chosen to play the role
        self._stopping = False
        self._deaths: collections.deque[float] = collections.deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, None between two lives."""
        life = self._life
        return life.process.pid if life is not None and not life.is_over else None

    async def start(self) -> None:
        """Start the process and keep it alive from now on."""
        life = await self._begin()
        self._enter(life)
        self._task = asyncio.create_task(self._watch(life), name=f"watch {self.role.name}")

    async def stop(self) -> None:
        """End the process within its bound."""
        self._stopping = True
        if self._life is not None:
            await self._life.end()
        if self._leaving is not None:
            await self._leaving
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def replace(self) -> None:
        """Put a new process in the place of the one that plays the role, without a gap.

        Raises RoleFailed where the new one does not become ready: then all is as before.
        """
        async with self._succession:
            beginning = asyncio.create_task(self._begin())
            try:
                successor = await asyncio.shield(beginning)
            except asyncio.CancelledError:
                await (await beginning).end()  # it may be there already, and nobody else knows of it
                raise
            try:
                either: set[asyncio.Future[bytes] | asyncio.Future[None]] = {successor.announced, successor.ended}
                await asyncio.wait(either, timeout=READY_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                reason = successor.describe_end() if successor.is_over else f"not ready after {READY_LIMIT_S:.0f} s"
                is_ready = successor.announced.done() and not successor.is_over and not self._stopping
                if not is_ready:
                    await successor.end()
            if not is_ready:
                raise RoleFailed(self.role.name, reason)
            predecessor = self._life
            self._enter(successor)
            if predecessor is not None:
                self._leaving = asyncio.create_task(predecessor.end(), name=f"end {self.role.name}")
        if self._leaving is not None:
            await asyncio.shield(self._leaving)

    async def _begin(self) -> _Life:
        life = await _Life.begin(self.role)
        life.announced.add_done_callback(self._note_announcement)
        return life

    def _enter(self, life: _Life) -> None:
        self._life = life
        if self._board is not None:
            self._board.note_start(self.role.label, life.process.pid)

    def _note_announcement(self, announced: asyncio.Future[bytes]) -> None:
        if not self.announced.done() and not announced.cancelled():
            self.announced.set_result(announced.result())

    async def _watch(self, life: _Life) -> None:
        next_pause_s = FIRST_PAUSE_S
        while True:
            await asyncio.shield(life.ended)
            if self._stopping:
                return
            if self._life is None or life is not self._life:
                life = self._life or life
                continue  # it was replaced and went as it was asked to
            reason = life.describe_end()
            if self._board is not None:
                self._board.note_death(self.role.label, reason)
            now = time.monotonic()
            self._deaths.append(now)
            while self._deaths and now - self._deaths[0] > DEATHS_WINDOW_S:
                self._deaths.popleft()
            if len(self._deaths) > DEATHS_ALLOWED:
                self._on_failure(RoleFailed(self.role.name, reason))
                return
            pause_s = FIRST_PAUSE_S if now - life.born > DEATHS_WINDOW_S else next_pause_s
            next_pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            get_logger().error("role died, starting it again", name=self.role.name, reason=reason, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            async with self._succession:
                if self._life is life:
                    self._enter(await self._begin())
            life = self._life


class Supervisor:
    """All roles of one instance. For one event loop, in the main thread."""

    def __init__(self, board: RoleBoard | None = None) -> None:
        """`board`: where starts and deaths are noted for those who look from outside."""
        self._board = board
        self._roles: list[RunningRole] = []
        self._end: asyncio.Future[RoleFailed | None] = asyncio.get_running_loop().create_future()
        self._reload: asyncio.Task[None] | None = None
        self._reload_again = False
        handlers = {
            signal.SIGINT: self.request_stop,
            signal.SIGTERM: self.request_stop,
            signal.SIGUSR1: self.request_reload,
            signal.SIGHUP: self.request_stop if os.isatty(0) else self.request_reload,
        }
        for number, handle in handlers.items():
            asyncio.get_running_loop().add_signal_handler(number, handle)

    def request_stop(self) -> None:
        """Ask for a clean end."""
        if not self._end.done():
            self._end.set_result(None)

    @property
    def is_ending(self) -> bool:
        """Whether somebody has asked for the end, or a role has failed for good."""
        return self._end.done()

    def request_reload(self) -> None:
        """Ask for new processes in the place of those that can be replaced. Asked during one, it is done once more."""
        if self._reload is not None and not self._reload.done():
            self._reload_again = True
        elif not self._end.done():
            self._reload = asyncio.create_task(self._replace_roles(), name="reload")

    async def _replace_roles(self) -> None:
        while True:
            self._reload_again = False
            roles = [running for running in self._roles if running.role.is_replaceable]
            get_logger().info("replacing processes one at a time", processes=len(roles))
            replaced = 0
            for running in roles:
                try:
                    await running.replace()
                    replaced += 1
                except (RoleFailed, OSError) as error:
                    get_logger().error(
                        "a new process did not become ready, the old one goes on",
                        name=running.role.name,
                        reason=str(error),
                    )
                    break  # the next one would fare no better
            get_logger().info("replaced processes", replaced=replaced, of=len(roles))
            if not self._reload_again:
                return

    def _fail(self, failure: RoleFailed) -> None:
        if not self._end.done():
            self._end.set_result(failure)

    async def start(self, role: Role) -> RunningRole:
        """Start one role and keep it alive."""
        running = RunningRole(role, self._fail, self._board)
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
        """Stop the roles in this order, then the rest, each within its bound; processes of one role together."""
        if self._reload is not None:
            self._reload.cancel()
            await asyncio.wait({self._reload})
        names = dict.fromkeys([*order, *(running.role.name for running in self._roles)])
        for name in names:
            await asyncio.gather(*(running.stop() for running in self._roles if running.role.name == name))


def end_with_parent() -> None:
    """End this process by SIGTERM when the supervisor is gone: it holds the other end of our standard input."""
    import threading

    def wait_for_end() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_end, name="parent", daemon=True).start()
