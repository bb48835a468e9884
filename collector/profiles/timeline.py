"""The timeline of a person: pages of events, the newest first, over all identifiers and touchpoints.

A cursor names the last event of a page, by time and id: the next page begins behind it, whatever has come since. It
holds nothing that the page did not.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from collector.errors import TagstitchError
from collector.profiles.keys import Held, select_events
from collector.store.client import StoreClient

MAX_PAGE = 200
_CURSOR = re.compile(r"\A(\d{1,14})\.([0-9a-f-]{36})\Z")


class CursorError(TagstitchError):
    """The text is no cursor of ours."""


class Cursor(msgspec.Struct, frozen=True):
    """The last event of a page."""

    time_ms: int
    event_id: str

    def encode(self) -> str:
        """Return it as a text for addresses."""
        return urlsafe_b64encode(f"{self.time_ms}.{self.event_id}".encode()).rstrip(b"=").decode()


def decode_cursor(text: str) -> Cursor:
    """Return what a text stands for. Raises CursorError."""
    try:
        plain = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii")
        time_ms, event_id = _CURSOR.findall(plain)[0]
        return Cursor(int(time_ms), str(UUID(event_id)))
    except (ValueError, IndexError):
        raise CursorError("this is no cursor: leave it out for the first page") from None


class TimelineEvent(msgspec.Struct, frozen=True, array_like=True):
    """An event as the timeline shows it. Time in milliseconds since 1970; "" and 0: none."""

    own_person_id: str
    time_ms: int
    event_id: str
    site_id: str
    name: str
    touchpoint: str
    channel: str
    host: str
    path: str
    title: str
    campaign: str
    device: str
    browser: str
    order_id: str
    value: float
    currency: str
    category: str
    assurance: int
    consent: str
    is_bot: int
    visitor_proof: str


class Page(msgspec.Struct, frozen=True):
    """Some events, the newest first. `next`: where the next page begins; None: this is the last."""

    events: tuple[TimelineEvent, ...] = ()
    next: Cursor | None = None


PART = "event"
_SHOWN = """toJSONString((own_person_id, toUnixTimestamp64Milli(time), event_id, site_id, event_name, touchpoint,
    channel, host, path, title, campaign, device, browser, order_id, value, currency, category, assurance, consent,
    is_bot, visitor_proof)) AS row"""
# What was received first comes first of an event that came twice and is not merged yet.
_ORDER = "ORDER BY time DESC, event_id DESC, precedence DESC LIMIT {most:UInt32}"
_ONCE = "LIMIT 1 BY own_person_id, time, event_id"
_BEHIND = """(time < fromUnixTimestamp64Milli({at:Int64}, 'UTC')
    OR (time = fromUnixTimestamp64Milli({at:Int64}, 'UTC') AND event_id < {after:UUID}))"""

decode_event = msgspec.json.Decoder(TimelineEvent).decode


def make_events_sql(cursor: Cursor | None, limit: int, params: dict[str, Any], *, is_by_key: bool = False) -> str:
    """Return the statement for events of identifiers that may be the person's, in the order of a page; fills in its
    parameters. One event more than the page holds tells whether there is another page. `is_by_key`: so many of each
    identifier, because they are several people's."""
    params["most"] = limit + 1
    place = _find_place("{keys:Array(UUID)}", cursor, params)
    order = f"{_ORDER} BY own_person_id" if is_by_key else _ORDER
    return f"SELECT part, row FROM (SELECT '{PART}' AS part, {_SHOWN} {place} {order})"  # noqa: S608  our own words


def settle_page(
    client: StoreClient,
    space_id: str,
    held: Mapping[str, Held],
    found: list[TimelineEvent],
    cursor: Cursor | None,
    limit: int,
) -> Page:
    """Return the page: of the events found those that are the person's, each once. Where others took their places it
    is read again by the spans themselves. Raises StoreError."""
    mine: list[TimelineEvent] = []
    for event in found:
        if _is_mine(event, held) and not (mine and mine[-1].event_id == event.event_id):
            mine.append(event)
    if len(mine) <= limit < len(found):
        mine = read_exactly(client, space_id, held, cursor, limit)
    shown = tuple(mine[:limit])
    return Page(shown, Cursor(shown[-1].time_ms, shown[-1].event_id) if len(mine) > limit else None)


def read_exactly(
    client: StoreClient, space_id: str, held: Mapping[str, Held], cursor: Cursor | None, limit: int
) -> list[TimelineEvent]:
    """Return up to one event more than a page holds, by the spans of the identifiers."""
    params: dict[str, Any] = {"space": space_id, "own": list(held), "most": limit + 1}
    place = _find_place("{own:Array(UUID)}", cursor, params)
    order = _ORDER.replace("LIMIT", f"{_ONCE} LIMIT")
    rows = client.query_rows(f"SELECT {_SHOWN} {place} AND {select_events(held.values(), params)} {order}", params)
    return [decode_event(row["row"]) for row in rows]


def _find_place(keys: str, cursor: Cursor | None, params: dict[str, Any]) -> str:
    """Return where to look: in which rows, and behind which event."""
    behind = "1"
    if cursor is not None:
        params["at"], params["after"] = cursor.time_ms, cursor.event_id
        behind = _BEHIND
    return f"FROM timeline PREWHERE space_id = {{space:String}} AND own_person_id IN {keys} WHERE {behind}"


def _is_mine(event: TimelineEvent, held: Mapping[str, Held]) -> bool:
    """Whether an event is in a span of its identifier, as `select_events` says it to the store."""
    item = held.get(event.own_person_id)
    return item is not None and any(span.holds(event.time_ms, event.visitor_proof) for span in item.spans)
