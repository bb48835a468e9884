"""The benchmark of stitching: its evidence is what it says, its arithmetic, and small runs of its parts.

Nothing here asserts how fast anything is. That further evidence ends in the map of a rebuild is part of the run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from bench.identity.evidence import CHUNK_ROWS, Population
from bench.identity.figures import COMPONENTS, FIGURES, REBUILD, find_all
from bench.identity.incremental import STEP_ROWS, measure_incremental
from bench.identity.rebuilding import measure_rebuild
from bench.identity.store import Bench
from collector.identity.stitching.first_look import LEAST_KEYS

ROWS = 20_000


def make(rows: int, first: int = 0) -> pa.Table:
    return pa.concat_tables(list(Population(ROWS).make(rows, first=first)))


def test_the_same_seed_gives_the_same_evidence() -> None:
    """Row for row; and what is made in two parts is in order of time."""
    assert make(2_000).equals(make(2_000))
    parts = pa.concat_tables([make(1_000), make(1_000, first=1_000)])
    times = np.asarray(parts["time"].cast(pa.int64()))
    assert (np.diff(times) >= 0).all()
    assert CHUNK_ROWS > ROWS


def test_the_evidence_is_what_it_says() -> None:
    """Sign-ins for the most part, links, sign-outs, second keys; retractions repeat the row before."""
    rows = make(ROWS)
    counts = {item["values"]: item["counts"] for item in pc.value_counts(rows["kind"].cast(pa.string())).to_pylist()}
    assert counts["identify"] > 0.85 * ROWS
    assert 0.03 * ROWS < counts["link"] < 0.06 * ROWS
    assert counts["reset"] > 0.02 * ROWS
    places = np.flatnonzero(np.asarray(rows["op"]) < 0)
    assert len(places) > 3
    for place in places:
        taken, back = rows.slice(place - 1, 1).drop_columns(["op", "batch_seq"]), rows.slice(place, 1)
        assert taken.equals(back.drop_columns(["op", "batch_seq"]))


def test_who_comes_back_says_what_they_said_before() -> None:
    """The same identifiers in a new request, later, with ids of its own."""
    earlier = make(ROWS)
    again = Population(ROWS).repeat(earlier, 1_000, first=ROWS)
    pairs = [
        set(zip(table["a_key"].to_pylist(), table["b_key"].to_pylist(), strict=True)) for table in (earlier, again)
    ]
    assert pairs[1] <= pairs[0]
    ids = {*earlier["evidence_id"].to_pylist(), *again["evidence_id"].to_pylist()}
    assert len(ids) == len(set(earlier["evidence_id"].to_pylist())) + 1_000
    assert pc.min(again["time"]).as_py() > pc.max(earlier["time"]).as_py()


def test_figures_are_ratios_where_they_say_so() -> None:
    """Medians against medians; what was not measured is open."""
    found = {
        finding.figure.name: finding
        for finding in find_all(
            {"rebuild_rows_per_s": [600_000], "form_people_s": [3.0, 3.0], "scipy_components_s": [1.0, 1.0]}
        )
    }
    assert len(found) == len(FIGURES)
    assert (found[REBUILD.name].value, found[REBUILD.name].verdict) == (600_000, "bound")
    assert (found[COMPONENTS.name].value, found[COMPONENTS.name].verdict) == (3.0, "bound")
    assert found["map_readable_p99_s"].verdict == "open"


@pytest.mark.engine
@pytest.mark.long
def test_a_small_rebuild(tmp_path: Path) -> None:
    """All of the map is written, and a second rebuild finds nothing to change."""
    bench = Bench(tmp_path, lambda _: None)
    measure_rebuild(bench, ROWS, 1, is_largest=True)
    assert bench.series["rebuild_rows_per_s"][0] > 0
    assert bench.series["scipy_components_s"][0] > 0


@pytest.mark.engine
@pytest.mark.long
def test_further_evidence_ends_in_the_map_of_a_rebuild(tmp_path: Path) -> None:
    """Ten batches at once on a map that stands, through the first look and the walk: a rebuild changes nothing."""
    bench = Bench(tmp_path, lambda _: None)
    measure_incremental(bench, STEP_ROWS, STEP_ROWS)
    assert STEP_ROWS > LEAST_KEYS
    assert bench.series["incremental_rows_per_s"][0] > 0
