"""What the benchmark says: tables for a terminal, and the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.tag.figures import EMPTY, OURS, Finding, Series, net_series
from bench.tag.machine import Machine
from bench.tag.profile import Line
from bench.tag.spread import sum_up

VERDICTS = {
    "aim": "[green]aim reached[/green]",
    "bound": "[yellow]within bound[/yellow]",
    "missed": "[red]missed[/red]",
    "open": "[dim]–[/dim]",
}
TAG_MEASURES = {
    "eval": "evaluation",
    "sync": "sync",
    "task": "task",
    "cpu": "cpu",
    "long": "long tasks",
}
FINGERPRINT_MEASURES = {
    "eval": "evaluation",
    "wall": "wall",
    "long": "long tasks",
    "longest": "longest task",
    "task": "task",
}
TRAFFIC = {
    "requests": "requests",
    "body": "body B",
    "scripts": "scripts loaded",
    "touches": "device touches",
    "stored": "stored B",
}


@dataclass
class Measured:
    """All that was measured. Times: throttle → agent → series, as read, an empty page's share still in them."""

    machine: Machine
    at: str
    runs: int
    labels: dict[str, str]
    findings: list[Finding] = field(default_factory=list)
    tags: dict[int, dict[str, Series]] = field(default_factory=dict)
    fingerprints: dict[int, dict[str, Series]] = field(default_factory=dict)
    traffic: dict[str, dict[str, float]] = field(default_factory=dict)


def to_json(measured: Measured) -> dict[str, Any]:
    """Return the report as plain data: every figure, every series with its values, the machine."""
    return {
        "machine": asdict(measured.machine),
        "at": measured.at,
        "runs": measured.runs,
        "figures": [
            {
                "figure": finding.figure.name,
                "value": finding.value,
                "unit": finding.figure.unit,
                "at_most": finding.figure.at_most,
                "aim": finding.figure.aim,
                "verdict": finding.verdict,
                "ratio": asdict(finding.ratio) if finding.ratio else None,
                "note": finding.note,
            }
            for finding in measured.findings
        ],
        "tags": {str(throttle): _series_to_json(agents) for throttle, agents in measured.tags.items()},
        "fingerprints": {str(throttle): _series_to_json(agents) for throttle, agents in measured.fingerprints.items()},
        "traffic": measured.traffic,
        "labels": measured.labels,
    }


def _series_to_json(agents: Mapping[str, Series]) -> dict[str, Any]:
    return {
        agent: {
            name: {**asdict(sum_up(net)), "values": list(series[name])}
            for name, net in net_series(series, agents.get(EMPTY) if agent != EMPTY else None).items()
        }
        for agent, series in agents.items()
    }


def show(console: Console, measured: Measured) -> None:
    """Print the tables, the figures last."""
    for throttle, agents in measured.tags.items():
        title = f"Tags at {throttle}x: a page view and three events"
        console.print(_times(title, agents, TAG_MEASURES, measured.labels, hide_cpu=throttle > 1))
    for throttle, agents in measured.fingerprints.items():
        console.print(_times(f"Fingerprints at {throttle}x", agents, FINGERPRINT_MEASURES, measured.labels))
    if measured.traffic:
        console.print(_traffic(measured))
    console.print(_figures(measured.findings))
    console.print(f"[dim]{measured.machine.describe()} · {measured.runs} runs[/dim]", highlight=False, soft_wrap=True)
    if measured.machine.is_busy and (measured.tags or measured.fingerprints):
        console.print(
            "[yellow]Something else kept this machine busy: trust the ratios by their quartiles, "
            "and run again before you act on one.[/yellow]"
        )


def _times(
    title: str,
    agents: Mapping[str, Series],
    measures: Mapping[str, str],
    labels: Mapping[str, str],
    *,
    hide_cpu: bool = False,
) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        caption=r"ms: median \[least], first to third quartile",
        caption_justify="left",
    )
    table.add_column("")
    shown = {name: words for name, words in measures.items() if not (hide_cpu and name == "cpu")}
    for words in shown.values():
        table.add_column(words, justify="right")
    for agent, series in agents.items():
        if agent == EMPTY:
            continue
        net = net_series(series, agents.get(EMPTY))
        cells = []
        for name in shown:
            spread = sum_up(net[name])
            cells.append(f"{spread.median:.1f} [{spread.least:.1f}] [dim]{spread.low:.0f}–{spread.high:.0f}[/dim]")
        table.add_row(_emphasise(agent, labels), *cells)
    return table


def _traffic(measured: Measured) -> Table:
    table = Table(
        title="While the page stays open", title_justify="left", caption="in 5 s; one run", caption_justify="left"
    )
    table.add_column("")
    for words in TRAFFIC.values():
        table.add_column(words, justify="right")
    for agent, numbers in measured.traffic.items():
        table.add_row(_emphasise(agent, measured.labels), *(f"{numbers[name]:,.0f}" for name in TRAFFIC))
    return table


def _figures(findings: Sequence[Finding]) -> Table:
    table = Table(title="Figures", title_justify="left")
    for words in ("figure", "what"):
        table.add_column(words)
    for words in ("value", "quartiles", "of leasts", "at most", "aim"):
        table.add_column(words, justify="right")
    table.add_column("")
    table.add_column("")
    for finding in findings:
        figure, ratio = finding.figure, finding.ratio
        table.add_row(
            figure.name,
            figure.what,
            "–" if finding.value is None else _say(finding.value, figure.unit),
            f"{ratio.low:.2f}–{ratio.high:.2f}" if ratio else "",
            f"{ratio.least:.2f}" if ratio and ratio.least is not None else "",
            "" if figure.at_most is None else _say(figure.at_most, figure.unit),
            "" if figure.aim is None else _say(figure.aim, figure.unit),
            VERDICTS[finding.verdict],
            f"[dim]{finding.note}[/dim]",
        )
    return table


def show_profile(console: Console, name: str, throttle: int, lines: Sequence[Line], *, most: int = 40) -> None:
    """Print where a tag's time goes: each function with its own time and with what it called."""
    total = sum(line.self_ms for line in lines)
    table = Table(
        title=f"{name} at {throttle}x: {total:.1f} ms of a page",
        title_justify="left",
        caption="ms, mean of a page. sync: while the page waits; later: timers, answers, idle moments",
        caption_justify="left",
    )
    for words, justify in (("self", "right"), ("share", "right"), ("with callees", "right"), ("when", "left")):
        table.add_column(words, justify="right" if justify == "right" else "left")
    table.add_column("function")
    for line in lines[:most]:
        share = line.self_ms / total if total else 0.0
        table.add_row(f"{line.self_ms:.2f}", f"{share:.0%}", f"{line.total_ms:.2f}", line.when, line.function)
    console.print(table)


def _say(value: float, unit: str) -> str:
    return {"B": f"{value:,.0f} B", "ratio": f"{value:.2f}", "requests": f"{value:.0f}"}[unit]


def _emphasise(agent: str, labels: Mapping[str, str]) -> str:
    label = labels.get(agent, agent)
    return f"[bold]{label}[/bold]" if agent == OURS else label
