"""Names: what an operator calls somebody, and which identifier that is.

    customer=4711        a kind that a site of the space declares, and a value in clear: never stored, never logged
    visitor=UUID, UUID   a visitor id, as v_events has it
    person=UUID, UUID    a person id, as v_events has it, or the own person id of an identifier

Invariants: a clear value goes no further than this module; what leaves it is the value as it is stored, and the own
person id. A name that could stand for two identifiers is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from collector.errors import RepairError, RepairReason
from collector.event import NIL_ID
from collector.identity.erased import read_tombstones
from collector.identity.identifiers import VISITOR_KIND, find_visitor, name_identifier
from collector.identity.normal_forms import normalise
from collector.identity.rekey import REKEY
from collector.keyring import Keyring
from collector.sites.book import DEFAULT_KINDS, DEFAULT_SPACE, IdentifierKind
from collector.sites.rows import read_sites
from collector.store.client import StoreClient

PERSON_KIND = "person"
MAX_NAME_CHARS = 600

# By the second identifier evidence is found by way of the pairs.
_KNOWN = """
    SELECT a_kind AS kind, a_value AS value FROM identity_evidence AS evidence
    WHERE space_id = {space:String} AND evidence.a_key = {key:UUID} AND evidence.kind != 'block' LIMIT 1
    UNION ALL
    SELECT b_kind AS kind, b_value AS value FROM identity_evidence AS evidence
    WHERE space_id = {space:String} AND evidence.b_key = {key:UUID} AND evidence.kind != 'block'
        AND evidence.a_key GLOBAL IN
            (SELECT a_key FROM identity_pairs WHERE space_id = {space:String} AND b_key = {key:UUID})
    LIMIT 1
    UNION ALL
    SELECT 'visitor' AS kind, toString(visitor_id) AS value FROM events
    WHERE space_id = {space:String} AND own_person_id = {key:UUID} AND visitor_id != {nil:UUID} LIMIT 1
"""


# `{keys}`: a bound list, or a question that gives keys.
_RENAMED = """
    SELECT toString(evidence.a_key) AS a, toString(evidence.b_key) AS b
    FROM identity_evidence AS evidence
    WHERE space_id = {{space:String}} AND kind = {{kind:String}} AND (evidence.a_key GLOBAL IN ({keys}) OR
        evidence.b_key GLOBAL IN ({keys}) AND evidence.a_key GLOBAL IN
            (SELECT a_key FROM identity_pairs WHERE space_id = {{space:String}} AND b_key GLOBAL IN ({keys})))
