"""Personal values at the edge: pseudonyms that name their key, two names while keys rotate, and the vault."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collector.accept.identifiers import MAX_NAMES
from collector.accept.pipeline import Accepted, accept
from collector.accept.server_events import accept_calls
from collector.accept.server_events_call import read_call
from collector.accept.server_events_statement import Caller
from collector.event import LandingRow, VaultRow
from collector.identity.identifiers import PSEUDONYM, make_pseudonym, own_person_id
from collector.identity.vault import find_key, open_value
from collector.keyring import Keyring, PersonalKey
from collector.sites.book import IdentifierKind, Site, SiteBook
from tests.edge_examples import KEYRING, NOW_MS, SITE, VISITOR, make_body, make_context, make_event, make_id, take

OLD = KEYRING.personal_keys[0]
NEW = PersonalKey("p2", "55" * 32, made_at_ms=NOW_MS - 5000)
ROTATING = msgspec.structs.replace(KEYRING, personal_keys=[NEW, OLD])
ADDRESS = "ann.canary@shop.example"
WITH_VAULT = msgspec.structs.replace(SITE, vault=True)
KINDS = (
    IdentifierKind("customer"),
    IdentifierKind("login", clear=True),
    IdentifierKind("email", unique=False, personal=True, normaliser="email", priority=10),
    IdentifierKind("phone", unique=False, personal=True, normaliser="phone", region="DE", priority=20),
)


def make_identify(*identifiers: tuple[str, str], number: int = 10) -> dict[str, Any]:
    return make_event(number, n="identify", k=[{"k": kind, "v": value} for kind, value in identifiers])


def keep(
    *events: dict[str, Any], site: Site = SITE, keyring: Keyring = KEYRING, **changes: Any
) -> tuple[bytes, LandingRow]:
    """Return what is spooled of a beacon, as bytes and as a row."""
    context = make_context(site=site, keyring=keyring)
    answer = accept(msgspec.json.encode(make_body(*events, **changes)), context)
    assert isinstance(answer, Accepted)
    return answer.line, msgspec.json.decode(answer.line, type=LandingRow)


def name_address(key: PersonalKey, kind: str = "email") -> tuple[str, str]:
    """Return the address as it is stored under a key, and its own person id."""
    value = make_pseudonym(key, "main", kind, ADDRESS)
    return value, own_person_id(KEYRING.pseudonym_key, "main", kind, value)


# --- which values are pseudonyms ------------------------------------------------------------------------------------


def test_a_customer_number_that_is_an_address_is_a_pseudonym() -> None:
    """Many shops use it as one; analysts join by what `tagstitch pseudonym` prints."""
    line, row = keep(make_identify(("customer", ADDRESS)))
    [evidence] = row.evidence
    assert (evidence.b_value, evidence.b_key) == name_address(OLD, "customer")
    assert b"canary" not in line


def test_a_kind_that_is_declared_clear_keeps_an_address() -> None:
    """Whoever wants it so says so."""
    site = msgspec.structs.replace(SITE, kinds=KINDS)
    _, row = keep(make_identify(("login", ADDRESS)), site=site)
    assert row.evidence[0].b_value == ADDRESS


def test_nobody_can_claim_a_pseudonym() -> None:
    """A customer number that looks like somebody's pseudonym is not that somebody."""
    stolen, key = name_address(OLD, "customer")
    for kind in KINDS[:2]:
        _, row = keep(make_identify((kind.name, stolen)), site=msgspec.structs.replace(SITE, kinds=KINDS))
        [evidence] = row.evidence
        assert evidence.b_key != key
        assert evidence.b_value != stolen
        assert PSEUDONYM.fullmatch(evidence.b_value)


@pytest.mark.parametrize("spelling", ["030 123456", "+49 (0)30/123456", "0049-30-123456"])
def test_a_phone_number_is_one_in_every_spelling(spelling: str) -> None:
    """Sites get numbers as people write them."""
    _, row = keep(make_identify(("phone", spelling)), site=msgspec.structs.replace(SITE, kinds=KINDS))
    assert row.evidence[0].b_value == make_pseudonym(OLD, "main", "phone", "+4930123456")


