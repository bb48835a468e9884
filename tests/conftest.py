"""Marks by what a test needs, so that nobody has to write them: browser, engine, chaos. `make quick` leaves them out.

A module that takes a real engine, store or instance from one of the helpers beside this file needs the engine; what
stands in `browser/` needs a browser, what stands in `chaos/` kills processes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# Stores make and remove small files by the thousand: that costs a disk's file system more than what stands in them.
IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 8 * 2**30
"""A whole run leaves one of them."""
if IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))

HERE = Path(__file__).parent
NEEDS_ENGINE = (
    "running_engine",
    "running_store",
    "running_instance",
    "start_instance",
    "RunningStore",
    "RunningEngine",
)
# A link's token as the tests make it: kind, key, a random id, and whatever follows.
LINK_TOKEN = re.compile(r"(?<!\w)[A-Za-z][a-z0-9]{4}\.[\w-]{11}[\w.-]*")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a case without the token that it is given: a token is random, and the processes that share the tests must
    all know a case by the same name."""
    return LINK_TOKEN.sub("token", val) if isinstance(val, str) and LINK_TOKEN.search(val) else None


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """A test that plays a role in this process sets its logs up: they end with the test, as what they write to does."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests, and put the modules that take long first: where several processes share the tests, the short
    ones fill the end, and no process waits for one that has just begun a long one."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        if folder in {"browser", "chaos"}:
            item.add_marker(folder)
        module = getattr(item, "module", None)
        fixtures = getattr(item, "fixturenames", ())
        if any(hasattr(module, name) for name in NEEDS_ENGINE) or {"engine", "store", "shop"} & set(fixtures):
            item.add_marker("engine")
    slow, long = (
        {item.path for item in items if marks & {mark.name for mark in item.iter_markers()}}
        for marks in ({"slow"}, {"browser", "chaos", "engine"})
    )
    items.sort(key=lambda item: (item.path not in slow, item.path not in long))
