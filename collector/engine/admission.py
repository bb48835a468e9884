"""What a reader's or an analyst's statement may do, decided before any of it runs.

The statement is parsed by ClickHouse itself into a complete tree (`judge`), never matched as text. It is
admitted if it is one statement of a known kind over allow-listed names and functions; everything else is refused
with code 497, or with 62 where it cannot be parsed. What is admitted runs with `readonly=1` unless it is a change
that `writes` allowed, inside a process that sees no other files and no network (`confinement`).

Three rewrites happen before the judgement, and what is judged is what runs: `system.tables` and the like become the
engine's filtered views (`catalog`); SHOW, EXISTS and SHOW CREATE become SELECTs over those; DESCRIBE of a
name is written with the full name. The writer is never asked: it is the service itself.
"""

# ruff: noqa: S608  SQL is put together here from our own names and from literals that `quote` has escaped.

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from collector.engine import show
from collector.engine.catalog import redirect
from collector.engine.config import Policy
from collector.engine.credentials import Role
from collector.engine.errors import ACCESS_DENIED, BAD_ARGUMENTS, SYNTAX_ERROR, QueryFailed
from collector.engine.functions import Functions
from collector.engine.handles import Handle
from collector.engine.judge import Judge, Names, Node, refuse
from collector.engine.lexer import quote, read_settings, tokens
from collector.engine.settings import admit_settings
from collector.engine.writes import WriteJudge

__all__ = ["Admission", "Verdict", "admit_settings"]

