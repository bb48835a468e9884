"""SHOW, DESCRIBE and EXISTS as SELECTs over the filtered catalogue.

ClickHouse's parser has no complete tree for DESCRIBE, EXISTS and SHOW CREATE. Their forms are few: they are read
here by their words, and what is made of them is judged like any other SELECT.
"""

# ruff: noqa: S608  SQL is put together here from our own names and from literals that `quote` has escaped.

from __future__ import annotations

from typing import Any

from collector.engine.catalog import DATABASE
from collector.engine.config import Policy
from collector.engine.errors import SYNTAX_ERROR, QueryFailed
from collector.engine.handles import quote_name
from collector.engine.judge import Names, Node, refuse
from collector.engine.lexer import Token, quote, tokens

_DESCRIBE = "DESCRIBE TABLE"
_SHOW_FIELDS = frozenset(
    [
        *("type", "full", "extended", "like", "not_like", "case_insensitive_like", "limit_length", "from"),
        *("database", "table", "databases", "dictionaries", "settings", "changed"),
    ]
)


def rewrite_named(sql: str, database: str, names: Names, policy: Policy) -> str:
    """Rewrite DESCRIBE, EXISTS, SHOW CREATE and SHOW FUNCTIONS. Raise `QueryFailed` 62 or 497."""
    found = list(tokens(sql))
    first = found[0].text.upper()
    if first == "SHOW" and found[1].is_word("FUNCTIONS"):
        if len(found) != 2:
            raise refuse("SHOW FUNCTIONS takes nothing more: use system.functions")
        return "SELECT name, is_aggregate, case_insensitive FROM system.functions"
    if first in ("DESC", "DESCRIBE"):
        return _rewrite_describe(sql, found, database)
    words = found[1:] if first == "EXISTS" else found[2:]
    if words and words[0].is_word("TEMPORARY"):
        words = words[1:]
    if words and words[0].is_word("TABLE", "VIEW", "DICTIONARY", "DATABASE"):
        kind, words = words[0].text.upper(), words[1:]
    else:
        kind = "TABLE"
    name = _read_name(words)
    if name is None:
        raise QueryFailed(SYNTAX_ERROR, f"Syntax error: {first} takes one name.")
    if kind == "DATABASE":
        if first == "SHOW":
            raise refuse("the definition of a database is not shown")
        return f"SELECT count() > 0 AS result FROM {DATABASE}.databases WHERE name = {quote(name[-1])}"
    owner, table = name if len(name) == 2 else (database, name[0])
    if first == "EXISTS":
        return (
            f"SELECT count() > 0 AS result FROM {DATABASE}.tables"
            f" WHERE database = {quote(owner)} AND name = {quote(table)}"
        )
    if owner != policy.analyst_database or not names.has_table(owner, table):
        raise refuse(f"the definition of {owner[:64]}.{table[:64]} is not shown: use DESCRIBE")
    return (
        f"SELECT create_table_query AS statement FROM {DATABASE}.tables"
        f" WHERE database = {quote(owner)} AND name = {quote(table)}"
    )


def _rewrite_describe(sql: str, found: list[Token], database: str) -> str:
    words = found[2:] if len(found) > 1 and found[1].is_word("TABLE") else found[1:]
    if not words:
        raise QueryFailed(SYNTAX_ERROR, "Syntax error: DESCRIBE takes a table.")
    name = _read_name(words)
    if name is None:
        return f"{_DESCRIBE} {sql[words[0].start : words[-1].end]}"
    owner, table = name if len(name) == 2 else (database, name[0])
    return f"{_DESCRIBE} {quote_name(owner)}.{quote_name(table)}"


def described(sql: str) -> tuple[bool, str]:
    """Return whether `sql` is a DESCRIBE, and the SELECT to judge in its place (else `sql` itself)."""
    if not sql.startswith(f"{_DESCRIBE} "):
        return False, sql
    return True, "SELECT * FROM " + sql[len(_DESCRIBE) + 1 :]


def is_bare_table(tree: Node) -> bool:
    """Tell whether the tree is `SELECT * FROM` one table, table function or subquery, and nothing else."""
    selects = (tree.get("list_of_selects") or {}).get("children") or []
    if tree.get("type") != "SelectWithUnionQuery" or len(selects) != 1:
        return False
    if selects[0].keys() - {"type", "select", "tables"}:
        return False
    elements = selects[0]["tables"]["children"]
    return len(elements) == 1 and elements[0].keys() == {"type", "table_expression"}


def _read_name(words: list[Token]) -> list[str] | None:
    """Read `a` or `a.b`, quoted or not; None for anything else."""
    if any(t.kind not in ("word", "quoted") for t in words[::2]):
        return None
    if len(words) == 1:
        return [words[0].name]
    if len(words) == 3 and words[1].text == ".":
        return [words[0].name, words[2].name]
    return None


def rewrite_show(tree: Node, database: str) -> str:
    """Return the SELECT for SHOW TABLES, SHOW DATABASES, SHOW DICTIONARIES, SHOW SETTINGS or SHOW COLUMNS."""
    if tree.get("where_expression"):
        raise refuse("SHOW … WHERE is not supported here: use LIKE, or SELECT from system.tables")
    for name in tree.keys() - _SHOW_FIELDS:
        if tree[name]:
            raise refuse(f"SHOW may not have {name.replace('_', ' ')}")
    if tree["type"] == "ShowColumnsQuery":
        return _show_columns(tree, database)
    columns, where = "name", "1"
    if tree.get("databases"):
        source = "databases"
    elif tree.get("settings"):
        source, columns = "settings", "name, type, value"
        where = "changed" if tree.get("changed") else "1"
    else:
        source = "dictionaries" if tree.get("dictionaries") else "tables"
        where = f"database = {quote(_plain(tree.get('from')) or database)}"
        if tree.get("full") and source == "tables":
            columns = "name, if(engine LIKE '%View', 'VIEW', 'BASE TABLE') AS table_type"
    return f"SELECT {columns} FROM {DATABASE}.{source} WHERE {where}{_like(tree)} ORDER BY name{_limit(tree)}"


def _show_columns(tree: Node, database: str) -> str:
    owner = tree.get("database") or database
    columns = (
        "name AS field, type, if(startsWith(type, 'Nullable'), 'YES', 'NO') AS null,"
        " if(is_in_primary_key, 'PRI', '') AS key, NULL AS default, '' AS extra"
    )
    if tree.get("full"):
        columns += ", NULL AS collation, comment, '' AS privileges"
    return (
        f"SELECT {columns} FROM {DATABASE}.columns WHERE database = {quote(owner)}"
        f" AND table = {quote(tree.get('table') or '')}{_like(tree)} ORDER BY name{_limit(tree)}"
    )


def _plain(node: Any) -> str:
    if not node:
        return ""
    if node.get("type") != "Identifier" or "children" in node:
        raise refuse("a name may not be a parameter: write it out")
    return str(node["name"])


def _like(tree: Node) -> str:
    if "like" not in tree:
        return ""
    negation = "NOT " if tree.get("not_like") else ""
    operator = "ILIKE" if tree.get("case_insensitive_like") else "LIKE"
    return f" AND name {negation}{operator} {quote(tree['like'])}"


def _limit(tree: Node) -> str:
    limit = tree.get("limit_length")
    if not limit:
        return ""
    value = limit.get("value") or {}
    if limit.get("type") != "Literal" or value.get("field_type") != "UInt64":
        raise refuse("LIMIT takes a number here")
    return f" LIMIT {int(value['value'])}"
