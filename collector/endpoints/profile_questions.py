"""What is asked of `/v1/customers` and `/v1/visitors`: which identifier, which parts, which page.

No I/O: names become own person ids here, from what the sites of the space declare. No message repeats a value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

import msgspec

from collector.errors import TagstitchError
from collector.identity.identifiers import (
    MAX_VALUE_CHARS,
    PSEUDONYM,
    find_own_person_id,
    find_visitor,
    is_kept_clear,
    name_identifier,
)
from collector.identity.normal_forms import normalise
from collector.keyring import Keyring
from collector.links.minting import find_kinds
from collector.profiles.profile import ALL, DEFAULT_PAGE, Part
from collector.profiles.timeline import MAX_PAGE, Cursor, CursorError, decode_cursor
from collector.sites.book import IdentifierKind, SiteBook

MAX_CURSOR_CHARS = 200


class ProfileProblem(TagstitchError):
    """A request that cannot be understood. `error`: a word of the endpoint's messages."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


class Question(msgspec.Struct, frozen=True):
    """What of a profile is wanted. `records`: of which other sources, where that part is; None: of all."""

    parts: frozenset[Part] = ALL
    records: frozenset[str] | None = None
    limit: int = DEFAULT_PAGE
    cursor: Cursor | None = None
    shows_personal: bool = False

    def list_parts(self) -> list[str]:
        """Return the parts as `fields` says them, sorted."""
        named = () if self.records is None else (f"{Part.RECORDS}.{name}" for name in self.records)
        return sorted({*map(str, self.parts), *named} - ({str(Part.RECORDS)} if self.records is not None else set()))


class Asked(msgspec.Struct, frozen=True):
    """Of whom what is wanted. `keys`: own person ids that the name may have, the likeliest first; one value has a name
    for each personal key in force. `is_person_id`: it was given as a person's id. `given`: kind and value in clear,
    where that is what was asked with. `was_erased`: who once had the name was erased; somebody new may have it."""

    keys: list[str]
    question: Question
    is_person_id: bool = False
    given: tuple[str, str] | None = None
    was_erased: bool = False


