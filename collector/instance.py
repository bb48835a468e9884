"""The folder of an instance: made, recognised, locked.

Layout: `tagstitch.json` (marks the folder as ours), `lock` (held while `tagstitch run` lives), `secrets.json`,
`engine/` and `engine-tmp/` (the embedded store), `spool/` (one folder for each web process), `load/`, `web/`,
`rejected/` (refused bodies for a replay), `adapters/` (indexes of files that adapters read), `run/state.json` (ports
of the running instance, so that `--data DIR` is all that a command needs), `run/roles.json` and `run/metrics/` (how
it is doing).

Invariants: nothing is written into a folder that holds files of somebody else; a folder of a newer format is left
alone; the lock dies with the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from collector.config import Config
from collector.errors import InstanceBusy, InstanceError

FORMAT = 1
MAY_COME_BEFORE = frozenset(("lock", "secrets.json", "backup_keys.json", "erasures.jsonl", "spool", "lost+found"))
"""What a new folder may hold: the lock, secrets that were copied from another host, a disk mounted for the spool."""
MARKER = "tagstitch.json"


class Marker(msgspec.Struct, frozen=True):
    """What stands in the marker file."""

    format: int


class RunningState(msgspec.Struct, frozen=True):
    """Where a running instance listens. `pid` is the supervisor's."""

    pid: int
    host: str
    port: int
    engine_host: str
    engine_port: int


@dataclass
class Instance:
    """An opened data folder. Holds its lock until `close`, if it was opened for running."""

    path: Path
    _lock: IO[str] | None = field(default=None, repr=False)

    @property
    def state_path(self) -> Path:
        """The file that says where the running instance listens."""
        return self.path / "run" / "state.json"

    def write_state(self, state: RunningState) -> None:
        """Publish where we listen; replaced in one step."""
        self.state_path.parent.mkdir(exist_ok=True)
        draft = self.state_path.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(state))
        draft.replace(self.state_path)

    def close(self) -> None:
        """Give the lock back and withdraw the state."""
        if self._lock is not None:
            self.state_path.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None


def open_instance(path: Path, *, lock: bool) -> Instance:
    """Open the folder, and make it where it does not exist or is empty.

    `lock`: claim it for this process. Raises InstanceError for a foreign, newer or unwritable folder and
    InstanceBusy where another process has claimed it.
    """
    marker_path = path / MARKER
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not marker_path.exists():
            strangers = sorted(entry.name for entry in path.iterdir() if entry.name not in MAY_COME_BEFORE)
            if strangers:
                raise InstanceError(
                    path, f"it is no tagstitch folder (it holds {strangers[0]}): choose another one with --data"
                )
            path.chmod(0o700)
            marker_path.write_bytes(msgspec.json.encode(Marker(format=FORMAT)))
        marker = msgspec.json.decode(marker_path.read_bytes(), type=Marker)
    except msgspec.MsgspecError as error:
        raise InstanceError(path, f"its {MARKER} is damaged: restore it from a backup") from error
    except OSError as error:
        raise InstanceError(
            path, f"{error.strerror or error}: check its permissions, or choose another one with --data"
        ) from error
    if marker.format > FORMAT:
        raise InstanceError(path, f"it was made by a newer tagstitch (format {marker.format}): update this program")
    if not lock:
        return Instance(path)

    handle = (path / "lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.seek(0)
        holder = handle.read(32).strip() or "unknown"
        handle.close()
        raise InstanceBusy(
            path, f"another tagstitch (process {holder}) runs on it: stop that one, or choose another with --data"
        ) from error
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return Instance(path, handle)


def read_state(path: Path) -> RunningState | None:
    """Return where the instance in this folder listens, or None where none runs."""
    try:
        state = msgspec.json.decode((path / "run" / "state.json").read_bytes(), type=RunningState)
    except (OSError, msgspec.MsgspecError):
        return None
    try:
        os.kill(state.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return state


def follow_running(config: Config, explicit: frozenset[str] = frozenset()) -> Config:
    """Return the settings with the ports of the instance that runs in the data folder.

    `explicit`: settings that were given by flag, environment or file; they stay as they are.
    """
    state = read_state(config.data_path)
    if state is None:
        return config
    found = {
        "host": state.host,
        "port": state.port,
        "engine_host": state.engine_host,
        "engine_port": state.engine_port,
    }
    return msgspec.structs.replace(config, **{name: value for name, value in found.items() if name not in explicit})
