"""Many people at a time are what the profile of each one is, whatever happened to their identifiers."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from collector.exporting import people as pages
from collector.exporting.people import read_people
from collector.profiles.computed import compute
from collector.profiles.definitions import Definitions
from collector.profiles.profile import Part, Profile, read_profile
from collector.profiles.states import State, set_state
from tests.profiles.test_person_reading import NOW_MS, make_beacons, stitch, tell
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine
NOTHING = Definitions({})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.mark.parametrize("parted", [1, 100])
def test_the_same_as_one_by_one(store: RunningStore, monkeypatch: pytest.MonkeyPatch, parted: int) -> None:
    """Customers, shared devices, browsers of which a part is somebody's; and nobody who is restricted."""
    monkeypatch.setattr(pages, "PARTED", parted)
    store.clear()
    own_keys = stitch(store, tell(4))
    store.load(*make_beacons(random.Random(4), own_keys, 150))
    parts = (Part.TRAITS, Part.COMPUTED, Part.AUDIENCES)
    found = read_people(store.writer, store.keyring, NOTHING, own_keys, parts, now_ms=NOW_MS)
    assert found.withheld == 0
    compared = partly = 0
    for key in own_keys:
        one = read_profile(store.writer, store.keyring, NOTHING, key, now_ms=NOW_MS, exactly=True)
        if not isinstance(one, Profile):
            continue
        person = found.people[key]
        assert compute(person.facts, NOW_MS) == one.computed
        customer = person.customer
        assert (customer.value if customer else "", customer.level if customer else 0) == (one.customer_id, one.level)
        assert {name: trait.value for name, trait in person.traits.items()} == {
            name: trait.value for name, trait in one.traits.items()
        }
        compared += bool(person.facts)
        partly += any(len(item.spans) > 1 for item in one.identifiers)
    assert compared > 10
    assert partly
    customers = read_people(store.writer, store.keyring, NOTHING, own_keys, parts, now_ms=NOW_MS, only_customers=True)
    assert customers.people.keys() == {key for key, person in found.people.items() if person.customer}
    hidden = next(iter(customers.people))
    set_state(store.writer, "main", [hidden], State.RESTRICTED, now_ms=NOW_MS)
    after = read_people(store.writer, store.keyring, NOTHING, own_keys, parts, now_ms=NOW_MS)
    assert hidden not in after.people
    assert after.withheld >= 1
