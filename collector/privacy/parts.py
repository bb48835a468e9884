"""The parts of what is held about somebody, as they take it along: which columns of which rows, and what they mean.

Selected by the very conditions by which an erasure finds the rows (`inventory`), so that nothing is held that is not
shown. Numbers of the machinery (batches, versions, packed columns) are left out; what a column means is its comment in
the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from collector.privacy.inventory import PLACES, render_for
from collector.store.client import StoreClient

NIL = "00000000-0000-0000-0000-000000000000"
ROWS_AT_ONCE = 10_000


class Part(NamedTuple):
    """One file. `table`: whose condition selects; `columns`: an expression for each name; `where`: what is more."""

    name: str
    table: str
    columns: dict[str, str]
    where: str = "1"
    order: str = "1"
    source: str = ""  # another table or view whose comments say what the columns mean


def _same(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "")


PARTS: tuple[Part, ...] = (
    Part(
        "events",
        "events",
        {
            **_same("time", "received_at", "site_id", "event_name", "url", "title", "referrer", "channel"),
            **_same("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "click_id"),
            "props": "toJSONString(props)",
            **_same("browser", "browser_version", "os", "os_version", "device", "language", "time_zone", "viewport"),
            **_same("country", "network", "fingerprint", "link_status", "link_kind", "link_campaign", "link_message"),
            **_same(
                "link_name", "link_class", "consent", "assurance", "is_bot", "visitor_id", "session_id", "event_id"
            ),
        },
        order="time, event_id",
        source="v_events",
    ),
    Part(
        "links_between_identifiers",
        "identity_evidence",
        {
            **_same("time", "site_id", "kind", "level", "op", "a_kind", "a_value", "b_kind", "b_value", "source"),
            **_same("proof", "human", "campaign", "verification", "consent", "policy_version", "evidence_id"),
        },
        order="time, evidence_id",
    ),
    Part(
        "consents",
        "consent_ledger",
        _same("time", "purpose", "state", "source", "site_id", "policy_version", "proof", "received_at"),
        order="time, consent_id",
    ),
    Part(
        "audiences",
        "audience_changes",
        _same("at", "audience", "change", "reason"),
        order="at, change_id",
    ),
    Part("audiences_now", "audience_members", _same("audience", "since"), where="is_member = 1", order="audience"),
    Part("offers", "offer_exposures", _same("time", "site_id", "offer", "slot", "action"), order="time, event_id"),
    Part(
        "recipients",
        "webhook_deliveries",
        {**_same("webhook", "audience", "change"), "sent_at": "settled_at"},
        where="state = 'delivered'",
        order="settled_at",
    ),
    Part("looked_at_by", "profile_reads", _same("at", "way", "parts", "personal", "found"), order="at"),
    Part(
        "records_of_other_systems",
        "customer_records",
        {"source": "", "copied_at": "fromUnixTimestamp64Micro(toInt64(version), 'UTC')"},
        where="is_deleted = 0",
        order="source",
    ),
    Part("refused_evidence", "guard_log", _same("at", "reason", "evidence_id"), order="at"),
    Part("states", "person_states", _same("state", "since"), where="is_deleted = 0", order="since"),
)
"""Traits, identifiers and sums are put together by `takeaway`, because they are opened or settled first."""

NOT_SHOWN = {
    "timeline": "the same events as in `events`, in fewer columns",
    "sessions": "follows from the events",
    "visitor_facts": "follows from the events",
    "identity_pairs": "the same as in `links_between_identifiers`",
    "identity_map": "shown as identifiers",
    "identity_intervals": "shown as identifiers",
    "customers": "shown as identifiers",
    "person_keys": "shown as identifiers",
    "merge_log": "follows from `links_between_identifiers`",
    "identity_blocks": "shown as identifiers",
    "identifier_vault": "shown as identifiers, opened",
    "traits": "shown as traits, opened",
    "audit_details": "names others as well: what an operator did shows in `links_between_identifiers`",
    "signal_withdrawals": "follows from what was consented to",
    "touched_people": "which batches were worked on, for a day",
    "touched_keys": "which identifiers were worked on, for a day",
    "link_revocations": "links that were taken back, for everybody who has them",
}
"""Tables that have no file of their own, and why. A test holds them with PARTS against the inventory."""


def read_part(client: StoreClient, space_id: str, part: Part, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a part. `params`: as `render_for` binds them. Raises StoreError."""
    columns = ", ".join(f"{said or f'held.{name}'} AS {name}" for name, said in part.columns.items())
    yield from client.query_rows(f"SELECT {columns} {_find(part)} ORDER BY {part.order}", {"space": space_id, **params})


def read_newest(
    client: StoreClient, space_id: str, part: Part, params: dict[str, Any], most: int
) -> tuple[int, list[dict[str, Any]]]:
    """Return how many rows a part has, and the last of them, newest first. `params`: as for `read_part`. Raises
    StoreError."""
    bound = {"space": space_id, **params}
    count = int(client.query_rows(f"SELECT count() AS count {_find(part)}", bound)[0]["count"])
    if not count or not most:
        return count, []
    columns = ", ".join(f"{said or f'held.{name}'} AS {name}" for name, said in part.columns.items())
    order = ", ".join(f"{column} DESC" for column in part.order.split(", "))
    return count, list(client.query_rows(f"SELECT {columns} {_find(part)} ORDER BY {order} LIMIT {most:d}", bound))


def _find(part: Part) -> str:
    place = next(place for place in PLACES if place.table == part.table)
    space = "held.space_id" if part.table in ("webhook_deliveries", "customer_records") else "space_id"
    condition = f"{space} = {{space:String}} AND ({render_for(place.erase)}) AND {part.where}"
    return f"FROM {part.table} AS held FINAL WHERE {condition}"


def read_meanings(client: StoreClient, part: Part) -> dict[str, str]:
    """Return what each column means, by name. Raises StoreError."""
    rows = client.query_rows(
        "SELECT name, comment FROM system.columns WHERE database = {database:String}"
        " AND table IN {tables:Array(String)} ORDER BY table = {table:String}",
        {"database": client.database, "tables": [part.table, part.source or part.table], "table": part.table},
    )
    said = {row["name"]: row["comment"] for row in rows}
    more = {"sent_at": "When it was sent", "copied_at": "When the record was last copied"}
    return {name: said.get(name) or more.get(name, "") for name in part.columns}
