"""ClickHouse's HTTP interface over the engine, as clients and drivers use it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx
import lz4.frame  # type: ignore[import-untyped]
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from collector.engine.config import Limits
from tests.engine_process import RunningEngine, running_engine
from tests.native_frames import read_frames
from tests.open_files import list_open_files

pytestmark = pytest.mark.engine

LIMITS = Limits(max_body_bytes=64 * 1024 * 1024, reader_threads=2, reader_queue=1, max_statement_bytes=100_000)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with running_engine(tmp_path_factory.mktemp("http"), settings=LIMITS) as running:
        with writer_of(running) as writer:
            writer.command("CREATE DATABASE tagstitch ENGINE = Atomic")
            writer.command("CREATE DATABASE analytics ENGINE = Atomic")
            writer.command(
                "CREATE TABLE tagstitch.events (a UInt64, s LowCardinality(String), n Nullable(Float64),"
                " l Array(String), m Map(String, UInt8), t DateTime64(3, 'UTC'), j JSON) ENGINE = MergeTree ORDER BY a"
            )
            writer.command("CREATE VIEW tagstitch.v_events AS SELECT * FROM tagstitch.events")
        yield running


def writer_of(engine: RunningEngine, **more: Any) -> Client:
    return clickhouse_connect.get_client(**engine.client_arguments("writer", **more))


@pytest.fixture(scope="module")
def writer(engine: RunningEngine) -> Iterator[Client]:
    with writer_of(engine) as client:
        yield client


@pytest.fixture(scope="module")
def reader(engine: RunningEngine) -> Iterator[Client]:
    with clickhouse_connect.get_client(**engine.client_arguments("reader", database="tagstitch")) as client:
        yield client


@pytest.fixture
def table(writer: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    name = "default.t_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[:60]
    writer.command(f"CREATE TABLE {name} (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    yield name
    writer.command(f"DROP TABLE {name} SYNC")


def post(engine: RunningEngine, content: Any, role: str = "writer", **options: Any) -> httpx.Response:
    return httpx.post(
        engine.url,
        params=options.pop("params", {}),
        content=content,
        auth=options.pop("auth", engine.credentials(role)),
        timeout=60,
        **options,
    )


def until(condition: Any, timeout_s: float = 30) -> Any:
    """Wait until the condition holds, and return what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)
    return found


def running_queries(engine: RunningEngine, text: str) -> int:
    query = (
        "SELECT count() FROM system.processes WHERE position(query, {text:String}) > 0 AND query NOT LIKE '%processes%'"
    )
    return int(post(engine, query, params={"param_text": text}).text)


# -- clickhouse-connect ------------------------------------------------------------------------------------------------


def test_the_driver_inserts_and_reads_every_kind_of_column(writer: Client, reader: Client) -> None:
    """Native blocks of all column kinds go in through clickhouse-connect and come out of the view unchanged."""
    rows = [
        [1, "x", 1.5, ["a", "b"], {"k": 1}, datetime(2026, 1, 1, 12, 0, 0, 123000, tzinfo=UTC), {"sku": "a"}],
        [2, "y", None, [], {}, datetime(2026, 1, 2, tzinfo=UTC), {"price": 3}],
    ]
    names = ["a", "s", "n", "l", "m", "t", "j"]
    summary = writer.insert("events", rows, column_names=names, database="tagstitch")
    assert summary.written_rows == 2
    result = reader.query("SELECT * FROM v_events ORDER BY a", tz_mode="aware")
    assert result.column_names == tuple(names)
    assert [list(row[:6]) for row in result.result_rows] == [row[:6] for row in rows]
    assert result.result_rows[0][6] == {"sku": "a"}
    writer.command("TRUNCATE TABLE tagstitch.events")


