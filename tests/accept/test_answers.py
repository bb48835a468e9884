"""What is written down of an answer about consent: each once, with what proves it, and nothing of who is unknown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collector.accept.answers import make_mark
from collector.accept.pipeline import accept
from collector.accept.visitor_cookie import VisitorCookie, read_cookie, write_cookie
from collector.event import NIL_ID, ConsentRow, Context, LandingRow
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.privacy.tombstones import Tombstones, mark_key
from collector.purposes import ASKED, Purpose
from collector.reasons import Reason
from tests.edge_examples import (
    KEYRING,
    NOW_MS,
    NOW_S,
    SITE,
    VISITOR,
    make_body,
    make_context,
    make_event,
    refuse,
    take,
)

KEY = own_person_id(KEYRING.pseudonym_key, "main", VISITOR_KIND, VISITOR)
SESSION = {"i": "0b00a0d7-1f25-7e5f-8f5b-8f6f7c5ff0a1", "n": 1, "t": NOW_MS}


def cookies(consent: str = "", **changes: Any) -> dict[str, str]:
    """A visitor's cookie that says what was written down last."""
    cookie = VisitorCookie(VISITOR, NOW_S - 60, consent=consent)._replace(**changes)
    return {"__Host-ts_shop": write_cookie(KEYRING, "shop", cookie)}


def answer(letters: str | None, *events: dict[str, Any], before: str | None = None, **context: Any) -> LandingRow:
    """The row of a beacon. `before`: what the cookie says; None: there is none."""
    sent = {} if before is None else cookies(before)
    _, row = take(make_body(*events, c=letters, x=SESSION), make_context(cookies=sent, **context))
    return row


def states(entries: list[ConsentRow]) -> dict[str, str]:
    """State by purpose."""
    return {entry.purpose: entry.state for entry in entries}


def test_a_first_answer_is_written_down_for_each_purpose() -> None:
    """Whose it is, when, where and to which version; the cookie says that it was."""
    site = msgspec.structs.replace(SITE, policy_version=4)
    outcome, row = take(make_body(c="ai", x=SESSION, u="https://shop.example/a?q=1"), make_context(site=site))
    assert states(row.consents) == {
        "analytics": "granted",
        "identity": "granted",
        "fingerprint": "denied",
        "personalisation": "denied",
        "marketing": "denied",
    }
    entry = row.consents[0]
    assert (entry.key, entry.source, entry.time_ms, entry.policy_version) == (KEY, "tag", row.events[0].time_ms, 4)
    assert entry.page == row.events[0].url == "https://shop.example/a"
    assert len({entry.consent_id for entry in row.consents}) == len(ASKED)
    kept = read_cookie(KEYRING, "shop", outcome.set_cookie or "", NOW_S)
    assert kept is not None
    assert kept.consent == "ai4"


def test_an_answer_that_is_said_again_is_none() -> None:
    """The cookie has it already: no entry, and no cookie to set."""
    outcome, row = take(make_body(c="ai", x=SESSION), make_context(cookies=cookies("ai1")))
    assert (row.consents, outcome.set_cookie) == ([], None)


@pytest.mark.parametrize(
    ("before", "letters", "changed"),
    [
        ("aim1", "ai", {"marketing": "withdrawn"}),
        ("ai1", "aim", {"marketing": "granted"}),
        ("af1", "am", {"fingerprint": "withdrawn", "marketing": "granted"}),
        ("am3", "am", dict.fromkeys(ASKED, "denied") | {"analytics": "granted", "marketing": "granted"}),
        ("", "am", dict.fromkeys(ASKED, "denied") | {"analytics": "granted", "marketing": "granted"}),
        ("nonsense", "a", dict.fromkeys(ASKED, "denied") | {"analytics": "granted"}),
    ],
)
def test_only_what_has_changed_is_an_entry(before: str, letters: str, changed: dict[str, str]) -> None:
    """What was granted before is taken back; to another version of the policy everything is answered anew."""
    assert states(answer(letters, before=before).consents) == changed


