"""`tagstitch import events` on a living instance: from files of every form to the views, killed, and started again."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from instance_process import RunningInstance, running_instance

pytestmark = pytest.mark.engine
YEARS = 20 * 365


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    with running_instance(tmp_path_factory.mktemp("import")) as running:
        for site in ("shop", "old", "big"):
            running.command("site", "add", site, "--origin", f"https://{site}.example", "--space", site)
        yield running


def make_rows(count: int) -> list[dict[str, Any]]:
    """Orders of 40 customers over 20 years, in no order."""
    chance = random.Random(4711)
    start = datetime(2005, 1, 1, tzinfo=UTC)
    return [
        {
            "event": "order",
            "userId": str(4000 + number % 40),
            "anonymousId": f"browser {number % 40}",
            "timestamp": (start + timedelta(seconds=chance.randrange(YEARS * 86_400))).isoformat(),
            "properties": {"price": number / 4, "no": f"{number:05}"},
        }
        for number in range(count)
    ]


def find_batches(instance: RunningInstance) -> dict[str, Any]:
    rows = instance.until(
        "SELECT sum(events) AS events, count() AS n FROM v_batches", lambda rows: rows[0]["events"] is not None
    )
    found: dict[str, Any] = rows[0]
    return found


@pytest.mark.long
def test_the_same_events_in_three_forms(instance: RunningInstance, tmp_path: Path) -> None:
    """JSON lines, CSV with a mapping, Parquet: the same rows of the store, properties with their types, customers."""
    rows = make_rows(60)
    lines = tmp_path / "a.jsonl"
    lines.write_text("".join(json.dumps({**row, "messageId": f"m{n}"}) + "\n" for n, row in enumerate(rows)))
    table = tmp_path / "a.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["messageId", "event", "customer", "anonymousId", "when", "total", "properties.no"])
        for n, row in enumerate(rows):
            price, no = row["properties"].values()
            writer.writerow([f"m{n}", "order", row["userId"], row["anonymousId"], row["timestamp"], price, no])
    columns = tmp_path / "a.parquet"
    parquet.write_table(
        pa.table(
            {
                "messageId": [f"m{n}" for n in range(60)],
                **{name: [row[name] for row in rows] for name in ("event", "userId", "anonymousId", "properties")},
                "timestamp": [datetime.fromisoformat(row["timestamp"]) for row in rows],
            }
        ),
        columns,
    )
    mapping = ("--map", "customer=userId", "--map", "when=timestamp", "--map", "total=properties.price")
    found = []
    for number, (path, options) in enumerate([(lines, ()), (table, mapping), (columns, ())], start=1):
        done = instance.command("import", "events", str(path), "--site", "shop", *options, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "60 rows, 60 events spooled, 0 refused" in done.stdout
        instance.until("SELECT sum(events) AS n FROM v_batches", lambda rows, most=60 * number: rows[0]["n"] >= most)
        found.append(
            instance.sql(
                "SELECT event_id, time, event_name, visitor_id, assurance, props.price AS price, props.no AS no"
                " FROM v_events WHERE site_id = 'shop' ORDER BY time, event_id"
            )
        )
    assert len(found[0]) == 60
    assert found[0] == found[1] == found[2]
    assert {type(row["price"]) for row in found[0]} <= {float, int}
    assert sorted(row["no"] for row in found[0]) == [f"{n:05}" for n in range(60)]
    instance.until(
        "SELECT uniqExact(customer_id) AS n FROM v_events WHERE site_id = 'shop' AND customer_id != ''",
        lambda rows: rows[0]["n"] == 40,
    )


@pytest.mark.timeout(180)
@pytest.mark.long
def test_killed_in_the_middle(instance: RunningInstance, tmp_path: Path) -> None:
    """kill -9 while it sorts and three times while it spools twenty years: each event is one row in the end."""
    path = tmp_path / "big.jsonl"
    count = 8_000
    path.write_text("".join(json.dumps(row) + "\n" for row in make_rows(count)))
    known = {path.parent for path in (instance.data / "import").rglob("state.json")}
    imports = instance.data / "import"

    def is_sorting() -> bool:
        return any(imports.rglob("*.calls"))

    def is_spooling(least: int) -> bool:
        return any(
            json.loads(state.read_bytes())["spooled"] >= least
            for state in imports.rglob("state.json")
            if state.parent not in known
        )

    command = [sys.executable, "-m", "collector", "import", "events", str(path), "--site", "big"]
    for is_time in (is_sorting, lambda: is_spooling(1), lambda: is_spooling(2_000), lambda: is_spooling(4_000)):
        started = subprocess.Popen(
            [*command, "--data", str(instance.data)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while not is_time():
            assert started.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        started.kill()
        assert started.wait() == -9
    assert instance.command(*command[3:]).returncode == 0
    instance.until("SELECT count() AS n FROM v_events WHERE site_id = 'big'", lambda rows: rows[0]["n"] >= count, 60)
    [found] = instance.sql("SELECT count() AS n, uniqExact(event_id) AS ids FROM v_events WHERE site_id = 'big'")
    assert (found["n"], found["ids"]) == (count, count)
    assert not list((instance.data / "import").rglob("*.calls"))
    again = instance.command("import", "events", str(path), "--site", "big")
    assert f"{count:,} events spooled" in again.stdout
    [later] = instance.sql("SELECT count() AS n FROM v_events WHERE site_id = 'big'")
    assert later["n"] == count


@pytest.mark.long
def test_refused_rows_and_dry_run(instance: RunningInstance, tmp_path: Path) -> None:
    """A dry run says what would be refused and writes nothing; the import says it with status 3; mended rows go in."""
    path = tmp_path / "a.jsonl"
    now = datetime.now(UTC)
    good = {"event": "call", "userId": "7", "timestamp": (now - timedelta(days=400)).isoformat()}
    bad = {**good, "timestamp": (now + timedelta(hours=1)).isoformat()}
    path.write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\nno json\n")
    command = ("import", "events", str(path), "--site", "old")
    before = find_batches(instance)
    dry = instance.command(*command, "--dry-run", check=False)
    assert dry.returncode == 3
    assert "3 rows, 1 events, 2 refused" in dry.stdout
    assert "line 2: clock, timestamp" in dry.stdout
    assert "line 3: syntax" in dry.stdout
    assert "Nothing was written" in dry.stdout
    assert sorted(tmp_path.iterdir()) == [path]
    assert find_batches(instance) == before
    done = instance.command(*command, check=False)
    assert done.returncode == 3
    refused = tmp_path / "a.jsonl.rejected.jsonl"
    assert str(refused) in done.stdout
    rows = [json.loads(line) for line in refused.read_text().splitlines()]
    assert sorted((row["line"], row["reason"]) for row in rows) == [(2, "clock"), (3, "syntax")]
    mended = tmp_path / "mended.jsonl"
    mended.write_text(json.dumps(next(row["row"] for row in rows if row["line"] == 2) | {"timestamp": now.isoformat()}))
    assert instance.command("import", "events", str(mended), "--site", "old").returncode == 0
    instance.until("SELECT count() AS n FROM v_events WHERE site_id = 'old'", lambda rows: rows[0]["n"] == 2)


@pytest.mark.long
def test_wrong_words(instance: RunningInstance, tmp_path: Path) -> None:
    """One line that says what is wrong, status 1, nothing written."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"event":"a"}\n')
    for words, text in (
        ((str(path), "--site", "nowhere"), "there is no site nowhere"),
        ((str(tmp_path / "gone.csv"), "--site", "old"), "gone.csv: it cannot be read"),
        ((str(tmp_path / "a.txt"), "--site", "old"), "give --format"),
        ((str(path), "--site", "old", "--map", "x"), "must be COLUMN=FIELD"),
        ((str(path), str(path), "--site", "old", "--rejected", "r"), "import them one by one"),
        ((str(path), "--site", "old", "--delimiter", "ab"), "must be one character"),
    ):
        done = instance.command("import", "events", *words, check=False)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        [line] = done.stderr.splitlines()
        assert text in line
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.long
def test_with_the_store_away(tmp_path: Path) -> None:
    """The spool takes an import while nothing else runs; the sites are those of the last copy."""
    with running_instance(tmp_path, "--set", "settings_interval_s=0.2") as instance:
        instance.command("site", "add", "shop", "--origin", "https://shop.example")
        deadline = time.monotonic() + 30
        while b"shop.example" not in (instance.data / "web" / "sites.json").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"event": "a", "userId": "1", "timestamp": "2020-02-02T00:00:00Z"}) + "\n")
    done = instance.command("import", "events", str(path), "--site", "shop", "--set", "engine_port=1")
    assert "1 events spooled" in done.stdout
    with running_instance(tmp_path) as again:
        again.until("SELECT time FROM v_events", lambda rows: len(rows) == 1)