def test_the_driver_streams_binds_and_reports(reader: Client) -> None:
    """Parameters, settings, blocks, frames, Arrow and raw formats work as against a server."""
    assert reader.query("SELECT {x:UInt8}", parameters={"x": 3}).result_rows == [(3,)]
    assert reader.query("SELECT %(y)s", parameters={"y": 4}).result_rows == [(4,)]
    assert reader.query("SELECT {s:String}", parameters={"s": "q'\\\n\té"}).first_row == ("q'\\\n\té",)
    with reader.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
        assert sum(len(block) for block in blocks) == 300_000
    assert reader.query_df("SELECT number FROM numbers(10)").shape == (10, 1)
    assert reader.query_arrow("SELECT number FROM numbers(10)").num_rows == 10
    assert reader.raw_query("SELECT 1 AS a", fmt="JSONEachRow") == b'{"a":1}\n'
    assert reader.command("SELECT 5") == 5
    assert reader.query("SELECT 1", settings={"max_execution_time": 5}).summary["read_rows"] == "1"
    assert reader.ping()


def test_the_driver_sees_errors_with_their_codes(reader: Client, writer: Client) -> None:
    """An error raised by the engine arrives with ClickHouse's own number and name."""
    with pytest.raises(DatabaseError, match=r"(?s)Code: 47\..*UNKNOWN_IDENTIFIER"):
        reader.query("SELECT nope FROM v_events")
    with pytest.raises(DatabaseError, match="ACCESS_DENIED"):
        reader.query("SELECT * FROM events")
    with pytest.raises(DatabaseError, match=r"Code: 60\."):
        writer.insert("nothing_here", [[1]], column_names=["a"], column_type_names=["UInt8"])


def test_the_driver_hears_of_an_error_in_the_middle_of_a_stream(reader: Client) -> None:
    """A statement that fails after rows went out ends in a stream error with the reason, not in a short answer."""
    query = "SELECT number, throwIf(number = 4000000, 'here it ends') FROM numbers(10000000)"
    with (
        pytest.raises((StreamFailureError, DatabaseError), match="here it ends"),
        reader.query_row_block_stream(query) as blocks,
    ):
        for _ in blocks:
            pass


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_the_driver_compresses_both_ways(engine: RunningEngine, table: str, compress: Any) -> None:
    """Every compression that clickhouse-connect offers works for inserts and for results."""
    with writer_of(engine, compress=compress) as client:
        client.insert(table, [[i, "text " * 20] for i in range(5000)], column_names=["a", "s"])
        assert client.query(f"SELECT count(), any(s) FROM {table}").first_row == (5000, "text " * 20)


def test_a_token_makes_an_insert_happen_once(writer: Client, table: str) -> None:
    """The same bytes under the same token are stored once, as the loader relies on."""
    writer.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 100")
    body = b"".join(b'{"a": %d, "s": "x"}\n' % i for i in range(1000))
    for token in ("one", "one", "two", "one"):
        writer.raw_insert(table, insert_block=body, fmt="JSONEachRow", settings={"insert_deduplication_token": token})
    assert writer.command(f"SELECT count() FROM {table}") == 2000


def test_sessions_keep_temporary_tables_and_settings(engine: RunningEngine) -> None:
    """A writer's session has temporary tables; what a request sends along does not stay in it."""
    with writer_of(engine, session_id="with-a-table") as client:
        client.command("CREATE TEMPORARY TABLE mine (a UInt8)")
        client.insert("mine", [[1], [2]], column_names=["a"])
        assert client.command("SELECT count() FROM mine") == 2
        client.command("SET max_threads = 1")
        assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 2}).first_row == (2,)
        assert client.query("SELECT getSetting('max_threads')").first_row == (1,)
    with writer_of(engine) as other, pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        other.query("SELECT * FROM mine")


