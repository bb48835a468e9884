"""Consent: what each preset makes of what the page said, and what is taken out without it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.event import NIL_ID
from collector.links.minting import mint_link
from collector.purposes import ASKED, Purpose, read_purposes
from collector.reasons import Reason
from tests.edge_examples import (
    KEYRING,
    NOW_S,
    SITE,
    VISITOR,
    make_body,
    make_context,
    make_event,
    read_line,
    refuse,
    sign,
    take,
)

A, I, F, P, M = ASKED  # noqa: E741
SIGNALS = {"v": 1, "s": {"canvas": "ab12", "audio": 124.04, "math": "ff", "platform": "Linux x86_64"}}


@pytest.mark.parametrize(
    ("preset", "letters", "purposes"),
    [
        ("required", None, set()),
        ("required", "", set()),
        ("required", "a", {A}),
        ("required", "aifpm", {A, I, F, P, M}),
        ("required", "i", {I}),
        ("required", "aXyz!", {A}),
        ("implied", None, {A, I, P, M}),
        ("implied", "", set()),
        ("implied", "af", {A, F}),
        ("cookieless", None, set()),
        ("cookieless", "", set()),
        ("cookieless", "ai", {A, I}),
        ("off", None, {A, I, F, P, M}),
        ("off", "", set()),
        ("off", "a", {A}),
        ("no such preset", None, set()),
    ],
)
def test_presets(preset: str, letters: str | None, purposes: set[Purpose]) -> None:
    """Each preset reads the wire's letters as documented; what is not known grants nothing."""
    assert read_purposes(letters, preset) == purposes


@pytest.mark.parametrize("letters", ["", "i", "ifm"])
def test_without_analytics_only_the_count_is_kept(letters: str) -> None:
    """A beacon without consent to analytics leaves its reason and size, no event, no address."""
    answer, row = refuse(make_body(c=letters, h="Pregnancy test"))
    assert answer.rejected.reason is Reason.CONSENT
    assert (row.events, row.network, row.browser, row.visitor_id) == ([], "", "", NIL_ID)
    assert (row.site_id, row.rejected[0].reason, row.rejected[0].events) == ("shop", "consent", 1)
    assert b"Pregnancy" not in read_line(answer)


@pytest.mark.parametrize(
    ("cookie", "left"),
    [("m", {A, I, F, P}), ("fim", {A, P}), ("a", {A, I, F, P, M}), ("xyz", {A, I, F, P, M}), ("", None)],
)
def test_what_was_refused_on_our_page_counts_before_the_banner(cookie: str, left: set[Purpose] | None) -> None:
    """A letter for each purpose; analytics is not among them, and what is no letter refuses nothing."""
    body = make_body(c="aifpm", f=SIGNALS)
    row = take(body, make_context(cookies={"_ts_no": cookie}))[1]
    assert set(row.consent.split(",")) == (set(ASKED) if left is None else left)
    assert bool(row.fingerprint) == (left is None or F in left)


def test_a_withdrawal_takes_the_cookie_away() -> None:
    """A page that says no with our cookie in the browser is answered with the cookie's removal."""
    cookie = write_cookie(KEYRING, "shop", VisitorCookie(VISITOR, NOW_S))
    context = make_context(cookies={"__Host-ts_shop": cookie})
    assert refuse(make_body(c="", d=None), context)[0].set_cookie == ""
    assert refuse(make_body(c="", d=None))[0].set_cookie is None
    silent = make_context(cookies={"__Host-ts_shop": cookie}, site=msgspec.structs.replace(SITE, consent="required"))
    assert refuse(make_body(), silent)[0].set_cookie is None, "a page that has not asked yet takes nothing away"


def test_without_identity_nobody_is_named() -> None:
    """Without consent to identity there are no identifiers, no evidence and no customer on any event. A link is counted
    by its campaign, and nothing says whose it was."""
    cookie = VisitorCookie(VISITOR, NOW_S, 3, NOW_S + 3600, "8a" * 4 + "-0000-4000-8000-000000000000")
    context = make_context(cookies={"__Host-ts_shop": write_cookie(KEYRING, "shop", cookie)})
    answer, row = take(
        make_body(
            make_event(1, n="identify", k=[{"k": "customer", "v": "4711", "g": sign("4711")}]),
            make_event(2, n="purchase", k=[{"k": "customer", "v": "4711"}]),
            make_event(3, n="reset"),
            make_event(4, n="link_confirm"),
            c="am",
            lt=mint_link(KEYRING, "4711", now_s=NOW_S, campaign="spring"),
            hs="pointer",
        ),
        context,
    )
    assert [event.name for event in row.events] == ["purchase", "reset", "link_confirm"]
    assert {(event.assurance, event.customer_key) for event in row.events} == {(0, NIL_ID)}
    assert (row.evidence, row.link_status, row.link_token_id) == ([], "unconfirmed", "")
    assert (row.link_campaign, row.link_class) == ("spring", "human")
    assert answer.reasons == (Reason.CONSENT,)
    assert "4711" not in answer.line.decode()
    assert answer.set_cookie is not None
    assert answer.set_cookie.split(".")[2:5] == ["0", "0", ""], "the cookie forgets who was signed in"


def test_the_fingerprint_needs_its_own_consent() -> None:
    """Signals count only with the letter f, also where the preset implies the rest."""
    implied = make_context(site=msgspec.structs.replace(SITE, consent="implied"))
    answer, row = take(make_body(f=SIGNALS), implied)
    assert (row.fingerprint, row.fingerprint_version) == ("", 0)
    assert answer.reasons == (Reason.CONSENT,)
    _, row = take(make_body(f=SIGNALS, c="af"), implied)
    assert row.fingerprint.startswith("v1.")
    assert row.fingerprint_version == 1
    assert row.consent == "analytics,fingerprint"


def test_global_privacy_control_is_stronger_than_the_page() -> None:
    """Under Sec-GPC fingerprint and marketing go, whatever the page says; the others stay."""
    _, row = take(make_body(f=SIGNALS, c="aifpm"), make_context(gpc=True))
    assert row.consent == "analytics,identity,personalisation"
    assert row.fingerprint == ""


@pytest.mark.parametrize("word", [{"n": "alias"}, {"n": "group", "p": {"group_id": "acme"}}])
def test_without_identity_nobody_is_aliased_or_grouped(word: dict[str, Any]) -> None:
    """Events that only say who somebody is go whole, as an identify does."""
    answer, row = take(make_body(make_event(1, **word), make_event(2), c="a", ho="token-of-another-domain"))
    assert [event.name for event in row.events] == ["page_view"]
    assert answer.reasons == (Reason.CONSENT,)
    assert {rejected.field for rejected in row.rejected} == {"ho"}
    assert sum(rejected.events for rejected in row.rejected) == 1
    assert b"acme" not in answer.line
