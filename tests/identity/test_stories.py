"""What happens in the wild: shared devices, forwarded mail, replays, junk ids, sign-outs, disorder."""

from __future__ import annotations

import random

import msgspec
import pytest

from collector.identity.evidence import Evidence
from collector.identity.policy import DAY_MS, MINUTE_MS, Policy
from tests.identity.story import (
    KINDS,
    POLICY,
    People,
    alias,
    click,
    days,
    disown,
    hand_over,
    hours,
    key,
    minutes,
    rekey,
    reset,
    sign_in,
    take_back,
    tie,
)


def test_household_laptop_two_people_take_turns() -> None:
    """Each has the browser from their sign-in to the other's; the anonymous time before is the first one's."""
    people = People(
        sign_in("A", "K1", at=days(5)),
        sign_in("A", "K2", at=days(6)),
        sign_in("A", "K1", at=days(7)),
    )
    assert [people.who("A", days(d)) for d in (0, 5.5, 6, 6.5, 7, 70)] == ["K1", "K1", "K2", "K2", "K1", "K1"]
    assert not people.are_one("K1", "K2")


def test_household_laptop_five_people_are_no_shared_device() -> None:
    """Five people in 30 days take turns; the limit is more than five."""
    people = People(*(sign_in("A", f"K{n}", at=days(n)) for n in range(1, 6)))
    assert [people.who("A", days(n + 0.9)) for n in range(1, 6)] == ["K1", "K2", "K3", "K4", "K5"]
    assert people.who("A", days(0)) == "K1"


@pytest.fixture
def tablet() -> People:
    """A tablet in a shop on which six people sign in on six days, for some minutes each."""
    return People(
        *(sign_in("A", f"K{n}", f"E{n}", at=days(n), session=f"s{n}") for n in range(1, 7)),
        sign_in("A", "K3", at=days(3) + 20 * MINUTE_MS, session="s3"),
    )


def test_shared_tablet_counts_within_signed_sessions_only(tablet: People) -> None:
    """More than five people in 30 days: each has half an hour from their last sign-in of the session, no more."""
    assert tablet.who("A", days(3)) == "K3"
    assert tablet.who("A", days(3) + 49 * MINUTE_MS) == "K3"
    assert tablet.who("A", days(3) + 50 * MINUTE_MS) == ""
    assert tablet.who("A", days(4) + 30 * MINUTE_MS) == ""


def test_shared_tablet_gives_nobody_its_anonymous_history(tablet: People) -> None:
    """No look-back on a shared device."""
    assert tablet.who("A", days(1) - 1) == ""
    assert tablet.who("A", days(0.5)) == ""


def test_shared_tablet_keeps_its_accounts_apart(tablet: People) -> None:
    """Six accounts stay six people, each with its own e-mail."""
    assert len({tablet.person(f"K{n}") for n in range(1, 7)}) == 6
    assert all(tablet.are_one(f"K{n}", f"E{n}") for n in range(1, 7))


def test_shared_tablet_with_e_mails_alone_makes_no_giant() -> None:
    """Six e-mails one after the other on one browser are six people, not one person with six e-mails."""
    people = People(*(sign_in("A", f"E{n}", at=days(n)) for n in range(1, 7)))
    assert len({people.person(f"E{n}") for n in range(1, 7)}) == 6


def test_shared_tablet_takes_no_tagged_link() -> None:
    """A link on a shared device says nothing about who holds it, and is noted."""
    people = People(
        *(sign_in("A", f"K{n}", at=days(n), session=f"s{n}") for n in range(1, 7)), click("A", "K9", at=days(9))
    )
    assert people.who("A", days(9)) == ""
    assert people.refused == ["shared_device"]


def test_six_people_in_half_a_year_are_no_shared_device() -> None:
    """The limit holds for 30 days: six people in turn over half a year keep their intervals."""
    people = People(*(sign_in("A", f"K{n}", at=days(30 * n)) for n in range(1, 7)))
    assert people.who("A", days(100)) == "K3"


def test_forwarded_mail_before_the_friend_signs_in() -> None:
    """B clicks A's link: until B signs in, B's browser is A's customer, provisionally, from the click's session on."""
    people = People(click("B", "K1", at=hours(2), session_start=hours(1)))
    assert [people.who("B", at) for at in (hours(0.9), hours(1), hours(3))] == ["", "K1?", "K1?"]


def test_forwarded_mail_is_withdrawn_when_the_friend_signs_in() -> None:
    """B signs in as K2: the link is taken back for its whole interval, and the guard log says `forwarded`."""
    people = People(
        sign_in("A", "K1", at=hours(0)),
        click("B", "K1", at=hours(2), session_start=hours(1)),
        sign_in("B", "K2", at=hours(4)),
    )
    assert [people.who("B", at) for at in (hours(0.5), hours(1), hours(2), hours(4))] == ["K2"] * 4
    assert people.who("A", hours(2)) == "K1"
    (entry,) = people.resolution.guards
    assert (entry.reason, entry.person_id, entry.other_person_id) == ("forwarded", key("K1"), key("K2"))


def test_who_followed_a_forwarded_mail_says_not_me() -> None:
    """B clicks A's link and says that they are somebody else: the link is withdrawn for its whole interval, noted, and
    B is nobody's. The same link that is followed again later counts again."""
    click_b, said = click("B", "K1", at=hours(2), session_start=hours(1)), disown("B", "K1", hours(3))
    people = People(sign_in("A", "K1", at=hours(0)), click_b, said)
    assert [people.who("B", at) for at in (hours(1), hours(2), hours(4))] == [""] * 3
    assert people.who("A", hours(4)) == "K1"
    (entry,) = people.resolution.guards
    assert (entry.reason, entry.a_key, entry.b_key) == ("disowned", key("B"), key("K1"))
    assert People(click_b, said, take_back(said)).who("B", hours(4)) == "K1?"
    again = click("B", "K1", at=hours(5), session_start=hours(4.5))
    assert [People(click_b, said, again).who("B", at) for at in (hours(2), hours(6))] == ["", "K1?"]


