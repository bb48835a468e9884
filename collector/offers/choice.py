"""Which offers somebody gets, by what is known of them: for each slot the one of the highest priority that applies.

Pure: no I/O, no clock. An offer applies where its site, its period, its audience, the consent that it needs, how sure
it is who sits there, and its cap all allow it. Of two of one priority the first by name is taken. Who is held out of
the offer that was taken gets no other one in its place: else the comparison would be with that other one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from collector.offers.arms import Draw
from collector.offers.configuration import OfferConfig
from collector.offers.standing import Known


class Visit(msgspec.Struct, frozen=True):
    """Who sits where, and when. `level`: how sure it is who it is, 0 to 4. `granted`: purposes of consent that hold."""

    person_id: str
    site_id: str
    level: int
    now_ms: int
    granted: frozenset[str] = frozenset()


def choose(offers: Iterable[OfferConfig], known: Known, visit: Visit, draw: Draw) -> list[dict[str, Any]]:
    """Return the offers of a page, at most one for each slot, by slot. `offers`: those of the site's space.

    Each has `id`, `slot` and `content`; for whoever is held out, `held_out` is true and the content empty.
    """
    best: dict[str, OfferConfig] = {}
    for offer in sorted(offers, key=lambda one: (-one.priority, one.name)):
        if offer.slot not in best and applies(offer, known, visit):
            best[offer.slot] = offer
    chosen = sorted(best.values(), key=lambda one: one.slot)
    return [_give(one, draw.is_held_out(visit.person_id, one.name, one.hold_out)) for one in chosen]


def applies(offer: OfferConfig, known: Known, visit: Visit) -> bool:
    """Whether somebody may get this offer here and now."""
    return (
        (not offer.sites or visit.site_id in offer.sites)
        and visit.level >= offer.min_assurance
        and is_running(offer, visit.now_ms)
        and (not offer.audience or offer.audience in known.audiences)
        and (not offer.purpose or offer.purpose in visit.granted)
        and (offer.cap is None or known.seen.get(offer.name, 0) < offer.cap.shown)
    )


def is_running(offer: OfferConfig, now_ms: int) -> bool:
    """Whether a moment lies in the offer's period."""
    has_begun = offer.starts_ms is None or offer.starts_ms <= now_ms
    return has_begun and (offer.ends_ms is None or now_ms < offer.ends_ms)


def _give(offer: OfferConfig, is_held_out: bool) -> dict[str, Any]:
    if is_held_out:
        return {"id": offer.name, "slot": offer.slot, "content": {}, "held_out": True}
    return {"id": offer.name, "slot": offer.slot, "content": offer.content}
