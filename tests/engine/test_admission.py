"""What a reader and an analyst may run, and ways round it, against the real engine over HTTP."""

# ruff: noqa: E501  One line a statement is easier to read than statements cut to fit.

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from collector.engine.config import Policy
from collector.engine.functions import decided
from tests.engine_process import RunningEngine, running_engine

pytestmark = pytest.mark.engine

SECRET = "the-row-that-nobody-may-see"
FILE_SECRET = "the-file-that-nobody-may-see"

SCHEMA = f"""
CREATE DATABASE tagstitch ENGINE = Atomic;
CREATE DATABASE analytics ENGINE = Atomic;
CREATE TABLE tagstitch.events (
    event_id UInt64, time DateTime, visitor_id String, event_name String, url String, secret String, props JSON
) ENGINE = MergeTree ORDER BY time;
CREATE TABLE tagstitch.identity_map (visitor_id String, person_id String) ENGINE = MergeTree ORDER BY visitor_id;
INSERT INTO tagstitch.events SELECT number, toDateTime('2026-01-01 00:00:00') + number * 3600,
    'v' || toString(number % 7), ['view', 'basket', 'buy'][number % 3 + 1], 'https://shop.example/a?x=1',
    '{SECRET}', '{{"sku": "a", "price": 3}}' FROM numbers(200);
INSERT INTO tagstitch.identity_map SELECT 'v' || toString(number), 'p' || toString(number % 3) FROM numbers(7);
CREATE DICTIONARY tagstitch.identity (visitor_id String, person_id String) PRIMARY KEY visitor_id
    SOURCE(CLICKHOUSE(TABLE 'identity_map' DB 'tagstitch')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0);
CREATE DICTIONARY tagstitch.secrets (event_id UInt64, secret String) PRIMARY KEY event_id
    SOURCE(CLICKHOUSE(TABLE 'events' DB 'tagstitch')) LAYOUT(HASHED()) LIFETIME(0);
CREATE TABLE tagstitch.secret_join (event_id UInt64, secret String) ENGINE = Join(ANY, LEFT, event_id);
INSERT INTO tagstitch.secret_join SELECT event_id, secret FROM tagstitch.events;
CREATE VIEW tagstitch.v_events AS SELECT event_id, time, visitor_id, event_name, url, props,
    dictGetOrDefault('tagstitch.identity', 'person_id', tuple(visitor_id), visitor_id) AS person_id
    FROM tagstitch.events;
CREATE VIEW tagstitch.v_customer AS SELECT * FROM tagstitch.v_events WHERE person_id = {{person:String}};
CREATE VIEW tagstitch.hidden AS SELECT * FROM tagstitch.events;
CREATE FUNCTION tagstitch_peek AS (x) -> x;
"""


@pytest.fixture(scope="module")
def secret_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outside") / "secret.txt"
    path.write_text(FILE_SECRET)
    return path


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    policy = Policy(dictionaries=("tagstitch.identity",))
    with running_engine(tmp_path_factory.mktemp("admission"), policy=policy) as running:
        for statement in SCHEMA.split(";\n"):
            if statement.strip():
                answer = ask(running, statement, "writer")
                assert answer.status_code == 200, answer.text
        yield running


def ask(
    engine: RunningEngine, sql: str | bytes, role: str = "reader", database: str = "tagstitch", **parameters: str
) -> httpx.Response:
    return httpx.post(
        engine.url,
        params={"database": database if role != "writer" else "default", **parameters},
        content=sql,
        auth=engine.credentials(role),
        timeout=60,
    )


