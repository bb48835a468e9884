"""The files that a process has open, read while it goes on opening and closing them."""

from __future__ import annotations

import contextlib
from pathlib import Path


def list_open_files(pid: int) -> list[str]:
    """Return what the descriptors of a process point at; one that is closed meanwhile is left out."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(descriptor.readlink()))
    return found
