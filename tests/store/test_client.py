"""The client against the real engine: answers, errors, streams, and what it costs to import."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from collector.config import Config
from collector.errors import StoreError, StoreUnavailable
from collector.keyring import make_keyring
from collector.store.client import StoreClient, encode_rows, open_client
from collector.store.dsn import Address
from collector.store.writer import insert_rows
from tests.running_store import NOON_MS, RunningStore, make_event, make_id, make_row

pytestmark = pytest.mark.engine


def test_importing_the_client_does_not_import_the_driver() -> None:
    """`tagstitch --help` must not wait a third of a second for what it does not use."""
    script = (
        "import sys, collector.store.client, collector.store.migrate, collector.store.sql, collector.reports.questions;"
        "print([m for m in ('clickhouse_connect', 'urllib3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rows_come_as_python_values(store: RunningStore) -> None:
    """UUIDs as UUID, times with their zone, properties as they were sent."""
    store.load(make_row(1, events=[make_event(1, props='{"price":19.5,"tags":["a"]}')]))
    row = store.query("SELECT event_id, time, props, is_bot FROM v_events")[0]
    assert row == {
        "event_id": UUID(make_id(1, 0xE)),
        "time": datetime.fromtimestamp(NOON_MS / 1000, UTC),
        "props": {"price": 19.5, "tags": ["a"]},
        "is_bot": 0,
    }


def test_parameters_are_bound(store: RunningStore) -> None:
    """A quote, a brace and a semicolon in a value are a value."""
    nasty = "x'); DROP TABLE events; -- {a:String} \\ \n\t∅"
    assert store.query("SELECT {v:String} AS v, {n:UInt64} AS n", v=nasty, n=2**63) == [{"v": nasty, "n": 2**63}]


def test_a_refusal_carries_the_code_in_one_line(store: RunningStore) -> None:
    """Code for the program, words for the person, no version and no URL."""
    for sql, code in (("SELECT nope FROM v_events", 47), ("SELECT 1 FROM nowhere", 60)):
        with pytest.raises(StoreError) as refused:
            store.query(sql)
        assert refused.value.code == code
        assert not isinstance(refused.value, StoreUnavailable)
        assert "\n" not in str(refused.value)
        assert "version" not in str(refused.value)
        assert "http://" not in str(refused.value)


def test_a_wrong_password_is_a_refusal_that_does_not_repeat_it(store: RunningStore) -> None:
    """516: a definite answer."""
    address = Address("http", store.engine.host, store.engine.port, "writer", "not-the-password", "tagstitch")
    with pytest.raises(StoreError) as refused:
        StoreClient(address).query_rows("SELECT 1")
    assert refused.value.code == 516
    assert "not-the-password" not in str(refused.value)


def test_opening_does_not_connect() -> None:
    """A store that is away shows where it is asked, and may be back by then."""
    client = open_client(Config(engine_port=1), make_keyring(), "writer")
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 does not answer"):
        client.command("SELECT 1")
    client.close()


def test_a_closed_client_connects_again(store: RunningStore) -> None:
    """After close the next question opens a connection."""
    client = open_client(store.config, store.keyring, "writer")
    assert client.command("SELECT 1") == 1
    client.close()
    assert client.command("SELECT 2") == 2
    client.close()


def test_clients_of_several_threads_do_not_meet(store: RunningStore) -> None:
    """One client per thread, no session between them."""
    answers: list[object] = []

    def ask(number: int) -> None:
        with open_client(store.config, store.keyring, "writer") as client:
            answers.append(client.query_rows("SELECT {n:UInt32} AS n, sleep(0.05)", {"n": number})[0]["n"])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers, key=str) == [0, 1, 2, 3]


def test_a_long_answer_comes_in_pieces(store: RunningStore) -> None:
    """Streamed, whole, in order."""
    with store.writer.stream("SELECT number FROM numbers(300000)", form="TSV") as stream:
        pieces = list(stream)
    assert len(pieces) > 3
    assert b"".join(pieces) == b"".join(b"%d\n" % n for n in range(300_000))


def test_an_error_after_the_first_rows_is_an_error(store: RunningStore) -> None:
    """200 was sent already; the error behind the rows is raised, not handed on as data."""
    received = b""
    with (
        pytest.raises(StoreError, match=r"broke off: .*throwIf") as broken,
        store.writer.stream(
            "SELECT number, throwIf(number = 2000000) FROM numbers(3000000)",
            form="TSV",
            settings={"max_threads": 1, "max_block_size": 10_000},
        ) as stream,
    ):
        for piece in stream:
            received += piece
    assert broken.value.code == 395
    assert b"exception" not in received.lower()
    assert received.startswith(b"0\t0\n1\t0\n")


def test_a_stream_may_be_left_early(store: RunningStore) -> None:
    """Closing it ends the question; the client goes on."""
    with store.writer.stream("SELECT number FROM system.numbers", form="TSV") as stream:
        assert next(iter(stream)).startswith(b"0\n1\n")
    assert store.value("SELECT 1") == 1


def test_the_same_rows_under_the_same_token_are_there_once(store: RunningStore) -> None:
    """insert_lines hands the token on; another token inserts again."""
    store.writer.command("DROP TABLE IF EXISTS tokens SYNC")
    store.writer.command(
        "CREATE TABLE tokens (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 10"
    )
    for token in ("one", "one", "two"):
        store.writer.insert_lines("tokens", b'{"a":1}\n', {"async_insert": 0}, token)
    assert store.value("SELECT count() FROM tokens") == 2
    store.writer.command("DROP TABLE tokens SYNC")


def test_an_unknown_column_of_state_is_refused(store: RunningStore) -> None:
    """A misspelt name is no row with a default."""
    with pytest.raises(StoreError):
        insert_rows(store.writer, "sites", [{"id": "shop", "rwo": "{}", "version": 1}])
    insert_rows(store.writer, "sites", [])
    assert store.value("SELECT count() FROM sites") == 0


def test_rows_are_encoded_one_a_line() -> None:
    """Dictionaries and structs alike; a newline in a value stays inside its line."""
    lines = encode_rows([{"a": "x\ny"}, make_event(1)]).splitlines()
    assert len(lines) == 2
    assert lines[0] == b'{"a":"x\\ny"}'


class Overloaded(BaseHTTPRequestHandler):
    """A ClickHouse that answers every insert with 503 and code 202, and counts them."""

    count = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).count += 1
        body = b"Code: 202. DB::Exception: Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES)"
        self.send_response(503)
        self.send_header("X-ClickHouse-Exception-Code", "202")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the name is the library's

    def log_message(self, *_: Any) -> None:
        pass


def test_a_busy_store_is_no_refusal() -> None:
    """503 and 202: try again with the same bytes."""
    server = HTTPServer(("127.0.0.1", 0), Overloaded)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        client = StoreClient(Address("http", "127.0.0.1", server.server_port, "u", "p", "d"), timeout_s=5)
        with pytest.raises(StoreUnavailable) as busy:
            client.insert_lines("landing", b"{}\n", {}, "token")
        assert busy.value.code == 202
        client.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_columns_go_there_and_back(store: RunningStore) -> None:
    """Ids as their text's bytes, words as one dictionary for all chunks, moments and nothing at all."""
    rows = store.writer.read_columns(
        "SELECT toUUID('00010203-0405-0607-0809-0a0b0c0d0e0f') AS id, toLowCardinality(toString(number % 3)) AS word,"
        " if(number = 1, NULL, number) AS nullable FROM numbers(200000) SETTINGS max_block_size = 1000"
    )
    assert (rows.num_rows, rows["id"][0].as_py()) == (200_000, bytes(range(16)))
    assert rows["word"].chunk(0).dictionary == rows["word"].chunk(rows["word"].num_chunks - 1).dictionary
    assert rows["nullable"].null_count == 1
    written = pa.table(
        {
            "host": pa.array(["columns"]).dictionary_encode(),
            "seq": pa.array([7], pa.uint64()),
            "loaded_at": pa.array([1_790_000_000_123], pa.timestamp("ms", "UTC")),
        }
    )
    store.writer.insert_columns("batches", written)
    back = store.writer.read_columns("SELECT host, seq, loaded_at FROM batches WHERE host = 'columns'")
    assert back.to_pylist() == written.to_pylist()


def test_columns_that_break_off_are_an_error(store: RunningStore) -> None:
    """What fails after the first rows raises, and no half table is taken for all of it."""
    with pytest.raises(StoreError):
        store.writer.read_columns("SELECT throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_threads = 1")


def test_thousands_of_keys_fit_into_a_question(store: RunningStore) -> None:
    """Parameters that are too long for an address are sent as a form."""
    keys = [str(UUID(int=number)) for number in range(3_000)]
    sql = "SELECT length(arrayConcat({one:Array(UUID)}, {two:Array(UUID)})) AS keys"
    assert store.writer.query_rows(sql, {"one": keys, "two": keys}) == [{"keys": 6_000}]