# Each is refused for a reader, with 497 unless another code is named.
WAYS_ROUND = {
    # files
    "file scalar": "SELECT file('{file}')",
    "file table": "SELECT * FROM file('{file}', 'LineAsString')",
    "file in a subquery": "SELECT 1 WHERE (SELECT file('{file}')) != ''",
    "file in an IN": "SELECT 1 FROM v_events WHERE url IN (SELECT * FROM file('{file}', 'LineAsString'))",
    "file by APPLY": "SELECT * APPLY(file) FROM (SELECT '{file}' AS path)",
    "file by COLUMNS APPLY": "SELECT COLUMNS('p') APPLY(file) FROM (SELECT '{file}' AS path)",
    "file by APPLY of a lambda": "SELECT * APPLY(x -> file(x)) FROM (SELECT '{file}' AS path)",
    "file by REPLACE": "SELECT * REPLACE (file('{file}') AS path) FROM (SELECT '' AS path)",
    "file in arrayMap": "SELECT arrayMap(x -> file(x), ['{file}'])",
    "file in ORDER BY": "SELECT 1 AS a ORDER BY file('{file}')",
    "file in LIMIT": "SELECT 1 LIMIT length(file('{file}'))",
    "file in LIMIT BY": "SELECT 1 AS a LIMIT 1 BY file('{file}')",
    "file in a window": "SELECT sum(1) OVER (PARTITION BY file('{file}'))",
    "file in a named window": "SELECT sum(1) OVER w WINDOW w AS (ORDER BY file('{file}'))",
    "file in WITH FILL": "SELECT number FROM numbers(1) ORDER BY number WITH FILL TO length(file('{file}'))",
    "file in INTERPOLATE": (
        "SELECT number, '' AS s FROM numbers(2) ORDER BY number WITH FILL TO 4 INTERPOLATE (s AS file('{file}'))"
    ),
    "file in a JOIN": "SELECT 1 FROM v_events AS a JOIN v_events AS b ON a.url = b.url AND file('{file}') != ''",
    "file in ARRAY JOIN": "SELECT x FROM v_events ARRAY JOIN [file('{file}')] AS x",
    "file in QUALIFY": "SELECT row_number() OVER () AS n QUALIFY file('{file}') != ''",
    "file in SAMPLE": "SELECT 1 FROM v_events SAMPLE length(file('{file}'))::62",
    "file behind a lambda of its name": "WITH (x -> x) AS file SELECT file('{file}')",
    "file behind a lambda elsewhere": "SELECT file('{file}'), (WITH (x -> x) AS file SELECT file(1))",
    "file in quotes": "SELECT `file`('{file}')",
    "file in the parameters of a view": "SELECT * FROM v_customer(person = file('{file}'))",
    "file in a cast": "SELECT CAST(file('{file}') AS String)",
    "file in EXPLAIN QUERY TREE": "EXPLAIN QUERY TREE SELECT file('{file}')",
    "file in EXPLAIN SYNTAX": "EXPLAIN SYNTAX SELECT file('{file}')",
    "file in DESCRIBE": "DESCRIBE TABLE file('{file}', 'LineAsString')",
    "file in DESCRIBE of a subquery": "DESCRIBE (SELECT file('{file}') AS a)",
    "file in a parameterless UNION": "SELECT '' UNION ALL SELECT file('{file}')",
    "file in EXCEPT": "SELECT '' EXCEPT SELECT file('{file}')",
    "file in a recursive CTE": "WITH RECURSIVE r AS (SELECT '' AS x UNION ALL SELECT file('{file}') FROM r) SELECT * FROM r",
    "file in FILTER": "SELECT count() FILTER (WHERE file('{file}') != '')",
    "file in the parameters of an aggregate": "SELECT quantile(length(file('{file}')))(1)",
    "table function fileCluster": "SELECT * FROM fileCluster('x', '{file}')",
    "table function filesystem": "SELECT * FROM filesystem('/')",
    "a template format": "SELECT 1 FORMAT Template SETTINGS format_template_row = '{file}'::452",
    "a format schema": "SELECT 1 FORMAT Protobuf SETTINGS format_schema = '{file}:M'::452",
    "a schema written out": "SELECT 1 SETTINGS output_format_schema = '/tmp/schema'::452",
    "INTO OUTFILE": "SELECT 1 INTO OUTFILE '{file}.out'",
    "INTO OUTFILE TRUNCATE": "SELECT 1 INTO OUTFILE '{file}.out' TRUNCATE FORMAT CSV",
    "INTO OUTFILE APPEND STDOUT": "SELECT 1 INTO OUTFILE '{file}.out' APPEND AND STDOUT",
    "INTO OUTFILE after FORMAT": "SELECT 1 FORMAT CSV INTO OUTFILE '{file}.out'::62",
    "EXPLAIN INTO OUTFILE": "EXPLAIN SELECT 1 INTO OUTFILE '{file}.out'",
    "SHOW INTO OUTFILE": "SHOW TABLES INTO OUTFILE '{file}.out'",
    "DESCRIBE INTO OUTFILE": "DESCRIBE v_events INTO OUTFILE '{file}.out'",
    # network and other stores
    "url": "SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')",
    "remote": "SELECT * FROM remote('127.0.0.1', tagstitch.events)",
    "remoteSecure": "SELECT * FROM remoteSecure('127.0.0.1', 'tagstitch', 'events')",
    "mysql": "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "postgresql": "SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "s3": "SELECT * FROM s3('http://127.0.0.1:1/b', 'TSV', 'a String')",
    "sqlite": "SELECT * FROM sqlite('{file}', 't')",
    "executable": "SELECT * FROM executable('id', 'TSV', 'a String')",
    "Python": "SELECT * FROM Python(config)",
    "python in quotes": "SELECT * FROM `python`('config')",
    "cluster": "SELECT * FROM cluster('default', tagstitch.events)",
    # other tables, by functions
    "merge": "SELECT * FROM merge('tagstitch', '.*')",
    "merge of system": "SELECT * FROM merge('system', 'tables')",
    "loop": "SELECT * FROM loop(tagstitch.events) LIMIT 1",
    "mergeTreeIndex": "SELECT * FROM mergeTreeIndex('tagstitch', 'events')",
    "mergeTreeProjection": "SELECT * FROM mergeTreeProjection('tagstitch', 'events', 'p')",
    "view": "SELECT * FROM view(SELECT * FROM tagstitch.events)",
    "viewIfPermitted": "SELECT * FROM viewIfPermitted(SELECT * FROM tagstitch.events ELSE null('a Int8'))",
    "viewExplain": "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT * FROM tagstitch.events))",
    "eval": "SELECT * FROM eval('SELECT * FROM tagstitch.events')",
    "input": "SELECT * FROM input('a String')",
    "dictionary": "SELECT * FROM dictionary('tagstitch.secrets')",
    "dictionary as a table": "SELECT * FROM tagstitch.secrets",
    "dictGet of another dictionary": "SELECT dictGet('tagstitch.secrets', 'secret', toUInt64(1))",
    "dictGet without database": "SELECT dictGet('secrets', 'secret', toUInt64(1))",
    "dictGet by identifier": "SELECT dictGet(tagstitch.secrets, 'secret', toUInt64(1))",
    "dictGet by expression": "SELECT dictGet(concat('tagstitch', '.secrets'), 'secret', toUInt64(1))",
    "dictGet by alias": "WITH 'tagstitch.secrets' AS d SELECT dictGet(d, 'secret', toUInt64(1))",
    "dictHas": "SELECT dictHas('tagstitch.secrets', toUInt64(1))",
    "dictGetAll by APPLY": "SELECT * APPLY(dictGet) FROM (SELECT 'tagstitch.secrets')",
    "joinGet": "SELECT joinGet('tagstitch.secret_join', 'secret', toUInt64(1))",
    "hasColumnInTable": "SELECT hasColumnInTable('tagstitch', 'events', 'secret')",
    "parseQueryToJSON": "SELECT parseQueryToJSON('SELECT 1')",
    "a function of the operator's": "SELECT tagstitch_peek(1)::46",
    # base tables
    "base table": "SELECT * FROM tagstitch.events",
    "base table without database": "SELECT * FROM events",
    "base table in quotes": "SELECT * FROM `tagstitch`.`events`",
    "base table in double quotes": 'SELECT * FROM "tagstitch"."events"',
    "base table in typographic quotes": "SELECT * FROM “tagstitch”.“events”",
    "base table with comments": "SELECT * FROM tagstitch/**/./* v_events */events -- v_events",
    "base table behind FROM": "FROM tagstitch.events SELECT *",
    "base table with an alias": "SELECT v_events.secret FROM tagstitch.events AS v_events",
    "base table in a JOIN": "SELECT e.secret FROM v_events AS v JOIN tagstitch.events AS e ON e.event_id = v.event_id",
    "base table after a comma": "SELECT e.secret FROM v_events AS v, tagstitch.events AS e",
    "base table in a subquery": "SELECT (SELECT any(secret) FROM tagstitch.events)",
    "base table in WITH": "WITH x AS (SELECT * FROM tagstitch.events) SELECT * FROM x",
    "base table in EXISTS": "SELECT exists(SELECT 1 FROM tagstitch.events)",
    "base table in IN": "SELECT 1 FROM v_events WHERE event_id IN tagstitch.events",
    "base table in IN with brackets": "SELECT 1 FROM v_events WHERE event_id IN (tagstitch.identity_map)",
    "base table in NOT IN": "SELECT 1 FROM v_events WHERE visitor_id NOT IN identity_map",
    "base table in GLOBAL IN": "SELECT 1 FROM v_events WHERE visitor_id GLOBAL IN identity_map",
    "base table in nullIn": "SELECT nullIn(visitor_id, identity_map), notInIgnoreSet(visitor_id, identity_map) FROM v_events",
    "base table in the function in": "SELECT in(visitor_id, identity_map) FROM v_events",
    "base table in IN of a lambda": "SELECT arrayExists(x -> x IN identity_map, ['v1'])",
    "base table in IN by APPLY": "SELECT * APPLY(x -> x IN identity_map) FROM (SELECT 'v1')",
    "base table in a UNION": "SELECT url FROM v_events UNION ALL SELECT secret FROM tagstitch.events",
    "base table in INTERSECT": "SELECT url FROM v_events INTERSECT SELECT secret FROM tagstitch.events",
    "base table in a view's parameter": "SELECT * FROM v_customer(person = (SELECT any(secret) FROM events))",
    "base table as a stream": "SELECT * FROM v_events STREAM",
    "a view outside the policy": "SELECT * FROM tagstitch.hidden",
    "base table by a parameter": "SELECT * FROM {{t:Identifier}}",
    "base table by two parameters": "SELECT * FROM {{d:Identifier}}.{{t:Identifier}}",
    "base table by a parameter in IN": "SELECT 1 IN {{t:Identifier}}",
    "CTE of the table's name over itself": "WITH events AS (SELECT * FROM events) SELECT * FROM events",
    "CTE out of its scope": "SELECT * FROM (WITH events AS (SELECT 1 AS a) SELECT a FROM events) AS x, events AS y",
    "CTE in EXPLAIN": "EXPLAIN WITH events AS (SELECT * FROM events) SELECT * FROM events",
    "DESCRIBE base table": "DESCRIBE TABLE tagstitch.events",
    "DESC base table": "DESC events",
    "DESCRIBE a join": "DESCRIBE v_events, tagstitch.events",
    "SHOW CREATE base table": "SHOW CREATE TABLE tagstitch.events",
    "SHOW CREATE the view": "SHOW CREATE VIEW tagstitch.v_events",
    "SHOW CREATE DATABASE": "SHOW CREATE DATABASE tagstitch",
    "SHOW INDEX": "SHOW INDEX FROM tagstitch.events",
    "CHECK TABLE": "CHECK TABLE tagstitch.events",
    # system tables
    "system.parts": "SELECT * FROM system.parts",
    "system.processes": "SELECT query FROM system.processes",
    "system.server_settings": "SELECT * FROM system.server_settings",
    "system.disks": "SELECT * FROM system.disks",
    "system.user_processes": "SELECT * FROM system.user_processes",
    "system.named_collections": "SELECT * FROM system.named_collections",
    "system.functions by merge": "SELECT * FROM merge('system', 'functions')",
    "system.zookeeper": "SELECT * FROM system.zookeeper WHERE path = '/'",
    "system.stack_trace": "SELECT * FROM system.stack_trace",
    "SHOW PROCESSLIST": "SHOW PROCESSLIST",
    "SHOW GRANTS": "SHOW GRANTS",
    "SHOW CLUSTERS": "SHOW CLUSTERS",
    "SHOW TABLES WHERE": "SHOW TABLES WHERE file('{file}') != ''",
    # the process
    "sleep": "SELECT sleep(3)",
    "sleepEachRow": "SELECT sleepEachRow(1) FROM numbers(3)",
    "hostName": "SELECT hostName()",
    "getServerSetting": "SELECT getServerSetting('max_connections')",
    "getSetting": "SELECT getSetting('log_comment')",
    "getOSKernelVersion": "SELECT getOSKernelVersion()",
    "filesystemAvailable": "SELECT filesystemAvailable()",
    "getMacro": "SELECT getMacro('x')",
    "showCertificate": "SELECT showCertificate()",
    "logTrace": "SELECT logTrace('x')",
    "aiGenerate": "SELECT aiGenerate('x', 'y')",
    "an internal function": "SELECT __getScalar('x')",
    # other statements
    "two statements": "SELECT 1; SELECT 2::62",
    "a second statement": "SELECT 1; DROP TABLE tagstitch.events::62",
    "a second statement behind EXPLAIN AST": "EXPLAIN AST SELECT 1; DROP TABLE tagstitch.events::62",
    "a second statement behind a comment": "SELECT 1 /* ; */; -- x\nDROP TABLE tagstitch.events::62",
    "EXPLAIN of a change": "EXPLAIN AST DROP TABLE tagstitch.events",
    "EXPLAIN with settings for two": "run_passes = 1 SELECT 1::62",
    "PARALLEL WITH": "DROP TABLE tagstitch.events PARALLEL WITH DROP TABLE tagstitch.identity_map",
    "INSERT": "INSERT INTO tagstitch.events (event_id) VALUES (1)",
    "INSERT SELECT": "INSERT INTO tagstitch.events (event_id) SELECT 1",
    "WITH … INSERT": "WITH x AS (SELECT 1 AS a) INSERT INTO tagstitch.events (event_id) SELECT a FROM x",
    "INSERT INTO FUNCTION": "INSERT INTO FUNCTION file('{file}.out') SELECT 1",
    "INSERT with data": 'INSERT INTO tagstitch.events FORMAT JSONEachRow {{"event_id": 1}}',
    "INSERT into analytics": "INSERT INTO analytics.t SELECT 1",
    "CREATE TABLE": "CREATE TABLE analytics.t (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE": "CREATE TEMPORARY TABLE t (a Int8)",
    "CREATE VIEW": "CREATE VIEW analytics.v AS SELECT 1",
    "CREATE FUNCTION": "CREATE FUNCTION f AS x -> file(x)",
    "CREATE USER": "CREATE USER u",
    "GRANT": "GRANT ALL ON *.* TO default",
    "DROP": "DROP TABLE tagstitch.events",
    "TRUNCATE": "TRUNCATE TABLE tagstitch.events",
    "RENAME": "RENAME TABLE tagstitch.events TO tagstitch.v_x",
    "ALTER": "ALTER TABLE tagstitch.events DELETE WHERE 1",
    "DELETE": "DELETE FROM tagstitch.events WHERE 1",
    "UPDATE": "UPDATE tagstitch.events SET url = '' WHERE 1",
    "OPTIMIZE": "OPTIMIZE TABLE tagstitch.events",
    "ATTACH": "ATTACH TABLE tagstitch.x FROM '/tmp' (a Int8) ENGINE = MergeTree ORDER BY a",
    "DETACH": "DETACH TABLE tagstitch.events",
    "UNDROP": "UNDROP TABLE tagstitch.x",
    "KILL": "KILL QUERY WHERE 1",
    "SYSTEM": "SYSTEM RELOAD DICTIONARIES",
    "SYSTEM SHUTDOWN": "SYSTEM SHUTDOWN",
    "BACKUP": "BACKUP TABLE tagstitch.events TO File('/tmp/b')",
    "WATCH": "WATCH tagstitch.v_events::62",
    "EXECUTE AS": "EXECUTE AS default SELECT 1",
    "BEGIN": "BEGIN TRANSACTION",
    # settings
    "SETTINGS readonly": "SELECT 1 SETTINGS readonly = 0::164",
    "SETTINGS in a subquery": "SELECT * FROM (SELECT 1 SETTINGS readonly = 0)",
    "SETTINGS before UNION": "SELECT 1 SETTINGS max_threads = 1 UNION ALL SELECT 2",
    "SET readonly": "SET readonly = 0::164",
    "additional_table_filters": "SELECT 1 SETTINGS additional_result_filter = '1'::452",
    "the old analyzer": "SELECT 1 SETTINGS enable_analyzer = 0::452",
    "introspection": "SELECT 1 SETTINGS allow_introspection_functions = 1::452",
    "another dialect": "SELECT 1 SETTINGS dialect = 'prql'::452",
    "errors of rows into a file": "SELECT 1 SETTINGS input_format_record_errors_file_path = 'x'::452",
    "SET of an expression": "SET max_threads = (SELECT 1)::62",
    # shapes
    "nothing": "::62",
    "only a comment": "/* SELECT 1 */::62",
    "an open comment": "SELECT 1 /* x::62",
    "a bare expression": "file('{file}')::62",
    "NUL": "SELECT 1\0, file('{file}')::62",
    "deep brackets": "SELECT " + "(" * 5000 + "1" + ")" * 5000 + "::306",
    "deep subqueries": "SELECT * FROM " * 300 + "(SELECT 1)" + "::62",
}


