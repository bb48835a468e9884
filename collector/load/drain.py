"""Waiting until what lies in this host's spool now is in the store.

Segments are known by their number and salt, so that one which is sealed meanwhile stays the same one. Loaded is what is
gone, or what the loader's status says is loaded up to the size that it had. What comes later is not waited for. Other
hosts have spools of their own, which cannot be seen from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from collector.errors import InstanceError
from collector.load.status import is_loading, read_load_status
from collector.spool.reader import list_folders
from collector.spool.segments import parse_name

LOOK_S = 0.5
PATIENCE_S = 60.0
"""A loader that gets nowhere for so long is not waited for any longer."""

Spooled = dict[str, int]
"""Bytes of each segment, by `folder/number-salt`."""


def look_at_spool(data: Path) -> Spooled:
    """Return what lies in all folders of the spool now. `data`: the instance's folder."""
    found: Spooled = {}
    for folder in list_folders(data / "spool"):
        try:
            names = [path.name for path in folder.iterdir()]
        except OSError:
            continue
        for name in names:
            if parse_name(name) is not None and (size := _measure(folder / name)):
                found[_name_segment(folder.name, name)] = size
    return found


def find_waiting(data: Path, spooled: Spooled) -> Spooled:
    """Return the segments of an earlier look that are not loaded, with their bytes that are not."""
    status = read_load_status(data)
    loaded = {} if status is None else {_name_segment(*key.split("/", 1)): end for key, end in status.offsets.items()}
    there = look_at_spool(data)
    left = {key: size - loaded.get(key, 0) for key, size in spooled.items() if key in there}
    return {key: size for key, size in left.items() if size > 0}


def wait_for_spool(
    data: Path,
    tell: Callable[[int], None] = lambda waiting_bytes: None,
    *,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
) -> None:
    """Return when all is loaded that lies in the spool now. `tell` hears how many bytes wait.

    Raises InstanceError where no loader runs, where loading is paused, or where it gets nowhere for `patience_s`.
    """
    spooled = look_at_spool(data)
    still_s, before = 0.0, -1
    while left := find_waiting(data, spooled):
        waiting = sum(left.values())
        tell(waiting)
        status = read_load_status(data)
        still_s = still_s + LOOK_S if waiting == before else 0.0
        before = waiting
        why = ""
        if status is None or not is_loading(status, now_ms()):
            why = "no loader runs: start `tagstitch load`"
        elif status.paused:
            why = f"loading is paused ({status.paused}): `tagstitch status` says more"
        elif still_s >= patience_s:
            why = f"nothing of it was loaded for {patience_s:g} s: `tagstitch status` says more"
        if why:
            pieces = f"{len(left):,} segment{'s' * (len(left) != 1)} of the spool, {waiting:,} bytes, wait to be loaded"
            raise InstanceError(data, f"{pieces}, and {why}")
        sleep(LOOK_S)


def _name_segment(folder: str, name: str) -> str:
    return f"{folder}/{name.rpartition('.')[0]}"


def _measure(path: Path) -> int:
    """Return a segment's size under either of its names, 0 where it is gone."""
    for each in (path, path.with_suffix(".seg")):
        try:
            return each.stat().st_size
        except OSError:
            continue
    return 0
