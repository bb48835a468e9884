"""The pipeline as a whole: order, lines, repetition, and what is left of what is refused."""

from __future__ import annotations

import msgspec
import pytest

from collector.accept.pipeline import STEPS, accept
from collector.event import NIL_ID, EventRow, EvidenceRow, LandingRow, RejectedRow
from collector.reasons import Reason
from collector.store.rendering import read_migrations
from tests.edge_examples import (
    NOW_MS,
    ORIGIN,
    VISITOR,
    make_body,
    make_context,
    make_event,
    make_id,
    refuse,
    sign,
    take,
)


def test_the_steps_and_their_order() -> None:
    """Consent is decided before anything is derived, and texts are cleaned before anything is written."""
    assert [step.__name__ for step in STEPS] == [
        "decode",
        "validate",
        "pace",
        "consent",
        "minimise",
        "recognise",
        "identify",
        "sample",
    ]


def test_a_beacon_becomes_one_line() -> None:
    """A kept beacon is one line of JSON that holds a LandingRow's fields, but for those at their defaults."""
    answer, row = take(make_body(make_event(1), make_event(2, n="purchase", p={"price": 9.5})))
    assert b"\n" not in answer.line
    written = set(msgspec.json.decode(answer.line))
    assert written <= {field.name for field in msgspec.structs.fields(LandingRow)}
    assert {"received_at_ms", "site_id", "wire_version", "visitor_proof"} <= written, "the store's defaults are others"
    assert {"link_status", "reset_from", "evidence"} & written == set()
    assert len(answer.line) < 900
    assert (row.site_id, row.space_id, row.visitor_id) == ("shop", "main", VISITOR)
    assert [(event.name, event.props) for event in row.events] == [("page_view", "{}"), ("purchase", '{"price":9.5}')]
    assert answer.events == 2
    assert answer.reasons == ()


def test_the_same_beacon_twice_is_the_same_line() -> None:
    """Ids, own person ids and evidence ids follow from the beacon alone, so that a retry changes nothing."""
    body = msgspec.json.encode(
        make_body(make_event(7, n="identify", k=[{"k": "customer", "v": "4711", "g": sign("4711")}]), make_event(8))
    )
    assert accept(body, make_context()) == accept(body, make_context())


def test_derived_ids_never_change() -> None:
    """The ids that the store depends on are pinned: other ones would make new people of known ones."""
    _, row = take(make_body(make_event(7, n="identify", k=[{"k": "customer", "v": "4711"}])))
    assert row.own_person_id == "bad412a1-7ae0-66e6-6f47-60cf330d7fd0"
    assert row.evidence[0].b_key == "0635d6d5-21cb-5011-27f2-f216d56545a2"
    assert row.evidence[0].evidence_id == "5fbd36f0-7b85-3e4d-bd37-cf9413b8c89d"


def test_a_retry_that_arrives_later_has_the_same_key() -> None:
    """Time, visitor and event id do not depend on the arrival; only `received_at_ms` does."""
    body = make_body(o=-4000)
    _, first = take(body)
    _, second = take(body, make_context(received_at_ms=NOW_MS + 3_600_000))
    assert first.events == second.events
    assert first.events[0].time_ms == NOW_MS - 4000
    assert first.visitor_id == second.visitor_id
    assert second.received_at_ms == NOW_MS + 3_600_000


def test_a_bad_event_goes_alone() -> None:
    """One refused event costs its neighbours nothing, and is counted with its reason and field."""
    answer, row = take(make_body(make_event(1), make_event(2, t=1), make_event(3, t=2), make_event(4)))
    assert [event.event_id for event in row.events] == [make_id(1), make_id(4)]
    assert answer.reasons == (Reason.CLOCK,)
    assert [(r.step, r.reason, r.field, r.events) for r in row.rejected] == [("validate", "clock", "e[1].t", 2)]


def test_a_refused_beacon_leaves_only_its_count() -> None:
    """Of a refused beacon the line holds reason, size and keyed digest, and nothing else."""
    body = msgspec.json.encode(make_body(v=9, h="Secret title"))
    answer, row = refuse(body)
    assert answer.rejected.step == "validate"
    [rejected] = row.rejected
    assert (rejected.reason, rejected.field, rejected.body_bytes, rejected.events) == ("version", "v", len(body), 1)
    assert len(rejected.digest) == 32
    bare = LandingRow(
        received_at_ms=NOW_MS, site_id="", space_id="", visitor_proof="none", rejected=[rejected], visitor_id=NIL_ID
    )
    assert row == bare


def test_a_beacon_for_an_unknown_site_names_no_site() -> None:
    """What a stranger writes into the site field is not stored."""
    _, row = refuse(make_body(s="joe@example.com"))
    assert (row.site_id, row.space_id) == ("", "")
    assert row.rejected[0].reason == "site"


def test_a_small_body_makes_no_huge_line() -> None:
    """What a beacon says once stands on each of its events; a line that no insert could take is refused as a whole."""
    page = f"{ORIGIN}/" + "ab" * 4000
    body = make_body(*(make_event(number) for number in range(500)), u=page, r=page, h="x y " * 2000)
    answer, row = refuse(body)
    assert (answer.rejected.reason, answer.rejected.step) == (Reason.SIZE, "encode")
    assert (row.events, row.rejected[0].events) == ([], 500)


def test_retention_stands_on_the_row() -> None:
    """The site's retention travels with every row."""
    site = msgspec.structs.replace(make_context().sites.sites["shop"], keep_days=30)
    _, row = take(make_body(), make_context(site=site))
    assert row.keep_days == 30


@pytest.mark.parametrize("count", [0, 501])
def test_too_many_events_and_none(count: int) -> None:
    """A beacon holds 1 to 500 events."""
    body = make_body()
    body["e"] = [make_event(n + 1) for n in range(count)]
    answer, _ = refuse(body)
    assert answer.rejected.reason is Reason.COUNT


@pytest.mark.parametrize("struct", [LandingRow, EventRow])
def test_what_is_left_out_of_a_line_is_what_the_store_fills_in(struct: type[msgspec.Struct]) -> None:
    """A field that is left out at its default has the default of its column: empty text, 0, the nil id, or what the
    migration says."""
    (landing,) = (one.source for one in read_migrations() if one.version == 1)
    assert struct.__struct_config__.omit_defaults
    for field in msgspec.structs.fields(struct):
        if field.default is not msgspec.NODEFAULT and (struct.__name__, field.name) != ("EventRow", "props"):
            is_said = f"    {field.name} UInt16 DEFAULT {field.default} COMMENT" in landing
            assert field.default in ("", 0, NIL_ID) or is_said, field.name
    assert EventRow("i", "n", 0).props == "{}", "which is what the view makes of empty properties"


@pytest.mark.parametrize("struct", [EvidenceRow, RejectedRow])
def test_rows_with_other_defaults_are_written_whole(struct: type[msgspec.Struct]) -> None:
    """A piece of evidence stands (`op` 1), a refusal is one beacon: the store would fill in 0."""
    assert not struct.__struct_config__.omit_defaults