@pytest.mark.parametrize("way", WAYS_ROUND)
def test_a_way_round_is_refused(engine: RunningEngine, secret_file: Path, way: str) -> None:
    """Each known way to more than the views is refused with a typed error that gives nothing away."""
    text = WAYS_ROUND[way]
    text, _, code = text.rpartition("::") if text.rpartition("::")[2].isdecimal() else (text, "", "497")
    sql = text if way.startswith("deep") else text.format(file=secret_file)
    answer = ask(engine, sql, param_t="events", param_d="tagstitch")

    assert answer.headers.get("X-ClickHouse-Exception-Code") == code, answer.text[:500]
    assert answer.status_code >= 400
    assert SECRET not in answer.text
    assert FILE_SECRET not in answer.text
    assert not secret_file.with_suffix(".txt.out").exists()


# A name of a WITH clause that is also a base table's: which of the two is meant where?
SHADOWS = [
    "WITH events AS (SELECT 1 AS a) SELECT * FROM (WITH events AS (SELECT * FROM events) SELECT * FROM events)",
    "WITH events AS (SELECT 1 AS a) SELECT * FROM (WITH b AS (SELECT * FROM events), events AS (SELECT * FROM b)"
    " SELECT * FROM events)",
    "WITH a AS (SELECT * FROM events), events AS (SELECT 1 AS x) SELECT * FROM a",
    "WITH RECURSIVE events AS (SELECT * FROM events) SELECT * FROM events",
    "SELECT * FROM events UNION ALL WITH events AS (SELECT 1 AS a) SELECT * FROM events",
    "(WITH events AS (SELECT 1 AS a) SELECT * FROM events) UNION ALL SELECT * FROM events",
    "SELECT (SELECT any(secret) FROM events) FROM (WITH events AS (SELECT 1 AS secret) SELECT * FROM events)",
    "SELECT 1 FROM (WITH identity_map AS (SELECT 1 AS a) SELECT 1) AS x WHERE ('v1', 'p1') IN identity_map",
    "WITH events AS (SELECT 1 AS secret) SELECT * FROM v_customer(person = (SELECT any(secret) FROM events))",
    "WITH (SELECT any(secret) FROM events) AS s, events AS (SELECT 'x' AS secret) SELECT s",
    "WITH events AS (SELECT 'x' AS secret) SELECT * FROM (SELECT secret FROM events) AS a JOIN events AS b USING secret",
    "WITH 1 AS events SELECT * FROM events",
    "SELECT * FROM v_events AS events JOIN events AS e ON 1",
]


