"""`tagstitch adapter`: what is listed, described, tried and fetched; and that nothing is told that nobody may see."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from collector.cli import make_app
from collector.errors import AdapterError, ConfigError, TagstitchError

USE = """
[adapters.crm]
kind = "files"
path = "customers.csv"
key = "number"
search = ["name"]
sentence = "The shop's customers."
bounds = { deadline_s = 0.2 }
settle_s = 0.0
[adapters.crm.fields]
name = { type = "text", sentence = "First and last name." }
tier = { type = "text", personal = false, min_assurance = 2, ttl_s = 60, page = true, as = "club_tier" }
points = { type = "integer", personal = false }

[adapters.erp]
kind = "sql"
key_kind = "email"
url = "sqlite:///erp.sqlite"
table = "people"
key = "mail"
fields.name = "text"

[adapters.broken]
kind = "python"
plugin = "not_installed"
"""
CSV = "number,name,tier,points\n4711,Ada Übel,gold,7\n4712,Bob\x1b[31m,silver,many\n4713,,,\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "use.toml").write_text(USE, encoding="utf-8")
    (tmp_path / "customers.csv").write_text(CSV, encoding="utf-8")
    with sqlite3.connect(tmp_path / "erp.sqlite") as connection:
        connection.execute("CREATE TABLE people (mail TEXT, name TEXT)")
        connection.execute("INSERT INTO people VALUES ('ada@example.org', 'Ada Übel')")
    connection.close()
    return tmp_path


def run(*words: str, given: str = "") -> Result:
    result: Result = CliRunner().invoke(make_app("adapter"), ["adapter", *words], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit | TagstitchError):
        raise result.exception
    return result


def read_lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_list() -> None:
    """All of them, a broken one with what is wrong; in a table and for scripts."""
    text = run("list").stdout
    assert "crm" in text and "The shop's customers." in text and "name, tier, points" in text
    assert "no installed package" in text
    crm, erp, broken = read_lines(run("list", "--json"))
    assert (crm["adapter"], crm["kind"], crm["key_kind"]) == ("crm", "files", "customer")
    assert crm["can_search"] and crm["can_scan"]
    assert erp["fields"] == ["name"] and erp["problem"] == "" and "adapters.broken.plugin" in broken["problem"]


def test_list_teaches(folder: Path) -> None:
    """Without any, it says what to write."""
    (folder / "use.toml").unlink()
    result = run("list")
    assert "[adapters.crm]" in result.stdout and "docs/adapters.md" in result.stdout
    assert result.exit_code == 0 and run("list", "--json").stdout == ""


def test_describe() -> None:
    text = run("describe", "crm").stdout
    assert "files, by customer, in space main; it can find, search, scan" in text
    assert (
        "waited for 200 ms, by pages for 50 ms" in text
        and "club_tier" in text
        and "First and last name." in text
        and "60 s" in text
    )
    (said,) = read_lines(run("describe", "crm", "--json"))
    assert said["bounds"]["deadline_s"] == 0.2
    expected = {"name": "tier", "type": "text", "personal": False, "ttl_s": 60.0, "min_assurance": 2, "sentence": ""}
    assert said["fields"][1] == expected | {"page": True, "as": "club_tier", "trait": "", "identifier": ""}


def test_one_that_is_not_there() -> None:
    for command in (["describe", "x"], ["test", "x", "--key", "1"], ["fetch", "x", "--key", "1"]):
        error = run(*command).exception
        assert isinstance(error, ConfigError) and "there is crm, erp, broken" in str(error)


def test_test_says_field_by_field_what_works() -> None:
    """Without a value; also of searches, of scans and of the file."""
    result = run("test", "crm", "--key", "4711", "--json")
    findings = {finding["what"]: finding for finding in read_lines(result)}
    assert result.exit_code == 0
    assert [findings[name]["state"] for name in ("name", "tier", "points", "search by name")] == ["ok"] * 4
    assert findings["scan"]["state"] == "ok, 3 records in the first batch"
    assert findings["source"]["state"] == "3 rows" and findings["answer"]["state"].startswith("after ")
    assert "Ada" not in result.output and "gold" not in result.output


def test_test_says_cause_and_fix() -> None:
    """Of a field that does not fit, of one without a value, of a key that is nobody's; and ends with status 1."""
    result = run("test", "crm", "--key", "4712")
    assert result.exit_code == 1
    assert "what the source has is not of type integer" in result.stdout and "fields.points" in result.stdout
    assert "many" not in result.output and "Bob" not in result.output
    result = run("test", "crm", "--key", "4713")
    assert result.exit_code == 0 and "the record has none" in result.stdout and "map.name" in result.stdout
    result = run("test", "crm", "--key", "nobody")
    assert result.exit_code == 1 and "no record with this customer" in result.stdout


def test_test_says_why_a_source_does_not_answer(folder: Path) -> None:
    (folder / "customers.csv").unlink()
    (finding,) = read_lines(result := run("test", "crm", "--key", "4711", "--json"))
    assert result.exit_code == 1
    assert (finding["what"], finding["reason"]) == ("answer", "unreachable")
    assert "customers.csv" in finding["cause"] and finding["fix"]
    (folder / "customers.csv").write_text("number,name\n4711,Ada\n")
    (finding,) = read_lines(run("test", "crm", "--key", "4711", "--json"))
    assert finding["reason"] == "config" and "no column tier" in finding["cause"]


def test_fetch_masks_what_is_personal() -> None:
    """Unless it is asked for; what could steer a terminal does not reach it."""
    result = run("fetch", "crm", "--key", "4711")
    assert "•••" in result.stdout and "gold" in result.stdout and "Ada" not in result.output
    assert "Ada Übel" in run("fetch", "crm", "--key", "4711", "--show-personal").stdout
    (said,) = read_lines(run("fetch", "crm", "--key", "4711", "--json"))
    expected = {"adapter": "crm", "values": {"tier": "gold", "points": 7}, "masked": ["name"], "unavailable": {}}
    assert said == expected
    (said,) = read_lines(run("fetch", "crm", "--key", "4712", "--json", "--show-personal", "--fields", "points, name"))
    assert said["values"] == {"name": "Bob\x1b[31m"} and said["unavailable"] == {"points": "bad_answer"}
    text = run("fetch", "crm", "--key", "4712", "--show-personal").stdout
    assert "Bob\\x1b[31m" in text and "\x1b" not in text and "does not fit" in text


def test_fetch_says_what_is_not_there(folder: Path) -> None:
    result = run("fetch", "crm", "--key", "nobody")
    assert result.exit_code == 1 and "no record with this customer" in result.output
    assert run("fetch", "crm", "--key", "4711", "--fields", "nick").exit_code == 2
    assert run("fetch", "crm", "--key", "").exit_code == 2
    (folder / "erp.sqlite").unlink()
    error = run("fetch", "erp", "--key", "ada@example.org").exception
    assert isinstance(error, AdapterError) and "ada@" not in str(error)


def test_a_key_from_standard_input() -> None:
    """A personal key stands in no list of processes."""
    result = run("fetch", "erp", "--key", "-", "--show-personal", "--json", given="ada@example.org\n")
    assert read_lines(result)[0]["values"] == {"name": "Ada Übel"}


def test_nothing_is_written_where_no_instance_is(folder: Path) -> None:
    """A folder that happens to be called `data` is left alone."""
    (folder / "data").mkdir()
    assert run("test", "crm", "--key", "4711").exit_code == 0
    assert not list((folder / "data").iterdir())