def test_a_session_is_free_when_its_answer_has_arrived(engine: RunningEngine) -> None:
    """A client that has read an answer to its end may go on at once, also over another connection."""
    with httpx.Client() as one, httpx.Client() as other:
        params = {"session_id": "to-and-fro", "query_id": "to-and-fro"}
        for client in [one, other] * 100:
            answer = client.post(f"{engine.url}/", content="SELECT 1", params=params, auth=engine.credentials("writer"))
            assert answer.text == "1\n", answer.text


def test_a_busy_session_is_locked(engine: RunningEngine) -> None:
    """Two requests at once in one session: the second one is told so, with code 373."""
    with ThreadPoolExecutor() as pool:
        slow = "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number, 'locked') = 0"
        params = {"session_id": "busy", "query_id": "busy-one", "max_execution_time": "20"}
        first = pool.submit(post, engine, slow, params=params)
        until(lambda: running_queries(engine, "'locked'"))
        second = post(engine, "SELECT 1", params={"session_id": "busy"})
        assert second.headers["X-ClickHouse-Exception-Code"] == "373"
        same_id = post(engine, "SELECT 1", params={"query_id": "busy-one"})
        assert same_id.headers["X-ClickHouse-Exception-Code"] == "216"
        post(engine, "KILL QUERY WHERE query LIKE '%locked%' AND query NOT LIKE '%KILL%' ASYNC")
        assert first.result().headers["X-ClickHouse-Exception-Code"] == "394"


def test_a_session_must_exist_where_the_client_says_so(engine: RunningEngine) -> None:
    """session_check=1 asks for a session that is there already."""
    answer = post(engine, "SELECT 1", params={"session_id": "never-seen", "session_check": "1"})
    assert answer.headers["X-ClickHouse-Exception-Code"] == "372"


# -- plain HTTP --------------------------------------------------------------------------------------------------------


def test_ping_and_credentials(engine: RunningEngine) -> None:
    """/ping needs none; every way to give credentials works; a wrong one is 516 and says nothing more."""
    assert httpx.get(f"{engine.url}/ping").text == "Ok.\n"
    user, password = engine.credentials("reader")
    ways: list[dict[str, Any]] = [
        {"auth": (user, password)},
        {"headers": {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}},
        {"params": {"user": user, "password": password}},
    ]
    for way in ways:
        query = {"query": "SELECT 1", **way.pop("params", {})}
        assert httpx.get(engine.url, params=query, **way).text == "1\n"
    wrong = [
        (user, password + "x"),
        ("nobody", password),
        ("", ""),
        ("default", ""),
        (user, engine.passwords["writer"]),
    ]
    answers = [post(engine, "SELECT 1", auth=auth) for auth in wrong]
    assert {a.status_code for a in answers} == {403}
    assert {a.headers["X-ClickHouse-Exception-Code"] for a in answers} == {"516"}
    assert len({a.text for a in answers}) == 1
    assert post(engine, "SELECT 1", auth=None).status_code == 403


def test_a_statement_comes_in_the_url_the_body_or_both(engine: RunningEngine, table: str) -> None:
    """GET, POST, and an INSERT whose head is in the URL and whose rows are in the body."""
    auth = engine.credentials("writer")
    assert httpx.get(engine.url, params={"query": "SELECT 'ü'"}, auth=auth).text == "ü\n"
    assert post(engine, "SELECT 2").text == "2\n"
    assert post(engine, "+ 1", params={"query": "SELECT 2"}).text == "3\n"
    head = {"query": f"INSERT INTO {table} (a, s) FORMAT CSV"}
    assert post(engine, '1,"x"\n2,"y"\n', params=head).headers["X-ClickHouse-Summary"].find('"written_rows": "2"') > 0
    assert post(engine, f"INSERT INTO {table} FORMAT TSV\n3\tz\n").is_success
    assert post(engine, f"INSERT INTO {table} VALUES (4, 'semi;colon'), (5, 'b');").is_success
    assert post(engine, f"INSERT INTO {table} SELECT 6, 'c'").is_success
    assert post(engine, f"SELECT groupArray(s) FROM (SELECT s FROM {table} ORDER BY a)").text == (
        "['x','y','z','semi;colon','b','c']\n"
    )


