"""A W3C WebDriver client for the two WebKits: as much of the protocol as the tests need, over plain HTTP.

Source: https://www.w3.org/TR/webdriver2/. A new session is a new, empty profile; sessions of one driver run one after
the other. An answer with an error is raised as WebDriverError.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

START_LIMIT_S = 30.0
SESSION_LIMIT_S = 20.0

# There is no desktop: nobody shall look for its bus, its accessibility service or its settings.
QUIET_DESKTOP = {
    "DBUS_SESSION_BUS_ADDRESS": "disabled:",
    "NO_AT_BRIDGE": "1",
    "GTK_USE_PORTAL": "0",
    "GSETTINGS_BACKEND": "memory",
}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

# An expression, or statements of which the last one's value counts, awaited like Playwright's `evaluate` does.
EVALUATE = """
const done = arguments[arguments.length - 1];
Promise.resolve()
  .then(() => (0, eval)(arguments[0]))
  .then(value => done({value: value === undefined ? null : value}), error => done({error: String(error)}));
"""


class WebDriverError(Exception):
    """The driver answered with an error."""


class Session:
    """One browser window with its profile. `path` is `/session/<id>`."""

    def __init__(self, client: httpx.Client, path: str) -> None:
        self._client = client
        self._path = path

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send one command and return its value."""
        return send(self._client, method, self._path + path, body)

    def evaluate(self, script: str) -> Any:
        """Run a script in the page and return its value, as JSON carries it. Raises what the script throws."""
        answer = self.call("POST", "/execute/async", {"script": EVALUATE, "args": [script]})
        if "error" in answer:
            raise WebDriverError(answer["error"])
        return answer["value"]

    def click(self, css: str) -> None:
        """A trusted click on the first element that fits."""
        element = self.call("POST", "/element", {"using": "css selector", "value": css})
        self.call("POST", f"/element/{element[ELEMENT]}/click", {})

    def press(self, key: str) -> None:
        """A trusted key stroke: one character."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})
        self.call("DELETE", "/actions")


def send(
    client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None, *, timeout_s: float = 60.0
) -> Any:
    """Send one command to the driver and return the value of its answer."""
    content = {} if body is None and method == "POST" else body
    response = client.request(method, path, json=content, timeout=timeout_s)
    value = response.json()["value"]
    if response.is_error:
        raise WebDriverError(f"{path.rpartition('/')[2]}: {value['error']}: {value['message']}")
    return value


class Driver:
    """A driver program on a free port. What it and its browsers say goes into `log`.

    A browser that does not come up is ended with its driver, and both are started anew: on a busy machine one start
    of many hangs.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._stack = contextlib.ExitStack()

    def start(self) -> None:
        """Start the program and wait until it listens."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with self._log.open("ab") as said:
            # A group of its own: xvfb-run, the screen, the driver and its browsers end together.
            process = subprocess.Popen(
                [*self._command, f"--port={port}"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={**os.environ, **QUIET_DESKTOP},
            )
        self._stack.callback(_end_group, process)
        base_url = f"http://127.0.0.1:{port}"
        self._client = self._stack.enter_context(httpx.Client(base_url=base_url, timeout=60, trust_env=False))
        deadline = time.monotonic() + START_LIMIT_S
        while not _is_ready(self._client):
            text = self._log.read_text(errors="replace")[-2000:]
            assert process.poll() is None and time.monotonic() < deadline, f"{self._command[0]} did not start: {text}"
            time.sleep(0.05)

    def stop(self) -> None:
        """End the program and whatever it has started."""
        self._stack.close()

    @contextlib.contextmanager
    def open_session(self, capabilities: dict[str, Any]) -> Iterator[Session]:
        """Open a window in a new profile until the block ends."""
        wanted = {"capabilities": {"alwaysMatch": capabilities}}
        for is_last in (False, False, True):
            try:
                opened = send(self._client, "POST", "/session", wanted, timeout_s=SESSION_LIMIT_S)
                break
            except httpx.TimeoutException:
                assert not is_last, f"no browser came up: {self._log.read_text(errors='replace')[-2000:]}"
                self.stop()
                self.start()
        session = Session(self._client, f"/session/{opened['sessionId']}")
        try:
            yield session
        finally:
            session.call("DELETE", "")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def running_driver(command: Sequence[str], log: Path) -> Iterator[Driver]:
    """Run a driver until the block ends."""
    driver = Driver(command, log)
    try:
        driver.start()
        yield driver
    finally:
        driver.stop()


def _is_ready(client: httpx.Client) -> bool:
    try:
        return bool(send(client, "GET", "/status")["ready"])
    except httpx.TransportError:
        return False