@pytest.mark.parametrize("sql", SHADOWS)
def test_a_with_clause_does_not_shadow_a_base_table_away(engine: RunningEngine, sql: str) -> None:
    """However names of WITH clauses and tables are mixed, no row of a base table comes out."""
    answer = ask(engine, sql)
    assert SECRET not in answer.text
    assert answer.status_code in (200, 400, 403, 404, 500)


def test_the_tables_outlived_the_ways_round(engine: RunningEngine) -> None:
    """None of the attempts changed anything."""
    assert ask(engine, "SELECT count() FROM tagstitch.events", "writer").text == "200\n"


def test_bytes_that_are_no_text_are_refused(engine: RunningEngine) -> None:
    """A statement must be UTF-8, so that what is judged is what runs."""
    answer = ask(engine, b"SELECT '\xff\xfe'")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "62"


def test_a_huge_statement_is_refused(engine: RunningEngine) -> None:
    """A statement of more than a megabyte is refused before anything parses it."""
    answer = ask(engine, "SELECT 1 /*" + "x" * 1_100_000 + "*/")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "62"
    assert "longer than" in answer.text


# What must work for a reader, with the answer where it is short.
READABLE: dict[str, tuple[str, str | None]] = {
    "a constant": ("SELECT 1", "1\n"),
    "a trailing semicolon and comment": ("SELECT 1; -- one", "1\n"),
    "a view": ("SELECT count() FROM v_events", "200\n"),
    "a qualified view": ("SELECT count() FROM `tagstitch`.v_events AS e WHERE e.event_name = 'buy'", "66\n"),
    "daily visitors": ("SELECT toDate(time) AS d, uniqExact(person_id) FROM v_events GROUP BY d ORDER BY d LIMIT 1", None),
    "funnel": (
        "SELECT level, count() FROM (SELECT person_id, windowFunnel(86400)(time, event_name = 'view',"
        " event_name = 'basket', event_name = 'buy') AS level FROM v_events GROUP BY person_id) GROUP BY level",
        "3\t3\n",
    ),
    "retention": (
        "SELECT sum(r[1]), sum(r[2]) FROM (SELECT person_id, retention(toDate(time) = '2026-01-01',"
        " toDate(time) = '2026-01-02') AS r FROM v_events GROUP BY person_id)",
        "3\t3\n",
    ),
    "sequence": ("SELECT sequenceMatch('(?1)(?t<=7200)(?2)')(time, event_name = 'view', event_name = 'basket') FROM v_events", "1\n"),
    "window functions": (
        "SELECT person_id, n FROM (SELECT person_id, row_number() OVER (PARTITION BY person_id ORDER BY time) AS n,"
        " lagInFrame(time) OVER w AS earlier FROM v_events WINDOW w AS (PARTITION BY person_id ORDER BY time"
        " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) WHERE n = 1 ORDER BY person_id",
        "p0\t1\np1\t1\np2\t1\n",
    ),
    "arrays and lambdas": (
        "SELECT arrayMap(x -> x * 2, arrayFilter((x, i) -> i > 1, [1, 2, 3], arrayEnumerate([1, 2, 3]))),"
        " arrayReduce('sumIf', [1, 2], [1, 0]), arraySort(x -> -x, [1, 3, 2])",
        "[4,6]\t1\t[3,2,1]\n",
    ),
    "a lambda by name": ("WITH (x -> x + 1) AS next SELECT next(2)", "3\n"),
    "ARRAY JOIN": ("SELECT k FROM v_events ARRAY JOIN ['a', 'b'] AS k WHERE event_id = 1 ORDER BY k", "a\nb\n"),
    "JSON subcolumns": ("SELECT props.sku, props.price.:Int64, props.^x FROM v_events LIMIT 1", "a\t3\t{}\n"),
    "dictGet": ("SELECT dictGet('tagstitch.identity', 'person_id', tuple('v1'))", "p1\n"),
    "dictGet without database": ("SELECT dictGetOrDefault('identity', 'person_id', tuple('x'), '-')", "-\n"),
    "the dictionary as a table": ("SELECT count() FROM tagstitch.identity", "7\n"),
    "WITH": ("WITH e AS (SELECT * FROM v_events), (SELECT max(event_id) FROM v_events) AS last SELECT count(), any(last) FROM e", "200\t199\n"),
    "WITH of a base table's name": ("WITH events AS (SELECT * FROM v_events) SELECT count() FROM events", "200\n"),
    "WITH used before a UNION": ("WITH e AS (SELECT 1 AS a) SELECT a FROM e UNION ALL SELECT a FROM e", "1\n1\n"),
    "WITH RECURSIVE": ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT max(n) FROM r", "3\n"),
    "IN a WITH name": ("WITH ids AS (SELECT 1 AS a) SELECT count() FROM v_events WHERE event_id IN ids", "1\n"),
    "IN a column": ("SELECT count() FROM (SELECT 1 AS a, [1, 2] AS list) WHERE a IN list", None),
    "joins among views": (
        "SELECT count() FROM v_events AS a ANY LEFT JOIN (SELECT person_id, min(time) AS first FROM v_events"
        " GROUP BY person_id) AS b USING (person_id) WHERE a.time >= b.first",
        "200\n",
    ),
    "ASOF JOIN": ("SELECT count() FROM v_events AS a ASOF JOIN v_events AS b ON a.visitor_id = b.visitor_id AND a.time >= b.time", "200\n"),
    "a view with parameters": ("SELECT count() FROM v_customer(person = 'p1')", None),
    "a qualified view with parameters": ("SELECT count() FROM tagstitch.v_customer(person = {{p:String}})", None),
    "parameters": ("SELECT {{n:UInt8}}, {{p:String}}, {{list:Array(String)}}", "3\tp1\t['a','b']\n"),
    "GROUPING SETS": ("SELECT event_name, grouping(event_name), count() FROM v_events GROUP BY GROUPING SETS ((event_name), ()) ORDER BY 3 DESC LIMIT 1", None),
    "combinators": ("SELECT sumIf(1, event_id > 5), uniqExactIfOrNull(url, 0), quantilesTimingIf(0.5, 0.9)(event_id, 1), COUNT(DISTINCT url) FROM v_events", None),
    "states": ("SELECT uniqMerge(s) FROM (SELECT uniqState(event_id) AS s FROM v_events)", "200\n"),
    "CASE and IF": ("SELECT CASE event_name WHEN 'buy' THEN 1 ELSE 0 END, CASE WHEN 1 THEN 2 END, event_id > 1 ? 'a' : 'b' FROM v_events LIMIT 1", None),
    "dates": ("SELECT DATE '2026-01-01' + INTERVAL 1 MONTH, EXTRACT(YEAR FROM toDate('2026-01-01')), toStartOfInterval(toDateTime('2026-01-01 10:17:00', 'UTC'), INTERVAL 15 MINUTE)", "2026-02-01\t2026\t2026-01-01 10:15:00\n"),
    "WITH FILL": ("SELECT number FROM numbers(2) ORDER BY number WITH FILL TO 4 INTERPOLATE", "0\n1\n2\n3\n"),
    "COLUMNS and APPLY": ("SELECT COLUMNS('id$') APPLY(toString) EXCEPT (event_id) FROM v_events LIMIT 1", None),
    "UNION, INTERSECT, EXCEPT": ("(SELECT 1 UNION ALL SELECT 2) EXCEPT SELECT 2 INTERSECT SELECT 2", "1\n"),
    "VALUES": ("SELECT sum(a) FROM values('a UInt64', 1, 2)", "3\n"),
    "numbers": ("SELECT count() FROM numbers(3) AS a, generateSeries(1, 2) AS b", "6\n"),
    "LIMIT BY, TIES, OFFSET": ("SELECT event_name FROM v_events ORDER BY event_name LIMIT 1 BY event_name LIMIT 2 OFFSET 1", "buy\nview\n"),
    "totals": ("SELECT event_name, count() FROM v_events GROUP BY event_name WITH TOTALS ORDER BY event_name LIMIT 1", None),
    "FROM first": ("FROM v_events SELECT count()", "200\n"),
    "URL functions": ("SELECT domain(url), extractURLParameter(url, 'x') FROM v_events LIMIT 1", "shop.example\t1\n"),
    "FORMAT": ("SELECT 1 AS a FORMAT JSONEachRow", '{{"a":1}}\n'),
    "FORMAT and SETTINGS": ("SELECT 1 AS a FORMAT JSONEachRow SETTINGS max_threads = 1, output_format_json_quote_64bit_integers = 1", '{{"a":1}}\n'),
    "SETTINGS and FORMAT": ("SELECT 1 AS a SETTINGS max_execution_time = 5 FORMAT CSVWithNames", '"a"\n1\n'),
    "SHOW TABLES": ("SHOW TABLES", "identity\nv_customer\nv_events\n"),
    "SHOW TABLES FROM LIKE": ("SHOW FULL TABLES FROM tagstitch LIKE 'v_e%'", "v_events\tVIEW\n"),
    "SHOW DATABASES": ("SHOW DATABASES", "analytics\ntagstitch\n"),
    "SHOW COLUMNS": ("SHOW COLUMNS FROM v_events LIKE 'url'", "url\tString\tNO\t\t\\N\t\n"),
    "DESCRIBE": ("DESCRIBE TABLE v_events", None),
    "DESC of a subquery": ("DESC (SELECT 1 AS a)", "a\tUInt8\t\t\t\t\t\n"),
    "EXISTS": ("EXISTS TABLE tagstitch.v_events", "1\n"),
    "EXISTS tells nothing": ("EXISTS TABLE tagstitch.events", "0\n"),
    "EXPLAIN": ("EXPLAIN SELECT count() FROM v_events", None),
    "EXPLAIN with settings": ("EXPLAIN PLAN header = 1 SELECT 1", None),
    "EXPLAIN AST": ("EXPLAIN AST SELECT 1", None),
    "EXPLAIN SYNTAX": ("EXPLAIN SYNTAX SELECT 1", None),
    "tables as drivers ask": ("SELECT name, engine, total_rows FROM system.tables WHERE database = 'tagstitch' AND NOT is_temporary ORDER BY name", None),
    "columns as drivers ask": ("SELECT c.name, c.type, c.comment FROM system.columns AS c WHERE c.database = 'tagstitch' AND table = 'v_events'", None),
    "databases as drivers ask": ("SELECT name, engine FROM system.databases", None),
    "information_schema": ("SELECT table_name FROM information_schema.tables WHERE table_schema = 'tagstitch' ORDER BY 1", None),
    "functions": ("SELECT count() > 1000 FROM system.functions", "1\n"),
    "formats": ("SELECT count() > 10 FROM system.formats", "1\n"),
    "data types": ("SELECT count() > 10 FROM system.data_type_families", "1\n"),
    "who and where": ("SELECT currentDatabase(), length(version()) > 3, timezone() != ''", "tagstitch\t1\t1\n"),
    "SET": ("SET max_threads = 1", ""),
    "USE": ("USE analytics", ""),
}  # fmt: skip


