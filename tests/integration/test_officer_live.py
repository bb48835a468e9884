"""The privacy officer's desk through the whole instance: finding, taking along, correcting, restricting, objecting."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.identity_drive import Space, World, running_world

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module."""
    with running_world(tmp_path_factory.mktemp("officer"), spaces=7) as running:
        yield running


@pytest.fixture
def space(world: World) -> Space:
    """A space of the test's own."""
    return world.take_space()


def run(space: Space, *words: str, check: bool = True) -> Any:
    """Run `tagstitch privacy …` in a space."""
    return space.world.instance.command("privacy", *words, "--space", space.name, check=check)


def read_zip(path: Path) -> dict[str, bytes]:
    """Return the files of a zip."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_lines(files: dict[str, bytes], name: str) -> list[dict[str, Any]]:
    """Return the entries of a part."""
    return [json.loads(line) for line in files[f"{name}.jsonl"].splitlines()]


def test_what_is_held_is_found_and_taken_along(space: Space, tmp_path: Path) -> None:
    """Events, identifiers, the evidence that ties them, and values: in JSON, CSV and a page; no cell is a formula."""
    anna, ben = space.browser(), space.browser()
    said = {"term": "=cmd()", "note": "<script>alert(1)</script>"}
    anna.send(anna.make_event("page_view", 2, p=said))
    anna.sign_in(customer="anna", email="anna@shop.example", ago_h=1)
    space.call("identify", userId="anna", traits={"city": "=Bremen"}, ago_h=0.5)
    ben.sign_in(customer="xaver", ago_h=1)
    space.settle()
    found = json.loads(run(space, "find", "customer=anna", "--json").stdout)
    assert len(found["people"]) == 1
    assert {place["place"]: place["rows"] for place in found["held"]}["events"] == 4
    path = tmp_path / "anna.zip"
    run(space, "export", "customer=anna", "--to", str(path), "--language", "de")
    assert path.stat().st_mode & 0o077 == 0
    files = read_zip(path)
    events = read_lines(files, "events")
    assert [event["event_name"] for event in events] == ["page_view", "page_view", "identify", "identify"]
    assert json.loads(events[1]["props"]) == said
    assert {item["kind"] for item in read_lines(files, "identifiers")} == {"visitor", "customer", "email"}
    assert {row["b_value"] for row in read_lines(files, "links_between_identifiers")} >= {"anna"}
    assert [(row["name"], row["value"]) for row in read_lines(files, "traits")] == [("city", "=Bremen")]
    sheet = list(csv.DictReader(io.StringIO(files["traits.csv"].decode("utf-8-sig"))))
    assert sheet[0]["value"] == "'=Bremen"
    page = files["index.html"].decode()
    assert 'lang="de"' in page
    assert "<script>alert" not in page
    assert b"xaver" not in b"".join(files.values())
    again = run(space, "export", "customer=anna", "--to", str(path), check=False)
    assert (again.returncode, "exists" in again.stderr) == (1, True)


def test_a_correction_beats_the_sources(space: Space, tmp_path: Path) -> None:
    """A value that is put right is what the person takes along, besides what the source says; a trait is declared."""
    anna, use = space.browser(), tmp_path / "use.toml"
    anna.sign_in(customer="anna", ago_h=2)
    space.call("identify", userId="anna", traits={"city": "Bremen"}, ago_h=1)
    space.settle()
    use.write_text(f'[traits.city]\ntype = "text"\nspace = "{space.name}"\n')
    declared = ("--set", f"use_file={use}")
    run(space, "correct", "customer=anna", "city=Hamburg", *declared)
    wrong = run(space, "correct", "customer=anna", "town=Hamburg", *declared, check=False)
    assert (wrong.returncode, "declares no such trait" in wrong.stderr) == (1, True)
    path = tmp_path / "anna.zip"
    run(space, "export", "customer=anna", "--to", str(path))
    said = {row["source"]: row["value"] for row in read_lines(read_zip(path), "traits")}
    assert said == {"correction": "Hamburg", "server": "Bremen"}


def test_who_is_restricted_is_kept_and_not_used(space: Space) -> None:
    """A restricted person's profile is refused with 451, and told again when it is lifted."""
    anna = space.browser()
    anna.sign_in(customer="anna", ago_h=1)
    space.settle()
    instance = space.world.instance
    show = ("profile", "show", "customer=anna", "--space", space.name, "--json")
    assert instance.command(*show).returncode == 0
    run(space, "restrict", "customer=anna")
    answer = instance.command(*show, check=False)
    assert "restricted" in answer.stdout + answer.stderr
    run(space, "restrict", "customer=anna", "--lift")
    assert json.loads(instance.command(*show).stdout)["customer_id"] == "anna"