def test_a_form_carries_the_statement_and_its_parameters(engine: RunningEngine) -> None:
    """multipart/form-data as clickhouse-connect's form_encode_query_params sends it."""
    form = {"query": (None, "SELECT {x:UInt8} + 1"), "param_x": (None, "4")}
    assert httpx.post(engine.url, files=form, auth=engine.credentials("reader")).text == "5\n"
    upload = httpx.post(engine.url, files={"t": ("t", b"1")}, auth=engine.credentials("reader"))
    assert upload.headers["X-ClickHouse-Exception-Code"] == "48"
    with clickhouse_connect.get_client(**engine.client_arguments("reader", form_encode_query_params=True)) as client:
        assert client.query("SELECT {x:String}", parameters={"x": "y"}).first_row == ("y",)


def test_the_headers_of_an_answer(engine: RunningEngine) -> None:
    """Query id, format, time zone and summary stand in the head, as drivers expect them."""
    answer = post(engine, "SELECT number FROM numbers(3) FORMAT JSON", params={"query_id": "my-own-id"})
    assert answer.headers["X-ClickHouse-Query-Id"] == "my-own-id"
    assert answer.headers["X-ClickHouse-Format"] == "JSON"
    assert answer.headers["X-ClickHouse-Timezone"]
    assert answer.headers["Content-Type"].startswith("application/json")
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "3"
    assert answer.json()["rows"] == 3
    assert post(engine, "SELECT 1", params={"default_format": "JSONEachRow"}).text == '{"1":1}\n'
    assert post(engine, "SELECT 1", headers={"X-ClickHouse-Format": "CSV"}).headers["X-ClickHouse-Format"] == "CSV"
    odd = post(engine, "SELECT 1", params={"query_id": "two\r\nlines"})
    assert odd.headers["X-ClickHouse-Exception-Code"] == "36"


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELEC 1", "62", 400),
        ("SELECT nope", "47", 404),
        ("SELECT * FROM nope", "60", 404),
        ("USE nope", "81", 404),
        ("SELECT nope(1)", "46", 404),
        ("SELECT toUInt8('x')", "6", 400),
        ("SELECT 1 SETTINGS nope = 1", "115", 400),
        ("SELECT throwIf(1)", "395", 500),
    ],
)
def test_errors_have_the_status_that_a_server_gives(engine: RunningEngine, sql: str, code: str, status: int) -> None:
    """The code is in the header and the body, and the status follows from it."""
    answer = post(engine, sql)
    assert (answer.headers["X-ClickHouse-Exception-Code"], answer.status_code) == (code, status), answer.text
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")


def test_an_unknown_database_is_told_before_anything_runs(engine: RunningEngine) -> None:
    """?database= with a name that is not there is code 81."""
    assert post(engine, "SELECT 1", params={"database": "nope"}).headers["X-ClickHouse-Exception-Code"] == "81"


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("lz4", lz4.frame.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
def test_compressed_bodies(engine: RunningEngine, table: str, encoding: str, compress: Any) -> None:
    """A body may come in every encoding, a broken one is code 271, and a bomb stops at the bound."""
    rows = b"".join(b'{"a": %d, "s": "x"}\n' % i for i in range(20000))
    head = {"query": f"INSERT INTO {table} FORMAT JSONEachRow"}
    headers = {"Content-Encoding": encoding}
    assert post(engine, compress(rows), params=head, headers=headers).is_success
    broken = post(engine, compress(rows)[:-20], params=head, headers=headers)
    assert broken.headers["X-ClickHouse-Exception-Code"] == "271"
    bomb = compress(b" " * (LIMITS.max_body_bytes + 1000))
    refused = post(engine, bomb, params=head, headers=headers)
    assert refused.headers["X-ClickHouse-Exception-Code"] == "173"
    assert refused.status_code == 413
    assert post(engine, f"SELECT count() FROM {table}").text == "20000\n"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "lz4", "zstd"])
