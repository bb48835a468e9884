"""A profile: one person as all that is known now makes them, read in two statements where nothing is out of the way.

The first takes the person from the dictionary, and the identifiers that may be theirs. The second reads everything by
these; the map decides, so what is not theirs falls out here. A further one is needed where identifiers had several
people, where the map has moved on since the dictionary was loaded, or where only a part of a history is theirs. There
are as few as can be, because to plan one costs the store more than to carry it out.

It never reads `events`. Unknown, known, known by another name now (merged), and withheld are four answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from collector.identity.identifiers import PSEUDONYM, VISITOR_KIND
from collector.keyring import Keyring
from collector.profiles import consents, facts, keys, memberships, states, timeline, traits, vaulted
from collector.profiles.computed import Computed, compute, merge_facts
from collector.profiles.consents import Consent
from collector.profiles.definitions import Definitions
from collector.profiles.keys import Held, MapRow, Span
from collector.profiles.masking import mask
from collector.profiles.memberships import Membership
from collector.profiles.record_keys import Keys, RecordKey, choose_keys
from collector.profiles.states import State
from collector.profiles.survivorship import Survivor, survive
from collector.profiles.timeline import Cursor, Page
from collector.profiles.together import Line, Reads
from collector.profiles.vaulted import Vault
from collector.store.client import StoreClient

MAX_TRIES = 3
"""How often the map may move while it is read."""
DEFAULT_PAGE = 50


class Part(StrEnum):
    """What of a profile is wanted. Identifiers always come."""

    TRAITS = "traits"
    COMPUTED = "computed"
    CONSENT = "consent"
    AUDIENCES = "audiences"
    TIMELINE = "timeline"
    VALUES = "values"  # of personal identifiers, from the vault
    RECORDS = "records"  # out of other sources: read by whoever asks here, by `record_keys`


ALL = frozenset(Part)


class Identifier(msgspec.Struct, frozen=True):
    """An identifier. `value`: in clear or masked; "" for a visitor, and where the store has its pseudonym alone."""

    kind: str
    value: str
    pseudonym: str
    own_person_id: str
    is_personal: bool
    level: int
    provisional: bool
    spans: tuple[Span, ...]


class Trait(msgspec.Struct, frozen=True):
    """A trait. `value`: of the survivor, masked where it is personal and the caller may not see it."""

    value: Any
    personal: bool
    is_declared: bool
    min_assurance: int
    survivor: Survivor  # its values masked as well

    @property
    def is_contested(self) -> bool:
        """Whether somebody as sure of whom they spoke says otherwise."""
        return self.survivor.is_contested


class Unknown(msgspec.Struct, frozen=True):
    """Nothing is known of this identifier."""

    key: str


class Withheld(msgspec.Struct, frozen=True):
    """Nothing is told of this person. `key`: own person id of the identifier that was asked for."""

    key: str
    person_id: str
    state: State


class Profile(msgspec.Struct, frozen=True):
    """A person. `asked`: own person id of the identifier that was asked for. `merged_from`: that id again, where it
    once was a person's, or a customer's, that is part of this one now; else "".

    `record_keys`: by which other sources are asked for them, in clear; never to be shown.
    `is_cut`: there are more than keys.MAX_KEYS identifiers, and some were left out. Parts that were not asked for are
    empty, `computed` is None.
    """

    person_id: str
    asked: str
    merged_from: str
    customer_id: str
    customer_kind: str
    customer_key: str
    level: int
    provisional: bool
    identifiers: tuple[Identifier, ...]
    traits: dict[str, Trait]
    computed: Computed | None
    consents: tuple[Consent, ...]
    audiences: tuple[Membership, ...]
    last_consent: tuple[str, ...]  # purposes consented to at the latest event; only with the first page
    page: Page
    record_keys: Keys = {}
    is_cut: bool = False


class _Rows:
    """What a statement gave, by part."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.texts: defaultdict[str, list[str]] = defaultdict(list)
        for line in lines:
            self.texts[line.part].append(line.row)

    def read(self, part: str, decode: Callable[[str], Any]) -> list[Any]:
        """Return the rows of a part."""
        return [decode(text) for text in self.texts[part]]


