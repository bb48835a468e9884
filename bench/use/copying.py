"""A file of customers copied into traits and evidence, by the command as it is called."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

from bench.identity.store import Bench
from bench.ingest.processes import Collector, ProcessError

USE = """
[traits.tier]
personal = false
[traits.points]
type = "integer"
personal = false

[adapters.crm]
kind = "files"
path = "{path}"
key = "customer_id"
[adapters.crm.fields]
first_name = "text"
tier = {{ type = "text", personal = false }}
points = {{ type = "integer", personal = false }}
"""
FIRST_NUMBER = 500_000_000


def measure_sync(bench: Bench, collector: Collector, records: int, scale: float) -> None:
    """Copy a file of new customers, the same again, and let them go. Raises ProcessError."""
    path = collector.folder / "crm.csv"
    Path(collector.settings["use_file"]).write_text(USE.format(path=path), encoding="utf-8")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "first_name", "tier", "points"])
        for number in range(records):
            writer.writerow(
                [FIRST_NUMBER + number, f"Ada {number % 5_000}", ("gold", "silver")[number % 2], number % 997]
            )
    bench.step(f"{records:,} customers are copied")
    first = _run(collector)
    if first["new"] != records:
        raise ProcessError(f"of {records:,} records {first['new']:,} were new")
    bench.note("sync_rows_per_s", records / first["took_s"])
    bench.note(f"sync_rows_per_s at scale {scale:g}", records / first["took_s"])
    bench.step("the same again")
    bench.note("sync_same_rows_per_s", records / _run(collector)["took_s"])
    with path.open("w", encoding="utf-8") as file:
        file.write("customer_id,first_name,tier,points\n1,Ada,gold,1\n")
    bench.step("they go again")
    bench.note("sync_gone_rows_per_s", records / _run(collector, "--allow-gone")["took_s"])
    collector.clear_spool()


def _run(collector: Collector, *words: str) -> dict[str, float]:
    port, use_file = collector.engine_port, collector.settings["use_file"]
    options = ["--data", str(collector.folder), "--set", f"engine_port={port}", "--set", f"use_file={use_file}"]
    argv = [sys.executable, "-m", "collector", "adapter", "sync", "crm", *options, "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessError(f"the sync ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    said: dict[str, float] = json.loads(done.stdout)
    return said
