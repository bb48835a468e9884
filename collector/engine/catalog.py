"""What a reader sees of the catalogue: the tables of `system` that drivers ask for, cut down to what it may read.

On a ClickHouse server a reader's `system.tables` shows what it was granted, and no more. chdb has no grants, so the
engine keeps views of its own, in a database of their own, and a reader's `system.tables` is understood as
`engine_catalog.tables`. They leave out base tables, and of what is shown everything that says where and how it is
stored. They are made anew at every start, from the policy.
"""

# ruff: noqa: S608  SQL is put together here from our own names and from literals that `quote` has escaped.

from __future__ import annotations

from collections.abc import Iterable

from collector.engine.config import Policy
from collector.engine.handles import Handle, quote_name
from collector.engine.lexer import Token, quote, tokens
from collector.engine.settings import is_sendable

DATABASE = "engine_catalog"

# Tables of `system` that say nothing about this machine or its data: read as they are.
PLAIN = frozenset(
    [
        *("one", "numbers", "numbers_mt", "zeros", "zeros_mt", "functions", "formats", "data_type_families"),
        *("table_functions", "table_engines", "aggregate_function_combinators", "collations", "time_zones", "keywords"),
    ]
)
FILTERED = frozenset(["tables", "columns", "databases", "settings", "dictionaries"])

_SCHEMA = ("information_schema", "INFORMATION_SCHEMA")
_SCHEMA_TABLES = {"tables": "schema_tables", "columns": "schema_columns", "schemata": "schema_schemata"}
_SHOWN_COLUMNS = {
    "tables": [
        *("database", "name", "engine", "is_temporary", "comment", "total_rows", "total_bytes", "has_own_data"),
        *(
            "partition_key",
            "sorting_key",
            "primary_key",
            "sampling_key",
            "create_table_query",
            "engine_full",
            "as_select",
        ),
    ],
    "columns": [
        *("database", "table", "name", "type", "position", "default_kind", "default_expression", "comment"),
        *("is_in_partition_key", "is_in_sorting_key", "is_in_primary_key", "is_in_sampling_key", "compression_codec"),
        *(
            "character_octet_length",
            "numeric_precision",
            "numeric_precision_radix",
            "numeric_scale",
            "datetime_precision",
        ),
        *("data_compressed_bytes", "data_uncompressed_bytes", "marks_bytes"),
    ],
    "databases": ["name", "engine", "comment"],
    "dictionaries": [
        "database",
        "name",
        "status",
        "comment",
        "key.names",
        "key.types",
        "attribute.names",
        "attribute.types",
    ],
    "settings": ["name", "value", "changed", "description", "min", "max", "type", "default"],
}
# Shown only for the analysts' own tables.
_OWN = frozenset(
    ["create_table_query", "engine_full", "as_select", "default_expression", "partition_key", "sorting_key"]
)


def pattern_condition(patterns: Iterable[str], database: str = "database", name: str = "name") -> str:
    """Return SQL that is true for the names that a policy's patterns stand for."""
    terms = []
    for pattern in patterns:
        owner, _, table = pattern.partition(".")
        part = f"{database} = {quote(owner)}"
        if table.endswith("*"):
            part += f" AND startsWith({name}, {quote(table[:-1])})"
        else:
            part += f" AND {name} = {quote(table)}"
        terms.append(f"({part})")
    return " OR ".join(terms) or "0"


def make_catalog(handle: Handle, policy: Policy) -> None:
    """Create the views. `handle` must be the engine's own, without limits."""
    own = f"database = {quote(policy.analyst_database)}"
    seen = f"{own} OR {pattern_condition(policy.views)} OR {pattern_condition(policy.dictionaries)}"
    seen_columns = seen.replace("name", "table")
    databases = {p.partition(".")[0] for p in (*policy.views, *policy.dictionaries)} | {policy.analyst_database}
    # A driver asks here what it may send, and gives up on what is called read-only, even where we would ignore it.
    settable = [row[0] for row in handle.rows("SELECT name FROM system.settings") if is_sendable(row[0])]
    conditions = {
        "tables": seen,
        "columns": seen_columns,
        "databases": f"name IN ({', '.join(map(quote, sorted(databases)))})",
        "dictionaries": pattern_condition(policy.dictionaries),
        "settings": "1",
    }
    handle.run(f"CREATE DATABASE IF NOT EXISTS {DATABASE} ENGINE = Atomic", "Null")
    for table, condition in conditions.items():
        present = {
            row[0]: row[1]
            for row in handle.rows(
                f"SELECT name, type FROM system.columns WHERE database = 'system' AND table = {quote(table)}"
            )
        }
        wanted = set(_SHOWN_COLUMNS[table])
        parts = []
        for column, kind in present.items():
            name = quote_name(column)
            if column not in wanted:
                # The column stays, so that what drivers ask is still valid, but it says nothing.
                parts.append(f"defaultValueOfTypeName({quote(kind)}) AS {name}")
            elif column in _OWN:
                parts.append(f"if({own}, {name}, defaultValueOfTypeName({quote(kind)})) AS {name}")
            else:
                parts.append(name)
        if table == "settings":
            names = ", ".join(map(quote, settable))
            parts = [p for p in parts if not p.endswith("`readonly`")]
            parts.append(f"toUInt8(name NOT IN ({names})) AS readonly")
            parts = ["if(readonly, '', value) AS value" if p == "`value`" else p for p in parts]
        handle.run(
            f"CREATE OR REPLACE VIEW {DATABASE}.{table} AS SELECT {', '.join(parts)} FROM system.{table}"
            f" WHERE {condition}",
            "Null",
        )
    for table, view in _SCHEMA_TABLES.items():
        _make_schema_view(handle, table, view)


def _make_schema_view(handle: Handle, table: str, view: str) -> None:
    """Make one view of `information_schema` over our own tables instead of the system's."""
    query = handle.text(
        "SELECT as_select FROM system.tables WHERE database = 'information_schema' AND name = " + quote(table)
    ).strip()
    if query:
        handle.run(f"CREATE OR REPLACE VIEW {DATABASE}.{view} AS {redirect(query)}", "Null")


def redirect(sql: str) -> str:
    """Replace `system.tables` and the like by our views. The result is what gets judged and run."""
    found = list(tokens(sql))
    pieces: list[str] = []
    at = 0
    for index in range(len(found) - 2):
        first, dot, second = found[index : index + 3]
        if dot.text != "." or (index > 0 and found[index - 1].text == "."):
            continue
        target = _target(first, second)
        if target:
            pieces += [sql[at : first.start], f"{DATABASE}.{target}"]
            at = second.end
    return "".join([*pieces, sql[at:]])


def _target(first: Token, second: Token) -> str | None:
    if first.kind not in ("word", "quoted") or second.kind not in ("word", "quoted"):
        return None
    if first.name == "system" and second.name in FILTERED:
        return second.name
    if first.name in _SCHEMA:
        return _SCHEMA_TABLES.get(second.name.lower())
    return None