@pytest.mark.parametrize("query", READABLE)
def test_what_analysts_ask_works(engine: RunningEngine, query: str) -> None:
    """The queries that reports are made of run for a reader, and give the right answer."""
    sql, expected = READABLE[query]
    answer = ask(engine, sql.replace("{{", "{").replace("}}", "}"), param_n="3", param_p="p1", param_list="['a','b']")
    assert answer.status_code == 200, answer.text
    if expected is not None:
        assert answer.text == expected.replace("{{", "{").replace("}}", "}")


def test_the_catalogue_shows_no_base_tables_and_no_places(engine: RunningEngine) -> None:
    """system.tables and its kin list what may be read, without paths, definitions or other databases."""
    names = ask(
        engine, "SELECT DISTINCT database || '.' || name FROM system.tables WHERE database != 'analytics' ORDER BY 1"
    ).text.split()
    assert names == ["tagstitch.identity", "tagstitch.v_customer", "tagstitch.v_events"]
    everything = "".join(
        ask(engine, f"SELECT * FROM system.{table} FORMAT JSONEachRow").text
        for table in ("tables", "columns", "databases", "dictionaries")
    )
    assert "secret" not in everything
    assert str(engine.folder) not in everything
    assert "tagstitch.events" not in everything


def test_a_session_of_a_reader_keeps_settings_and_database(engine: RunningEngine) -> None:
    """SET and USE hold for later requests of the same session, and for no other."""
    for statement in ("SET session_timezone = 'Asia/Tokyo'", "USE tagstitch"):
        assert httpx.post(
            engine.url, params={"session_id": "s-reader"}, content=statement, auth=engine.credentials("reader")
        ).is_success
    query = "SELECT currentDatabase(), timezone()"
    mine = httpx.post(engine.url, params={"session_id": "s-reader"}, content=query, auth=engine.credentials("reader"))
    other = httpx.post(engine.url, params={"session_id": "s-other"}, content=query, auth=engine.credentials("reader"))
    assert mine.text == "tagstitch\tAsia/Tokyo\n"
    assert "Asia/Tokyo" not in other.text