@pytest.mark.parametrize("proof", ["script", "fresh"])
def test_who_only_knows_a_visitor_disowns_nothing(proof: str) -> None:
    """Not me is what the visitor's own cookie says."""
    assert People(click("B", "K1", at=hours(2)), disown("B", "K1", hours(3), proof=proof)).who("B", hours(4)) == "K1?"


def test_not_me_says_nothing_about_a_sign_in() -> None:
    """Who has signed in signs out; and a link of another customer stays."""
    assert People(sign_in("B", "K1", at=hours(2)), disown("B", "K1", hours(3))).who("B", hours(4)) == "K1"
    assert People(click("B", "K2", at=hours(2)), disown("B", "K1", hours(3))).who("B", hours(4)) == "K2?"


def test_a_disowned_link_gives_its_place_to_the_customers_own_device() -> None:
    """Two visitors may come with one link; who says "not me" was none of them."""
    people = People(
        *(click(visitor, "K1", at=hours(n), token="t") for n, visitor in enumerate("BCD", 1)),
        disown("B", "K1", hours(1.5)),
    )
    assert [people.who(visitor, hours(9)) for visitor in "BCD"] == ["", "K1?", "K1?"]


def test_a_link_to_an_address_is_disowned_under_all_its_names() -> None:
    """The key of addresses was rotated between: both names are one address."""
    people = People(rekey("E1", "E2", hours(0)), click("B", "E1", at=hours(2)), disown("B", "E2", hours(3)))
    assert people.refused == ["disowned"]


def test_a_withdrawn_link_makes_no_customer_but_its_events_still_know_their_key() -> None:
    """K1 was named by a forwarded link only: no customer, but the key's own row stays for `customer_id_then`."""
    people = People(click("B", "K1", at=hours(2)), sign_in("B", "K2", at=hours(4)))
    assert [c.customer_id for c in people.resolution.customers] == ["value-K2"]
    assert [r.key_customer_id for r in people.resolution.map_rows if r.key == key("K1")] == ["value-K1"]


def test_a_link_on_another_customers_browser_does_nothing_but_the_note() -> None:
    """K1 is signed in; K2's link is clicked there: K1 stays, the note names both."""
    people = People(sign_in("A", "K1", at=hours(1)), click("A", "K2", at=hours(2)))
    assert people.who("A", hours(3)) == "K1"
    assert people.refused == ["other_customer"]


def test_a_link_after_a_switch_is_judged_by_who_is_there_then() -> None:
    """K1, then K2 has the browser: K1's link is foreign in K2's time and idle in K1's own."""
    turns = [*sign_in("A", "K1", at=hours(1)), *sign_in("A", "K2", at=hours(5))]
    assert People(turns, click("A", "K1", at=hours(2))).refused == []
    assert People(turns, click("A", "K1", at=hours(6))).refused == ["other_customer"]


def test_two_links_of_two_customers_the_first_stays_until_a_sign_in() -> None:
    """The second link finds a visitor that somebody has; K2's sign-in turns it round."""
    clicks = [*click("A", "K1", at=hours(1)), *click("A", "K2", at=hours(2))]
    people = People(clicks)
    assert people.who("A", hours(3)) == "K1?"
    assert people.refused == ["other_customer"]
    people = People(clicks, sign_in("A", "K2", at=hours(4)))
    assert people.who("A", hours(1)) == "K2"
    assert people.refused == ["forwarded"]


def test_a_link_opens_no_history_before_its_session() -> None:
    """Who clicks a link a year later does not hand over the year."""
    people = People(click("A", "K1", at=days(300), session_start=days(300) - 10))
    assert people.who("A", days(300) - 11) == ""


def test_a_link_cannot_claim_an_endless_session() -> None:
    """The session's start is the browser's word: it is believed for a day."""
    people = People(click("A", "K1", at=days(300), session_start=days(1)))
    assert people.who("A", days(298)) == ""
    assert people.who("A", days(299.5)) == "K1?"


def test_a_link_without_proof_of_the_visitor_counts_from_its_moment() -> None:
    """Who merely knows a visitor's id cannot draw the visitor's session to themselves by their own link."""
    people = People(click("A", "K1", at=hours(2), session_start=hours(1), proof="script"))
    assert people.who("A", hours(1.9), "script") == ""
    assert people.who("A", hours(2), "script") == "K1?"
    assert people.who("A", hours(2)) == ""


def test_mail_scanner_without_a_human_signal_attaches_nothing() -> None:
    """A link that no human confirmed is refused by resolve too, whatever the edge let through."""
    people = People(click("A", "K1", at=hours(1), human=""))
    assert people.who("A", hours(2)) == ""
    assert people.refused == ["unconfirmed"]


def test_token_replay_on_a_third_visitor_is_refused() -> None:
    """Phone and desk are two visitors of one mail; the third, and all after it, are replays."""
    people = People(*(click(v, "K1", at=hours(n), token="t") for n, v in enumerate("ABCD", 1)))
    assert [people.who(v, hours(9)) for v in "ABCD"] == ["K1?", "K1?", "", ""]
    assert people.refused == ["replayed", "replayed", "second_device"]


def test_retries_of_one_visitor_are_no_replay() -> None:
    """The same visitor may come by the same link every day."""
    people = People(*(click("A", "K1", at=days(n), token="t") for n in range(9)))
    assert people.refused == []


