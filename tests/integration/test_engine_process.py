"""The engine as a process: starting, refusing to start, ending, and what it cannot reach."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from collector.engine.config import EngineConfig
from collector.engine.confinement import abi_version
from collector.engine.process import engine_command
from tests.engine_process import PASSWORDS, RunningEngine, close_pipes, engine_config, running_engine, start_engine

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with running_engine(tmp_path_factory.mktemp("process")) as running:
        yield running


def ask(engine: RunningEngine, sql: str, role: str = "writer", **parameters: str) -> httpx.Response:
    return httpx.post(engine.url, params=parameters, content=sql, auth=engine.credentials(role), timeout=60)


def fail_to_start(config: EngineConfig) -> str:
    """Start an engine that must not start; return what it says."""
    argv, env, line = engine_command(config)
    process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(line)
    process.stdin.flush()
    try:
        assert process.wait(60) == 1
        words = process.stderr.read().decode()
        process.stderr.close()
        return words
    finally:
        close_pipes(process)


def test_the_environment_is_empty_and_the_process_holds_no_password(engine: RunningEngine) -> None:
    """Nothing of the supervisor's environment and no clear password is in the engine's process."""
    proc = Path("/proc") / str(engine.process.pid)
    assert (proc / "environ").read_bytes() == b""
    arguments = (proc / "cmdline").read_bytes().decode()
    assert "tagstitch-engine" in arguments
    assert not any(password in arguments for password in PASSWORDS.values())
    _, env, line = engine_command(engine.config)
    assert env == {}
    assert not any(password.encode() in line for password in PASSWORDS.values())


def test_a_second_engine_on_the_same_folder_is_refused(engine: RunningEngine, tmp_path: Path) -> None:
    """One line says that another process has the folder, and the first one runs on."""
    second = engine_config(tmp_path)
    config = EngineConfig(
        path=engine.config.path, tmp=second.tmp, port=0, credentials=second.credentials, policy=second.policy
    )
    words = fail_to_start(config)
    assert words.count("\n") == 1
    assert "in use by another engine process" in words
    assert engine.config.path in words
    assert ask(engine, "SELECT 1").text == "1\n"


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    """One line names the port and the setting."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = engine_config(tmp_path)
        words = fail_to_start(EngineConfig(config.path, config.tmp, config.credentials, port=port))
    assert words.count("\n") == 1
    assert str(port) in words
    assert "engine_port" in words


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """The engine does not write into a folder with other files, nor into a file."""
    config = engine_config(tmp_path)
    config.data_folder.mkdir()
    (config.data_folder / "holiday.jpg").write_bytes(b"")
    words = fail_to_start(config)
    assert words.count("\n") == 1
    assert "holiday.jpg" in words
    assert sorted(p.name for p in config.data_folder.iterdir()) == ["holiday.jpg"]

    (config.data_folder / "holiday.jpg").unlink()
    config.data_folder.rmdir()
    config.data_folder.write_text("a file")
    assert "is a file" in fail_to_start(config)


