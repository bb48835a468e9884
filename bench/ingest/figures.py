"""The figures that the ingest is held to: what each is, its bound, its aim, and its value out of what was measured.

Speeds are ratios to a bound that was measured in the same run, so that they are the program's and not the machine's.
Times and sizes stand as they are. Nothing here fails a build.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from bench.tag.spread import compare, sum_up

Unit = Literal["ratio", "us", "ms", "s", "MB", "B", "1/s", "chars"]
Verdict = Literal["aim", "bound", "missed", "open"]
"""Reached the aim; kept the bound; neither; or nothing to judge by."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the table in docs/benchmarks.md. `more_is_better`: whether bound and aim are the least or most."""

    name: str
    what: str
    unit: Unit
    bound: float
    aim: float
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A figure with its value and quartiles; None: it was not measured. `note` says what else is to be known."""

    figure: Figure
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Judge the value by the figure's aim and bound."""
        if self.value is None:
            return "open"
        sign = 1 if self.figure.more_is_better else -1
        if sign * self.value >= sign * self.figure.aim:
            return "aim"
        return "bound" if sign * self.value >= sign * self.figure.bound else "missed"


ACK_1 = Figure("ack_1_ratio", "durable answers a second, 1 event each, against raw 204", "ratio", 0.32, 0.50, True)
ACK_20 = Figure("ack_20_ratio", "the same, 20 events each", "ratio", 0.24, 0.36, True)
THROUGH_20 = Figure(
    "through_20_ratio", "events into ClickHouse, all on one core, against raw", "ratio", 0.09, 0.14, True
)
LOADER = Figure(
    "loader_ratio", "events a CPU second, against the engine's own insert-select", "ratio", 0.40, 0.55, True
)
ACK_P99 = Figure("ack_p99_half_load_ms", "answer, p99 at half load", "ms", 10, 3)
QUERYABLE_P99 = Figure("queryable_p99_s", "from the answer to the table, p99 at half load", "s", 2, 1)
WEB_RSS = Figure("web_rss_mb", "memory of web under load", "MB", 80, 45)
ENGINE_RSS = Figure("engine_rss_mb", "memory of the engine under load, with 2 million visitors", "MB", 900, 600)
BYTES = Figure("bytes_per_event", "on disk in ClickHouse, merged, all tables", "B", 60, 45)
STORE_DOWN = Figure("ack_p99_store_down_ratio", "answer, p99 with the store away, against with it", "ratio", 1.2, 1.0)
FIGURES = (ACK_1, ACK_20, THROUGH_20, LOADER, ACK_P99, QUERYABLE_P99, WEB_RSS, ENGINE_RSS, BYTES, STORE_DOWN)

Series = Mapping[str, Sequence[float]]
"""Measure → its values, in the order of the rounds."""

RATIOS = (
    (ACK_1, "ack_1_per_s", "raw_1_per_s", "ack_1_per_cpu_s", "raw_1_per_cpu_s"),
    (ACK_20, "ack_20_per_s", "raw_20_per_s", "ack_20_per_cpu_s", "raw_20_per_cpu_s"),
    (THROUGH_20, "through_per_s", "through_raw_per_s", "through_per_cpu_s", "through_raw_per_cpu_s"),
    (LOADER, "loader_per_cpu_s", "select_per_cpu_s", "", ""),
    (STORE_DOWN, "down_p99_ms", "up_p99_ms", "", ""),
)
"""Figure, ours, the bound; and the same two by CPU time, which hold on a busy machine."""
PLAIN = (
    (ACK_P99, "half_p99_ms"),
    (QUERYABLE_P99, "queryable_p99_s"),
    (WEB_RSS, "web_rss_mb"),
    (ENGINE_RSS, "engine_rss_mb"),
    (BYTES, "bytes_per_event"),
)


def find_all(series: Series) -> list[Finding]:
    """Judge every figure; one that was not measured is open."""
    found: dict[str, Finding] = {}
    for figure, ours, bound, cpu_ours, cpu_bound in RATIOS:
        ratio = compare(series[ours], series[bound]) if ours in series and bound in series else None
        if ratio is None:
            found[figure.name] = Finding(figure, None)
            continue
        note = ""
        if cpu_ours in series and cpu_bound in series:
            by_cpu = compare(series[cpu_ours], series[cpu_bound])
            note = f"by CPU time {by_cpu.value:.2f}" if by_cpu else ""
        found[figure.name] = Finding(figure, ratio.value, ratio.low, ratio.high, note)
    for figure, measure in PLAIN:
        if not series.get(measure):
            found[figure.name] = Finding(figure, None)
            continue
        spread = sum_up(series[measure])
        found[figure.name] = Finding(figure, median(series[measure]), spread.low, spread.high)
    return [found[figure.name] for figure in FIGURES]
