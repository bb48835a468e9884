"""Deleting: the rows that the tombstones of a request find go, until no file of the store holds them any more.

ClickHouse writes a part anew without them. What a row of somebody else says of the person is taken out of it in the
same go, sums about browsers that several have used are made again from what is left, and where the person alone had
properties of a name, the objects are made anew: a part keeps such names. May be repeated at any point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from collector.errors import PrivacyError, PrivacyReason
from collector.privacy.inventory import PLACES, SHARED, Place, render
from collector.privacy.store_files import name_local, wait_for_files, wait_for_mutations
from collector.store.client import StoreClient

Counted = tuple[int, int]
"""Rows that go, and rows of others that name the person."""
MUTATION: Mapping[str, object] = {"mutations_sync": 0, "allow_nondeterministic_mutations": 1}
ANEW = "props = CAST(toJSONString(props) AS JSON(max_dynamic_types = 1, max_dynamic_paths = 32))"


@dataclass(slots=True)
class Deleting:
    """Deletes for one request. `tell` hears how much of how much is done."""

    client: StoreClient
    request_id: str
    tell: Callable[[int, int], None] = lambda done, total: None

    def delete(self, counts: Mapping[str, Counted], *, has_shared: bool) -> None:
        """Remove the rows, write shared sums anew, and wait until the old files are gone."""
        touched = [place for place in PLACES if sum(counts[place.table]) or place.remake]
        on_cluster = f" ON CLUSTER `{self.client.cluster}`" if self.client.cluster else ""
        # Of two versions of a row the later one must not go alone: the earlier one would stand again.
        for table in ("identity_map", "identity_intervals", "customers"):
            if any(place.table == table for place in touched):
                self.client.command(f"OPTIMIZE TABLE {table}{on_cluster} FINAL")
        first = [place for place in touched if not place.remake]
        self._mutate([(place, place.erase, place.blank) for place in first])
        remade = [place for place in touched if place.remake]
        if has_shared:
            self._mutate([(place, f"{place.erase} OR {SHARED}", ("", "")) for place in remade])
            for place in remade:
                self._remake(place)
        else:
            self._mutate([(place, place.erase, ("", "")) for place in remade if counts[place.table][0]])
        wait_for_files(self.client, [place.table for place in touched], self.tell)

    def _mutate(self, wanted: Iterable[tuple[Place, str, tuple[str, str]]]) -> None:
        """Let the store write files anew without these rows, side by side, and wait for it."""
        on_cluster = f" ON CLUSTER `{self.client.cluster}`" if self.client.cluster else ""
        tables = []
        for place, erase, (assignments, condition) in wanted:
            local = name_local(self.client, place.table)
            commands = f"DELETE WHERE {erase}"
            params: dict[str, object] = {"request": self.request_id}
            if assignments:
                commands += f", UPDATE {assignments} WHERE {condition}"
            if place.table == "events" and (months := self._find_months()):
                commands += f", UPDATE {ANEW} WHERE toYYYYMM(time) IN {{months:Array(UInt32)}}"
                params["months"] = months
            self.client.command(
                render(f"ALTER TABLE {local}{on_cluster} {commands}", self.client.database), params, MUTATION
            )
            tables.append(local)
        wait_for_mutations(self.client, tables, self.tell)

    def _find_months(self) -> list[int]:
        """Return the months of events with properties whose names nobody else has: there objects are made anew.

        ClickHouse keeps the names of an object's properties in the part, also when the last row that had one is gone.
        """
        theirs = render(next(place.erase for place in PLACES if place.table == "events"), self.client.database)
        params: dict[str, object] = {"request": self.request_id}
        names = self.client.query_rows(
            f"SELECT groupUniqArrayArray(JSONAllPaths(props)) AS names FROM events WHERE {theirs}",  # noqa: S608
            params,
        )[0]["names"]
        if not names:
            return []
        own = self.client.query_rows(
            "SELECT arrayFilter(name -> NOT has(others, name), {names:Array(String)}) AS own FROM (SELECT"  # noqa: S608
            " groupUniqArrayArray(arrayIntersect(JSONAllPaths(props), {names:Array(String)})) AS others FROM events"
            f" WHERE NOT ({theirs}))",
            {**params, "names": names},
        )[0]["own"]
        if not own:
            return []
        rows = self.client.query_rows(
            "SELECT DISTINCT toYYYYMM(time) AS month FROM events"  # noqa: S608  our own words
            f" WHERE hasAny(JSONAllPaths(props), {{own:Array(String)}}) AND ({theirs})",
            {**params, "own": own},
        )
        return sorted(int(row["month"]) for row in rows)

    def _remake(self, place: Place) -> None:
        """Make the rows of shared identifiers again from what is left, as the view makes them."""
        source = self.client.query_rows(
            "SELECT as_select FROM system.tables WHERE database = {database:String} AND name = {name:String}",
            {"database": self.client.database, "name": place.remake},
        )[0]["as_select"]
        base = "events" if place.remake.startswith("events") else "timeline"
        table = f"{self.client.database}.{name_local(self.client, base)}"
        if table not in source:
            raise PrivacyError(PrivacyReason.STORE, f"view {place.remake} is not as it was made: `tagstitch migrate`")
        rows = f"(SELECT * FROM {table} FINAL WHERE {SHARED})"  # noqa: S608  our own words, as all of this
        sql = f"INSERT INTO {name_local(self.client, place.table)} {source.replace(table, rows)}"
        settings = {"insert_deduplicate": 0}
        self.client.command(render(sql, self.client.database), {"request": self.request_id}, settings)


def count_left(client: StoreClient, request_id: str) -> dict[str, int]:
    """Return how many rows the tombstones of a request find, by table: none when it has been carried out."""
    return {table: sum(counts) for table, counts in count_rows(client, request_id).items()}


def count_rows(client: StoreClient, request_id: str) -> dict[str, Counted]:
    """Return rows that go and rows that are blanked, by table; rows that a reader does not see are counted too."""
    found = {}
    for place in PLACES:
        blank = place.blank[1]
        of_others = f"countIf(NOT ({place.erase}) AND {blank})" if blank else "0"
        sql = f"SELECT countIf({place.erase}) AS rows, {of_others} AS blanked FROM {place.table}"  # noqa: S608  our own
        row = client.query_rows(render(sql, client.database), {"request": request_id})[0]
        found[place.table] = (int(row["rows"]), int(row["blanked"]))
    return found
