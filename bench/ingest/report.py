"""What the benchmark says: tables for a terminal, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.ingest.figures import Finding, Series, Unit
from bench.tag.report import VERDICTS
from bench.tag.spread import sum_up

WORDS = {
    "ratio": "{:.2f}",
    "us": "{:.1f} µs",
    "ms": "{:.1f} ms",
    "s": "{:.2f} s",
    "MB": "{:.0f} MB",
    "B": "{:.1f} B",
    "1/s": "{:,.0f}",
    "chars": "{:.0f}",
}
BUSY_LOAD = 0.5


@dataclass
class Measured:
    """All that was measured. `load_before`: the load average when it began, of which nothing was ours."""

    machine: str
    load_before: float
    load_after: float
    at: str
    rounds: int
    findings: list[Finding] = field(default_factory=list)
    series: Series = field(default_factory=dict)


def to_json(measured: Measured) -> dict[str, Any]:
    """Return the report as plain data: every figure, every series with its values, the machine."""
    return {
        "machine": measured.machine,
        "load_before": measured.load_before,
        "load_after": measured.load_after,
        "at": measured.at,
        "rounds": measured.rounds,
        "figures": [
            {
                "figure": finding.figure.name,
                "value": finding.value,
                "unit": finding.figure.unit,
                "bound": finding.figure.bound,
                "aim": finding.figure.aim,
                "more_is_better": finding.figure.more_is_better,
                "verdict": finding.verdict,
                "quartiles": None if finding.low is None else [finding.low, finding.high],
                "note": finding.note,
            }
            for finding in measured.findings
        ],
        "series": {
            name: {**asdict(sum_up(values)), "values": list(values)}
            for name, values in sorted(measured.series.items())
            if values
        },
    }


def show(console: Console, measured: Measured) -> None:
    """Print what was measured, growth, and the figures last."""
    plain = {name: values for name, values in measured.series.items() if values and not name.startswith("growth_")}
    if plain:
        console.print(_values(plain))
    growth = {name: values for name, values in measured.series.items() if values and name.startswith("growth_")}
    if growth:
        console.print(_growth(growth))
    console.print(_figures(measured.findings))
    load = f"load {measured.load_before:.1f} before, {measured.load_after:.1f} after"
    console.print(f"[dim]{measured.machine} · {load} · {measured.rounds} rounds[/dim]", highlight=False, soft_wrap=True)
    if measured.load_before > BUSY_LOAD:
        console.print(
            "[yellow]Something else kept this machine busy: believe what is counted in CPU time, and the rest only "
            "where its quartiles lie close together.[/yellow]"
        )


def _values(series: Series) -> Table:
    table = Table(title="As measured", title_justify="left")
    table.add_column("measure")
    for words in ("median", "quartiles", "rounds"):
        table.add_column(words, justify="right")
    for name, values in sorted(series.items()):
        spread = sum_up(values)
        table.add_row(name, _round(spread.median), f"{_round(spread.low)}–{_round(spread.high)}", str(spread.count))
    return table


def _growth(series: Series) -> Table:
    table = Table(title="Growth: answers of one event each", title_justify="left")
    for words in ("web processes", "connections", "a second", "a CPU second", "p99"):
        table.add_column(words, justify="right")
    found = {tuple(map(int, name.split("_")[1:3])) for name in series}
    for workers, connections in sorted(found):
        name = f"growth_{workers}_{connections}"
        cells = [_round(median(series[f"{name}_{what}"])) for what in ("per_s", "per_cpu_s", "p99_ms")]
        table.add_row(str(workers), str(connections), cells[0], cells[1], f"{cells[2]} ms")
    return table


def _figures(findings: Sequence[Finding]) -> Table:
    table = Table(title="Figures", title_justify="left")
    for words in ("figure", "what"):
        table.add_column(words)
    for words in ("value", "quartiles", "bound", "aim"):
        table.add_column(words, justify="right")
    table.add_column("")
    table.add_column("")
    for finding in findings:
        figure = finding.figure
        sign = "≥" if figure.more_is_better else "≤"
        quartiles = ""
        if finding.low is not None and finding.high is not None:
            quartiles = f"{_say(finding.low, figure.unit)}–{_say(finding.high, figure.unit)}"
        table.add_row(
            figure.name,
            figure.what,
            "–" if finding.value is None else _say(finding.value, figure.unit),
            quartiles,
            f"{sign} {_say(figure.bound, figure.unit)}",
            _say(figure.aim, figure.unit),
            VERDICTS[finding.verdict],
            f"[dim]{finding.note}[/dim]",
        )
    return table


def _say(value: float, unit: Unit) -> str:
    return WORDS[unit].format(value)


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
