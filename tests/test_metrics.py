"""The counters say what became of beacons, in words of closed sets only."""

from __future__ import annotations

from prometheus_client import REGISTRY

from tests.edge_examples import make_body, make_event, refuse, take


def _value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_steps_events_and_refusals_are_counted() -> None:
    """A beacon counts at each step that it reached; events by site; refusals by step and reason."""
    before = {
        "decode": _value("tagstitch_step_beacons_total", step="decode"),
        "identify": _value("tagstitch_step_beacons_total", step="identify"),
        "events": _value("tagstitch_accepted_events_total", site="shop"),
        "clock": _value("tagstitch_rejected_total", step="validate", reason="clock"),
        "syntax": _value("tagstitch_rejected_total", step="decode", reason="syntax"),
    }
    take(make_body(make_event(1), make_event(2), make_event(3, t=1)))
    refuse(b"{")
    assert _value("tagstitch_step_beacons_total", step="decode") == before["decode"] + 2
    assert _value("tagstitch_step_beacons_total", step="identify") == before["identify"] + 1
    assert _value("tagstitch_accepted_events_total", site="shop") == before["events"] + 2
    assert _value("tagstitch_rejected_total", step="validate", reason="clock") == before["clock"] + 1
    assert _value("tagstitch_rejected_total", step="decode", reason="syntax") == before["syntax"] + 1


def test_strangers_make_no_labels() -> None:
    """What a client writes into the site field never becomes a label."""
    refuse(make_body(s="canary-site"))
    labels = {label for metric in REGISTRY.collect() for sample in metric.samples for label in sample.labels.values()}
    assert "canary-site" not in labels
