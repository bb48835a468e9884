"""Anonymising: what somebody did stays as a count, made anew so that nothing leads back to them; the rest is erased.

Before their events are deleted, each is written once more, of somebody who never was: ids are drawn at random, one for
each visit, the time is cut to the hour, and of its texts only those stay that events of at least OTHERS other visitors
have too. No property, no address beyond its path, no link, no fingerprint, no network, no customer. So daily numbers of
events and visits by page, campaign, country and device stay as they were, and one person's visits are no row of visits
any more.
"""

from __future__ import annotations

from collector.event import NIL_ID
from collector.privacy.inventory import PLACES, render
from collector.store.client import StoreClient

OTHERS = 5
"""A text that so many others have too tells nobody apart: a usual bound of k-anonymity for small numbers."""

_COMMON = (
    *("event_name", "host", "path", "referrer_host", "utm_source", "utm_medium", "utm_campaign"),
    *("browser", "os", "device", "language", "country", "channel"),
)
_KEPT = ("site_id", "space_id", "is_bot", "keep_days", "network_days")
_NOBODY = f"if(session_id = toUUID('{NIL_ID}'), generateUUIDv4(event_id), visits.nobody)"
_MADE = {
    "event_id": "generateUUIDv4(tuple(event_id, 1))",
    "time": "toStartOfHour(time)",
    "received_at": "toStartOfHour(time)",
    "visitor_id": "drawn",
    "own_person_id": "drawn",
    "visitor_proof": "'none'",
    "session_id": f"if(session_id = toUUID('{NIL_ID}'), session_id, visits.visit)",
}


def keep_counts(client: StoreClient, space_id: str, request_id: str) -> None:
    """Write the events of a request once more, of nobody. Repeated, it writes nothing. Raises StoreError."""
    theirs = next(place.erase for place in PLACES if place.table == "events")
    columns = {name: name for name in _KEPT} | {name: _find_common(name, theirs) for name in _COMMON} | _MADE
    selected = ", ".join(f"{made} AS new_{name}" for name, made in columns.items())
    sql = (
        f"INSERT INTO events ({', '.join(columns)}) SELECT {', '.join(f'new_{name}' for name in columns)} FROM ("  # noqa: S608  our own words, as all of this
        f"SELECT {_NOBODY} AS drawn, {selected} FROM (SELECT * FROM events FINAL WHERE {theirs}) AS event"
        " INNER JOIN (SELECT visitor_id, session_id, generateUUIDv4(1) AS nobody, generateUUIDv4(2) AS visit FROM ("
        f"SELECT DISTINCT visitor_id, session_id FROM events WHERE {theirs})) AS visits USING (visitor_id, session_id))"
    )
    settings = {
        "insert_deduplication_token": f"anonymise|{request_id}",
        "insert_deduplicate": 1,
        "max_insert_threads": 1,
        "max_threads": 1,
    }
    client.command(render(sql, client.database), {"request": request_id, "space": space_id}, settings)


def _find_common(column: str, theirs: str) -> str:
    """Return the value where enough others have it, else what says nothing."""
    common = (
        f"SELECT {column} FROM events WHERE space_id = {{space:String}} AND NOT ({theirs}) AND {column} IN"  # noqa: S608  our own words
        f" (SELECT {column} FROM events WHERE {theirs}) GROUP BY {column} HAVING uniq(own_person_id) >= {OTHERS}"
    )
    instead = "'other'" if column == "event_name" else "''"
    return f"if({column} IN ({common}), toString({column}), {instead})"
