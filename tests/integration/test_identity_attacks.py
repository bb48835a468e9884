"""Poisoning by way of the visitor: who knows, plants or tosses ids and cookies gets nothing that is not theirs.

Through the real collector and engine. Anna is the victim, Mallory the attacker: with accounts of his own, so that the
site signs for those, and never hers.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.edge_examples import CHROME
from tests.identity_drive import (
    DAYS_2,
    EMAIL,
    Browser,
    Space,
    World,
    assert_anna_is_whole,
    make_anna,
    make_uuid,
    running_world,
)

pytestmark = pytest.mark.engine
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module."""
    with running_world(tmp_path_factory.mktemp("attacks"), spaces=19) as running:
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


def ask_proved(space: Space, browser: Browser) -> list[str]:
    """Return whose the events are that the visitor's cookie proves, in order of time."""
    rows = space.query(
        "SELECT customer_id FROM v_events WHERE space_id = {space:String} AND visitor_id = {visitor:UUID}"
        " AND visitor_proof = 'cookie' ORDER BY time, event_id",
        visitor=browser.visitor,
    )
    return [row["customer_id"] for row in rows]


def test_a_sign_in_on_a_known_visitor_id_takes_no_history(space: Space) -> None:
    """Mallory knows an anonymous visitor's id and signs in on it, as if days ago: what it did stays nobody's."""
    victim = space.browser(age_h=DAYS_2)
    victim.view(ago_h=30)
    answer = space.impostor(victim).sign_in(customer="mallory", ago_h=40)
    assert answer.headers["Set-Cookie"] is None
    space.settle()
    assert space.who(victim)[-1] == ""


def test_a_sign_in_on_a_known_visitor_id_takes_no_future(space: Space) -> None:
    """What the victim's cookie proves afterwards is not Mallory's; and Anna gets her history when she signs in."""
    victim = space.browser(age_h=DAYS_2)
    victim.view(ago_h=30)
    space.impostor(victim).sign_in(customer="mallory")
    victim.view(ago_h=-0.01)
    space.settle()
    assert ask_proved(space, victim) == ["", "", ""]
    victim.sign_in(customer="anna", ago_h=-0.02)
    victim.view(ago_h=-0.03)
    space.settle()
    assert ask_proved(space, victim) == ["anna", "anna", "", "anna", "anna"]


def test_a_visitor_id_learnt_within_its_first_day_gets_nobody_else_a_cookie(space: Space, mallory: Browser) -> None:
    """Mallory knows the id of a visitor who has only just come, and names it from his browser: at once, with a
    sign-in, after a reset of his own. No answer makes a cookie for it, so he neither inherits nor becomes it."""
    victim = space.browser()
    victim.view(ago_h=30)
    impostor = Browser(space, visitors=dict(victim.visitors), user_agent=FIREFOX)
    assert impostor.view().headers["Set-Cookie"] is None
    assert impostor.sign_in(customer="mallory", ago_h=40).headers["Set-Cookie"] is None
    mallory.user_agent = FIREFOX
    own = mallory.visitor
    mallory.visitors = dict(victim.visitors)
    given = mallory.send(mallory.make_event("reset", 0.0), rf=own).headers["Set-Cookie"] or ""
    assert victim.visitor not in given
    victim.view(ago_h=-0.01)
    space.settle()
    assert set(ask_proved(space, victim)) == {""}


def test_a_sign_in_on_a_known_customers_visitor_id_does_not_switch(space: Space, anna: Browser) -> None:
    """Anna is signed in; Mallory names her visitor id: her events before and after are hers."""
    answer = space.impostor(anna).sign_in(customer="mallory")
    assert answer.said == {}
    anna.view(ago_h=-0.01)
    space.settle()
    assert set(ask_proved(space, anna)) == {"anna"}


def test_a_customers_time_is_not_ended_by_who_knows_the_visitor_id(space: Space, anna: Browser) -> None:
    """Mallory signs Anna out in two ways, with the same id and with a new one: she is there all the same."""
    impostor = space.impostor(anna)
    impostor.send(impostor.make_event("reset", 30))
    impostor.sign_out(ago_h=29)
    anna.view(ago_h=28)
    space.settle()
    assert_anna_is_whole(space, anna, "anna", "anna")


def test_an_anonymous_history_is_not_cut_off_by_who_knows_the_visitor_id(space: Space) -> None:
    """Mallory's sign-out in the name of an anonymous visitor does not keep its history from Anna's sign-in."""
    victim = space.browser(age_h=DAYS_2)
    victim.view(ago_h=30)
    space.impostor(victim).sign_out(ago_h=20)
    victim.sign_in(customer="anna", ago_h=10)
    space.settle()
    assert space.who(victim) == ["anna", "anna"]


