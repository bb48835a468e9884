"""What happens to identity in real life, beyond the eleven classic cases: through the real collector and engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.sites.book import Site
from tests.identity_drive import KINDS, Browser, Space, World, make_uuid, name_origin, running_world

pytestmark = [pytest.mark.engine, pytest.mark.long]
FEW = tuple(msgspec.structs.replace(kind, max_visitors=4) for kind in KINDS)
NAMES_OF_NOBODY = (
    "null",
    "undefined",
    "anonymous",
    "guest",
    "unknown",
    "0",
    "NaN",
    "none",
    "[object Object]",
    "00000000-0000-0000-0000-000000000000",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module."""
    with running_world(tmp_path_factory.mktemp("stories"), spaces=28, special=[Site("few", kinds=FEW)]) as running:
        yield running


@pytest.fixture
def space(world: World) -> Space:
    """A space of the test's own."""
    return world.take_space()


def use_by_turns(browser: Browser, names: list[str], ago_h: float, every_h: float) -> None:
    """One person after another signs in in a session of their own, and looks at a page ten minutes later."""
    for place, name in enumerate(names):
        browser.start_session()
        browser.sign_in(customer=name, ago_h=ago_h - place * every_h)
        browser.view(ago_h=ago_h - place * every_h - 1 / 6)


def test_a_tablet_shared_by_five_accounts_is_each_ones_in_turn(space: Space) -> None:
    """Five people in a month are a family: each event is that of whoever signed in last."""
    tablet, names = space.browser(), ["anna", "ben", "cleo", "dan", "eva"]
    use_by_turns(tablet, names, ago_h=50, every_h=5)
    tablet.view(ago_h=1)
    space.settle()
    assert space.who(tablet) == [name for name in names for _ in range(2)] + ["eva"]
    assert len(set(space.customers().values())) == 5


def test_a_tablet_shared_by_six_accounts_is_nobodys_between_their_sessions(space: Space) -> None:
    """One more makes it a shared device: only what happens in a signed session is somebody's."""
    tablet, names = space.browser(), ["anna", "ben", "cleo", "dan", "eva", "finn"]
    tablet.view(ago_h=60)
    use_by_turns(tablet, names, ago_h=50, every_h=5)
    tablet.view(ago_h=1)
    space.settle()
    assert space.who(tablet) == ["", *[name for name in names for _ in range(2)], ""]


def test_a_household_laptop_with_sign_outs_mixes_nothing(space: Space) -> None:
    """Anna signs out, Ben signs in: what he looked at before signing in is his, what she did stays hers."""
    laptop = space.browser()
    laptop.view(ago_h=9)
    laptop.sign_in(customer="anna", ago_h=8)
    annas = laptop.visitor
    laptop.sign_out(ago_h=6)
    laptop.view(ago_h=5)
    laptop.view(ago_h=4)
    laptop.sign_in(customer="ben", ago_h=3)
    space.settle()
    assert laptop.visitor != annas
    assert space.who(annas) == ["anna", "anna"]
    assert space.who(laptop) == ["ben"] * 4
    assert sorted(space.customers()) == ["anna", "ben"]


def test_a_sign_in_in_the_very_first_beacon_is_the_browsers_own(space: Space) -> None:
    """No cookie was there yet, the answer set it: what the browser does with it is Anna's."""
    browser = Browser(space)
    browser.sign_in(customer="anna", ago_h=0.2)
    browser.view(ago_h=0.1)
    space.settle()
    assert space.who(browser) == ["anna", "anna"]
    proofs = space.query(
        "SELECT visitor_proof FROM v_events WHERE visitor_id = {visitor:UUID} ORDER BY time", visitor=browser.visitor
    )
    assert [row["visitor_proof"] for row in proofs] == ["script", "cookie"]


def test_a_browser_that_takes_no_cookies_goes_from_hand_to_hand(space: Space) -> None:
    """An old visitor id that nothing ever proves: each has it from their sign-in on, and nothing of before."""
    old = make_uuid(space.world.at(48))
    browser = Browser(space, keeps_cookies=False, visitors={space.site_id: old})
    browser.view(ago_h=0.08)
    browser.sign_in(customer="anna", ago_h=0.06)
    browser.view(ago_h=0.05)
    browser.sign_in(customer="ben", ago_h=0.03)
    browser.view(ago_h=0.02)
    space.settle()
    assert space.who(browser) == ["", "anna", "anna", "ben", "ben"]


