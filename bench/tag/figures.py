"""The figures that the tag is held to: what each is, its bound, its aim, and its value out of what was measured.

Bytes and requests are exact. Times are ratios to a peer in the same run, never a number of milliseconds: those are the
machine's. Nothing here fails a build.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import brotli  # type: ignore[import-untyped]

from bench.tag.agents import FINGERPRINT, VITALS, inline_snippet
from bench.tag.spread import Ratio, compare, subtract_baseline
from collector.tag_builds import STATIC, TAG

Series = Mapping[str, Sequence[float]]
"""Measure → its values, in the order of the rounds."""

Verdict = Literal["aim", "bound", "missed", "open"]
"""Reached the aim; kept the bound; neither; or nothing to judge by."""

OURS, EMPTY = "tagstitch", "empty"
FROM_EMPTY = ("task", "cpu", "script", "layout")
"""Measures of the whole window, from which an empty page's are taken off."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the table in docs/benchmarks.md."""

    name: str
    what: str
    unit: Literal["B", "ratio", "requests"]
    at_most: float | None
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A figure with its value; `ratio` where there is a spread; `note` says why there is no value, or what it is of."""

    figure: Figure
    value: float | None
    ratio: Ratio | None = None
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Judge the value by the figure's aim and bound."""
        if self.value is None or self.figure.at_most is None:
            return "open"
        if self.figure.aim is not None and self.value <= self.figure.aim:
            return "aim"
        return "bound" if self.value <= self.figure.at_most else "missed"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure that is a ratio: of which measure, at which throttle, against whom."""

    figure: Figure
    measure: str
    throttle: int
    peer: str


CORE = Figure("core_br", "core, all features, brotli", "B", 7000, 5500)
SNIPPET = Figure("snippet_br", "inline snippet, brotli", "B", 250, 200)
FINGERPRINT_SIZE = Figure("fingerprint_br", "fingerprint module, brotli", "B", 5000, 3500)
VITALS_SIZE = Figure("vitals_br", "vitals module, brotli", "B", 3300)
LIVE_REQUESTS = Figure("live_requests", "requests for a page view and 3 events", "requests", 1)
LIVE_BODY = Figure("live_body", "bytes in their bodies", "B", 1600)

TAG_COMPARISONS = (
    Comparison(
        Figure("main_thread_ratio", "evaluation, page view, 3 events: the page waits", "ratio", 0.5, 0.25),
        "sync",
        1,
        "snowplow",
    ),
    Comparison(
        Figure("main_thread_4x_ratio", "the same on a processor a quarter as fast", "ratio", None),
        "sync",
        4,
        "snowplow",
    ),
    Comparison(Figure("task_ratio", "all main-thread time in 2 s", "ratio", None), "task", 1, "snowplow"),
    Comparison(Figure("cpu_ratio", "what the processor spent on it", "ratio", None), "cpu", 1, "snowplow"),
    Comparison(
        Figure("task_4x_ratio", "all main-thread time, a quarter as fast", "ratio", 0.6, 0.4), "task", 4, "snowplow"
    ),
)
FINGERPRINT_COMPARISONS = (
    Comparison(
        Figure("fingerprint_wall_ratio", "from evaluation to result", "ratio", 0.7, 0.5), "wall", 1, "fingerprintjs"
    ),
    Comparison(
        Figure("fingerprint_long_ratio", "sum of its tasks over 50 ms", "ratio", 0.3, 0.1), "long", 1, "fingerprintjs"
    ),
    Comparison(
        Figure("fingerprint_wall_4x_ratio", "wall time, a quarter as fast", "ratio", None), "wall", 4, "fingerprintjs"
    ),
    Comparison(
        Figure("fingerprint_long_4x_ratio", "long tasks, a quarter as fast", "ratio", None), "long", 4, "fingerprintjs"
    ),
)


def find_sizes(static: Path = STATIC) -> list[Finding]:
    """Measure what a browser loads, as the built files are."""
    snippet = len(brotli.compress(inline_snippet().encode()))
    return [
        _find_size(CORE, static / f"{TAG}.br"),
        Finding(SNIPPET, snippet),
        _find_size(FINGERPRINT_SIZE, static / f"{FINGERPRINT}.br"),
        _find_size(VITALS_SIZE, static / f"{VITALS}.br"),
    ]


def _find_size(figure: Figure, path: Path) -> Finding:
    if not path.is_file():
        return Finding(figure, None, note=f"{path.name} is not built")
    return Finding(figure, path.stat().st_size)


def find_traffic(traffic: Mapping[str, Mapping[str, float]]) -> list[Finding]:
    """Judge what our tag sends while the page stays open."""
    ours = traffic.get(OURS)
    if ours is None:
        return []
    return [Finding(LIVE_REQUESTS, ours["requests"]), Finding(LIVE_BODY, ours["body"])]


def find_ratios(comparisons: Sequence[Comparison], measured: Mapping[int, Mapping[str, Series]]) -> list[Finding]:
    """Judge our times against the peers'. `measured`: throttle → agent → series; what was not run is left out."""
    findings = []
    for comparison in comparisons:
        agents = measured.get(comparison.throttle, {})
        if OURS not in agents or comparison.peer not in agents:
            continue
        empty = agents.get(EMPTY)
        ours = net_series(agents[OURS], empty)[comparison.measure]
        theirs = net_series(agents[comparison.peer], empty)[comparison.measure]
        ratio = compare(ours, theirs)
        if ratio is None:
            nothing = f"{comparison.peer} has none in this run, ours {sorted(ours)[len(ours) // 2]:.0f} ms"
            findings.append(Finding(comparison.figure, None, note=nothing))
        else:
            findings.append(Finding(comparison.figure, ratio.value, ratio, f"against {comparison.peer}"))
    return findings


def net_series(series: Series, empty: Series | None) -> dict[str, list[float]]:
    """Take an empty page's share off the measures of the whole window."""
    return {
        name: subtract_baseline(values, empty[name]) if empty and name in FROM_EMPTY else list(values)
        for name, values in series.items()
    }
