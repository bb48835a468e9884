"""File operations that must survive a power cut, each with the one thing that is easily forgotten about it.

Owns no policy: callers say when to sync. Every function lets OSError through. New files can be read by their owner
alone (0600), new folders entered by their owner alone (0700): what lies there is personal data. Everything goes
through the name `os` of this module, so that a test can let the n-th call fail.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
from pathlib import Path

MOST_OPEN_FILES = 65_536


def make_folder(path: Path) -> None:
    """Make the folder and its missing parents, and sync the folder above each new one."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


def create_file(path: Path) -> int:
    """Create the file for appending and return its descriptor; FileExistsError where it is there already.

    The name is durable only after `sync_folder`.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


def open_file(path: Path) -> int:
    """Open an existing file for reading and writing and return its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def write_all(fd: int, data: bytes) -> None:
    """Write all of the bytes at the end of the file. After an OSError some of them may stand there."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of the bytes at the offset. After an OSError some of them may stand there."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def truncate(fd: int, size: int) -> None:
    """Cut the file to `size` bytes."""
    os.ftruncate(fd, size)


def sync(fd: int) -> None:
    """Wait until the file's bytes and length are on disk.

    After an OSError the kernel may have marked the lost bytes as clean: a second sync that succeeds proves nothing
    about them. Cut them off or write them again.
    """
    os.fdatasync(fd)


def sync_folder(path: Path) -> None:
    """Wait until the folder's names are on disk: after a create, rename or unlink that must last."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def close(fd: int) -> None:
    """Close the descriptor."""
    os.close(fd)


def rename(source: Path, target: Path) -> None:
    """Rename within one folder, replacing what has the new name. Durable only after `sync_folder`."""
    os.replace(source, target)  # noqa: PTH105


def write_file(path: Path, data: bytes) -> None:
    """Put the bytes into the file in one step, durably: whoever looks sees the old content or the new one.

    One writer at a time: the draft has a fixed name, so that a draft left by a crash does not stay.
    """
    draft = path.with_name(f".{path.name}.draft")
    unlink(draft)
    fd = create_file(draft)
    try:
        write_all(fd, data)
        sync(fd)
    finally:
        close(fd)
    rename(draft, path)
    sync_folder(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Put the bytes into the file in one step, and wait for no disk: after a power cut it may be old, empty or gone.

    For what is written every second and only ever looked at. One writer at a time, as with `write_file`.
    """
    draft = path.with_name(f".{path.name}.draft")
    unlink(draft)
    fd = create_file(draft)
    try:
        write_all(fd, data)
    finally:
        close(fd)
    rename(draft, path)


def unlink(path: Path) -> None:
    """Remove the file; none is fine. Durable only after `sync_folder`."""
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return


def measure_free(path: Path) -> int:
    """Return the bytes that we may still write on the disk that holds `path`."""
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize


def take_lock(path: Path) -> int | None:
    """Lock the file exclusively, making it where needed. Return its descriptor, or None where another holds it.

    The lock goes with the descriptor: when it is closed or the process dies, however it dies.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        raise
    return fd


def allow_open_files() -> None:
    """Let this process open as many files as it may, MOST_OPEN_FILES at most.

    Systems give 1,024 unless asked. A web process holds more connections than that, and the engine's merges more files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a container may forbid it; then what there is must do
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
