"""The SQL adapter with SQLite; and settings that are refused before anything is connected to."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.adapters.configuration import SqlSettings
from collector.adapters.contract import Described, Wrong
from collector.adapters.sql import SqlAdapter
from collector.errors import AdapterReason
from tests.adapters.databases import Server
from tests.adapters.sql_stories import NAME, SqlStories, ask, make_adapter, make_tables, refuse

SLOW = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e12) SELECT count(*) FROM n) > 0"
TYPES = {
    "text": "TEXT",
    "time": "DATETIME",
    "json": "JSON",
    "moment": "'2026-01-02 03:04:05'",
    "many": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)"
    " INSERT INTO many SELECT 'k' || i, 'Customer ' || i FROM n",
}


class File(Server):
    """A file, as the stories know servers."""

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/shop.sqlite"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("sqlite")

    def execute(*statements: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(folder / "shop.sqlite", isolation_level=None)
        try:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall()
        finally:
            connection.close()

    made = File("sqlite", 0, folder, None, execute)  # type: ignore[arg-type]
    make_tables(made, TYPES, '"A b`""%s:x"', '"')
    return made


class TestStories(SqlStories):
    """With SQLite."""

    def writing_queries(self) -> list[str]:
        return ["WITH n AS (SELECT :key AS k) INSERT INTO customers (id, number, name) SELECT 99, k, 'Eve' FROM n"]

    def slowly(self) -> str:
        return SLOW


def test_values_that_are_not_as_their_column_says(server: Server) -> None:
    """SQLite lets anything stand anywhere: it costs its field alone."""
    server.execute(
        "CREATE TABLE IF NOT EXISTS loose (number TEXT, name TEXT, points INTEGER, since DATE, tags JSON)",
        "DELETE FROM loose",
        "INSERT INTO loose VALUES ('4711', 'Ada', 'many', 'yesterday', '{')",
        "INSERT INTO loose VALUES (x'ff', 'Bob', 1, '2024-01-01', '{}')",
    )
    fields = tuple(field for field in make_adapter(server).describe().fields if field.name in "name points since tags")

    (record,) = ask(make_adapter(server, fields=fields, table="loose"), "4711")
    assert record is not None and record.values == {"name": "Ada"}
    assert record.unfit == {"points", "since", "tags"}


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    made = File("sqlite", 0, tmp_path, None, list)  # type: ignore[arg-type]
    assert refuse(make_adapter(made)).reason is AdapterReason.UNREACHABLE
    assert not list(tmp_path.iterdir())
    (tmp_path / "shop.sqlite").write_bytes(b"no database at all" * 100)
    assert refuse(make_adapter(made)).reason is AdapterReason.BAD_ANSWER


SECRET = "Zq8-s3cr3t"
SOUND = {"key": "number", "table": "customers", "url": "postgresql://reader@db.example/shop"}


@pytest.mark.parametrize(
    ("said", "setting", "words"),
    [
        ({"url": "oracle://db/x"}, "url", "looks like"),
        ({"url": "postgresql://reader@db.example:port/shop"}, "url", "no address"),
        ({"url": f"postgresql://reader:{SECRET}@db.example/shop"}, "url", "password_env"),
        ({"url": "postgresql://reader@db.example/shop?sslmode=disable"}, "url", "`tls`"),
        ({"url": "postgresql://reader@/shop"}, "url", "no host"),
        ({"url": "postgresql://db.example/shop"}, "url", "no user"),
        ({"url": "mysql://reader@db.example"}, "url", "no database"),
        ({"url": "", "url_env": "AWAY"}, "url_env", "AWAY is not set"),
        ({"url": "", "url_env": "ODD"}, "url_env", "no database that is known"),
        ({"password_env": "AWAY"}, "password_env", "AWAY is not set"),
        ({"ca_file": "away.pem"}, "ca_file", "no such file"),
        ({"ca_file": "odd.pem", "url": "mysql://reader@db.example/shop"}, "ca_file", "PEM"),
        ({"url": "sqlite://shop.sqlite"}, "url", "sqlite:///path"),
        ({"url": "sqlite:///shop.sqlite", "tls": "off"}, "url", "SQLite is a file"),
        ({"table": "", "query": "DELETE FROM customers WHERE number = :key"}, "query", "one SELECT"),
        ({"table": "", "query": "SELECT 1"}, "query", "place :key"),
        ({"table": "", "query": "SELECT :key, :name"}, "query", "no other"),
        ({"table": "", "query": "SELECT :key", "scan_query": "SELECT :key"}, "scan_query", "no place"),
        ({"table": "", "query": "SELECT :key", "scan_query": "DROP TABLE x"}, "scan_query", "one SELECT"),
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, said: dict[str, Any], setting: str, words: str) -> None:
    """They are refused with their name and the fix, without URL or secret."""
    (tmp_path / "odd.pem").write_text("no certificate")
    settings = msgspec.convert({**SOUND, **said}, SqlSettings)
    environ = {"ODD": f"nothing:{SECRET}@x"}
    with pytest.raises(Wrong) as caught:
        SqlAdapter(Described("crm", "customer", NAME), settings, tmp_path, environ, 1.0)
    assert caught.value.setting == setting and words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_without_its_libraries_it_says_what_to_install() -> None:
    """In a process that has them not; nothing else of ours needs them."""
    program = """
import sys, importlib.util
from pathlib import Path
find = importlib.util.find_spec
gone = ("sqlalchemy", "psycopg", "pymysql")
importlib.util.find_spec = lambda name, *rest: None if name in gone else find(name, *rest)
sys.modules.update(dict.fromkeys(gone))
import msgspec
from collector.adapters.configuration import SqlSettings
from collector.adapters.contract import Described, Wrong
from collector.adapters.sql import SqlAdapter
settings = SqlSettings(key="number", table="t", url="postgresql://a@b/c")
try:
    SqlAdapter(Described("crm", "customer", ()), settings, Path(), {}, 1.0)
except Wrong as wrong:
    print(wrong)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'tagstitch[adapters]'" in done.stdout, done.stderr
