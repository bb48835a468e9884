"""Rates: what one address or one site may send, how it is told to wait, and that a flood costs no memory."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from collector.config import Config
from collector.endpoints import beacon, pixel
from collector.endpoints.edge import Edge
from collector.endpoints.limits import MAX_WAIT_S, SITE_BURST_S, Pace, RateLimits, find_key
from collector.errors import ConfigError
from collector.event import LandingRow
from collector.metrics import read_totals
from collector.sites.book import Site, SiteBook
from collector.sites.validate import validate_site
from tests.edge_examples import KEYRING, NOW_MS, ORIGIN, SITE, make_body, make_event, make_id

GOOD = msgspec.json.encode(make_body())
CLIENT = "203.0.113.77"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Web:
    """The endpoints on an edge of their own, asked from any address."""

    def __init__(self, *, rate: float = 0.0, **settings: Any) -> None:
        self.clock = Clock()
        self.lines: list[bytes] = []
        book = SiteBook(sites={"shop": msgspec.structs.replace(SITE, rate=rate)}, read_at_ms=NOW_MS)
        edge = Edge(Config(**settings), KEYRING, lambda: book, self, lambda: NOW_MS)
        self.edge = dataclasses.replace(edge)
        config = self.edge.config
        self.edge.__dict__["limits"] = RateLimits(
            address_rate=config.address_rate, address_burst=config.address_burst, clock=self.clock
        )
        self._app = Starlette(routes=[*beacon.routes(self.edge), *pixel.routes(self.edge)])

    async def append(self, line: bytes) -> None:
        """Take what is spooled."""
        self.lines.append(line)

    def send(self, *, client: str = CLIENT, body: bytes = GOOD, headers: dict[str, str] | None = None) -> Any:
        """Send one beacon and return the answer."""
        return self.ask("POST", "/x/b", client, content=body, headers={"Origin": ORIGIN, **(headers or {})})

    def ask(self, method: str, path: str, client: str = CLIENT, **more: Any) -> httpx.Response:
        """Send any request."""

        async def talk() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=(client, 5000))
            async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as session:
                answer = await session.request(method, path, **more)
            await self.edge.refusals.flush()
            return answer

        return asyncio.run(talk())

    @property
    def rows(self) -> list[LandingRow]:
        """What was spooled."""
        return [msgspec.json.decode(line, type=LandingRow) for line in self.lines]


def count_limited(scope: str) -> int:
    """Return how many requests were answered 429 so far."""
    return read_totals().counters.get("limited_requests", {}).get(scope, 0)


def test_an_address_over_its_rate_is_told_when_to_come_again() -> None:
    """The burst passes, the next one is 429 with the reason and the wait, and after the wait it passes."""
    web = Web(address_rate=2, address_burst=3)
    before = count_limited("address")
    assert [web.send().status_code for _ in range(3)] == [204] * 3
    refused = web.send()
    assert refused.status_code == 429
    assert refused.headers["x-tagstitch-rejected"] == "rate"
    assert refused.headers["access-control-allow-origin"] == ORIGIN, "the page may read it"
    assert "Retry-After" in refused.headers["access-control-expose-headers"]
    assert refused.json()["retry"] is True
    assert web.send(client="203.0.113.78").status_code == 204, "another address is not concerned"
    web.clock.now_s += int(refused.headers["retry-after"])
    assert web.send().status_code == 204
    assert count_limited("address") - before == 1
    [refusal] = [row for row in web.rows if row.rejected]
    assert (refusal.rejected[0].step, refusal.rejected[0].reason, refusal.rejected[0].beacons) == ("read", "rate", 1)
    assert CLIENT.encode() not in b"".join(web.lines)


def test_refused_ones_do_not_push_the_wait_away() -> None:
    """Who goes on sending too fast still gets the rate, and no more."""
    web = Web(address_rate=1, address_burst=1)
    kept = 0
    for _ in range(100):
        kept += web.send().status_code == 204
        web.clock.now_s += 0.1
    assert kept == 10


def test_the_pixel_counts_too() -> None:
    """A picture is always shown, but beyond the rate nothing is kept."""
    web = Web(address_rate=1, address_burst=2)
    for _ in range(5):
        answer = web.ask("GET", f"/x/p.gif?s=shop&c=ai&u={ORIGIN}/page", headers={"Referer": f"{ORIGIN}/page"})
        assert answer.status_code == 200
    assert sum(len(row.events) for row in web.rows) == 2
    assert sum(refusal.beacons for row in web.rows for refusal in row.rejected) == 3


def test_the_client_is_told_from_the_proxy() -> None:
    """Behind a trusted proxy each client has a rate; what it writes into the header itself gives it no second one."""
    web = Web(address_rate=1, address_burst=1, trusted_proxies="10.0.0.0/8")
    assert web.send(client="10.0.0.1", headers={"X-Forwarded-For": "198.51.100.1"}).status_code == 204
    assert web.send(client="10.0.0.1", headers={"X-Forwarded-For": "198.51.100.2"}).status_code == 204
    for forged in ("198.51.100.1", "192.0.2.9, 198.51.100.1", "192.0.2.10, 10.9.9.9, 198.51.100.1, 10.0.0.7"):
        assert web.send(client="10.0.0.1", headers={"X-Forwarded-For": forged}).status_code == 429
    stranger = [web.send(client=CLIENT, headers={"X-Forwarded-For": f"198.51.100.{n}"}).status_code for n in (7, 8)]
    assert stranger == [204, 429]


def test_this_machine_and_no_rate_have_no_bound() -> None:
    """Loopback is not limited, and a rate of 0 limits nobody."""
    web = Web(address_rate=1, address_burst=1)
    for client in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert [web.send(client=client).status_code for _ in range(3)] == [204] * 3
    web = Web(address_rate=0, address_burst=1)
    assert [web.send().status_code for _ in range(5)] == [204] * 5


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("203.0.113.1", "203.0.113.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:db8::1%eth0", "2001:DB8:0:0::2", True),
        ("::ffff:203.0.113.1", "203.0.113.1", True),
    ],
)
def test_who_counts_as_one(one: str, other: str, are_one: bool) -> None:
    """IPv4 addresses each by themselves, IPv6 by their /64."""
    assert (find_key(one) == find_key(other)) is are_one
    assert find_key(one)


@given(st.text(max_size=80))
def test_any_text_has_a_key(text: str) -> None:
    """What is no address makes no trouble."""
    find_key(text)


def test_a_site_over_its_rate() -> None:
    """Events count, not beacons; a large beacon passes, and is worked off before the next one."""
    web = Web(rate=10)
    three = msgspec.json.encode(make_body(*(make_event(i=make_id(n)) for n in range(3))))
    before = count_limited("site")
    answers = []
    for _ in range(60):
        answers.append(web.send(body=three))
        web.clock.now_s += 0.01
    kept = [answer for answer in answers if answer.status_code == 204]
    assert 10 * SITE_BURST_S / 3 <= len(kept) <= 10 * SITE_BURST_S / 3 + 5
    refused = answers[-1]
    assert refused.status_code == 429
    assert refused.headers["x-tagstitch-rejected"] == "rate"
    assert int(refused.headers["retry-after"]) >= 1
    assert count_limited("site") - before == 60 - len(kept)
    sums = [refusal for row in web.rows for refusal in row.rejected]
    assert {(refusal.step, refusal.reason) for refusal in sums} == {("pace", "rate")}
    assert sum(refusal.events for refusal in sums) == 3 * (60 - len(kept))
    assert {row.site_id for row in web.rows} == {"shop"}
    web.clock.now_s += 60
    assert web.send(body=three).status_code == 204


def test_a_site_over_its_rate_is_told_when_to_come_again() -> None:
    """The wait is the site's own: just before its end the same is refused again, after it it passes."""
    web = Web(rate=10)
    many = msgspec.json.encode(make_body(*(make_event(i=make_id(n)) for n in range(400))))
    assert web.send(body=many).status_code == 204
    refused = web.send()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, str(int(400 / 10 - SITE_BURST_S)))
    web.clock.now_s += int(refused.headers["retry-after"]) - 0.5
    early = web.send()
    assert (early.status_code, early.headers["retry-after"]) == (429, "1")
    web.clock.now_s += 1
    assert web.send().status_code == 204