def test_compressed_answers(engine: RunningEngine, encoding: str) -> None:
    """Results are compressed only if the client both accepts it and switches it on."""
    query = "SELECT number FROM numbers(300000) ORDER BY number"
    expected = "".join(f"{i}\n" for i in range(300000)).encode()
    decompress = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "lz4": lz4.frame.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }[encoding]
    with httpx.stream(
        "POST",
        engine.url,
        content=query,
        params={"enable_http_compression": "1"},
        timeout=60,
        auth=engine.credentials("reader"),
        headers={"Accept-Encoding": f"br;q=0, {encoding}"},
    ) as answer:
        assert answer.headers["Content-Encoding"] == encoding
        assert decompress(b"".join(answer.iter_raw())) == expected
    plain = post(engine, "SELECT 1", headers={"Accept-Encoding": encoding})
    assert "Content-Encoding" not in plain.headers


def test_a_body_that_is_too_large_is_refused(engine: RunningEngine, table: str) -> None:
    """More than the bound is 413, also without Content-Length, and nothing of it is stored."""

    def chunks() -> Iterator[bytes]:
        row = b'{"a": 1, "s": "' + b"x" * 1_000_000 + b'"}\n'
        for _ in range(80):
            yield row

    answer = post(engine, chunks(), params={"query": f"INSERT INTO {table} FORMAT JSONEachRow"})
    assert answer.status_code == 413
    assert post(engine, f"SELECT count() FROM {table}").text == "0\n"


def test_wait_end_of_query_gives_the_true_status(engine: RunningEngine) -> None:
    """Without it a late error comes in the body of a 200; with it the whole result is known first."""
    query = "SELECT number, throwIf(number = 900000) FROM numbers(1000000)"
    late = post(engine, query)
    assert late.status_code == 200
    tag = late.headers["X-ClickHouse-Exception-Tag"]
    assert f"__exception__\r\n{tag}\r\nCode: 395." in late.text
    assert late.text.endswith(f" {tag}\r\n__exception__\r\n")
    waited = post(engine, query, params={"wait_end_of_query": "1"})
    assert waited.status_code == 500
    assert waited.headers["X-ClickHouse-Exception-Code"] == "395"
    fine = post(engine, "SELECT count() FROM numbers(1000000)", params={"wait_end_of_query": "1"})
    assert json.loads(fine.headers["X-ClickHouse-Summary"])["read_rows"] == "1000000"


# -- streams, progress, cancelling, fairness ---------------------------------------------------------------------------


def memory_mb(engine: RunningEngine) -> float:
    status = (Path("/proc") / str(engine.process.pid) / "status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@pytest.mark.parametrize("format_name", ["TabSeparated", "JSON", "Native"])
def test_a_large_result_streams_in_little_memory(engine: RunningEngine, format_name: str) -> None:
    """Ten million rows (160–640 MB) go out without the process growing by their size, whatever the format."""
    query = f"SELECT number, toString(number) FROM numbers(10000000) FORMAT {format_name}"
    before, most, size, first = memory_mb(engine), 0.0, 0, b""
    with httpx.stream("POST", engine.url, content=query, auth=engine.credentials("reader"), timeout=60) as answer:
        for count, chunk in enumerate(answer.iter_raw()):
            first = first or chunk
            size += len(chunk)
            if count % 50 == 0:
                most = max(most, memory_mb(engine))
    assert size > 150_000_000
    assert most - before < 100, f"grew from {before} to {most} MB"
    if format_name == "JSON":
        assert first.startswith(b'{\n\t"meta"')


def test_progress_stands_in_the_head_while_the_statement_runs(engine: RunningEngine) -> None:
    """X-ClickHouse-Progress lines are on the wire before the result is, with rows read and rows in all."""
    query = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number, 'progress') = 0"
    with socket.create_connection((engine.host, engine.port), timeout=30) as client:
        send_raw(
            client, engine, "reader", query, "/?send_progress_in_http_headers=1&http_headers_progress_interval_ms=10"
        )
        seen = b""
        while seen.count(b"X-ClickHouse-Progress: ") < 3:
            seen += client.recv(65536)
        assert seen.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\n\r\n" not in seen
        lines = [line for line in seen.split(b"\r\n")[:-1] if line.startswith(b"X-ClickHouse-Progress: ")]
        steps = [json.loads(line.partition(b": ")[2]) for line in lines]
        assert int(steps[0]["read_rows"]) < int(steps[1]["read_rows"])
        assert steps[0]["total_rows_to_read"] == "1000000000000"
    until(lambda: running_queries(engine, "'progress'") == 0)