def read_profile(
    client: StoreClient,
    keyring: Keyring,
    definitions: Definitions,
    key: str,
    *,
    now_ms: int,
    parts: Collection[Part] = ALL,
    cursor: Cursor | None = None,
    limit: int = DEFAULT_PAGE,
    shows_personal: bool = False,
    is_person_id: bool = False,
    exactly: bool = False,
    key_kinds: Collection[str] = (),
    given: tuple[str, RecordKey] | None = None,
    reads: Reads | None = None,
) -> Profile | Unknown | Withheld:
    """Read the person whose an identifier is now. `key`: its own person id.

    `cursor`, `limit`: of the page of the timeline, at most timeline.MAX_PAGE events. `shows_personal`: personal values
    in clear. `is_person_id`: the key was given as a person's id, so another id than it means merged. `exactly`: the
    person of this very id, as v_events has it, even where nothing but an anonymous past is left of it. `key_kinds`,
    `given`: kinds of `record_keys`, and the one that was asked with. `reads`: with which other threads of the process
    it is read together; none: alone. Raises StoreError.
    """
    limit = max(1, min(limit, timeline.MAX_PAGE))
    space_id = definitions.space_id
    wanted = _list_statements(parts, is_vault=bool(key_kinds))
    page_of = (cursor, limit) if Part.TIMELINE in parts else None
    place = (reads or Reads(), space_id, key if exactly else "")
    rows, person_id, held, map_rows = _find(client, place, key, now_ms, wanted, page_of)
    said_states = states.keep_states(rows.read("state", states.decode_state))
    if state := settle_state(said_states, {key, person_id}, held, now_ms):
        return Withheld(key, person_id, state)
    found_facts = rows.read("facts", facts.decode_facts)
    found_events = rows.read("event", timeline.decode_event)
    said = traits.collect_said(keyring, space_id, held, rows.read("trait", traits.decode_trait))
    entries = consents.settle_consents(held, rows.read("consent", consents.decode_consent))
    page = timeline.settle_page(client, space_id, held, found_events, cursor, limit)
    summed = merge_facts(facts.settle_facts(client, space_id, held, found_facts))
    if not (held.keys() & map_rows.keys() or said or entries or page.events or summed):
        return Unknown(key)
    customer = find_customer(person_id, map_rows)
    vault = Vault(keyring, space_id, rows.read("vault", vaulted.decode_vault))
    return Profile(
        person_id=person_id,
        asked=key,
        merged_from=key if _is_merged(key, person_id, map_rows, is_person_id=is_person_id) else "",
        customer_id=customer.value if customer else "",
        customer_kind=customer.kind if customer else "",
        customer_key=customer.key if customer else "",
        level=customer.level if customer else 0,
        provisional=bool(customer and customer.provisional),
        identifiers=_list_identifiers(held, vault if Part.VALUES in parts else None, shows_personal=shows_personal),
        traits=settle_traits(definitions, said, shows_personal=shows_personal),
        computed=compute(summed, now_ms) if Part.COMPUTED in parts else None,
        consents=entries,
        audiences=memberships.settle_memberships(person_id, rows.read("audience", memberships.decode_membership)),
        last_consent=tuple(page.events[0].consent.split(",")) if not cursor and _has_consent(page) else (),
        page=page,
        record_keys=choose_keys(
            person_id,
            map_rows.values(),
            key_kinds,
            vault.open,
            now_ms=now_ms,
            first=(customer.key,) if customer else (person_id,),
            given=given if given and given[1].own_person_id in held else None,
        ),
        is_cut=len(map_rows) >= keys.MAX_KEYS,
    )


def _find(
    client: StoreClient,
    place: tuple[Reads, str, str],
    key: str,
    now_ms: int,
    wanted: list[str],
    page_of: tuple[Cursor | None, int] | None,
) -> tuple[_Rows, str, dict[str, Held], dict[str, MapRow]]:
    """Return the rows, the person, their identifiers, and the map's rows. `place`: how it is read, the space, and the
    person, where that is known. `page_of`: which page of the timeline."""
    reads, space_id, given = place
    for _ in range(MAX_TRIES):
        assumed, candidates = reads.find_candidates(client, space_id, key, given)
        rows = _Rows(reads.ask(client, space_id, candidates, wanted, page_of))
        map_rows = keys.keep_latest(rows.read("map", keys.decode_map))
        several = [row.key for row in map_rows.values() if row.several]
        intervals = keys.read_intervals(client, space_id, several)
        person_id = given or keys.find_present(key, map_rows, intervals, now_ms)
        if person_id == assumed:
            break
        given = person_id
    held = keys.find_held(person_id, map_rows, intervals)
    return rows, person_id, held, map_rows


