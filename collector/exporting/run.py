"""One export from beginning to end: pages into a file, an entry in the audit log, and then the file is seen.

Nobody has the rows before the entry is written, to standard output and to a program neither. So whatever was given
away stands in the log; an entry may be there of a file that then could not be renamed, which its owner sees.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from collector.exporting.files import ExportError, check_target, explain, find_form, make_writer, open_part, show
from collector.exporting.pages import Source
from collector.identity.audit import EXPORT, write_setting
from collector.store.client import StoreClient


class Done(msgspec.Struct):
    """What an export has. `withheld` and `refused`: rows left out, see `Page`."""

    rows: int = 0
    withheld: int = 0
    refused: int = 0
    audit_id: str = ""


class Watcher(Protocol):
    """Hears how far an export is."""

    def begin(self, rows: int) -> None:
        """Hear how many rows there are to read, about."""

    def advance(self, rows: int) -> None:
        """Hear that so many more were read."""


class Log:
    """Where exports are written down."""

    def __init__(self, client: StoreClient, space_id: str, actor: str, now_ms: Callable[[], int], via: str) -> None:
        self._client = client
        self._space_id = space_id
        self._actor = actor
        self._now_ms = now_ms
        self._via = via

    def note(self, source: Source, done: Done, form: str, purpose: str = "") -> None:
        """Write an export down, before anybody has it. Raises StoreError."""
        said: dict[str, Any] = {
            "what": source.name,
            "space": self._space_id,
            **source.about,
            "purpose": purpose,
            "form": form,
            "rows": done.rows,
            "left_out": done.withheld + done.refused,
            "personal": [column.name for column in source.columns if column.personal],
        }
        entry = write_setting(self._client, self._space_id, EXPORT, self._actor, said, self._now_ms(), via=self._via)
        done.audit_id = entry.audit_id


def export_file(source: Source, path: Path, log: Log, watcher: Watcher, *, purpose: str = "", replaces: bool) -> Done:
    """Write an export to a file. Raises ExportError, StoreError; then there is no file, or the one that was."""
    check_target(path, replaces=replaces)
    with open_part(path) as out:
        try:
            done = _fill(source, path.name, out, watcher)
            out.flush()
            os.fsync(out.fileno())
            log.note(source, done, find_form(path.name), purpose)
            show(path, out, replaces=replaces)
        except OSError as error:
            raise explain(path, error) from None
    return done


def export_stream(source: Source, target: IO[bytes], log: Log, watcher: Watcher, *, purpose: str = "") -> Done:
    """Write an export as CSV to standard output, after it was put by in a file without a name. Raises ExportError,
    StoreError."""
    try:
        with tempfile.TemporaryFile() as out:
            done = _fill(source, "csv", out, watcher)
            log.note(source, done, "csv", purpose)
            out.seek(0)
            shutil.copyfileobj(out, target)
            target.flush()
    except BrokenPipeError:
        raise ExportError("standard output was closed before the end: whoever reads it has a part") from None
    except OSError as error:
        raise explain("standard output, or the folder for temporary files", error) from None
    return done


def _fill(source: Source, name: str, out: IO[bytes], watcher: Watcher) -> Done:
    done = Done()
    watcher.begin(source.count())
    writer = make_writer(name, out, source.columns)
    for page in source.read():
        writer.write(page.rows)
        done.rows += len(page.rows)
        done.withheld += page.withheld
        done.refused += page.refused
        watcher.advance(page.read)
    writer.close()
    return done
