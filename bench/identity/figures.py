"""The figures that stitching is held to: what each is, its bound, its aim, and its value out of what was measured.

Nothing here fails a build.
"""

from __future__ import annotations

from statistics import median

from bench.ingest.figures import Figure, Finding, Series
from bench.tag.spread import compare, sum_up

REBUILD = Figure(
    "rebuild_rows_per_s", "evidence a second from ClickHouse to ClickHouse, all of the map written", "1/s",
    500_000, 1_000_000, True,
)  # fmt: skip
COMPONENTS = Figure("components_ratio", "forming people, against scipy's components of the same edges", "ratio", 4, 2)
INCREMENTAL = Figure(
    "incremental_rows_per_s", "further evidence a second, by the steps of stitch", "1/s", 5_000, 20_000, True
)
READABLE = Figure("map_readable_p99_s", "from landed evidence to the dictionary, p99", "s", 2, 1)
QUERY = Figure("stitched_query_ratio", "a stitched question against the same unstitched", "ratio", 2, 1.5)
FIGURES = (REBUILD, COMPONENTS, INCREMENTAL, READABLE, QUERY)

PLAIN = ((REBUILD, "rebuild_rows_per_s"), (INCREMENTAL, "incremental_rows_per_s"), (READABLE, "map_readable_p99_s"))
RATIOS = ((COMPONENTS, "form_people_s", "scipy_components_s"), (QUERY, "stitched_query_s", "plain_query_s"))


def find_all(series: Series) -> list[Finding]:
    """Judge every figure; one that was not measured is open."""
    found: dict[str, Finding] = {}
    for figure, measure in PLAIN:
        if series.get(measure):
            spread = sum_up(series[measure])
            found[figure.name] = Finding(figure, median(series[measure]), spread.low, spread.high)
    for figure, ours, bound in RATIOS:
        ratio = compare(series[ours], series[bound]) if series.get(ours) and series.get(bound) else None
        if ratio is not None:
            found[figure.name] = Finding(figure, ratio.value, ratio.low, ratio.high)
    return [found.get(figure.name, Finding(figure, None)) for figure in FIGURES]
