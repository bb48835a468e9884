"""The command: `python -m bench.use`, or `make bench-use`."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import defaultdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.identity.store import Bench
from bench.ingest.processes import ProcessError
from bench.ingest.report import Measured, show, to_json
from bench.tag.machine import read_load, read_processor
from bench.use.copying import measure_sync
from bench.use.dataset import CUSTOMERS, EVENTS, standing_store
from bench.use.figures import find_all
from bench.use.reading import measure_pages, measure_profiles
from bench.use.telling import measure_telling

FEWEST_RECORDS = 50_000
"""With less the start of the command would be most of what is measured."""
FOLDER = Path(__file__).parents[2] / ".bench"


class Part(StrEnum):
    """A part of the benchmark."""

    profile = "profile"
    me = "me"
    webhook = "webhook"
    sync = "sync"


app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command()
def bench_use(
    scale: Annotated[
        str, typer.Option(help=f"How many people: 1 is {EVENTS:,} events. Several sizes with a comma between.")
    ] = "0.1,1",
    runs: Annotated[int, typer.Option(min=1, help="Rounds of each part.")] = 3,
    seconds: Annotated[int, typer.Option(min=5, help="How long each round asks.")] = 20,
    only: Annotated[list[Part] | None, typer.Option(help="This part alone; may be given again.")] = None,
    json_to: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is standard output.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the data sets stay, made once for a size: 3 GB for 1.")] = FOLDER,
) -> None:
    """Measure what somebody waits for who asks who somebody is: profiles, pages, webhooks; and copying a source.

    The people are made: 20 million events of 2 million visitors, 200,000 of them known customers with three devices
    each. The first run of a size makes its data set, some minutes for 1. The engine and web run as they do in life, in
    processes of their own. The figures are of the largest size; those of the others stand in the series: the growth.

    [bold]Examples[/bold]

    make bench-use                                              everything, at both sizes

    make bench-use ARGS="--scale 0.01 --runs 1"                 a look, two minutes

    make bench-use ARGS="--scale 0.1 --only me"                 pages alone

    docs/benchmarks.md says what each figure means and how to read it.
    """
    say = Console(stderr=json_to == Path("-"))
    sizes = sorted(float(one) for one in scale.split(","))
    parts = set(only or Part)
    load_before = read_load()
    with say.status("starting") as status:
        made = Bench(folder, lambda what: status.update(f"{what} …"))
        try:
            for size in sizes:
                _measure(made, parts, size, runs, seconds)
                if size != sizes[-1]:
                    made.series = _keep_growth(made)
        except ProcessError as error:
            Console(stderr=True).print(f"[red]{error}[/red]", soft_wrap=True)
            raise typer.Exit(1) from None
    machine = f"{os.cpu_count()} cores · {read_processor()} · {platform.system()}"
    at = datetime.now(UTC).isoformat(timespec="seconds")
    series = {name: list(values) for name, values in made.series.items()}
    measured = Measured(machine, load_before, read_load(), at, runs, find_all(series), series)
    show(say, measured)
    if json_to is not None:
        text = json.dumps(to_json(measured), indent=2) + "\n"
        if json_to == Path("-"):
            sys.stdout.write(text)
        else:
            json_to.write_text(text, encoding="utf-8")


def _measure(made: Bench, parts: set[Part], size: float, runs: int, seconds: int) -> None:
    with standing_store(made.folder, size, made.step) as (collector, people):
        for number in range(runs):
            where = f"scale {size:g}, round {number + 1} of {runs}"
            if Part.profile in parts:
                made.step(f"{where}: profiles")
                measure_profiles(made, collector, people, seconds, size)
            if Part.me in parts:
                made.step(f"{where}: pages")
                measure_pages(made, collector, people, seconds, size, down=True)
            if Part.webhook in parts:
                made.step(f"{where}: webhooks")
                measure_telling(made, collector, seconds, size)
            if Part.sync in parts:
                made.step(f"{where}: a source is copied")
                measure_sync(made, collector, max(FEWEST_RECORDS, int(CUSTOMERS * size)), size)


def _keep_growth(made: Bench) -> dict[str, list[float]]:
    """Return the series that name their size: the figures are of the largest."""
    return defaultdict(list, {name: values for name, values in made.series.items() if " at scale " in name})


if __name__ == "__main__":
    app(prog_name="make bench-use" if len(sys.argv) == 1 else "python -m bench.use")
