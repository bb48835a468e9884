"""The command: `python -m bench.ingest`, or `make bench`."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.ingest.figures import find_all
from bench.ingest.generator import GeneratorError
from bench.ingest.loading import Loading
from bench.ingest.processes import ProcessError
from bench.ingest.profile import profile_role, show_profile
from bench.ingest.report import Measured, show, to_json
from bench.ingest.rounds import (
    GENERATOR,
    SERVER,
    Bench,
    BenchError,
    measure_acks,
    measure_growth,
    measure_half_load,
    measure_store_away,
    measure_through,
    start_whole,
)
from bench.tag.machine import read_load, read_processor


class Part(StrEnum):
    """A part of the benchmark."""

    acks = "acks"
    through = "through"
    loader = "loader"
    size = "size"
    growth = "growth"


class Role(StrEnum):
    """A role that can be profiled."""

    web = "web"
    load = "load"


app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command()
def bench(
    runs: Annotated[int, typer.Option(min=1, help="Rounds of each part. Under 5 the quartiles say little.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="How long each run sends.")] = 5,
    only: Annotated[list[Part] | None, typer.Option(help="This part alone; may be given again.")] = None,
    json_to: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is standard output.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the instances lie meanwhile; their disk is what is measured.")
    ] = None,
    profile: Annotated[
        Role | None, typer.Option(help="Instead: where this role's time goes under load, by function.")
    ] = None,
) -> None:
    """Measure what one core takes in, brings into ClickHouse and keeps.

    The collector runs as it does in life, in processes of its own, on core 0; wrk sends from core 1 what a shop's
    visitors would, no event twice. Beside it, in turn, stands the bound: the same server with an application that
    reads the body and answers 204. Figures are medians of all rounds, and ratios to that bound. About six minutes.

    [bold]Examples[/bold]

    make bench                                       everything

    make bench ARGS="--only acks --runs 11"          the way in alone, more closely

    make bench ARGS="--only loader --only size"      the store's side

    make bench ARGS="--profile web --seconds 10"     where the time of the way in goes

    docs/benchmarks.md says what each figure means and how to read it.
    """
    say = Console(stderr=json_to == Path("-"))
    if len(os.sched_getaffinity(0)) < 2:
        Console(stderr=True).print("[red]two cores are needed: one to measure, one to send from[/red]")
        raise typer.Exit(2)
    os.sched_setaffinity(0, {GENERATOR})
    load_before = read_load()
    with tempfile.TemporaryDirectory(prefix="tagstitch-bench-", dir=folder) as name, say.status("starting") as status:
        made = Bench(Path(name), seconds, lambda what: status.update(f"{what} …"))
        try:
            if profile is not None:
                lines = profile_role(made, profile.value)
                status.stop()
                show_profile(say, profile.value, lines)
                return
            measure(made, set(only or Part), runs)
        except (BenchError, GeneratorError, ProcessError) as error:
            Console(stderr=True).print(f"[red]{error}[/red]", soft_wrap=True)
            raise typer.Exit(1) from None
        finally:
            made.collector.close()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    series = {name: list(values) for name, values in made.series.items()}
    measured = Measured(describe_machine(), load_before, read_load(), at, runs, find_all(series), series)
    show(say, measured)
    if json_to is not None:
        text = json.dumps(to_json(measured), indent=2) + "\n"
        if json_to == Path("-"):
            sys.stdout.write(text)
        else:
            json_to.write_text(text, encoding="utf-8")


def measure(made: Bench, parts: set[Part], runs: int) -> None:
    """Measure the parts, round by round. Raises BenchError, GeneratorError, ProcessError where one means nothing."""
    if Part.acks in parts:
        _repeat(runs, measure_acks, made)
        _repeat(runs, measure_half_load, made)
    if Part.growth in parts:
        measure_growth(made)
    if Part.through in parts:
        start_whole(made)
        _repeat(runs, measure_through, made)
        _repeat(max(1, runs // 2), measure_store_away, made)
        made.collector.close()
    if Part.loader in parts or Part.size in parts:
        loading = Loading(made)
        if Part.loader in parts:
            for _ in range(runs):
                loading.measure_speed()
        if Part.size in parts:
            loading.measure_size()


def describe_machine() -> str:
    """Say in one line on what was measured."""
    return f"{os.cpu_count()} cores · {read_processor()} · {platform.system()} · core {SERVER} measured"


def _repeat(runs: int, part: Callable[[Bench], None], made: Bench) -> None:
    for _ in range(runs):
        part(made)


if __name__ == "__main__":
    app(prog_name="make bench" if len(sys.argv) == 1 else "python -m bench.ingest")