def test_an_answer_with_progress_is_whole(engine: RunningEngine) -> None:
    """After the progress lines come the summary and the result, also when it is an error."""
    params = {"send_progress_in_http_headers": "1", "http_headers_progress_interval_ms": "500"}
    query = "SELECT count() FROM numbers(30000000) WHERE sipHash64(number) = 0"
    answer = post(engine, query, "reader", params=params)
    assert answer.text == "0\n"
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "30000000"
    failed = post(engine, query.replace("= 0", "= throwIf(number = 29000000)"), "reader", params=params)
    assert "Code: 395." in failed.text


def send_raw(client: socket.socket, engine: RunningEngine, role: str, query: str, path: str = "/") -> None:
    user, password = engine.credentials(role)
    client.sendall(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nX-ClickHouse-User: {user}\r\nX-ClickHouse-Key: {password}\r\n"
        f"Content-Length: {len(query)}\r\n\r\n{query}".encode()
    )


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_a_client_that_goes_away_stops_its_statement(engine: RunningEngine, role: str) -> None:
    """Closing the connection ends the statement, before its first row and in the middle of its rows."""
    silent = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number, 'gone') = 0"
    with socket.create_connection((engine.host, engine.port), timeout=30) as client:
        send_raw(client, engine, role, silent)
        until(lambda: running_queries(engine, "'gone'"))
    until(lambda: running_queries(engine, "'gone'") == 0)

    endless = "SELECT number, 'talkative' FROM numbers(1000000000000)"
    with socket.create_connection((engine.host, engine.port), timeout=30) as client:
        send_raw(client, engine, role, endless)
        assert client.recv(65536)
        assert running_queries(engine, "'talkative'") == 1
    until(lambda: running_queries(engine, "'talkative'") == 0)


def test_a_client_that_reads_slowly_holds_up_nobody(engine: RunningEngine, table: str) -> None:
    """A reader that stops reading holds its own statement only; inserts and other readers go on."""
    with socket.create_connection((engine.host, engine.port), timeout=30) as client:
        send_raw(client, engine, "reader", "SELECT number, 'slow' FROM numbers(1000000000000)")
        assert client.recv(1024)
        for _ in range(20):
            assert post(engine, f"INSERT INTO {table} VALUES (1, 'x')").is_success
        assert post(engine, "SELECT 1", "reader").text == "1\n"
    until(lambda: running_queries(engine, "'slow'") == 0)


def test_too_many_readers_are_told_to_come_back(engine: RunningEngine, table: str) -> None:
    """Two readers work, one waits, the next is refused with 202; the writer has threads of its own."""
    query = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number, 'crowd') = 0"
    clients = []
    try:
        for _ in range(3):
            client = socket.create_connection((engine.host, engine.port), timeout=30)
            clients.append(client)
            send_raw(client, engine, "reader", query)
        until(lambda: running_queries(engine, "'crowd'") == 2)
        refused = until(lambda: (a := post(engine, "SELECT 1", "reader")).status_code == 503 and a)
        assert refused.headers["X-ClickHouse-Exception-Code"] == "202"
        for _ in range(5):
            assert post(engine, f"INSERT INTO {table} VALUES (1, 'x')").is_success
    finally:
        for client in clients:
            client.close()
    until(lambda: running_queries(engine, "'crowd'") == 0)
    assert until(lambda: (a := post(engine, "SELECT 1", "reader")).is_success and a).text == "1\n"


