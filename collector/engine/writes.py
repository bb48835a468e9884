"""Judging what an analyst changes: tables and views in the analysts' own database, filled from what it may read.

This is what dbt needs and no more. Like `judge`, it knows every field that may occur and refuses the rest, so
that no clause of a CREATE or ALTER can reach another table, a file or a host.
"""

from __future__ import annotations

from typing import Any

from collector.engine.judge import Judge, Node, refuse

_ENGINES = frozenset(
    [
        *("MergeTree", "ReplacingMergeTree", "SummingMergeTree", "AggregatingMergeTree", "CollapsingMergeTree"),
        *("VersionedCollapsingMergeTree", "Memory", "Log", "TinyLog", "StripeLog", "Null", "Set"),
    ]
)
_TABLE_SETTINGS = frozenset(
    [
        *("index_granularity", "allow_nullable_key", "non_replicated_deduplication_window", "min_bytes_for_wide_part"),
        *(
            "replicated_deduplication_window",
            "merge_with_ttl_timeout",
            "ttl_only_drop_parts",
            "index_granularity_bytes",
        ),
        *(
            "enable_block_number_column",
            "enable_block_offset_column",
            "allow_experimental_replacing_merge_with_cleanup",
        ),
        *("max_partitions_to_read", "min_rows_for_wide_part", "number_of_partitions_to_consider_for_merge"),
    ]
)

_FILE_FIELDS = {"is_outfile_append", "is_outfile_truncate", "is_into_outfile_with_stdout"}
_NAME_FIELDS = {"type", "database", "table", "database_ast", "table_ast"}
_CREATE_FALSE = {
    *("attach", "is_materialized_view", "is_time_series_table", "is_populate", "is_clone_as", "has_uuid"),
    *("has_uuid_clause", "has_inner_uuid_clause", "is_dictionary", "has_attach_from_path", *_FILE_FIELDS),
}
_CREATE_FREE = {
    *("if_not_exists", "is_ordinary_view", "is_create_empty", "replace_view", "replace_table", "create_or_replace"),
    *("columns_list", "storage", "select", "comment", "sql_security", "as_database", "as_table"),
}
_DROP_FALSE = {"has_all", "has_tables", "not_like", "case_insensitive_like", "is_dictionary", "permanently", "if_empty"}
_DROP_FREE = {"kind", "if_exists", "is_view", "sync", "no_delay"}
_ALTERS = frozenset(
    [
        *("ADD_COLUMN", "DROP_COLUMN", "MODIFY_COLUMN", "RENAME_COLUMN", "COMMENT_COLUMN", "DELETE", "UPDATE"),
        *("MODIFY_TTL", "REMOVE_TTL", "DROP_PARTITION", "MODIFY_COMMENT", "MODIFY_ORDER_BY", "ADD_INDEX", "DROP_INDEX"),
        *("MATERIALIZE_COLUMN", "MATERIALIZE_INDEX", "MATERIALIZE_TTL", "APPLY_DELETED_MASK"),
    ]
)
# Fields of an ALTER command. Left out: those that name other tables, places, snapshots or settings.
_ALTER_FIELDS = {
    *("type", "command_type", "detach", "part", "clear_column", "clear_index", "clear_statistics", "clear_projection"),
    *("if_not_exists", "if_exists", "first", "replace", "col_decl", "column", "rename_to", "comment", "partition"),
    *("predicate", "update_assignments", "ttl", "index_decl", "order_by"),
}
_DEFINITION_FIELDS = {
    "Columns definition": {"columns", "indices", "constraints", "primary_key", "primary_key_from_columns"},
    "ColumnDeclaration": {
        *("name", "data_type", "null_modifier", "default_specifier", "default_expression", "ephemeral_default"),
        *("comment", "codec", "ttl", "collation", "primary_key_specifier"),
    },
    "ConstraintDeclaration": {"name", "constraint_type", "expr"},
    "IndexDeclaration": {"name", "granularity", "expression", "index_type"},
    "StorageOrderByElement": {"direction", "children"},
    "TTLElement": {"mode", "destination_type", "if_exists", "ttl_expr", "where_expr"},
    "Partition": {"value", "all", "fields_count", "id"},
}
_TYPES = frozenset(["DataType", "EnumDataType", "TupleDataType", "NameTypePair"])
# Functions that stand for codecs, kinds of index and types rather than being called.
_TYPE_FUNCTIONS = frozenset(
    [
        *("CODEC", "ZSTD", "LZ4", "LZ4HC", "Delta", "DoubleDelta", "Gorilla", "T64", "FPC", "NONE", "Default"),
        *("minmax", "set", "bloom_filter", "tokenbf_v1", "ngrambf_v1"),
    ]
)