def test_a_replayed_link_lives_again_when_an_earlier_use_is_taken_back() -> None:
    """The guards are functions of what stands: with A's use taken back, C is the second visitor."""
    uses = {v: click(v, "K1", at=hours(n), token="t") for n, v in enumerate("ABC", 1)}
    people = People(*uses.values(), take_back(uses["A"]))
    assert people.who("C", hours(9)) == "K1?"
    assert people.refused == ["second_device"]


@pytest.mark.parametrize("value", ["null", "undefined", "Anonymous", "0", "[object Object]", "00000000-0000", "none"])
def test_null_ids_tie_nobody(value: str) -> None:
    """A value that names nobody joins no two visitors, at any level, and is noted each time."""
    people = People([tie("A", "K1", hours(1), 4, value=value), tie("B", "K1", hours(2), 3, value=value)])
    assert people.resolution.map_rows == ()
    assert people.refused == ["blocked", "blocked"]


def test_a_space_can_block_values_of_its_own() -> None:
    """The reception desk's number is on the space's list."""
    people = People(sign_in("A", "K1", at=hours(1)), policy=Policy(blocked=frozenset({"value-K1"})))
    assert people.resolution.map_rows == ()


def test_ten_thousand_visitors_on_one_test_account() -> None:
    """The account is fused: it ties none of them, and each of them is noted."""
    rows = [row for n in range(10_000) for row in sign_in(f"v{n}", "K1", at=minutes(n))]
    people = People(rows)
    assert people.resolution.map_rows == ()
    assert people.resolution.customers == ()
    assert len(people.resolution.guards) == 10_000
    assert set(people.refused) == {"fused"}


def test_a_fuse_holds_for_the_shared_value_only() -> None:
    """A visitor of the fused account keeps its own customer."""
    policy = Policy(max_visitors=3, kinds=())
    rows = [row for n in range(5) for row in sign_in(f"v{n}", "K1", at=minutes(n))]
    people = People(rows, sign_in("v1", "K2", at=hours(5)), policy=policy)
    assert people.who("v1", hours(6)) == "K2"
    assert people.who("v2", hours(6)) == ""


def test_unsigned_claims_cannot_fuse_a_strangers_key() -> None:
    """Ten thousand browsers claim to be K1 without a signature: K1 is untouched, and nothing is joined."""
    claims = [tie(f"v{n}", "K1", minutes(n), 1) for n in range(1_000)]
    people = People(claims, sign_in("A", "K1", at=hours(1)))
    assert people.who("A", hours(2)) == "K1"
    assert people.who("v7", hours(2)) == ""


def test_an_agents_browser_that_signs_in_as_everybody_is_nobodys() -> None:
    """Support staff with "log in as": past 50 customers the browser belongs to none, and ties nothing."""
    people = People(*(sign_in("A", f"K{n}", at=days(n)) for n in range(60)), sign_in("B", "K7", at=days(1)))
    assert people.who("A", days(7)) == ""
    assert people.who("B", days(7)) == "K7"
    assert set(people.refused) == {"fused"}


def test_accounts_that_prove_nothing_do_not_fuse_a_visitor() -> None:
    """Sixty accounts name A's id without its cookie: they count for nothing, and A's owner as before; in a browser
    that is nobody's by proof they make it nobody's."""
    flood = [row for n in range(2, 62) for row in sign_in("A", f"K{n}", at=days(n), proof="script")]
    people = People(sign_in("A", "K1", at=days(1)), flood, sign_in("B", "K7", at=days(1)))
    assert [people.who("A", days(d)) for d in (0, 30)] == ["K1", "K1"]
    assert people.who("B", days(9)) == "K7"
    assert people.refused == ["fused"] * 60
    assert People(flood).who("A", days(7), "script") == ""


def test_a_forwarded_link_clicked_by_thousands_does_not_fuse_its_customer() -> None:
    """Its third visitor is a replay, and no sign that K1 is a shared value; many tokens of one value are one."""
    clicks = [row for n in range(300) for row in click(f"v{n}", "K1", at=minutes(n))]
    people = People(sign_in("A", "K1", at=days(1)), clicks)
    assert people.who("A", days(2)) == "K1"
    assert people.refused == ["replayed"] * 298 + ["second_device"]
    mailing = [row for n in range(300) for row in click(f"v{n}", "K1", at=minutes(n), token=f"mail-{n}")]
    assert set(People(sign_in("A", "K1", at=days(1)), mailing).refused) == {"fused"}
    scanned = [row for n in range(300) for row in click(f"v{n}", "K1", at=minutes(n), token=f"mail-{n}", human="")]
    assert People(sign_in("A", "K1", at=days(1)), scanned).who("A", days(2)) == "K1"


def test_admin_log_in_as_leaves_the_customer_alone() -> None:
    """An agent looks at two accounts from their own browser: three people, in turn, none merged."""
    people = People(sign_in("A", "K8", at=hours(1)), sign_in("A", "K1", at=hours(2)), sign_in("A", "K8", at=hours(3)))
    assert [people.who("A", hours(h)) for h in (1.5, 2.5, 3.5)] == ["K8", "K1", "K8"]
    assert not people.are_one("K1", "K8")


def test_level_0_and_1_join_nothing() -> None:
    """A device match and an unsigned claim leave no row at all."""
    assert People([tie("A", "K1", hours(1), 0), tie("B", "K1", hours(1), 1)]).resolution.map_rows == ()


def test_claiming_a_known_customers_key_gives_nothing() -> None:
    """B claims A's customer without a signature: B stays anonymous and A untouched."""
    known = sign_in("A", "K1", at=hours(1))
    assert People(known, [tie("B", "K1", hours(2), 1)]).resolution == People(known).resolution