def test_limits_go_down_and_never_up(engine: RunningEngine) -> None:
    """A reader may ask for less time and memory, not for more."""
    query = "SELECT name, value FROM system.settings WHERE name IN ('max_execution_time', 'max_threads') ORDER BY name"
    asked = {"max_execution_time": "5", "max_threads": "64"}
    assert ask(engine, query, **asked).text == "max_execution_time\t5\nmax_threads\t1\n"
    assert ask(engine, query, max_execution_time="0").text.startswith("max_execution_time\t60\n")


def test_settings_that_reach_further_are_refused(engine: RunningEngine) -> None:
    """A setting outside the allow-list is a typed error, whether it exists or not."""
    for name in ("format_schema", "additional_table_filters", "output_format_schema", "no_such_setting"):
        answer = ask(engine, "SELECT 1", **{name: "1"})
        assert answer.headers["X-ClickHouse-Exception-Code"] == "452", name


def test_a_reader_knows_which_settings_it_may_send(engine: RunningEngine) -> None:
    """system.settings marks every setting that would be refused as read-only, as drivers expect."""
    query = "SELECT readonly FROM system.settings WHERE name = {name:String}"
    assert ask(engine, query, param_name="max_threads").text == "0\n"
    assert ask(engine, query, param_name="format_schema").text == "1\n"


def test_every_function_of_the_engine_is_decided(engine: RunningEngine) -> None:
    """A ClickHouse that brings new functions fails here until somebody has decided about each."""
    names = set(ask(engine, "SELECT name FROM system.functions WHERE origin = 'System'", "writer").text.split())
    lists = decided()
    assert names - lists.allowed - lists.dictionary - lists.refused == set()
    assert not lists.allowed & lists.refused


# -- the analyst -------------------------------------------------------------------------------------------------------

