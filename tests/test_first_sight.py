"""A cookie for a visitor id is made for whoever named it first, and for nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.accept.visitor_cookie import read_cookie
from collector.first_sight import BUCKET_SLOTS, KEEP_S, FirstSight
from tests.edge_examples import KEYRING, NOW_MS, NOW_S, OTHER_VISITOR, VISITOR, make_body, make_context, take

HOME, OFFICE = "198.51.100.7", "203.0.113.9"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"


@pytest.fixture
def sight(tmp_path: Path) -> FirstSight:
    return FirstSight(tmp_path, "secret", slots=BUCKET_SLOTS)


def test_the_first_to_name_an_id_has_it(sight: FirstSight) -> None:
    """And stays the one, however often it asks; another network or browser does not become it."""
    assert sight.claim("shop", VISITOR, HOME, BROWSER, NOW_S)
    assert not sight.claim("shop", VISITOR, OFFICE, BROWSER, NOW_S + 1)
    assert not sight.claim("shop", VISITOR, HOME, "curl/8", NOW_S + 2)
    assert sight.claim("shop", VISITOR, HOME, BROWSER, NOW_S + KEEP_S)
    assert sight.claim("shop", OTHER_VISITOR, OFFICE, BROWSER, NOW_S)
    assert sight.claim("blog", VISITOR, OFFICE, BROWSER, NOW_S), "ids are of a site"


@pytest.mark.parametrize(
    ("first", "later", "is_same"),
    [
        (HOME, "198.51.100.200", True),
        (HOME, "198.51.101.7", False),
        (HOME, f"::ffff:{HOME}", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::9", True),
        ("2001:db8:1:2::1", "2001:db8:2:2::1", False),
        ("", "", True),
    ],
)
def test_a_network_counts_not_an_address(sight: FirstSight, first: str, later: str, is_same: bool) -> None:
    """Carriers change the address between two requests, so 24 bits of it count, or 48 of an IPv6 address."""
    assert sight.claim("shop", VISITOR, first, BROWSER, NOW_S)
    assert sight.claim("shop", VISITOR, later, BROWSER, NOW_S) is is_same


def test_all_processes_of_a_host_know_it(tmp_path: Path) -> None:
    """Also the next one after a restart."""
    assert FirstSight(tmp_path, "secret").claim("shop", VISITOR, HOME, BROWSER, NOW_S)
    assert not FirstSight(tmp_path, "secret").claim("shop", VISITOR, OFFICE, BROWSER, NOW_S)


def test_a_full_bucket_forgets_its_oldest(sight: FirstSight) -> None:
    """The table stays as large as it is; whoever is newer stays known."""
    for number in range(BUCKET_SLOTS + 1):
        assert sight.claim("shop", f"visitor-{number}", HOME, BROWSER, NOW_S + number)
    assert not sight.claim("shop", f"visitor-{BUCKET_SLOTS}", OFFICE, BROWSER, NOW_S + 60)
    assert not sight.claim("shop", "visitor-1", OFFICE, BROWSER, NOW_S + 60)
    assert sight.claim("shop", "visitor-0", OFFICE, BROWSER, NOW_S + 60)


def test_what_is_too_old_counts_no_more(sight: FirstSight) -> None:
    """By then the id is not signed for anybody."""
    assert sight.claim("shop", VISITOR, HOME, BROWSER, NOW_S)
    assert sight.claim("shop", VISITOR, OFFICE, BROWSER, NOW_S + KEEP_S + 1)


def test_no_address_and_no_id_stand_in_the_file(tmp_path: Path) -> None:
    """Nor anything by which two visitors of one browser are the same."""
    sight = FirstSight(tmp_path, "secret")
    sight.claim("shop", VISITOR, HOME, BROWSER, NOW_S)
    sight.claim("shop", OTHER_VISITOR, HOME, BROWSER, NOW_S)
    data = (tmp_path / "run" / "first-sight").read_bytes()
    slots = [data[at : at + 16] for at in range(0, len(data), 16) if any(data[at : at + 16])]
    assert len(slots) == 2
    assert slots[0][8:12] != slots[1][8:12]


def test_without_a_file_each_process_knows_its_own(tmp_path: Path) -> None:
    """A folder that cannot be written keeps nobody from being counted."""
    (tmp_path / "run").write_text("a file where the folder should be")
    sight = FirstSight(tmp_path, "secret")
    assert sight.claim("shop", VISITOR, HOME, BROWSER, NOW_S)
    assert not sight.claim("shop", VISITOR, OFFICE, BROWSER, NOW_S)


def test_who_learns_a_fresh_visitor_id_gets_no_cookie_for_it(sight: FirstSight) -> None:
    """From another browser, by naming it first of all, or by a reset of a visitor of one's own."""
    answer, _ = take(make_body(), make_context(claim_visitor=sight.claim, address=HOME, user_agent=BROWSER))
    assert answer.set_cookie
    again, _ = take(make_body(), make_context(claim_visitor=sight.claim, address=HOME, user_agent=BROWSER))
    assert again.set_cookie, "a second beacon that was on its way before the first answer"
    stranger = make_context(claim_visitor=sight.claim, address=OFFICE, user_agent=BROWSER)
    taken, row = take(make_body(), stranger)
    assert (taken.set_cookie, row.visitor_id, row.visitor_proof) == (None, VISITOR, "script")

    own, _ = take(make_body(d=OTHER_VISITOR), stranger)
    assert own.set_cookie and read_cookie(KEYRING, "shop", own.set_cookie, NOW_MS // 1000)
    cookies = {"__Host-ts_shop": own.set_cookie}
    stranger = make_context(claim_visitor=sight.claim, address=OFFICE, user_agent=BROWSER, cookies=cookies)
    taken, _ = take(make_body(d=VISITOR, rf=OTHER_VISITOR), stranger)
    assert taken.set_cookie == "", "the visitor before is gone, and the one that is named is not given"
