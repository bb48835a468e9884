"""Makes sure that nobody writes to the old store while the last of it is copied.

The file `load/maintenance` stops the loader (see `load.maintenance`); `load/status.json` says when it has stopped.
A loader that does not run cannot be in the middle of anything: then its lock is held here instead. Either way no
batch may be unsettled, as its fate is known to the old store alone. Stitch may go on: what it writes is a function of
what was loaded. It is waited for, so that the map at the target is the one that readers know.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from collector import disk
from collector.errors import InstanceError
from collector.load.journal import has_unsettled_batch
from collector.load.loader import LOCK_NAME
from collector.load.maintenance import set_maintenance
from collector.load.patience import MAINTENANCE
from collector.load.status import FILE_NAME as STATUS_NAME
from collector.store.client import StoreClient

LOADER_PATIENCE_S = 60.0
STITCH_PATIENCE_S = 60.0
LOOK_S = 0.1
SETTLE_S = 1.0

BEHIND = """
SELECT count() AS n FROM (SELECT host, max(seq) AS last FROM batches GROUP BY host) AS loaded
LEFT JOIN (SELECT host, max(seq) AS done FROM stitch_progress GROUP BY host) AS stitched USING host
WHERE last > done
"""


class LoaderStatus(msgspec.Struct):
    """What is read of `load/status.json`."""

    at_ms: int
    paused: str = ""


@dataclass
class Pause:
    """A pause of the loading. Set `is_kept` where the loader must not go on with the old store."""

    is_kept: bool = False


@contextlib.contextmanager
def paused_loading(data: Path, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Pause]:
    """Pause loading; go on after it, unless the pause is to be kept or loading was paused before.

    Raises InstanceError where the loader does not come to rest, or a batch stays unsettled. A pause that somebody else
    began is never ended here, not for a moment: whoever switched it on may be at work on the store.
    """
    began_ms = time.time_ns() // 1_000_000
    changed = set_maintenance(data, True)
    pause = Pause()
    try:
        with contextlib.ExitStack() as holds:
            _await_loader(data, began_ms, holds, sleep, is_ours=changed)
            yield pause
    finally:
        if changed and not pause.is_kept:
            set_maintenance(data, False)


def _await_loader(
    data: Path, began_ms: int, holds: contextlib.ExitStack, sleep: Callable[[float], None], *, is_ours: bool
) -> None:
    folder = data / "load"
    give_up_at = time.monotonic() + LOADER_PATIENCE_S
    while True:
        lock = disk.take_lock(folder / LOCK_NAME)
        if lock is not None:
            holds.callback(disk.close, lock)
            if has_unsettled_batch(folder):
                raise InstanceError(
                    data, "a batch is unsettled and no loader runs: start the instance, so that it is settled first"
                )
            return
        status = read_loader_status(folder)
        if status is not None and status.paused == MAINTENANCE and status.at_ms >= began_ms:
            if not has_unsettled_batch(folder):
                return
            if not is_ours:
                raise InstanceError(
                    data,
                    "a batch is unsettled: end maintenance first (`tagstitch maintenance off`), so that it is loaded",
                )
            # We have paused it with a batch on its way. Let it finish that, then look again.
            set_maintenance(data, False)
            sleep(SETTLE_S)
            began_ms = time.time_ns() // 1_000_000
            set_maintenance(data, True)
        if time.monotonic() > give_up_at:
            why = f"it says: {status.paused}" if status is not None and status.paused else "it says nothing"
            raise InstanceError(data, f"the loader does not come to rest ({why}): look at `tagstitch status`")
        sleep(LOOK_S)


def read_loader_status(folder: Path) -> LoaderStatus | None:
    """Return what the loader says of itself, or None where it has said nothing."""
    try:
        return msgspec.json.decode((folder / STATUS_NAME).read_bytes(), type=LoaderStatus)
    except (OSError, msgspec.MsgspecError):
        return None


def await_stitch(client: StoreClient, *, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until stitch has every batch of the list. False: it has not, and goes on at the target by itself."""
    give_up_at = time.monotonic() + STITCH_PATIENCE_S
    while int(client.query_rows(BEHIND)[0]["n"]):
        if time.monotonic() > give_up_at:
            return False
        sleep(LOOK_S)
    return True
