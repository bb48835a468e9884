"""Where data about people lie in the store: the one list of tables, and how a row of each names somebody.

A condition is over `tombstones` of one request, by hashes of own person ids: so no statement names anybody, deleting
and verifying ask the same, and a verification can be repeated when nothing is left but the tombstones. A test holds the
list against the schema: a table that is in neither list is refused.

    WHOLE    an identifier that is the person's alone: every row that names it goes
    PART     an identifier that others have used as well: rows of the person's own times go
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

NIL = "toUUID('00000000-0000-0000-0000-000000000000')"
HASHES = (
    "(SELECT key_hash FROM {database}.tombstones WHERE request_id = {request:UUID} AND key_hash != 0 AND is_whole = %d)"
)
_SPANS = (
    "(SELECT groupArray((key_hash, from_ms, to_ms, toString(events))) FROM {database}.tombstones"
    " WHERE request_id = {request:UUID} AND key_hash != 0 AND is_whole = 0)"
)


def _whole(*columns: str) -> str:
    """Rows that name by one of these columns what is the person's alone."""
    return " OR ".join(f"cityHash64({column}) IN @whole" for column in columns)


def _part(column: str, proof: str = "''", time: str = "time") -> str:
    """Rows that name what is the person's in turn, and are of their times."""
    at_ms = f"toUnixTimestamp64Milli({time})"
    is_theirs = (
        f"arrayExists(span -> span.1 = cityHash64({column}) AND span.2 <= {at_ms} AND {at_ms} < span.3"
        f" AND (span.4 = 'all' OR (span.4 = 'unproved') = ({proof} = 'script')), @spans)"
    )
    return f"(cityHash64({column}) IN @part AND {is_theirs})"


class Place(NamedTuple):
    """A table with data about people. `holds`: what, in words. `erase`: the condition of rows that go. `blank`: what
    is taken out of rows that stay, assignments and condition: they are somebody else's and name the person.
    `remake`: the view by which rows of shared identifiers are made again, because a row is about several times."""

    table: str
    holds: str
    erase: str
    blank: tuple[str, str] = ("", "")
    remake: str = ""


_EVENT = f"{_whole('own_person_id')} OR {_part('own_person_id', 'visitor_proof')}"
_NAMED = f"customer_key != {NIL} AND ({_whole('customer_key')})"
PLACES: tuple[Place, ...] = (
    Place(
        "events",
        "what somebody did",
        _EVENT,
        (f"customer_key = {NIL}, assurance = 0, mfa = 0, link_token_id = ''", _NAMED),
    ),
    Place("timeline", "what somebody did, as it is shown", _EVENT, (f"customer_key = {NIL}, assurance = 0", _NAMED)),
    Place("offer_exposures", "offers that somebody was shown", _EVENT),
    Place("sessions", "visits", _whole("own_person_id"), remake="events_to_sessions"),
    Place("visitor_facts", "sums", _whole("own_person_id"), remake="timeline_to_visitor_facts"),
    Place(
        "identity_evidence",
        "why identifiers belong together",
        f"{_whole('a_key', 'b_key')} OR (kind = 'disown' AND ({_whole('toUUIDOrZero(token_id)')}))"
        f" OR {_part('a_key', 'proof')}",
    ),
    Place("identity_pairs", "which identifiers were named together", _whole("a_key", "b_key")),
    Place("identity_map", "whose an identifier is", _whole("key", "person_id", "customer_key")),
    Place("identity_intervals", "whose an identifier was, in turn", _whole("key", "person_id", "customer_key")),
    Place("customers", "who is known", _whole("person_id", "customer_key")),
    Place("person_keys", "identifiers by person", _whole("person_id", "key")),
    Place("merge_log", "how people came together", _whole("a_key", "b_key", "from_person_id", "to_person_id")),
    Place("guard_log", "evidence that was refused", _whole("a_key", "b_key", "from_person_id", "to_person_id")),
    Place("identity_blocks", "identifiers that were blocked", _whole("key")),
    Place("identifier_vault", "clear values, sealed", _whole("key")),
    Place("traits", "values about somebody", f"{_whole('key')} OR {_part('key')}"),
    Place("consent_ledger", "what was consented to", f"{_whole('key')} OR {_part('key')}"),
    Place("signal_withdrawals", "whose fingerprints are of no use any more", _whole("key")),
    Place(
        "audit_details",
        "whom an operator's change was about",
        f"arrayExists(one -> {_whole('one')}, keys)",
    ),
    Place("profile_reads", "who looked at a profile", _whole("key", "person_id")),
    Place("person_states", "who was restricted", _whole("key")),
    Place("touched_people", "who had events in a batch", _whole("own_person_id")),
    Place("touched_keys", "of whom something changed", _whole("key")),
    Place("audience_members", "audiences", _whole("person_id")),
    Place("audience_changes", "audiences entered and left", _whole("person_id")),
    Place("webhook_deliveries", "what webhooks were told", _whole("person_id")),
    Place(
        "customer_records",
        "records copied from other systems",
        _whole("key"),
        (
            f"ties = arrayFilter(tie -> NOT ({_whole('tie.key')}), ties)",
            f"arrayExists(tie -> {_whole('tie.key')}, ties)",
        ),
    ),
    Place(
        "link_revocations",
        "links that were taken back",
        _whole("toUUIDOrZero(JSONExtractString(row, 'customer_key'))"),
    ),
)

NOT_PERSONAL: Mapping[str, str] = {
    "api_keys": "keys of programs",
    "audit_chain": "digests of rows that hold a random id",
    "audit_log": "what was done by whom, never to whom: that is in audit_details",
    "audience_definitions": "settings",
    "audience_progress": "how far a role is",
    "batches": "what was loaded, by number",
    "data_requests": "whom a request is about is emptied by the request itself",
    "landing": "keeps nothing",
    "link_mintings": "who made links, and how many; no recipient",
    "rejected_events": "why something was refused, never what, and by whom never",
    "schema_lock": "the schema",
    "schema_migrations": "the schema",
    "sites": "settings",
    "stitch_progress": "how far a role is",
    "tombstones": "hashes that lead back to nobody",
    "trait_definitions": "settings",
    "webhook_progress": "how far a webhook is",
}
"""Tables without data about people, and why."""


SHARED = "cityHash64(own_person_id) IN @part"
"""Rows of identifiers that others have used as well."""


def render(text: str, database: str) -> str:
    """Return a condition over the tombstones of a request, whose id is to be bound as `request`."""
    return _fill(text, HASHES % 1, HASHES % 0, _SPANS).replace("{database}", database)


def render_for(text: str) -> str:
    """Return a condition over identifiers that are to be bound: their hashes as `whole` and `part`, and `spans`."""
    return _fill(
        text, "{whole:Array(UInt64)}", "{part:Array(UInt64)}", "{spans:Array(Tuple(UInt64, Int64, Int64, String))}"
    )


def _fill(text: str, whole: str, part: str, spans: str) -> str:
    return text.replace("@whole", whole).replace("@part", part).replace("@spans", spans)
