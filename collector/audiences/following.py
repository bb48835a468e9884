"""Following: which identifiers were touched since, by batches that are in the map and by what no batch tells.

    batches behind stitch ─► touched_people ─┐
    touched_keys, by time ───────────────────┴► identifiers, each with why it is looked at

A batch is in the map once stitch's progress has reached it. One without evidence cannot change the map: it counts as
in it as soon as all before it are, so nobody waits for stitch to write its progress down. Nothing is skipped: batches
are followed by number. `touched_keys` has no numbers: it is followed by the store's time, with an overlap in which
moments that have got new rows are read again. Judging somebody twice changes nothing.

What stitch writes of a batch it writes before its progress. So who looks at the progress first, and at `touched_keys`
then, finds both in one look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from collector.audiences.changes import Reason
from collector.audiences.people import SETTINGS
from collector.logs import get_logger
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

WINDOW_EVENTS = 50_000
"""Of the batches whose people are read together; a single batch may have as many."""
MOST_BATCHES = 5_000
POLL_SETTINGS = {"max_threads": 1}
OVERLAP_MS = 60_000
"""A row of `touched_keys` may show up this long after its time: a statement that runs, a replica that is behind."""
MOST_MOMENTS = 100_000
PORTION = 4_000
"""Rows of `touched_keys` that are looked at together, about."""
KEPT_MS = 20 * 3_600_000
"""Both lists are kept for a day. Who was away for longer does not know any more who was touched."""
_RANKS = {reason: rank for rank, reason in enumerate((Reason.EVENT, Reason.TRAIT, Reason.CONSENT, Reason.IDENTITY))}

# One statement, because each costs the store some milliseconds, and this one is asked all the time.
_BATCHES = """
SELECT host, seq, events, pieces, loaded_at_ms FROM
(
    SELECT host, seq, events, evidence AS pieces, toUnixTimestamp64Milli(loaded_at) AS loaded_at_ms
    FROM batches WHERE {terms} ORDER BY host, seq LIMIT {most}
)
UNION ALL SELECT host, seq, 0 AS events, 0 AS pieces, -1 AS loaded_at_ms FROM stitch_progress
"""
_LAST = """
SELECT host, max(seq) AS last FROM stitch_progress GROUP BY host
"""
_PROGRESS = """
SELECT subject, value, version FROM audience_progress FINAL
WHERE space_id = '' AND (subject = 'touches' OR startsWith(subject, 'batches:'))
"""
_MOMENTS = """
SELECT toUnixTimestamp64Milli(at) AS at_ms, count() AS rows, toUnixTimestamp64Milli(now64(3)) AS now_ms
FROM touched_keys
WHERE at >= least(fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC'), now64(3) - toIntervalMillisecond({overlap:UInt32}))
GROUP BY at_ms ORDER BY at_ms LIMIT {most:UInt32}
"""
_TOUCHED = """
SELECT DISTINCT cause, space_id, toString(touched.key) AS key
FROM touched_keys AS touched
WHERE at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND at <= fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    AND cityHash64(touched.key) % {pieces:UInt32} = {piece:UInt32}
"""

Keys = dict[str, dict[str, Reason]]
"""Identifiers by space, each with the strongest reason to look at it."""


class Places(msgspec.Struct):
    """How far everybody has been judged: the last batch by host, and the store's time (milliseconds since 1970) up to
    which `touched_keys` was read. `written_ms`: when that was written down, 0: never."""

    hosts: dict[str, int] = {}
    touches_ms: int = 0
    written_ms: int = 0


class Ahead(msgspec.Struct, frozen=True):
    """What is there to be judged. `hosts`: how far these batches go; `oldest_ms`: when the oldest was loaded, 0: none;
    `is_all`: whether there are no more yet."""

    hosts: dict[str, int]
    batches: int = 0
    oldest_ms: int = 0
    is_all: bool = True


class Portion(msgspec.Struct, frozen=True):
    """Rows of `touched_keys`: those of some moments, both included, whose key falls into one of some pieces."""

    from_ms: int
    to_ms: int
    pieces: int = 1
    piece: int = 0


def read_places(client: StoreClient) -> Places | None:
    """Return how far it was written down, None where it never was. Raises StoreError."""
    places, is_known = Places(), False
    for row in client.query_rows(_PROGRESS):
        kind, _, host = row["subject"].partition(":")
        if kind == "batches":
            places.hosts[host] = int(row["value"])
        else:
            places.touches_ms, places.written_ms, is_known = int(row["value"]), int(row["version"]), True
    return places if is_known else None


def find_present(client: StoreClient) -> Places:
    """Return where somebody begins who has judged nobody yet: what is in the map now. Raises StoreError."""
    # The time first: what is written in between is looked at, and not left out.
    now_ms = read_store_time(client)
    return Places({row["host"]: row["last"] for row in client.query_rows(_LAST)}, now_ms)


def read_store_time(client: StoreClient) -> int:
    """Return the store's time, milliseconds since 1970. Raises StoreError."""
    return int(client.query_rows("SELECT toUnixTimestamp64Milli(now64(3)) AS now_ms")[0]["now_ms"])


def write_places(client: StoreClient, places: Places, now_ms: int) -> None:
    """Write down how far it is. Raises StoreError."""
    values = {f"batches:{host}": seq for host, seq in places.hosts.items()} | {"touches": places.touches_ms}
    write_progress(client, "", {subject: str(value) for subject, value in values.items()}, now_ms)


def write_progress(client: StoreClient, space_id: str, values: Mapping[str, str], now_ms: int) -> None:
    """Write down how far several subjects are. Raises StoreError."""
    rows = [
        {"space_id": space_id, "subject": subject, "value": value, "version": now_ms}
        for subject, value in values.items()
    ]
    insert_rows(client, "audience_progress", rows)


def read_progress(client: StoreClient) -> dict[tuple[str, str], str]:
    """Return how far everything is, by space and subject. Raises StoreError."""
    rows = client.query_rows("SELECT space_id, subject, value FROM audience_progress FINAL")
    return {(row["space_id"], row["subject"]): row["value"] for row in rows}


class Follower:
    """What has been read of the two lists. Belongs to one thread."""

    def __init__(self, client: StoreClient, places: Places) -> None:
        self._client = client
        self._gaps: set[tuple[str, int]] = set()
        self._seen: dict[int, int] = {}  # rows of the moments in the overlap that were read
        self.places = places

    def look(self) -> Ahead:
        """Return which batches may be judged now, of WINDOW_EVENTS events or little more. Raises StoreError."""
        done = self.places.hosts
        params: dict[str, object] = {"hosts": sorted(done) or [""]}
        terms = ["host NOT IN {hosts:Array(String)}"]
        for place, (host, seq) in enumerate(sorted(done.items())):
            params |= {f"host{place}": host, f"seq{place}": seq}
            terms.append(f"(host = {{host{place}:String}} AND seq > {{seq{place}:UInt64}})")
        sql = _BATCHES.format(terms=" OR ".join(terms), most=MOST_BATCHES)
        hosts, events, batches, oldest_ms = dict(done), 0, 0, 0
        listed, stitched, count = _sort_rows(self._client.query_rows(sql, params, POLL_SETTINGS))
        waiting: set[str] = set()
        for (host, seq), row in sorted(listed.items()):
            if host in waiting:
                continue
            if seq != hosts.get(host, 0) + 1:
                self._note_gap(host, hosts.get(host, 0) + 1)
            elif seq <= stitched.get(host, 0) or not row["pieces"]:
                if events >= WINDOW_EVENTS:
                    return Ahead(hosts, batches, oldest_ms, is_all=False)
                hosts[host] = seq
                events, batches = events + row["events"], batches + 1
                oldest_ms = min(oldest_ms or row["loaded_at_ms"], row["loaded_at_ms"])
                continue
            waiting.add(host)
        return Ahead(hosts, batches, oldest_ms, is_all=count < MOST_BATCHES)

    def read_people(self, ahead: Ahead) -> Keys:
        """Return who had events in these batches. Raises StoreError."""
        keys: Keys = defaultdict(dict)
        for host, last in ahead.hosts.items():
            first = self.places.hosts.get(host, 0)
            if last == first:
                continue
            sql = (
                "SELECT DISTINCT space_id, toString(touched.own_person_id) AS key FROM touched_people AS touched"
                " WHERE host = {host:String} AND seq > {first:UInt64} AND seq <= {last:UInt64}"
            )
            for row in self._client.query_rows(sql, {"host": host, "first": first, "last": last}, SETTINGS):
                keys[row["space_id"]][row["key"]] = Reason.EVENT
        return keys

    def find_portions(self) -> tuple[list[Portion], dict[int, int]]:
        """Return what is new in `touched_keys`, in portions, and the moments that it is. Raises StoreError."""
        from_ms = self.places.touches_ms - OVERLAP_MS
        params = {"from_ms": from_ms, "overlap": OVERLAP_MS, "most": MOST_MOMENTS}
        rows = self._client.query_rows(_MOMENTS, params, POLL_SETTINGS)
        if rows:
            # A clock that was put back writes before what is known: what it writes from then on is looked at.
            self.places.touches_ms = min(self.places.touches_ms, int(rows[0]["now_ms"]))
            from_ms = self.places.touches_ms - OVERLAP_MS
        self._seen = {at_ms: seen for at_ms, seen in self._seen.items() if at_ms >= from_ms}
        found = {int(row["at_ms"]): int(row["rows"]) for row in rows}
        fresh = {at_ms: rows for at_ms, rows in found.items() if rows != self._seen.get(at_ms)}
        return cut_portions(fresh), fresh

    def read_portion(self, portion: Portion) -> Keys:
        """Return the identifiers of a portion. Raises StoreError."""
        keys: Keys = defaultdict(dict)
        params = {
            "from_ms": portion.from_ms,
            "to_ms": portion.to_ms,
            "pieces": portion.pieces,
            "piece": portion.piece,
        }
        for row in self._client.query_rows(_TOUCHED, params, SETTINGS):
            note(keys[row["space_id"]], row["key"], Reason(row["cause"]))
        return keys

    def settle_batches(self, ahead: Ahead) -> None:
        """Note that everybody in these batches has been judged."""
        self.places.hosts = dict(ahead.hosts)

    def settle_touches(self, moments: Mapping[int, int]) -> None:
        """Note that everybody of these moments has been judged."""
        self._seen |= moments
        self.places.touches_ms = max([self.places.touches_ms, *moments])

    def _note_gap(self, host: str, seq: int) -> None:
        if (host, seq) not in self._gaps:
            self._gaps.add((host, seq))
            get_logger().warning("a batch is missing in the list, activate waits for it", host=host, seq=seq)


def _sort_rows(
    rows: Iterable[dict[str, Any]],
) -> tuple[dict[tuple[str, int], dict[str, Any]], dict[str, int], int]:
    """Return the batches by host and number, how far stitch is by host, and how many rows are of batches."""
    listed: dict[tuple[str, int], dict[str, Any]] = {}
    stitched: dict[str, int] = {}
    count = 0
    for row in rows:
        where = (row["host"], row["seq"])
        if row["loaded_at_ms"] < 0:
            stitched[row["host"]] = max(stitched.get(row["host"], 0), row["seq"])
            continue
        count += 1
        if where not in listed or row["pieces"] > listed[where]["pieces"]:
            listed[where] = row
    return listed, stitched, count


def note(people: dict[str, Reason], one: str, reason: Reason) -> None:
    """Note why somebody is looked at; of two reasons the one that says more stays."""
    before = people.get(one)
    if before is None or _RANKS.get(reason, -1) > _RANKS.get(before, -1):
        people[one] = reason


def cut_portions(moments: Mapping[int, int]) -> list[Portion]:
    """Return portions of PORTION rows, about: several moments together, and a large one in pieces."""
    portions: list[Portion] = []
    first, size = 0, 0
    for at_ms, rows in sorted(moments.items()):
        if rows > PORTION:
            pieces = rows // PORTION + 1
            portions += [Portion(at_ms, at_ms, pieces, piece) for piece in range(pieces)]
            size = 0
        elif size and size + rows <= PORTION:
            portions[-1] = Portion(first, at_ms)
            size += rows
        else:
            portions.append(Portion(at_ms, at_ms))
            first, size = at_ms, rows
    return portions
