"""Poisoning by way of names and tokens: e-mails, links, signatures, keys. Nobody reads, merges or overwrites with them
what is not theirs.

Through the real collector and engine. Anna is the victim, Mallory the attacker: with accounts of his own, so that the
site signs for those, and never hers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest
from known_sites import PATIENCE_S

from collector.sites.book import Issuer, Site
from tests.edge_examples import CHROME
from tests.id_tokens.token_makers import AUDIENCE, IssuerServer, make_token, running_issuer
from tests.identity_drive import (
    EMAIL,
    KINDS,
    TRACK,
    Browser,
    Space,
    World,
    assert_anna_is_whole,
    make_anna,
    name_origin,
    running_world,
)

pytestmark = [pytest.mark.engine, pytest.mark.long]
FEW = Site("few", kinds=tuple(msgspec.structs.replace(kind, max_visitors=4) for kind in KINDS))


@pytest.fixture(scope="module")
def issuer() -> Iterator[IssuerServer]:
    """An issuer of ID tokens."""
    with running_issuer() as server:
        server.publish()
        yield server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, issuer: IssuerServer) -> Iterator[World]:
    """One instance for the module, with the issuer's keys read."""
    bank = Site("bank", kinds=KINDS, issuers=(Issuer(issuer.url, AUDIENCE),))
    with running_world(tmp_path_factory.mktemp("names"), spaces=18, special=[FEW, bank]) as running:
        copy = running.instance.data / "web" / "issuer_keys.json"
        deadline = time.monotonic() + PATIENCE_S
        while not copy.exists():
            assert time.monotonic() < deadline, running.instance.log[-2000:]
            time.sleep(0.05)
        yield running


@pytest.fixture
def space(world: World) -> Space:
    """A space of the test's own."""
    return world.take_space()


@pytest.fixture
def anna(space: Space) -> Browser:
    """Anna's browser: a page, a sign-in with her e-mail, all long before Mallory comes. Her cookie is two days old."""
    return make_anna(space)


@pytest.fixture
def mallory(space: Space) -> Browser:
    """Mallory's own browser."""
    browser = space.browser()
    browser.view(ago_h=20)
    return browser


def test_claiming_anothers_e_mail_without_a_signature_gives_nothing(
    space: Space, anna: Browser, mallory: Browser
) -> None:
    """The claim stays a hint on Mallory's visitor, and the answer is that to an e-mail which nobody has."""
    known, unknown = mallory.claim(email=EMAIL, ago_h=9), mallory.claim(email="annie@shop.example", ago_h=8)
    assert (known.status, known.rejected, known.said) == (unknown.status, unknown.rejected, unknown.said)
    mallory.view(ago_h=7)
    space.settle()
    assert space.who(mallory) == [""] * 4
    assert set(space.persons(mallory)).isdisjoint(space.persons(anna))
    assert_anna_is_whole(space, anna)


def test_signing_up_with_anothers_e_mail_does_not_merge(space: Space, anna: Browser, mallory: Browser) -> None:
    """The shop signs Mallory's account with the address he typed: he gets his account and not Anna's e-mail."""
    mallory.sign_in(customer="mallory", email=EMAIL, ago_h=9)
    space.settle()
    assert space.who(mallory) == ["mallory", "mallory"]
    assert space.owners("email") == ["anna"]
    assert space.refused() == ["two_people"]
    assert_anna_is_whole(space, anna)


def test_a_forwarded_link_clicked_by_many_does_not_fuse_the_customer(world: World) -> None:
    """Mallory has a link of Anna's and as many visitors as he likes: she is not the shared key that this looks like."""
    space = world.named["few"]
    anna, token = space.browser(), space.mint("anna")
    anna.sign_in(customer="anna", ago_h=30)
    thieves = [space.browser() for _ in range(6)]
    for browser in thieves:
        browser.click(token, ago_h=9)
    space.settle()
    assert space.who(anna) == ["anna"]
    assert [space.who(browser) for browser in thieves[2:]] == [["", ""]] * 4