def test_a_damaged_folder_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Broken metadata ends the start with one line that names the folder, not with a stack trace."""
    with running_engine(tmp_path) as running:
        assert ask(running, "CREATE DATABASE shop ENGINE = Atomic").is_success
        assert ask(running, "CREATE TABLE shop.t (a Int8) ENGINE = MergeTree ORDER BY a").is_success
    broken = next((tmp_path / "engine").rglob("t.sql"))
    broken.write_text("ATTACH TABLE _ nonsense")
    words = fail_to_start(engine_config(tmp_path))
    assert words.count("\n") == 1
    assert str(tmp_path / "engine") in words
    assert "backup" in words


def test_a_wrong_configuration_is_refused(tmp_path: Path) -> None:
    """A field that is not known ends the start with its name."""
    process = subprocess.run(
        engine_command(engine_config(tmp_path))[0], env={}, input=b'{"colour": 1}\n', capture_output=True, timeout=60
    )
    assert process.returncode == 1
    assert process.stderr.count(b"\n") == 1
    assert b"colour" in process.stderr


def test_sigterm_ends_it_cleanly_and_keeps_what_was_inserted(tmp_path: Path) -> None:
    """SIGTERM: exit status 0, nothing in the log but its own lines, and the rows are there afterwards."""
    with running_engine(tmp_path) as running:
        assert ask(running, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").is_success
        assert ask(running, "INSERT INTO t SELECT number FROM numbers(1000)").is_success
        assert running.stop() == 0
        assert "Traceback" not in running.log
    with running_engine(tmp_path) as again:
        assert ask(again, "SELECT count() FROM t").text == "1000\n"


def test_sigterm_lets_a_running_insert_finish(tmp_path: Path) -> None:
    """An insert that runs when SIGTERM comes is finished and acknowledged before the process ends."""
    with running_engine(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        assert ask(running, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").is_success
        slow = "INSERT INTO t SELECT number FROM numbers(3) WHERE sleepEachRow(0.4) = 0"
        inserting = pool.submit(ask, running, slow)
        while "sleepEachRow" not in ask(running, "SELECT query FROM system.processes").text:
            pass
        assert running.stop() == 0
        assert inserting.result().status_code == 200
    with running_engine(tmp_path) as again:
        assert ask(again, "SELECT count() FROM t").text == "3\n"


def test_sigterm_stops_a_statement_that_would_not_end(tmp_path: Path) -> None:
    """A running SELECT is given its time and is then stopped; the process still ends with status 0."""
    with running_engine(tmp_path) as running:
        endless = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 0"
        with socket.create_connection((running.host, running.port)) as client:
            user, password = running.credentials("writer")
            head = f"POST / HTTP/1.1\r\nHost: x\r\nX-ClickHouse-User: {user}\r\nX-ClickHouse-Key: {password}\r\n"
            client.sendall(f"{head}Content-Length: {len(endless)}\r\n\r\n{endless}".encode())
            while "sipHash64" not in ask(running, "SELECT query FROM system.processes").text:
                pass
            assert running.stop() == 0


def test_it_ends_when_its_supervisor_dies(tmp_path: Path) -> None:
    """Whoever started it holds its standard input open: when that ends, the engine ends."""
    running = start_engine(engine_config(tmp_path), tmp_path)
    assert running.process.stdin is not None
    running.process.stdin.close()
    assert running.process.wait(30) == 0
    close_pipes(running.process)


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """After kill -9 the next start is ready and has every acknowledged row."""
    with running_engine(tmp_path) as running:
        assert ask(running, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a").is_success
        assert ask(running, 'INSERT INTO t FORMAT JSONEachRow\n{"a": 1}\n{"a": 2}\n').is_success
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
    with running_engine(tmp_path) as again:
        assert ask(again, "SELECT count() FROM t").text == "2\n"
        assert list((tmp_path / "engine-tmp").iterdir()) == []


# -- confinement: the writer may run any SQL, and still reaches nothing else -------------------------------------------

needs_landlock = pytest.mark.skipif(abi_version() < 4, reason="this kernel has no Landlock with network rules")


@needs_landlock
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT file('/etc/passwd')",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM file('{outside}', 'LineAsString')",
        "SELECT * FROM file('/root/.bash_history', 'LineAsString')",
        "INSERT INTO FUNCTION file('{outside}.new', 'CSV', 'a String') VALUES ('x')",
        "SELECT 1 INTO OUTFILE '{outside}.new'",
        "SELECT * FROM url('http://127.0.0.1:{port}/', 'LineAsString', 'line String')",
        "SELECT * FROM remote('127.0.0.1:{port}', system.one)",
        "SELECT * FROM mysql('127.0.0.1:{port}', 'd', 't', 'u', 'p')",
        "SELECT * FROM executable('id', 'TSV', 'a String')",
    ],
)
def test_all_sql_ends_at_the_walls(engine: RunningEngine, tmp_path: Path, sql: str) -> None:
    """Even with every right in SQL, as a hole in admission would give, no other file and no host is reached."""
    outside = tmp_path / "outside.txt"
    outside.write_text("not for the engine")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        answer = ask(
            engine,
            sql.format(outside=outside, port=listener.getsockname()[1]),
            max_execution_time="5",
            connect_timeout="1",
            http_connection_timeout="1",
            http_max_tries="1",
        )
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert answer.status_code >= 400
    assert "root:" not in answer.text
    assert "not for the engine" not in answer.text
    assert not outside.with_suffix(".txt.new").exists()


@needs_landlock
def test_confinement_holds_for_files_of_the_checkout(engine: RunningEngine) -> None:
    """The engine reads its own code, and nothing that lies beside it."""
    beside = Path(__file__).resolve().parents[2] / "pyproject.toml"
    assert "tagstitch" in beside.read_text()
    assert "tagstitch" not in ask(engine, f"SELECT * FROM file('{beside}', 'LineAsString')").text.replace(
        str(beside), ""
    )


def test_without_landlock_a_warning_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the kernel cannot confine, the engine says what is open and goes on."""
    from collector.engine.confinement import confine

    assert confine([], abi=0) == 0
    assert "not confined" in capsys.readouterr().out
