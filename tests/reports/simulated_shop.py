"""A month in a small shop, made by a seeded generator: what happened, and the same as rows for the store.

It lies in 2090, so that nothing of it is too old to be kept.

The list of Happening is the truth that the tests compute from; it is written without a look at any SQL.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from collector.event import EventRow, LandingRow
from tests.running_store import make_id, make_refusal

FIRST = datetime(2090, 9, 1, tzinfo=UTC)
LAST = datetime(2090, 9, 28, tzinfo=UTC)
PATHS = ("/", "/catalogue", "/lamp", "/chair", "/basket")
ARRIVALS: tuple[tuple[str, str, str, str], ...] = (
    # query of the first address, referrer, channel, campaign
    ("", "", "direct", ""),
    ("", "https://www.google.de/", "search", ""),
    ("", "https://m.facebook.com/x", "social", ""),
    ("", "https://blog.example/post", "referral", ""),
    ("utm_source=list&utm_medium=email&utm_campaign=spring", "", "email", "spring"),
    ("utm_source=ads&utm_medium=cpc&utm_campaign=autumn%20sale", "https://www.google.de/", "paid", "autumn sale"),
)


@dataclass
class Happening:
    """One event as it was."""

    event_id: str
    time: datetime
    name: str
    path: str
    visitor: int
    session: int
    person: str
    customer: str
    is_bot: bool
    value: float = 0.0
    link: str = ""  # token of a tagged link
    link_status: str = ""

    @property
    def day(self) -> str:
        return self.time.date().isoformat()


@dataclass
class Visit:
    """One session as it was."""

    session: int
    visitor: int
    person: str
    customer: str
    is_bot: bool
    channel: str
    campaign: str
    arrival: tuple[str, str]  # query of the first address, referrer
    happenings: list[Happening] = field(default_factory=list)

    @property
    def start(self) -> datetime:
        return self.happenings[0].time

    @property
    def end(self) -> datetime:
        return self.happenings[-1].time

    @property
    def page_views(self) -> int:
        return sum(h.name == "page_view" for h in self.happenings)


@dataclass
class Shop:
    """Everything that happened, and what the store is to be told."""

    visits: list[Visit]
    landing: list[LandingRow]
    identity_map: list[dict[str, Any]]
    intervals: list[dict[str, Any]]

    @property
    def happenings(self) -> list[Happening]:
        return [h for visit in self.visits for h in visit.happenings]

    @property
    def human(self) -> list[Happening]:
        return [h for h in self.happenings if not h.is_bot]

    @property
    def human_visits(self) -> list[Visit]:
        return [visit for visit in self.visits if not visit.is_bot]


def simulate_shop(seed: int, visitors: int = 60) -> Shop:
    """Make a shop. Every third visitor shares a customer with the one before; one tablet is used by two people."""
    chance = random.Random(seed)
    shop = Shop([], [], [], [])
    owners: dict[int, str] = {v: str(4000 + v // 3) for v in range(visitors) if v % 3}
    handed_over = FIRST + timedelta(days=14)
    tablet = visitors  # used by 5001 before, by 5002 after it is handed over
    for visitor in range(visitors + 1):
        is_bot = visitor % 13 == 12
        for _ in range(8 if visitor == tablet else chance.randint(1, 4)):
            begin = FIRST + timedelta(seconds=chance.randrange(int((LAST - FIRST).total_seconds())))
            customer = owners.get(visitor, "")
            if visitor == tablet:
                customer = "5001" if begin < handed_over else "5002"
                begin -= timedelta(hours=3 if begin < handed_over else -3)  # no session lies across
            person = make_id(int(customer), 0xC) if customer else make_id(visitor, 0xB)
            shop.visits.append(_make_visit(chance, len(shop.visits), visitor, person, customer, is_bot, begin))
    for visitor, customer in owners.items():
        shop.identity_map.append(_tie(make_id(visitor, 0xB), "visitor", customer))
    for customer in {*owners.values(), "5001", "5002"}:
        shop.identity_map.append(_tie(make_id(int(customer), 0xC), "customer", customer))
    shop.identity_map.append({**_tie(make_id(tablet, 0xB), "visitor", "5002"), "several": 1})
    for customer, begin, end in (
        ("5001", FIRST - timedelta(days=1), handed_over),
        ("5002", handed_over, LAST + timedelta(days=99)),
    ):
        row = _tie(make_id(tablet, 0xB), "visitor", customer)
        del row["key_kind"], row["key_customer_id"]
        shop.intervals.append({**row, "valid_from": begin.isoformat(), "valid_to": end.isoformat()})
    shop.landing = [_make_beacon(visit) for visit in shop.visits]
    shop.landing[0].rejected = [make_refusal("shape", field="e[0].t", digest="d1", events=2)]
    shop.landing[1].rejected = [make_refusal("shape", digest="d1", events=1), make_refusal("consent")]
    for number, row in enumerate(shop.landing[:2]):
        row.is_bot, row.received_at_ms = 0, _ms(FIRST + timedelta(days=number))
    for visit in shop.visits[:2]:
        visit.is_bot = False
        for happening in visit.happenings:
            happening.is_bot = False
    return shop


def _make_visit(
    chance: random.Random, number: int, visitor: int, person: str, customer: str, is_bot: bool, begin: datetime
) -> Visit:
    query, referrer, channel, campaign = chance.choice(ARRIVALS)
    link = f"token-{chance.randrange(12)}" if chance.random() < 0.25 else ""
    status = chance.choice(["unconfirmed", "confirmed", "confirmed", "expired", "forged"]) if link else ""
    if link and status != "forged":  # the campaign of a tagged link goes before, the channel of an utm medium too
        channel, campaign = ("link" if not query else channel), "mailing"
    visit = Visit(number, visitor, person, customer, is_bot, channel, campaign, (query, referrer))
    moment = begin
    names = [
        "page_view",
        *chance.choices(["page_view", "add_to_basket", "purchase"], [6, 2, 1], k=chance.randint(0, 6)),
    ]
    for place, name in enumerate(names):
        moment += timedelta(milliseconds=chance.randint(1000, 90_000))
        event_id = make_id(number * 100 + place, 0xE)
        value = round(chance.uniform(1, 99), 2) if name == "purchase" else 0.0
        visit.happenings.append(
            Happening(
                event_id,
                moment,
                name,
                chance.choice(PATHS),
                visitor,
                number,
                person,
                customer,
                is_bot,
                value,
                link,
                status,
            )
        )
    return visit


def _make_beacon(visit: Visit) -> LandingRow:
    query, referrer = visit.arrival
    events = []
    for place, h in enumerate(visit.happenings):
        first = place == 0
        events.append(
            EventRow(
                event_id=h.event_id,
                name=h.name,
                time_ms=_ms(h.time),
                url=f"https://shop.example{h.path}{'?' + query if first and query else ''}",
                referrer=referrer if first else "https://shop.example/",
                props=json.dumps({"value": h.value}) if h.value else "{}",
                sequence=place,
            )
        )
    start = visit.happenings[0]
    return LandingRow(
        received_at_ms=_ms(visit.end),
        site_id="shop",
        space_id="main",
        visitor_id=make_id(visit.visitor, 0xA),
        own_person_id=make_id(visit.visitor, 0xB),
        session_id=make_id(visit.session, 0x5),
        session_number=1,
        session_started_ms=_ms(visit.start),
        is_bot=int(visit.is_bot),
        link_status=start.link_status,
        link_token_id=start.link,
        link_campaign="mailing" if start.link else "",
        link_message="m-1" if start.link else "",
        events=events,
    )


def _tie(key: str, kind: str, customer: str) -> dict[str, Any]:
    return {
        "space_id": "main",
        "key": key,
        "key_kind": kind,
        "key_customer_id": customer if kind == "customer" else "",
        "person_id": make_id(int(customer), 0xC),
        "customer_id": customer,
        "customer_key": make_id(int(customer), 0xC),
        "valid_from": "1970-01-01T00:00:00",
        "level": 3,
        "version": 1,
    }


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
