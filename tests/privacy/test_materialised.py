"""Tables of analysts: how each says whom it names, and that people are erased from them in a real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector.errors import PrivacyError
from collector.privacy.materialised import check_listed, erase_materialised, list_materialised, write_fix
from collector.privacy.traces import Names
from collector.store.rendering import CLEANUP
from tests.running_store import RunningStore, make_id

pytestmark = pytest.mark.engine
ANNA, BEN = make_id(1, 0xAA), make_id(2, 0xAA)
MERGE_TREE = f"ENGINE = MergeTree ORDER BY tuple() SETTINGS {CLEANUP}"


@pytest.fixture
def analytics(store: RunningStore) -> Iterator[RunningStore]:
    """A store with an empty database of the analysts."""
    store.writer.command("DROP DATABASE IF EXISTS analytics SYNC")
    store.writer.command("CREATE DATABASE analytics")
    yield store
    store.writer.command("DROP DATABASE analytics SYNC")


def make(store: RunningStore, columns: str, engine: str = MERGE_TREE, comment: str = "") -> str:
    """Make a table and return what is thought of it."""
    store.writer.command("DROP TABLE IF EXISTS analytics.made SYNC")
    store.writer.command(f"CREATE TABLE analytics.made ({columns}) {engine} COMMENT '{comment}'")
    [table] = list_materialised(store.writer)
    return table.holds


@pytest.mark.parametrize(
    ("columns", "comment", "holds"),
    [
        ("person_id UUID, n UInt64", "", "erased by person_id"),
        ("customer_id String, visitor_id UUID, day Date", "", "erased by customer_id, visitor_id"),
        ("day Date, visits UInt64, share Float32, channel LowCardinality(String)", "", "names nobody"),
        ("at DateTime64(3), n Nullable(Int32), money Decimal(9, 2)", "", "names nobody"),
        ("url String, n UInt64", "", "it does not say by which column it names people"),
        ("uid UUID, n UInt64", "", "it does not say by which column it names people"),
        ("who Array(UUID)", "", "it does not say by which column it names people"),
        ("uid UUID, n UInt64", "visits [tagstitch: person=uid] a day", "erased by uid"),
        ("no String, v String", "[tagstitch: customer=no, visitor = v]", "erased by no, v"),
        ("url String, n UInt64", "[tagstitch: nobody]", "names nobody"),
        ("url String, n UInt64", "[tagstitch: everybody]", "its comment cannot be understood"),
        ("uid UUID", "[tagstitch: person=id]", "its comment names column id, which it has not"),
    ],
)
def test_a_table_says_whom_it_names(analytics: RunningStore, columns: str, comment: str, holds: str) -> None:
    """By the names that the views use, by its comment, or by having no column that could name anybody."""
    assert make(analytics, columns, comment=comment) == holds


def test_an_engine_that_cannot_erase(analytics: RunningStore) -> None:
    """A log of lines that name people is refused; one of numbers is none of anybody's business."""
    assert "engine StripeLog" in make(analytics, "person_id UUID", "ENGINE = StripeLog")
    assert make(analytics, "n UInt64", "ENGINE = StripeLog") == "names nobody"


def test_no_erasure_begins_beside_a_table_that_nobody_knows(analytics: RunningStore) -> None:
    """It names the table, and the statement that mends it does."""
    make(analytics, "uid String")
    analytics.writer.command("CREATE VIEW analytics.seen AS SELECT uid AS text FROM analytics.made")
    with pytest.raises(PrivacyError, match=r"analytics\.made: it does not say.*MODIFY COMMENT"):
        check_listed(analytics.writer)
    statement = write_fix("made").partition(", or")[0].replace("COLUMN", "uid")
    analytics.writer.command(statement)
    check_listed(analytics.writer)


def test_people_are_erased_and_others_stay(analytics: RunningStore) -> None:
    """By person, visitor and customer; the files before are gone; a second time finds nothing."""
    writer = analytics.writer
    writer.command(f"CREATE TABLE analytics.`by person` (person_id UUID, note String) {MERGE_TREE}")
    writer.command(f"CREATE TABLE analytics.by_visit (v String, n UInt8) {MERGE_TREE} COMMENT '[tagstitch: visitor=v]'")
    writer.command("CREATE TABLE analytics.kept (customer_id String) ENGINE = Memory")
    writer.command(f"INSERT INTO analytics.`by person` VALUES ('{ANNA}', 'a'), ('{BEN}', 'b')")
    writer.command("INSERT INTO analytics.by_visit VALUES ('visit-a', 1), ('visit-b', 2)")
    writer.command("INSERT INTO analytics.kept VALUES ('4711'), ('4712')")
    names = Names("main", frozenset({ANNA}), frozenset({"visit-a"}), frozenset({"4711"}))
    gone = {"analytics.by person": 1, "analytics.by_visit": 1, "analytics.kept": 1}
    assert erase_materialised(writer, names) == gone
    assert analytics.query("SELECT note FROM analytics.`by person`") == [{"note": "b"}]
    assert analytics.query("SELECT n FROM analytics.by_visit") == [{"n": 2}]
    assert analytics.query("SELECT customer_id FROM analytics.kept") == [{"customer_id": "4712"}]
    inactive = "SELECT count() AS n FROM system.parts WHERE database = 'analytics' AND NOT active"
    assert analytics.value(inactive) == 0
    assert erase_materialised(writer, names) == {}
