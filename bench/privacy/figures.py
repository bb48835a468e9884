"""The figures that erasing is held to: what each is, its bound, its aim, and its value out of what was measured.

Times are of the whole command, its start and its own verification included, until no file holds the rows any more.
"""

from __future__ import annotations

from statistics import median

from bench.ingest.figures import Figure, Finding, Series
from bench.tag.spread import sum_up

ERASE_1M = Figure("erase_1m_s", "one person among a million events, erased and verified", "s", 60, 30)
ERASE_20M = Figure("erase_20m_s", "1,000 people among 20 million events, erased and verified", "s", 600, 300)
CANARY = Figure("canary_hits", "files in which anything of an erased person is found", "ratio", 0, 0)
FIGURES = (ERASE_1M, ERASE_20M, CANARY)


def find_all(series: Series) -> list[Finding]:
    """Judge every figure; one that was not measured is open."""
    found = []
    for figure in FIGURES:
        values = series.get(figure.name)
        if values:
            spread = sum_up(values)
            found.append(Finding(figure, median(values), spread.low, spread.high))
        else:
            found.append(Finding(figure, None))
    return found
