"""An insert that the store could not carry out is never acknowledged, whatever it failed in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collector.errors import StoreError
from collector.store.client import encode_rows
from collector.store.writer import insert_batch
from tests.running_store import RunningStore, encode_batch, make_event, make_row, running_store

pytestmark = pytest.mark.engine
THROWN = 395  # FUNCTION_THROW_IF_VALUE_IS_NON_ZERO


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


@pytest.fixture
def slow_landing(store: RunningStore) -> Iterator[str]:
    """A table behind which a view takes 10 ms for each row, and refuses the one that is 59."""
    store.writer.command("CREATE TABLE slow_landing (a UInt8) ENGINE = Null")
    store.writer.command("CREATE TABLE slow (a UInt8) ENGINE = MergeTree ORDER BY a")
    store.writer.command(
        "CREATE MATERIALIZED VIEW landing_to_slow TO slow AS"
        " SELECT throwIf(sleepEachRow(0.01) = 0 AND a = 59) AS a FROM slow_landing"
    )
    yield "slow_landing"
    for name in ("landing_to_slow", "slow", "slow_landing"):
        store.writer.command(f"DROP TABLE {name} SYNC")


@pytest.mark.parametrize("interval_ms", [10, 115_000])
def test_a_batch_that_a_view_refuses_late_is_refused(store: RunningStore, slow_landing: str, interval_ms: int) -> None:
    """The same where progress is told before: the head of the answer has begun then, with status 200."""
    # Blocks of 0.2 s, so that the engine tells how far it is between two of them; the third one is refused.
    blocks = {"max_block_size": 20, "max_insert_block_size": 20, "min_insert_block_size_rows": 1}
    told = {"http_headers_progress_interval_ms": interval_ms, "input_format_parallel_parsing": 0}
    lines = encode_rows([{"a": number} for number in range(60)])
    with pytest.raises(StoreError) as refused:
        store.writer.insert_lines(slow_landing, lines, {**blocks, **told})
    assert refused.value.code == THROWN


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