def test_a_sign_in_with_script_proof_has_no_look_back() -> None:
    """Who knows a visitor's id must not inherit its history: it attaches from that moment on."""
    people = People(sign_in("A", "K1", at=days(3), proof="script"))
    assert people.who("A", days(3) - 1, "script") == ""
    assert people.who("A", days(3), "script") == "K1"


def test_a_sign_in_with_script_proof_gets_nothing_that_the_cookie_proves() -> None:
    """Nor its future: what the visitor's own browser does afterwards, with its cookie, stays the visitor's."""
    people = People(sign_in("A", "K1", at=days(3), proof="script"))
    assert people.who("A", days(4)) == ""
    assert people.who("A", days(4), "server") == ""
    assert people.person("A", days(4)) == key("A")
    (row,) = people.resolution.intervals
    assert (row.person_id, row.proved) == (key("K1"), 0)


def test_a_stranger_who_knows_a_visitors_id_does_not_take_it_from_its_owner() -> None:
    """K2 signs in on A's id without A's cookie: nothing of A is K2's from then on, and the note says so."""
    people = People(sign_in("A", "K1", at=days(1)), sign_in("A", "K2", at=days(2), proof="script"))
    assert [people.who("A", days(3), proof) for proof in ("cookie", "script")] == ["K1", "K1"]
    (entry,) = people.resolution.guards
    assert (entry.reason, entry.person_id, entry.other_person_id) == ("unproved", key("K2"), key("K1"))
    assert people.resolution.intervals == ()


def test_a_stranger_who_was_there_first_does_not_keep_the_owner_out() -> None:
    """K2 names A's id before A's owner ever signed in: the owner has history and future, K2 what nothing proves."""
    people = People(sign_in("A", "K2", at=days(2), proof="script"), sign_in("A", "K1", at=days(4)))
    assert [people.who("A", days(d)) for d in (1, 3, 5)] == ["K1", "", "K1"]
    assert [people.who("A", days(d), "script") for d in (1, 3, 5)] == ["K1", "K2", "K1"]
    assert not people.are_one("K1", "K2")


def test_a_sign_in_in_the_first_beacon_is_the_visitors_own() -> None:
    """There was no cookie yet, the answer set it: what the browser does afterwards with it is the customer's, and what
    it did before the sign-in, too."""
    people = People(sign_in("A", "K1", at=days(1), proof="fresh"))
    assert [people.who("A", days(d)) for d in (0.9, 2)] == ["K1", "K1"]
    assert people.resolution.intervals == ()


def test_a_browser_that_takes_no_cookies_is_nobodys_for_ever() -> None:
    """Its first beacon was to get a cookie, and none came back: the next one who signs in there has it all the same."""
    people = People(sign_in("A", "K1", at=days(1), proof="fresh"), sign_in("A", "K2", at=days(3), proof="script"))
    assert [people.who("A", days(d), "script") for d in (2, 4)] == ["K1", "K2"]
    assert [people.who("A", days(d)) for d in (2, 4)] == ["K1", ""]
    assert people.refused == []


def test_a_click_in_the_first_beacon_counts_from_its_session_on() -> None:
    """As with the cookie that the answer sets; one that nothing proves gives way to it."""
    people = People(
        click("A", "K2", at=hours(1), proof="script"),
        click("A", "K1", at=hours(2), session_start=hours(1.5), proof="fresh"),
    )
    assert [people.who("A", hours(h)) for h in (1.4, 1.5, 3)] == ["", "K1?", "K1?"]
    assert people.refused == ["unproved"]


def test_what_is_said_again_with_the_cookie_is_proved() -> None:
    """A beacon without the cookie, sent again with it: one request, and the sign-in counts as proved."""
    first, again = sign_in("A", "K1", at=days(1), proof="script"), sign_in("A", "K1", at=days(1))
    again = [msgspec.structs.replace(row, evidence_id="again") for row in again]
    assert People(first, again).who("A", days(0)) == "K1"
    assert People(first, again).resolution.map_rows == People(again).resolution.map_rows


def test_browsers_without_cookies_are_shared_like_others() -> None:
    """Where no cookie is ever seen, people take turns as elsewhere: all that happens there is as unproved as they."""
    people = People(sign_in("A", "K1", at=days(1), proof="script"), sign_in("A", "K2", at=days(2), proof="script"))
    assert [people.who("A", days(d), "script") for d in (0, 1, 2)] == ["", "K1", "K2"]
    assert people.refused == []


def test_a_sign_out_without_proof_does_not_end_an_owners_time() -> None:
    """Who knows A's id signs it out, or says that B was signed out into A: K1 is there still; the first is noted."""
    sign_outs = [
        *reset("A", "A", at=hours(2), proof="script"),
        *reset("A", "B", at=hours(3)),
    ]
    people = People(sign_in("A", "K1", at=hours(1)), sign_outs, sign_in("A", "K2", at=hours(5)))
    assert [people.who("A", hours(h)) for h in (0, 2.5, 4, 6)] == ["K1", "K1", "K1", "K2"]
    assert people.refused == ["unproved"]


def test_a_sign_out_without_proof_keeps_no_history_from_its_owner() -> None:
    """Before anybody has signed in: K1's look-back reaches over it."""
    people = People(reset("A", "A", at=hours(2), proof="script"), sign_in("A", "K1", at=hours(5)))
    assert people.who("A", hours(1)) == "K1"
    assert people.refused == ["unproved"]


def test_a_sign_out_without_proof_counts_where_nothing_is_proved() -> None:
    """A browser without cookies signs out as others do."""
    people = People(sign_in("A", "K1", at=hours(1), proof="script"), reset("A", "A", at=hours(2), proof="script"))
    assert [people.who("A", hours(h), "script") for h in (1, 3)] == ["K1", ""]
    assert people.refused == []


