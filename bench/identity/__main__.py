"""The command: `python -m bench.identity`, or `make bench-identity`."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.identity.figures import find_all
from bench.identity.following import ROWS_PER_S, FollowError, measure_following
from bench.identity.incremental import measure_incremental
from bench.identity.reading import measure_reading
from bench.identity.rebuilding import RebuildError, measure_rebuild
from bench.identity.store import Bench
from bench.ingest.processes import ProcessError
from bench.ingest.report import Measured, show, to_json
from bench.tag.machine import read_load, read_processor


class Part(StrEnum):
    """A part of the benchmark."""

    rebuild = "rebuild"
    incremental = "incremental"
    readable = "readable"
    query = "query"


app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command()
def bench_identity(
    runs: Annotated[int, typer.Option(min=1, help="Rounds of the rebuild and of the questions.")] = 3,
    rows: Annotated[
        str, typer.Option(help="Rows of evidence to rebuild from: a size each, with a comma between.")
    ] = "1000000,3000000,10000000",
    seconds: Annotated[int, typer.Option(min=5, help="How long evidence comes in while its way is watched.")] = 60,
    rate: Annotated[int, typer.Option(min=100, help="How much evidence comes in a second meanwhile.")] = ROWS_PER_S,
    only: Annotated[list[Part] | None, typer.Option(help="This part alone; may be given again.")] = None,
    json_to: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is standard output.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the stores lie meanwhile; 10 million rows take about 5 GB.")
    ] = None,
) -> None:
    """Measure what stitching costs: a rebuild, further evidence, how soon it is readable, and what reading costs.

    The evidence is made: customers with several devices, sign-ins, links, sign-outs. The engine and stitch run as they
    do in life, in processes of their own, on all cores. About half an hour.

    [bold]Examples[/bold]

    make bench-identity                                             everything

    make bench-identity ARGS="--only rebuild --rows 1000000"        a minute

    make bench-identity ARGS="--only readable --seconds 20"         how soon evidence is readable

    docs/benchmarks.md says what each figure means and how to read it.
    """
    say = Console(stderr=json_to == Path("-"))
    sizes = [int(one) for one in rows.split(",")]
    parts = set(only or Part)
    load_before = read_load()
    with tempfile.TemporaryDirectory(prefix="tagstitch-bench-", dir=folder) as name, say.status("starting") as status:
        made = Bench(Path(name), lambda what: status.update(f"{what} …"))
        try:
            if Part.rebuild in parts:
                for size in sizes:
                    measure_rebuild(made, size, runs, is_largest=size == max(sizes))
            if Part.incremental in parts:
                measure_incremental(made, max(sizes))
            if Part.readable in parts:
                measure_following(made, seconds, rate)
            if Part.query in parts:
                measure_reading(made, runs)
        except (FollowError, ProcessError, RebuildError) as error:
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


if __name__ == "__main__":
    app(prog_name="make bench-identity" if len(sys.argv) == 1 else "python -m bench.identity")