class Lookup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/customers/lookup`: by kind and value, or by a person's id. The rest as in an address."""

    kind: str = ""
    value: str = ""
    person_id: str = ""
    fields: str = ""
    limit: int | None = None
    cursor: str = ""
    personal: bool = False

    def list_parameters(self) -> list[tuple[str, str]]:
        """Return what is asked as the parameters of an address would say it."""
        said = [("fields", self.fields), ("cursor", self.cursor), ("personal", str(int(self.personal)))]
        return [*said, *([] if self.limit is None else [("limit", str(self.limit))])]


class Correction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`PUT …/traits/{name}`."""

    value: str | int | float | bool | list | dict | None  # type: ignore[type-arg]


def read_question(parameters: Iterable[tuple[str, str]], sources: Collection[str] = ()) -> Question:
    """Read `fields`, `limit`, `cursor` and `personal`. `sources`: names of the other sources that there are. Raises
    ProfileProblem; also for what there is not."""
    said: dict[str, str] = {}
    for name, value in parameters:
        if name in said:
            raise ProfileProblem("argument", f"{name} is said twice" if name.isidentifier() else "a name is said twice")
        said[name] = value
    if set(said) - {"fields", "limit", "cursor", "personal", "kind"}:
        raise ProfileProblem("argument", "there are the parameters kind, fields, limit, cursor and personal")
    parts, records = _read_parts(said.get("fields", ""), sources)
    return Question(
        parts,
        records,
        _read_limit(said.get("limit", "")),
        _read_cursor(said.get("cursor", "")),
        _read_switch(said.get("personal", "")),
    )


def name_customer(
    book: SiteBook, keyring: Keyring, space_id: str, kind_name: str, text: str, question: Question
) -> Asked:
    """Return what is asked by a customer key in an address: in clear, or a pseudonym. Raises ProfileProblem.

    `kind_name`: "" for the most important kind of the space.
    """
    kind = _find_kind(book, space_id, kind_name)
    if PSEUDONYM.fullmatch(text):
        return _ask_by_stored(book, keyring, space_id, kind, text, question)
    normal = normalise(kind, text)
    if kind.personal or (normal is not None and not is_kept_clear(kind, normal)):
        raise ProfileProblem("personal", "a personal value does not stand in an address: POST /v1/customers/lookup")
    if normal is None:
        raise ProfileProblem("argument", f"this is no value of kind {kind.name}")
    named = name_identifier(keyring, space_id, kind, normal, book.tombstones)
    return Asked([named.key], question, given=(kind.name, normal), was_erased=bool(named.erased_ms))


def _ask_by_stored(
    book: SiteBook, keyring: Keyring, space_id: str, kind: IdentifierKind, stored: str, question: Question
) -> Asked:
    """Return what is asked by a value as it is stored."""
    key, erased_ms = find_own_person_id(keyring.pseudonym_key, space_id, kind.name, stored, book.tombstones)
    return Asked([key], question, was_erased=bool(erased_ms))


def name_visitor(book: SiteBook, keyring: Keyring, space_id: str, text: str, question: Question) -> Asked:
    """Return what is asked by a visitor id. Raises ProfileProblem."""
    asked = _read_uuid(text, "a visitor's id")
    visitor_id, key = find_visitor(keyring.pseudonym_key, space_id, asked, book.tombstones)
    return Asked([key], question, was_erased=visitor_id != asked)


def read_lookup(
    book: SiteBook, keyring: Keyring, space_id: str, lookup: Lookup, sources: Collection[str] = ()
) -> Asked:
    """Return what a lookup asks for. Raises ProfileProblem."""
    question = read_question(lookup.list_parameters(), sources)
    if lookup.person_id:
        if lookup.kind or lookup.value:
            raise ProfileProblem("argument", "give person_id, or kind and value")
        return Asked([_read_uuid(lookup.person_id, "person_id")], question, is_person_id=True)
    if not lookup.value:
        raise ProfileProblem("argument", "give kind and value, or person_id")
    kind = _find_kind(book, space_id, lookup.kind)
    if PSEUDONYM.fullmatch(lookup.value):
        return _ask_by_stored(book, keyring, space_id, kind, lookup.value, question)
    normal = normalise(kind, lookup.value) if len(lookup.value) <= MAX_VALUE_CHARS else None
    if normal is None:
        raise ProfileProblem("argument", f"this is no value of kind {kind.name}")
    named = name_identifier(keyring, space_id, kind, normal, book.tombstones)
    keys = [named.key, *(key for _, key in named.earlier)]
    return Asked(keys, question, given=(kind.name, normal), was_erased=bool(named.erased_ms))


def _find_kind(book: SiteBook, space_id: str, name: str) -> IdentifierKind:
    kinds = find_kinds(book, space_id)
    found = next((kind for kind in kinds if kind.name == name), None) if name else kinds[0]
    if found is None:
        names = ", ".join(kind.name for kind in kinds)
        raise ProfileProblem("argument", f"the space knows no kind of this name: it has {names}")
    return found


def _read_parts(text: str, sources: Collection[str]) -> tuple[frozenset[Part], frozenset[str] | None]:
    """Return the parts, and of which other sources the records are."""
    if not text:
        return ALL, None
    words = {word.strip() for word in text.split(",")}
    named = {f"{Part.RECORDS}.{source}" for source in sources}
    if unknown := words - named - {*Part, "identifiers"}:
        known = ", ".join(["identifiers", *sorted(Part), *sorted(named)])
        raise ProfileProblem("argument", f"fields has {len(unknown)} words that are none of {known}")
    parts = frozenset(Part(word.partition(".")[0]) for word in words if word != "identifiers")
    return parts, None if Part.RECORDS in words else frozenset(word.partition(".")[2] for word in words & named)


def _read_limit(text: str) -> int:
    if not text:
        return DEFAULT_PAGE
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_PAGE):
        raise ProfileProblem("argument", f"limit is a number from 1 to {MAX_PAGE}")
    return int(text)


def _read_cursor(text: str) -> Cursor | None:
    if not text:
        return None
    try:
        return decode_cursor(text[:MAX_CURSOR_CHARS])
    except CursorError as error:
        raise ProfileProblem("argument", str(error)) from None


def _read_switch(text: str) -> bool:
    if text not in ("", "0", "1"):
        raise ProfileProblem("argument", "personal is 0 or 1")
    return text == "1"


def _read_uuid(text: str, what: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ProfileProblem("argument", f"{what} is a UUID") from None