"""
_OF_KEYS = _RENAMED.format(keys="SELECT arrayJoin({keys:Array(UUID)})")
_OF_BLOCKED = _RENAMED.format(
    keys="SELECT key FROM identity_blocks FINAL WHERE space_id = {space:String} AND blocked = 1"
)
KEYS_PER_QUESTION = 2_500  # 39 bytes each; a server takes 128 KiB in one field of a form


class Identifier(NamedTuple):
    """One identifier of a space. `value`: as it is stored, "" where the store does not know it. `key`: its own person
    id. `is_known`: whether evidence or an event ever named it."""

    kind: str
    value: str
    key: str
    is_known: bool = True

    @property
    def is_visitor(self) -> bool:
        """Whether it is a browser or an app install, not a customer key."""
        return self.kind == VISITOR_KIND

    def describe(self) -> dict[str, str]:
        """Return how the audit log names it: without any value."""
        return {"kind": self.kind, "key": self.key}


def find_identifier(client: StoreClient, keyring: Keyring, space_id: str, name: str) -> Identifier:
    """Return the identifier that a name stands for, known or not; a bare id must be known.

    Raises RepairError where the name cannot be understood, where it stands for several, or where an id is nobody's;
    StoreError.
    """
    text = name.strip()
    if len(text) > MAX_NAME_CHARS:
        raise RepairError(RepairReason.ARGUMENT, f"a name has at most {MAX_NAME_CHARS} characters")
    kind, sign, value = text.partition("=")
    if not sign:
        return _find_by_id(client, keyring, space_id, _read_uuid(text))
    if kind == VISITOR_KIND:
        return _look_up(client, space_id, _name_visitor(client, keyring, space_id, _read_uuid(value)))
    if kind == PERSON_KIND:
        return _must_know(_look_up(client, space_id, Identifier("", "", _read_uuid(value), False)))
    return _find_by_value(client, keyring, space_id, kind, value)


def find_known(client: StoreClient, keyring: Keyring, space_id: str, name: str) -> Identifier:
    """As `find_identifier`. Raises RepairError also where nothing was ever seen of it."""
    return _must_know(find_identifier(client, keyring, space_id, name))


def read_kinds(client: StoreClient, space_id: str) -> dict[str, list[IdentifierKind]]:
    """Return the kinds that the sites of a space declare, by name; of one that they declare differently, all forms.

    Raises RepairError where there is no such space, StoreError.
    """
    kinds: dict[str, list[IdentifierKind]] = {}
    for site in read_sites(client):
        if site.space_id == space_id:
            for kind in site.kinds:
                forms = kinds.setdefault(kind.name, [])
                if kind not in forms:
                    forms.append(kind)
    if not kinds and space_id != DEFAULT_SPACE:
        raise RepairError(RepairReason.UNKNOWN, f"there is no identity space {space_id}: no site belongs to it")
    return kinds or {kind.name: [kind] for kind in DEFAULT_KINDS}


def _find_by_value(client: StoreClient, keyring: Keyring, space_id: str, kind_name: str, value: str) -> Identifier:
    kinds = read_kinds(client, space_id)
    if kind_name not in kinds:
        names = ", ".join([*sorted(kinds), VISITOR_KIND, PERSON_KIND])
        raise RepairError(RepairReason.ARGUMENT, f"space {space_id} knows no kind of this name: it has {names}")
    tombstones = read_tombstones(client, space_id)
    found = {}
    for kind in kinds[kind_name]:
        normal = normalise(kind, value)
        if normal is not None:
            named = name_identifier(keyring, space_id, kind, normal, tombstones)
            for stored, key in ((named.value, named.key), *named.earlier):
                found[key] = Identifier(kind_name, stored, key, False)
    if not found:
        raise RepairError(RepairReason.ARGUMENT, f"this is no value of kind {kind_name}: write it as its owner does")
    known = [place for place in (_look_up(client, space_id, item) for item in found.values()) if place.is_known]
    if not known:
        return next(iter(found.values()))
    # Under several pseudonym keys one value has several names, tied as one; the newest comes first.
    if len(known) > 1 and len(kinds[kind_name]) > 1:
        raise RepairError(
            RepairReason.AMBIGUOUS,
            f"sites of space {space_id} read this {kind_name} differently, and both readings are known: "
            "name the person id instead",
        )
    return known[0]


def _find_by_id(client: StoreClient, keyring: Keyring, space_id: str, text: str) -> Identifier:
    visitor = _look_up(client, space_id, _name_visitor(client, keyring, space_id, text))
    direct = _look_up(client, space_id, Identifier("", "", text, False))
    if visitor.is_known and direct.is_known:
        raise RepairError(
            RepairReason.AMBIGUOUS,
            f"{text} is a visitor id and a person id: write {VISITOR_KIND}={text} or {PERSON_KIND}={text}",
        )
    return _must_know(visitor if visitor.is_known else direct)


def _name_visitor(client: StoreClient, keyring: Keyring, space_id: str, visitor_id: str) -> Identifier:
    tombstones = read_tombstones(client, space_id)
    visitor_id, key = find_visitor(keyring.pseudonym_key, space_id, visitor_id, tombstones)
    return Identifier(VISITOR_KIND, visitor_id, key, False)


def _look_up(client: StoreClient, space_id: str, named: Identifier) -> Identifier:
    rows = client.query_rows(_KNOWN, {"space": space_id, "key": named.key, "nil": NIL_ID})
    if not rows:
        return named
    return Identifier(rows[0]["kind"], rows[0]["value"], named.key)


def _must_know(found: Identifier) -> Identifier:
    if not found.is_known:
        raise RepairError(
            RepairReason.UNKNOWN,
            "nothing was ever seen of this identifier: look at its spelling and its space; a person id is that of "
            "v_events, a visitor without any event has none",
        )
    return found


def _read_uuid(text: str) -> str:
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise RepairError(
            RepairReason.ARGUMENT,
            "write KIND=VALUE, such as customer=4711, or the id of a person or a visitor",
        ) from None


def expand_names(client: StoreClient, space_id: str, keys: Iterable[str]) -> frozenset[str]:
    """Return these identifiers, by own person id, with all other names that a rotation of personal keys gave them."""
    closed: set[str] = set()
    fresh = set(keys)
    while fresh:
        closed |= fresh
        ordered = sorted(fresh)
        fresh = set()
        for start in range(0, len(ordered), KEYS_PER_QUESTION):
            part = {"keys": ordered[start : start + KEYS_PER_QUESTION]}
            fresh |= _ask_renamed(client, _OF_KEYS, space_id, part)
        fresh -= closed
    return frozenset(closed)


def expand_blocked(client: StoreClient, space_id: str, keys: Iterable[str]) -> frozenset[str]:
    """As `expand_names` for all that a space has blocked: `keys`. There may be many, and stitch asks at every step; so
    the store looks up itself which of them have other names."""
    closed = frozenset(keys)
    if not closed:
        return closed
    return closed | expand_names(client, space_id, _ask_renamed(client, _OF_BLOCKED, space_id, {}))


def _ask_renamed(client: StoreClient, sql: str, space_id: str, params: Mapping[str, object]) -> set[str]:
    rows = client.query_rows(sql, {"space": space_id, "kind": REKEY, **params})
    return {key for row in rows for key in (row["a"], row["b"])}