def test_time_and_memory_of_a_reader_end(engine: RunningEngine) -> None:
    """A statement that takes too long or too much memory is stopped with its code, and the next one works."""
    slow = post(
        engine,
        "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 0",
        "reader",
        params={"max_execution_time": "1"},
    )
    assert slow.headers["X-ClickHouse-Exception-Code"] == "159"
    greedy = post(
        engine, "SELECT groupArray(number) FROM numbers(1000000000)", "reader", params={"max_memory_usage": "50000000"}
    )
    assert greedy.headers["X-ClickHouse-Exception-Code"] == "241"
    assert post(engine, "SELECT 1", "reader").text == "1\n"


def test_a_failed_statement_of_a_reader_leaves_the_writer_alone(engine: RunningEngine, table: str) -> None:
    """readonly sticks to a handle after a failure, so no handle is ever shared."""
    for sql in ("SET readonly = 0", "INSERT INTO x SELECT 1", "SELECT file('/etc/passwd')", "SELECT", "SELECT nope"):
        assert post(engine, sql, "reader").status_code >= 400
    assert post(engine, f"INSERT INTO {table} VALUES (1, 'x')").is_success


def test_concurrent_inserts_and_reads(engine: RunningEngine, table: str) -> None:
    """Many clients at once lose and double nothing."""

    def work(number: int) -> int:
        with writer_of(engine) as client:
            for batch in range(5):
                start = (number * 5 + batch) * 100
                client.insert(table, [[start + i, "x"] for i in range(100)], column_names=["a", "s"])
            return len(client.query("SELECT 1").result_rows)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) == 6
    assert post(engine, f"SELECT count(), uniqExact(a) FROM {table}").text == "3000\t3000\n"


def test_logs_hold_no_statement_and_no_password(engine: RunningEngine) -> None:
    """Neither SQL nor values nor credentials reach the log."""
    post(engine, "SELECT 'a-secret-value'", params={"param_p": "a-secret-parameter"})
    post(engine, "SELECT 'a-secret-value' FROM nowhere")
    post(engine, "SELECT 1", auth=("writer", "a-secret-password"))
    assert "a-secret" not in engine.log
    assert "Traceback" not in engine.log


# -- drivers -----------------------------------------------------------------------------------------------------------

DRIVERS = {
    "Grafana through clickhouse-go": (
        {
            "default_format": "Native", "database": "tagstitch", "max_execution_time": "60", "query_id": "grafana-1",
            "enable_http_compression": "1",
        },
        {"Accept-Encoding": "gzip", "User-Agent": "grafana-clickhouse-datasource/4 clickhouse-go/2"},
        "SELECT name FROM system.tables WHERE database = 'tagstitch'",
    ),
    "JDBC": (
        {
            "default_format": "RowBinaryWithNamesAndTypes", "database": "tagstitch", "session_timezone": "UTC",
            "max_result_rows": "200", "result_overflow_mode": "break", "extremes": "0", "wait_end_of_query": "1",
            "send_progress_in_http_headers": "1", "enable_http_compression": "1", "query_id": "jdbc-1",
            "date_time_input_format": "best_effort", "output_format_binary_write_json_as_string": "1",
            "input_format_binary_read_json_as_string": "1", "log_comment": "DBeaver", "readonly": "1",
        },
        {"Accept-Encoding": "lz4"},
        "SELECT database AS TABLE_SCHEM, name AS TABLE_NAME, comment AS REMARKS FROM system.tables",
    ),
    "dbt": (
        {
            "database": "analytics", "mutations_sync": "2", "insert_distributed_sync": "1", "wait_end_of_query": "1",
            "allow_experimental_lightweight_delete": "1", "allow_nondeterministic_mutations": "1", "alter_sync": "1",
            "connect_timeout": "10",
        },
        {},
        "SELECT name, engine FROM system.databases",
    ),
    "curl": ({"add_http_cors_header": "1", "log_queries": "1", "use_uncompressed_cache": "0"}, {}, "SELECT 1"),
}  # fmt: skip


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("role", ["reader", "analyst"])
def test_what_drivers_send_by_habit_is_taken(engine: RunningEngine, driver: str, role: str) -> None:
    """Settings and headers that drivers send on their own do not stand in the way of a reader or an analyst."""
    params, headers, query = DRIVERS[driver]
    answer = post(engine, query, role, params=params, headers=headers)
    assert answer.status_code == 200, answer.text


