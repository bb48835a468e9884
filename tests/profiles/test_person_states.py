"""Erased and restricted people: no profile tells of them, by any of their names. By which keys records are found."""

from __future__ import annotations

from typing import Any

import pytest

from collector.identity.identifiers import name_identifier, own_person_id
from collector.identity.vault import seal_value
from collector.profiles.definitions import Definitions
from collector.profiles.glance import Glance, read_glances
from collector.profiles.keys import MapRow
from collector.profiles.profile import Part, Profile, Withheld, read_profile
from collector.profiles.record_keys import MAX_TRIED, RecordKey, choose_keys
from collector.profiles.states import State, find_state, read_states, set_state
from collector.sites.book import IdentifierKind
from collector.store.client import StoreClient
from tests.profiles.test_trait_rows import ANNA, VISITOR, know_anna
from tests.running_store import NOON_MS, RunningStore, make_id, make_row

NOTHING = Definitions({})
KINDS = ("customer", "email")


def read(store: RunningStore, key: str = ANNA, **more: Any) -> Any:
    return read_profile(store.writer, store.keyring, NOTHING, key, now_ms=NOON_MS, **more)


def look(store: RunningStore, key: str, **more: Any) -> Glance:
    return read_glances(store.writer, store.keyring, NOTHING, [key, make_id(77)], now_ms=NOON_MS, **more)[key]


@pytest.mark.engine
@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("said_of", [ANNA, VISITOR])
def test_nothing_is_told_of_them_by_any_of_their_names(store: RunningStore, state: State, said_of: str) -> None:
    """Until it is taken back; also of a name of which nothing else is left."""
    know_anna(store)
    gone = make_id(99, 0xC)
    set_state(store.writer, "main", [said_of, gone], state, now_ms=1)
    for name in (ANNA, VISITOR):
        assert read(store, name, parts=[Part.TIMELINE]) == Withheld(name, ANNA, state)
    assert look(store, VISITOR).state is state  # a page asks by both
    assert look(store, make_id(5, 0xC)).state is None
    assert read(store, gone) == Withheld(gone, gone, state)
    assert read_states(store.writer, "main", [said_of, make_id(5)]) == {said_of: state}
    assert read_states(store.writer, "other", [said_of]) == {}
    set_state(store.writer, "main", [said_of], None, now_ms=2)
    assert isinstance(read(store), Profile)
    assert look(store, ANNA).state is None


@pytest.mark.engine
def test_who_shared_a_browser_is_not_meant(store: RunningStore) -> None:
    """What is said of a visitor with whom people took turns withholds nobody who is known by another name."""
    know_anna(store)
    row = {"space_id": "main", "key_kind": "visitor", "person_id": ANNA, "customer_id": "4711", "version": 2}
    store.put("identity_map", {**row, "key": VISITOR, "several": 1})
    set_state(store.writer, "main", [VISITOR], State.RESTRICTED, now_ms=1)
    assert isinstance(read(store), Profile)
    assert isinstance(read(store, VISITOR), Withheld)
    assert (look(store, ANNA).state, look(store, VISITOR).state) == (None, State.RESTRICTED)


def test_erased_is_more_than_restricted() -> None:
    """Where both are said of one person."""
    assert find_state([State.RESTRICTED, State.ERASED]) is State.ERASED
    assert find_state([]) is None


