"""A batch sent again under its token adds nothing to any table behind the landing, and one bad row costs one row."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from collector.load.loader import Loader
from collector.load.patience import Patience
from collector.load.store import ClickHouseLanding
from collector.spool.frames import encode_frame
from tests.chaos.ledger import Ledger, ask_patiently
from tests.chaos.outcome import chaos_case, count_rounds
from tests.chaos.stream import make_line, note_acknowledged, note_sent
from tests.running_store import (
    NOON_MS,
    RunningStore,
    make_consent,
    make_event,
    make_evidence,
    make_read,
    make_refusal,
    make_row,
    make_vaulted,
    running_store,
)

pytestmark = [pytest.mark.chaos, pytest.mark.engine]

BAD_AT = 6_173
OF_THE_MAP = {"person_keys"}
"""Filled by a view too, and not by a batch: by what stitch writes."""
ROWS = 10_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


def list_targets(store: RunningStore) -> list[str]:
    """Return every table that a batch fills, directly or through another view."""
    rows = store.query(
        "SELECT DISTINCT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'"
        " AND name IN (SELECT extract(create_table_query, ' TO (?:[^. ]+[.])?`?([a-z0-9_]+)') FROM system.tables"
        " WHERE database = {database:String} AND engine = 'MaterializedView') ORDER BY name",
        database=store.config.database,
    )
    return [row["name"] for row in rows if row["name"] not in OF_THE_MAP]


def count_rows(store: RunningStore, tables: list[str]) -> dict[str, int]:
    """Return the number of rows in the parts."""
    return {table: store.value(f"SELECT count() FROM {table}") for table in tables}


def test_replay_into_every_table(running: RunningStore) -> None:
    """The same bytes under the same token, again and again, with other batches in between and after a merge."""
    running.clear()
    tables = list_targets(running)
    assert {"consent_ledger", "events", "identifier_vault", "identity_evidence", "rejected_events", "sessions"} <= set(
        tables
    )
    rounds = count_rounds(3, 20)
    injected = f"the same batch again, into {', '.join(tables)}"
    with chaos_case("a token replayed into every table", injected, rounds) as outcome:
        rows = [
            make_row(
                visitor,
                events=[
                    make_event(visitor * 3 + index, name=name, props='{"plan":"gold","offer":"spring"}')
                    for index, name in enumerate(("page_view", "offer_shown", "identify"))
                ],
                evidence=[make_evidence(visitor, visitor)],
                rejected=[make_refusal()],
                vault=[make_vaulted(visitor)],
                consents=[
                    make_consent(visitor),
                    msgspec.structs.replace(
                        make_consent(visitor, "withdrawn"), purpose="fingerprint", time_ms=NOON_MS + visitor
                    ),
                ],
                reads=[make_read(visitor)],
            )
            for visitor in range(200)
        ]
        token = running.load(*rows, seq=1)
        counted = count_rows(running, tables)
        assert all(counted.values()), f"nothing came to a table: {counted}"
        for number in range(rounds):
            running.load(*rows, seq=1, token=token)
            assert count_rows(running, tables) == counted, f"doubled in replay {number}"
            running.load(make_row(1000 + number, events=[make_event(10_000 + number)]), seq=2 + number)
            if number % 2:
                for table in tables:
                    running.writer.command(f"OPTIMIZE TABLE {table} FINAL")
            counted = count_rows(running, tables)
        sessions = running.query("SELECT uniqExactMerge(events) AS n FROM sessions GROUP BY session_id HAVING n != 3")
        assert [row["n"] for row in sessions] == [1] * rounds
        outcome.found = f"nothing added to {len(tables)} tables"


def test_one_bad_row_in_ten_thousand(running: RunningStore, tmp_path: Path) -> None:
    """The engine refuses a batch for one of its rows: 9,999 are stored, the bad one is a rejection with its reason."""
    running.clear()
    ledger = Ledger()
    lines = []
    for number in range(1, ROWS + 1):
        line = make_line(number)
        if number == BAD_AT:
            line = line.replace(b'"visitor_id":"', b'"visitor_id":"no visitor ')
            assert b"no visitor" in line
        else:
            note_sent(ledger, number)
            note_acknowledged(ledger, number)
        lines.append(line)
    folder = tmp_path / "spool" / "web-0"
    folder.mkdir(parents=True)
    for first in range(0, ROWS, 2500):
        frames = b"".join(encode_frame(line) for line in lines[first : first + 2500])
        (folder / f"{first + 1:010d}-00000000.v1.seg").write_bytes(frames)
    with chaos_case("one bad row in 10,000", "a row that the engine cannot read") as outcome:
        landing = ClickHouseLanding(running.config, running.keyring)
        with contextlib.closing(landing), capture_logs():
            loader = Loader(
                tmp_path / "spool", tmp_path / "load", landing, Patience(threading.Event()), digest_key="key"
            )
            while loader.step():
                pass
            loader.close()
        assert running.value("SELECT count() FROM events") == 3 * (ROWS - 1)
        assert running.query("SELECT step, reason, events FROM rejected_events") == [
            {"step": "load", "reason": "shape", "events": 3}
        ]
        ledger.compare(ask_patiently(running.query), is_sent_once=True)
        outcome.found = "9,999 stored, 1 rejected with its reason and kept"
