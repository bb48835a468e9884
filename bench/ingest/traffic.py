"""Traffic as a shop's tag would make it: distinct beacons of many visitors, some new, some returning, some known.

A function of the seed, the keys and the clock that is passed in: the same three give the same bytes. What a beacon
holds is what the tag sends, so all of it must be accepted; a test sends it through the edge.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.ingest.shop import DESKTOPS, PHONES, Page, Shop
from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.identity.identifiers import own_person_id
from collector.keyring import Keyring
from collector.signing import sign_identify
from collector.sites.book import Site

SITE = Site(site_id="shop", origins=("https://shop.example",), consent="implied", identify_versions=(1,), keep_days=400)
COOKIE = "ts_shop"
NETWORKS = (80, 84, 91, 93, 178, 188)


@dataclass(frozen=True, slots=True)
class Request:
    """One beacon as it is sent. `event_ids` stand in the body, once each and all of one length."""

    body: bytes
    agent: str
    address: str
    cookie: str
    at_ms: int
    event_ids: tuple[str, ...]


@dataclass(slots=True)
class Visitor:
    """One browser. `customer`: the number under which it signs in, "" for never."""

    id: str
    agent: str
    address: str
    language: str
    time_zone: str
    viewport: str
    customer: str
    sessions: int = 0
    is_signed_in: bool = False
    has_cookie: bool = False


@dataclass(slots=True)
class _Noted:
    """What one page gave: the page, and the events on it with their times."""

    page: Page
    referrer: str
    events: list[dict[str, Any]] = field(default_factory=list)


class Traffic:
    """The visitors of one shop and what they send."""

    def __init__(self, seed: int, keyring: Keyring) -> None:
        self._rng = random.Random(seed)  # noqa: S311  traffic, not secrets
        self._shop = Shop(seed)
        self._keyring = keyring
        self._secret = keyring.derive_identify_secret(SITE.site_id, 1)
        self._known: list[Visitor] = []

    def make_session(self, start_ms: int, events_each: int = 0) -> list[Request]:
        """Return the beacons of one visitor's session that starts then.

        `events_each`: events of every beacon; 0: as the tag groups them, what a page begins with, then the rest of it.
        """
        rng = self._rng
        if self._known and rng.random() < 0.35:
            visitor = self._known[rng.randrange(len(self._known))]
        else:
            visitor = self._make_visitor(start_ms)
            self._known.append(visitor)
        visitor.sessions += 1
        session = {"i": self._make_id(start_ms), "n": visitor.sessions, "t": start_ms}
        pages = max(1, min(30, round(rng.lognormvariate(1.0, 0.8))))
        found = self._walk(visitor, session, start_ms, pages)
        if not events_each:
            groups = [group for noted in found for group in _group(noted)]
        else:
            while sum(len(noted.events) for noted in found) < events_each:
                last_ms = found[-1].events[-1]["t"]
                found += self._walk(visitor, session, last_ms + 1000, pages)
            flat = [(noted, event) for noted in found for event in noted.events]
            whole = len(flat) - len(flat) % events_each
            groups = [flat[at : at + events_each] for at in range(0, whole, events_each)]
        return [self._make_request(visitor, session, group) for group in groups]

    def make_stream(self, start_ms: int, span_ms: int, sessions: int, events_each: int = 0) -> Iterator[Request]:
        """Yield the beacons of many sessions, evenly over the span, in the order in which they are sent."""
        slices = max(1, sessions // 500)
        late: list[Request] = []
        for number in range(slices):
            begin, end = (start_ms + span_ms * at // slices for at in (number, number + 1))
            for at in range(sessions * number // slices, sessions * (number + 1) // slices):
                del at
                late += self.make_session(begin + int(self._rng.random() * (end - begin)), events_each)
            late.sort(key=lambda one: one.at_ms)
            due = next((index for index, one in enumerate(late) if one.at_ms >= end), len(late))
            yield from late[:due]
            del late[:due]
        yield from late

    def _make_visitor(self, at_ms: int) -> Visitor:
        rng = self._rng
        agent = self._shop.draw_agent(rng)
        language, zone = self._shop.draw_locale(rng)
        sizes = PHONES if "Mobile" in agent else DESKTOPS
        return Visitor(
            id=self._make_id(at_ms),
            agent=agent,
            address=".".join(str(part) for part in (rng.choice(NETWORKS), *rng.randbytes(3))),
            language=language,
            time_zone=zone,
            viewport=sizes[min(int(rng.expovariate(0.5)), len(sizes) - 1)],
            customer=str(100_000 + rng.randrange(400_000)) if rng.random() < 0.25 else "",
        )

    def _walk(self, visitor: Visitor, session: dict[str, Any], start_ms: int, pages: int) -> list[_Noted]:
        """Return what a walk over so many pages gives, one after the other."""
        rng, shop = self._rng, self._shop
        query, referrer = shop.draw_arrival(rng)
        at_ms = start_ms
        sequence = 0
        found: list[_Noted] = []

        def note(noted: _Noted, name: str, props: dict[str, Any] | None = None, **more: Any) -> None:
            nonlocal sequence
            sequence += 1
            event = {"i": self._make_id(at_ms), "n": name, "t": at_ms, "q": sequence, **more}
            if props:
                event["p"] = props
            noted.events.append(event)

        for number in range(pages):
            page = self._draw_page(number, pages)
            if number == 0 and query:
                page = Page(page.url + query, page.title, page.product, page.price, page.category)
            noted = _Noted(page, referrer)
            found.append(noted)
            touch = None
            if number == 0 and visitor.sessions == 1:
                touch = {"first_touch": {"referrer": referrer.split("/")[2] if referrer else "", "time": at_ms}}
            note(noted, "page_view", touch)
            if visitor.customer and not visitor.is_signed_in and (page is shop.account or rng.random() < 0.1):
                visitor.is_signed_in = True
                expires_s = at_ms // 1000 + 86_400  # the bench sends it until long after
                signature = sign_identify(self._secret, 1, SITE.site_id, "customer", visitor.customer, expires_s)
                note(noted, "identify", k=[{"k": "customer", "v": visitor.customer, "g": signature}])
            if page.product:
                item = {"product_id": page.product, "price": page.price, "category": page.category, "currency": "EUR"}
                note(noted, "product_view", item)
                at_ms += int(rng.lognormvariate(9.5, 0.9))
                if rng.random() < 0.15:
                    note(noted, "add_to_cart", {**item, "quantity": 1 + (rng.random() < 0.1)})
            elif page is shop.checkout:
                at_ms += int(rng.lognormvariate(10.5, 0.5))
                value = round(rng.lognormvariate(4.5, 0.7), 2)
                order = {"order_id": f"O{rng.randrange(10**7):07}", "value": value, "currency": "EUR", "items": 1}
                note(noted, "purchase", order)
            else:
                at_ms += int(rng.lognormvariate(9.0, 0.9))
            if rng.random() < 0.05:
                note(
                    noted,
                    "search",
                    {"query": " ".join(rng.sample(("lamp", "oak", "chair", "blue"), 2)), "results": rng.randrange(80)},
                )
            engaged = {"scroll_percent": rng.randrange(5, 101), "engaged_s": round(rng.lognormvariate(2, 1), 1)}
            note(noted, "engagement", engaged)
            vitals = {
                "lcp_ms": int(rng.lognormvariate(7.2, 0.5)),
                "inp_ms": 8 * rng.randrange(1, 30),
                "cls": round(rng.random() ** 3 / 5, 3),
                "fcp_ms": int(rng.lognormvariate(6.6, 0.5)),
                "ttfb_ms": int(rng.lognormvariate(5.0, 0.7)),
            }
            if rng.random() < 0.7:
                note(noted, "web_vitals", vitals)
            referrer = page.url.partition("?")[0]
            at_ms += 300 + int(rng.random() * 700)
        return found

    def _draw_page(self, number: int, pages: int) -> Page:
        rng, shop = self._rng, self._shop
        how = rng.random()
        if pages > 5 and number >= pages - 2:
            return shop.cart if number == pages - 2 else shop.checkout
        if number == 0 and how < 0.4:
            return shop.home
        if how < 0.6:
            return shop.draw_product(rng)
        if how < 0.96:
            return rng.choice(shop.categories)
        return shop.account

    def _make_request(
        self, visitor: Visitor, session: dict[str, Any], group: list[tuple[_Noted, dict[str, Any]]]
    ) -> Request:
        first, last_ms = group[0][0], group[-1][1]["t"]
        at_ms = last_ms + 20 + int(self._rng.random() * 200)
        envelope: dict[str, Any] = {
            "v": 1,
            "s": SITE.site_id,
            "st": at_ms,
            "d": visitor.id,
            "x": session,
            "l": visitor.language,
            "z": visitor.time_zone,
            "w": visitor.viewport,
            "u": first.page.url,
            "r": first.referrer,
            "h": first.page.title,
        }
        events = []
        for noted, event in group:
            if noted is not first:
                event = {**event, "u": noted.page.url, "r": noted.referrer, "h": noted.page.title}
            events.append(event)
        cookie = ""
        if visitor.has_cookie:
            signed_s = at_ms // 1000 - 60
            held = VisitorCookie(visitor.id, signed_s)
            if visitor.is_signed_in:
                key = own_person_id(self._keyring.pseudonym_key, SITE.space_id, "customer", visitor.customer)
                held = VisitorCookie(visitor.id, signed_s, 3, signed_s + 43_200, key)
            cookie = f"{COOKIE}={write_cookie(self._keyring, SITE.site_id, held)}"
        visitor.has_cookie = True
        return Request(
            body=msgspec.json.encode({**envelope, "e": events}),
            agent=visitor.agent,
            address=visitor.address,
            cookie=cookie,
            at_ms=at_ms,
            event_ids=tuple(event["i"] for event in events),
        )

    def _make_id(self, ms: int) -> str:
        low = self._rng.getrandbits(74)
        return (
            f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7{low & 0xFFF:03x}-{0x8000 | (low >> 12) & 0x3FFF:04x}-{low >> 26:012x}"
        )


def _group(noted: _Noted) -> list[list[tuple[_Noted, dict[str, Any]]]]:
    """Return the beacons of one page as the tag groups them: what it begins with, then what came while it was open."""
    begin_ms = noted.events[0]["t"]
    begin = [(noted, event) for event in noted.events if event["t"] == begin_ms]
    later = [(noted, event) for event in noted.events if event["t"] != begin_ms]
    return [group for group in (begin, later) if group]