def test_a_stranger_cannot_make_a_shared_device_of_a_visitor() -> None:
    """Six accounts name A's id without its cookie: K1 has it as before, look-back included."""
    strangers = [row for n in range(2, 8) for row in sign_in("A", f"K{n}", at=days(n), proof="script")]
    people = People(sign_in("A", "K1", at=days(1)), strangers)
    assert [people.who("A", days(d)) for d in (0, 5, 20)] == ["K1"] * 3
    assert people.refused == ["unproved"] * 6


def test_a_stranger_between_two_sign_ins_does_not_part_them() -> None:
    """K1, a stranger, E1: the e-mail is K1's, as if the stranger had said nothing."""
    people = People(
        sign_in("A", "K1", at=days(1)), sign_in("A", "K2", at=days(2), proof="script"), sign_in("A", "E1", at=days(3))
    )
    assert people.are_one("E1", "K1")


def test_a_link_that_is_not_proved_gives_way_to_one_that_is() -> None:
    """A stranger's click names A's id; the owner's own click is heard all the same."""
    people = People(click("A", "K2", at=hours(1), proof="script"), click("A", "K1", at=hours(2)))
    assert people.who("A", hours(3)) == "K1?"
    assert people.refused == ["unproved"]


def test_a_stranger_does_not_withdraw_an_owners_link() -> None:
    """K1's click on A is proved, K2's sign-in there is not: the link stands."""
    people = People(click("A", "K1", at=hours(1)), sign_in("A", "K2", at=hours(2), proof="script"))
    assert people.who("A", hours(3)) == "K1?"
    assert people.refused == ["unproved"]


def test_nothing_is_handed_over_for_a_stranger() -> None:
    """K2 named A's id; A's own browser crosses over to B: B is not K2's."""
    people = People(sign_in("A", "K2", at=hours(1), proof="script"), hand_over("B", "A", hours(2)))
    assert people.who("B", hours(3)) == people.who("B", hours(3), "script") == ""


def test_a_later_sign_in_with_the_cookie_opens_the_look_back() -> None:
    """The same customer, first without and then with the cookie: the history is theirs after all."""
    people = People(sign_in("A", "K1", at=days(3), proof="script"), sign_in("A", "K1", at=days(4)))
    assert [people.who("A", days(d)) for d in (1, 3.5, 5)] == ["K1"] * 3
    assert people.resolution.intervals == ()


def test_a_stranger_who_knows_a_visitors_id_ties_no_key_to_its_owner() -> None:
    """E2 signs in on A's id without A's cookie: E2 does not become K1's e-mail, and K1 keeps what was before."""
    people = People(sign_in("A", "K1", at=days(1)), sign_in("A", "E2", at=days(2), proof="script"))
    assert not people.are_one("E2", "K1")
    assert people.who("A", days(1.5)) == "K1"


def test_look_back_reaches_90_days_and_no_further() -> None:
    """What is older stays anonymous; its person is the visitor itself, for ever."""
    people = People(sign_in("A", "K1", at=days(100)))
    assert people.who("A", days(10)) == "K1"
    assert people.who("A", days(10) - 1) == ""
    assert people.person("A", days(10) - 1) == key("A")


def test_look_back_can_be_switched_off() -> None:
    """With 0 days the customer begins at the sign-in."""
    people = People(sign_in("A", "K1", at=days(1)), policy=Policy(look_back_ms=0))
    assert people.who("A", days(1) - 1) == ""


def test_a_person_known_by_e_mail_alone_never_takes_a_visitors_id() -> None:
    """Beyond the look-back the visitor's own id must stay nobody's, so the e-mail's key names the person."""
    people = People(sign_in("A", "E1", at=days(100)))
    assert people.person("E1") == key("E1")
    assert people.person("A", days(1)) != people.person("E1")


def test_nothing_is_attributed_back_across_a_sign_out() -> None:
    """After K1's sign-out the browser has a new visitor id B; K2's sign-in on B takes nothing of A."""
    people = People(sign_in("A", "K1", at=hours(1)), reset("B", "A", at=hours(3)), sign_in("B", "K2", at=hours(5)))
    assert people.who("A", hours(2)) == "K1"
    assert people.who("B", hours(4)) == "K2"
    assert people.refused == []


def test_a_sign_out_that_keeps_the_visitor_id_cuts_its_time() -> None:
    """Between sign-out and the next sign-in lies the next person's look-back, and no further."""
    people = People(sign_in("A", "K1", at=hours(1)), reset("A", "A", at=hours(3)), sign_in("A", "K2", at=hours(5)))
    assert [people.who("A", hours(h)) for h in (0, 2, 3, 4, 6)] == ["K1", "K1", "K2", "K2", "K2"]


def test_after_a_sign_out_that_keeps_the_visitor_id_nobody_is_there() -> None:
    """The id lives on, its person is gone."""
    people = People(sign_in("A", "K1", at=hours(1)), reset("A", "A", at=hours(3)))
    assert [people.who("A", hours(h)) for h in (2, 3, 4)] == ["K1", "", ""]


def test_a_tab_that_has_not_noticed_the_sign_out_stays_its_customers() -> None:
    """Late events of the old visitor id, with nobody signing in on it again, are still K1's; no interval is spent."""
    people = People(sign_in("A", "K1", at=hours(1)), reset("B", "A", at=hours(3)))
    assert people.who("A", hours(4)) == "K1"
    assert people.resolution.intervals == ()


def test_keys_are_not_associated_across_a_sign_out() -> None:
    """K1 signs out, then an e-mail signs in on the same visitor id: it is not K1's."""
    people = People(sign_in("A", "K1", at=hours(1)), reset("A", "A", at=hours(3)), sign_in("A", "E2", at=hours(5)))
    assert not people.are_one("E2", "K1")


