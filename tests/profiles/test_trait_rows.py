"""Traits in the store: sealed, corrected, kept apart by source and level, shown masked; and a glance at them."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pytest

from collector.event import ConsentRow
from collector.identity.identifiers import name_identifier
from collector.identity.vault import seal_value
from collector.keyring import Keyring, make_keyring
from collector.profiles.definitions import Definitions, Policy, TraitConfig, TraitRefused, TraitType, publish
from collector.profiles.glance import Glance, read_glance, read_glances
from collector.profiles.profile import Part, Profile, read_profile
from collector.profiles.traits import NewTrait, correct, open_trait, seal_trait, write_traits
from collector.sites.book import IdentifierKind
from collector.store.client import open_client
from tests.running_store import NOON_MS, RunningStore, make_event, make_id, make_row

pytestmark = pytest.mark.engine
ANNA, VISITOR = make_id(4711, 0xC), make_id(1, 0xB)
CRM = ("adapter:crm", "server")
DEFINITIONS = Definitions(
    {
        "first_name": TraitConfig(policy=Policy.SOURCES, sources=CRM, min_assurance=2),
        "mail": TraitConfig(),
        "plan": TraitConfig(personal=False, min_assurance=0),
        "score": TraitConfig(type=TraitType.NUMBER, personal=False),
        "elsewhere": TraitConfig(space="other"),
    }
)


def know_anna(store: RunningStore) -> None:
    row = {"space_id": "main", "person_id": ANNA, "customer_id": "4711", "customer_key": ANNA, "level": 3, "version": 1}
    store.put(
        "identity_map",
        {**row, "key": ANNA, "key_kind": "customer", "key_customer_id": "4711"},
        {**row, "key": VISITOR, "key_kind": "visitor", "valid_from": NOON_MS / 1000},
    )


def write(store: RunningStore, name: str, value: Any, source: str, time_ms: int = 1, key: str = ANNA) -> None:
    values = [NewTrait(key, name, value, source, 1 if key == VISITOR else 4, time_ms)]
    assert write_traits(store.writer, store.keyring, DEFINITIONS, values) == 1


def fix(store: RunningStore, name: str, value: Any, now_ms: int = 2) -> None:
    correct(store.writer, store.keyring, DEFINITIONS, ANNA, name, value, actor="operator:ann", now_ms=now_ms)


def read(store: RunningStore, **more: Any) -> Profile:
    profile = read_profile(store.writer, store.keyring, DEFINITIONS, ANNA, now_ms=NOON_MS, **more)
    assert isinstance(profile, Profile)
    return profile


def glance(store: RunningStore) -> Glance:
    return read_glance(store.writer, store.keyring, DEFINITIONS, ANNA, now_ms=NOON_MS)


def test_a_correction_beats_everything_and_outlives_imports(store: RunningStore) -> None:
    """Until it is taken back; then the import counts again, as it was last."""
    know_anna(store)
    write(store, "plan", "silver", "adapter:crm")
    fix(store, "plan", "gold")
    write(store, "plan", "iron", "adapter:crm", time_ms=99)
    trait = read(store).traits["plan"]
    assert (trait.value, trait.is_contested, trait.survivor.said.actor) == ("gold", True, "operator:ann")
    assert [(lost.said.value, lost.reason) for lost in trait.survivor.lost] == [("iron", "correction")]
    fix(store, "plan", None, now_ms=100)
    assert read(store).traits["plan"].value == "iron"


def test_personal_values_are_sealed_where_they_lie_and_masked_where_they_are_shown(store: RunningStore) -> None:
    """In no row in clear; in clear to who may see them; what lost against them masked as well."""
    know_anna(store)
    write(store, "first_name", "Canary", "adapter:crm")
    write(store, "first_name", "Canarina", "server")
    rows = store.query("SELECT sealed, value FROM traits")
    assert [row["sealed"] for row in rows] == [1, 1]
    assert not any("anar" in row["value"] for row in rows)
    masked = read(store)
    assert masked.traits["first_name"].value == "C***"
    assert b"anar" not in msgspec.json.encode(masked)
    clear = read(store, shows_personal=True).traits["first_name"]
    assert (clear.value, [lost.said.value for lost in clear.survivor.lost]) == ("Canary", ["Canarina"])


def test_what_nobody_declared_is_personal_and_what_a_page_gave_is_masked(store: RunningStore) -> None:
    """A view writes a page's traits as they came: the profile masks them all the same."""
    event = make_event(1, name="identify", props='{"nick":"Canary","plan":"gold"}', assurance=4, customer_key=ANNA)
    know_anna(store)
    store.load(make_row(1, visitor_proof="server", events=[event]))
    traits = read(store).traits
    assert {name: (trait.value, trait.is_declared) for name, trait in traits.items()} == {
        "nick": ("C***", False),
        "plan": ("gold", True),
    }