ANALYST_WAYS_ROUND = {
    "write into tagstitch": "INSERT INTO tagstitch.events (event_id) SELECT 1",
    "write into tagstitch with data": "INSERT INTO tagstitch.events (event_id) VALUES (1)",
    "write without database": "INSERT INTO events (event_id) SELECT 1",
    "create in tagstitch": "CREATE TABLE tagstitch.v_x (a Int8) ENGINE = Memory",
    "create a view in tagstitch": "CREATE VIEW tagstitch.v_x AS SELECT 1",
    "view on a base table": "CREATE VIEW analytics.v AS SELECT * FROM tagstitch.events",
    "view on a base table without database": "CREATE VIEW analytics.v AS SELECT * FROM events",
    "view on a base table behind WITH": "CREATE VIEW analytics.v AS WITH events AS (SELECT * FROM events) SELECT * FROM events",
    "view with a name in doubt": "CREATE VIEW analytics.v AS WITH a AS (SELECT * FROM events), events AS (SELECT 1) SELECT * FROM a",
    "view in IN": "CREATE VIEW analytics.v AS SELECT 1 AS a WHERE 'v1' IN identity_map",
    "view that reads files": "CREATE VIEW analytics.v AS SELECT file('{file}') AS a",
    "view as its definer": "CREATE VIEW analytics.v DEFINER = default SQL SECURITY DEFINER AS SELECT 1",
    "view without security": "CREATE VIEW analytics.v SQL SECURITY NONE AS SELECT 1",
    "materialized view": "CREATE MATERIALIZED VIEW analytics.m ENGINE = Memory AS SELECT * FROM tagstitch.v_events",
    "materialized view into tagstitch": "CREATE MATERIALIZED VIEW analytics.m TO tagstitch.events AS SELECT 1 AS event_id",
    "table from a base table": "CREATE TABLE analytics.t ENGINE = Memory AS SELECT * FROM tagstitch.events",
    "table AS a base table": "CREATE TABLE analytics.t AS tagstitch.events",
    "table CLONE AS a base table": "CREATE TABLE analytics.t CLONE AS tagstitch.events",
    "table AS a table function": "CREATE TABLE analytics.t AS file('{file}')",
    "default that reads files": "CREATE TABLE analytics.t (a String DEFAULT file('{file}')) ENGINE = Memory",
    "alias that reads files": "CREATE TABLE analytics.t (a String ALIAS file('{file}')) ENGINE = Memory",
    "constraint that reads files": "CREATE TABLE analytics.t (a Int8, CONSTRAINT c CHECK file('{file}') != '') ENGINE = Memory",
    "TTL that reads tables": "CREATE TABLE analytics.t (d DateTime TTL d + (SELECT 1 FROM events)) ENGINE = MergeTree ORDER BY ()",
    "key with dictGet": "CREATE TABLE analytics.t (a UInt64) ENGINE = MergeTree ORDER BY dictGet('tagstitch.secrets', 'secret', a)",
    "engine File": "CREATE TABLE analytics.t (a String) ENGINE = File(LineAsString, '{file}')",
    "engine URL": "CREATE TABLE analytics.t (a String) ENGINE = URL('http://127.0.0.1:1/', 'TSV')",
    "engine Kafka": "CREATE TABLE analytics.t (a String) ENGINE = Kafka('h', 't', 'g', 'TSV')",
    "engine Merge": "CREATE TABLE analytics.t (secret String) ENGINE = Merge('tagstitch', '.*')",
    "engine Buffer": "CREATE TABLE analytics.t AS tagstitch.v_events ENGINE = Buffer('tagstitch', 'events', 1, 1, 1, 1, 1, 1, 1)",
    "engine Alias": "CREATE TABLE analytics.t ENGINE = Alias('tagstitch', 'events')",
    "engine Distributed": "CREATE TABLE analytics.t (a Int8) ENGINE = Distributed('c', 'tagstitch', 'events')",
    "engine Executable": "CREATE TABLE analytics.t (a Int8) ENGINE = Executable('id', 'TSV')",
    "engine Dictionary": "CREATE TABLE analytics.t (event_id UInt64, secret String) ENGINE = Dictionary('tagstitch.secrets')",
    "engine ReplicatedMergeTree": "CREATE TABLE analytics.t (a Int8) ENGINE = ReplicatedMergeTree('/x', 'y') ORDER BY a",
    "no engine": "CREATE TABLE analytics.t (a Int8)",
    "setting disk": "CREATE TABLE analytics.t (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = 'x'",
    "move to a volume": "CREATE TABLE analytics.t (d DateTime) ENGINE = MergeTree ORDER BY d TTL d TO VOLUME 'x'",
    "a projection": "CREATE TABLE analytics.t (a Int8, PROJECTION p (SELECT a)) ENGINE = MergeTree ORDER BY a",
    "dictionary": (
        "CREATE DICTIONARY analytics.d (event_id UInt64, secret String) PRIMARY KEY event_id"
        " SOURCE(CLICKHOUSE(TABLE 'events' DB 'tagstitch')) LAYOUT(FLAT()) LIFETIME(0)"
    ),
    "dictionary of a program": (
        "CREATE DICTIONARY analytics.d (a UInt64) PRIMARY KEY a SOURCE(EXECUTABLE(COMMAND 'id' FORMAT TSV))"
        " LAYOUT(FLAT()) LIFETIME(0)"
    ),
    "database": "CREATE DATABASE other",
    "drop the database": "DROP DATABASE analytics",
    "drop elsewhere": "DROP TABLE tagstitch.events",
    "drop several": "DROP TABLE analytics.sales, tagstitch.events",
    "truncate a database": "TRUNCATE ALL TABLES FROM analytics",
    "detach": "DETACH TABLE analytics.sales",
    "rename out": "RENAME TABLE analytics.sales TO tagstitch.v_sales",
    "rename in": "RENAME TABLE tagstitch.events TO analytics.events",
    "exchange": "EXCHANGE TABLES analytics.sales AND tagstitch.events",
    "rename the database": "RENAME DATABASE analytics TO other",
    "ALTER elsewhere": "ALTER TABLE tagstitch.events DELETE WHERE 1",
    "ALTER with a base table": "ALTER TABLE analytics.sales DELETE WHERE a IN (SELECT event_id FROM tagstitch.events)",
    "ALTER UPDATE with a file": "ALTER TABLE analytics.sales UPDATE s = file('{file}') WHERE 1",
    "ALTER ADD COLUMN with a file": "ALTER TABLE analytics.sales ADD COLUMN x String DEFAULT file('{file}')",
    "ALTER ATTACH PARTITION FROM": "ALTER TABLE analytics.sales ATTACH PARTITION tuple() FROM tagstitch.events",
    "ALTER REPLACE PARTITION FROM": "ALTER TABLE analytics.sales REPLACE PARTITION tuple() FROM tagstitch.events",
    "ALTER MOVE PARTITION TO": "ALTER TABLE analytics.sales MOVE PARTITION tuple() TO TABLE tagstitch.events",
    "ALTER FREEZE": "ALTER TABLE analytics.sales FREEZE",
    "ALTER FETCH": "ALTER TABLE analytics.sales FETCH PARTITION tuple() FROM '/x'",
    "ALTER MODIFY SETTING": "ALTER TABLE analytics.sales MODIFY SETTING disk = 'x'",
    "ALTER MODIFY QUERY": "ALTER TABLE analytics.sales MODIFY QUERY SELECT * FROM tagstitch.events",
    "UPDATE with a base table": "UPDATE analytics.sales SET s = (SELECT any(secret) FROM tagstitch.events) WHERE 1",
    "DELETE with a base table": "DELETE FROM analytics.sales WHERE a IN (SELECT event_id FROM tagstitch.events)",
    "INSERT from a base table": "INSERT INTO analytics.sales SELECT event_id, secret FROM tagstitch.events",
    "INSERT from a file": "INSERT INTO analytics.sales FROM INFILE '{file}' FORMAT LineAsString",
    "INSERT into a function": "INSERT INTO FUNCTION file('{file}.out') SELECT 1",
    "INSERT of input": "INSERT INTO analytics.sales SELECT * FROM input('a UInt64, s String')",
    "INSERT by a name in doubt": (
        "INSERT INTO analytics.sales WITH events AS (SELECT * FROM events) SELECT event_id, secret FROM events"
    ),
    "a function": "CREATE FUNCTION f AS x -> x",
    "SYSTEM": "SYSTEM FLUSH LOGS",
    "KILL": "KILL QUERY WHERE 1",
    "ON CLUSTER": "CREATE TABLE analytics.t ON CLUSTER c (a Int8) ENGINE = Memory",
    "by UUID": "CREATE TABLE analytics.t UUID '00000000-0000-0000-0000-000000000001' (a Int8) ENGINE = Memory",
    "ATTACH": "ATTACH TABLE analytics.t FROM '/tmp' (a Int8) ENGINE = MergeTree ORDER BY a",
    "temporary": "CREATE TEMPORARY TABLE t (a Int8) ENGINE = Memory",
    "read a base table": "SELECT * FROM tagstitch.events",
}  # fmt: skip