@pytest.mark.parametrize(("kind", "value"), [("phone", "call me"), ("email", "ann@shop.local")])
def test_what_is_no_value_of_its_kind_is_refused_by_its_place(kind: str, value: str) -> None:
    """The reason and the field are told, never the value."""
    line, row = keep(
        make_identify((kind, value), ("customer", "4711")), site=msgspec.structs.replace(SITE, kinds=KINDS)
    )
    assert [(r.reason, r.field) for r in row.rejected] == [("shape", "e[0].k[0]")]
    assert value.encode() not in line
    assert [e.b_value for e in row.evidence] == ["4711"]


def test_a_beacon_names_a_bounded_number_of_people() -> None:
    """An odd spelling costs a thousand times what a plain one does; what is said again costs nothing."""
    addresses = [f"ann{number}@bücher{number}.example" for number in range(MAX_NAMES + 3)]
    events = [make_identify(("email", address), number=number) for number, address in enumerate(addresses)]
    again = make_identify(("email", addresses[0]), number=999)
    _, row = keep(*events, again)
    assert [(r.reason, r.events) for r in row.rejected] == [("count", 3)]
    assert len(row.evidence) == MAX_NAMES + 1
    assert row.evidence[-1].b_key == row.evidence[0].b_key


# --- while keys rotate ----------------------------------------------------------------------------------------------


def test_while_keys_rotate_both_names_are_tied_by_ourselves() -> None:
    """The evidence names the new one; beside it stands, at level 4, that the two are the same."""
    _, row = keep(make_identify(("email", ADDRESS)), keyring=ROTATING)
    said, rekey = row.evidence
    assert (said.kind, said.level, said.b_value, said.b_key) == ("identify", 1, *name_address(NEW))
    assert (rekey.kind, rekey.level, rekey.source, rekey.proof) == ("rekey", 4, "edge", "server")
    assert (rekey.a_kind, rekey.a_value, rekey.a_key) == ("email", *name_address(OLD))
    assert (rekey.b_kind, rekey.b_value, rekey.b_key, rekey.b_unique) == ("email", *name_address(NEW), 0)
    assert rekey.time_ms == NEW.made_at_ms


def test_the_tie_of_two_names_is_the_same_row_whoever_brings_it() -> None:
    """Other visitors, other times, other requests: one piece of evidence."""
    rows = [
        keep(make_identify(("email", ADDRESS)), keyring=ROTATING)[1],
        keep(
            make_event(77, n="identify", t=NOW_MS - 999, k=[{"k": "email", "v": ADDRESS.upper()}]),
            keyring=ROTATING,
            d=make_id(9),
        )[1],
    ]
    first, second = ([e for e in row.evidence if e.kind == "rekey"] for row in rows)
    assert first == second
    assert len(first) == 1


def test_one_beacon_ties_two_names_once() -> None:
    """However often it says the address."""
    _, row = keep(make_identify(("email", ADDRESS)), make_identify(("email", ADDRESS), number=11), keyring=ROTATING)
    assert [e.kind for e in row.evidence].count("rekey") == 1
    assert [e.kind for e in row.evidence].count("identify") == 2


def test_what_is_not_personal_does_not_rotate() -> None:
    """A customer number has one name for ever."""
    _, row = keep(make_identify(("customer", "4711")), keyring=ROTATING)
    assert [(e.kind, e.b_value) for e in row.evidence] == [("identify", "4711")]


def test_a_client_cannot_say_that_two_names_are_one() -> None:
    """Rekey evidence comes from a computation, never from an event of that name."""
    event = make_event(10, n="rekey", k=[{"k": "email", "v": ADDRESS}, {"k": "customer", "v": "4711"}])
    _, row = keep(event)
    assert "rekey" not in {e.kind for e in row.evidence}


