"""Looks at an instance from outside: folder, disk, secrets, web, spool, then the store.

In the order in which one depends on the other, and no further than makes sense: without secrets nothing else can be
asked. Reads only; nothing is made or mended here.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import msgspec

from collector.config import Config
from collector.doctor.finding import Finding, bad, good, unknown, warn
from collector.doctor.store import LATE_S, check_store
from collector.errors import KeyringError
from collector.instance import FORMAT, MARKER, Marker, read_state
from collector.keyring import ENVIRONMENT_NAME, read_keyring
from collector.spool.reader import list_folders
from collector.spool.segments import list_segments

WEB_PATIENCE_S = 5.0
MIB = 1 << 20


def check_instance(config: Config) -> Iterator[Finding]:
    """Yield findings about the instance in `config.data`. Never raises for what is away or broken."""
    folder = check_folder(config)
    yield folder
    if folder.verdict == "bad":
        return
    yield check_disk(config)
    secrets = check_secrets(config)
    yield secrets
    state = read_state(config.data_path)
    if state is not None:
        yield good("supervisor", f"tagstitch run, process {state.pid}")
    else:
        yield unknown("supervisor", "does not run on this folder: the roles are run singly, or not at all")
    yield from check_web(config)
    yield from check_spool(config)
    if secrets.verdict == "good":
        yield from check_store(config, read_keyring(config.secrets_path))


def check_folder(config: Config) -> Finding:
    """See that the folder is one of ours."""
    path = config.data_path
    fix = "name the right one with --data DIR (or TAGSTITCH_DATA), or make a new one: tagstitch run"
    try:
        marker = msgspec.json.decode((path / MARKER).read_bytes(), type=Marker)
    except (FileNotFoundError, NotADirectoryError):
        found = "is no instance: it holds no " + MARKER if path.is_dir() else "is not there"
        return bad("data folder", f"{config.data} {found}", fix)
    except OSError as error:
        return bad("data folder", f"{config.data}: {error.strerror}", "run this as the user whom it belongs to")
    except msgspec.MsgspecError:
        return bad("data folder", f"{config.data}: its {MARKER} is damaged", "restore it from a backup")
    if marker.format > FORMAT:
        return bad("data folder", f"{config.data} was made by a newer tagstitch", "update this program")
    return good("data folder", f"{config.data} is an instance")


def check_disk(config: Config) -> Finding:
    """See that there is room for what is accepted."""
    free, least = shutil.disk_usage(config.data_path).free, config.min_free_bytes
    if free < least:
        return bad(
            "disk",
            f"{free // MIB:,} MiB free, less than min_free_bytes: every beacon is answered 503",
            "make room; the tags keep their events and come again",
        )
    if free < 4 * least:
        return warn("disk", f"{free // MIB:,} MiB free; below {least // MIB:,} beacons are refused", "make room")
    return good("disk", f"{free / 1024 / MIB:,.1f} GiB free")


def check_secrets(config: Config) -> Finding:
    """See that the secrets can be read by us and by nobody else."""
    path = config.secrets_path
    try:
        read_keyring(path)
    except KeyringError as error:
        if os.environ.get(ENVIRONMENT_NAME):
            return bad("secrets", str(error), f"mend the variable {ENVIRONMENT_NAME}")
        if not path.exists():
            # `tagstitch run` would make new ones, and every visitor a stranger: not here, where there were some.
            return bad(
                "secrets",
                f"{path} is not there",
                "restore it from a backup, or name it with secrets_file. New ones would make every visitor a stranger",
            )
        if path.stat().st_mode & 0o077:
            return bad("secrets", f"{path} can be read by others; no role starts with it", f"chmod 600 {path}")
        return bad("secrets", str(error), "run this as the user whom they belong to, or restore them from a backup")
    if os.environ.get(ENVIRONMENT_NAME):
        return good("secrets", f"from the variable {ENVIRONMENT_NAME}")
    return good("secrets", f"{path}, for its owner's eyes only")


def check_web(config: Config) -> Iterator[Finding]:
    """Ask web whether it would accept a beacon now, and whether it still hears of changes to sites."""
    where = f"{config.host}:{config.port}"
    start = "start it: tagstitch run, or tagstitch web"
    try:
        with urllib.request.urlopen(f"http://{where}/ready", timeout=WEB_PATIENCE_S) as answer:
            text = answer.read(100_000)
    except urllib.error.HTTPError as error:
        text = error.read(100_000)
    except TimeoutError:
        yield bad("web", f"{where} takes connections and answers nothing", f"its log says why; else {start}")
        return
    except (OSError, ValueError) as error:
        yield bad("web", f"does not answer on {where}: {getattr(error, 'reason', error)}", start)
        return
    try:
        ready = json.loads(text)
        is_ready, reason = ready["ready"], ready["reason"]
    except (ValueError, TypeError, KeyError):
        yield bad("web", f"another program answers on {where}", "stop that one, or choose another port with --port")
        return
    if not is_ready:
        yield bad("web", f"runs on {where} and accepts nothing: {reason}", "mend what it names; nothing is lost")
        return
    yield good("web", f"accepts beacons on {where}")
    age_s = ready.get("settings_age_s") or 0
    if age_s > max(LATE_S, 3 * config.settings_interval_s):
        text = f"has not heard of sites and keys for {age_s:.0f} s; the last ones stay in force"
        yield warn("web", text, "the store is away, see below")


def check_spool(config: Config) -> Iterator[Finding]:
    """See that what was accepted moves on to the store, and that nothing was set aside."""
    spool = config.data_path / "spool"
    now_s = time.time()
    waiting = oldest_s = 0.0
    damaged = 0
    try:
        for folder in list_folders(spool):
            for path in (*list_segments(folder, is_open=False), *list_segments(folder, is_open=True)):
                state = path.stat()
                if state.st_size:
                    waiting += state.st_size
                    oldest_s = max(oldest_s, now_s - state.st_mtime)
            damaged += len(list(folder.glob("*.bad")))
    except FileNotFoundError:
        pass  # a segment was loaded and removed under our eyes: it moves
    except OSError as error:
        yield unknown("spool", f"cannot be looked at: {error.strerror}", "run this as the user whom it belongs to")
        return
    if oldest_s > max(LATE_S, 10 * config.segment_age_s):
        text = f"{waiting / MIB:,.1f} MiB wait, the oldest for {oldest_s / 60:.0f} minutes: load does not keep up"
        fix = "does load run? tagstitch run, or tagstitch load; with the store away it waits for it. Nothing is lost"
        yield bad("spool", text, fix)
    else:
        yield good("spool", "what is accepted moves on at once")
    refused = config.data_path / "load" / "refused"
    if damaged:
        yield warn("spool", f"{damaged} damaged stretches are set aside as *.bad", "check the disk: docs/operations.md")
    if refused.is_dir() and any(refused.iterdir()):
        yield warn("spool", f"ClickHouse refused rows, they lie in {refused}", "keep them and report it")
