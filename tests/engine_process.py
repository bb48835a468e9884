"""A real engine process for tests: on a free port, in a folder of its own, stopped and checked at the end.

with running_engine(tmp_path) as engine:
    writer = clickhouse_connect.get_client(**engine.client_arguments("writer"))
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from collector.engine.config import Access, EngineConfig, Limits, Policy
from collector.engine.credentials import Role, digest_password
from collector.engine.process import engine_command

START_S = 60
# Random enough for a test; the product makes its own.
PASSWORDS = {role: f"{role.value}-password-of-the-tests-0123456789abcdef" for role in Role}


@dataclass
class RunningEngine:
    """One engine process and how to reach it."""

    process: subprocess.Popen[bytes]
    config: EngineConfig
    host: str
    port: int
    folder: Path
    log_file: Path
    passwords: dict[str, str] = field(default_factory=lambda: {role.value: PASSWORDS[role] for role in Role})

    @property
    def url(self) -> str:
        """The address of the HTTP interface."""
        return f"http://{self.host}:{self.port}"

    def dsn(self, role: str = "writer", database: str = "") -> str:
        """Return a DSN for clickhouse-connect."""
        return f"http://{role}:{self.passwords[role]}@{self.host}:{self.port}/{database}"

    def client_arguments(self, role: str = "writer", **more: Any) -> dict[str, Any]:
        """Return keyword arguments for `clickhouse_connect.get_client`."""
        return {
            "host": self.host,
            "port": self.port,
            "username": role,
            "password": self.passwords[role],
            "autogenerate_session_id": False,
            **more,
        }

    def credentials(self, role: str = "writer") -> tuple[str, str]:
        """Return user and password, for basic authentication."""
        return role, self.passwords[role]

    @property
    def log(self) -> str:
        """What the process wrote on standard error so far."""
        return self.log_file.read_text()

    def stop(self, timeout_s: float = 30) -> int:
        """Ask the process to end, as the supervisor does, and return its exit status."""
        self.process.terminate()
        return self.process.wait(timeout_s)


def engine_config(folder: Path, *, policy: Policy | None = None, settings: Limits | None = None) -> EngineConfig:
    """Return the configuration of an engine in `folder` on a free port."""
    return EngineConfig(
        path=str(folder / "engine"),
        tmp=str(folder / "engine-tmp"),
        port=0,
        credentials={role: Access(role.value, digest_password(PASSWORDS[role])) for role in Role},
        policy=policy or Policy(),
        settings=settings or Limits(),
    )


def start_engine(config: EngineConfig, folder: Path) -> RunningEngine:
    """Start the process and wait until it is ready. Raise `RuntimeError` with its last words if it ends instead."""
    argv, env, line = engine_command(config)
    number, log_name = tempfile.mkstemp(prefix="engine-", suffix=".log", dir=folder)
    with os.fdopen(number, "wb") as log:
        process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line)
    process.stdin.flush()
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    answer = process.stdout.readline() if ready else b""
    if not answer:
        process.kill()
        process.wait()
        close_pipes(process)
        raise RuntimeError(f"the engine did not start: {Path(log_name).read_text()}")
    port = json.loads(answer)["port"]
    return RunningEngine(process, config, config.host, port, folder, Path(log_name))


def close_pipes(process: subprocess.Popen[bytes]) -> None:
    """Close our ends of the process's pipes."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@contextlib.contextmanager
def running_engine(
    folder: Path, *, policy: Policy | None = None, settings: Limits | None = None, config: EngineConfig | None = None
) -> Iterator[RunningEngine]:
    """Run an engine in `folder` and stop it at the end, as the supervisor does. It has no databases of ours yet."""
    folder.mkdir(parents=True, exist_ok=True)
    running = start_engine(config or engine_config(folder, policy=policy, settings=settings), folder)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.process.wait(30)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
        close_pipes(running.process)


def encode_config(config: EngineConfig) -> bytes:
    """Return the line that the process reads."""
    return msgspec.json.encode(config) + b"\n"
