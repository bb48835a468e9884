"""Deliveries as rows of the store: made, found, settled, and brought back.

    pending ──2xx──► delivered
       │ ▲──replay── dead       every try failed, or it has waited for longer than MOST_AGE_MS
       └───────────► dropped    the receiver is gone, or the person has withdrawn and may not be told of

A row is made as version 1, and whatever is done to it counts its version up, so that to make it again changes nothing.
Of one person the oldest pending delivery is the one whose turn it is: the others wait behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

import msgspec

from collector.store.client import StoreClient
from collector.store.writer import insert_rows
from collector.webhooks.following import KEYS, ChangeRow, Entering

NAMESPACE = UUID("0d2f6d5e-4b0a-5f0e-9a53-6f1f1d0c7a44")
KINDS = {"enter": "audience.entered", "leave": "audience.left"}
"""What a change is called where it is told."""
MOST_AGE_MS = 3 * 86_400_000
"""After that it is given up, also where it was hardly tried because the receiver was away."""
GONE_REASON = "status 410"
"""Why it was dropped where the receiver wants nothing any more."""
SETTINGS = {"max_threads": 2, "max_execution_time": 60}
_COLUMNS = """webhook, toString(sent.delivery_id) AS delivery_id, space_id, toString(sent.person_id) AS person_id,
    customer_id, audience, change, change_reason, toString(sent.change_id) AS change_id, sequence, state, attempts,
    reason, toUnixTimestamp64Milli(created_at) AS created_ms, toUnixTimestamp64Milli(next_at) AS next_ms,
    toUnixTimestamp64Milli(settled_at) AS settled_ms, version"""
_PENDING = f"""
SELECT {_COLUMNS}
FROM webhook_deliveries AS sent FINAL
WHERE webhook = {{webhook:String}} AND created_at >= fromUnixTimestamp64Milli({{from_ms:Int64}}, 'UTC')
    AND state = 'pending'
ORDER BY created_at, sequence, sent.delivery_id LIMIT 1 BY space_id, sent.person_id
"""  # noqa: S608  our own words
_HEADS = f"""
SELECT * FROM ({_PENDING})
WHERE next_ms <= {{now_ms:Int64}} ORDER BY created_ms, sequence, delivery_id LIMIT {{most:UInt32}}
"""  # noqa: S608  our own words
_WAITING = f"""
SELECT count() AS heads, countIf(next_ms <= {{now_ms:Int64}}) AS due, min(created_ms) AS from_ms,
    minIf(next_ms, next_ms > {{now_ms:Int64}}) AS wake_ms,
    (
        SELECT count() FROM webhook_deliveries FINAL
        WHERE webhook = {{webhook:String}} AND created_at >= fromUnixTimestamp64Milli({{from_ms:Int64}}, 'UTC')
            AND state = 'pending'
    ) AS pending
FROM ({_PENDING})
"""  # noqa: S608  our own words
_OF_PEOPLE = f"""
SELECT {_COLUMNS}
FROM webhook_deliveries AS sent FINAL
WHERE created_at >= fromUnixTimestamp64Milli({{from_ms:Int64}}, 'UTC') AND sent.person_id IN {{people:Array(UUID)}}
    AND webhook IN {{webhooks:Array(String)}} AND state = 'pending'
"""  # noqa: S608  our own words
_LIST = f"""
SELECT {_COLUMNS}
FROM webhook_deliveries AS sent FINAL
WHERE (empty({{webhooks:Array(String)}}) OR webhook IN {{webhooks:Array(String)}})
    AND (empty({{states:Array(String)}}) OR state IN {{states:Array(String)}})
    AND (empty({{ids:Array(UUID)}}) OR sent.delivery_id IN {{ids:Array(UUID)}})
ORDER BY created_at DESC, sequence DESC, sent.delivery_id LIMIT {{most:UInt32}}
"""  # noqa: S608  our own words
_GIVEN_UP = f"""
SELECT {_COLUMNS}
FROM webhook_deliveries AS sent FINAL
WHERE webhook = {{webhook:String}} AND (state = 'dead' OR state = 'dropped' AND reason = {{gone:String}})
ORDER BY created_at, sequence, sent.delivery_id LIMIT {{most:UInt32}}
"""  # noqa: S608  our own words
_COUNTS = """
SELECT webhook, state, count() AS deliveries,
    toUnixTimestamp64Milli(min(created_at)) AS first_ms, toUnixTimestamp64Milli(max(settled_at)) AS last_ms