def test_a_sign_out_ties_nothing() -> None:
    """Old and new visitor id stay apart."""
    people = People(reset("B", "A", at=hours(3)), sign_in("A", "K1", at=hours(1)))
    assert people.who("B", hours(4)) == ""


def test_a_link_in_one_stretch_is_not_judged_by_a_sign_in_in_the_next() -> None:
    """A link, a sign-out, another customer's sign-in: the link stays provisional where it was."""
    people = People(
        click("A", "K1", at=hours(1), session_start=hours(0.5)),
        reset("A", "A", at=hours(3)),
        sign_in("A", "K2", at=hours(5)),
    )
    assert [people.who("A", hours(h)) for h in (1, 4)] == ["K1?", "K2"]
    assert people.refused == []


def test_two_sign_ins_in_the_same_millisecond_have_an_order_all_the_same() -> None:
    """Event ids decide; no moment has two people, and none is lost."""
    people = People(sign_in("A", "K1", at=hours(1)), sign_in("A", "K2", at=hours(1)))
    assert {people.who("A", hours(0.5)), people.who("A", hours(1))} == {"K1", "K2"}


def test_late_and_out_of_order_evidence_gives_the_same_people() -> None:
    """A sign-in that comes in a day late takes its place in time, as if it had been there."""
    log = [
        *sign_in("A", "K1", at=days(1)),
        *click("A", "K2", at=days(2)),
        *sign_in("A", "K2", "E2", at=days(3)),
        *sign_in("B", "E2", at=days(4)),
        *reset("C", "B", at=days(5)),
        *alias("K1", "K3", at=days(6)),
    ]
    expected = People(log).resolution
    shuffled = list(log)
    random.Random(7).shuffle(shuffled)
    late = [type(row)(**{n: getattr(row, n) for n in row.__struct_fields__}) for row in shuffled]
    assert People(late).resolution == expected


def test_a_wrong_clock_moves_only_its_own_evidence() -> None:
    """A browser an hour fast signs in "later": the order is its own word, the other visitor is untouched."""
    slow = People(sign_in("A", "K1", at=hours(1)), sign_in("B", "K1", at=hours(2)))
    fast = People(sign_in("A", "K1", at=hours(1)), sign_in("B", "K1", at=hours(3)))
    rows = [[r for r in p.resolution.map_rows if r.key in (key("A"), key("K1"))] for p in (slow, fast)]
    assert rows[0] == rows[1]


def test_too_many_e_mails_for_one_person_are_refused() -> None:
    """The cap per kind holds below level 4: the eleventh e-mail of a customer is a person of its own."""
    rows = [row for n in range(11) for row in sign_in("A", "K1", f"E{n}", at=days(n))]
    people = People(rows)
    assert people.refused == ["too_many_keys"]
    assert not people.are_one("E10", "K1")
    assert people.who("A", days(20)) == "K1"


def test_a_server_may_give_a_person_more_keys_than_the_cap() -> None:
    """Level 4 is not capped."""
    rows = [row for n in range(11) for row in sign_in("A", "K1", f"E{n}", at=days(n), level=4, proof="server")]
    assert People(rows).refused == []


def test_a_server_outranks_a_browser_about_whose_an_e_mail_is() -> None:
    """A browser tied E1 to K1 first; the server says K2's: it is K2's, and the browser's word is noted."""
    people = People(sign_in("A", "K1", "E1", at=days(1)), sign_in("B", "K2", "E1", at=days(2), level=4, proof="server"))
    assert people.are_one("E1", "K2")
    assert not people.are_one("E1", "K1")
    assert people.refused == ["two_people"]


def test_two_customers_merge_on_no_browsers_word() -> None:
    """A signed alias of two customers is refused; the same at level 4 is a merge."""
    apart = [*sign_in("A", "K1", at=days(1)), *sign_in("B", "K2", at=days(2))]
    assert People(apart, alias("K1", "K2", at=days(3), level=3)).refused == ["two_people"]
    merged = People(apart, alias("K1", "K2", at=days(3)))
    assert merged.who("B", days(3)) == "K1"
    assert len(merged.resolution.customers) == 1


def test_a_merged_person_on_one_browser_is_no_switch() -> None:
    """Two accounts of one person, merged by the operator: the browser has one person throughout."""
    people = People(sign_in("A", "K1", at=days(1)), sign_in("A", "K2", at=days(2)), alias("K1", "K2", at=days(3)))
    assert people.who("A", days(0)) == people.who("A", days(5)) == "K1"
    assert people.resolution.intervals == ()


def test_an_undeclared_kind_keeps_people_apart() -> None:
    """A kind that no site declares is taken as unique, and gives no right to merge."""
    policy = Policy(kinds=tuple(kind for kind in POLICY.kinds if kind.name != "login"))
    people = People(
        sign_in("A", "K1", "L1", at=days(1), level=4), sign_in("B", "K2", "L1", at=days(2), level=4), policy=policy
    )
    assert not people.are_one("K1", "K2")


def test_switches_and_ties_are_explained_by_their_evidence() -> None:
    """Each entry of the merge log names the evidence, the identifiers and the two people."""
    second = sign_in("A", "K2", at=days(2))
    people = People(sign_in("A", "K1", at=days(1)), second)
    (entry,) = people.resolution.merges
    assert (entry.reason, entry.evidence_id) == ("switch", second[0].evidence_id)
    assert (entry.person_id, entry.other_person_id) == (key("K2"), key("K1"))


def test_anonymous_visitors_tied_by_a_link_stay_one_when_one_is_known_for_a_while() -> None:
    """A and B are one anonymous person; K1 has B later without proof: before that, B is still that person."""
    people = People(
        [tie("A", "B", days(1), 2, kind="link", human="touch", token="t", session_start=days(1) - 1)],
        sign_in("B", "K1", at=days(2), proof="script"),
    )
    assert people.person("A", days(1)) == people.person("B", days(1))
    assert people.who("B", days(3), "script") == "K1"
    assert people.who("A", days(3)) == ""


