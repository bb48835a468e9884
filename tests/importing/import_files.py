"""An instance's folder without processes, and short ways to import into it and to read what was spooled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.config import Config
from collector.importing.events import EventImport, Options, Preview
from collector.importing.rows import find_form
from collector.importing.state import ImportState
from collector.keyring import Keyring, make_keyring
from collector.sites.book import Site, SiteBook
from collector.spool.frames import scan_frames

NOON_MS = 1_800_000_000_000


class Quiet:
    """A Watcher that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.waits: list[str] = []
        self.reached = 0

    def begin(self, step: str, total: int, unit: str) -> None:
        self.steps.append(step)

    def reach(self, count: int) -> None:
        self.reached = count

    def wait(self, reason: str) -> None:
        self.waits.append(reason)


@dataclass
class Importer:
    """Imports files into `folder`, at noon of a day in 2027."""

    folder: Path
    site: Site = field(default_factory=lambda: Site(site_id="shop", space_id="main", origins=("https://shop.example",)))
    keyring: Keyring = field(default_factory=make_keyring)
    settings: dict[str, Any] = field(default_factory=dict)
    watcher: Quiet = field(default_factory=Quiet)
    now_ms: Callable[[], int] = lambda: NOON_MS

    def open(self, path: Path, *, site: str = "shop", refused: Path | None = None, **options: Any) -> EventImport:
        """Return the import of a file."""
        options.setdefault("form", find_form(path))
        return EventImport(
            Config(data=str(self.folder / "data"), **self.settings),
            self.keyring,
            SiteBook(sites={"shop": self.site}),
            path,
            Options(site, **options),
            self.watcher,
            refused_path=refused,
            now_ms=self.now_ms,
        )

    def run(self, path: Path, **options: Any) -> ImportState:
        """Import a file."""
        return asyncio.run(self.open(path, **options).run())

    def preview(self, path: Path, **options: Any) -> Preview:
        """Do as if."""
        return self.open(path, **options).preview()

    def write(self, name: str, *rows: dict[str, Any] | str | bytes) -> Path:
        """Write a file of lines."""
        path = self.folder / name
        lines = [json.dumps(row).encode() if isinstance(row, dict) else row for row in rows]
        path.write_bytes(b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines))
        return path

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What is in the spool, in its order."""
        found = []
        for path in sorted((self.folder / "data" / "spool").rglob("*.seg")):
            frames = scan_frames(path.read_bytes())
            found += [json.loads(frame.line) for frame in frames if frame.line is not None]
        return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events in the spool, in its order."""
        return [event for line in self.lines for event in line["events"]]


def read_refused(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of refused rows."""
    return [json.loads(line) for line in path.read_text().splitlines()]