FROM webhook_deliveries FINAL GROUP BY webhook, state
"""

_DROP_ALL = """
INSERT INTO webhook_deliveries (webhook, created_at, delivery_id, space_id, person_id, customer_id, audience, change,
    change_reason, change_id, sequence, state, attempts, reason, next_at, settled_at, version)
SELECT webhook, created_at, delivery_id, space_id, person_id, customer_id, audience, change,
    change_reason, change_id, sequence, 'dropped', attempts, {reason:String}, next_at, now64(3), version + 1
FROM webhook_deliveries FINAL WHERE webhook = {webhook:String} AND state = 'pending'
"""


class State(StrEnum):
    """How it stands with a delivery. Closed: the table and the commands use these words."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    DROPPED = "dropped"


class Delivery(msgspec.Struct, frozen=True):
    """A row of `webhook_deliveries`. Times in milliseconds since 1970."""

    webhook: str
    delivery_id: str
    space_id: str
    person_id: str
    customer_id: str
    audience: str
    change: str
    change_reason: str
    change_id: str
    sequence: int
    created_ms: int
    next_ms: int
    settled_ms: int
    state: str = State.PENDING.value
    attempts: int = 0
    reason: str = ""
    version: int = 1

    @property
    def person(self) -> tuple[str, str]:
        """Whose it is: only one of somebody's is sent at a time."""
        return self.space_id, self.person_id

    @property
    def entering(self) -> Entering:
        """What it tells of, where it tells of an entering."""
        return Entering(self.space_id, self.audience, self.person_id, self.sequence)

    def settle(self, state: State, now_ms: int, reason: str = "", *, more_versions: int = 1) -> Delivery:
        """Return it as it is after this."""
        return msgspec.structs.replace(
            self, state=state.value, reason=reason, settled_ms=now_ms, version=self.version + more_versions
        )


class Waiting(msgspec.Struct, frozen=True):
    """What is pending for one webhook. `heads`: people who wait; `due`: those whose turn has come; `from_ms`: when the
    oldest was made; `wake_ms`: when the next turn comes, 0: none; `pending`: all deliveries."""

    heads: int
    due: int
    from_ms: int
    wake_ms: int
    pending: int


def make_delivery_id(webhook: str, change_id: str) -> str:
    """Return the id of a delivery: the same whenever it is made."""
    return str(uuid5(NAMESPACE, f"{webhook}\0{change_id}"))


def make_delivery(webhook: str, change: ChangeRow) -> Delivery:
    """Return what a webhook is to be told of a change."""
    return Delivery(
        webhook=webhook,
        delivery_id=make_delivery_id(webhook, change.change_id),
        space_id=change.space_id,
        person_id=change.person_id,
        customer_id=change.customer_id,
        audience=change.audience,
        change=change.change,
        change_reason=change.reason,
        change_id=change.change_id,
        sequence=change.version,
        created_ms=change.at_ms,
        next_ms=change.at_ms,
        settled_ms=change.at_ms,
    )


def encode_body(change: Delivery | ChangeRow, *, customer_ids: bool) -> bytes:
    """Return what is told of a change, the same bytes each time. A customer id that is not known is left out."""
    is_row = isinstance(change, ChangeRow)
    data: dict[str, Any] = {
        "audience": change.audience,
        "space": change.space_id,
        "person_id": change.person_id,
        "reason": change.reason if is_row else change.change_reason,  # type: ignore[union-attr]
        "version": change.version if is_row else change.sequence,  # type: ignore[union-attr]
        "change_id": change.change_id,
    }
    if customer_ids and change.customer_id:
        data["customer_id"] = change.customer_id
    at_ms = change.at_ms if is_row else change.created_ms  # type: ignore[union-attr]
    return msgspec.json.encode({"type": KINDS[change.change], "timestamp": write_time(at_ms), "data": data})


def write_deliveries(client: StoreClient, deliveries: Iterable[Delivery]) -> None:
    """Write rows. The same ones may be written again. Raises StoreError."""
    insert_rows(client, "webhook_deliveries", [_make_row(delivery) for delivery in deliveries])


