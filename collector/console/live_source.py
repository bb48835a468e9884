"""What the live page shows: the last events of a site, whose they are now, and a few counts.

`LiveSource` is what the page needs; `StoreSource` is the real one, a reader of the store. A source is used by one
thread at a time. Everything in a LiveRow is text or number as it stands in the store: the page writes it as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import msgspec

from collector.console.catalogue import CUSTOMERS, SITE_ID
from collector.console.live_people import MAX_PEOPLE, LivePerson, make_people
from collector.sites.book import DEFAULT_SPACE

ROWS = 60
WINDOW_MS = 24 * 3600 * 1000
TEXT_LIMIT = 160
SETTINGS = {"max_execution_time": 5}
QUERIES = Path(__file__).parent / "queries"


class LiveRow(msgspec.Struct, frozen=True):
    """One event as the page shows it. Times in milliseconds since 1970; a person id of zeros: nobody, a click alone."""

    event_id: str
    time_ms: int
    received_at_ms: int
    event_name: str
    visitor_id: str
    visitor_proof: str
    person_id: str
    customer_id: str = ""  # by all that is known now; "": anonymous
    customer_name: str = ""  # of a demo customer
    customer_id_then: str = ""  # as known when it happened
    assurance: int = 0
    provisional: int = 0  # 1: a tagged link alone says so
    path: str = ""
    title: str = ""
    channel: str = ""
    campaign: str = ""
    link_status: str = ""
    link_name: str = ""
    link_class: str = ""  # who followed a tagged link: human, scanner, prefetch, preview or bot
    browser: str = ""
    os: str = ""
    is_bot: int = 0
    props: str = "{}"


class LiveCounts(msgspec.Struct, frozen=True):
    """How many of each in the last 24 hours."""

    events: int = 0
    visitors: int = 0
    persons: int = 0
    customers: int = 0


class LiveSnapshot(msgspec.Struct, frozen=True):
    """What stands in the store now. `rows`: newest first, at most 60. `lag_ms`: acknowledged to loaded, -1: unknown.
    `people`: customers of late, the latest first."""

    rows: tuple[LiveRow, ...] = ()
    people: tuple[LivePerson, ...] = ()
    counts: LiveCounts = LiveCounts()
    lag_ms: int = -1


class LiveSource(Protocol):
    """Where the live page gets its rows. `read` may block; it raises StoreError where the store does not answer."""

    def read(self) -> LiveSnapshot:
        """Return what stands in the store now."""

    def close(self) -> None:
        """Give back what `read` has opened; `read` may be called again."""


class RowReader(Protocol):
    """The part of a StoreClient that is used here."""

    def query_rows(
        self, sql: str, params: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return the rows of a question."""

    def close(self) -> None:
        """Give the connection back."""


@cache
def read_query(name: str) -> str:
    """Return the text of one of our questions."""
    return (QUERIES / f"{name}.sql").read_text(encoding="utf-8")


class StoreSource:
    """Reads the demo site through the reader's views. `now_ms`: milliseconds since 1970."""

    def __init__(self, open_reader: Callable[[], RowReader], now_ms: Callable[[], int]) -> None:
        self._open_reader = open_reader
        self._now_ms = now_ms
        self._reader: RowReader | None = None

    def read(self) -> LiveSnapshot:
        """Return the last events, the counts and the lag. Raises StoreError."""
        if self._reader is None:
            self._reader = self._open_reader()
        params = {"site": SITE_ID, "since_ms": self._now_ms() - WINDOW_MS}
        rows = self._reader.query_rows(read_query("live_events"), {**params, "rows": ROWS}, SETTINGS)
        counts = self._reader.query_rows(read_query("live_counts"), params, SETTINGS)
        of_people = {**params, "space": DEFAULT_SPACE, "people": MAX_PEOPLE}
        people = self._reader.query_rows(read_query("live_people"), of_people, SETTINGS)
        lag = self._reader.query_rows(read_query("live_lag"), {}, SETTINGS)
        return LiveSnapshot(
            rows=tuple(make_row(row) for row in rows),
            people=make_people(people),
            counts=msgspec.convert(counts[0], LiveCounts) if counts else LiveCounts(),
            lag_ms=max(0, int(lag[0]["lag_ms"])) if lag else -1,
        )

    def close(self) -> None:
        """Close the connection to the store."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def make_row(row: Mapping[str, Any]) -> LiveRow:
    """Make a row of the page from a row of live_events.sql: long texts cut, demo customers named."""
    names = {customer.customer_id: customer.name for customer in CUSTOMERS}
    short = {name: value[:TEXT_LIMIT] if isinstance(value, str) else value for name, value in row.items()}
    return msgspec.convert({**short, "customer_name": names.get(str(row["customer_id"]), "")}, LiveRow)
