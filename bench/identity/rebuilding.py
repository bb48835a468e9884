"""The rebuild of a whole map, at several sizes: rows a second, memory, and people against scipy's components.

Each rebuild is a process of its own (this module is one), as `tagstitch stitch --rebuild` is, so that its memory is
its own. Once from nothing, where every row of the map is written, and once more, where nothing differs.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.identity.evidence import Population
from bench.identity.store import Bench, empty_map, fill_evidence, merge, running_store

SEED = 1


class RebuildError(Exception):
    """A rebuild ended with an error. `str(error)` is one line."""


def measure_rebuild(bench: Bench, rows: int, runs: int, *, is_largest: bool) -> None:
    """Rebuild a space of so many rows of evidence. The largest size is the figure's."""
    name = f"rebuild_{rows / 1e6:g}m"
    with running_store(bench.folder / name) as (collector, store):
        bench.step(f"{rows:,} rows of evidence")
        fill_evidence(store, Population(rows, SEED), rows)
        merge(store, "identity_evidence", "identity_pairs")
        for run in range(runs):
            empty_map(store)
            for state in ("written", "same"):
                bench.step(f"rebuild of {rows:,} rows, {state}, round {run + 1}")
                engine = collector.running["engine"]
                before_s = engine.read_cpu_s()
                said = run_rebuild(collector.folder, collector.engine_port)
                speed = rows / (said["wall_s"] - said["steps"].get("load", 0.0))
                bench.note(f"{name}_{state}_rows_per_s", speed)
                bench.note(
                    f"{name}_{state}_cpu_us_per_row", (said["cpu_s"] + engine.read_cpu_s() - before_s) / rows * 1e6
                )
                bench.note(f"{name}_peak_mb", said["peak_mb"])
                bench.note(f"{name}_engine_mb", engine.read_rss_mb())
                for step, seconds in said["steps"].items():
                    bench.note(f"{name}_{state}_{step}_s", seconds)
                if is_largest and state == "written":
                    bench.note("rebuild_rows_per_s", speed)
                if state == "same" and said["differences"]:
                    raise RebuildError(f"a second rebuild found {said['differences']} differences")
            if is_largest:
                bench.step(f"people of {rows:,} rows, round {run + 1}")
                said = run_rebuild(collector.folder, collector.engine_port, "people")
                bench.note("form_people_s", said["form_people_s"])
                bench.note("scipy_components_s", said["scipy_components_s"])


def run_rebuild(folder: Path, engine_port: int, what: str = "all") -> dict[str, Any]:
    """Rebuild in a process of its own, and return what it says of itself. `what`: `people` to time their forming."""
    argv = [sys.executable, "-m", "bench.identity.rebuilding", str(folder), str(engine_port), what]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RebuildError(f"the rebuild failed: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _rebuild_here(folder: str, engine_port: int, what: str) -> dict[str, Any]:
    """Rebuild in this process, and say what it took."""
    from collector.config import Config
    from collector.identity.stitching.arrow_memory import set_arrow_up
    from collector.identity.stitching.rebuild import rebuild
    from collector.keyring import open_keyring

    set_arrow_up()
    marks: list[tuple[str, float]] = []

    def mark(step: str, done: int, total: int) -> None:
        if not marks or marks[-1][0] != step:
            marks.append((step, time.monotonic()))

    people: list[tuple[float, float]] = []
    if what == "people":
        _time_people(people)
    config = Config(data=folder, engine_port=engine_port)
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    done = rebuild(config, open_keyring(config.secrets_path), tell=mark)
    ended_s = time.monotonic()
    steps: dict[str, float] = {}
    for (step, at_s), (_, next_s) in pairwise([*marks, ("end", ended_s)]):
        steps[step] = steps.get(step, 0.0) + next_s - at_s
    return {
        "steps": steps,
        "form_people_s": sum(own_s for own_s, _ in people),
        "scipy_components_s": sum(scipy_s for _, scipy_s in people),
        "wall_s": ended_s - began_s,
        "cpu_s": time.process_time() - began_cpu_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "differences": done.differences,
    }


def _time_people(people: list[tuple[float, float]]) -> None:
    """Note of each slice how long its people took, and scipy's components of the same edges: one after the other, so
    that neither waits for another slice."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    import collector.identity.bulk.resolve

    bulk: Any = collector.identity.bulk.resolve
    form_people = bulk.form_people
    alone = threading.Lock()

    def form_timed(crowd: Any, admitted: Any, timeline: Any) -> Any:
        with alone:
            began_s = time.thread_time()
            made = form_people(crowd, admitted, timeline)
            ended_s = time.thread_time()
            rows, count = crowd.evidences.rows, len(crowd.evidences.keys.kind)
            edges = (rows.a[admitted], rows.b[admitted])
            graph = coo_array((np.ones(len(admitted), dtype=bool), edges), shape=(count, count))
            connected_components(graph, directed=False)
            people.append((ended_s - began_s, time.thread_time() - ended_s))
        return made

    bulk.form_people = form_timed


if __name__ == "__main__":
    os.environ.pop("TAGSTITCH_DATA", None)
    sys.stdout.write(json.dumps(_rebuild_here(sys.argv[1], int(sys.argv[2]), sys.argv[3])) + "\n")