def test_what_is_sealed_elsewhere_is_not_believed(store: RunningStore) -> None:
    """A value that was put beside another name, or sealed by another instance, loses against what can be read."""
    know_anna(store)
    sealed = seal_trait(store.keyring, "main", ANNA, "mail", b'"moved"')
    row = {"space_id": "main", "key": ANNA, "name": "first_name", "source": "correction", "level": 4, "sealed": 1}
    store.put("traits", {**row, "value": sealed, "version": 9})
    write(store, "first_name", "Anna", "server")
    trait = read(store, shows_personal=True).traits["first_name"]
    assert (trait.value, [lost.reason for lost in trait.survivor.lost]) == ("Anna", ["closed"])


@pytest.mark.parametrize(
    "change", [{"space": "other"}, {"key": VISITOR}, {"name": "mail"}, {"keyring": make_keyring()}]
)
def test_a_seal_is_bound_to_its_place(change: dict[str, Any]) -> None:
    """Space, identifier, name and instance: another one opens nothing."""
    keyring: Keyring = make_keyring()
    where = {"keyring": keyring, "space": "main", "key": ANNA, "name": "first_name"}
    sealed = seal_trait(*where.values(), b"x")  # type: ignore[arg-type]
    assert open_trait(*where.values(), sealed) == b"x"  # type: ignore[arg-type]
    assert open_trait(*(where | change).values(), sealed) is None  # type: ignore[arg-type]
    assert open_trait(*where.values(), "no base64!") is None  # type: ignore[arg-type]


def test_of_a_browser_only_what_was_said_in_the_persons_time(store: RunningStore) -> None:
    """A word of the time before the look-back is not theirs; a later one is, at its level."""
    know_anna(store)
    write(store, "plan", "before", "identify", NOON_MS - 1, key=VISITOR)
    assert read(store).traits == {}
    write(store, "plan", "claimed", "identify", NOON_MS, key=VISITOR)
    assert read(store).traits["plan"].survivor.said.level == 1
    write(store, "plan", "gold", "server")
    assert read(store).traits["plan"].value == "gold"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plan", 4),
        ("plan", "x" * 8_193),
        ("score", "4"),
        ("score", True),
        ("score", float("nan")),
        ("score", float("inf")),
        ("unheard", "x"),
        ("elsewhere", "x"),
    ],
)
def test_corrections_are_checked(store: RunningStore, name: str, value: Any) -> None:
    """Of the declared type, of a trait of this space; the message says no value."""
    with pytest.raises(TraitRefused) as refused:
        fix(store, name, value)
    assert str(value) not in str(refused.value)
    assert store.value("SELECT count() FROM traits") == 0


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (TraitType.INTEGER, [0, -(2**63)], [1.5, 2**63, True, "1"]),
        (TraitType.BOOLEAN, [True], [1, "true"]),
        (TraitType.DATE, ["2026-11-23"], ["2026-11-31", "20261123", datetime.date(2026, 1, 1)]),
        (TraitType.TIME, ["2026-11-23T10:00:00Z"], ["2026-11-23T10:00:00", "now"]),
        (TraitType.JSON, [{"a": [1]}], [None, "x" * 9_000]),
    ],
)
def test_values_are_of_their_type(kind: TraitType, good: list[Any], bad: list[Any]) -> None:
    """Each type takes what is of it, and nothing that merely looks so."""
    definitions = Definitions({"one": TraitConfig(type=kind)})
    for value in good:
        assert definitions.check("one", value) == value
    for value in bad:
        with pytest.raises(TraitRefused):
            definitions.check("one", value)


