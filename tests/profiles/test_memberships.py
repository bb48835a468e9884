"""The audiences of a profile: those that the person as they are now is in, by their latest row."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from collector.profiles.definitions import Definitions
from collector.profiles.memberships import Membership
from collector.profiles.profile import ALL, Part, Profile, read_profile
from tests.profiles.test_trait_rows import ANNA, VISITOR, know_anna
from tests.running_store import NOON_MS, RunningStore

pytestmark = pytest.mark.engine


def read(store: RunningStore, parts: Collection[Part] = ALL) -> tuple[Membership, ...]:
    found = read_profile(store.writer, store.keyring, Definitions({}), VISITOR, now_ms=NOON_MS, parts=parts)
    assert isinstance(found, Profile)
    return found.audiences


def test_those_that_the_person_is_in_now(store: RunningStore) -> None:
    """Not what they have left, not what was found of a visitor before anybody knew who it was, not of other spaces."""
    know_anna(store)
    row = {"space_id": "main", "person_id": ANNA, "is_member": 1, "since": NOON_MS / 1000, "version": 1}
    for change in (
        {"audience": "regulars"},
        {"audience": "left"},
        {"audience": "left", "is_member": 0, "version": 2},
        {"audience": "back", "is_member": 0, "version": 2},
        {"audience": "back", "version": 3},
        {"audience": "of_the_visitor", "person_id": VISITOR},
        {"audience": "elsewhere", "space_id": "other"},
    ):
        store.put("audience_members", {**row, **change})
    assert read(store) == (Membership("back", NOON_MS), Membership("regulars", NOON_MS))
    assert read(store, ALL - {Part.AUDIENCES}) == ()
