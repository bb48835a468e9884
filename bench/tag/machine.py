"""On what was measured: one line that stands beside every figure, because times mean nothing without it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """Cores, processor, system, browser; load averages of the last minute before and after."""

    cores: int
    processor: str
    system: str
    chromium: str
    load_before: float
    load_after: float = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether others used more than half a core while this ran: one core's worth is the benchmark's own."""
        return max(self.load_before, self.load_after - 1.5) > 0.5

    def describe(self) -> str:
        """Say it in one line."""
        return (
            f"{self.cores} cores · {self.processor} · {self.system} · Chromium {self.chromium} · "
            f"load {self.load_before:.1f} before, {self.load_after:.1f} after"
        )


def read_load() -> float:
    """Return the load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def read_machine(chromium: str, load_before: float) -> Machine:
    """Describe this machine; the load after the run is now."""
    return Machine(
        os.cpu_count() or 1,
        read_processor(),
        f"{platform.system()} {platform.machine()}",
        chromium,
        load_before,
        read_load(),
    )


def read_processor() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no Linux: the platform's word is enough
    return platform.processor() or platform.machine()
