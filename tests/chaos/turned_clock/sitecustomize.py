"""Turns the wall clock of a Python process: put in front of the path of an instance's roles, and read by none else.

CHAOS_CLOCK names a file with the milliseconds by which the clock is off. Monotonic time goes on as it is,
as it does where an administrator sets the clock. libfaketime cannot: with it, `time.sleep` fails.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_file = Path(os.environ["CHAOS_CLOCK"])
_time_ns = time.time_ns


def read_turned_clock() -> int:
    """Return nanoseconds since 1970 by the turned clock."""
    return _time_ns() + int(_file.read_text()) * 1_000_000


time.time_ns = read_turned_clock
time.time = lambda: read_turned_clock() / 1e9