def _list_statements(parts: Collection[Part], *, is_vault: bool) -> list[str]:
    """Return what is asked of the store besides the timeline."""
    wanted = [keys.MAP, states.STATES]
    if Part.TRAITS in parts:
        wanted.append(traits.TRAITS)
    if Part.COMPUTED in parts:
        wanted.append(facts.FACTS)
    if Part.CONSENT in parts:
        wanted.append(consents.CONSENTS)
    if Part.AUDIENCES in parts:
        wanted.append(memberships.MEMBERSHIPS)
    if Part.VALUES in parts or is_vault:
        wanted.append(vaulted.VAULT)
    return wanted


def settle_state(
    said: Mapping[str, State], names: Collection[str], held: Mapping[str, Held], now_ms: int
) -> State | None:
    """Return what is said of a person: by the names that lead to them, or by an identifier that is theirs now."""
    own = {
        key for key, item in held.items() if not item.provisional and any(s.covers(now_ms, now_ms) for s in item.spans)
    }
    return states.find_state(state for key, state in said.items() if key in names or key in own)


def find_customer(person_id: str, map_rows: Mapping[str, MapRow]) -> MapRow | None:
    """Return the row of the customer key by which the person is called."""
    row = map_rows.get(person_id)
    if row is None or not row.customer_id or row.person_id != person_id:
        return None
    return map_rows.get(row.customer_key, row)


def _is_merged(key: str, person_id: str, map_rows: dict[str, MapRow], *, is_person_id: bool) -> bool:
    if key == person_id:
        return False
    row = map_rows.get(key)
    customer = find_customer(person_id, map_rows)
    is_customer = row is not None and customer is not None and row.kind == customer.kind
    return is_person_id or is_customer


def _list_identifiers(held: dict[str, Held], vault: Vault | None, *, shows_personal: bool) -> tuple[Identifier, ...]:
    shown = []
    for item in sorted(held.values(), key=lambda item: (item.is_visitor, item.kind, item.key)):
        is_personal = bool(PSEUDONYM.fullmatch(item.value))
        value = item.value
        if is_personal:
            value = vault.open(item) if vault else ""
            value = value if shows_personal or not value else mask(value)
        shown.append(
            Identifier(
                kind=item.kind or VISITOR_KIND,
                value=value,
                pseudonym=item.value if is_personal else "",
                own_person_id=item.key,
                is_personal=is_personal,
                level=item.level,
                provisional=item.provisional,
                spans=item.spans,
            )
        )
    return tuple(shown)


def settle_traits(definitions: Definitions, said: dict[str, list[Any]], *, shows_personal: bool) -> dict[str, Trait]:
    """Return the traits of a person, by name, out of what was said; personal ones masked where they may not be seen."""
    settled = {}
    for name in sorted(said):
        trait = definitions.find(name)
        survivor = survive(said[name], trait)
        if survivor is None:
            continue
        if trait.personal and not shows_personal:
            survivor = _mask(survivor)
        settled[name] = Trait(
            value=survivor.said.value,
            personal=trait.personal,
            is_declared=definitions.is_declared(name),
            min_assurance=trait.min_assurance,
            survivor=survivor,
        )
    return settled


def _mask(survivor: Survivor) -> Survivor:
    """Return it with values masked, and with what was found of them in clear."""
    replace = msgspec.structs.replace
    lost = tuple(replace(one, said=replace(one.said, value=mask(one.said.value))) for one in survivor.lost)
    return Survivor(replace(survivor.said, value=mask(survivor.said.value)), lost)


def _has_consent(page: Page) -> bool:
    return bool(page.events and page.events[0].consent)