@pytest.mark.engine
def test_records_are_found_by_clear_keys(store: RunningStore) -> None:
    """The customer number as it is, the e-mail address out of the vault; and only where records are wanted."""
    know_anna(store)
    named = name_identifier(
        store.keyring, "main", IdentifierKind("email", unique=False, personal=True), "anna@shop.example"
    )
    store.put(
        "identity_map",
        {
            "space_id": "main",
            "person_id": ANNA,
            "customer_id": "4711",
            "customer_key": ANNA,
            "level": 3,
            "version": 1,
            "key": named.key,
            "key_kind": "email",
            "key_customer_id": named.value,
        },
    )
    assert read(store, key_kinds=KINDS).record_keys == {"customer": (RecordKey(ANNA, "4711"),)}
    given = ("email", RecordKey(named.key, "anna@shop.example"))
    assert read(store, key_kinds=KINDS, given=given).record_keys["email"] == (given[1],)
    vaulted = seal_value(store.keyring, "main", "email", named, "anna@shop.example")
    store.load(make_row(1, vault=[vaulted]))
    profile = read(store, key_kinds=KINDS, parts=[])
    assert profile.record_keys == {"customer": (RecordKey(ANNA, "4711"),), "email": (given[1],)}
    assert {item.value for item in profile.identifiers} == {"4711", ""}
    assert look(store, ANNA, key_kinds=KINDS).record_keys == profile.record_keys
    assert look(store, ANNA, key_kinds=["customer"]).record_keys.keys() == {"customer"}
    assert look(store, ANNA).record_keys == {}
    assert read(store).record_keys == {}
    assert read(store, key_kinds=["customer"], given=given).record_keys.keys() == {"customer"}


@pytest.mark.engine
def test_who_is_signed_in_is_known_by_their_own_value(store: RunningStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a look at the map; of a merged person each by the key that they came with, and of a visitor nothing."""
    secret = store.keyring.pseudonym_key
    keys = {number: own_person_id(secret, "main", "customer", number) for number in ("4711", "4712")}
    for number, key in keys.items():
        row = {"space_id": "main", "person_id": keys["4711"], "customer_id": "4711", "customer_key": keys["4711"]}
        named = {"key": key, "key_kind": "customer", "key_customer_id": number, "level": 4, "version": 1}
        store.put("identity_map", row | named)
    asked = []
    stream = StoreClient.stream

    def note(client: StoreClient, *of: Any, **more: Any) -> Any:
        asked.append(of)
        return stream(client, *of, **more)

    monkeypatch.setattr(StoreClient, "stream", note)
    kinds = frozenset({"customer"})
    found = read_glances(
        store.writer, store.keyring, NOTHING, [*keys.values(), VISITOR], now_ms=NOON_MS, key_kinds=kinds
    )
    assert {number: found[key].record_keys for number, key in keys.items()} == {
        number: {"customer": (RecordKey(key, number),)} for number, key in keys.items()
    }
    assert found[VISITOR].record_keys == {}
    assert len(asked) == 1


def make_tie(number: int, **more: Any) -> MapRow:
    values: dict[str, Any] = {
        "key": make_id(number),
        "kind": "email",
        "value": f"{number}@shop.example",
        "person_id": ANNA,
        "customer_id": "4711",
        "customer_key": ANNA,
        "valid_from_ms": 0,
        "several": 0,
        "level": 3,
        "provisional": 0,
        "proved": 1,
        "version": 1,
        "is_deleted": 0,
    }
    return MapRow(**(values | more))


def choose(*rows: MapRow, **more: Any) -> list[str]:
    found = choose_keys(ANNA, rows, KINDS, lambda row: row.value, now_ms=NOON_MS, **more)
    return [key.value.partition("@")[0] for key in found.get("email", ())]


@pytest.mark.parametrize(
    "tie",
    [
        {"provisional": 1},
        {"level": 2},
        {"level": 1},
        {"several": 1},
        {"valid_from_ms": NOON_MS + 1},
        {"person_id": make_id(8)},
        {"kind": "phone"},
        {"value": ""},
    ],
)
def test_an_unsure_tie_leads_to_nobodys_record(tie: dict[str, Any]) -> None:
    """Provisional, made by a link alone, of somebody else, or without a clear value."""
    assert choose(make_tie(1, **tie)) == []


def test_the_surest_key_comes_first_after_their_own() -> None:
    """And no source is asked for everybody that a merge has put together."""
    rows = [make_tie(number, level=3 + number % 2) for number in range(6)]
    assert choose(*rows) == ["1", "3", "5"]
    assert len(choose(*rows)) == MAX_TRIED
    assert choose(*rows, first=[make_id(4)]) == ["4", "1", "3"]
    assert choose(*rows, first=[make_id(4)], given=("email", RecordKey(make_id(7), "7@"))) == ["4", "7", "1"]
    assert choose(make_tie(7, provisional=1), given=("email", RecordKey(make_id(7), "7@"))) == []
