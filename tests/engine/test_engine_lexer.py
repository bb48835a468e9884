"""Cutting statements where ClickHouse's HTTP interface cuts them."""

# ruff: noqa: E501  One line a statement.

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.engine.lexer import cut_insert, cut_statement, quote, tokens, unquote


@pytest.mark.parametrize(
    ("sql", "rest", "format_name", "settings"),
    [
        ("SELECT 1", "SELECT 1", None, {}),
        ("SELECT 1;;  -- end", "SELECT 1", None, {}),
        ("SELECT 1 FORMAT JSON", "SELECT 1", "JSON", {}),
        ("SELECT 1 format `JSON` ;", "SELECT 1", "JSON", {}),
        ("SELECT 1 SETTINGS a = 1, b='x;y' FORMAT CSV", "SELECT 1", "CSV", {"a": "1", "b": "x;y"}),
        ("SELECT 1 FORMAT CSV SETTINGS a = -1.5, c = true", "SELECT 1", "CSV", {"a": "-1.5", "c": "true"}),
        ("SELECT 'FORMAT JSON'", "SELECT 'FORMAT JSON'", None, {}),
        ("SELECT (SELECT 1 SETTINGS a = 1)", "SELECT (SELECT 1 SETTINGS a = 1)", None, {}),
        ("SELECT format FROM t", "SELECT format FROM t", None, {}),
        ("SELECT 1 AS format, x", "SELECT 1 AS format, x", None, {}),
        ("SELECT 1 /* FORMAT JSON", "SELECT 1 /* FORMAT JSON", None, {}),
        ("SELECT 1 SETTINGS a = (SELECT 2)", "SELECT 1 SETTINGS a = (SELECT 2)", None, {}),
        ("CREATE TABLE t (a Int8) ENGINE = M SETTINGS a = 1", "CREATE TABLE t (a Int8) ENGINE = M SETTINGS a = 1", None, {}),
        ("CREATE TABLE t ENGINE = M SETTINGS a = 1 AS SELECT 1 SETTINGS b = 2", "CREATE TABLE t ENGINE = M SETTINGS a = 1 AS SELECT 1", None, {"b": "2"}),
        ("", "", None, {}),
    ],
)  # fmt: skip
def test_the_tail_comes_off(sql: str, rest: str, format_name: str | None, settings: dict[str, str]) -> None:
    """FORMAT, a last SETTINGS clause and semicolons come off the end, and only there."""
    cut = cut_statement(sql)
    assert (cut.sql, cut.format, cut.settings) == (rest, format_name, settings)


@pytest.mark.parametrize(
    ("sql", "head", "format_name", "data"),
    [
        ("INSERT INTO t FORMAT CSV\n1,2", "INSERT INTO t", "CSV", "1,2"),
        ("INSERT INTO t (a, b) FORMAT JSONEachRow {}", "INSERT INTO t (a, b)", "JSONEachRow", "{}"),
        ("INSERT INTO t FORMAT CSV \r\n\n", "INSERT INTO t", "CSV", "\n"),
        ("insert into t values (1), (2)", "insert into t", "Values", "(1), (2)"),
        ("INSERT INTO t SETTINGS a = 1 FORMAT Native\n\x01\x00", "INSERT INTO t", "Native", "\x01\x00"),
        ("INSERT INTO `FORMAT` (`FORMAT`) FORMAT TSV\nx", "INSERT INTO `FORMAT` (`FORMAT`)", "TSV", "x"),
        ("INSERT /* FORMAT X */ INTO t FORMAT TSV\n'", "INSERT /* FORMAT X */ INTO t", "TSV", "'"),
    ],
)
def test_the_rows_come_off_the_head(sql: str, head: str, format_name: str, data: str) -> None:
    """The head of an INSERT ends at its FORMAT, its rows begin on the next line or after the spaces."""
    cut = cut_insert(sql)
    assert cut is not None
    assert (cut.sql, cut.format, sql[cut.data_at :]) == (head, format_name, data)


@pytest.mark.parametrize(
    "sql",
    ["INSERT INTO t SELECT 1 FORMAT CSV", "INSERT INTO t WITH x AS (SELECT 1) SELECT 1", "SELECT 1 FORMAT CSV", ""],
)
def test_a_statement_without_rows_stays_whole(sql: str) -> None:
    """INSERT … SELECT and everything else has no rows to cut off."""
    assert cut_insert(sql) is None


@settings(deadline=None)
@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    """Tokens come in order, inside the text, whatever the text is; what is cut off is at its end."""
    at = 0
    for token in tokens(text):
        assert at <= token.start < token.end <= len(text)
        at = token.end
    assert text.startswith(cut_statement(text).sql)


@settings(deadline=None)
@given(st.text())
def test_quoting_and_back(text: str) -> None:
    """A quoted value is one token and reads back as it was."""
    (token,) = tokens(quote(text))
    assert token.kind == "string"
    assert unquote(token.text) == text
