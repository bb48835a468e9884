"""Much of what it can bear, for long: memory and descriptors stay where they are, the spool runs empty, nothing is
lost. `make soak MINUTES=30`."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest
from instance_process import RunningInstance

from tests.chaos.ledger import CountingLedger, Ledger
from tests.chaos.outcome import SEED, chaos_case
from tests.chaos.running_chaos import compare, list_pids, running_chaos
from tests.chaos.senders import Senders

MINUTES = float(os.environ.get("TAGSTITCH_SOAK_MINUTES", "0"))
SHARE = 0.7
MEASURE_S = 20.0
SAMPLE_S = 5.0
LONGEST_WAITING_S = 30.0
MOST_GROWTH_BYTES = 1_000_000
"""Most growth of a role's memory in a minute."""
LONG_ENOUGH_MIN = 10
"""A shorter run says how memory went, but nothing is held against it: caches are still filling."""
ROLES = ("web", "load", "stitch", "engine")

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.long,
    pytest.mark.timeout(int(60 * MINUTES) + 600),
    pytest.mark.skipif(not MINUTES, reason="takes half an hour: make soak"),
]


def sample(instance: RunningInstance) -> dict[str, tuple[int, int]]:
    """Return resident bytes and open descriptors by role, all processes of it together."""
    found = {}
    for role in ROLES:
        memory = descriptors = 0
        for pid in list_pids(instance, role):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            memory += pages * os.sysconf("SC_PAGE_SIZE")
            descriptors += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        found[role] = (memory, descriptors)
    return found


def find_slope(times: list[float], values: list[int]) -> float:
    """Return the growth a minute by least squares, the first third left out: it is warming up."""
    start = len(times) // 3
    return statistics.linear_regression([at / 60 for at in times[start:]], values[start:]).slope


def test_soak(tmp_path: Path) -> None:
    """70 % of what it took at most, for MINUTES."""
    with chaos_case("soak", f"{SHARE:.0%} of the measured maximum for {MINUTES:g} minutes") as outcome:
        with running_chaos(tmp_path) as instance:
            warm = Ledger()
            with Senders(warm, [instance.config.port], connections=16, most_events=10, seed=SEED) as senders:
                senders.wait_for(100)
                before, began = senders.answers["204"], time.monotonic()
                time.sleep(MEASURE_S)
                most = (senders.answers["204"] - before) / (time.monotonic() - began)
            compare(instance, warm)

            ledger = CountingLedger()
            times: list[float] = []
            samples: list[dict[str, tuple[int, int]]] = []
            with Senders(
                ledger,
                [instance.config.port],
                connections=32,
                most_events=10,
                beacons_per_s=SHARE * most,
                seed=SEED + 1,
            ) as senders:
                began = time.monotonic()
                while (now := time.monotonic() - began) < 60 * MINUTES:
                    times.append(now)
                    samples.append(sample(instance))
                    time.sleep(SAMPLE_S)
                took = senders.answers["204"] / (time.monotonic() - began)
            found = compare(instance, ledger, LONGEST_WAITING_S)
            assert "Traceback" not in instance.log
            assert " died" not in instance.log
        slopes = {role: find_slope(times, [one[role][0] for one in samples]) for role in ROLES}
        said = ", ".join(
            f"{role} {samples[-1][role][0] / 1e6:.0f} MB ({slope / 1e6:+.2f} MB a minute)"
            for role, slope in slopes.items()
        )
        outcome.found = f"{took:,.0f} beacons/s of {most:,.0f}; {said}; descriptors flat, spool empty; {found}"
        print(outcome.found)
        for role in ROLES:
            descriptors = [one[role][1] for one in samples[len(samples) // 3 :]]
            half = len(descriptors) // 2
            # Merges open and close files all the time: what may not happen is that the half-times' lows drift.
            assert min(descriptors[half:]) <= min(descriptors[:half]) + 20, f"{role} keeps files open: {descriptors}"
            if MINUTES >= LONG_ENOUGH_MIN:
                assert slopes[role] < MOST_GROWTH_BYTES, f"{role} grows by {slopes[role] / 1e6:.2f} MB a minute"
