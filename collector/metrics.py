"""What one process has counted, as plain numbers. `exposition` gives them Prometheus' form, `shared_totals` a file.

Labels are closed sets, site ids or names of the configuration, never anything of an event. Counting is one entry of a
dictionary: no lock and no object for each label, because it happens several times for each beacon. A process counts
from its event loop; where another thread counts at the same instant, a count may be lost, none is invented.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import NamedTuple

import msgspec

ACK_BOUNDS_S = (
    *(0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Upper bounds of the acknowledgement's histogram, in seconds. Fine where the bounds on it are promised."""

SEPARATOR = "\t"
"""Between the labels of one counter, where they are one text. No label has it."""


class CounterForm(NamedTuple):
    """A counter's sentence and the names of its labels. Its name in Prometheus is `tagstitch_<name>_total`."""

    sentence: str
    labels: tuple[str, ...]


COUNTERS = {
    "step_beacons": CounterForm("Beacons that a step has judged.", ("step",)),
    "accepted_beacons": CounterForm("Beacons kept.", ("site",)),
    "accepted_events": CounterForm("Events kept.", ("site",)),
    "rejected": CounterForm("Refusals of beacons, events and fields.", ("step", "reason")),
    "edge_requests": CounterForm("What became of requests and connections.", ("outcome",)),
    "limited_requests": CounterForm("Requests answered 429, by what was over its rate.", ("scope",)),
    "removed_values": CounterForm("Values that became [removed], by where they stood.", ("place",)),
    "spool_failures": CounterForm("Groups of beacons that the disk did not take.", ()),
    "spool_refusals": CounterForm("Beacons refused for a bound of the spool.", ()),
    "kept_bodies": CounterForm("Refused bodies kept for replay, or not, by what became of them.", ("outcome",)),
    "adapter_answers": CounterForm("Answers of data adapters, by what became of them.", ("adapter", "outcome")),
}


class Histogram(msgspec.Struct):
    """Observations by size. `buckets[i]`: those at most the i-th bound; one more for all above. Not cumulative."""

    buckets: list[int]
    total: float = 0.0  # sum of what was observed


class Totals(msgspec.Struct):
    """Counters by name, then by labels joined with SEPARATOR; histograms by name."""

    counters: dict[str, dict[str, int]] = {}
    histograms: dict[str, Histogram] = {}


_steps: defaultdict[str, int] = defaultdict(int)
_accepted_beacons: defaultdict[str, int] = defaultdict(int)
_accepted_events: defaultdict[str, int] = defaultdict(int)
_rejected: defaultdict[tuple[str, str], int] = defaultdict(int)
_requests: defaultdict[str, int] = defaultdict(int)
_limited: defaultdict[str, int] = defaultdict(int)
_removed: defaultdict[str, int] = defaultdict(int)
_kept_bodies: defaultdict[str, int] = defaultdict(int)
_adapter_answers: defaultdict[tuple[str, str], int] = defaultdict(int)
_acks = Histogram([0] * (len(ACK_BOUNDS_S) + 1))


def count_step(step: str) -> None:
    """Count a beacon that a step has judged."""
    _steps[step] += 1


def count_accepted(site_id: str, events: int) -> None:
    """Count a beacon that is kept, and its events."""
    _accepted_beacons[site_id] += 1
    _accepted_events[site_id] += events


def count_rejected(step: str, reason: str) -> None:
    """Count a refusal."""
    _rejected[step, reason] += 1


def count_request(outcome: str) -> None:
    """Count what became of a request: `disconnected`, `slow`, `too large`, `malformed`, `too many`, `unrecorded` …"""
    _requests[outcome] += 1


def count_limited(scope: str) -> None:
    """Count a request that was over a rate. `scope`: `address`, `site` or `connections`."""
    _limited[scope] += 1


def count_removed(place: str, values: int = 1) -> None:
    """Count values that were replaced by `[removed]`. `place`: `url`, `title`, `name`, `properties` …"""
    _removed[place] += values


def count_kept_body(outcome: str, bodies: int = 1) -> None:
    """Count bodies for replay: `kept`, `dropped` (no room in memory), `failed` (the disk), `expired`, `pushed out`."""
    _kept_bodies[outcome] += bodies


def count_adapter(adapter: str, outcome: str) -> None:
    """Count an answer of a data adapter, by its configured name. `outcome`: `kept` (all of it was in the cache),
    `fetched`, `none` (no such record), `stale`, `searched`, or the reason why a field is unavailable."""
    _adapter_answers[adapter, outcome] += 1


def observe_acknowledgement(seconds: float) -> None:
    """Note how long a beacon waited for its answer: from the last byte of its body to the end of the sync."""
    _acks.buckets[bisect_left(ACK_BOUNDS_S, seconds)] += 1
    _acks.total += seconds


def read_totals() -> Totals:
    """Return what this process has counted so far, as a copy."""
    single = {
        "step_beacons": _steps,
        "accepted_beacons": _accepted_beacons,
        "accepted_events": _accepted_events,
        "edge_requests": _requests,
        "limited_requests": _limited,
        "removed_values": _removed,
        "kept_bodies": _kept_bodies,
    }
    counters = {name: dict(counts) for name, counts in single.items() if counts}
    for name, pairs in (("rejected", _rejected), ("adapter_answers", _adapter_answers)):
        if pairs:
            counters[name] = {SEPARATOR.join(labels): count for labels, count in dict(pairs).items()}
    return Totals(counters, {"acknowledgement_seconds": Histogram(list(_acks.buckets), _acks.total)})


def add_totals(one: Totals, other: Totals) -> Totals:
    """Return the sum. A histogram that has other bounds in `one`, from an earlier version, counts as empty there."""
    counters = {name: dict(counts) for name, counts in one.counters.items()}
    for name, counts in other.counters.items():
        sums = counters.setdefault(name, {})
        for labels, count in counts.items():
            sums[labels] = sums.get(labels, 0) + count
    histograms = dict(one.histograms)
    for name, histogram in other.histograms.items():
        before = histograms.get(name)
        if before is not None and len(before.buckets) == len(histogram.buckets):
            buckets = [a + b for a, b in zip(before.buckets, histogram.buckets, strict=True)]
            histogram = Histogram(buckets, before.total + histogram.total)
        histograms[name] = histogram
    return Totals(counters, histograms)


def find_quantile(histogram: Histogram, bounds: tuple[float, ...], part: float) -> float | None:
    """Return the value below which `part` (0–1) of the observations lie, drawn straight within its bucket.

    None without observations. Above the last bound there is nothing to draw: then that bound.
    """
    count = sum(histogram.buckets)
    if not count:
        return None
    wanted, below = part * count, 0
    for index, observed in enumerate(histogram.buckets[: len(bounds)]):
        if observed and below + observed >= wanted:
            low = bounds[index - 1] if index else 0.0
            return low + (bounds[index] - low) * max(0.0, wanted - below) / observed
        below += observed
    return bounds[-1]
