"""File operations that fail, or kill the process, at the n-th call: put in the place of `os` in `collector.disk`.

Syncs are counted and may fail, but do not wait for the disk: the system's memory outlives a killed process, and
nothing here cuts the power.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Any

CALLS = frozenset({"open", "write", "pwrite", "ftruncate", "fdatasync", "fsync", "replace", "unlink"})

SYNCS = frozenset({"fdatasync", "fsync"})


def fail_with(number: int) -> Callable[..., Any]:
    """The call fails and does nothing."""

    def fault(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        raise OSError(number, os.strerror(number), name)

    return fault


def write_half(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """A write takes half of the bytes and says so; anything else works."""
    if name in ("write", "pwrite"):
        fd, data, *rest = arguments
        return call(fd, data[: max(1, len(data) // 2)], *rest)
    return call(*arguments)


def tear(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """A write takes half of the bytes and then fails; anything else fails after it has happened."""
    if name in ("write", "pwrite"):
        write_half(name, call, *arguments)
    else:
        made = call(*arguments)
        if name == "open":
            os.close(made)
    raise OSError(errno.EIO, os.strerror(errno.EIO), name)


def die_before(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """The process is killed instead of the call."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """The process is killed when the call has happened; a write has happened by half."""
    try:
        write_half(name, call, *arguments)
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


FAULTS: dict[str, Callable[..., Any]] = {
    "ENOSPC": fail_with(errno.ENOSPC),
    "EIO": fail_with(errno.EIO),
    "EMFILE": fail_with(errno.EMFILE),
    "short": write_half,
    "torn": tear,
}


class FaultyOs:
    """`os`, but call number `at` (from 1; 0: none) of those in `names` meets the fault, and `times - 1` after it."""

    def __init__(
        self, at: int = 0, fault: Callable[..., Any] = write_half, times: int = 1, names: frozenset[str] = CALLS
    ) -> None:
        self.calls: list[str] = []
        self._names = names
        self._range = range(at, at + times) if at else range(0)
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name) if name not in SYNCS else os.fstat
        if name not in self._names:
            return call

        def counted(*arguments: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) in self._range:
                return self._fault(name, call, *arguments)
            return call(*arguments)

        return counted
