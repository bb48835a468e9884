"""Purposes of consent: what there is, how each is written, what each one switches, and what a page's word grants.

A purpose has a letter on the wire and a name everywhere else. `SWITCHES` is the one table of what happens only where
which purpose is granted, and where in the program that is seen to; docs/privacy.md shows it. `necessary` is never
asked for: it is what keeps the word of whoever said no.

What a page has said (`c` on the wire) is read by its site's preset:

    required     only what `c` grants
    implied      no `c`: everything but the fingerprint; with `c`: what it grants
    cookieless   as required; without analytics events are kept of a visitor of the day
    off          no `c`: everything; with `c`: what it grants

Global Privacy Control and Do Not Track take fingerprint and marketing away, whatever a page says.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple


class Purpose(StrEnum):
    """What a person may consent to."""

    NECESSARY = "necessary"
    ANALYTICS = "analytics"
    IDENTITY = "identity"
    FINGERPRINT = "fingerprint"
    PERSONALISATION = "personalisation"
    MARKETING = "marketing"


ASKED: tuple[Purpose, ...] = tuple(purpose for purpose in Purpose if purpose is not Purpose.NECESSARY)
"""Those that somebody is asked for. Without analytics there is none of the others: nothing is kept for them to use."""

PURPOSE_BY_LETTER = {purpose[0]: purpose for purpose in ASKED}

NOT_UNDER_GPC = frozenset((Purpose.FINGERPRINT, Purpose.MARKETING))
"""What a signal of the browser takes away."""


PERSONAL_SOURCES = ("list", "objection", "preferences", "privacy", "unsubscribe")
"""Sources of entries that speak of a person, whatever browser they use. All others speak of the one browser that said
it: a banner that is refused on one device is no unsubscribing, and one that is accepted takes none back."""

BY_PERSON = f"source IN {PERSONAL_SOURCES}"
"""The same in SQL: an entry speaks of the person."""


MAX_LETTERS = 16
REFUSABLE = frozenset(letter for letter, purpose in PURPOSE_BY_LETTER.items() if purpose is not Purpose.ANALYTICS)
"""Letters of the purposes that a person may refuse one by one on our page."""
COOKIELESS = "cookieless"
_ALL = frozenset(ASKED)
_BY_PRESET: dict[str, frozenset[Purpose]] = {"implied": _ALL - {Purpose.FINGERPRINT}, "off": _ALL}


class Place(StrEnum):
    """Where in the program a switch is seen to."""

    TAG = "tag"
    EDGE = "edge"
    STORE = "store"
    PAGE = "/x/me"
    AUDIENCES = "audiences"
    LINKS = "tagged links"


class Switch(NamedTuple):
    """Something that happens only where a purpose is granted. `backwards`: what a withdrawal does to what is there."""

    what: str
    purpose: Purpose
    places: tuple[Place, ...]
    backwards: str = ""


_DEVICE = (Place.TAG, Place.EDGE)

SWITCHES = (
    Switch(
        "an objection, or the refusal of a purpose, is kept on the device; what is refused is counted, and not kept",
        Purpose.NECESSARY,
        _DEVICE,
    ),
    Switch("what a known browser has answered is written into the ledger", Purpose.NECESSARY, (Place.EDGE,)),
    Switch("a visitor id and a session on the device", Purpose.ANALYTICS, _DEVICE, "they are removed from the device"),
    Switch("events are kept; on a cookieless site without it too, of a visitor of the day", Purpose.ANALYTICS, _DEVICE),
    Switch("language, time zone and size of the window", Purpose.ANALYTICS, _DEVICE),
    Switch("identifiers, sign-ins and hand-overs tie the visitor to a customer", Purpose.IDENTITY, _DEVICE),
    Switch("a tagged link ties the visitor to its recipient", Purpose.IDENTITY, _DEVICE),
    Switch(
        "device signals are read, and the fingerprint made of them is kept",
        Purpose.FINGERPRINT,
        (*_DEVICE, Place.STORE),
        "the browser's fingerprints are hidden at once, and deleted",
    ),
    Switch(
        "the page is told who is there: traits, audiences, offers",
        Purpose.PERSONALISATION,
        (Place.TAG, Place.PAGE),
        "the page is told of nobody from then on",
    ),
    Switch("the event names the link that it came by", Purpose.MARKETING, (Place.EDGE, Place.LINKS)),
    Switch(
        "audiences and offers that have this purpose, and so their webhooks and exports",
        Purpose.MARKETING,
        (Place.AUDIENCES, Place.PAGE),
        "the person leaves them",
    ),
)


@lru_cache(maxsize=1024)
def find_purposes(letters: str | None, preset: str, gpc: bool) -> frozenset[Purpose]:
    """Return what counts as granted. `letters`: those of the wire; None: the page has said nothing."""
    purposes = read_purposes(letters, preset)
    return purposes - NOT_UNDER_GPC if gpc else purposes


@lru_cache(maxsize=64)
def name_purposes(purposes: frozenset[Purpose]) -> str:
    """Return their names, sorted, comma between."""
    return ",".join(sorted(purposes))


def read_purposes(letters: str | None, preset: str) -> frozenset[Purpose]:
    """Return what the wire's letters grant on a site with this preset. Unknown letters grant nothing, nor those behind
    the first MAX_LETTERS."""
    if letters is None:
        return _BY_PRESET.get(preset, frozenset())
    return frozenset(PURPOSE_BY_LETTER[letter] for letter in letters[:MAX_LETTERS] if letter in PURPOSE_BY_LETTER)


@lru_cache(maxsize=64)
def read_refused(letters: str) -> frozenset[Purpose]:
    """Return what the cookie of refusals takes away. Analytics is not among it: that is refused by an objection."""
    return frozenset(PURPOSE_BY_LETTER[letter] for letter in letters[:MAX_LETTERS] if letter in REFUSABLE)


def spell_out(letters: str) -> str:
    """Return the names that letters stand for, in their order; unknown letters stand for none."""
    return ", ".join(PURPOSE_BY_LETTER[letter] for letter in letters if letter in PURPOSE_BY_LETTER)
