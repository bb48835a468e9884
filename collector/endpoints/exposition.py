"""The condition of an instance in Prometheus' text format: every metric with its name, unit and sentence, once.

Labels are closed sets, site ids or names of processes. Counters of web are the sum of all its processes and do not go
back over a restart; those of loader, stitch, activate and govern are of their life, as they say themselves, so that
they begin anew when these do.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from collector import __version__
from collector.condition import Condition
from collector.load.counts import BATCH_BYTES_BOUNDS, BATCH_EVENTS_BOUNDS
from collector.load.status import PAUSES
from collector.metrics import ACK_BOUNDS_S, COUNTERS, SEPARATOR, Histogram
from collector.spool.writer import COMMIT_BOUNDS_S

PREFIX = "tagstitch_"
HISTOGRAMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "acknowledgement_seconds": (
        "From the last byte of a beacon's body to the end of its sync, for beacons that are kept.",
        ACK_BOUNDS_S,
    ),
    "spool_commit_seconds": ("Write and sync of one group of beacons in the spool.", COMMIT_BOUNDS_S),
}
LOAD_COUNTERS = {
    "batches": "Batches that have landed.",
    "lines": "Beacons in them.",
    "events": "Events in them.",
    "bytes": "Bytes that were sent for them.",
    "retries": "Attempts to load a batch after its first.",
    "refused": "Beacons that the store would not take; they lie in load/refused/.",
    "damaged": "Stretches of the spool that were no frames; they lie beside their segment.",
    "adopted": "Segments of web processes that had died.",
}


STITCH_COUNTERS = {
    "steps": "Steps of stitch that had evidence.",
    "touched": "Identifiers that new evidence named.",
    "settled": "Identifiers among them that a first look left as they are.",
    "evidence": "Rows of evidence resolved, old ones beside new ones included.",
    "written": "Rows written: map, intervals, customers, logs.",
    "merges": "Pairs of customers that became one.",
    "delays": "Times that merges_per_minute held stitch up.",
}
ACTIVATE_COUNTERS = {
    "batches": "Batches whose people were judged.",
    "judged": "People judged anew, each as often as they were.",
    "enters": "Times that somebody entered an audience.",
    "leaves": "Times that somebody left one.",
    "rounds": "Times that everybody of a space was judged.",
    "errors": "Statements of activate that failed.",
}
GOVERN_COUNTERS = {
    "linked": "Entries that entered the chain of the audit log.",
    "erased": "Erasures carried out.",
    "found_again": "Rows of erased people that came in afterwards, and were erased too.",
}
WEBHOOK_COUNTERS = {
    "made": "Deliveries made of changes of audiences.",
    "tries": "Times that a delivery was sent.",
    "delivered": "Deliveries that the receiver took.",
    "dead": "Deliveries given up.",
    "dropped": "Deliveries not to be told any more.",
}


def expose(condition: Condition) -> bytes:
    """Return the text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(condition))
    return generate_latest(registry)