class WriteJudge:
    """Judges one statement of an analyst that changes something."""

    def __init__(self, judge: Judge, database: str) -> None:
        self._judge = judge
        self._own = database

    def check(self, tree: Node) -> None:
        """Raise `QueryFailed` 497 unless the statement stays in the analysts' database."""
        checks = {
            "CreateQuery": self._check_create,
            "InsertQuery": self._check_insert,
            "DropQuery": self._check_drop,
            "RenameQuery": self._check_rename,
            "AlterQuery": self._check_alter,
            "OptimizeQuery": self._check_plain,
            "DeleteQuery": self._check_plain,
            "UpdateQuery": self._check_plain,
        }
        check = checks.get(tree.get("type", ""))
        if check is None:
            raise refuse(f"you may not run {tree.get('type', 'this')}")
        check(tree)

    def _check_target(self, database: Any, table: Any) -> None:
        """The table that is changed must be named plainly and be in the analysts' database."""
        names = []
        for value in (database, table):
            if isinstance(value, dict):
                if value.get("type") not in ("Identifier", "TableIdentifier") or "children" in value:
                    raise refuse("a name may not be a parameter: write it out")
                value = value.get("name")
            names.append(value or "")
        owner, name = names[0] or self._judge.database, names[1]
        if owner != self._own or not name:
            raise refuse(f"you may change tables and views in database {self._own} only")

    def _only(self, node: Node, allowed: set[str], false: set[str] = _FILE_FIELDS) -> None:
        for name, value in node.items():
            if name in allowed or name == "type":
                continue
            if name in false and value in (False, None, ""):
                continue
            raise refuse(f"your statement may not contain {name.replace('_', ' ')}")

    def _check_create(self, tree: Node) -> None:
        self._only(tree, _NAME_FIELDS | _CREATE_FREE, _CREATE_FALSE)
        self._check_target(tree.get("database"), tree.get("table"))
        if tree.get("as_table"):
            # Takes over columns, not rows; it would show a base table's columns.
            database = tree.get("as_database") or self._judge.database
            if not self._judge.names.has_table(database, tree["as_table"]):
                raise refuse(f"you may not read {database[:64]}.{tree['as_table'][:64]}")
        security = tree.get("sql_security")
        if security and (security.get("security_type") != "INVOKER" or "definer" in security):
            raise refuse("a view of yours runs with the rights of who asks it: leave SQL SECURITY out")
        if not tree.get("is_ordinary_view"):
            self._check_storage(tree.get("storage"))
        elif tree.get("storage"):
            raise refuse("a view has no engine")
        self._definition(tree.get("columns_list"))
        if tree.get("select"):
            self._judge.check(tree["select"])

    def _check_storage(self, storage: Any) -> None:
        if not isinstance(storage, dict):
            raise refuse(f"name an engine: one of {', '.join(sorted(_ENGINES))}")
        self._only(
            storage,
            {"engine", "order_by", "partition_by", "primary_key", "sample_by", "ttl_table", "settings"},
        )
        engine = storage.get("engine") or {}
        if engine.get("name") not in _ENGINES:
            raise refuse(f"your tables may have one of these engines: {', '.join(sorted(_ENGINES))}")
        for name in engine.keys() - {"type", "name", "arguments", "no_empty_args", "kind"}:
            raise refuse(f"an engine may not have {name}")
        self._definition(engine.get("arguments"))
        for part in ("order_by", "partition_by", "primary_key", "sample_by", "ttl_table"):
            self._definition(storage.get(part))
        for change in (storage.get("settings") or {}).get("changes", []):
            if change.get("name") not in _TABLE_SETTINGS:
                raise refuse(f"your tables may not have setting {str(change.get('name'))[:64]}")

    def _definition(self, value: Any) -> None:
        """Judge columns, keys and defaults: the parts of a definition here, expressions by the judge of SELECT."""
        if isinstance(value, list):
            for item in value:
                self._definition(item)
        if not isinstance(value, dict):
            return
        kind = value.get("type", "")
        if kind in _DEFINITION_FIELDS:
            self._only(value, _DEFINITION_FIELDS[kind], set())
            if value.get("mode", "DELETE") != "DELETE" or value.get("destination_type", "DELETE") != "DELETE":
                raise refuse("rows of yours may not move to another place")
            for item in value.values():
                self._definition(item)
        elif kind == "ExpressionList" or (kind == "Function" and value.get("name") in ("tuple", *_TYPE_FUNCTIONS)):
            self._definition(value.get("children"))
            self._definition(value.get("arguments"))
        elif kind not in _TYPES and kind != "Literal":
            self._judge.check(value)

    def _check_insert(self, tree: Node) -> None:
        self._only(tree, {"database", "table", "columns", "select", "format"})
        self._check_target(tree.get("database"), tree.get("table"))
        if tree.get("columns"):
            self._judge.check(tree["columns"])
        if tree.get("select"):
            self._judge.check(tree["select"])

    def _check_drop(self, tree: Node) -> None:
        self._only(tree, _NAME_FIELDS | _DROP_FREE, _DROP_FALSE | _FILE_FIELDS)
        if tree.get("kind") not in ("Drop", "Truncate"):
            raise refuse("you may drop and truncate tables, not detach them")
        self._check_target(tree.get("database"), tree.get("table"))

    def _check_rename(self, tree: Node) -> None:
        self._only(
            tree, {"exchange", "elements", "rename_if_cannot_exchange"}, {"database", "dictionary", *_FILE_FIELDS}
        )
        for element in tree["elements"]:
            self._check_target(element.get("from_database"), element.get("from_table"))
            self._check_target(element.get("to_database"), element.get("to_table"))

    def _check_alter(self, tree: Node) -> None:
        self._only(tree, _NAME_FIELDS | {"alter_object", "command_list"})
        self._check_target(tree.get("database"), tree.get("table"))
        for command in tree["command_list"]["children"]:
            if command.get("command_type") not in _ALTERS:
                raise refuse(f"you may not ALTER by {str(command.get('command_type')).replace('_', ' ')}")
            self._only(command, _ALTER_FIELDS, set())
            for value in command.values():
                self._definition(value)

    def _check_plain(self, tree: Node) -> None:
        self._only(tree, {"database", "table", "final", "deduplicate", "predicate", "assignments", "partition"})
        self._check_target(tree.get("database"), tree.get("table"))
        for part in ("predicate", "assignments", "partition"):
            self._definition(tree.get(part))
