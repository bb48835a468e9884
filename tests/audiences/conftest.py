"""A store for the rules, emptied for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running_store import RunningStore, running_store


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def store(shared: RunningStore) -> RunningStore:
    shared.clear()
    return shared
