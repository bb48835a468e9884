"""Everybody of a space, in pages: who has facts, who has traits, who is a customer, and who is a member already.

Somebody with several identifiers may come more than once, which costs time and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from collector.audiences.people import SETTINGS, find_people
from collector.store.client import StoreClient

PAGE = 2_000
FIRST = "00000000-0000-0000-0000-000000000000"


class Pages:
    """Ids of a space in pages, of one source after the other. Belongs to one thread.

    `read` gives the same page until `settle` is called, so that what failed is done again and nothing is left out.
    """

    def __init__(
        self,
        client: StoreClient,
        space_id: str,
        sources: Sequence[tuple[str, str, str]],
        page: int,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """`sources`: column, table (with FINAL where it must be) and a condition, "" for none; our own names.
        `params`: what the conditions name."""
        self._client = client
        self._space_id = space_id
        self._sources = sources
        self._size = page
        self._params = params or {}
        self._place = 0
        self._after = FIRST
        self._page: list[str] | None = None

    def read(self) -> list[str] | None:
        """Return the page to do now, None after the last. Raises StoreError."""
        while self._page is None and self._place < len(self._sources):
            ids = self._ask(*self._sources[self._place])
            if ids:
                self._page = ids
            else:
                self._place, self._after = self._place + 1, FIRST
        return self._page

    def settle(self) -> None:
        """Note that the page is done."""
        if self._page is None:
            return
        if len(self._page) < self._size:
            self._place, self._after = self._place + 1, FIRST
        else:
            self._after = self._page[-1]
        self._page = None

    def _ask(self, column: str, table: str, condition: str) -> list[str]:
        sql = (
            f"SELECT toString(one) AS id FROM (SELECT DISTINCT {column} AS one FROM {table}"  # noqa: S608  our own names
            f" WHERE space_id = {{space:String}} AND {column} > {{after:UUID}} {condition}"
            f" ORDER BY {column} LIMIT {{page:UInt32}})"
        )
        params = {**self._params, "space": self._space_id, "after": self._after, "page": self._size}
        return [row["id"] for row in self._client.query_rows(sql, params, SETTINGS)]


class Everybody:
    """The people of a space. As `Pages`, but in sets."""

    def __init__(self, client: StoreClient, space_id: str, page: int = PAGE) -> None:
        sources = (
            ("own_person_id", "visitor_facts", ""),
            ("key", "traits", ""),
            ("person_id", "customers FINAL", ""),
            ("person_id", "audience_members FINAL", "AND is_member = 1"),
        )
        self._client = client
        self._space_id = space_id
        self._pages = Pages(client, space_id, sources, page)

    def read(self) -> set[str] | None:
        """Return the people to do now, None after the last. Raises StoreError."""
        keys = self._pages.read()
        return None if keys is None else find_people(self._client, self._space_id, keys)

    def settle(self) -> None:
        """Note that they are done."""
        self._pages.settle()


def list_members(client: StoreClient, space_id: str, audience: str, page: int = PAGE) -> Pages:
    """Return the people who are in an audience, in pages."""
    sources = (("person_id", "audience_members FINAL", "AND is_member = 1 AND audience = {audience:String}"),)
    return Pages(client, space_id, sources, page, {"audience": audience})
