"""A store with a stitcher and an operator: what tests of repair are told in.

Evidence is loaded batch by batch, as the loader does; what the operator plans is carried out through the lines that
the spool would get.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import msgspec

from collector.event import NIL_ID, EvidenceRow, LandingRow
from collector.identity.arrival import make_lines
from collector.identity.audit import AuditEntry
from collector.identity.difference import Difference, compare_standing
from collector.identity.evidence import Evidence
from collector.identity.repair import Plan, Repairs
from collector.identity.standing import Standing, index, read_all_standing
from collector.identity.stitching.rebuild import rebuild
from collector.identity.stitching.stitch import Stitcher
from collector.sites.book import Site
from collector.sites.rows import add_site
from tests.identity.story import KINDS, key, name_value
from tests.running_store import RunningStore, make_event

SITE = Site("shop", origins=("https://shop.example",), kinds=KINDS)
_FIELDS = EvidenceRow.__struct_fields__


@dataclass
class Desk:
    """One store, emptied for each test. `repairs`: the operator."""

    store: RunningStore
    site: Site = SITE
    seq: int = 0
    events: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.store.clear()
        add_site(self.store.writer, self.site)
        self.keyring = msgspec.structs.replace(self.store.keyring, pseudonym_key="secret")
        self.repairs = Repairs(self.store.writer, self.store.config, self.keyring, "main", "operator:eve")

    def load(self, *rows: Evidence, events: list[tuple[str, int]] | None = None, proof: str = "cookie") -> None:
        """Load evidence, and page views (visitor or customer, time), and stitch."""
        landing = [
            LandingRow(
                received_at_ms=row.time_ms,
                site_id=row.site_id,
                space_id="main",
                visitor_id=row.a_value if row.a_kind == "visitor" else NIL_ID,
                own_person_id=row.a_key,
                evidence=[EvidenceRow(**{name: getattr(row, name) for name in _FIELDS})],
            )
            for row in rows
        ]
        for name, at in events or []:
            visitor = (
                name_value(name) if key(name) and name[0] not in "KLEP" else "00000000-0000-0000-0000-000000000000"
            )
            landing.append(
                LandingRow(
                    received_at_ms=at,
                    site_id="shop",
                    space_id="main",
                    visitor_id=visitor,
                    visitor_proof=proof,
                    own_person_id=key(name),
                    events=[msgspec.structs.replace(make_event(next(self.events)), time_ms=at)],
                )
            )
        self._load(landing, len(rows))
        self.stitch()

    def carry_out(self, plan: Plan, note: str = "") -> AuditEntry:
        """Do what a plan says, and stitch."""
        entry = self.repairs.begin(plan, note)
        self.load_plan(plan)
        self.stitch()
        return entry

    def load_plan(self, plan: Plan) -> None:
        """Load what a plan adds, and no more."""
        lines = make_lines(plan.statements, self.repairs.now_ms())
        self._load([msgspec.json.decode(line, type=LandingRow) for line in lines], len(plan.statements))

    def undo(self, entry: AuditEntry) -> AuditEntry:
        """Undo an entry."""
        return self.carry_out(self.repairs.plan_undo(entry.audit_id))

    def stand(self) -> Standing:
        """Return the map as it stands."""
        return read_all_standing(self.store.writer, "main")

    def people(self) -> dict[str, str]:
        """Return the person id of every identifier of the map."""
        return {key: row.person_id for key, row in self.stand().map_rows.items()}

    def who(self, name: str) -> list[str]:
        """Return whose a visitor's events are, as v_events says, in order of time; `?`: provisional."""
        rows = self.store.query(
            "SELECT customer_id, provisional FROM v_events WHERE visitor_id = {visitor:UUID} ORDER BY time",
            visitor=name_value(name),
        )
        return [row["customer_id"].removeprefix("value-") + "?" * row["provisional"] for row in rows]

    def owners(self) -> dict[str, str]:
        """Return the person of every event."""
        rows = self.store.query("SELECT toString(event_id) AS id, toString(person_id) AS person FROM v_events")
        return {row["id"]: row["person"] for row in rows}

    def differs(self) -> int:
        """Return how many rows a rebuild would change: nothing, if stitch is right."""
        return rebuild(self.store.config, self.store.keyring, dry_run=True).differences

    def _load(self, landing: list[LandingRow], evidence: int) -> None:
        self.seq += 1
        if landing:
            self.store.load(*landing, seq=self.seq, token=str(uuid4()))
        self.store.put("batches", {"host": "host-1", "seq": self.seq, "token": "t", "evidence": evidence})

    def stitch(self) -> None:
        """Stitch until there is nothing to be done."""
        stitcher = Stitcher(self.store.writer, self.store.config)
        while stitcher.step():
            pass
        stitcher.write_progress()


def compare_with(plan: Plan, before: Standing, after: Standing) -> tuple[Difference, Difference]:
    """Return what the plan said and what came of it, in one form."""
    names = {}
    for row in plan.prospect.rows:
        names[row.a_key], names[row.b_key] = (row.a_kind, row.a_value), (row.b_kind, row.b_value)
    keys = plan.prospect.keys | before.map_rows.keys() | after.map_rows.keys()
    came = compare_standing(before, after, keys, names)
    said = msgspec.structs.replace(plan.difference, events=0, refused={}, released={})
    return said, came


def check_prospect(plan: Plan, after: Standing) -> None:
    """See that every row of the map is what the plan has foreseen for it."""
    foreseen = index(plan.prospect.after)
    for name in plan.prospect.keys:
        assert after.map_rows.get(name) == foreseen.map_rows.get(name)
