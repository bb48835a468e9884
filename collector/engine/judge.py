"""Judging the tree of one SELECT: may a reader run it?

The tree is what ClickHouse's own parser makes of the statement, written as JSON by its function `parseQueryToJSON`.
That function gets the statement as a bound parameter, so judging runs nothing of it; it refuses more than one
statement; and its JSON is complete, since ClickHouse builds the statement again from it.

The judge knows every kind of node and every field of it that may occur. Anything else is refused: what a newer
parser adds is refused until somebody has decided about it. Names are checked where they stand:

- tables (after FROM and JOIN, on the right of IN) against the policy's names; a name of a WITH clause is no table,
  see `Judge.unsure`;
- functions against `functions`, those of dictionaries against the policy's dictionaries;
- table functions against a short list, and the policy's views with parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collector.engine import catalog
from collector.engine.config import Policy
from collector.engine.errors import ACCESS_DENIED, QueryFailed
from collector.engine.functions import TABLE_FUNCTIONS, Functions

Node = dict[str, Any]

# One statement ends with these; they are always there and false, unless it writes a file.
_NO_FILE = "is_outfile_append is_outfile_truncate is_into_outfile_with_stdout"

# Kind of node: its fields. Fields that are not named here are refused.
_FIELDS: dict[str, frozenset[str]] = {
    kind: frozenset(fields.split())
    for kind, fields in {
        "ArrayJoin": "kind expression_list",
        "Asterisk": "transformers expression",
        "Assignment": "column_name children",
        "ColumnsApplyTransformer": "func_name parameters lambda lambda_arg column_name_prefix",
        "ColumnsExceptTransformer": "children is_strict pattern",
        "ColumnsListMatcher": "column_list transformers expression",
        "ColumnsRegexpMatcher": "pattern transformers expression",
        "ColumnsReplaceTransformer": "children is_strict",
        "ColumnsReplaceTransformerReplacement": "name children",
        "ColumnsTransformerList": "children",
        "ExpressionList": "children separator",
        "Function": (
            "name arguments parameters alias is_operator is_lambda_function kind window_definition window_name"
            " is_window_function nulls_action is_compound_name no_empty_args"
        ),
        "Identifier": "name name_parts alias",
        "InterpolateElement": "column expr",
        "Literal": "value alias",
        "OrderByElement": (
            "direction nulls_direction expression nulls_direction_was_explicitly_specified with_fill collation"
            " fill_from fill_to fill_step fill_staleness"
        ),
        "QualifiedAsterisk": "qualifier transformers",
        "QualifiedColumnsListMatcher": "qualifier column_list transformers",
        "QualifiedColumnsRegexpMatcher": "pattern qualifier transformers",
        "QueryParameter": "name param_type alias",
        "SampleRatio": "numerator denominator",
        "SelectIntersectExceptQuery": "final_operator children list_of_selects",
        "SelectQuery": (
            "distinct distinct_on with select tables where prewhere group_by having window qualify order_by limit_by"
            " limit_by_length limit_by_offset limit_offset limit_length interpolate recursive_with cte_aliases"
            " limit_with_ties group_by_all order_by_all group_by_with_totals group_by_with_rollup"
            " group_by_with_cube group_by_with_grouping_sets"
        ),
        "SelectWithUnionQuery": f"union_mode list_of_selects list_of_modes {_NO_FILE}",
        "Subquery": "children alias cte_name",
        "TableExpression": (
            "database_and_table_name table_function subquery final sample_size sample_offset column_aliases"
        ),
        "TableIdentifier": "name name_parts alias",
        "TableJoin": "kind strictness on_expression using_expression_list locality",
        "TablesInSelectQuery": "children",
        "TablesInSelectQueryElement": "table_expression table_join array_join",
        "WindowDefinition": (
            "parent_window_name partition_by order_by frame_is_default frame_type frame_begin_type"
            " frame_begin_offset frame_begin_preceding frame_end_type frame_end_offset frame_end_preceding"
        ),
        "WindowListElement": "name definition",
        "WithElement": "name subquery aliases is_materialized",
    }.items()
}
# The functions that IN and its kin stand for.
_IN = frozenset(["in", "notIn", "nullIn", "notNullIn", "globalIn", "globalNotIn", "globalNullIn", "globalNotNullIn"])
_SAID = {
    "settings": "a SETTINGS clause inside the statement: put it at the very end",
    "settings_ast": "a SETTINGS clause inside the statement: put it at the very end",
    "format_ast": "a FORMAT clause inside the statement: put it at the very end",
    "out_file": "INTO OUTFILE",
    "compression": "INTO OUTFILE",
    "stream_settings": "STREAM",
}


def refuse(what: str) -> QueryFailed:
    """Make the refusal of one thing that a statement contains."""
    return QueryFailed(ACCESS_DENIED, f"Not enough privileges: {what}.")


@dataclass(frozen=True, slots=True)
class Names:
    """The names that one role may read."""

    tables: tuple[str, ...]
    dictionaries: tuple[str, ...]

    @classmethod
    def of(cls, policy: Policy) -> Names:
        """Return the names of a policy, database of the analysts included: readers may read what analysts make."""
        return cls((*policy.views, f"{policy.analyst_database}.*"), policy.dictionaries)

    def has_table(self, database: str, table: str) -> bool:
        """Tell whether a table, view or dictionary may be read."""
        if database == "system":
            return table in catalog.PLAIN
        return database == catalog.DATABASE or _matches((*self.tables, *self.dictionaries), f"{database}.{table}")

    def has_dictionary(self, database: str, name: str) -> bool:
        """Tell whether dictGet may ask this dictionary."""
        return _matches(self.dictionaries, f"{database}.{name}")


def _matches(patterns: tuple[str, ...], name: str) -> bool:
    return any(name.startswith(p[:-1]) if p.endswith("*") else name == p for p in patterns)


@dataclass(slots=True)
class Judge:
    """Walks one tree. Raises `QueryFailed` 497 for the first thing that is not allowed.

    Two sets are left for the caller to check against the tables that exist, since one name can be two things:

    - `unsure`: unqualified table names that a WITH clause somewhere in the statement defines. Where a table of the
      same name exists and is not allowed, only the resolved query tree tells which of the two is meant.
    - `columns_or_tables`: what stands on the right of IN without being an allowed table. It may be a column; it is
      refused where a table of that name exists.
    """

    names: Names
    functions: Functions
    database: str
    unsure: set[str] = field(default_factory=set)
    columns_or_tables: set[tuple[str, str]] = field(default_factory=set)
    _ctes: set[str] = field(default_factory=set)
    _lambdas: set[str] = field(default_factory=set)

    def check(self, tree: Node) -> None:
        """Judge the tree of a SELECT, or of a part of one."""
        self._collect(tree)
        self._walk(tree)

    def _collect(self, value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                self._collect(item)
        elif isinstance(value, dict):
            kind = value.get("type")
            if kind == "WithElement":
                self._ctes.add(value.get("name", ""))
            elif kind == "Function" and value.get("is_lambda_function") and value.get("alias"):
                self._lambdas.add(value["alias"])
            if kind != "Literal":
                for item in value.values():
                    self._collect(item)

    def _walk(self, value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                self._walk(item)
        elif isinstance(value, dict):
            self._check_node(value)

    def _check_node(self, node: Node) -> None:
        kind = node.get("type")
        fields = _FIELDS.get(kind or "")
        if kind is None or fields is None:
            raise refuse(f"a reader's statement may not contain {kind or 'this'}")
        for name in node.keys() - fields - {"type"}:
            if kind in ("Identifier", "TableIdentifier") and name == "children":
                raise refuse("a name may not be a parameter: write it out")
            raise refuse(f"a reader's statement may not contain {_SAID.get(name, f'{name} in {kind}')}")
        if node.get("is_outfile_append") or node.get("is_outfile_truncate") or node.get("is_into_outfile_with_stdout"):
            raise refuse("a reader's statement may not contain INTO OUTFILE")
        if kind == "Literal":
            return
        if kind == "TableIdentifier":
            self._check_table(node)
        elif kind == "Function":
            self._check_function(node)
        elif kind == "ColumnsApplyTransformer" and "func_name" in node:
            self._check_function_name(node["func_name"])
        elif kind == "QueryParameter" and node.get("param_type") == "Identifier":
            raise refuse("a name may not be a parameter: write it out")
        for name, value in node.items():
            if kind == "TableExpression" and name == "table_function":
                self._check_table_function(value)
            else:
                self._walk(value)

    # -- tables ----------------------------------------------------------------------------------------------------

    def _split(self, node: Node) -> tuple[str, str, bool]:
        """Return database and table of an identifier, and whether it stands without a database."""
        parts: list[str] = node.get("name_parts") or [node["name"]]
        if len(parts) > 2:
            raise refuse(f"there is no table {node['name'][:100]}")
        return (self.database, parts[0], True) if len(parts) == 1 else (parts[0], parts[1], False)

    def _check_table(self, node: Node) -> None:
        database, table, is_short = self._split(node)
        if self.names.has_table(database, table):
            return
        if is_short and table in self._ctes:
            self.unsure.add(table)
            return
        raise refuse(f"you may not read {database[:64]}.{table[:64]}: ask system.tables what there is")

    def _check_in(self, node: Node) -> None:
        """On the right of IN an identifier can be a table."""
        arguments = (node.get("arguments") or {}).get("children") or []
        for argument in arguments[1:]:
            if argument.get("type") != "Identifier" or "children" in argument:
                continue
            parts = argument.get("name_parts") or [argument["name"]]
            if len(parts) > 2:
                continue
            database, table, is_short = self._split(argument)
            if self.names.has_table(database, table):
                continue
            if is_short and table in self._ctes:
                self.unsure.add(table)
            else:
                self.columns_or_tables.add((database, table))

    def _check_table_function(self, node: Node) -> None:
        name = node.get("name", "")
        for extra in node.keys() - {"type", "name", "arguments", "alias", "is_compound_name", "kind", "no_empty_args"}:
            raise refuse(f"a table function may not have {extra}")
        if node.get("type") != "Function":
            raise refuse("a reader's statement may not contain this kind of table function")
        if name not in TABLE_FUNCTIONS:
            database, _, view = name.rpartition(".") if node.get("is_compound_name") else (self.database, "", name)
            if self.functions.is_table_function(name) or not self.names.has_table(database, view):
                raise refuse(f"you may not use table function {name[:64]}")
        self._walk(node.get("arguments"))

    # -- functions -------------------------------------------------------------------------------------------------

    def _check_function(self, node: Node) -> None:
        name: str = node["name"]
        arguments = (node.get("arguments") or {}).get("children") or []
        if name in self.functions.dictionary:
            self._check_dictionary(arguments)
            return
        if name == "lambda" or node.get("is_lambda_function"):
            return
        self._check_function_name(name)
        if name.removesuffix("IgnoreSet") in _IN:
            self._check_in(node)

    def _check_function_name(self, name: str) -> None:
        if self.functions.allows(name):
            return
        # The name of a lambda of the statement, unless it is one of the engine's own: which one is meant depends on
        # where it stands.
        if name in self._lambdas and not self.functions.is_known(name):
            return
        if name in self.functions.dictionary or self.functions.is_known(name):
            raise refuse(f"you may not use function {name[:64]}")
        raise QueryFailed(46, f"Function with name {name[:64]} does not exist or may not be used", "UNKNOWN_FUNCTION")

    def _check_dictionary(self, arguments: list[Node]) -> None:
        first: Mapping[str, Any] = arguments[0] if arguments else {}
        value = first.get("value") if first.get("type") == "Literal" else None
        if not isinstance(value, dict) or value.get("field_type") != "String":
            raise refuse("write a dictionary's name as a plain string")
        text = str(value.get("value", ""))
        database, dot, name = text.partition(".")
        if not dot:
            database, name = self.database, text
        if not self.names.has_dictionary(database, name):
            raise refuse(f"you may not read dictionary {text[:100]}")
