"""docs/data-model.md says what the schema is, no more and no less."""

from __future__ import annotations

import re

import pytest

from collector.errors import SchemaError
from collector.store.document import INTERNAL, PAGE, fill_page, list_tables
from tests.running_store import RunningStore


def test_the_page_is_what_the_migrations_say() -> None:
    """Whoever changes a column runs `python -m collector.store.document`."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == fill_page(page)


def test_a_page_without_its_markers_is_refused() -> None:
    """Nothing is written into a page that has lost its place for it."""
    with pytest.raises(SchemaError, match="marker missing"):
        fill_page("# Data model\n")


@pytest.mark.engine
def test_what_is_documented_is_what_the_engine_has(store: RunningStore) -> None:
    """Every column of every table and view, with type and meaning, as the engine itself tells it."""
    rows = store.query(
        "SELECT c.table AS table, c.name AS name, c.type AS type, c.comment AS comment, t.comment AS said"
        " FROM system.columns AS c INNER JOIN system.tables AS t ON c.database = t.database AND c.table = t.name"
        " WHERE c.database = currentDatabase() AND t.engine NOT IN ('Dictionary', 'MaterializedView')"
        " AND c.table != 'schema_migrations' ORDER BY c.table, c.position"
    )
    actual = {
        (r["table"], r["said"], r["name"], re.sub(r"\s", "", r["type"]), r["comment"])
        for r in rows
        if r["table"] not in INTERNAL
    }
    documented = {
        (table.name, table.comment, name, re.sub(r"\s", "", kind), comment)
        for table in list_tables()
        for name, kind, comment in table.columns
    }
    assert documented == actual


@pytest.mark.engine
def test_the_examples_on_the_page_run(store: RunningStore) -> None:
    """Each SQL block is a question that the engine answers."""
    examples = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        store.query(example)