def test_a_hand_over_between_two_customers_is_noted() -> None:
    """K1's app opens a browser that is K2's: nothing but the note."""
    people = People(
        sign_in("A", "K2", at=days(1)),
        sign_in("B", "K1", at=days(1)),
        [tie("A", "B", days(2), 2, kind="link", human="touch", token="t")],
    )
    assert people.who("A", days(3)) == "K2"
    assert people.refused == ["other_customer"]


def test_ninety_days_are_counted_in_milliseconds() -> None:
    """The bound is the policy's, to the millisecond."""
    assert POLICY.look_back_ms == 90 * DAY_MS


def test_links_alone_make_no_shared_device() -> None:
    """Six forwarded mails clicked on one browser say nothing about its people: one is confirmed, five are noted."""
    people = People(*(click("A", f"K{n}", at=days(n)) for n in range(1, 7)), sign_in("A", "K1", at=days(9)))
    assert people.who("A", days(0)) == "K1"
    assert people.refused == ["forwarded"] * 5


def test_shared_tablet_between_two_sessions_of_one_person_is_nobodys() -> None:
    """The same account in the morning and in the evening: the hours between are not its own."""
    people = People(
        *(sign_in("A", f"K{n}", at=days(n), session=f"s{n}") for n in range(1, 7)),
        sign_in("A", "K6", at=days(6) + 4 * 60 * MINUTE_MS, session="evening"),
    )
    assert people.who("A", days(6) + 60 * MINUTE_MS) == ""
    assert people.who("A", days(6) + 241 * MINUTE_MS) == "K6"


def test_shared_tablet_handed_on_at_once() -> None:
    """The next person's sign-in ends the time of the one before, half an hour or not."""
    people = People(
        *(sign_in("A", f"K{n}", at=days(1) + n * 10 * MINUTE_MS, session=f"s{n}") for n in range(1, 7)),
    )
    assert people.who("A", days(1) + 19 * MINUTE_MS) == "K1"
    assert people.who("A", days(1) + 20 * MINUTE_MS) == "K2"


def test_a_second_click_with_proof_opens_its_session() -> None:
    """The first click came without the cookie, the second with it: the session counts from its start."""
    people = People(
        click("A", "K1", at=hours(2), session_start=hours(1), proof="script"),
        click("A", "K1", at=hours(2.5), session_start=hours(1)),
    )
    assert people.who("A", hours(1)) == "K1?"


def test_a_sign_in_without_proof_confirms_no_link_that_is_proved() -> None:
    """Whoever mails a link of their own, and knows the visitor's id, cannot confirm it from elsewhere."""
    clicked = click("A", "K1", at=hours(2), session_start=hours(1))
    people = People(clicked, sign_in("A", "K1", at=hours(4), proof="script"))
    assert [people.who("A", hours(h)) for h in (0.5, 1, 3, 5)] == ["", "K1?", "K1?", "K1?"]
    assert people.refused == []


def test_without_cookies_a_sign_in_confirms_a_link_and_opens_no_history() -> None:
    """Neither is proved: the click's time becomes certain, what lies before stays anonymous."""
    clicked = click("A", "K1", at=hours(2), session_start=hours(1), proof="script")
    people = People(clicked, sign_in("A", "K1", at=hours(4), proof="script"))
    assert [people.who("A", hours(h), "script") for h in (1, 2, 3, 5)] == ["", "K1", "K1", "K1"]


def test_a_refusal_that_a_merge_has_made_idle_is_not_noted() -> None:
    """E1 stood between K1 and K2; the operator says that they are one: nothing is refused any more."""
    people = People(
        sign_in("A", "K1", "E1", at=days(1)), sign_in("B", "K2", "E1", at=days(2)), alias("K1", "K2", at=days(3))
    )
    assert people.refused == []


def test_a_person_is_named_by_its_customer_key_however_late_that_came() -> None:
    """E1 was there first: the person id is K1's all the same, because that is what stays."""
    people = People(sign_in("A", "E1", at=days(1)), sign_in("A", "K1", at=days(3)))
    assert people.person("E1") == key("K1")
    assert people.who("A", days(0)) == "K1"


def test_a_key_named_twice_in_one_request_counts_at_its_higher_level() -> None:
    """Signed by the page and vouched for by the server in one event: level 4."""
    rows = [tie("A", "K1", hours(1), level, event="one") for level in (3, 4)]
    assert [row.level for row in People(rows).resolution.map_rows if row.key == key("A")] == [4]


def test_two_writings_of_one_evidence_id_have_one_meaning() -> None:
    """Nobody honest does that; whoever comes first makes no difference."""
    first, second = tie("A", "K1", hours(1), id="same"), tie("A", "K2", hours(2), id="same")
    assert People([first, second]).resolution == People([second, first]).resolution


def test_a_hand_over_gives_the_app_no_history() -> None:
    """Proof and session are the browser's that brought the evidence, not the app's: B is K1's from that moment on."""
    people = People(sign_in("A", "K1", at=days(1)), [tie("A", "B", days(2), 3, session_start=days(2) - 5)])
    assert people.who("B", days(2) - 1, "script") == ""
    assert people.who("B", days(2), "script") == "K1"


def test_keys_known_to_be_fused_are_fused_though_their_visitors_are_not_given() -> None:
    """Stitch does not read the ten thousand visitors again to resolve one of them."""
    people = People(sign_in("A", "K1", at=hours(1)), fused={key("K1")})
    assert people.resolution.map_rows == ()
    assert people.refused == ["fused"]


