"""Programs that the tests of `deploy/` ask for a second opinion."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"


def need_program(name: str, install: str) -> str:
    """Return the path of a program: beside this Python, else on the path, sbin included.

    Where there is none the test is skipped, and fails in CI. `install` says how to get it.
    """
    beside = Path(sys.executable).parent / name
    found = (
        str(beside) if beside.is_file() else shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    )
    if found:
        return found
    message = f"{name} is not installed: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
