"""Members of an audience: one row each, in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collector.exporting.allowed import Allowed
from collector.exporting.chosen import Chosen
from collector.exporting.columns import Column, Kind
from collector.exporting.pages import FIRST, Page
from collector.exporting.people import PAGE, read_people
from collector.keyring import Keyring
from collector.store.client import StoreClient

IDS = 20_000
"""Members read at a time; where more than the membership is asked for, they are settled in smaller pages."""
COLUMNS = (Column("person_id"), Column("customer_id"), Column("since", Kind.TIME))
_COUNT = """
SELECT count() AS rows FROM v_audience_members WHERE space_id = {space:String} AND audience = {audience:String}
"""
_ROWS = """
SELECT toString(person_id) AS id, customer_id, toUnixTimestamp64Milli(since) AS since_ms
FROM v_audience_members
WHERE space_id = {space:String} AND audience = {audience:String} AND person_id > {after:UUID}
ORDER BY person_id LIMIT {page:UInt32}
"""


class Members:
    """The members of an audience. A Source."""

    name = "members"

    def __init__(
        self,
        client: StoreClient,
        keyring: Keyring,
        allowed: Allowed,
        chosen: Chosen,
        audience: str,
        *,
        now_ms: int,
        after: str = FIRST,
        page: int = 0,
    ) -> None:
        """`after`: the person behind whom it begins. `page`: members read at a time; 0: IDS."""
        self._client = client
        self._keyring = keyring
        self._allowed = allowed
        self._chosen = chosen
        self._now_ms = now_ms
        self._audience = audience
        self._space_id = chosen.definitions.space_id
        self._size = page or IDS
        self.after = after
        self.columns = (*COLUMNS, *chosen.columns)
        self.about: dict[str, Any] = {"audience": audience}

    def count(self) -> int:
        """Return how many there are."""
        return int(self._client.query_rows(_COUNT, {"space": self._space_id, "audience": self._audience})[0]["rows"])

    def read(self) -> Iterator[Page]:
        """Yield them in pages; `after` is the last one that was read."""
        while True:
            params = {"space": self._space_id, "audience": self._audience, "after": self.after, "page": self._size}
            rows = self._client.query_rows(_ROWS, params)
            if rows:
                self.after = rows[-1]["id"]
            step = PAGE if self._chosen.parts else self._size
            for start in range(0, len(rows), step):
                yield self._settle(rows[start : start + step])
            if len(rows) < self._size:
                return

    def _settle(self, rows: list[dict[str, Any]]) -> Page:
        hidden = self._allowed.find_hidden()
        shown = [row for row in rows if row["id"] not in hidden]
        granted = self._allowed.find_granted([row["id"] for row in shown])
        kept = [row for row in shown if row["id"] in granted]
        found = {}
        if self._chosen.parts:
            ids = [row["id"] for row in kept]
            read = read_people(
                self._client, self._keyring, self._chosen.definitions, ids, self._chosen.parts, now_ms=self._now_ms
            )
            found = read.people
        told = [
            (row["id"], row["customer_id"], row["since_ms"], *(self._chosen.read(found[row["id"]]) if found else ()))
            for row in kept
            if not self._chosen.parts or row["id"] in found
        ]
        return Page(told, len(rows), len(rows) - len(shown) + len(kept) - len(told), len(shown) - len(kept))
