"""What the dry run has judged lately: in memory, bounded, and gone with the process.

Invariants: at most MAX_RECORDS records and MAX_BYTES of them; the oldest go first and are counted. Outcomes are held
as JSON: as plain values they take ten times the memory. A record holds what would have been stored, never what would
not. The browser it came from is a digest under a key of this process's own: good for "was this me?" and for nothing
else. For one event loop.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

import msgspec

from collector.accept.dry_run import DryRun
from collector.event import Context

MAX_RECORDS = 500
MAX_BYTES = 16_777_216


class Record(msgspec.Struct, frozen=True):
    """One beacon that was judged. `status`: what the beacon path would have answered."""

    number: int
    received_at_ms: int
    status: int
    browser: str
    encoded: bytes  # the outcome as a JSON object

    def read_outcome(self) -> dict[str, Any]:
        """Return the outcome: a DryRun in plain values, properties as mappings. Made anew each time."""
        outcome: dict[str, Any] = msgspec.json.decode(self.encoded)
        return outcome

    def describe(self, **more: Any) -> msgspec.Raw:
        """Return number, status and the outcome as one JSON object, with `more` in it; nothing is decoded for it."""
        head = msgspec.json.encode({"number": self.number, "status": self.status, **more})
        return msgspec.Raw(b"%b,%b" % (head[:-1], self.encoded[1:]))


class Counts(msgspec.Struct, frozen=True):
    """How much there is since the last reset."""

    beacons: int
    good: int  # events that would be stored
    bad: int  # refusals
    total: int  # both
    forgotten: int  # beacons that were judged and are not kept any more


class InspectLog:
    """The records of one process."""

    def __init__(self, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._number = 0
        self._good = self._bad = self._beacons = 0
        self._key = secrets.token_bytes(32)
        self.resets = 0
        self._changed = asyncio.Event()

    def name_browser(self, context: Context) -> str:
        """Return a name for whoever sent the request."""
        text = f"{context.address}|{context.user_agent}"
        return blake2b(text.encode(), digest_size=8, key=self._key).hexdigest()

    def add(self, outcome: DryRun, status: int, context: Context) -> Record:
        """Keep an outcome, and wake whoever watches."""
        self._number += 1
        encoded = msgspec.json.encode(_make_plain(outcome))
        record = Record(self._number, context.received_at_ms, status, self.name_browser(context), encoded)
        self._records.append(record)
        self._bytes += len(encoded)
        self._beacons += 1
        self._good += len(outcome.row.events) if outcome.row else 0
        self._bad += len(outcome.rejected)
        while len(self._records) > self._max_records or (self._bytes > self._max_bytes and len(self._records) > 1):
            self._bytes -= len(self._records.popleft().encoded)
        self._wake()
        return record

    def reset(self) -> None:
        """Forget everything. Numbers go on, so that nobody takes a new record for an old one."""
        self._records.clear()
        self._bytes = self._good = self._bad = self._beacons = 0
        self.resets += 1
        self._wake()

    @property
    def counts(self) -> Counts:
        """The counts since the last reset."""
        forgotten = self._beacons - len(self._records)
        return Counts(self._beacons, self._good, self._bad, self._good + self._bad, forgotten)

    def read(self, after: int = 0) -> list[Record]:
        """Return the records with greater numbers, oldest first."""
        return [record for record in self._records if record.number > after]

    async def wait_change(self, limit_s: float) -> bool:
        """Wait until something changes; False where nothing did in this time."""
        try:
            await asyncio.wait_for(self._changed.wait(), limit_s)
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def list_good(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """Yield every event that would be stored, with the facts of its beacon that a test asks for."""
    for record in records:
        outcome = record.read_outcome()
        row = outcome["row"]
        for index, event in enumerate(row["events"] if row else ()):
            yield {
                "beacon": record.number,
                "received_at_ms": record.received_at_ms,
                "site_id": row["site_id"],
                "visitor_id": row["visitor_id"],
                "visitor_proof": row["visitor_proof"],
                "session_id": row["session_id"],
                "consent": row["consent"],
                "is_bot": bool(row["is_bot"]),
                **event,
                "evidence": [e for e in outcome["evidence"] if e["event_id"] == event["event_id"]],
                "place": index,
            }


def list_bad(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """Yield every refusal. `whole`: nothing of the beacon is kept."""
    for record in records:
        outcome = record.read_outcome()
        for finding in outcome["rejected"]:
            yield {
                "beacon": record.number,
                "received_at_ms": record.received_at_ms,
                "site_id": outcome["site_id"],
                "status": record.status,
                "whole": not outcome["accepted"],
                **finding,
            }


def _make_plain(outcome: DryRun) -> dict[str, Any]:
    """Return the outcome in plain values; every field of the row is there, and properties are mappings."""
    plain: dict[str, Any] = msgspec.to_builtins(outcome)
    row = outcome.row
    if row is not None:
        fields = {field.name: msgspec.to_builtins(getattr(row, field.name)) for field in msgspec.structs.fields(row)}
        fields["events"] = [
            {field.name: getattr(event, field.name) for field in msgspec.structs.fields(event)}
            | {"props": json.loads(event.props)}
            for event in row.events
        ]
        del fields["evidence"], fields["rejected"]
        plain["row"] = fields
    return plain