def test_without_a_cookie_of_ours_it_is_written_once_a_session() -> None:
    """A browser that keeps no cookie for us says it with each session, not with each page."""
    later = make_body(make_event(1, t=NOW_MS + 1_000), c="ai", x=SESSION)
    assert take(later, make_context())[1].consents == []
    assert len(answer("ai").consents) == len(ASKED)


@pytest.mark.parametrize(("is_dnt", "source"), [(False, "gpc"), (True, "dnt")])
def test_a_signal_of_the_browser_is_the_source_of_what_it_refuses(is_dnt: bool, source: str) -> None:
    """Whatever the page says of fingerprint and marketing; of the others it is the page's word."""
    said = answer("aifpm", before="", gpc=True, is_dnt=is_dnt).consents
    assert states(said) == dict.fromkeys(ASKED, "granted") | {"fingerprint": "denied", "marketing": "denied"}
    assert {entry.purpose for entry in said if entry.source == source} == {"fingerprint", "marketing"}
    assert {entry.source for entry in said} == {"tag", source}


def test_a_signal_counts_where_nobody_was_asked() -> None:
    """Under a preset that implies the rest; without a signal nothing was said, and nothing is written."""
    implied = msgspec.structs.replace(SITE, consent="implied")
    assert states(answer(None, before="", gpc=True, site=implied).consents) == {
        "fingerprint": "denied",
        "marketing": "denied",
    }
    assert answer(None, before="?-1", gpc=True, site=implied).consents == []
    assert answer(None, before="", site=implied).consents == []
    outcome, _ = take(make_body(c=None), make_context(site=implied, cookies=cookies("aim1")))
    assert outcome.set_cookie is None, "a page without a banner takes nothing back"


def test_the_signal_that_is_gone_gives_nothing_back_by_itself() -> None:
    """Only where the page says that the visitor has granted it."""
    assert states(answer("ai", before="ai-1").consents) == {}
    assert states(answer("aim", before="ai-1").consents) == {"marketing": "granted"}


def test_a_proof_stands_in_the_ledger_and_nowhere_else() -> None:
    """What a consent tool keeps of the answer, under its name; the event keeps the rest."""
    about = {"source": "tcf", "proof": "CQuFeUAQuFeUAAfABAENAwFkAIkA", "policy": 7}
    row = answer("ai", make_event(1), make_event(2, n="consent", p=about, t=NOW_MS - 5), before="ai7")
    assert {(entry.source, entry.proof, entry.policy_version) for entry in row.consents} == {
        ("tcf", "CQuFeUAQuFeUAAfABAENAwFkAIkA", 7)
    }
    assert len(row.consents) == len(ASKED), "a proof is written down though nothing has changed"
    assert {entry.time_ms for entry in row.consents} == {NOW_MS - 5}
    assert msgspec.json.decode(row.events[1].props) == {"source": "tcf", "policy": 7}


@pytest.mark.parametrize(
    ("about", "reason", "field"),
    [
        ({"proof": "x" * 4_001}, Reason.SIZE, "e.p.proof"),
        ({"proof": 17}, Reason.SHAPE, "e.p.proof"),
        ({"source": "<b>"}, Reason.SHAPE, "e.p.source"),
        ({"source": ""}, Reason.SHAPE, "e.p.source"),
        ({"source": "unsubscribe"}, Reason.SHAPE, "e.p.source"),
        ({"source": "gpc"}, Reason.SHAPE, "e.p.source"),
        ({"policy": -1}, Reason.SHAPE, "e.p.policy"),
        ({"policy": 65_536}, Reason.SHAPE, "e.p.policy"),
        ({"policy": "3"}, Reason.SHAPE, "e.p.policy"),
    ],
)
def test_what_cannot_stand_there_is_left_out_and_said(about: dict[str, Any], reason: Reason, field: str) -> None:
    """The answer itself counts all the same."""
    outcome, row = take(make_body(make_event(1, n="consent", p=about), c="a", x=SESSION))
    assert [(rejected.reason, rejected.field) for rejected in outcome.rejected] == [(reason, field)]
    assert len(row.consents) == len(ASKED)
    assert {(entry.source, entry.proof, entry.policy_version) for entry in row.consents} == {("tag", "", 1)}
    assert msgspec.json.decode(row.events[0].props) == {}


