"""The counters say what became of beacons, in words of closed sets only."""

from __future__ import annotations

import pytest

from collector.metrics import (
    ACK_BOUNDS_S,
    COUNTERS,
    SEPARATOR,
    Histogram,
    Totals,
    add_totals,
    find_quantile,
    observe_acknowledgement,
    read_totals,
)
from tests.edge_examples import make_body, make_event, refuse, take


def _value(name: str, *labels: str) -> int:
    return read_totals().counters.get(name, {}).get(SEPARATOR.join(labels), 0)


def test_steps_events_and_refusals_are_counted() -> None:
    """A beacon counts at each step that it reached; events by site; refusals by step and reason."""
    before = {
        "decode": _value("step_beacons", "decode"),
        "identify": _value("step_beacons", "identify"),
        "events": _value("accepted_events", "shop"),
        "clock": _value("rejected", "validate", "clock"),
        "syntax": _value("rejected", "decode", "syntax"),
    }
    take(make_body(make_event(1), make_event(2), make_event(3, t=1)))
    refuse(b"{")
    assert _value("step_beacons", "decode") == before["decode"] + 2
    assert _value("step_beacons", "identify") == before["identify"] + 1
    assert _value("accepted_events", "shop") == before["events"] + 2
    assert _value("rejected", "validate", "clock") == before["clock"] + 1
    assert _value("rejected", "decode", "syntax") == before["syntax"] + 1


def test_strangers_make_no_labels() -> None:
    """What a client writes into the site field never becomes a label."""
    refuse(make_body(s="canary-site"))
    totals = read_totals()
    assert totals.counters.keys() <= COUNTERS.keys()
    assert not [labels for counts in totals.counters.values() for labels in counts if "canary" in labels]


def test_acknowledgements_fall_into_their_bucket() -> None:
    """A duration counts in the first bucket that holds it; one above all bounds in the last."""
    before = read_totals().histograms["acknowledgement_seconds"]
    for seconds in (0.002, 0.0021, 99.0):
        observe_acknowledgement(seconds)
    after = read_totals().histograms["acknowledgement_seconds"]
    grown = [b - a for a, b in zip(before.buckets, after.buckets, strict=True)]
    assert {bound: count for bound, count in zip((*ACK_BOUNDS_S, "more"), grown, strict=True) if count} == {
        0.002: 1,
        0.003: 1,
        "more": 1,
    }
    assert after.total - before.total == pytest.approx(99.0041)


def test_totals_add_up_and_leave_the_parts_alone() -> None:
    """Counters and histograms are summed label by label; a histogram with other bounds is not mixed in."""
    one = Totals(
        {"rejected": {"a": 1}, "edge_requests": {"slow": 2}}, {"x": Histogram([1, 2], 3.0), "y": Histogram([1])}
    )
    other = Totals({"rejected": {"a": 2, "b": 1}}, {"x": Histogram([10, 0], 1.0), "y": Histogram([5, 5], 1.0)})
    total = add_totals(one, other)
    assert total.counters == {"rejected": {"a": 3, "b": 1}, "edge_requests": {"slow": 2}}
    assert total.histograms == {"x": Histogram([11, 2], 4.0), "y": Histogram([5, 5], 1.0)}
    assert one.counters["rejected"] == {"a": 1}
    assert one.histograms["x"].buckets == [1, 2]


@pytest.mark.parametrize(
    ("buckets", "part", "value"),
    [
        ([0, 0, 0, 0], 0.5, None),
        ([10, 0, 0, 0], 0.5, 0.5),
        ([10, 0, 0, 0], 1.0, 1.0),
        ([50, 50, 0, 0], 0.75, 1.5),
        ([98, 0, 2, 0], 0.99, 3.0),
        ([0, 0, 0, 7], 0.5, 4.0),
    ],
)
def test_a_quantile_lies_in_its_bucket(buckets: list[int], part: float, value: float | None) -> None:
    """Drawn straight within the bucket; nothing without observations; the last bound for what lies above it."""
    assert find_quantile(Histogram(buckets), (1.0, 2.0, 4.0), part) == value
