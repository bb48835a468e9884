"""A store for tests of the loader: a folder with one file for each block, so that it outlives a killed process.

It holds the loader to its promises while it serves: a token is one set of bytes, and while the fate of a batch is
unknown nothing else is sent. It deduplicates by token, as ClickHouse does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from collector.errors import SchemaError, StoreError, StoreUnavailable

Row = dict[str, Any]


class FolderStore:
    """A LandingStore. `plan`: what happens at the next inserts, first one first: see `insert`."""

    def __init__(self, folder: Path, calls: Any = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.plan: list[str] = []
        self.check_plan: list[StoreError] = []
        self.is_bad: Callable[[Row], bool] = lambda _: False
        self.attempts: list[tuple[str, bytes]] = []
        self._unsettled = ""
        self._calls = calls

    def check(self) -> None:
        """Raise what is planned."""
        if self.check_plan:
            raise self.check_plan.pop(0)

    def insert(self, body: bytes, token: str) -> None:
        """Take the block. Plans: `away` (not taken, no answer), `lost` (taken, no answer), a code (refused)."""
        assert self._unsettled in ("", token), "another batch was sent while one was unsettled"
        assert all(before == body for sent, before in self.attempts if sent == token), "one token, two sets of bytes"
        self.attempts.append((token, body))
        plan = self.plan.pop(0) if self.plan else ""
        self._unsettled = ""
        if plan == "away":
            self._unsettled = token
            raise StoreUnavailable("no answer")
        if plan.isdigit():
            raise StoreError("refused, and here is your data: SECRET", int(plan))
        if any(self.is_bad(json.loads(line)) for line in body.splitlines()):
            raise StoreError("cannot parse SECRET", 26)
        self._touch(self.folder / f"{hashlib.sha256(token.encode()).hexdigest()}.block", body)
        if plan == "lost":
            self._unsettled = token
            raise StoreUnavailable("reset after commit")

    def list_batch(self, row: Mapping[str, object]) -> None:
        """Take the row; a later one of the same host and seq replaces it."""
        self._touch(self.folder / f"{row['host']}-{row['seq']}.batch", json.dumps(dict(row)).encode())

    def _touch(self, path: Path, data: bytes) -> None:
        if self._calls is not None:
            # Where the process is killed, before or after it is taken.
            descriptor = self._calls.open(self.folder / "call", 0o101)
            self._calls.ftruncate(descriptor, 0)
        if path.suffix == ".batch" or not path.exists():
            draft = path.with_suffix(".draft")
            draft.write_bytes(data)
            draft.rename(path)
        if self._calls is not None:
            self._calls.unlink(self.folder / "call")

    @property
    def blocks(self) -> list[list[Row]]:
        """The blocks that were taken, by host and seq."""
        found = [[json.loads(line) for line in path.read_bytes().splitlines()] for path in self.folder.glob("*.block")]
        return sorted(found, key=lambda rows: rows[0]["batch_seq"])

    @property
    def rows(self) -> list[Row]:
        """All rows, block after block."""
        return [row for block in self.blocks for row in block]

    @property
    def batches(self) -> list[Row]:
        """The list of batches, by seq."""
        found = [json.loads(path.read_bytes()) for path in self.folder.glob("*.batch")]
        return sorted(found, key=lambda row: row["seq"])


SCHEMA_TROUBLE = SchemaError("views are missing: landing_to_events")
