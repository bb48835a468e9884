"""An insert that the store could not carry out is never acknowledged, whatever it failed in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector.errors import StoreError
from collector.store.writer import insert_batch
from tests.running_store import RunningStore, encode_batch, make_event, make_row, running_store

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("refusals")) as running:
        yield running


@pytest.fixture
def failing_view(store: RunningStore) -> Iterator[str]:
    """A view behind `landing` that cannot take rows of the site `bad`."""
    store.writer.command("CREATE TABLE fragile (site_id String, x UInt8) ENGINE = MergeTree ORDER BY site_id")
    store.writer.command(
        "CREATE MATERIALIZED VIEW landing_to_fragile TO fragile AS"
        " SELECT site_id, throwIf(site_id = 'bad') AS x FROM landing"
    )
    yield "landing_to_fragile"
    store.writer.command("DROP VIEW landing_to_fragile SYNC")
    store.writer.command("DROP TABLE fragile SYNC")


def test_a_batch_that_a_view_cannot_take_is_refused(store: RunningStore, failing_view: str) -> None:
    """An acknowledged batch would be taken off the spool; so what a view refuses must come back as an error."""
    store.load(make_row(1, events=[make_event(1)]))
    with pytest.raises(StoreError):
        store.load(make_row(1, site_id="bad", events=[make_event(2)]))
    assert store.value("SELECT count() FROM fragile") == 1


def test_a_row_that_breaks_a_constraint_is_refused(store: RunningStore) -> None:
    """The same for a table's own rules."""
    store.writer.command(
        "CREATE TABLE strict (site_id String, CONSTRAINT good CHECK site_id != 'bad')"
        " ENGINE = MergeTree ORDER BY site_id"
    )
    with pytest.raises(StoreError):
        store.writer.insert_lines("strict", b'{"site_id":"bad"}\n')
    assert store.value("SELECT count() FROM strict") == 0


@pytest.mark.parametrize(
    "lines",
    [b'{"site_id":', b'{"is_bot":"x"}\n', b'{"no_such_column":1}\n', b"[]\n", b'{"events":[{"event_id":"x"}]}\n'],
)
def test_a_batch_that_cannot_be_read_is_refused_without_its_content(store: RunningStore, lines: bytes) -> None:
    """Broken lines: a definite error with ClickHouse's code, and not a word of the data in it."""
    secret = b'{"site_id":"canary-9b1c"}\n'
    with pytest.raises(StoreError) as refused:
        insert_batch(store.writer, secret + lines, "token")
    assert refused.value.code > 0
    assert "canary" not in str(refused.value)


def test_a_good_batch_goes_in_after_a_refused_one(store: RunningStore) -> None:
    """A refusal leaves nothing behind: no half a batch, no token that would swallow the next."""
    before = store.value("SELECT count() FROM events")
    with pytest.raises(StoreError):
        store.writer.insert_lines("landing", b"{broken", {}, "same-token")
    good = encode_batch([make_row(9, events=[make_event(9)])], seq=9)
    insert_batch(store.writer, good, "same-token")
    assert store.value("SELECT count() FROM events") == before + 1
