"""The command: `python -m bench.tag`, or `make bench-tag`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import Browser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.tag.agents import EMPTY, FINGERPRINTS, TAGS, Agent, PeersMissingError
from bench.tag.browser import ChromiumMissingError, Sample, run_fingerprint, run_tag, running_chromium, watch_traffic
from bench.tag.figures import (
    FINGERPRINT_COMPARISONS,
    OURS,
    TAG_COMPARISONS,
    Series,
    find_ratios,
    find_sizes,
    find_traffic,
)
from bench.tag.machine import read_load, read_machine
from bench.tag.profile import profile_tag
from bench.tag.report import Measured, show, show_profile, to_json
from bench.tag.sink import Sink, running_sink

Runner = Callable[[Browser, Sink, Agent, int], Sample]
Step = Callable[[str], None]


class Part(StrEnum):
    """A part of the benchmark."""

    sizes = "sizes"
    tags = "tags"
    fingerprints = "fingerprints"


app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command()
def bench_tag(
    runs: Annotated[int, typer.Option(min=1, help="Rounds. Under 7 the quartiles say little.")] = 7,
    only: Annotated[list[Part] | None, typer.Option(help="This part alone; may be given again.")] = None,
    throttle: Annotated[
        str, typer.Option(help="How many times to slow the processor: one series for each, with a comma between.")
    ] = "1,4",
    peer: Annotated[
        list[str] | None, typer.Option(help="This peer alone; may be given again. snowplow is what tags are judged by.")
    ] = None,
    json_to: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is standard output.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="TAG", help="Instead: where this tag's main-thread time goes, by function.")
    ] = None,
) -> None:
    """Measure what the tag costs a page, beside other tags in the same run.

    Each round gives every agent a fresh profile of a real Chromium, in turn, so that a busy minute falls on all alike;
    the figures are medians, and ratios to a peer, because milliseconds are the machine's. An empty page's share is
    taken off. Nothing leaves this machine: a sink on the loopback answers all of them. About five minutes.

    [bold]Examples[/bold]

    make bench-tag                                          everything

    python -m bench.tag --only tags --peer snowplow         the two figures that decide, in two minutes

    python -m bench.tag --only tags --throttle 4 --runs 15  a doubtful figure, more closely

    python -m bench.tag --profile tagstitch --throttle 1    where our own time goes

    docs/benchmarks.md says what each figure means and how to read it.
    """
    say = Console(stderr=json_to == Path("-"))
    throttles = [int(one) for one in throttle.split(",")]
    parts = set(only or Part)
    try:
        if profile is not None:
            _profile(say, profile, throttles, runs)
            return
        measured = measure(say, parts, throttles, runs, peer)
    except (PeersMissingError, ChromiumMissingError) as error:
        Console(stderr=True).print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(2) from None
    show(say, measured)
    if json_to is not None:
        text = json.dumps(to_json(measured), indent=2) + "\n"
        if json_to == Path("-"):
            sys.stdout.write(text)
        else:
            json_to.write_text(text, encoding="utf-8")


def measure(say: Console, parts: set[Part], throttles: Sequence[int], runs: int, peers: list[str] | None) -> Measured:
    """Measure the parts. Raises PeersMissingError or ChromiumMissingError before anything is measured."""
    load = read_load()
    findings = find_sizes() if Part.sizes in parts else []
    tags = _choose(TAGS, peers) if Part.tags in parts else {}
    fingerprints = _choose(FINGERPRINTS, peers) if Part.fingerprints in parts else {}
    labels = {name: agent.label for name, agent in (fingerprints | tags).items()}
    traffic: dict[str, dict[str, float]] = {}
    tag_times: dict[int, dict[str, Series]] = {}
    fingerprint_times: dict[int, dict[str, Series]] = {}
    version = "not started"
    if tags or fingerprints:
        rounds = runs * len(throttles)
        steps = (len(tags) + (len(tags) + 1) * rounds if tags else 0) + len(fingerprints) * (rounds + 1)
        with running_chromium() as browser, running_sink() as sink, _progress(say, steps) as step:
            version = browser.version
            # Also warms the machine up: what is measured later does not wait for the disk.
            for tag in tags.values():
                step(f"{tag.name}: what it sends")
                traffic[tag.name] = watch_traffic(browser, sink, tag)
            for agent in fingerprints.values():
                step(f"{agent.name}: warming up")
                run_fingerprint(browser, sink, agent, 1)
            for one in throttles:
                if tags:
                    agents = [EMPTY, *tags.values()]
                    tag_times[one] = _run_rounds(browser, sink, agents, run_tag, one, runs, step)
                if fingerprints:
                    agents = list(fingerprints.values())
                    fingerprint_times[one] = _run_rounds(browser, sink, agents, run_fingerprint, one, runs, step)
    machine = read_machine(version, load)
    findings += find_traffic(traffic)
    findings += find_ratios(TAG_COMPARISONS, tag_times)
    findings += find_ratios(FINGERPRINT_COMPARISONS, fingerprint_times)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Measured(machine, at, runs, labels, findings, tag_times, fingerprint_times, traffic)


def _choose(known: Mapping[str, Callable[[], Agent]], peers: list[str] | None) -> dict[str, Agent]:
    return {name: make() for name, make in known.items() if name == OURS or peers is None or name in peers}


def _run_rounds(
    browser: Browser, sink: Sink, agents: Sequence[Agent], run: Runner, throttle: int, runs: int, step: Step
) -> dict[str, Series]:
    """Run every agent once a round, each round beginning with another one."""
    series: dict[str, dict[str, list[float]]] = {agent.name: {} for agent in agents}
    for number in range(runs):
        first = number % len(agents)
        for agent in (*agents[first:], *agents[:first]):
            step(f"{agent.name} at {throttle}x, round {number + 1}")
            for name, value in run(browser, sink, agent, throttle).items():
                series[agent.name].setdefault(name, []).append(value)
    return dict(series)


@contextmanager
def _progress(say: Console, steps: int) -> Iterator[Step]:
    columns = (TextColumn("{task.description:36}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=say, transient=True) as progress:
        task = progress.add_task("starting", total=steps)
        done = -1

        def step(what: str) -> None:
            nonlocal done
            done += 1
            progress.update(task, description=what, completed=done)

        yield step


def _profile(say: Console, name: str, throttles: Sequence[int], runs: int) -> None:
    if name not in TAGS:
        raise typer.BadParameter(f"is one of {', '.join(TAGS)}", param_hint="--profile")
    with running_chromium() as browser, running_sink() as sink:
        for throttle in throttles:
            show_profile(say, name, throttle, profile_tag(browser, sink, name, throttle, runs))


if __name__ == "__main__":
    app(prog_name="make bench-tag" if len(sys.argv) == 1 else "python -m bench.tag")