def test_a_forwarded_mail_is_withdrawn_when_the_friend_signs_in(space: Space) -> None:
    """Anna's link, clicked by Ben: hers provisionally, and his from the beginning once he has signed in."""
    token, friend = space.mint("anna"), space.browser()
    friend.view(ago_h=9)
    friend.click(token, ago_h=5)
    space.settle()
    assert space.who(friend) == ["", "anna?", "anna?"]
    assert space.customers() == {"anna?": space.customers()["anna?"]}
    friend.sign_in(customer="ben", ago_h=2)
    space.settle()
    assert space.who(friend) == ["ben"] * 4
    assert list(space.customers()) == ["ben"]
    assert space.refused() == ["forwarded"]


def test_a_forwarded_mail_on_a_known_customers_browser_does_nothing(space: Space) -> None:
    """Ben is signed in and clicks Anna's link: he stays Ben, and the log has a note."""
    ben = space.browser()
    ben.sign_in(customer="ben", ago_h=9)
    ben.click(space.mint("anna"), ago_h=5)
    space.settle()
    assert space.who(ben) == ["ben"] * 3
    assert list(space.customers()) == ["ben"]
    assert space.refused() == ["other_customer"]


def test_a_mail_scanner_follows_links_and_is_nobody(space: Space) -> None:
    """It fetches the link, renders the page, even clicks: nothing is attached, and the link still works for Anna."""
    token = space.mint("anna", target=f"{name_origin(space.site_id)}/offer")
    for agent in ("Mozilla/5.0 (compatible; MailScanner/2.1)", "python-requests/2.32"):
        answer = space.world.get(f"/l/{token}", agent)
        assert (answer.status, answer.headers["Set-Cookie"]) == (302, None)
    headless, patient = space.browser(more={"b": 1}), space.browser()
    headless.click(token, ago_h=6)
    patient.land(token, ago_h=6)
    anna = space.browser()
    anna.click(token, ago_h=5)
    space.settle()
    assert (space.who(headless), space.who(patient)) == (["", ""], [""])
    assert space.who(anna) == ["anna?", "anna?"]
    statuses = "SELECT DISTINCT link_status, is_bot FROM v_events WHERE space_id = {space:String} AND link_status != ''"
    found = {(row["link_status"], row["is_bot"]) for row in space.query(statuses)}
    assert found == {("bot", 1), ("unconfirmed", 1), ("unconfirmed", 0), ("confirmed", 0)}


def test_null_ids_name_nobody(space: Space) -> None:
    """What pages send when they know no one makes no customer, and no giant of all who sent it."""
    a, b = space.browser(), space.browser()
    for place, name in enumerate(NAMES_OF_NOBODY):
        for browser in (a, b):
            answer = browser.sign_in(customer=name, ago_h=9 - place / 2)
            assert answer.rejected in ("blocked", "shape"), name
    a.sign_in(email="test@example.com", ago_h=1)
    a.view(ago_h=0.5)
    b.view(ago_h=0.5)
    space.settle()
    assert space.customers() == {}
    assert space.persons(a) != space.persons(b)


def test_an_admin_who_logs_in_as_a_customer_takes_nothing_along(space: Space) -> None:
    """While the admin is Anna the events are Anna's; before and after they are the admin's; two people throughout."""
    admin, anna = space.browser(), space.browser()
    anna.sign_in(customer="anna", email="anna@shop.example", ago_h=20)
    admin.view(ago_h=9)
    admin.sign_in(customer="admin", ago_h=8)
    admin.sign_in(customer="anna", ago_h=6)
    admin.view(ago_h=5)
    admin.sign_in(customer="admin", ago_h=4)
    admin.view(ago_h=3)
    space.settle()
    assert space.who(admin) == ["admin", "admin", "anna", "anna", "admin", "admin"]
    assert space.who(anna) == ["anna"]
    assert sorted(space.customers()) == ["admin", "anna"]
    assert space.owners("email") == ["anna"]


