"""`tagstitch export`: what is in the files, who is not, what is written down, and what is left after a failure."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from collector.exporting import customers, files, history, members
from collector.exporting.pages import Page
from collector.profiles.definitions import Definitions
from collector.profiles.profile import Profile, read_profile
from collector.profiles.states import State, set_state
from tests.audiences.audience_world import customer, visitor
from tests.exporting.shop import TRAITS, UNTIL, fill, make_options
from tests.instance_process import run_command
from tests.running_store import NOON_MS, RunningStore, running_store

pytestmark = pytest.mark.engine
Export = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as running:
        fill(running)
        yield running


@pytest.fixture
def export(store: RunningStore, tmp_path: Path) -> Export:
    options = make_options(store, tmp_path)
    return lambda *words: run_command("export", *words, *options)


def read_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def read_log(store: RunningStore) -> list[dict[str, Any]]:
    rows = store.query("SELECT actor, arguments FROM audit_log FINAL WHERE action = 'export' ORDER BY at, audit_id")
    return [{"actor": row["actor"], **json.loads(row["arguments"])} for row in rows]


def test_members_are_pseudonymous_and_safe_in_a_spreadsheet(export: Export, tmp_path: Path) -> None:
    """A customer id that begins like a formula is a text; who is restricted is left out, and counted."""
    done = export("members", "buyers", "--out", str(tmp_path / "a.csv"))
    assert done.returncode == 0, done.stderr
    assert "3 rows" in done.stderr
    assert "1 left out of people who were erased or restricted" in done.stderr
    data = (tmp_path / "a.csv").read_bytes()
    assert data.startswith(b"person_id,customer_id,since\r\n")
    assert {row["person_id"]: row["customer_id"] for row in read_csv(data)} == {
        customer(1): "C-1",
        customer(2): "'=2+5",
        customer(4): "C-4",
    }
    assert (tmp_path / "a.csv").stat().st_mode & 0o777 == 0o600


def test_traits_are_typed_and_numbers_stay_numbers(export: Export, tmp_path: Path) -> None:
    """In Parquet texts are as they are and columns have types; in CSV a text gets its apostrophe, a number none."""
    asked = ("members", "buyers", "--trait", "plan", "--trait", "points", "--clear", "first_name", "--out")
    assert export(*asked, str(tmp_path / "a.parquet")).returncode == 0
    assert export(*asked, str(tmp_path / "a.csv.gz")).returncode == 0
    table = parquet.read_table(tmp_path / "a.parquet")
    assert [str(field.type) for field in table.schema] == [
        *("string", "string", "timestamp[ms, tz=UTC]", "string", "int64", "string"),
    ]
    assert parquet.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).column(0).compression == "ZSTD"
    rows = {row["person_id"]: row for row in table.to_pylist()}
    assert (rows[customer(1)]["plan"], rows[customer(1)]["points"]) == ("gold", -7)
    assert (rows[customer(2)]["plan"], rows[customer(2)]["points"]) == ("-x", None)
    assert rows[customer(1)]["first_name"] == "+Ada"
    cells = {row["person_id"]: row for row in read_csv(gzip.decompress((tmp_path / "a.csv.gz").read_bytes()))}
    assert (cells[customer(1)]["points"], cells[customer(1)]["first_name"]) == ("-7", "'+Ada")
    assert cells[customer(2)]["plan"] == "'-x"


def test_what_is_personal_is_named_or_refused(export: Export, tmp_path: Path) -> None:
    """Never masked, never by accident; an export that is refused leaves nothing."""
    out = tmp_path / "a.csv"
    done = export("members", "buyers", "--trait", "first_name", "--out", str(out))
    assert done.returncode == 1
    assert "--clear first_name" in done.stderr
    done = export("members", "buyers", "--trait", "colour", "--out", str(out))
    assert "not declared in space main; there is plan, points, first_name" in done.stderr
    assert not list(tmp_path.glob("a.csv*"))
    done = export("members", "nobody", "--out", str(out))
    assert "there is no such audience; there is crowd, buyers" in done.stderr


@pytest.mark.parametrize("page", [1, 2, 1_000])
def test_customers_say_what_profiles_say(
    export: Export, store: RunningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """One row for each customer who may be told of, with the values of their profile, however they are paged."""
    monkeypatch.setattr(customers, "IDS", 2 * page)
    monkeypatch.setattr(customers, "PAGE", page)
    done = export("customers", "--out", str(tmp_path / "c.parquet"))
    assert done.returncode == 0, done.stderr
    rows = parquet.read_table(tmp_path / "c.parquet").to_pylist()
    assert {row["person_id"] for row in rows} == {customer(1), customer(2), customer(4)}
    for row in rows:
        found = read_profile(
            store.writer, store.keyring, Definitions(TRAITS), row["person_id"], now_ms=NOON_MS, shows_personal=True
        )
        assert isinstance(found, Profile)
        assert found.computed is not None
        computed = found.computed
        assert (row["customer_id"], row["level"]) == (found.customer_id, found.level)
        assert row["first_seen"].timestamp() * 1000 == computed.first_seen_ms
        assert row["last_seen"].timestamp() * 1000 == computed.last_seen_ms
        assert (row["sessions"], row["orders"], row["rfm"]) == (computed.sessions, computed.orders, computed.rfm.name)
        assert json.loads(row["value_by_currency"] or "{}") == computed.value
        assert (row["channels"], row["devices"]) == (list(computed.channels), list(computed.devices))
        assert row["audiences"] == [one.audience for one in found.audiences] == ["buyers"]
        assert row["plan"] == (found.traits["plan"].value if "plan" in found.traits else None)
    assert "first_name" not in rows[0]
    first = next(row for row in rows if row["person_id"] == customer(1))
    assert (first["value"], first["currency"]) == (130.5, "EUR")


def test_a_purpose_keeps_those_who_have_granted_it(export: Export, tmp_path: Path) -> None:
    """By the ledger; who has said nothing has not granted it."""
    done = export("customers", "--purpose", "marketing", "--out", str(tmp_path / "c.csv"))
    assert [row["customer_id"] for row in read_csv((tmp_path / "c.csv").read_bytes())] == ["C-1"]
    assert "2 left out of people who have not granted the purpose" in done.stderr
    done = export("timeline", "--purpose", "marketing", "--until", UNTIL, "--out", str(tmp_path / "t.csv"))
    assert {row["person_id"] for row in read_csv((tmp_path / "t.csv").read_bytes())} == {customer(1)}
    assert export("customers", "--purpose", "mailing", "--out", str(tmp_path / "x.csv")).returncode == 2


def test_a_timeline_has_every_event_once(
    export: Export, store: RunningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page what `v_timeline` has, but for those of whom nothing is told, and titles that are no formulas."""
    monkeypatch.setattr(history, "PAGE", 2)
    done = export("timeline", "--until", UNTIL, "--out", str(tmp_path / "t.csv"))
    assert done.returncode == 0, done.stderr
    rows = read_csv((tmp_path / "t.csv").read_bytes())
    sql = "SELECT toString(event_id) AS id FROM v_timeline WHERE v_timeline.own_person_id != {own:UUID}"
    wanted = [row["id"] for row in store.query(sql, own=visitor(3))]
    assert sorted(row["event_id"] for row in rows) == sorted(wanted)
    assert next(row for row in rows if row["path"] == "/lamps")["title"] == "'=HYPERLINK(1)"
    assert {row["person_id"] for row in rows} == {customer(1), customer(2), customer(4), visitor(5)}
    export("timeline", "--until", UNTIL, "--audience", "buyers", "--out", str(tmp_path / "b.csv"))
    assert {row["person_id"] for row in read_csv((tmp_path / "b.csv").read_bytes())} == {
        *(customer(1), customer(2), customer(4))
    }