def test_nobody_is_told_to_wait_for_ever() -> None:
    """A beacon that takes a small rate an hour to work off: who comes after the longest wait is told again."""
    web = Web(rate=0.1)
    many = msgspec.json.encode(make_body(*(make_event(i=make_id(n)) for n in range(400))))
    assert web.send(body=many).status_code == 204
    assert [web.send().headers["retry-after"] for _ in range(2)] == [str(MAX_WAIT_S)] * 2
    limits = RateLimits(address_rate=1, address_burst=100, workers=8, clock=web.clock)
    site = msgspec.structs.replace(SITE, rate=0.01)
    assert [limits.judge_site(site, 500) for _ in range(2)] == [0, MAX_WAIT_S]


def test_other_origins_use_nothing_of_a_sites_rate_up() -> None:
    """Whoever writes beacons on a page of his own cannot silence the site."""
    web = Web(rate=1)
    for _ in range(50):
        assert web.send(headers={"Origin": "https://evil.example"}).status_code == 403
    assert web.send().status_code == 204


def test_web_processes_share_a_sites_rate() -> None:
    """Of two processes each takes half."""
    clock = Clock()
    alone, half = (RateLimits(address_rate=0, address_burst=1, workers=n, clock=clock) for n in (1, 2))
    site = Site(site_id="shop", rate=100)
    taken = [sum(not limits.judge_site(site, 1) for _ in range(5000)) for limits in (alone, half)]
    assert taken[0] == pytest.approx(2 * taken[1], rel=0.01)


@pytest.mark.parametrize("rate", [-1, 1e9, math.nan, math.inf])
def test_a_rate_that_makes_no_sense_is_refused(rate: float) -> None:
    """The setting is named."""
    with pytest.raises(ConfigError, match="rate"):
        validate_site(Site(site_id="shop", rate=rate))


def test_a_flood_from_everywhere_costs_no_memory() -> None:
    """Beyond the most keys the idle ones are forgotten, then the oldest; who is over his rate at the end still is."""
    clock = Clock()
    pace = Pace(most_keys=100, clock=clock)
    for number in range(10_000):
        pace.find_wait_s(number, 1.0, 0.0)
        assert len(pace) <= 100
    assert pace.find_wait_s(9_999, 1.0, 0.0) == 1.0
    clock.now_s += 10
    assert pace.find_wait_s("new", 1.0, 0.0) == 0.0
    for number in range(100):
        pace.find_wait_s(number, 1.0, 0.0)
    assert len(pace) <= 100


def make_steps() -> Iterator[tuple[float, int]]:
    """Return seconds that pass, and the most requests that may have passed by then, for 5 a second and 10 at once."""
    for step in range(1, 40):
        yield step * 0.25, 10 + math.floor(step * 0.25 * 5)


def test_never_more_than_rate_and_burst() -> None:
    """Over any time no more than the burst and what the rate gives has passed, and no less."""
    clock = Clock()
    limits = RateLimits(address_rate=5, address_burst=10, clock=clock)
    passed = 0
    for at, most in make_steps():
        clock.now_s = 1000.0 + at
        passed += sum(not limits.judge_address(CLIENT) for _ in range(50))
        assert most - 3 <= passed <= most