def test_who_takes_everything_back_is_written_down_for_the_last_time() -> None:
    """The cookie says whose it was; nothing else of the beacon is kept."""
    said = make_event(1, n="consent", p={"source": "our banner"}, t=NOW_MS - 9)
    outcome, _ = refuse(make_body(said, c="", d=None), make_context(cookies=cookies("aim1")))
    row = msgspec.json.decode(outcome.line, type=LandingRow)
    assert states(row.consents) == {"analytics": "withdrawn", "identity": "withdrawn", "marketing": "withdrawn"}
    assert {(one.key, one.source, one.time_ms) for one in row.consents} == {(KEY, "our banner", NOW_MS - 9)}
    assert (row.events, row.visitor_id, row.own_person_id, row.network) == ([], NIL_ID, NIL_ID, "")
    assert outcome.set_cookie == ""


def test_an_objection_takes_everything_back() -> None:
    """Also where the cookie does not say what had been granted."""
    outcome, _ = refuse(make_body(c="aim"), make_context(cookies=cookies() | {"_ts_out": "1"}))
    row = msgspec.json.decode(outcome.line, type=LandingRow)
    assert states(row.consents) == dict.fromkeys(ASKED, "withdrawn")
    assert {entry.source for entry in row.consents} == {"opt_out"}


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"cookies": {"__Host-ts_shop": "made up"}},
        {"cookies": cookies("aim1"), "origin": ""},
        {"cookies": cookies("aim1"), "pixel": True},
    ],
    ids=["no cookie", "no cookie of ours", "no page", "a picture"],
)
def test_who_is_not_known_leaves_no_trace(context: dict[str, Any]) -> None:
    """A refusal of nobody's is nobody's withdrawal; and a stranger's picture withdraws nothing."""
    outcome, _ = refuse(make_body(c="", d=None), make_context(**context))
    assert outcome.line == b""


def test_who_was_erased_leaves_no_trace() -> None:
    """Their cookie may still come along with a no."""
    context = make_context(cookies=cookies("aim1"))
    tombstones = Tombstones({"main": {mark_key(KEY): NOW_MS - 1_000}})
    book = msgspec.structs.replace(context.sites, tombstones=tombstones)
    outcome, _ = refuse(make_body(c="", d=None), msgspec.structs.replace(context, sites=book))
    assert (outcome.line, outcome.set_cookie) == (b"", "")


def test_a_visitor_of_the_day_has_answered_nothing() -> None:
    """Nothing ties an answer to anybody."""
    site = msgspec.structs.replace(SITE, consent="cookieless")
    context = make_context(site=site, day_salt=b"s" * 32, gpc=True)
    assert take(make_body(c="", d=None, x=None), context)[1].consents == []


@pytest.mark.parametrize("letters", [None, "", "a", "zz", "mpfia"])
@pytest.mark.parametrize("is_refused", [True, False])
def test_what_a_cookie_says_fits_into_one(letters: str | None, is_refused: bool) -> None:
    """No sign of it parts the cookie's fields, or a header's."""
    mark = make_mark(letters, is_refused=is_refused, policy=65_535)
    read = read_cookie(KEYRING, "shop", cookies(mark)["__Host-ts_shop"], NOW_S)
    assert read is not None
    assert read.consent == mark
    assert not set(mark) & set('.;, "\\')


def test_each_purpose_has_a_letter_of_its_own() -> None:
    """And the mark keeps their order, so that one answer has one mark."""
    assert make_mark("mpfia", is_refused=False, policy=1) == "aifpm1"
    assert len({purpose[0] for purpose in ASKED}) == len(ASKED) == len(Purpose) - 1


def test_the_same_beacon_again_is_the_same_entries() -> None:
    """So that a retry is kept once."""
    body = msgspec.json.encode(make_body(c="ai", x=SESSION))

    def read(context: Context) -> list[ConsentRow]:
        outcome = accept(body, context)
        return msgspec.json.decode(outcome.line, type=LandingRow).consents

    assert read(make_context()) == read(make_context(received_at_ms=NOW_MS))
