"""One engine for the tests of a module; each finds its tables empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running_store import RunningStore, running_store

TABLES = ("audience_changes", "webhook_deliveries", "webhook_progress", "person_states")


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def store(shared_store: RunningStore) -> RunningStore:
    for table in TABLES:
        shared_store.writer.command(f"TRUNCATE TABLE {table}")
    return shared_store