def test_an_objection_takes_consent_back_under_every_name(space: Space) -> None:
    """After an objection the ledger says so of each identifier, by whom and for which request."""
    anna = space.browser()
    anna.sign_in(customer="anna", email="anna@shop.example", ago_h=1)
    space.settle()
    run(space, "object", "customer=anna", "--purpose", "marketing", "--actor", "eve")
    rows = space.query(
        "SELECT purpose, state, source FROM v_consents WHERE space_id = {space:String} AND customer_id = 'anna'"
        " AND purpose = 'marketing'"
    )
    assert len(rows) == 3
    assert {tuple(row.values()) for row in rows} == {("marketing", "withdrawn", "objection")}
    answer = run(space, "object", "customer=anna", "--purpose", "nonsense", check=False)
    assert (answer.returncode, "no purpose" in answer.stderr) == (1, True)


def test_a_second_pair_of_eyes_has_to_agree(space: Space) -> None:
    """Where it is wanted, an erasure waits until somebody else approves it; who wrote it down cannot."""
    anna = space.browser()
    anna.sign_in(customer="anna", ago_h=1)
    space.settle()
    strict = ("--set", "privacy_approval=true", "--set", "settings_interval_s=0.3")
    run(space, "erase", "customer=anna", "--yes", "--actor", "eve", *strict)
    request = json.loads(run(space, "requests", "--json").stdout)
    assert (request["state"], request["people"]) == ("waiting", 1)
    own = run(space, "approve", request["request_id"], "--actor", "eve", check=False)
    assert (own.returncode, "somebody else" in own.stderr) == (1, True)
    early = run(space, "run", request["request_id"], check=False)
    assert (early.returncode, "waiting" in early.stderr) == (1, True)
    assert "anna" in space.customers()
    run(space, "approve", request["request_id"], "--actor", "bob")
    run(space, "run", request["request_id"], *strict)
    assert "anna" not in space.customers()
    done = json.loads(run(space, "requests", "--all", "--json").stdout)
    assert (done["state"], done["actor"], done["approved_by"]) == ("done", "operator:eve", "operator:bob")
    assert "no request is open" in run(space, "requests").stdout


def test_a_refused_request_names_nobody(space: Space) -> None:
    """A request that is refused keeps no name, and nothing of the person goes."""
    anna = space.browser()
    anna.sign_in(customer="anna", ago_h=1)
    space.settle()
    run(space, "erase", "customer=anna", "--yes", "--set", "privacy_approval=true")
    request = json.loads(run(space, "requests", "--json").stdout)
    run(space, "refuse", request["request_id"])
    refused = json.loads(run(space, "requests", "--all", "--json").stdout)
    assert (refused["state"], refused["subjects"]) == ("refused", "")
    assert "anna" in space.customers()


def test_everything_stands_in_the_audit_log(space: Space) -> None:
    """Requests are in the log of the space, with who and when, and name nobody; the chain is whole."""
    anna = space.browser()
    anna.sign_in(customer="anna", ago_h=1)
    space.settle()
    run(space, "restrict", "customer=anna", "--actor", "eve")
    instance = space.world.instance
    lines = instance.command("audit", "log", "--space", space.name, "--json").stdout.splitlines()
    (entry,) = [entry for entry in map(json.loads, lines) if entry["action"] == "request"]
    assert (entry["actor"], json.loads(entry["arguments"])["kind"]) == ("operator:eve", "restrict")
    assert "anna" not in entry["arguments"]
    assert json.loads(instance.command("audit", "verify", "--json").stdout)["sound"]