class _Families:
    """What the client library asks for metrics."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition

    def collect(self) -> Iterable[Metric]:
        condition = self._condition
        yield from _show_counts(condition)
        yield from _show_spool(condition)
        yield from _show_load(condition)
        yield from _show_stitch(condition)
        yield from _show_activate(condition)
        yield from _show_govern(condition)
        yield from _show_processes(condition)


def _show_counts(condition: Condition) -> Iterator[Metric]:
    for name, form in COUNTERS.items():
        family = CounterMetricFamily(PREFIX + name, form.sentence, labels=form.labels)
        for labels, count in sorted(condition.totals.counters.get(name, {}).items()):
            family.add_metric(labels.split(SEPARATOR) if form.labels else [], count)
        yield family
    for name, (sentence, bounds) in HISTOGRAMS.items():
        histogram = condition.totals.histograms.get(name)
        if histogram is not None and len(histogram.buckets) == len(bounds) + 1:
            yield _make_histogram(name, sentence, bounds, histogram)


def _show_spool(condition: Condition) -> Iterator[Metric]:
    spool = condition.spool
    yield _gauge("spool_bytes", "All files of the spool.", spool.bytes)
    segments = _family("spool_segments", "Segments that are not loaded, by whether they still grow.", ["state"])
    segments.add_metric(["sealed"], spool.segments)
    segments.add_metric(["open"], spool.open_segments)
    yield segments
    yield _gauge("spool_damaged_files", "Files in which damaged stretches were set aside.", spool.damaged_files)
    yield _gauge("spool_oldest_seconds", "Age of the oldest beacon that is not loaded; 0: none.", condition.load_lag_s)
    yield _gauge("disk_free_bytes", "What may still be written on the data folder's disk.", condition.disk_free_bytes)


def _show_load(condition: Condition) -> Iterator[Metric]:
    yield _gauge("load_lag_seconds", "Now less received_at of the oldest beacon not loaded.", condition.load_lag_s)
    paused = _family("load_paused", "1 for the reason why nothing is loaded.", ["reason"])
    for reason in ("not running", *PAUSES):
        paused.add_metric([reason], float(condition.paused == reason))
    yield paused
    if condition.load is None:
        return
    counts = condition.load.counts
    yield _gauge("load_last_batch_timestamp_seconds", "When a batch landed last; 0: not yet.", counts.last_at_ms / 1000)
    for name, sentence in LOAD_COUNTERS.items():
        yield CounterMetricFamily(f"{PREFIX}load_{name}", sentence, value=getattr(counts, name))
    for name, bounds, buckets, total in (
        ("batch_events", BATCH_EVENTS_BOUNDS, counts.events_buckets, counts.events),
        ("batch_bytes", BATCH_BYTES_BOUNDS, counts.bytes_buckets, counts.bytes),
    ):
        if len(buckets) == len(bounds) + 1:
            size = name.removeprefix("batch_").capitalize()
            yield _make_histogram(f"load_{name}", f"{size} of one batch.", bounds, Histogram(buckets, total))


def _show_stitch(condition: Condition) -> Iterator[Metric]:
    status = condition.stitch
    if status is None:
        return
    lag_s = status.find_lag_s(condition.at_ms)
    yield _gauge("stitch_lag_seconds", "Age of the oldest loaded batch with evidence that is not in the map.", lag_s)
    for name, sentence in STITCH_COUNTERS.items():
        yield CounterMetricFamily(f"{PREFIX}stitch_{name}", sentence, value=getattr(status.counts, name))
    refusals = CounterMetricFamily(f"{PREFIX}stitch_refusals", "Evidence that a guard refused.", labels=["reason"])
    for reason, count in sorted(status.counts.refusals.items()):
        refusals.add_metric([reason], count)
    yield refusals


def _show_activate(condition: Condition) -> Iterator[Metric]:
    status = condition.activate
    if status is None:
        return
    lag_s = status.find_lag_s(condition.at_ms)
    yield _gauge("activate_lag_seconds", "Age of the oldest batch in the map whose people are not judged.", lag_s)
    for name, sentence in ACTIVATE_COUNTERS.items():
        yield CounterMetricFamily(f"{PREFIX}activate_{name}", sentence, value=getattr(status.counts, name))
    if not status.webhooks:
        return
    for name, sentence in WEBHOOK_COUNTERS.items():
        family = CounterMetricFamily(f"{PREFIX}webhook_{name}", sentence, labels=["webhook"])
        for webhook, counts in sorted(status.webhooks.items()):
            family.add_metric([webhook], getattr(counts, name))
        yield family
    waiting = _family("webhook_waiting", "Deliveries that were pending when last looked for.", ["webhook"])
    for webhook, counts in sorted(status.webhooks.items()):
        waiting.add_metric([webhook], counts.waiting)
    yield waiting


def _show_govern(condition: Condition) -> Iterator[Metric]:
    status = condition.govern
    if status is None:
        return
    yield _gauge("data_requests_waiting", "Requests of people that are not answered.", status.waiting)
    yield _gauge("data_requests_late", "Those of them that are over their deadline.", status.late)
    yield _gauge("unlisted_tables", "Tables of analysts from which nobody can be erased.", status.unlisted)
    for name, sentence in GOVERN_COUNTERS.items():
        yield CounterMetricFamily(f"{PREFIX}govern_{name}", sentence, value=getattr(status, name))


def _show_processes(condition: Condition) -> Iterator[Metric]:
    build = _family("build_info", "1, with the version of the program.", ["version"])
    build.add_metric([__version__], 1)
    yield build
    yield _gauge("web_processes", "Web processes that turn now.", condition.web_processes)
    if condition.settings_age_s is not None:
        yield _gauge("settings_age_seconds", "Since web last read sites and keys.", condition.settings_age_s)
    up = _family("role_up", "Whether a process plays the role, of those under the supervisor.", ["role"])
    restarts = CounterMetricFamily(PREFIX + "role_restarts", "Times that a role died.", labels=["role"])
    for role in condition.roles:
        up.add_metric([role.name], float(bool(role.pid)))
        restarts.add_metric([role.name], role.restarts)
    memory = _family("process_resident_bytes", "Memory of a process.", ["process"])
    files = _family("process_open_files", "Descriptors of a process.", ["process"])
    cpu = CounterMetricFamily(PREFIX + "process_cpu_seconds", "Seconds of a core.", labels=["process"])
    for use in condition.uses:
        memory.add_metric([use.name], use.memory_bytes)
        files.add_metric([use.name], use.open_files)
        cpu.add_metric([use.name], use.cpu_s)
    yield from (up, restarts, memory, files, cpu)


def _make_histogram(name: str, sentence: str, bounds: Sequence[float], histogram: Histogram) -> Metric:
    ends = [f"{bound:g}" if bound < 100_000 else str(int(bound)) for bound in bounds] + ["+Inf"]
    cumulative = itertools.accumulate(histogram.buckets)
    family = HistogramMetricFamily(PREFIX + name, sentence)
    family.add_metric([], [(end, count) for end, count in zip(ends, cumulative, strict=True)], histogram.total)
    return family


def _family(name: str, sentence: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, sentence, labels=labels)


def _gauge(name: str, sentence: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, sentence, value=value)
