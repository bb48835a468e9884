"""The map's rows by key, from the column that says all: what the engine's FINAL says."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.identity.bulk.columns import to_bytes
from collector.identity.stitching.standing_columns import MAP_FORM, read_rows, read_table
from collector.store.writer import insert_rows
from tests.identity.story import key
from tests.running_store import running_store

pytestmark = pytest.mark.engine


def test_of_each_key_the_row_of_the_highest_version_is_read(tmp_path: Path) -> None:
    """Rows in several parts, replaced, gone and back again, and two of one version of which the later one stays."""
    row = {"space_id": "main", "key_kind": "visitor", "person_id": key("P"), "customer_id": "4711", "level": 3}
    named = {"key_kind": "kündin", "key_customer_id": "Ä\0\n", "customer_id": "", "customer_key": key("Ä")}
    steps = [
        [{"key": key(name), "version": 5} for name in "ABCDEF"],
        [{"key": key("A"), "version": 6, "person_id": key("Q"), "several": 1, "proved": 0}],
        [{"key": key("B"), "version": 7, "is_deleted": 1}, {"key": key("C"), "version": 4, "person_id": key("R")}],
        [{"key": key("D"), "version": 5, "person_id": key("S")}, {"key": key("E"), "version": 8, **named}],
        [{"key": key("F"), "version": 6, "is_deleted": 1}, {"key": key("G"), "version": 1, "is_deleted": 1}],
        [{"key": key("F"), "version": 7, "provisional": 1, "valid_from": "2026-11-01 12:00:00.123"}],
        [{"key": key("A"), "version": 9, "space_id": "other"}],
    ]
    with running_store(tmp_path) as store:
        store.writer.command("SYSTEM STOP MERGES identity_map")
        for rows in steps:
            insert_rows(store.writer, "identity_map", [row | each for each in rows])
        wanted = [to_bytes(key(name)) for name in "ABCDEFGH"]
        found = read_rows(store.writer, MAP_FORM, "main", wanted).sort_by("key").to_pylist()
        assert found == read_table(store.writer, MAP_FORM, "main").sort_by("key").to_pylist()
        assert {each["person_id"] for each in found} == {to_bytes(key(name)) for name in "PQS"}
        assert len(found) == 5
        assert read_rows(store.writer, MAP_FORM, "main", []).num_rows == 0