def test_a_link_to_mallory_mailed_to_a_list_captures_nobody(space: Space, anna: Browser) -> None:
    """Mallory mails a link that names himself to everybody: who is known stays so, strangers are at most
    provisionally his, only two of them, until they sign in."""
    token = space.mint("mallory")
    anna.click(token, ago_h=8)
    strangers = [space.browser() for _ in range(4)]
    for place, browser in enumerate(strangers):
        browser.click(token, ago_h=20 - place)
    strangers[0].sign_in(customer="ben", ago_h=7)
    space.settle()
    assert_anna_is_whole(space, anna, "anna", "anna")
    assert space.who(strangers[0]) == ["ben"] * 3
    assert [space.who(browser) for browser in strangers[1:]] == [["mallory?"] * 2, ["", ""], ["", ""]]
    assert sorted(space.customers()) == ["anna", "ben", "mallory?"]


def test_forged_expired_and_foreign_links_attach_nobody(world: World, space: Space, mallory: Browser) -> None:
    """A changed token, one that is over, and one of another space: each is named for what it is."""
    good, other = space.mint("anna"), world.take_space()
    head, _, signature = good.rpartition(".")
    forged = f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for place, token in enumerate((forged, space.mint("anna", days=1), other.mint("anna"))):
        mallory.click(token, ago_h=9 - place)
    space.settle()
    assert set(space.who(mallory)) == {""}
    statuses = "SELECT link_status FROM v_events WHERE space_id = {space:String} AND event_name = 'link_confirm'"
    assert [row["link_status"] for row in space.query(f"{statuses} ORDER BY time")] == ["forged", "expired", "forged"]


def test_a_link_does_not_sign_in(space: Space, anna: Browser, mallory: Browser) -> None:
    """Mallory clicks Anna's link: level 2, provisional, on his own visitor's time only; her history stays apart."""
    mallory.click(space.mint("anna"), ago_h=9)
    mallory.view(ago_h=8.9)
    space.settle()
    assert space.who(mallory) == ["", "anna?", "anna?", "anna?"]
    levels = "SELECT DISTINCT assurance FROM v_events WHERE visitor_id = {v:UUID} ORDER BY assurance"
    assert [row["assurance"] for row in space.query(levels, v=mallory.visitor)] == [0, 2]
    assert space.persons(anna) == [space.customers()["anna"]]
    assert_anna_is_whole(space, anna)