def test_changes_within_a_time(export: Export, tmp_path: Path) -> None:
    """As `v_audience_changes` has them, in order, to standard output as well."""
    done = export("changes", "--until", UNTIL, "--audience", "buyers", "--out", "-")
    assert done.returncode == 0, done.stderr
    rows = read_csv(done.stdout.encode())
    assert {(row["person_id"], row["change"]) for row in rows} == {
        *((customer(1), "enter"), (customer(2), "enter"), (customer(4), "enter")),
    }
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    done = export("changes", "--until", "2026-01-01", "--out", str(tmp_path / "none.csv"))
    assert (tmp_path / "none.csv").read_text().count("\n") == 1
    assert export("changes", "--since", "2090", "--out", "-").returncode == 2


def test_each_export_is_written_down(export: Export, store: RunningStore, tmp_path: Path) -> None:
    """Who, what, how many rows, and which columns were in clear; no value."""
    before = len(read_log(store))
    done = export("customers", "--clear", "first_name", "--json", "--out", str(tmp_path / "c.csv"))
    assert json.loads(done.stdout)["rows"] == 3
    [entry] = read_log(store)[before:]
    assert entry["actor"].startswith("operator:")
    assert (entry["what"], entry["form"], entry["rows"], entry["left_out"]) == ("customers", "csv", 3, 1)
    assert entry["personal"] == ["first_name"]
    assert "Ada" not in json.dumps(entry)


