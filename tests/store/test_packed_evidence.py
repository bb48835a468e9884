"""Packed evidence against the real table: what is unpacked is what the columns say, in every odd case too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import md5
from typing import Any
from uuid import UUID

import msgspec
import pytest

from collector.identity.policy import Policy, make_policy
from collector.identity.stitching.component_columns import read_all
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine

VISITOR = "0f8fad5b-d9cb-469f-a165-70867728950e"
LISTED = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
NOBODY = "ffffffff-ffff-ffff-ffff-ffffffffffff"
WORDS = {"kind": "identify", "a_kind": "visitor", "b_kind": "customer", "proof": "cookie", "human": "", "site_id": "s"}
ROW: dict[str, Any] = {
    **WORDS,
    "space_id": "main",
    "evidence_id": "3f333df6-90a4-4fda-8dd3-9485d27cee36",
    "level": 3,
    "a_value": VISITOR,
    "a_key": str(UUID(int=2**127 + 1)),
    "b_value": "C-1",
    "b_key": str(UUID(int=2**64 + 7)),
    "time": 1_780_000_000_123,
    "session_id": str(UUID(int=5)),
    "session_started": 1_780_000_000_001,
    "event_id": str(UUID(int=2**128 - 2)),
    "token_id": "",
    "op": 1,
    "batch_host": "h",
    "batch_seq": 2**40,
}
ODD: list[dict[str, Any]] = [
    {},
    {"evidence_id": "restored/é/1"},
    {"evidence_id": ROW["evidence_id"].upper()},
    {"a_value": NOBODY},
    {"a_value": LISTED},
    {"a_value": ""},
    {"a_value": "not an id"},
    {"b_kind": "visitor", "b_value": VISITOR},
    {"b_kind": "visitor", "b_value": VISITOR.upper()},
    {"b_kind": "email", "b_value": "a\0b\nüñ"},
    {"token_id": "m-1", "human": "pointer", "kind": "link", "level": 2},
    {"op": -1, "level": 0},
    {"kind": "reset", "level": 1, "proof": ""},
    {"time": 0, "session_started": 0},
    {"site_id": "other site", "space_id": "main"},
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """One engine for this file."""
    with running_store(tmp_path_factory.mktemp("packed")) as running:
        yield running


def _read(store: RunningStore, policy: Policy) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_all(store.writer, "main", policy).to_pylist()
    return rows


def _expect(odd: dict[str, Any], listed: frozenset[str]) -> dict[str, Any]:
    row = {**ROW, **odd}
    expected = {name: row[name] for name in (*WORDS, "level", "token_id", "op", "a_value", "b_value")}
    for name in ("a_key", "b_key", "session_id", "event_id"):
        expected[name] = UUID(row[name]).bytes
    expected |= {"time_ms": row["time"], "session_started_ms": row["session_started"]}
    for side in ("a", "b"):
        if row[f"{side}_kind"] == "visitor" and row[f"{side}_value"] in {VISITOR, LISTED} - listed:
            expected[f"{side}_value"] = None
    text = row["evidence_id"]
    is_plain = text == ROW["evidence_id"]
    expected["evidence_id"] = UUID(text).bytes if is_plain else md5(text.encode()).digest()
    expected["evidence_text"] = None if is_plain else text
    return expected


@pytest.mark.parametrize("listed", [frozenset[str](), frozenset({LISTED})], ids=["no list", "a listed visitor"])
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ",".join(odd) or "plain")
def test_unpacked_is_what_the_columns_say(store: RunningStore, odd: dict[str, Any], listed: frozenset[str]) -> None:
    """A row that goes in by its columns comes out of its packed ones as it was, what need not be carried left out."""
    store.writer.command("TRUNCATE TABLE identity_evidence")
    store.writer.insert_lines("identity_evidence", _encode({**ROW, **odd}))
    policy = replace(make_policy(store.config, ()), blocked=listed)
    (row,) = _read(store, policy)
    # ClickHouse keeps the halves of an MD5 in its own order: any digest will do.
    expected = _expect(odd, listed)
    if expected["evidence_text"] is not None:
        assert len(row["evidence_id"]) == 16
        expected["evidence_id"] = row["evidence_id"]
    assert row == expected


def _encode(row: dict[str, Any]) -> bytes:
    return msgspec.json.encode({**row, "time": row["time"] / 1000, "session_started": row["session_started"] / 1000})
