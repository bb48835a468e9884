"""What the loader must not forget: how far each segment is loaded, and the one batch whose fate is not known yet.

    load/host       this host's id in the store, for ever: `batch_host`, `batches.host`. Made once, with the journal
    load/journal    two slots of SLOT_BYTES; each holds one frame (see `spool_frames`) with a State

A write goes to the slot that does not hold the newest State, then is synced: a torn write leaves the other slot. The
file gets its full size when it is made, so that the journal can be written when the disk is full.

Invariants
    1. A batch is frozen here (its segments' byte ranges and the token, which holds a digest of its bytes) before the
       first attempt, and stays frozen until the store has answered definitely.
    2. How far a segment is loaded stands here, synced, before the segment is removed; never the other way.
    3. `seq` grows by one with each batch that landed. Host and seq belong together: who loses the journal gets a new
       host id.

After a crash the loader finds either no manifest, and plans a batch anew, or one, and sends exactly its bytes again.
"""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

import msgspec

from collector import disk
from collector.errors import InstanceError
from collector.logs import get_logger
from collector.spool.frames import encode_frame, scan_frames

SLOT_BYTES = 131_072
JOURNAL_NAME = "journal"
HOST_NAME = "host"
BODY_FORM = 1
"""How a body is made of frames, see `load_batch`: whoever changes what is sent counts it up."""


class Range(msgspec.Struct, frozen=True):
    """Bytes `start` … `end` of a sealed segment, whole frames. `is_last`: nothing of the segment comes after."""

    folder: str
    segment: str
    start: int
    end: int
    is_last: bool

    @property
    def key(self) -> str:
        """The segment's name within the spool."""
        return f"{self.folder}/{self.segment}"


class Manifest(msgspec.Struct, frozen=True):
    """A frozen batch: what it is made of, and what goes into the list `batches` once it has landed."""

    seq: int
    token: str
    ranges: list[Range]
    events: int
    evidence: int
    rejected: int
    first_received_at_ms: int
    last_received_at_ms: int
    settings_version: int  # of the insert's settings: a token covers a block, and they decide what a block is
    body_form: int = BODY_FORM
    refusal_code: int = 0  # not 0: the batch is the rejection of its one line, which the store refused with this code


class State(msgspec.Struct, frozen=True):
    """One generation of the journal. `finished`: segments that are loaded whole and may still have to be removed."""

    generation: int
    host: str
    seq: int = 0
    offsets: dict[str, int] = {}
    finished: list[str] = []
    manifest: Manifest | None = None


class LoadJournal:
    """The journal of one loader. The caller holds the lock of the folder."""

    def __init__(self, folder: Path, settings_version: int) -> None:
        """Open the journal in `load/`, or make it.

        What is read is written again at once: it may stand in the system's memory only, after a failed sync or a
        kill in front of one. Raises OSError; InstanceError where a frozen batch cannot be repeated as it was.
        """
        self._path = folder / JOURNAL_NAME
        self._host_path = folder / HOST_NAME
        disk.make_folder(folder)
        found = _read_newest(self._path)
        if found is None:
            found = self._make()
        elif found.manifest is not None and _find_version(found.manifest) != (BODY_FORM, settings_version):
            raise InstanceError(folder, "a batch of another version is unsettled: let that version load it first")
        self._fd = disk.open_file(self._path)
        self.state = found
        try:
            self._write(found)
            self._write_host()
        except BaseException:
            self.close()
            raise

    def freeze(self, manifest: Manifest) -> None:
        """Note the batch that is going to be sent. It replaces one that was refused definitely."""
        self._write(msgspec.structs.replace(self.state, manifest=manifest))

    def thaw(self) -> None:
        """Forget the frozen batch: it was refused definitely, or its bytes cannot be read any more."""
        self._write(msgspec.structs.replace(self.state, manifest=None))

    def settle(self, ranges: list[Range], seq: int) -> None:
        """Note that the ranges are loaded. `seq`: of the batch that landed, or as before if there was nothing in it.

        Call it after `remove_finished`: a segment that is noted as finished is gone by then.
        """
        offsets = dict(self.state.offsets)
        finished = []
        for part in ranges:
            if part.is_last:
                offsets.pop(part.key, None)
                finished.append(part.key)
            else:
                offsets[part.key] = part.end
        self._write(
            msgspec.structs.replace(self.state, seq=seq, offsets=offsets, finished=finished, manifest=None),
        )

    def remove_finished(self, spool: Path) -> None:
        """Remove the segments that are loaded whole. Safe to repeat."""
        for key in self.state.finished:
            disk.unlink(spool / key)
        for folder in {Path(key).parent for key in self.state.finished}:
            with contextlib.suppress(FileNotFoundError):
                disk.sync_folder(spool / folder)

    def close(self) -> None:
        """Close the file."""
        disk.close(self._fd)

    def _write(self, state: State) -> None:
        state = msgspec.structs.replace(state, generation=self.state.generation + 1)
        frame = encode_frame(msgspec.json.encode(state))
        if len(frame) > SLOT_BYTES:
            raise ValueError(f"a state of {len(frame)} bytes does not fit the journal")
        disk.write_at(self._fd, frame, state.generation % 2 * SLOT_BYTES)
        disk.sync(self._fd)
        self.state = state

    def _make(self) -> State:
        if self._path.exists():
            get_logger().error(
                "the loader's journal is damaged: it is set aside, and this host gets a new id; "
                "events of the last batch may have landed twice until the store has merged them",
                file=f"{JOURNAL_NAME}.bad",
            )
            disk.rename(self._path, self._path.with_name(f"{JOURNAL_NAME}.bad"))
        state = State(generation=0, host=secrets.token_hex(6))
        disk.write_file(self._path, encode_frame(msgspec.json.encode(state)).ljust(2 * SLOT_BYTES, b"\0"))
        return state

    def _write_host(self) -> None:
        """Keep the file `host`, from which people and other roles read, equal to the journal."""
        text = f"{self.state.host}\n".encode()
        if not self._host_path.is_file() or self._host_path.read_bytes() != text:
            disk.write_file(self._host_path, text)


def has_unsettled_batch(folder: Path) -> bool:
    """Tell whether a batch is frozen whose fate is not known. While it is, no view on `landing` may change.

    `folder`: the instance's `load/`. Meant for `migrate`, which asks without the loader's lock.
    """
    state = _read_newest(folder / JOURNAL_NAME)
    return state is not None and state.manifest is not None


def _find_version(manifest: Manifest) -> tuple[int, int]:
    return manifest.body_form, manifest.settings_version


def _read_newest(path: Path) -> State | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    states = []
    for start in (0, SLOT_BYTES):
        frame = next(scan_frames(data, start, min(len(data), start + SLOT_BYTES)), None)
        if frame is not None and frame.line is not None:
            with contextlib.suppress(msgspec.MsgspecError):
                states.append(msgspec.json.decode(frame.line, type=State))
    return max(states, key=lambda state: state.generation, default=None)