def test_a_file_is_replaced_only_by_force(export: Export, tmp_path: Path) -> None:
    """And names that say no form are refused."""
    out = tmp_path / "a.csv"
    out.write_text("mine")
    done = export("members", "buyers", "--out", str(out))
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert out.read_text() == "mine"
    assert export("members", "buyers", "--force", "--out", str(out)).returncode == 0
    assert out.read_text().startswith("person_id")
    assert "must end with" in export("members", "buyers", "--out", str(tmp_path / "a.xlsx")).stderr
    assert "there is no folder" in export("members", "buyers", "--out", str(tmp_path / "no" / "a.csv")).stderr


def test_a_failure_half_way_leaves_no_file(
    export: Export, store: RunningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is said in words; nothing is seen, and nothing is written down as given away."""
    before = len(read_log(store))

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.CsvWriter, "write", fail)
        done = export("members", "buyers", "--out", str(tmp_path / "a.csv"))
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert not list(tmp_path.glob("a.csv*"))
    assert len(read_log(store)) == before


def test_whoever_reads_may_go_away(store: RunningStore, tmp_path: Path) -> None:
    """Said in one line."""
    words = ["export", "changes", "--until", UNTIL, "--out", "-", *make_options(store, tmp_path)]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "collector", *words], check=False, stdout=closed, stderr=subprocess.PIPE
        )
    assert done.returncode != 0
    assert done.stderr.startswith(b"tagstitch: standard output was closed")
    assert b"Traceback" not in done.stderr


def test_without_the_store_there_is_a_reason(store: RunningStore, tmp_path: Path) -> None:
    """And no file."""
    done = run_command("export", "customers", "--out", str(tmp_path / "a.csv"), *make_options(store, tmp_path, port=9))
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert not list(tmp_path.glob("a.csv*"))


KILLED = """
import os, signal, sys
from collector.exporting import members
settle = members.Members._settle
def die(self, rows):
    if die.pages:
        os.kill(os.getpid(), signal.SIGKILL)
    die.pages += 1
    return settle(self, rows)
die.pages = 0
members.Members._settle = die
members.IDS = 1
from collector.cli import main
main()
"""


def test_killed_half_way_it_leaves_no_half_file(export: Export, store: RunningStore, tmp_path: Path) -> None:
    """What is left has another name, and the next export writes over it."""
    out = tmp_path / "a.csv"
    words = ["export", "members", "buyers", "--out", str(out), *make_options(store, tmp_path)]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    assert not out.exists()
    assert (tmp_path / "a.csv.part").exists()
    assert export("members", "buyers", "--out", str(out)).returncode == 0
    assert len(read_csv(out.read_bytes())) == 3
    assert not (tmp_path / "a.csv.part").exists()


def test_who_is_erased_meanwhile_is_in_no_later_page(
    export: Export, store: RunningStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page looks anew."""
    settle = members.Members._settle
    pages: list[Page] = []

    def settle_one(self: members.Members, rows: list[dict[str, Any]]) -> Page:
        pages.append(settle(self, rows))
        set_state(store.writer, "main", [customer(4)], State.ERASED, now_ms=NOON_MS + 1)
        return pages[-1]

    monkeypatch.setattr(members, "IDS", 1)
    monkeypatch.setattr(members.Members, "_settle", settle_one)
    done = export("members", "buyers", "--out", str(tmp_path / "a.csv"))
    set_state(store.writer, "main", [customer(4)], None, now_ms=NOON_MS + 2)
    assert done.returncode == 0, done.stderr
    assert [row["person_id"] for row in read_csv((tmp_path / "a.csv").read_bytes())] == [customer(1), customer(2)]
    assert len(pages) == 4


@pytest.mark.long
def test_a_million_rows(store: RunningStore, export: Export, tmp_path: Path) -> None:
    """All are there, once."""
    sql = (
        "INSERT INTO audience_members (space_id, person_id, audience, is_member, since, change_id, version)"
        " SELECT 'main', reinterpretAsUUID(sipHash128(number)), 'crowd', 1, now64(3), generateUUIDv4(), 1"
        " FROM numbers(1000000)"
    )
    store.writer.command(sql)
    done = export("members", "crowd", "--out", str(tmp_path / "a.parquet"))
    assert done.returncode == 0, done.stderr
    ids = parquet.read_table(tmp_path / "a.parquet", columns=["person_id"])["person_id"]
    assert len(ids) == len(ids.unique()) == 1_000_000