@pytest.fixture(scope="module")
def sales(engine: RunningEngine) -> None:
    """A table of the analysts' own that the ways round try to use."""
    answer = ask(engine, "CREATE TABLE analytics.sales (a UInt64, s String) ENGINE = MergeTree ORDER BY a", "analyst")
    assert answer.status_code == 200, answer.text


@pytest.mark.usefixtures("sales")
@pytest.mark.parametrize("way", ANALYST_WAYS_ROUND)
def test_an_analyst_changes_its_own_database_only(engine: RunningEngine, secret_file: Path, way: str) -> None:
    """Each known way to write elsewhere, or to bring base tables, files or hosts into `analytics`, is refused."""
    answer = ask(engine, ANALYST_WAYS_ROUND[way].format(file=secret_file), "analyst")
    assert answer.headers.get("X-ClickHouse-Exception-Code") == "497", answer.text
    assert SECRET not in answer.text
    assert FILE_SECRET not in answer.text
    assert not secret_file.with_suffix(".txt.out").exists()


def test_an_analyst_builds_tables_as_dbt_does(engine: RunningEngine) -> None:
    """Create from a select, swap, insert, alter, view and drop: what dbt-clickhouse runs."""
    statements = """
    CREATE OR REPLACE VIEW analytics.stg AS (SELECT * FROM tagstitch.v_events WHERE event_name = 'buy')
    CREATE TABLE analytics.mart ENGINE = MergeTree() ORDER BY (tuple()) SETTINGS replicated_deduplication_window = 0 EMPTY AS (SELECT person_id, count() AS n FROM analytics.stg GROUP BY person_id)
    INSERT INTO analytics.mart ("person_id", "n") SELECT "person_id", "n" FROM (SELECT person_id, count() AS n FROM analytics.stg GROUP BY person_id) SETTINGS max_threads = 1
    CREATE TABLE analytics.mart__dbt_backup (person_id String, n UInt64, d DateTime DEFAULT now() TTL d + INTERVAL 1 DAY, INDEX i n TYPE minmax GRANULARITY 1) ENGINE = ReplacingMergeTree(n) PARTITION BY n % 3 ORDER BY (person_id)
    INSERT INTO analytics.mart__dbt_backup (person_id, n) VALUES ('x', 1);
    ALTER TABLE analytics.mart ADD COLUMN s LowCardinality(String) DEFAULT 'x' AFTER n
    ALTER TABLE analytics.mart MODIFY COLUMN s String
    ALTER TABLE analytics.mart DELETE WHERE n IN (SELECT n FROM analytics.mart WHERE 0) SETTINGS mutations_sync = 2
    ALTER TABLE analytics.mart DROP COLUMN s
    DELETE FROM analytics.mart WHERE person_id = 'nobody'
    OPTIMIZE TABLE analytics.mart FINAL
    EXCHANGE TABLES analytics.mart AND analytics.mart__dbt_backup
    RENAME TABLE analytics.mart__dbt_backup TO analytics.mart_old
    TRUNCATE TABLE analytics.mart
    DROP TABLE IF EXISTS analytics.mart SYNC
    DROP VIEW IF EXISTS analytics.stg
    """
    for statement in filter(None, map(str.strip, statements.splitlines())):
        answer = ask(engine, statement, "analyst", "analytics", mutations_sync="2", alter_sync="1", join_use_nulls="1")
        assert answer.status_code == 200, (statement, answer.text)
    assert ask(engine, "SELECT sum(n) FROM analytics.mart_old", "reader").text == "66\n"
    shown = ask(engine, "SHOW CREATE TABLE analytics.mart_old", "analyst").text
    assert shown.startswith("CREATE TABLE analytics.mart_old")
    assert ask(engine, "DROP TABLE analytics.mart_old", "analyst").status_code == 200


def test_rows_of_an_analyst_in_any_format(engine: RunningEngine) -> None:
    """An analyst may send rows as data, as notebooks and dbt seeds do."""
    assert ask(engine, "CREATE TABLE analytics.seed (a UInt64, s String) ENGINE = Memory", "analyst").is_success
    rows = b'INSERT INTO analytics.seed FORMAT JSONEachRow\n{"a": 1, "s": "; DROP TABLE analytics.seed"}\n'
    assert ask(engine, rows, "analyst").is_success
    assert ask(engine, "INSERT INTO analytics.seed (a, s) VALUES (2, 'b');", "analyst").is_success
    assert ask(engine, "SELECT a, s FROM analytics.seed ORDER BY a").text == "1\t; DROP TABLE analytics.seed\n2\tb\n"
    assert ask(engine, "DROP TABLE analytics.seed", "analyst").is_success
