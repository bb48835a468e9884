"""A source for the live page that tests fill: what stands in the store, and whether it answers."""

from __future__ import annotations

import threading
import uuid

from msgspec.structs import replace

from collector.console.live_people import LivePerson
from collector.console.live_source import LiveCounts, LiveRow, LiveSnapshot
from collector.errors import StoreUnavailable

BEGAN_MS = 1_795_000_000_000


def make_event(number: int, name: str = "page_view", visitor: int = 1, **more: object) -> LiveRow:
    """Make an anonymous event. `number` gives id and time, `visitor` the visitor and its own person."""
    row = LiveRow(
        event_id=str(uuid.UUID(int=number)),
        time_ms=BEGAN_MS + number * 1000,
        received_at_ms=BEGAN_MS + number * 1000 + 80,
        event_name=name,
        visitor_id=str(uuid.UUID(int=0xA000 + visitor)),
        visitor_proof="cookie",
        person_id=str(uuid.UUID(int=0xB000 + visitor)),
        path="/demo",
        title="Shop",
        channel="internal",
    )
    return replace(row, **more)


def hand_over(row: LiveRow, customer_id: str = "4711", name: str = "Ada Kowalski") -> LiveRow:
    """The same event, now of a customer."""
    return replace(row, person_id=str(uuid.UUID(int=int(customer_id))), customer_id=customer_id, customer_name=name)


class FilledSource:
    """A LiveSource whose rows the test sets, newest last. Safe to fill from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._rows: list[LiveRow] = []
        self.people: tuple[LivePerson, ...] = ()
        self.is_away = False
        self.reads = 0
        self.closes = 0
        self.readers: set[int] = set()

    def fill(self, *rows: LiveRow) -> None:
        """Set what stands in the store."""
        with self._lock:
            self._rows = list(rows)

    @property
    def rows(self) -> list[LiveRow]:
        """What stands in the store, newest last."""
        with self._lock:
            return list(self._rows)

    def read(self) -> LiveSnapshot:
        """Return the rows newest first, with counts of them."""
        self.reads += 1
        self.readers.add(threading.get_ident())
        if self.is_away:
            raise StoreUnavailable("away")
        rows = self.rows[::-1]
        counts = LiveCounts(
            events=len(rows),
            visitors=len({row.visitor_id for row in rows}),
            persons=len({row.person_id for row in rows}),
            customers=len({row.customer_id for row in rows} - {""}),
        )
        return LiveSnapshot(rows=tuple(rows), people=self.people, counts=counts, lag_ms=120)

    def close(self) -> None:
        """Count that it was closed."""
        with self._lock:
            self.closes += 1
            self._lock.notify_all()

    def wait_closes(self, count: int) -> None:
        """Wait until it was closed so many times; fails after ten seconds, and when it was more often."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.closes >= count, 10), self.closes
            assert self.closes == count
