"""The tables of docs/data-model.md, made from the migrations: what a column is said to mean stands in one place.

Run as `python -m collector.store.document`; it rewrites what stands between the markers and nothing else. A test
compares the page with this and this with the schema of a real engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from collector.errors import SchemaError
from collector.store.rendering import Target, read_migrations, render

PAGE = Path(__file__).parents[2] / "docs" / "data-model.md"
BEGIN, END = "<!-- {part}: made by python -m collector.store.document -->", "<!-- {part}: end -->"
# What a column is made of may take further lines, each further in.
COLUMN = re.compile(
    r"^    (?P<name>\w+) (?P<type>.+?)(?:(?: DEFAULT .+?)? | (?:MATERIALIZED|ALIAS) (?:.|\n {8})+?)"
    r"COMMENT '(?P<comment>(?:[^']|'')*)'",
    re.MULTILINE,
)
MADE = re.compile(r"^CREATE (?:OR REPLACE VIEW|TABLE IF NOT EXISTS) \w+\.(?P<name>\w+)")
SAID = re.compile(r"^COMMENT '(?P<comment>(?:[^']|'')*)'$", re.MULTILINE)
INTERNAL = frozenset({"landing"})  # its columns are the spool's, see docs/wire-format.md


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view: its comment, and name, type and comment of each column."""

    name: str
    comment: str
    columns: tuple[tuple[str, str, str], ...]


def list_tables() -> list[Table]:
    """Return tables and views as the migrations make them, in their order."""
    tables: dict[str, Table] = {}
    for migration in read_migrations():
        for statement in render(migration.source, Target("embedded")):
            made, said = MADE.match(statement), SAID.search(statement)
            if made is None or made["name"] in INTERNAL:
                continue
            columns = tuple(
                (found["name"], found["type"], found["comment"].replace("''", "'"))
                for found in COLUMN.finditer(statement)
            )
            if said is None or not columns:
                raise SchemaError(f"{migration.label}: {made['name']} has no comment, or no columns")
            tables.pop(made["name"], None)
            tables[made["name"]] = Table(made["name"], said["comment"].replace("''", "'"), columns)
    return list(tables.values())


def render_part(part: str) -> str:
    """Return the Markdown of `views` (for readers) or `tables` (behind them)."""
    lines: list[str] = []
    for table in list_tables():
        if table.name.startswith("v_") is (part == "views"):
            lines += [f"### {table.name}", "", f"{table.comment}.", "", "| column | type | meaning |", "|---|---|---|"]
            lines += [f"| `{name}` | `{kind}` | {_escape(comment)} |" for name, kind, comment in table.columns]
            lines.append("")
    return "\n".join(lines)


def fill_page(page: str) -> str:
    """Return the page with its parts made anew. Raises SchemaError where a marker is missing."""
    for part in ("views", "tables"):
        begin, end = BEGIN.format(part=part), END.format(part=part)
        head, found, rest = page.partition(begin)
        _, closed, tail = rest.partition(end)
        if not (found and closed):
            raise SchemaError(f"docs/data-model.md: marker missing: {begin if not found else end}")
        page = f"{head}{begin}\n\n{render_part(part)}\n{end}{tail}"
    return page


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(fill_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
