"""The list of where data about people lie, held against the schema."""

from __future__ import annotations

import pytest

from collector.privacy.inventory import NOT_PERSONAL, PLACES, render, render_for
from tests.running_store import RunningStore

pytestmark = pytest.mark.engine
NAMES_SOMEBODY = {
    *("own_person_id", "person_id", "key", "a_key", "b_key", "customer_key", "from_person_id", "to_person_id"),
    *("keys", "ties"),
}
"""Columns by which a row names somebody, wherever they stand."""
BLANKED_ONLY = {("events", "customer_key"), ("timeline", "customer_key")}
"""Named by rows that are somebody else's: taken out of them."""


def test_every_table_is_in_one_of_the_lists(store: RunningStore) -> None:
    """Whoever adds a table says whether it holds data about people, and how they are erased."""
    rows = store.query(
        "SELECT name FROM system.tables WHERE database = {database:String} AND engine NOT IN ('View', 'Dictionary',"
        " 'MaterializedView')",
        database=store.config.database,
    )
    listed = [place.table for place in PLACES]
    assert len(set(listed)) == len(listed)
    assert not set(listed) & NOT_PERSONAL.keys()
    assert {"schema_lock", *(row["name"] for row in rows)} == {*listed, *NOT_PERSONAL}


def test_every_column_that_names_somebody_is_asked(store: RunningStore) -> None:
    """Of each place, every column that names somebody stands in the condition by which its rows go, or are blanked."""
    columns = store.query(
        "SELECT table, name, type FROM system.columns WHERE database = {database:String}",
        database=store.config.database,
    )
    places = {place.table: place for place in PLACES}
    asked = 0
    for column in columns:
        place = places.get(column["table"])
        if place is None or column["name"] not in NAMES_SOMEBODY:
            continue
        condition = place.blank[1] if (place.table, column["name"]) in BLANKED_ONLY else place.erase
        if column["name"] == "ties":
            condition = place.blank[1]
        assert column["name"] in condition, (place.table, column["name"])
        asked += 1
    assert asked > 30


def test_nothing_that_names_nobody_has_such_a_column(store: RunningStore) -> None:
    """A table that is said to hold no data about people has no column that names somebody."""
    columns = store.query(
        "SELECT table, name FROM system.columns WHERE database = {database:String} AND table != 'landing'",
        database=store.config.database,
    )
    found = {
        (column["table"], column["name"])
        for column in columns
        if column["table"] in NOT_PERSONAL and column["name"] in NAMES_SOMEBODY
    }
    assert not found


def test_every_condition_is_one_that_the_engine_takes(store: RunningStore) -> None:
    """With tombstones and with bound identifiers, on an empty store, each place is asked and finds nothing."""
    request = "5f0c9a52-0000-4000-8000-000000000000"
    for place in PLACES:
        for condition in filter(None, (place.erase, place.blank[1])):
            sql = f"SELECT count() AS found FROM {place.table} WHERE "
            assert store.value(sql + render(condition, store.config.database), request=request) == 0
            assert store.value(sql + render_for(condition), whole=[1], part=[2], spans=[(2, 0, 9, "all")]) == 0
