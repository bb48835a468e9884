"""The command: `python -m bench.privacy`, or `make bench-privacy`."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.identity.store import Bench
from bench.ingest.processes import ProcessError
from bench.ingest.report import Measured, show, to_json
from bench.privacy.canary import measure_canary
from bench.privacy.erasing import measure_erasing
from bench.privacy.figures import find_all
from bench.tag.machine import read_load, read_processor
from bench.use.dataset import EVENTS, standing_store

FOLDER = Path(__file__).parents[2] / ".bench"
SMALL, LARGE = 0.05, 1.0
BATCH = 1_000


class Part(StrEnum):
    """A part of the benchmark."""

    one = "one"
    many = "many"
    canary = "canary"


app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command()
def bench_privacy(
    scale: Annotated[float, typer.Option(help="Of both sizes: with less than 1 it is a look, and no figure.")] = 1.0,
    runs: Annotated[int, typer.Option(min=1, help="Rounds of each part.")] = 3,
    only: Annotated[list[Part] | None, typer.Option(help="This part alone; may be given again.")] = None,
    json_to: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is standard output.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the data sets stay, made once for a size: 3 GB.")] = FOLDER,
) -> None:
    """Measure what erasing costs: one person among a million events, 1,000 among 20 million; and whether any is left.

    The people are those of `make bench-use`. Each round erases others, until nobody of the data set is left. The engine
    runs as it does in life; the command is the one that an officer types.

    [bold]Examples[/bold]

    make bench-privacy                                      everything

    make bench-privacy ARGS="--scale 0.1 --runs 1"          a look

    docs/benchmarks.md says what each figure means and how to read it.
    """
    say = Console(stderr=json_to == Path("-"))
    parts = set(only or Part)
    load_before = read_load()
    with say.status("starting") as status:
        made = Bench(folder, lambda what: status.update(f"{what} …"))
        try:
            if parts & {Part.one, Part.canary}:
                with standing_store(folder, SMALL * scale, made.step) as (collector, people):
                    for _ in range(runs):
                        if Part.one in parts:
                            measure_erasing(made, collector, people.customers, 1, "erase_1m_s")
                        if Part.canary in parts:
                            measure_canary(made, collector)
            if Part.many in parts:
                with standing_store(folder, LARGE * scale, made.step) as (collector, people):
                    for _ in range(runs):
                        measure_erasing(made, collector, people.customers, int(BATCH * scale) or 1, "erase_20m_s")
        except ProcessError as error:
            Console(stderr=True).print(f"[red]{error}[/red]", soft_wrap=True)
            raise typer.Exit(1) from None
    machine = f"{os.cpu_count()} cores · {read_processor()} · {platform.system()} · {EVENTS * scale:,.0f} events"
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


if __name__ == "__main__":
    app(prog_name="make bench-privacy" if len(sys.argv) == 1 else "python -m bench.privacy")
