"""Shutting the engine process in, by Landlock: its own folders, the libraries it needs, one port, nothing else.

What SQL can reach is what the process can reach: `file()`, `url()`, `remote()` and their kin end here, even if
`admission` had a hole. The kernel enforces it for this process, its threads and its children, and nothing can take
it back. It needs no privilege.

- Files: read and write in the data and the temporary folder; read in the Python installation, the system's
  libraries, time zones and what the C library asks for about the machine. No home, no configuration, no secrets.
- Network (Landlock ABI 4, Linux 6.7): the listening socket exists before; no connection goes out, no other port is
  bound. Signals and abstract sockets outside are out of reach from ABI 6 on.

Where the kernel has no Landlock, one WARNING says so and the engine runs on, behind `admission` alone.

Rules hold for threads that start later: call `confine` while the process has one thread, so before chdb is loaded.
Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import site
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import structlog

_log = structlog.get_logger("engine")

# System calls have these numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_IOCTL_DEV = 1 << 15
_ALL_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_READ = _EXECUTE | _READ_FILE | _READ_DIR
# What only makes sense for a folder; the kernel refuses it for a file.
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | (1 << 14) | _IOCTL_DEV
_NET = (1 << 0) | (1 << 1)
_SCOPES = (1 << 0) | (1 << 1)

_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/localtime"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ssl/certs", "/usr/share/ca-certificates"),
    *("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/sys/devices/system/cpu", "/sys/fs/cgroup"),
    # A dictionary over a table of ours asks whether "localhost" is this machine.
    *("/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/resolv.conf"),
    *("/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/loadavg", "/proc/sys", "/proc/uptime"),
)


def abi_version() -> int:
    """Return the version of Landlock that the kernel has; 0 where it has none or it is switched off."""
    return max(0, _syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION))


def confine(writable: Iterable[Path], readable: Iterable[Path] = (), *, abi: int | None = None) -> int:
    """Confine this process for good. Return the version of Landlock that holds; 0: not confined, said in the log.

    `writable`: folders that exist. `readable`: more paths to read, besides Python's and the system's libraries.
    Raise `OSError` where the kernel has Landlock and refuses the rules.
    """
    version = abi_version() if abi is None else abi
    if version == 0:
        _log.warning(
            "this kernel has no Landlock: files and network of the engine process are not confined, only SQL is checked"
        )
        return 0
    if version < 4:
        _log.warning("this kernel's Landlock is older than 6.7: the engine's outgoing connections are not confined")
    files = _ALL_FILES.get(version, _ALL_FILES[5])
    attributes = struct.pack("=QQQ", files, _NET if version >= 4 else 0, _SCOPES if version >= 6 else 0)[
        : 24 if version >= 6 else 16 if version >= 4 else 8
    ]
    ruleset = _checked(_syscall(_CREATE_RULESET, attributes, len(attributes), 0), "landlock_create_ruleset")
    try:
        for path in writable:
            _allow(ruleset, path, files)
        for path in [*map(Path, _SYSTEM), *python_paths(), *readable]:
            _allow(ruleset, path, _READ & files)
        _allow(ruleset, Path("/dev/null"), _READ_FILE | _WRITE_FILE)
        libc = ctypes.CDLL(None, use_errno=True)
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
        _checked(_syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)
    return version


def python_paths() -> list[Path]:
    """Return the folders that hold Python, its libraries and ours."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, *site.getsitepackages(), *filter(None, sys.path)}
    found |= {path for name, path in sysconfig.get_paths().items() if name in ("stdlib", "platstdlib", "purelib")}
    own = Path(__file__).resolve().parents[1]
    paths = [Path(path) for path in found if Path(path).exists()]
    # A whole file system is no library folder, and our checkout may hold data and secrets beside the package.
    wanted = [path for path in paths if path != Path("/usr") and path != Path("/") and path != own.parent]
    return [*wanted, own, Path(sys.executable).resolve()]


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _FILE_ONLY
        # struct landlock_path_beneath_attr is packed: 8 bytes of rights, 4 of descriptor.
        rule = struct.pack("=Qi", rights, descriptor)
        _checked(_syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0), f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)


def _syscall(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(libc.syscall(ctypes.c_long(number), *converted))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
