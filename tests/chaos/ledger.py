"""What clients sent and what was acknowledged to them, held against what the store has: the promise, checked.

An event is noted before it is sent for the first time and again when its 2xx has come, so that at any moment
acknowledged ⊆ stored ⊆ sent must be true once the spool has run empty.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from collector.errors import StoreError
from collector.load.journal import has_unsettled_batch

Ask = Callable[[str], list[dict[str, Any]]]


class Ledger:
    """Events by id. Written by one thread, read by any."""

    def __init__(self) -> None:
        self.sent: dict[str, tuple[str, str]] = {}  # event id: session id, event name
        self.acknowledged: dict[str, None] = {}
        self.visitors: set[str] = set()

    def note_sent(self, visitor: str, session: str, events: Iterable[dict[str, Any]]) -> None:
        """Note events of a session that are about to be sent."""
        self.visitors.add(visitor)
        for event in events:
            self.sent[str(event["i"])] = (session, str(event["n"]))

    def note_acknowledged(self, events: Iterable[dict[str, Any]]) -> None:
        """Note that these events got their 2xx."""
        for event in events:
            self.acknowledged[str(event["i"])] = None

    def compare(self, ask: Ask, *, is_sent_once: bool = False) -> str:
        """Hold the ledger against the store and say in a few words what was found. Raises AssertionError.

        `ask`: asks as the writer. `is_sent_once`: no client has sent anything again, so that not even the parts may
        hold a row twice: that readers would be shown one of them is then no excuse.
        """
        stored = Counter(str(row["id"]) for row in ask("SELECT event_id AS id FROM v_events"))
        stored = Counter({event: count for event, count in stored.items() if event in self.sent})
        lost = [event for event in self.acknowledged if event not in stored]
        doubled = [event for event, count in stored.items() if count > 1]
        assert not lost, f"{len(lost)} of {len(self.acknowledged)} acknowledged events are lost, such as {lost[0]}"
        assert not doubled, f"{len(doubled)} events are doubled, such as {doubled[0]}"
        rows = ask("SELECT toString(event_id) AS id, toString(visitor_id) AS visitor FROM events FINAL")
        strange = [row["id"] for row in rows if row["visitor"] in self.visitors and row["id"] not in self.sent]
        assert not strange, f"the store has {len(strange)} events that nobody sent, such as {strange[0]}"

        self._compare_sessions(ask, set(stored))
        self._compare_evidence(ask, set(stored))
        hosts = ask("SELECT host, max(seq) AS last, count() AS n FROM batches FINAL GROUP BY host")
        assert all(row["last"] == row["n"] for row in hosts), f"the list of batches has a gap: {hosts}"
        assert len(hosts) <= 1, hosts
        for table in ("events", "identity_evidence") if is_sent_once else ():
            [row] = ask(f"SELECT (SELECT count() FROM {table}) - (SELECT count() FROM {table} FINAL) AS n")
            assert not row["n"], f"{row['n']} rows of {table} stand twice: a batch was taken twice"
        return f"0 lost, 0 doubled of {len(self.acknowledged):,} acknowledged"

    def _compare_sessions(self, ask: Ask, stored: set[str]) -> None:
        wanted = Counter(self.sent[event][0] for event in stored)
        rows = ask(
            "SELECT session_id AS id, uniqExactMerge(events) AS n, uniqExactIfMerge(page_views) AS views"
            " FROM sessions GROUP BY session_id"
        )
        found = {str(row["id"]): row["n"] for row in rows if str(row["id"]) in wanted}
        wrong = {id: (found.get(id), n) for id, n in wanted.items() if found.get(id) != n}
        assert not wrong, f"sessions count other events than are stored: {wrong}"
        views = Counter(self.sent[event][0] for event in stored if self.sent[event][1] == "page_view")
        counted = {str(row["id"]): row["views"] for row in rows if str(row["id"]) in wanted and row["views"]}
        assert counted == views, "sessions count other page views than are stored"

    def _compare_evidence(self, ask: Ask, stored: set[str]) -> None:
        wanted = Counter(event for event in stored if self.sent[event][1] == "identify")
        rows = ask("SELECT DISTINCT event_id AS id, evidence_id FROM identity_evidence WHERE kind = 'identify'")
        found = Counter(str(row["id"]) for row in rows if str(row["id"]) in self.sent)
        assert found == wanted, (
            f"{(wanted - found).total()} pieces of evidence are lost, {(found - wanted).total()} more"
        )


class CountingLedger(Ledger):
    """A ledger that keeps numbers by visitor only, for so many events that their ids would not fit into memory."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_by_visitor: Counter[str] = Counter()
        self.acknowledged_by_visitor: Counter[str] = Counter()
        self._visitor_of: dict[str, str] = {}  # of events that have no answer yet

    def note_sent(self, visitor: str, session: str, events: Iterable[dict[str, Any]]) -> None:
        """See Ledger."""
        for event in events:
            self._visitor_of[str(event["i"])] = visitor
            self.sent_by_visitor[visitor] += 1

    def note_acknowledged(self, events: Iterable[dict[str, Any]]) -> None:
        """See Ledger."""
        for event in events:
            self.acknowledged_by_visitor[self._visitor_of.pop(str(event["i"]))] += 1

    @property
    def count(self) -> int:
        """How many events are acknowledged."""
        return self.acknowledged_by_visitor.total()

    def compare(self, ask: Ask, *, is_sent_once: bool = False) -> str:
        """See Ledger: acknowledged ≤ stored ≤ sent, for every visitor."""
        rows = ask("SELECT toString(visitor_id) AS visitor, count() AS n FROM events FINAL GROUP BY visitor_id")
        stored = {row["visitor"]: row["n"] for row in rows if row["visitor"] in self.sent_by_visitor}
        lost = sum(max(0, n - stored.get(visitor, 0)) for visitor, n in self.acknowledged_by_visitor.items())
        doubled = sum(max(0, n - self.sent_by_visitor[visitor]) for visitor, n in stored.items())
        assert not lost and not doubled, f"{lost} events are lost, {doubled} are doubled, of {self.count}"
        hosts = ask("SELECT host, max(seq) AS last, count() AS n FROM batches FINAL GROUP BY host")
        assert all(row["last"] == row["n"] for row in hosts), f"the list of batches has a gap: {hosts}"
        return f"0 lost, 0 doubled of {self.count:,} acknowledged"


def wait_until_loaded(data: Path, *, limit_s: float = 60.0, explain: Callable[[], str] = str) -> None:
    """Wait until nothing waits in the spool and no batch is unsettled. `explain`: what to say where it never is."""
    give_up_at = time.monotonic() + limit_s
    while waiting := [path.name for path in (data / "spool").rglob("*.v1.*") if path.suffix in (".seg", ".open")]:
        assert time.monotonic() < give_up_at, f"{len(waiting)} segments still wait, such as {waiting[0]}\n{explain()}"
        time.sleep(0.05)
    while has_unsettled_batch(data / "load"):
        assert time.monotonic() < give_up_at, f"a batch is still unsettled\n{explain()}"
        time.sleep(0.05)


def ask_patiently(ask: Ask, limit_s: float = 40.0) -> Ask:
    """Return `ask` for a store that may just be on its way back: it is asked again until it answers."""

    def patient(question: str) -> list[dict[str, Any]]:
        give_up_at = time.monotonic() + limit_s
        while True:
            try:
                return ask(question)
            except StoreError:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.1)

    return patient