def test_jdbc_reads_answers_and_errors_in_frames(engine: RunningEngine) -> None:
    """compress=1, which JDBC sends by default, gives ClickHouse's own frames; refusals of rights stay plain."""
    params = {"compress": "1", "default_format": "RowBinaryWithNamesAndTypes"}
    assert read_frames(post(engine, "SELECT 1 FORMAT TSV", "reader", params=params).content) == b"1\n"
    query = "SELECT number FROM numbers(200000) FORMAT TabSeparated"
    answer = post(engine, query, "reader", params=params)
    assert "Content-Encoding" not in answer.headers
    assert read_frames(answer.content) == "".join(f"{i}\n" for i in range(200000)).encode()
    assert read_frames(post(engine, "SELECT nope", "reader", params=params).content).startswith(b"Code: 47.")
    assert post(engine, "SELECT * FROM events", "reader", params=params).text.startswith("Code: 497.")


def test_clickhouse_go_is_greeted(engine: RunningEngine) -> None:
    """The driver's first question is answered in its own protocol version, all others in plain Native."""
    params = {"default_format": "Native", "client_protocol_version": "54460", "database": "tagstitch"}
    hello = post(engine, "SELECT displayName(), version(), revision(), timezone()", "reader", params=params)
    assert hello.content.startswith(b"\x01\x00\x02\xff\xff\xff\xff\x00\x04\x01\x0ddisplayName()")
    ping = post(engine, "SELECT 1", "reader", params=params)
    assert ping.content == b"\x01\x01\x011\x05UInt8\x01"


def test_the_python_standard_library_reads_an_answer(engine: RunningEngine) -> None:
    """A client that knows plain HTTP/1.1 and nothing more can read a chunked answer and reuse its connection."""
    connection = http.client.HTTPConnection(engine.host, engine.port, timeout=30)
    user, password = engine.credentials("reader")
    for number in range(3):
        connection.request("POST", "/", f"SELECT {number}", {"X-ClickHouse-User": user, "X-ClickHouse-Key": password})
        assert connection.getresponse().read() == f"{number}\n".encode()
    connection.close()


@pytest.mark.long
def test_no_descriptor_is_left_behind(engine: RunningEngine) -> None:
    """After hundreds of statements of all endings the process has as many files open as after the first ones."""

    def open_files() -> int:
        return sum(not name.startswith("/proc") for name in list_open_files(engine.process.pid))

    def work(number: int) -> None:
        sql = ("SELECT 1", "SELECT nope", "SELECT * FROM events", "SHOW TABLES", "SELECT number FROM numbers(100000)")
        with httpx.Client(base_url=engine.url, auth=engine.credentials("writer"), timeout=60) as client:
            for i in range(50):
                client.post("/", content=sql[(number + i) % len(sql)])

    def work_together() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))

    work_together()
    before = open_files()
    for _ in range(3):
        work_together()
    until(lambda: open_files() <= before + 4)