def test_a_support_desk_that_logs_in_as_everybody_is_nobody(space: Space) -> None:
    """More customers on one browser than anyone has: the browser is fused, and ties none of them, those from before
    included."""
    desk, anna = space.browser(), space.browser()
    anna.sign_in(customer="c-0", ago_h=30)
    for number in range(51):
        if number == 45:
            space.settle()
            assert len(space.customers()) == 45
        desk.sign_in(customer=f"c-{number}", ago_h=20 - number / 4)
    space.settle()
    assert set(space.who(desk)) == {""}
    assert space.who(anna) == ["c-0"]
    assert list(space.customers()) == ["c-0"]
    assert space.refused() == ["fused"] * 51


def test_a_link_used_by_a_third_visitor_is_a_replay(space: Space) -> None:
    """Phone and desk are allowed, the second one marked; a third visitor gets nothing of it."""
    token = space.mint("anna")
    phone, desk, third = (space.browser() for _ in range(3))
    for ago_h, browser in ((6, phone), (5, desk), (4, third)):
        browser.click(token, ago_h=ago_h)
    phone.touch(token, ago_h=3)
    space.settle()
    assert (space.who(phone), space.who(desk)) == (["anna?"] * 3, ["anna?"] * 2)
    assert space.who(third) == ["", ""]
    assert space.refused() == ["second_device", "replayed"]


def test_a_test_account_of_thousands_is_fused_and_ties_no_one(world: World) -> None:
    """One visitor more than the kind allows, and nobody hangs on it any more; each keeps what else is known of it."""
    space = world.named["few"]
    visitors = [space.browser() for _ in range(5)]
    for browser in visitors[:4]:
        browser.sign_in(customer="test-account", ago_h=9)
    visitors[0].sign_in(login="anna1", ago_h=8)
    space.settle()
    assert [space.who(browser)[0] for browser in visitors[:4]] == ["test-account"] * 4
    visitors[4].sign_in(customer="test-account", ago_h=7)
    space.settle()
    assert [space.who(browser) for browser in visitors] == [["anna1", "anna1"], [""], [""], [""], [""]]
    assert len({person for browser in visitors for person in space.persons(browser)}) == 5
    assert space.refused() == ["fused"] * 5


def test_a_clock_hours_ahead_does_not_change_the_order(space: Space) -> None:
    """Ben's laptop, three hours fast, was Anna's before: the tag's offset puts his sign-in where it belongs."""
    laptop = space.browser()
    laptop.sign_in(customer="anna", ago_h=4)
    laptop.clock_fast_ms = 3 * 3_600_000
    laptop.sign_in(customer="ben", ago_h=2)
    laptop.clock_fast_ms = 0
    laptop.view(ago_h=3)
    laptop.view(ago_h=1)
    space.settle()
    assert space.who(laptop) == ["anna", "anna", "ben", "ben"]


def test_a_clock_that_nobody_noticed_moves_its_own_evidence_only(space: Space) -> None:
    """Three minutes ahead and no offset: that browser's own times are so; the other browser's are untouched."""
    fast, other = space.browser(), space.browser()
    other.sign_in(customer="anna", ago_h=2)
    fast.sign_in(customer="anna", ago_h=-0.05)
    fast.view(ago_h=1)
    space.settle()
    assert (space.who(fast), space.who(other)) == (["anna", "anna"], ["anna"])
    answer = fast.sign_in(customer="ben", ago_h=-5)
    assert answer.rejected == "clock"


def tell_a_day(space: Space) -> tuple[list[Browser], list[Any]]:
    """A day of two browsers as beacons that wait to be sent, in order of time."""
    a, b = space.browser(), space.browser()
    token = space.mint("ben")
    return [a, b], [
        lambda: a.view(ago_h=20),
        lambda: b.view(ago_h=19),
        lambda: a.sign_in(customer="anna", email="anna@shop.example", ago_h=18),
        lambda: b.click(token, ago_h=17),
        lambda: a.view(ago_h=16),
        lambda: a.sign_in(customer="ben", ago_h=14),
        lambda: b.sign_in(email="anna@shop.example", ago_h=12),
        lambda: a.view(ago_h=11),
        lambda: b.sign_in(customer="ben", ago_h=9),
        lambda: a.sign_in(customer="anna", ago_h=7),
        lambda: b.view(ago_h=6),
    ]