def test_a_sign_in_under_a_known_event_id_ties_nothing_to_annas_keys(space: Space) -> None:
    """Mallory knows Anna's visitor id and the id of the event by which she gave her e-mail. He sends that event again,
    with his own signed customer number in it: her e-mail does not become his, on this browser or another."""
    anna = space.browser(age_h=DAYS_2)
    given = anna.make_event("identify", 2.0, k=[space.sign("email", "anna@shop.example")])
    anna.send(given)
    space.impostor(anna).send({**given, "k": [space.sign("customer", "mallory")]})
    phone = space.browser()
    phone.sign_in(email="anna@shop.example", ago_h=-0.01)
    space.settle()
    assert set(ask_proved(space, phone)) == set(ask_proved(space, anna))
    assert "mallory" not in ask_proved(space, anna)


def test_a_sign_in_under_a_known_event_id_ties_nothing_where_nobody_is_proved(space: Space) -> None:
    """The same on a browser that keeps no cookies, so that nothing proves Anna either: what she said in one event is
    one request, and what Mallory said in it is another. Sent again, hers is the same."""
    anna = space.impostor(space.browser(age_h=DAYS_2))
    given = anna.make_event("identify", 0.02, k=[space.sign("email", EMAIL), space.sign("phone", "+4930123456")])
    anna.send(given)
    space.impostor(anna).send({**given, "k": [space.sign("customer", "mallory")]})
    anna.send(given)
    phone, other = space.browser(), space.browser()
    phone.sign_in(email=EMAIL, ago_h=-0.01)
    other.sign_in(phone="+4930123456", ago_h=-0.01)
    space.settle()
    assert "mallory" not in space.who(phone) + space.who(other)
    assert space.persons(phone) == space.persons(other)
    told = "SELECT count() AS n FROM v_identity_evidence WHERE space_id = {space:String} AND event_id = {event:UUID}"
    assert space.query(told, event=given["i"]) == [{"n": 3}]


@pytest.mark.long
def test_six_accounts_on_a_known_visitor_id_make_no_shared_device(space: Space, anna: Browser) -> None:
    """Mallory signs six accounts of his in on Anna's visitor id: it does not become a device of many people."""
    for number in range(6):
        space.impostor(anna).sign_in(customer=f"mallory-{number}")
    anna.view(ago_h=30)
    anna.view(ago_h=-0.01)
    space.settle()
    assert set(ask_proved(space, anna)) == {"anna"}


@pytest.mark.long
def test_fifty_accounts_on_a_known_visitor_id_do_not_fuse_it(space: Space, anna: Browser) -> None:
    """A flood of accounts that nobody's cookie proves: Anna's browser is Anna's."""
    for number in range(52):
        space.impostor(anna).sign_in(customer=f"mallory-{number}")
    space.settle()
    assert space.who(anna)[:2] == ["anna", "anna"]


def test_a_tossed_cookie_does_not_take_the_victims_place(space: Space, anna: Browser, mallory: Browser) -> None:
    """From a host beside the shop's Mallory plants his own valid cookie, before and after Anna's; and forged ones."""
    hers, his = anna.cookies[space.site_id], mallory.cookies[space.site_id]
    name, _, value = hers.partition("=")
    forged = f"{name}={mallory.visitor}{value[36:]}"
    for place, cookie in enumerate((f"{his}; {hers}", f"{hers}; {his}", f"{forged}; {hers}", f"{hers}; {forged}")):
        answer = anna.view(ago_h=30 - place, cookie=cookie)
        assert (answer.status, answer.said) == (204, {})
    alone = mallory.view(ago_h=9, cookie=forged)
    assert alone.said == {}
    space.settle()
    assert_anna_is_whole(space, anna, *["anna"] * 4)
    assert space.who(mallory) == ["", ""]


def test_a_cookie_of_another_site_proves_nothing(space: Space, anna: Browser) -> None:
    """Carried to the space's second site under that site's name, Anna's cookie is no cookie."""
    other = space.site_ids[1]
    value = anna.cookies[space.site_id].partition("=")[2]
    thief = Browser(space, visitors={other: anna.visitor})
    answer = thief.view(site=other, cookie=f"ts_{other}={value}")
    assert answer.headers["Set-Cookie"] is None
    space.settle()
    proofs = "SELECT visitor_proof FROM v_events WHERE space_id = {space:String} AND site_id = {site:String}"
    assert {row["visitor_proof"] for row in space.query(proofs, site=other)} == {"script"}


def test_a_planted_visitor_id_loses_to_the_cookie(space: Space, anna: Browser, mallory: Browser) -> None:
    """Mallory gets his visitor id into Anna's script: her cookie wins, and her tag is told so."""
    anna.visitors[space.site_id] = mallory.visitor
    own = anna.cookies[space.site_id]
    answer = anna.view()
    assert answer.said == {"d": anna.visitor}
    assert anna.cookies[space.site_id] == own
    assert anna.visitor != mallory.visitor
    space.settle()
    assert_anna_is_whole(space, anna, "anna")
    assert space.who(mallory) == [""]


