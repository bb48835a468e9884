"""What an offer has brought: the named question `offer_uplift` asked with the offer's own goal, and the two arms
compared."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from collector.offers.configuration import OfferConfig
from collector.offers.uplift import Arm, Interval, compare_rates, compare_values, say
from collector.reports.questions import run_question
from collector.store.client import StoreClient

QUESTION = "offer_uplift"


class Report(msgspec.Struct, frozen=True):
    """Both arms, the differences with their 95 % intervals (shown less held out), and a sentence. `rate`: of shares of
    people; `value`: of the mean value of a person. None: too few to give one."""

    offer: str
    goal: str
    window_days: int
    first: date
    last: date
    shown: Arm
    held_out: Arm
    rate: Interval | None
    value: Interval | None
    currencies: tuple[str, ...]
    sentence: str


def read_report(client: StoreClient, offer: OfferConfig, first: date, last: date, zone: str = "UTC") -> Report:
    """Ask about an offer, by people who first came by it from `first` to `last`. `client`: a reader is enough.

    Raises StoreError.
    """
    params: dict[str, Any] = {"offer": offer.name, "space": offer.space, "first": first, "last": last, "zone": zone}
    params |= {"goal": offer.outcome.event, "window_days": offer.outcome.within_days}
    rows = {row["arm"]: row for row in run_question(client, QUESTION, params, today=last)}
    shown, held_out = (_read_arm(rows.get(name, {})) for name in ("shown", "held_out"))
    currencies = sorted({one for row in rows.values() for one in row["currencies"]})
    return Report(
        offer=offer.name,
        goal=offer.outcome.event,
        window_days=offer.outcome.within_days,
        first=first,
        last=last,
        shown=shown,
        held_out=held_out,
        rate=compare_rates(shown, held_out),
        value=compare_values(shown, held_out) if len(currencies) < 2 else None,
        currencies=tuple(currencies),
        sentence=say(shown, held_out),
    )


def _read_arm(row: dict[str, Any]) -> Arm:
    return Arm(**{name: row[name] for name in Arm.__struct_fields__ if name in row})
