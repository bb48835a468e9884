"""Erasing people out of a store, by the command as it is called, and looking for them in every file."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from bench.identity.store import Bench
from bench.ingest.processes import Collector, ProcessError
from bench.use.dataset import DEVICES_EACH, People

NEXT = "next_erased"


def measure_erasing(bench: Bench, collector: Collector, customers: int, people: int, figure: str) -> None:
    """Erase so many people who were not erased yet. `customers`: how many there are. Raises ProcessError."""
    place = collector.folder / NEXT
    first = int(place.read_text()) if place.exists() else 0
    if first + people > customers:
        raise ProcessError(f"all {customers:,} customers of {collector.folder} have been erased: remove that folder")
    known = People(collector.keyring)
    names = [f"customer={known.name_customer(number)}" for number in range(first, first + people)]
    bench.step(f"{people:,} of {customers:,} customers are erased")
    began = time.monotonic()
    certificate = erase(collector, names)
    took_s = time.monotonic() - began
    place.write_text(str(first + people))
    rows = {part["place"]: part["rows"] for part in certificate["places"]}
    if rows["events"] < people * DEVICES_EACH:
        raise ProcessError(f"of {people:,} people {rows['events']:,} events were erased: those are too few")
    bench.note(figure, took_s)
    bench.note(f"{figure} rows of events", rows["events"])


def count_hits(bench: Bench, collector: Collector, marks: list[bytes]) -> None:
    """Look for marks in every file of a folder, and note in how many files there is one."""
    bench.note("canary_hits", len(find_hits(collector.folder, marks)))


def find_hits(folder: Path, marks: list[bytes]) -> list[Path]:
    """Return the files in which any of these bytes stand."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if any(mark in data for data in (path.read_bytes(),) for mark in marks)]


def spell(text: str) -> list[bytes]:
    """Return an id in every form in which it may stand in a file."""
    value = UUID(text)
    return [text.encode(), value.hex.encode(), value.bytes, value.bytes[7::-1] + value.bytes[:7:-1]]


def erase(collector: Collector, names: list[str]) -> dict[str, Any]:
    """Erase people, and return the certificate. Raises ProcessError."""
    options = ["--data", str(collector.folder), "--set", f"engine_port={collector.engine_port}"]
    argv = [sys.executable, "-m", "collector", "privacy", "erase", "-", "--yes", "--json", *options]
    done = subprocess.run(argv, input="\n".join(names), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessError(f"the erasing ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said