def test_a_customer_is_known_since_the_first_signed_word() -> None:
    """The click came before; the certainty came with the sign-in. Without one, the click's interval counts."""
    clicked = click("A", "K1", at=hours(2), session_start=hours(1))
    assert [c.since_ms for c in People(clicked).resolution.customers] == [hours(1)]
    assert [c.since_ms for c in People(clicked, sign_in("A", "K1", at=hours(3))).resolution.customers] == [hours(3)]


def test_an_anonymous_person_has_the_id_of_its_oldest_visitor() -> None:
    """B was seen in an earlier hand-over than A, so B names the person of all three; the rows are A's and C's."""
    people = People(
        [tie("B", "C", hours(1), 2, kind="link", human="key", token="t")],
        [tie("A", "B", hours(2), 2, kind="link", human="key", token="u")],
    )
    oldest = min(key("B"), key("C"))
    assert {people.person(name) for name in "ABC"} == {oldest}
    assert {row.key for row in people.resolution.map_rows} == {key(name) for name in "ABC"} - {oldest}


def test_an_anonymous_person_is_there_again_after_a_sign_out() -> None:
    """B is one with the older A; K1 has B for two hours; before and after, B is that anonymous person."""
    people = People(
        [tie("B", "A", hours(2), 2, kind="link", human="key", token="t", session_start=hours(1))],
        [tie("A", "C", hours(0), 2, kind="link", human="key", token="u")],
        sign_in("B", "K1", at=hours(3), proof="script"),
        reset("B", "B", at=hours(5)),
    )
    anonymous = people.person("A", hours(2))
    assert anonymous != key("B")
    assert [people.person("B", hours(h), "script") for h in (2, 4, 6)] == [anonymous, key("K1"), anonymous]


def test_a_person_keeps_its_id_when_the_key_of_its_pseudonym_changes() -> None:
    """E1 signed in before, E2 is E1 under the new key: one identifier, by both names, shown by the newer."""
    before = sign_in("A", "E1", at=days(1))
    people = People(before, rekey("E1", "E2", at=days(2)), sign_in("B", "E2", at=days(3)))
    assert {people.person(name) for name in ("A", "B", "E1", "E2")} == {key("E1")}
    assert (people.who("A", days(1)), people.who("B", days(3))) == ("E2", "E2")
    assert [(c.person_id, c.customer_id) for c in people.resolution.customers] == [(key("E1"), "value-E2")]
    assert people.resolution.merges == ()
    assert (
        People(before, rekey("E1", "E2", at=days(2)), take_back(rekey("E1", "E2", at=days(2)))).resolution
        == People(before).resolution
    )


def test_a_second_change_of_keys_leads_back_to_the_first_name() -> None:
    """E1, then E2, then E3, in any order, with a name in between that nobody ever signed in by."""
    renames = [*rekey("E2", "E3", at=days(4)), *rekey("E1", "E2", at=days(2))]
    people = People(renames, sign_in("B", "E3", at=days(5)), sign_in("A", "E1", at=days(1)))
    assert people.are_one("A", "B")
    assert {people.person(name) for name in ("E1", "E2", "E3")} == {key("E1")}


def test_two_names_of_an_identifier_count_once() -> None:
    """For caps, fuses and a space's own blocks: it is one value, whatever it is called."""
    renamed = rekey("E0", "E9", at=days(1))
    ten = [row for n in range(10) for row in sign_in("A", "K1", f"E{n}", at=days(n))]
    assert People(renamed, ten).refused == []
    assert People(ten, sign_in("A", "K1", "E10", at=days(11))).refused == ["too_many_keys"]
    policy = Policy(kinds=(msgspec.structs.replace(KINDS[2], max_visitors=3),))
    crowd = [row for n in range(4) for row in sign_in(f"v{n}", "E0" if n < 2 else "E9", at=minutes(n))]
    assert People(crowd, policy=policy).refused == []
    assert set(People(renamed, crowd, policy=policy).refused) == {"fused"}
    blocking = Policy(blocked_keys=frozenset({key("E0")}))
    assert People(renamed, sign_in("A", "E9", at=days(2)), policy=blocking).refused == ["blocked"]
    assert (
        People(renamed, policy=blocking).resolution
        == People(renamed, fused={key("E9")}).resolution
        == People().resolution
    )


def test_an_identifier_of_which_nothing_else_is_known_is_its_first_names() -> None:
    """A server's events name it alone, which is no evidence: under the new name they are still the same person's."""
    people = People(rekey("E1", "E2", at=days(1)))
    assert people.person("E2") == key("E1")
    assert people.resolution.customers == ()
    assert people.who("E2", days(2)) == ""


def test_only_names_of_one_kind_are_one_identifier() -> None:
    """What says otherwise, or less surely, says nothing."""
    (row,) = rekey("E1", "E2", at=days(1))
    known = sign_in("A", "E1", at=days(1))
    for odd in (msgspec.structs.replace(row, level=3), msgspec.structs.replace(row, b_kind="phone")):
        assert People(known, [odd]).resolution == People(known).resolution


def test_an_alias_from_a_signed_page_ties_what_it_names() -> None:
    """The tag's alias is a request with several keys: they are one person's, unless two are of a unique kind."""

    def say(*names: str, level: int = 3) -> list[Evidence]:
        rows = sign_in("A", *names, at=days(1), level=level)
        return [msgspec.structs.replace(row, kind="alias") for row in rows]

    people = People(say("K1", "E1"))
    assert people.are_one("K1", "E1")
    assert people.who("A", days(0)) == "K1"
    people = People(say("K1", "K2"))
    assert not people.are_one("K1", "K2")
    assert people.refused == ["two_people"]
    assert People(say("K1", "E1", level=1)).resolution == People().resolution
