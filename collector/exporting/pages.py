"""What every export is made of: pages of rows, read by key, each no larger than fits into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from collector.exporting.columns import Column

FIRST = "00000000-0000-0000-0000-000000000000"


class Page(msgspec.Struct):
    """Some rows. `read`: how many the store gave for it, by which progress is measured. Who is not in it: `withheld`
    for being erased or restricted, `refused` for want of consent, both in rows."""

    rows: list[tuple[Any, ...]]
    read: int
    withheld: int = 0
    refused: int = 0


class Source(Protocol):
    """What is exported. `name`: members, customers, timeline or changes. `about`: what was asked for, as the audit log
    keeps it, without any clear value."""

    name: str
    columns: tuple[Column, ...]
    about: dict[str, Any]

    def count(self) -> int:
        """Return how many rows the store has for it, about. Raises StoreError."""

    def read(self) -> Iterator[Page]:
        """Yield the rows in pages. Raises StoreError."""