def test_a_planted_visitor_id_does_not_make_mallorys_events_annas(space: Space) -> None:
    """Anna's browser is new and has taken Mallory's id over: she signs in on it, and what his cookie proves is not
    hers."""
    mallory = space.browser(age_h=DAYS_2)
    mallory.view(ago_h=20)
    anna = Browser(space, visitors=dict(mallory.visitors))
    answer = anna.sign_in(customer="anna")
    assert answer.headers["Set-Cookie"] is None
    anna.view(ago_h=-0.01)
    mallory.view(ago_h=-0.02)
    space.settle()
    seen = (
        "SELECT customer_id, visitor_proof FROM v_events WHERE visitor_id = {v:UUID}"
        " AND event_name = 'page_view' ORDER BY time"
    )
    found = [(row["customer_id"], row["visitor_proof"]) for row in space.query(seen, v=mallory.visitor)]
    assert found == [("", "cookie"), ("", "cookie"), ("anna", "script"), ("", "cookie")]


def test_junk_ids_are_refused_and_leave_nothing(space: Space) -> None:
    """Visitor ids and customer ids of every wrong form: no visitor, no customer, no evidence."""
    mallory = Browser(space)
    for junk in ("x", "0" * 36, "../../etc/passwd", "' OR 1=1 --", "00000000-0000-0000-0000-000000000000"):
        answer = mallory.view(d=junk)
        assert (answer.status, answer.said["error"]) == (400, "id")
    mallory.view()
    for kind, value in (
        ("visitor", mallory.visitor),
        ("admin", "anna"),
        ("customer", ""),
        ("customer", "a\x00b"),
        ("customer", "x" * 5_000),
        ("email", "no address"),
    ):
        answer = mallory.claim(**{kind: value})
        assert answer.rejected in ("shape", "size", "blocked"), (kind, answer)
    space.settle()
    count = "SELECT count() AS n FROM v_identity_evidence WHERE space_id = {space:String} AND level < 3"
    assert space.query(count) == [{"n": 0}]
    assert space.customers() == {}


@pytest.mark.long
def test_a_flood_of_one_visitor_id_changes_nobodys_map(space: Space, anna: Browser) -> None:
    """Two hundred beacons from elsewhere under Anna's visitor id, claims among them: her map is what it was."""
    space.settle()
    rows = (
        "SELECT * FROM v_identity_map WHERE space_id = {space:String} AND NOT startsWith(customer_id, 'mark-')"
        " ORDER BY ALL"
    )
    before = space.query(rows)
    impostor = space.impostor(anna)
    for number in range(100):
        impostor.claim(customer=f"nobody-{number}")
        impostor.view(ago_h=number / 10)
    space.settle()
    assert space.query(rows) == before
    assert space.who(anna)[:2] == ["anna", "anna"]


def test_a_kiosk_gives_the_next_person_nothing_of_the_last(space: Space) -> None:
    """Many people sign in at a kiosk and forget to sign out: an hour later nobody is there, and who signs in then
    gets no history of it."""
    kiosk = space.browser()
    for place, name in enumerate(("ben", "cleo", "dan", "eva", "finn", "anna")):
        kiosk.start_session()
        kiosk.sign_in(customer=name, ago_h=30 - place * 3)
    kiosk.start_session()
    kiosk.view(ago_h=12)
    kiosk.sign_in(customer="mallory", ago_h=11)
    space.settle()
    assert space.who(kiosk) == ["ben", "cleo", "dan", "eva", "finn", "anna", "", "mallory"]


def test_a_program_without_an_origin_can_claim_and_never_prove(space: Space, anna: Browser) -> None:
    """Mallory's program has copied Anna's cookie and sends no origin, as no browser does: it proves nothing."""
    body = {
        "v": 1,
        "s": space.site_id,
        "st": space.world.now_ms,
        "d": anna.visitor,
        "c": "ai",
        "e": [{"i": make_uuid(space.world.now_ms), "n": "identify", "t": space.world.at(39.5)}],
    }
    body["e"][0]["k"] = [space.sign("customer", "mallory")]
    answer = space.world.post("/x/b", body, {"Cookie": anna.cookies[space.site_id], "User-Agent": CHROME})
    assert answer.headers["Set-Cookie"] is None
    space.settle()
    assert set(ask_proved(space, anna)) == {"anna"}
    foreign = space.world.post("/x/b", body, {"Origin": "https://mallory.example", "User-Agent": CHROME})
    assert foreign.rejected == "origin"