def read_waiting(client: StoreClient, webhook: str, from_ms: int, now_ms: int) -> Waiting:
    """Return how much is pending. `from_ms`: nothing that was made before is. Raises StoreError."""
    rows = client.query_rows(_WAITING, {"webhook": webhook, "from_ms": from_ms, "now_ms": now_ms}, SETTINGS)
    return msgspec.convert(rows[0], Waiting, strict=False)


def read_heads(client: StoreClient, webhook: str, from_ms: int, now_ms: int, most: int) -> list[Delivery]:
    """Return the deliveries whose turn it is now, one for each person, the oldest first. Raises StoreError."""
    params = {"webhook": webhook, "from_ms": from_ms, "now_ms": now_ms, "most": most}
    return msgspec.convert(client.query_rows(_HEADS, params, SETTINGS), list[Delivery])


def find_superseded(client: StoreClient, deliveries: Sequence[Delivery], from_ms: int) -> list[Delivery]:
    """Return what is pending although these, which tell of a withdrawn consent, have made an end of it: what the same
    webhook was to be told of the same person and audience before. Raises StoreError."""
    ends = {(d.webhook, *d.person, d.audience): d.sequence for d in sorted(deliveries, key=lambda d: d.sequence)}
    people = sorted({delivery.person_id for delivery in deliveries})
    webhooks = sorted({delivery.webhook for delivery in deliveries})
    found: list[Delivery] = []
    for start in range(0, len(people), KEYS):
        params = {"from_ms": from_ms, "people": people[start : start + KEYS], "webhooks": webhooks}
        found += msgspec.convert(client.query_rows(_OF_PEOPLE, params, SETTINGS), list[Delivery])
    return [one for one in found if one.sequence < ends.get((one.webhook, *one.person, one.audience), 0)]


def drop_all(client: StoreClient, webhook: str, reason: str) -> None:
    """Drop what is pending for a webhook. Raises StoreError."""
    client.command(_DROP_ALL, {"webhook": webhook, "reason": reason}, SETTINGS)


def list_deliveries(
    client: StoreClient,
    webhooks: Sequence[str] = (),
    states: Sequence[str] = (),
    ids: Sequence[str] = (),
    most: int = 100,
) -> list[Delivery]:
    """Return deliveries, the newest first. Empty: all webhooks, all states. Raises StoreError."""
    params = {"webhooks": list(webhooks), "states": list(states), "ids": list(ids), "most": most}
    return msgspec.convert(client.query_rows(_LIST, params, SETTINGS), list[Delivery])


def list_given_up(client: StoreClient, webhook: str, most: int) -> list[Delivery]:
    """Return what can be replayed as a whole: dead, or dropped for a 410; the oldest first. Raises StoreError."""
    params = {"webhook": webhook, "gone": GONE_REASON, "most": most}
    return msgspec.convert(client.query_rows(_GIVEN_UP, params, SETTINGS), list[Delivery])


def count_deliveries(client: StoreClient) -> dict[tuple[str, str], Mapping[str, int]]:
    """Return how many there are by webhook and state, and when the first was made and the last settled. Raises
    StoreError."""
    return {(row["webhook"], row["state"]): row for row in client.query_rows(_COUNTS, {}, SETTINGS)}


def may_replay(delivery: Delivery) -> bool:
    """Whether it may be told anew: not where somebody has withdrawn, and not while it is under way."""
    if delivery.state == State.DROPPED:
        return delivery.reason == GONE_REASON
    return delivery.state in (State.DEAD, State.DELIVERED)


def replay(deliveries: Iterable[Delivery], now_ms: int) -> list[Delivery]:
    """Return these as they are where they are tried anew, at once and as if for the first time."""
    return [
        msgspec.structs.replace(one.settle(State.PENDING, now_ms), attempts=0, next_ms=now_ms) for one in deliveries
    ]


def write_time(at_ms: int) -> str:
    """Return a time as ISO 8601 with milliseconds."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"


def _make_row(delivery: Delivery) -> dict[str, object]:
    row: dict[str, object] = msgspec.structs.asdict(delivery)
    for name, column in (("created_ms", "created_at"), ("next_ms", "next_at"), ("settled_ms", "settled_at")):
        row[column] = write_time(row.pop(name))  # type: ignore[arg-type]
    return row
