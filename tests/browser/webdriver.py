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


def send(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None) -> Any:
    """Send one command to the driver and return the value of its answer."""
    response = client.request(method, path, json=body if body is not None or method != "POST" else {})
    value = response.json()["value"]
    if response.is_error:
        raise WebDriverError(f"{path.rpartition('/')[2]}: {value['error']}: {value['message']}")
    return value


@contextlib.contextmanager
def running_driver(command: Sequence[str], log: Path) -> Iterator[httpx.Client]:
    """Run a driver on a free port until the block ends. What it and its browsers say goes into `log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as said:
        # A group of its own: xvfb-run, the screen, the driver and its browsers end together.
        process = subprocess.Popen([*command, f"--port={port}"], stdout=said, stderr=said, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            deadline = time.monotonic() + START_LIMIT_S
            while not _is_ready(client):
                text = log.read_text(errors="replace")[-2000:]
                assert process.poll() is None and time.monotonic() < deadline, f"{command[0]} did not start: {text}"
                time.sleep(0.05)
            yield client
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@contextlib.contextmanager
def open_session(client: httpx.Client, capabilities: dict[str, Any]) -> Iterator[Session]:
    """Open a window in a new profile until the block ends."""
    opened = send(client, "POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
    path = f"/session/{opened['sessionId']}"
    try:
        yield Session(client, path)
    finally:
        send(client, "DELETE", path, None)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return bool(send(client, "GET", "/status", None)["ready"])
    except httpx.TransportError:
        return False
