"""Log lines: one for each thing, in a form that nobody can forge, without what a client sent."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import logging, sys
from collector.logs import configure_logs, get_logger
configure_logs("web", sys.argv[1], sys.argv[2])
{}
"""


def write(code: str, form: str = "json", level: str = "info") -> list[str]:
    """Return the lines that a process writes to standard error. Not to standard output, ever."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(code), level, form], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_one_object_a_line_with_role_level_and_time() -> None:
    """What is logged by us and by a library has one form."""
    ours, theirs = (
        json.loads(line)
        for line in write('get_logger().info("ours", count=2); logging.getLogger("uvicorn.error").error("theirs")')
    )
    assert (ours["event"], ours["count"], ours["role"], ours["level"]) == ("ours", 2, "web", "info")
    assert (theirs["event"], theirs["role"], theirs["level"]) == ("theirs", "web", "error")
    assert ours["timestamp"].endswith("Z")


def test_levels_are_kept() -> None:
    """Below the level nothing is written; a library's chatter below WARNING never."""
    code = 'get_logger().info("a"); get_logger().warning("b"); logging.getLogger("x").info("c")'
    assert [json.loads(line)["event"] for line in write(code, level="warning")] == ["b"]
    assert [json.loads(line)["event"] for line in write(code, level="debug")] == ["a", "b"]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "code",
    [
        r'get_logger().info("one", value="a\n2026-01-01T00:00:00Z [error    ] forged")',
        r'logging.getLogger("x").error("one %s", "\r\n2026-01-01T00:00:00Z [error    ] forged\x1b[2K\u2028")',
    ],
)
def test_nobody_writes_a_line_in_our_name(form: str, code: str) -> None:
    """Line ends and terminal controls in values and messages are escaped."""
    (line,) = write(code, form)
    assert "forged" in line
    assert not line.startswith("2026-01-01")
    assert line.isprintable()


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_names_its_place_and_not_what_it_quotes(form: str) -> None:
    """The traceback stays; mail address, network address and token in the message go. Variables are never shown."""
    code = """
def handle(body):
    canary_local = "canary-in-a-variable"
    raise ValueError(f"invalid literal: {body!r}")
try:
    handle("jane.doe@example.org 203.0.113.77 eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.dozjgNryP4J3jVmN")
except ValueError:
    logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=True)
"""
    text = "\n".join(write(code, form))
    assert "ValueError: invalid literal" in text
    assert "in handle" in text
    for canary in ("jane", "203.0.113", "eyJ", "variable"):
        assert canary not in text, canary


def test_a_library_that_is_loud_again_says_no_address() -> None:
    """urllib3 writes the whole address that it asks again; another library sets its level, after ours was set."""
    code = (
        'logging.getLogger("urllib3").setLevel(logging.DEBUG);'
        'logging.getLogger("urllib3.connectionpool").warning("Retrying: /?param_customer=jane.doe");'
        'logging.getLogger("other").warning("is heard")'
    )
    (line,) = write(code)
    assert json.loads(line)["event"] == "is heard"