def test_a_servers_first_identifier_is_tied_to_its_earlier_name_too() -> None:
    """Without a visitor the first identifier stands as `a`, which must not be forgotten."""
    call = {
        "type": "identify",
        "userId": ADDRESS,
        "messageId": make_id(5),
        "timestamp": "2026-11-17T12:00:00Z",
        "context": {"siteId": "shop", "externalIds": [{"type": "email", "id": ADDRESS}]},
    }
    caller = Caller(
        received_at_ms=NOW_MS,
        sites=SiteBook(sites={"shop": WITH_VAULT}),
        keyring=ROTATING,
        space_id="main",
        oldest_ms=NOW_MS,
    )
    outcome = accept_calls([read_call(msgspec.json.encode(call))], caller)
    [line] = outcome.lines
    row = msgspec.json.decode(line, type=LandingRow)
    ties = {(e.a_kind, e.a_key, e.b_key) for e in row.evidence if e.kind == "rekey"}
    assert ties == {(kind, name_address(OLD, kind)[1], name_address(NEW, kind)[1]) for kind in ("customer", "email")}
    assert {vaulted.kind for vaulted in row.vault} == {"customer", "email"}


# --- the vault ------------------------------------------------------------------------------------------------------


def test_without_the_setting_nothing_can_be_read_back() -> None:
    """Off by default: the value is gone with the request."""
    line, row = keep(make_identify(("email", ADDRESS)))
    assert row.vault == []
    assert b"vault" not in line


def test_a_vaulted_value_is_sealed_before_it_is_spooled() -> None:
    """Only who has the key reads it; the bytes on disk do not hold it, in no spelling."""
    line, row = keep(make_identify(("email", f" {ADDRESS.upper()} ")), site=WITH_VAULT)
    [vaulted] = row.vault
    assert (vaulted.kind, vaulted.value, vaulted.key) == ("email", *name_address(OLD))
    assert find_key(KEYRING, vaulted.value) == OLD
    assert open_value(OLD, "main", vaulted) == ADDRESS
    assert b"canary" not in line.lower()


def test_a_value_is_vaulted_under_the_newest_key() -> None:
    """So the old key may go."""
    _, row = keep(make_identify(("email", ADDRESS)), site=WITH_VAULT, keyring=ROTATING)
    [vaulted] = row.vault
    assert (vaulted.value, vaulted.key) == name_address(NEW)
    assert open_value(NEW, "main", vaulted) == ADDRESS
    assert open_value(OLD, "main", vaulted) is None


def test_what_is_stored_in_clear_is_not_vaulted() -> None:
    """There is nothing to keep."""
    _, row = keep(make_identify(("customer", "4711")), site=WITH_VAULT)
    assert row.vault == []


def test_without_consent_to_identity_nothing_is_vaulted() -> None:
    """The vault takes what evidence is made of, and nothing else."""
    site = msgspec.structs.replace(WITH_VAULT, consent="required")
    _, row = keep(make_event(), make_identify(("email", ADDRESS)), site=site, c="a")
    assert (row.vault, row.evidence) == ([], [])


@pytest.mark.parametrize(
    "change",
    [{"kind": "customer"}, {"value": f"p1.{'0' * 32}"}, {"sealed": "AAAA"}, {"sealed": ""}],
    ids=lambda change: next(iter(change)),
)
def test_a_sealed_value_opens_only_where_it_belongs(change: dict[str, str]) -> None:
    """Space, kind and pseudonym are bound to it: it cannot be put beside another name."""
    _, row = keep(make_identify(("email", ADDRESS)), site=WITH_VAULT)
    [vaulted] = row.vault
    moved: VaultRow = msgspec.structs.replace(vaulted, **change)
    assert open_value(OLD, "main", moved) is None
    assert open_value(OLD, "other", vaulted) is None


def test_a_page_view_costs_no_seal() -> None:
    """Who is known is not said anew with every event."""
    _, row = take(make_body(make_event()), make_context(site=WITH_VAULT))
    assert (row.vault, row.visitor_id) == ([], VISITOR)
