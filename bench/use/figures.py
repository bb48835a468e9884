"""The figures that the use of profiles is held to: what each is, its bound, its aim, and its value out of what was
measured.

Times are of whole answers over HTTP, counted from when each was due. Nothing here fails a build.
"""

from __future__ import annotations

from statistics import median

from bench.ingest.figures import Figure, Finding, Series
from bench.tag.spread import compare, sum_up

PROFILE = Figure("profile_p99_ms", "a profile with a page of its timeline, 50 a second, p99", "ms", 60, 25)
ME = Figure("me_p99_ms", "/x/me, 200 a second, sources warm, p99", "ms", 25, 10)
SOURCE_DOWN = Figure("me_p99_source_down_ratio", "/x/me with a source that hangs, against none", "ratio", 1.2, 1.0)
WEBHOOK = Figure("event_to_webhook_p99_s", "event in, audience entered, webhook out, p99", "s", 4, 2)
SYNC = Figure("sync_rows_per_s", "records of a file into traits and evidence", "1/s", 50_000, 150_000, True)
FIGURES = (PROFILE, ME, SOURCE_DOWN, WEBHOOK, SYNC)

PLAIN = ((PROFILE, "profile_p99_ms"), (ME, "me_p99_ms"), (WEBHOOK, "event_to_webhook_p99_s"), (SYNC, "sync_rows_per_s"))
RATIOS = ((SOURCE_DOWN, "me_p99_source_down_ms", "me_p99_source_up_ms"),)


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