@pytest.mark.parametrize(
    "text",
    [
        "min_assurance = 5",
        'policy = "sources"',
        'sources = ["server"]',
        'policy = "sources"\nsources = ["server", "server"]',
        'policy = "sources"\nsources = ["correction"]',
        'type = "word"',
        "private = true",
    ],
)
def test_declarations_that_make_no_sense_are_refused(text: str) -> None:
    """By msgspec, which says where."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.toml.decode(text, type=TraitConfig)


def test_declarations_are_published_as_far_as_they_changed(store: RunningStore) -> None:
    """What is new or other is written, what is gone is taken away, and the rest is left alone."""
    assert publish(store.writer, DEFINITIONS, 1) == 4
    assert publish(store.writer, DEFINITIONS, 2) == 0
    assert publish(store.writer, Definitions({"plan": TraitConfig(personal=False)}), 3) == 4
    with open_client(store.config, store.keyring, "reader") as reader:
        write(store, "plan", "gold", "server")
        write(store, "score", 7, "server")
        assert [row["name"] for row in reader.query_rows("SELECT name FROM v_traits")] == ["plan"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0, {"plan"}), (1, {"plan"}), (2, {"plan", "first_name"}), (3, {"plan", "first_name", "mail", "score"})],
)
def test_a_page_is_given_what_its_level_reaches(store: RunningStore, level: int, expected: set[str]) -> None:
    """In clear, by each trait's least level; what nobody declared never."""
    know_anna(store)
    for name, value in (("plan", "gold"), ("first_name", "Anna"), ("mail", "x"), ("score", 1), ("nick", "A")):
        write(store, name, value, "server")
    seen = glance(store)
    assert (seen.person_id, seen.customer_id) == (ANNA, "4711")
    assert set(seen.give(DEFINITIONS, level)) == expected


def test_a_glance_takes_no_claim_and_nothing_of_other_times(store: RunningStore) -> None:
    """A claimed value is not given, nor what a browser said before it was theirs; of nobody there is nothing."""
    know_anna(store)
    write(store, "plan", "claimed", "identify", NOON_MS, key=VISITOR)
    assert glance(store).give(DEFINITIONS, 4) == {}
    write(store, "plan", "before", "server", NOON_MS - 1, key=VISITOR)
    assert {said.said.value for said in glance(store).traits.values()} <= {"claimed"}
    unknown = read_glance(store.writer, store.keyring, DEFINITIONS, make_id(9), now_ms=NOON_MS)
    assert unknown == Glance(make_id(9), "", {})


def test_many_glances_are_one_statement_and_nobodys_values_mix(store: RunningStore) -> None:
    """Each has their own, also where two ask by the same person; a browser of several people has but its own."""
    know_anna(store)
    shared, ben = make_id(2, 0xB), make_id(4712, 0xC)
    row = {"space_id": "main", "key_kind": "visitor", "person_id": ANNA, "customer_id": "4711", "version": 1}
    store.put("identity_map", {**row, "key": shared, "several": 1})
    for key, plan in ((ANNA, "annas"), (ben, "bens"), (shared, "anybodys")):
        write(store, "plan", plan, "server", NOON_MS, key=key)
    asked = [ANNA, VISITOR, ben, shared]
    seen = read_glances(store.writer, store.keyring, DEFINITIONS, asked, now_ms=NOON_MS)
    assert {key: (one.person_id, one.traits["plan"].said.value) for key, one in seen.items()} == {
        ANNA: (ANNA, "annas"),
        VISITOR: (ANNA, "annas"),
        ben: (ben, "bens"),
        shared: (shared, "anybodys"),
    }


