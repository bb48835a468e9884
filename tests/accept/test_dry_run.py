"""The dry run: it judges as the pipeline does, tells why and what to do, and keeps nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.accept.advice import ADVICE
from collector.accept.dry_run import DryRun, try_out
from collector.accept.pipeline import Accepted, accept
from collector.console.inspect import find_status
from collector.endpoints.beacon import QUIET, STATUS_BY_REASON
from collector.event import Context, LandingRow
from collector.reasons import Reason
from tests.accept.test_canaries import CANARIES, _planted
from tests.accept.test_malformed import CLASSES
from tests.edge_examples import ADDRESS, ORIGIN, VISITOR, make_body, make_context, make_event, make_id

GOLDEN = sorted((Path(__file__).parents[1] / "data" / "beacons").glob("*.json"))


def _run(body: dict[str, Any] | bytes, context: Context | None = None) -> DryRun:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return try_out(raw, context or make_context())


def _check_same(body: bytes, context: Context) -> None:
    """Hold the dry run against what the pipeline itself does with the same bytes."""
    real, tried = accept(body, context), try_out(body, context)
    assert tried.accepted is isinstance(real, Accepted)
    if isinstance(real, Accepted):
        row = msgspec.json.decode(real.line, type=LandingRow)
        assert tried.row is not None
        assert tried.row == msgspec.structs.replace(row, rejected=[], evidence=[])
        assert list(tried.evidence) == row.evidence
        assert {finding.reason for finding in tried.rejected} == set(real.reasons)
        assert tried.visitor_reply == (real.visitor_reply or "")
    else:
        assert [(f.step, f.reason, f.field) for f in tried.rejected] == [
            (real.rejected.step, real.rejected.reason, real.rejected.field)
        ]
        assert find_status(tried) == (
            204 if real.rejected.reason in QUIET else STATUS_BY_REASON.get(real.rejected.reason, 400)
        )


@pytest.mark.parametrize("name", list(CLASSES))
def test_every_bad_class_is_judged_alike(name: str) -> None:
    """What is wrong in one is wrong in the other, for the same reason and in the same field."""
    _check_same(CLASSES[name][0], make_context())


@pytest.mark.parametrize("canary", [text for text, _ in CANARIES.values()])
def test_a_beacon_full_of_everything_is_judged_alike(canary: str) -> None:
    """Identifiers, links, signals, sessions: the row and the evidence are the pipeline's own."""
    _check_same(msgspec.json.encode(_planted(canary)), make_context())


@pytest.mark.parametrize("consent", ["required", "implied", "cookieless", "off"])
@pytest.mark.parametrize("letters", [None, "", "a", "ai", "aifm"])
def test_consent_is_judged_alike(consent: str, letters: str | None) -> None:
    """Whatever the site's preset and the page's answer."""
    site = msgspec.structs.replace(make_context().sites.sites["shop"], consent=consent)
    body = make_body(make_event(1, n="identify", k=[{"k": "customer", "v": "4711"}]), make_event(2), c=letters)
    _check_same(msgspec.json.encode(body), make_context(site=site, day_salt=b"salt" * 8))


@pytest.mark.parametrize("canary", list(CANARIES))
def test_no_canary_is_told(canary: str) -> None:
    """The outcome names places and kinds, never what stood there."""
    text, traces = CANARIES[canary]
    told = msgspec.json.encode(_run(_planted(text))).decode()
    assert '"accepted":true' in told
    for trace in traces:
        assert trace not in told


def test_what_is_taken_out_is_named_by_place() -> None:
    """Parameters by their name, texts by their field."""
    outcome = _run(
        make_body(
            make_event(
                u=f"{ORIGIN}/a?utm_source=x&session=1&eyJ%20=2#top",
                p={"mail": "ada@mail.example", "list": [{"ip": ADDRESS}], "a.b": 1},
            ),
            u=f"https://ada:secret@shop.example/{'x1' * 20}",
            r="no address",
            h="fine",
        )
    )
    assert [(removal.field, removal.what.partition(",")[0]) for removal in outcome.removed] == [
        ("u", "user name and password"),
        ("u", "what looks like an e-mail address"),
        ("r", "all of it: it is no absolute address"),
        ("e[0].u", "the fragment"),
        ("e[0].u", "the parameter session"),
        ("e[0].u", "a parameter"),
        ("e[0].p.mail", "what looks like an e-mail address"),
        ("e[0].p.list[0].ip", "what looks like an e-mail address"),
    ]


def test_findings_say_which_event_and_what_to_do() -> None:
    """A refused event is named; the advice is that of its reason."""
    outcome = _run(make_body(make_event(1), make_event(2, n="purchase", t=0)))
    (finding,) = outcome.rejected
    assert (finding.reason, finding.field, finding.event, finding.event_id) == (
        Reason.CLOCK,
        "e[1].t",
        "purchase",
        make_id(2),
    )
    assert (finding.message, finding.fix) == ADVICE[Reason.CLOCK]
    assert outcome.row is not None
    assert [event.name for event in outcome.row.events] == ["page_view"]


def test_a_refused_beacon_tells_nothing_of_itself() -> None:
    """Without consent, or from elsewhere, there is a reason and no row, no name, no removal."""
    body = make_body(make_event(n="secret-name"), c="", u=f"{ORIGIN}/secret-page")
    site = msgspec.structs.replace(make_context().sites.sites["shop"], consent="required")
    for context in (make_context(site=site), make_context(origin="https://evil.example")):
        outcome = _run(body, context)
        assert not outcome.accepted
        assert outcome.row is None
        assert "secret" not in msgspec.json.encode(outcome).decode()


def test_notes_say_what_surprises() -> None:
    """A misspelt field, no visitor, a robot, a program: right as it is, and worth to know."""
    body = make_body({**make_event(), "url": "x", "k": []}, d=None, x=None, sight="shop")
    notes = " ".join(_run(body, make_context(user_agent="curl/8.0", origin="")).notes)
    for text in ("The field sight is unknown", "The field e[0].url is unknown", "No visitor", "robot", "No session"):
        assert text in notes
    notes = " ".join(_run(make_body()).notes)
    assert "would set the visitor's cookie" in notes
    assert "unknown" not in notes


def test_every_reason_has_its_advice() -> None:
    """Whoever is refused reads two sentences."""
    assert set(ADVICE) == set(Reason)
    for advice in ADVICE.values():
        assert advice.message.endswith(".")
        assert advice.fix.endswith(".")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_golden_beacons_have_no_unknown_field(path: Path) -> None:
    """What the tag really sends is known, field by field."""
    notes = _run(json.loads(path.read_text(encoding="utf-8"))).notes
    assert not any("unknown" in note for note in notes)


def test_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of the process are those of real beacons."""

    def fail(*_: object) -> None:
        raise AssertionError("counted")

    for name in ("count_step", "count_accepted", "count_rejected"):
        monkeypatch.setattr(f"collector.accept.pipeline.{name}", fail)
    site = msgspec.structs.replace(make_context().sites.sites["shop"], rate=1)
    assert _run(make_body(make_event(1), make_event(2, t=0)), make_context(site=site, judge_rate=fail)).accepted
    assert not _run(b"no json").accepted
    assert VISITOR in msgspec.json.encode(_run(make_body()).row).decode()
