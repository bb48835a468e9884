"""What happened: the timeline of everybody, and who entered or left audiences. Rows of `v_timeline` and
`v_audience_changes` within a time, the person as known now, respectively as they were called when it was found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collector.exporting.allowed import Allowed
from collector.exporting.columns import Column, Kind
from collector.exporting.pages import FIRST, Page
from collector.store.client import StoreClient

PAGE = 50_000
_TIMELINE = (
    Column("person_id"),
    Column("time", Kind.TIME),
    *map(Column, ("event_id", "site_id", "event_name", "touchpoint", "channel", "host", "path", "title")),
    *map(Column, ("campaign", "device", "browser", "order_id")),
    Column("value", Kind.NUMBER),
    *map(Column, ("currency", "category", "session_id")),
    Column("is_bot", Kind.BOOLEAN),
    Column("own_person_id"),
)
_CHANGES = (
    Column("at", Kind.TIME),
    *map(Column, ("audience", "change", "reason", "person_id", "customer_id", "change_id")),
)
_TIMELINE_WHERE = """
WHERE space_id = {space:String} AND time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    AND time < fromUnixTimestamp64Milli({until:Int64}, 'UTC') AND ({bots:UInt8} = 1 OR is_bot = 0)
"""
_OF_AUDIENCE = """
    AND person_id GLOBAL IN (SELECT v_audience_members.person_id FROM v_audience_members
        WHERE space_id = {space:String} AND audience = {audience:String})
"""
_TIMELINE_ROWS = """
SELECT toString(v_timeline.person_id) AS person, toUnixTimestamp64Milli(v_timeline.time) AS time_ms,
    toString(v_timeline.event_id) AS event, site_id, event_name, touchpoint, channel, host, path, title, campaign,
    device, browser, order_id, value, currency, category,
    if(v_timeline.session_id = toUUID('00000000-0000-0000-0000-000000000000'), '', toString(v_timeline.session_id)),
    toBool(is_bot = 1) AS robot, toString(v_timeline.own_person_id) AS own
FROM v_timeline
"""
_TIMELINE_AFTER = """
    AND own_person_id >= {own:UUID} AND (own_person_id > {own:UUID}
        OR (time, event_id) > (fromUnixTimestamp64Milli({after:Int64}, 'UTC'), {event:UUID}))
ORDER BY v_timeline.own_person_id, v_timeline.time, v_timeline.event_id LIMIT {page:UInt32}
"""
_CHANGES_WHERE = """
WHERE space_id = {space:String} AND at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    AND at < fromUnixTimestamp64Milli({until:Int64}, 'UTC') AND {audience:String} IN ('', audience)
"""
_CHANGES_ROWS = """
SELECT toUnixTimestamp64Milli(v_audience_changes.at) AS at_ms, audience, change, reason, toString(person_id) AS person,
    customer_id, toString(v_audience_changes.change_id) AS change_uuid
FROM v_audience_changes
"""
_CHANGES_AFTER = """
    AND (at, change_id) > (fromUnixTimestamp64Milli({after:Int64}, 'UTC'), {event:UUID})
ORDER BY v_audience_changes.at, v_audience_changes.change_id LIMIT {page:UInt32}
"""


class _History:
    """Rows within a time. Times in milliseconds since 1970, `until_ms` excluded."""

    name = ""
    columns: tuple[Column, ...] = ()

    def __init__(
        self,
        client: StoreClient,
        allowed: Allowed,
        space_id: str,
        *,
        since_ms: int,
        until_ms: int,
        audience: str = "",
        page: int = 0,
    ) -> None:
        """`audience`: of this one alone; "": of all. `page`: rows of one; 0: PAGE."""
        self._client = client
        self._allowed = allowed
        self._size = page or PAGE
        self._params: dict[str, Any] = {
            "space": space_id,
            "since": since_ms,
            "until": until_ms,
            "audience": audience,
            "page": self._size,
        }
        self.about: dict[str, Any] = {"since_ms": since_ms, "until_ms": until_ms, "audience": audience}

    def count(self) -> int:
        """Return how many rows there are."""
        sql = f"SELECT count() AS rows FROM {self._table} {self._where}"  # noqa: S608  our own words
        return int(self._client.query_rows(sql, self._params)[0]["rows"])

    def read(self) -> Iterator[Page]:
        """Yield the rows in pages."""
        place: dict[str, Any] = {"own": FIRST, "after": 0, "event": FIRST}
        sql = self._rows + self._where + self._after
        while True:
            rows = [tuple(row.values()) for row in self._client.query_rows(sql, {**self._params, **place})]
            if rows:
                place = self._find_place(rows[-1])
                yield self._settle(rows)
            if len(rows) < self._size:
                return

    _table = _where = _rows = _after = ""

    def _find_place(self, row: tuple[Any, ...]) -> dict[str, Any]:
        raise NotImplementedError

    def _settle(self, rows: list[tuple[Any, ...]]) -> Page:
        raise NotImplementedError

    def _keep(self, rows: list[tuple[Any, ...]], *places: int) -> Page:
        """Return those rows of whom may be told. `places`: where people and identifiers stand, the person first."""
        hidden = self._allowed.find_hidden()
        shown = [row for row in rows if not any(row[place] in hidden for place in places)] if hidden else rows
        granted = self._allowed.find_granted({row[places[0]] for row in shown})
        kept = [row for row in shown if row[places[0]] in granted]
        return Page(kept, len(rows), len(rows) - len(shown), len(shown) - len(kept))


class Timeline(_History):
    """Events as timelines show them, identifier by identifier. A Source. `audience`: of people who are in it now."""

    name = "timeline"
    columns = _TIMELINE
    _table, _rows, _after = "v_timeline", _TIMELINE_ROWS, _TIMELINE_AFTER

    def __init__(self, *arguments: Any, bots: bool = False, **more: Any) -> None:
        """`bots`: robots as well. The rest as of all histories."""
        super().__init__(*arguments, **more)
        self._params["bots"] = int(bots)
        self._where = _TIMELINE_WHERE + (_OF_AUDIENCE if self._params["audience"] else "")

    def _find_place(self, row: tuple[Any, ...]) -> dict[str, Any]:
        return {"own": row[-1], "after": row[1], "event": row[2]}

    def _settle(self, rows: list[tuple[Any, ...]]) -> Page:
        return self._keep(rows, 0, len(_TIMELINE) - 1)


class Changes(_History):
    """Who entered and left audiences, in the order in which it was found. A Source."""

    name = "changes"
    columns = _CHANGES
    _table, _where, _rows, _after = "v_audience_changes", _CHANGES_WHERE, _CHANGES_ROWS, _CHANGES_AFTER

    def _find_place(self, row: tuple[Any, ...]) -> dict[str, Any]:
        return {"after": row[0], "event": row[-1]}

    def _settle(self, rows: list[tuple[Any, ...]]) -> Page:
        return self._keep(rows, 4)
