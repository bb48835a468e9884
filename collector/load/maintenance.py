"""Maintenance: beacons are accepted to disk as always, and nothing is loaded.

The file `load/maintenance` in the instance's folder is the switch, so that it needs no running instance, holds over
restarts and reaches the loader of this host alone. Whoever works on the store switches it on, waits until the loader
says that it is paused, and is then alone with the store. The spool grows meanwhile, up to its bounds.
"""

from __future__ import annotations

from pathlib import Path

from collector import disk

FILE_NAME = "maintenance"


def find_switch(data: Path) -> Path:
    """Return the file that is there while maintenance is on. `data`: the instance's folder."""
    return data / "load" / FILE_NAME


def is_maintenance(data: Path) -> bool:
    """Tell whether maintenance is on. Raises OSError where the folder cannot be looked into."""
    return find_switch(data).exists()


def set_maintenance(data: Path, wanted: bool) -> bool:
    """Switch it on or off, durably. Returns whether that changed anything. Raises OSError."""
    switch = find_switch(data)
    if wanted == switch.exists():
        return False
    if wanted:
        disk.make_folder(switch.parent)
        disk.write_file(switch, b"")
    else:
        disk.unlink(switch)
        disk.sync_folder(switch.parent)
    return True