_EXPLAINED = frozenset(
    ["EXPLAIN", "EXPLAIN AST", "EXPLAIN SYNTAX", "EXPLAIN QUERY TREE", "EXPLAIN PIPELINE", "EXPLAIN ESTIMATE"]
)
_RESOLVED_TABLE = re.compile(r"^\s*TABLE id: \d+.*?, table_name: ([^\n]*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An admitted statement: what to run, or what a session is to remember."""

    sql: str
    writes: bool = False
    settings: dict[str, str] | None = None
    database: str | None = None


class Admission:
    """Decides for one engine and one policy."""

    def __init__(self, handle: Handle, policy: Policy) -> None:
        known = handle.rows("SELECT name, case_insensitive, is_aggregate FROM system.functions")
        table_functions = handle.rows("SELECT name FROM system.table_functions")
        self._functions = Functions(
            [(name, any_case == "1", aggregate == "1") for name, any_case, aggregate in known],
            [name for (name,) in table_functions],
        )
        self._policy = policy
        self._names = Names.of(policy)

    def admit(
        self,
        handle: Handle,
        sql: str,
        role: Role,
        database: str,
        parameters: Mapping[str, str] | None = None,
        *,
        has_data: bool = False,
    ) -> Verdict:
        """Admit one statement without its FORMAT and SETTINGS, or raise `QueryFailed`.

        `handle` is the one that shall run it, not read-only yet, with `database` as its current one. With `has_data`
        the statement is the head of an INSERT whose rows follow.
        """
        if "\0" in sql:
            raise QueryFailed(SYNTAX_ERROR, "Syntax error: a NUL character in the statement.")
        words = [t for _, t in zip(range(4), tokens(sql), strict=False)]
        first = words[0].text.upper() if words else ""
        if has_data:
            return self._admit_insert(handle, sql, role, database)
        if first in ("DESCRIBE", "DESC", "EXISTS") or (first == "SHOW" and words[1].is_word("CREATE", "FUNCTIONS")):
            sql = show.rewrite_named(sql, database, self._names, self._policy)
        sql = redirect(sql)
        described, shown = show.described(sql)
        tree = parse(handle, shown)
        if described and not show.is_bare_table(tree):
            raise refuse("DESCRIBE takes one table or one subquery")
        kind = tree.get("type", "")
        if kind == "UseQuery":
            return self._admit_use(tree)
        if kind == "SetQuery":
            return self._admit_set(sql)
        if kind in ("ShowTablesQuery", "ShowColumnsQuery"):
            return self._admit_select(handle, show.rewrite_show(tree, database), database, parameters)
        if kind == "ExplainQuery":
            self._check_explain(tree)
            return self._admit_select(handle, sql, database, parameters, tree["query"], resolvable=False)
        if kind == "SelectWithUnionQuery":
            return self._admit_select(handle, sql, database, parameters, tree, resolvable=not described)
        if role is Role.ANALYST:
            judge = self._judge(database)
            WriteJudge(judge, self._policy.analyst_database).check(tree)
            # A view keeps its text and is resolved again by other rules: no doubt about names is allowed in it.
            self._settle(handle, judge, None, None)
            return Verdict(sql, writes=True)
        raise refuse(f"a reader may run SELECT, WITH, SHOW, DESCRIBE, EXISTS and EXPLAIN, not {first[:20]}")

    # -- reading ---------------------------------------------------------------------------------------------------

    def _judge(self, database: str) -> Judge:
        return Judge(self._names, self._functions, database)

    def _admit_select(
        self,
        handle: Handle,
        sql: str,
        database: str,
        parameters: Mapping[str, str] | None,
        tree: Node | None = None,
        *,
        resolvable: bool = True,
    ) -> Verdict:
        judge = self._judge(database)
        judge.check(tree or parse(handle, sql))
        self._settle(handle, judge, sql if resolvable else None, parameters)
        return Verdict(sql)

    def _check_explain(self, tree: Node) -> None:
        if tree.get("kind") not in _EXPLAINED or (tree.get("query") or {}).get("type") != "SelectWithUnionQuery":
            raise refuse("you may EXPLAIN a SELECT, in the forms AST, SYNTAX, QUERY TREE, PLAN, PIPELINE and ESTIMATE")
        for name in tree.keys() - {"type", "kind", "query", "settings"}:
            if tree[name]:
                raise refuse(f"EXPLAIN may not have {name.replace('_', ' ')}")

    def _settle(self, handle: Handle, judge: Judge, select: str | None, parameters: Mapping[str, str] | None) -> None:
        """Check what the judge left open against the tables that exist. `select`: a statement that may be resolved."""
        doubtful = {(judge.database, name) for name in judge.unsure}
        existing = _existing(handle, doubtful | judge.columns_or_tables)
        for database, name in existing & judge.columns_or_tables:
            raise refuse(f"you may not read {database}.{name}: ask system.tables what there is")
        if not existing & doubtful:
            return
        # A name of a WITH clause is also a base table's. Every function is admitted by now, so the statement may be
        # resolved; the resolved tree names each real table.
        if select is None:
            raise refuse("a name in your WITH clause is a table's too: give it another one")
        resolved = handle.text(f"EXPLAIN QUERY TREE run_passes = 1 {select}", parameters)
        for full_name in _RESOLVED_TABLE.findall(resolved):
            database, _, name = full_name.replace("`", "").partition(".")
            if not self._names.has_table(database, name):
                raise refuse(f"you may not read {full_name[:100]}: give your WITH clause another name")

    # -- the rest --------------------------------------------------------------------------------------------------

    def _admit_insert(self, handle: Handle, head: str, role: Role, database: str) -> Verdict:
        if role is not Role.ANALYST:
            raise refuse("a reader may run SELECT, WITH, SHOW, DESCRIBE, EXISTS and EXPLAIN, not INSERT")
        # Rows are data: the head alone is judged, made whole by a SELECT of nothing.
        WriteJudge(self._judge(database), self._policy.analyst_database).check(parse(handle, f"{head}\nSELECT 1"))
        return Verdict(head, writes=True)

    def _admit_use(self, tree: Node) -> Verdict:
        node = tree.get("database") or {}
        if node.get("type") != "Identifier" or "children" in node:
            raise refuse("a name may not be a parameter: write it out")
        return Verdict("", database=str(node["name"]))

    def _admit_set(self, sql: str) -> Verdict:
        pairs = read_settings(list(tokens(sql))[1:])
        if pairs is None:
            raise QueryFailed(BAD_ARGUMENTS, "SET takes plain values: SET a = 1, b = 'x'.")
        return Verdict("", settings=pairs)


def parse(handle: Handle, sql: str) -> Node:
    """Return the tree of one statement. Raise `QueryFailed` 62 for text that is none, and 497 for what has no tree."""
    try:
        text = handle.text("SELECT parseQueryToJSON({statement:String})", {"statement": _escape(sql)})
        tree: Node = json.loads(text)
    except QueryFailed as error:
        reason = error.reason.partition(": In scope SELECT parseQueryToJSON(")[0]
        if "JSON" in reason:
            raise QueryFailed(ACCESS_DENIED, "Not enough privileges: you may not run this kind of statement.") from None
        raise QueryFailed(error.code, reason, error.name) from None
    except (ValueError, RecursionError):
        raise QueryFailed(SYNTAX_ERROR, "The statement is nested too deeply.") from None
    return tree


def _existing(handle: Handle, names: set[tuple[str, str]]) -> set[tuple[str, str]]:
    if not names:
        return set()
    pairs = ", ".join(f"({quote(database)}, {quote(name)})" for database, name in sorted(names))
    found = handle.rows(f"SELECT database, name FROM system.tables WHERE (database, name) IN ({pairs})")
    return {(database, name) for database, name in found}


def _escape(value: str) -> str:
    """Write a value as a parameter of type String is read: with backslash escapes."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
