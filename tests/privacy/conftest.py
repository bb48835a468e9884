"""One engine for the tests of a module; each finds its tables empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running_store import RunningStore, running_store


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def store(shared_store: RunningStore) -> RunningStore:
    shared_store.clear()
    return shared_store
