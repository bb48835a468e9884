"""What somebody may see of what is held about them, on the page `/x/privacy`.

    nobody     no browser of ours, or nothing is held about it
    browser    it has never been tied to anybody known: all that it did, in full
    known      it has been somebody's, and nobody has proved now to be that: how much is held, and nothing of it
    person     the site has vouched for who sits there (level 3), or a confirmation link has: all about that person

A browser that several use shows to each what they did themselves, and to a stranger nothing of any of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.keyring import Keyring
from collector.privacy.page_tokens import Sitting
from collector.privacy.parts import PARTS, read_newest
from collector.privacy.subjects import Subject, bind_scope, find_subjects, hash_keys
from collector.privacy.takeaway import list_identifiers, list_traits
from collector.privacy.tombstones import mark_key
from collector.purposes import BY_PERSON
from collector.sites.book import SiteBook
from collector.store.client import StoreClient

SHOWN_ROWS = 20
_REFUSED = f"""
SELECT purpose FROM consent_ledger FINAL
WHERE space_id = {{space:String}} AND cityHash64(key) IN {{whole:Array(UInt64)}} AND {BY_PERSON}
GROUP BY purpose HAVING argMax(state, (time, received_at)) != 'granted' ORDER BY purpose
"""  # noqa: S608  our own words


class Whose(StrEnum):
    """As the table above."""

    NOBODY = "nobody"
    BROWSER = "browser"
    KNOWN = "known"
    PERSON = "person"


class OwnPart(msgspec.Struct, frozen=True):
    """One part of what is held. `rows`: the newest SHOWN_ROWS; `count`: of all."""

    name: str
    count: int
    rows: list[dict[str, Any]] = []


class OwnView(msgspec.Struct, frozen=True):
    """What is shown. `names`: as a request about it names whom it is about; `keys`: the own person ids that are theirs
    alone; `refused`: purposes that the person has refused for all their browsers."""

    whose: Whose
    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    person_id: str = ""
    identifiers: list[dict[str, Any]] = []
    traits: list[dict[str, Any]] = []
    parts: list[OwnPart] = []
    refused: frozenset[str] = frozenset()


class Found(msgspec.Struct, frozen=True):
    """Who is meant."""

    whose: Whose
    names: tuple[str, ...] = ()
    subjects: tuple[Subject, ...] = ()
    visitor_key: str = ""


def find_whose(
    client: StoreClient, keyring: Keyring, book: SiteBook, space_id: str, sitting: Sitting, now_ms: int
) -> Found:
    """Return who sits in front of the page. Raises StoreError."""
    visitor_key = _find_visitor_key(keyring, book, space_id, sitting.visitor_id)
    of_visitor = find_subjects(client, space_id, [visitor_key], now_ms) if visitor_key else []
    is_anonymous = all(
        item.is_visitor and item.key not in subject.shared for subject in of_visitor for item in subject.held
    )
    browser = (f"{VISITOR_KIND}={sitting.visitor_id}",) if of_visitor and is_anonymous else ()
    if sitting.key and not book.tombstones.find_erased_ms(space_id, mark_key(sitting.key)):
        people = find_subjects(client, space_id, [sitting.key], now_ms)
        alone = [one for one in of_visitor if browser and one.person_id not in {other.person_id for other in people}]
        names = (f"person={sitting.key}", *(browser if alone else ()))
        return Found(Whose.PERSON, names, (*people, *alone), visitor_key)
    if not of_visitor:
        return Found(Whose.NOBODY)
    if browser:
        return Found(Whose.BROWSER, browser, tuple(of_visitor), visitor_key)
    return Found(Whose.KNOWN, visitor_key=visitor_key)


def read_own_view(
    client: StoreClient, keyring: Keyring, book: SiteBook, space_id: str, sitting: Sitting, now_ms: int
) -> OwnView:
    """Read what may be shown to whom the page is shown to. Raises StoreError."""
    found = find_whose(client, keyring, book, space_id, sitting, now_ms)
    if found.whose is Whose.NOBODY:
        return OwnView(Whose.NOBODY)
    if found.whose is Whose.KNOWN:
        scope = {"whole": list(hash_keys(client, [found.visitor_key]).values()), "part": [], "spans": []}
        counts = (read_newest(client, space_id, part, scope, 0) for part in PARTS)
        held = [OwnPart(part.name, count) for part, (count, _) in zip(PARTS, counts, strict=True)]
        return OwnView(Whose.KNOWN, keys=(found.visitor_key,), parts=[part for part in held if part.count])
    scope = bind_scope(client, found.subjects)
    parts = []
    for part in PARTS:
        count, rows = read_newest(client, space_id, part, scope, SHOWN_ROWS)
        if count:
            parts.append(OwnPart(part.name, count, rows))
    refused = client.query_rows(_REFUSED, {"space": space_id, "whole": scope["whole"]})
    return OwnView(
        found.whose,
        found.names,
        tuple(key for subject in found.subjects for key in subject.whole),
        found.subjects[0].person_id,
        list_identifiers(client, keyring, space_id, found.subjects),
        list_traits(client, keyring, space_id, scope),
        parts,
        frozenset(row["purpose"] for row in refused) if found.whose is Whose.PERSON else frozenset(),
    )


def _find_visitor_key(keyring: Keyring, book: SiteBook, space_id: str, visitor_id: str) -> str:
    """Return the own person id of a browser; "" where there is none, or it was erased."""
    if not visitor_id:
        return ""
    key = own_person_id(keyring.pseudonym_key, space_id, VISITOR_KIND, visitor_id)
    return "" if book.tombstones.find_erased_ms(space_id, mark_key(key)) else key