def test_consent_is_what_was_said_last_of_any_identifier(store: RunningStore) -> None:
    """By purpose, from the ledger; and what the latest event had. A browser's word counts in the person's time."""
    know_anna(store)

    def say(key: str, state: str, after_ms: int, purpose: str = "marketing") -> ConsentRow:
        return ConsentRow(f"{key}-{state}-{after_ms}", key, purpose, state, "list", NOON_MS + after_ms)

    entries = [say(ANNA, "granted", 1), say(VISITOR, "withdrawn", 5), say(ANNA, "denied", 0, "analytics")]
    store.load(make_row(1, consents=[*entries, say(VISITOR, "granted", -9, "identity"), say(make_id(9), "denied", 9)]))
    store.load(make_row(1, consent="analytics,marketing", events=[make_event(1)]))
    profile = read(store)
    assert [(one.purpose, one.state, one.since_ms - NOON_MS) for one in profile.consents] == [
        ("analytics", "denied", 0),
        ("marketing", "withdrawn", 5),
    ]
    assert profile.last_consent == ("analytics", "marketing")


def test_what_was_said_of_the_person_counts_before_what_a_browser_was_told(store: RunningStore) -> None:
    """A banner that is accepted later takes no unsubscribing back; where nothing was said of the person, it holds."""
    know_anna(store)

    def say(key: str, state: str, after_ms: int, source: str, purpose: str) -> ConsentRow:
        return ConsentRow(f"{key}-{state}-{after_ms}", key, purpose, state, source, NOON_MS + after_ms)

    store.load(
        make_row(
            1,
            consents=[
                say(ANNA, "withdrawn", 1, "unsubscribe", "marketing"),
                say(VISITOR, "granted", 5, "tcf", "marketing"),
                say(VISITOR, "granted", 5, "tcf", "analytics"),
                say(VISITOR, "withdrawn", 9, "our banner", "analytics"),
            ],
        )
    )
    assert [(one.purpose, one.state, one.source) for one in read(store).consents] == [
        ("analytics", "withdrawn", "our banner"),
        ("marketing", "withdrawn", "unsubscribe"),
    ]


def test_parts_that_nobody_wants_are_not_read(store: RunningStore) -> None:
    """What is left out is empty; identifiers always come."""
    know_anna(store)
    write(store, "plan", "gold", "server")
    store.load(make_row(1, events=[make_event(1)]))
    for part in Part:
        profile = read(store, parts={part})
        assert bool(profile.traits) is (part is Part.TRAITS)
        assert bool(profile.page.events) is (part is Part.TIMELINE)
        assert (profile.computed is not None) is (part is Part.COMPUTED)
        assert [(one.kind, one.value) for one in profile.identifiers] == [("customer", "4711"), ("visitor", "")]


def test_personal_identifiers_come_from_the_vault(store: RunningStore) -> None:
    """In clear to who may see them, else masked; without a vault the pseudonym alone."""
    know_anna(store)
    kind = IdentifierKind("email", unique=False, personal=True)
    named = name_identifier(store.keyring, "main", kind, "anna@shop.example")
    row = {"space_id": "main", "person_id": ANNA, "customer_id": "4711", "customer_key": ANNA, "level": 3, "version": 1}
    store.put("identity_map", {**row, "key": named.key, "key_kind": "email", "key_customer_id": named.value})
    (mail,) = [one for one in read(store).identifiers if one.kind == "email"]
    assert (mail.value, mail.pseudonym, mail.is_personal) == ("", named.value, True)
    vaulted = seal_value(store.keyring, "main", "email", named, "anna@shop.example")
    store.load(make_row(1, vault=[vaulted]))
    for shows, expected in ((False, "a***@s***.example"), (True, "anna@shop.example")):
        (mail,) = [one for one in read(store, shows_personal=shows).identifiers if one.kind == "email"]
        assert mail.value == expected