def see(space: Space, browsers: list[Browser]) -> Any:
    """Everything that readers see of a space, but the ids that are random."""
    intervals = space.query(
        "SELECT kind, customer_id, valid_from, valid_to, provisional FROM v_identity_map"
        " WHERE space_id = {space:String} AND NOT startsWith(customer_id, 'mark-') ORDER BY ALL"
    )
    return [space.who(browser) for browser in browsers], sorted(space.customers()), space.refused(), intervals


def test_beacons_that_arrive_backwards_give_the_same_map(world: World) -> None:
    """A day's beacons in order, backwards, and every other one late: the tag's frozen times decide, not the arrival."""
    seen = []
    for rearrange in (
        lambda beacons: beacons,
        lambda beacons: beacons[::-1],
        lambda beacons: beacons[1::2] + beacons[::2],
    ):
        space = world.take_space()
        browsers, beacons = tell_a_day(space)
        for send in rearrange(beacons):
            send()
            if send is beacons[5]:
                space.settle()  # so that some of it is stitched before the rest comes
        space.settle()
        seen.append(see(space, browsers))
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0][0] == ["anna", "anna", "anna", "ben", "ben", "anna"]


def test_a_beacon_that_is_sent_again_hours_later_is_one(space: Space) -> None:
    """The retry of a sign-in after a switch changes nothing: same event, same evidence, same people."""
    a = space.browser()
    event = a.make_event("identify", 5, k=[space.sign("customer", "anna")])
    a.send(event)
    a.sign_in(customer="ben", ago_h=3)
    a.view(ago_h=2)
    space.settle()
    before = see(space, [a])
    a.send(event)
    space.settle()
    assert see(space, [a]) == before
    assert space.who(a) == ["anna", "ben", "ben"]


def test_years_imported_newest_first_give_the_same_map_as_in_order(world: World, tmp_path: Path) -> None:
    """Purchases of ten years from two files, the later one first: the map of a single file in order."""
    rows = [
        {"event": "order", "userId": user, "anonymousId": "kiosk at home", "timestamp": f"{year}-05-01T12:00:00Z"}
        for year, user in ((2014, "anna"), (2016, "ben"), (2019, "anna"), (2022, "cleo"))
    ]
    for number, row in enumerate(rows):
        row["messageId"] = make_uuid(number + 1)
    seen = []
    for files in ([rows], [rows[2:], rows[:2]]):
        space = world.take_space()
        for number, part in enumerate(files):
            path = tmp_path / f"{space.name}-{number}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in part))
            space.world.instance.command("import", "events", str(path), "--site", space.site_id)
        counted = f"SELECT count() AS n FROM v_events WHERE space_id = '{space.name}' AND customer_id != ''"
        world.instance.until(counted, lambda rows: rows[0]["n"] == 4)
        space.settle()
        orders = space.query(
            "SELECT customer_id, toYear(time) AS year FROM v_events WHERE space_id = {space:String}"
            " AND event_name = 'order' ORDER BY time"
        )
        seen.append((orders, see(space, [])))
    assert seen[0] == seen[1]
    assert [row["customer_id"] for row in seen[0][0]] == ["anna", "ben", "anna", "cleo"]


def test_merge_then_unmerge_then_merge_returns_to_the_same_people(space: Space) -> None:
    """A server says that Anna and Ben are one, an operator takes it back, the server says it again: old ids come back
    by themselves, each time."""
    a, b = space.browser(), space.browser()
    a.sign_in(customer="anna", ago_h=9)
    b.sign_in(customer="ben", email="ben@shop.example", ago_h=8)
    space.settle()

    def see_people() -> Any:
        ids = space.query(
            "SELECT own_person_id, person_id, customer_id FROM v_identity_map WHERE space_id = {space:String}"
            " AND NOT startsWith(customer_id, 'mark-') ORDER BY own_person_id"
        )
        return space.customers(), space.who(a), space.who(b), ids

    apart = see_people()
    assert space.call("alias", userId="anna", previousId="ben").status == 200
    space.settle()
    merged = see_people()
    assert (list(merged[0]), set(merged[1] + merged[2])) == (["anna"], {"anna"})
    assert merged[0]["anna"] == apart[0]["anna"]
    space.world.instance.command("identity", "retract", "--source", "server", "--space", space.name)
    space.settle()
    assert see_people() == apart
    assert space.call("alias", userId="anna", previousId="ben").status == 200
    space.settle()
    assert see_people() == merged