def test_a_scanner_that_fakes_a_touch_is_still_a_scanner(space: Space) -> None:
    """An automated browser, a robot by its name, and signals that no person gives: no link is confirmed."""
    token = space.mint("anna")
    robots = [
        space.browser(more={"b": 1}),
        space.browser(user_agent="Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
        space.browser(),
        space.browser(),
    ]
    for robot, human in zip(robots, ("pointer", "touch", "scroll", ""), strict=True):
        robot.land(token, ago_h=9)
        robot.touch(token, ago_h=8, human=human)
    space.settle()
    assert [space.who(robot) for robot in robots] == [["", ""]] * 4
    assert space.customers() == {}


def test_a_stolen_signature_says_only_what_it_was_made_for(world: World, space: Space, mallory: Browser) -> None:
    """Another value, kind, site, space or time: refused, each with its reason, and nothing of it is kept."""
    signed, other = space.sign("customer", "mallory"), world.take_space()
    second_site = space.sign("customer", "anna", site=space.site_ids[1])
    for stolen, reason in (
        ({**signed, "v": "anna"}, "signature"),
        ({**signed, "k": "login"}, "signature"),
        (second_site, "signature"),
        (other.sign("customer", "anna"), "signature"),
        (space.sign("customer", "anna", expires_s=space.world.now_ms // 1000 - 3600), "expired"),
    ):
        answer = mallory.send(mallory.make_event("identify", 9, k=[stolen]))
        assert answer.rejected == reason
    space.settle()
    assert space.customers() == {}


def test_guessing_customer_ids_through_the_api_tells_nothing(space: Space, anna: Browser, mallory: Browser) -> None:
    """Without a key, with a key that only tracks, and as a page: the answer to a hit is the answer to a miss."""
    space.settle()
    headers = {"Authorization": "Bearer ts_0123456789ab_guess", "Content-Type": "application/json"}
    forged = {"k": "customer", "g": f"1.{space.world.now_ms // 1000 + 600}.{'0' * 64}"}
    answers = []
    for name in ("anna", "annie"):
        call = {"event": "Guess", "userId": name, "anonymousId": mallory.visitor}
        event = mallory.make_event("identify", 1, k=[{**forged, "v": name}])
        answers.append(
            [
                (answer.status, answer.rejected, answer.said)
                for answer in (
                    space.world.post("/v1/track", call, headers),
                    space.call("track", *TRACK, **call),
                    space.call("identify", *TRACK, userId=name, anonymousId=mallory.visitor),
                    mallory.claim(customer=name),
                    mallory.send(event),
                )
            ]
        )
    assert answers[0] == answers[1]
    assert [status for status, _, _ in answers[0]] == [401, 200, 403, 204, 204]
    space.settle()
    assert set(space.who(mallory)) == {""}
    assert list(space.customers()) == ["anna"]


def test_a_key_of_another_space_reaches_nobody_here(world: World, space: Space, anna: Browser) -> None:
    """A server of another organisation names Anna's site, her number, her e-mail and her visitor."""
    other = world.take_space()
    said = {"userId": "anna", "anonymousId": anna.visitor}
    refused = other.call("identify", **said, context={"siteId": space.site_id})
    assert (refused.status, refused.rejected) == (404, "site")
    external = [{"type": "email", "id": EMAIL}]
    taken = {"userId": "mallory", "anonymousId": anna.visitor}
    own = other.call("identify", **taken, context={"siteId": other.site_id, "externalIds": external})
    assert own.status == 200
    other.settle()
    space.settle()
    assert other.customers().keys() == {"mallory"}
    assert space.customers().keys() == {"anna"}
    assert_anna_is_whole(space, anna)


def test_an_unsigned_claim_after_a_signed_sign_in_lowers_nothing(space: Space, anna: Browser) -> None:
    """A script on Anna's page says that she is Mallory: she stays Anna, at the level at which she signed in."""
    anna.view(ago_h=38)
    anna.claim(customer="mallory", ago_h=37)
    anna.send(anna.make_event("alias", 36, k=[{"k": "customer", "v": "mallory"}]))
    anna.view(ago_h=35)
    space.settle()
    assert_anna_is_whole(space, anna, *["anna"] * 4)
    levels = "SELECT assurance FROM v_events WHERE visitor_id = {v:UUID} AND customer_id_then = 'anna' ORDER BY time"
    assert {row["assurance"] for row in space.query(levels, v=anna.visitor)} == {3}
    assert list(space.customers()) == ["anna"]


def test_a_stolen_hand_over_token_hands_nobody_over(space: Space, anna: Browser) -> None:
    """From another browser it is refused; from one just like Anna's it counts for one arrival, and that was hers."""
    other = space.site_ids[1]
    token = anna.view(xl=1).said["x"]
    came_from = f"{name_origin(space.site_id)}/"
    thief = Browser(space, user_agent=CHROME.replace("140.0", "139.0"))
    assert thief.view(site=other, ho=token, r=came_from).rejected == "handover"
    assert anna.view(site=other, ho=token, r=came_from).rejected == ""
    twin = Browser(space)
    assert twin.view(site=other, ho=token, r="https://mail.example/").rejected == "handover"
    assert twin.view(site=other, ho=token, r=came_from).rejected == ""
    space.settle()
    assert space.who(anna, other) == ["anna?"]
    assert [set(space.who(browser, other)) for browser in (thief, twin)] == [{""}, {""}]
    assert space.refused() == ["replayed"]


def test_an_id_token_for_another_audience_signs_nobody_in(world: World, issuer: IssuerServer) -> None:
    """Mallory runs a site of his own at the same issuer: the token that Anna gave him there says nothing here. Nor
    does one of another issuer, nor one that is over."""
    space, now_s = world.named["bank"], world.now_ms // 1000
    mallory = space.browser()
    good = {"iss": issuer.url, "aud": AUDIENCE, "sub": "anna", "iat": now_s, "exp": now_s + 600}
    for claims, reason in (
        ({**good, "aud": "mallorys-client"}, "signature"),
        ({**good, "aud": [AUDIENCE, "mallorys-client"], "azp": "mallorys-client"}, "signature"),
        ({**good, "iss": "https://mallory.example"}, "signature"),
        ({**good, "iat": now_s - 7200, "exp": now_s - 3600}, "expired"),
    ):
        event = mallory.make_event("identify", 1, k=[{"k": "customer", "v": "", "j": make_token(claims)}])
        assert mallory.send(event).rejected == reason
    space.settle()
    assert space.customers() == {}
