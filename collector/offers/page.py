"""What pages are told of audiences and offers: the configuration of each space, and what it makes of who is known.

At level 2 a tagged link says who it is, and links are forwarded: audiences are told from level 3 on, and an offer too
unless it says `min_assurance = 2`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

import msgspec

from collector.keyring import Keyring
from collector.offers.arms import Draw
from collector.offers.choice import Visit, choose
from collector.offers.configuration import DAY_MS, OfferConfig
from collector.offers.standing import Known, Wanted

AUDIENCE_LEVEL = 3


class PageAudience(Protocol):
    """The part of an audience's configuration that is used here."""

    @property
    def space(self) -> str:
        """The identity space."""

    @property
    def page(self) -> bool:
        """Whether pages are told who is in it."""


class _Space(msgspec.Struct, frozen=True):
    """What is configured of one space."""

    wanted: Wanted
    told: frozenset[str]
    offers: tuple[OfferConfig, ...]
    draw: Draw


class PageOffers:
    """Audiences and offers as pages are told of them. One for each web process."""

    def __init__(
        self, keyring: Keyring, audiences: Mapping[str, PageAudience], offers: Mapping[str, OfferConfig]
    ) -> None:
        self._keyring = keyring
        self._audiences = audiences
        self._offers = offers
        self._find = cache(self._make)

    def want(self, space_id: str) -> Wanted:
        """Return what is to be read of people of a space."""
        return self._find(space_id).wanted

    def tell(self, space_id: str, known: Known, visit: Visit) -> tuple[list[str], list[dict[str, Any]]]:
        """Return the audiences and the offers that a page is told of. `visit.granted`: see `find_granted`."""
        space = self._find(space_id)
        told = sorted(space.told & known.audiences.keys()) if visit.level >= AUDIENCE_LEVEL else []
        return told, choose(space.offers, known, visit, space.draw)

    def _make(self, space_id: str) -> _Space:
        told = frozenset(name for name, one in self._audiences.items() if one.space == space_id and one.page)
        offers = tuple(one for one in self._offers.values() if one.space == space_id)
        needed = {one.audience for one in offers if one.audience}
        windows_ms = {one.name: int(one.cap.within_days * DAY_MS) for one in offers if one.cap is not None}
        wanted = Wanted(tuple(sorted(told | needed)), windows_ms, with_consent=True)
        return _Space(wanted, told, offers, Draw(self._keyring, space_id))


def find_granted(told: frozenset[str], person: Known) -> frozenset[str]:
    """Return the purposes of consent that hold: what the browser was `told`, without what the person has refused."""
    return told - person.refused
