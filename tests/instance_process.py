"""A whole instance for tests: `tagstitch run` as a real process, with the real engine, on free ports.

with running_instance(tmp_path, demo=True) as instance:
    instance.sql("select count() from v_events")
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from collector.cli import make_app
from collector.config import Config
from collector.errors import TagstitchError
from collector.instance import open_instance, read_state
from collector.keyring import Keyring, read_keyring
from collector.store.client import StoreClient, open_client
from tests.migrated_store import lay_migrated_store

PROGRAM = (sys.executable, "-m", "collector")
START_S = 90.0
STOP_S = 30.0


@dataclass
class RunningInstance:
    """One instance and how to reach it."""

    process: subprocess.Popen[bytes]
    data: Path
    log_file: Path
    config: Config
    keyring: Keyring

    @property
    def url(self) -> str:
        """Where web listens."""
        return f"http://{self.config.host}:{self.config.port}"

    @property
    def log(self) -> str:
        """Everything that the supervisor and the roles wrote so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def sql(self, statement: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Ask as the reader."""
        client: StoreClient = open_client(self.config, self.keyring, "reader")
        with contextlib.closing(client):
            return client.query_rows(statement, parameters)

    def until(self, statement: str, fits: Callable[[list[dict[str, Any]]], bool], limit_s: float = 20.0) -> Any:
        """Ask until the answer fits, and return it; where it never does, fail with the last answer."""
        deadline = time.monotonic() + limit_s
        while True:
            rows = self.sql(statement)
            if fits(rows):
                return rows
            assert time.monotonic() < deadline, f"after {limit_s} s still {rows}\n{self.log[-3000:]}"
            time.sleep(0.1)

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `tagstitch …` on this instance, in this process: one of its own would need a second to load.

        Raises subprocess.CalledProcessError where it ends with another status than 0 and `check` is true.
        """
        return run_command(*arguments, "--data", str(self.data), check=check)

    def role_pids(self) -> dict[str, int]:
        """Return the process ids of the roles."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = {}
        for pid in map(int, children):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                for role in ("web", "load", "stitch", "activate", "govern", "engine"):
                    if role in words or f"tagstitch-{role}" in words or any("tagstitch-" + role in w for w in words):
                        found[role] = pid
        return found

    def post(self, body: dict[str, Any] | bytes, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Send a beacon and return status and body of the answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + self.config.beacon_path,
            data,
            {"Content-Type": "text/plain", "Origin": self.url, **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stop(self) -> int:
        """Press Ctrl-C and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_S)


def run_command(*arguments: str, given: str = "", check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run `tagstitch …` in this process, with `given` as its standard input, and return what it left."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - _environ().keys():
            patch.delenv(name)
        result = CliRunner().invoke(make_app(arguments[0]), list(arguments), input=given)
    problem, status, said = result.exception, result.exit_code, result.stderr
    if isinstance(problem, TagstitchError):
        said += f"tagstitch: {problem}\n"
    elif problem is not None and not isinstance(problem, SystemExit):
        raise problem
    done = subprocess.CompletedProcess(arguments, status, result.stdout, said)
    if check and status:
        failure = subprocess.CalledProcessError(status, arguments, done.stdout, done.stderr)
        failure.add_note(done.stderr)
        raise failure
    return done


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TAGSTITCH_")}


def start_instance(
    data: Path,
    log_file: Path,
    *options: str,
    environ: dict[str, str] | None = None,
    program: Sequence[str] = PROGRAM,
    is_first: bool = False,
) -> RunningInstance:
    """Start an instance and wait until it says that it is ready.

    `is_first`: with nothing there at all, as somebody starts it who has just got it; else a new instance finds a store
    with our schema already.
    """
    if program == PROGRAM and not is_first and not data.exists():
        open_instance(data, lock=False)
        lay_migrated_store(data)
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [*program, "run", "--data", str(data), "--port", "0", "--engine-port", "0", *options],
            cwd=log_file.parent,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**_environ(), **(environ or {})},
        )
    assert process.stdout is not None
    deadline = time.monotonic() + START_S
    os.set_blocking(process.stdout.fileno(), False)
    said = b""
    while b"tagstitch is ready" not in said:
        said += process.stdout.read() or b""
        assert process.poll() is None and time.monotonic() < deadline, (
            f"did not start: {said.decode()}\n{log_file.read_text()[-4000:]}"
        )
        time.sleep(0.02)
    os.set_blocking(process.stdout.fileno(), True)
    state = read_state(data)
    assert state is not None
    config = Config(
        data=str(data), host=state.host, port=state.port, engine_host=state.engine_host, engine_port=state.engine_port
    )
    return RunningInstance(process, data, log_file, config, read_keyring(config.secrets_path, {}))


@contextlib.contextmanager
def running_instance(
    folder: Path,
    *options: str,
    environ: dict[str, str] | None = None,
    program: Sequence[str] = PROGRAM,
    is_first: bool = False,
) -> Iterator[RunningInstance]:
    """Run an instance with its data in `folder`, as `start_instance` does; stop it and see that it ended well."""
    data, log_file = folder / "data", folder / "log"
    instance = start_instance(data, log_file, *options, environ=environ, program=program, is_first=is_first)
    try:
        yield instance
        assert instance.stop() == 0, instance.log[-3000:]
    finally:
        if instance.process.poll() is None:
            instance.process.kill()
            instance.process.wait()
        if instance.process.stdout is not None:
            instance.process.stdout.close()
