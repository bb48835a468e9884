"""Erasing through the whole instance: what is left on the disk, what stays of others, and who comes back."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from collector.errors import PrivacyError, PrivacyReason
from collector.identity.identifiers import VISITOR_KIND, own_person_id
from collector.store.client import open_client
from collector.store.rendering import CLEANUP
from tests.identity_drive import Browser, Space, World, name_origin, running_world

pytestmark = pytest.mark.engine
CANARY = "Xk7canary"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module."""
    with running_world(tmp_path_factory.mktemp("erasure"), spaces=12, options=("govern_interval_s=0.2",)) as running:
        write_plain(running)
        yield running


@pytest.fixture
def space(world: World) -> Space:
    """A space of the test's own."""
    return world.take_space()


def write_plain(world: World) -> None:
    """Let the store compress nothing from now on, so that whoever looks through its files finds what stands there; and
    let old files go at once."""
    with contextlib.closing(open_client(world.instance.config, world.instance.keyring, "writer")) as writer:
        tables = writer.query_rows(
            "SELECT name, create_table_query AS source FROM system.tables"
            " WHERE database = 'tagstitch' AND engine LIKE '%MergeTree'"
        )
        for table in tables:
            quick = "cleanup_delay_period = 1, max_cleanup_delay_period = 1"
            setting = f"default_compression_codec = 'NONE', {quick}"
            writer.command(f"ALTER TABLE {table['name']} MODIFY SETTING {setting}")
            for column in re.findall(r"^ +`(\w+)` .*CODEC\(", table["source"], re.MULTILINE):
                writer.command(f"ALTER TABLE {table['name']} MODIFY COLUMN {column} CODEC(NONE)")


def command(space: Space, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `tagstitch privacy …` in a space."""
    pace = ("--set", "settings_interval_s=0.3")  # as the instance has it
    return space.world.instance.command("privacy", *words, *pace, "--space", space.name, check=check)


def erase(space: Space, *names: str) -> dict[str, Any]:
    """Erase people of a space as an officer does, wait until the edge knows, and return the certificate."""
    found: dict[str, Any] = json.loads(command(space, "erase", *names, "--yes", "--json").stdout)
    time.sleep(1.0)  # settings are asked for every 0.3 s
    return found


def find_bytes(folder: Path, *pieces: bytes) -> list[str]:
    """Return the files below a folder in which any of these bytes stand."""
    return sorted(
        f"{path.relative_to(folder)}: {piece!r}"
        for path in folder.rglob("*")
        if path.is_file() and (data := path.read_bytes())
        for piece in pieces
        if piece in data
    )


def spell_id(text: str) -> list[bytes]:
    """Return an id in every form in which it may stand in a file."""
    value = UUID(text)
    swapped = value.bytes[7::-1] + value.bytes[:7:-1]
    return [text.encode(), value.hex.encode(), value.bytes, swapped]


def name_key(space: Space, kind: str, value: str) -> str:
    """Return the own person id that an identifier had before it was erased."""
    return own_person_id(space.world.instance.keyring.pseudonym_key, space.name, kind, value)


def count(space: Space, table: str, where: str = "1", **values: Any) -> int:
    """Count rows of a table of the space, all versions."""
    instance = space.world.instance
    with contextlib.closing(open_client(instance.config, instance.keyring, "writer")) as writer:
        sql = f"SELECT count() AS found FROM {table} WHERE space_id = {{space:String}} AND ({where})"
        return int(writer.query_rows(sql, {"space": space.name, **values})[0]["found"])


def materialise(space: Space) -> None:
    """Keep what people did in a table of the analysts', as dbt does. Its old files go within a second: an analyst's own
    would take half a minute, and could not be told to be quicker."""
    instance = space.world.instance
    with contextlib.closing(open_client(instance.config, instance.keyring, "writer")) as writer:
        writer.command(
            f"CREATE TABLE analytics.visits ENGINE = MergeTree ORDER BY tuple() SETTINGS {CLEANUP} AS"
            " SELECT person_id, customer_id, url, event_name FROM tagstitch.v_events WHERE event_name != 'order'"
            f" AND space_id = '{space.name}'"
        )


def test_nothing_is_left_of_a_person(space: Space, tmp_path: Path) -> None:
    """After an erasure no file holds a mark that was planted wherever a page can leave one, and no id of the person.
    The certificate names nobody, and is checked against the store; a changed one is refused."""
    anna, ben, site = Browser(space), space.browser(), name_origin(space.site_id)
    page = {"u": f"{site}/{CANARY}-path?utm_campaign={CANARY}-utm&q={CANARY}-query", "r": f"https://{CANARY}.example/"}
    props = {"note": f"{CANARY}-prop", f"{CANARY}-name": 1}
    anna.send(anna.make_event("page_view", 3, p=props, h=f"{CANARY}-title", **page))
    anna.sign_in(customer=f"{CANARY}-customer", email=f"{CANARY}@shop.example", ago_h=2)
    traits = {"name": f"{CANARY}-trait", "street": f"{CANARY}-street"}
    space.call("identify", userId=f"{CANARY}-customer", traits=traits, ago_h=1)
    space.call("track", userId=f"{CANARY}-customer", event="order", properties={"order_id": f"{CANARY}-order"})
    ben.sign_in(customer="ben", ago_h=2)
    space.settle()
    materialise(space)
    folder = Path(space.world.instance.config.data)
    keys = [name_key(space, VISITOR_KIND, anna.visitor), name_key(space, "customer", f"{CANARY}-customer")]
    marks = [
        CANARY.encode(),
        CANARY.lower().encode(),
        *(form for key in [*keys, anna.visitor] for form in spell_id(key)),
    ]
    planted = " ".join(find_bytes(folder, *marks))
    assert all(str(mark) in planted for mark in (marks[0], marks[1], spell_id(keys[0])[3], spell_id(keys[1])[3]))
    path, instance = tmp_path / "certificate.json", space.world.instance
    certificate = erase(space, f"customer={CANARY}-customer", "--certificate", str(path))
    assert find_bytes(folder, *marks) == []
    assert CANARY not in instance.log
    assert certificate["people"] == 1
    rows = {place["place"]: place["rows"] for place in certificate["places"]}
    assert rows["events"] == 4
    assert rows["traits"] == 2
    assert rows["analytics.visits"] == 3
    assert space.who(ben) == ["ben"]
    assert CANARY.encode() not in path.read_bytes()
    assert "genuine" in instance.command("privacy", "verify", str(path)).stdout
    forged = json.loads(path.read_text()) | {"people": 2}
    path.write_text(json.dumps(forged))
    answer = instance.command("privacy", "verify", str(path), check=False)
    assert (answer.returncode, "changed" in answer.stderr) == (1, True)
    requests = json.loads(command(space, "requests", "--all", "--json").stdout)
    assert (requests["state"], requests["subjects"], requests["kind"]) == ("done", "", "erase")


def test_who_comes_back_is_somebody_new(space: Space) -> None:
    """What was seen before is refused, from page and server; what comes later is a new visitor and a new person."""
    anna = space.browser(age_h=48)
    anna.sign_in(customer="anna", ago_h=2)
    space.settle()
    before, person, cookie = anna.visitor, space.customers()["anna"], anna.cookies[space.site_id]
    erase(space, "customer=anna")
    assert "anna" not in space.customers()
    late = anna.view(ago_h=1)
    assert (late.status, late.rejected) == (204, "erased")
    (refused,) = space.call("track", userId="anna", event="late", ago_h=1).said["rejected"]
    assert refused["reason"] == "erased"
    # What is seen until every web process knows is erased as well: those seconds are over.
    space.world.now_ms = time.time_ns() // 1_000_000
    back = anna.view()
    assert back.status == 200
    assert anna.visitor != before
    assert anna.cookies[space.site_id] != cookie
    again = anna.view()
    assert (again.status, anna.visitor) == (204, anna.visitor)
    anna.sign_in(customer="anna")
    space.settle()
    assert space.customers()["anna"] != person
    assert count(space, "events", "visitor_id = {visitor:UUID}", visitor=before) == 0
    assert set(space.who(anna)) == {"anna"}


def test_a_shared_tablet_keeps_what_the_others_did(space: Space) -> None:
    """Of a tablet that two have used in turn, one is erased: the other's events, visits and person stay as they are."""
    tablet = space.browser(age_h=60)
    tablet.start_session()
    tablet.sign_in(customer="anna", ago_h=40)
    tablet.view(ago_h=39.9)
    tablet.start_session()
    tablet.sign_in(customer="ben", ago_h=20)
    tablet.view(ago_h=19.9)
    tablet.start_session()
    tablet.sign_in(customer="anna", ago_h=10)
    space.settle()
    ben = space.customers()["ben"]
    visits = (
        "SELECT customer_id, events FROM v_sessions WHERE space_id = {space:String} AND visitor_id = {visitor:UUID}"
    )
    assert {row["customer_id"] for row in space.query(visits, visitor=tablet.visitor)} >= {"anna", "ben"}
    certificate = erase(space, "customer=anna")
    rows = {place["place"]: place["rows"] for place in certificate["places"]}
    assert rows["events"] >= 3
    assert space.who(tablet) == ["ben", "ben"]
    assert space.customers()["ben"] == ben
    assert "anna" not in space.customers()
    found = [row for row in space.query(visits, visitor=tablet.visitor) if row["customer_id"] == "ben"]
    assert [row["events"] for row in found] == [2]
    assert count(space, "identity_evidence", "b_key = {key:UUID}", key=name_key(space, "customer", "anna")) == 0


def test_whoever_was_merged_into_them_goes_as_well(space: Space) -> None:
    """A person whom a server merged into another is erased with it, by whichever of the two names."""
    anna, annie = space.browser(), space.browser()
    anna.sign_in(customer="anna", ago_h=3)
    annie.sign_in(customer="annie", ago_h=3)
    space.call("alias", userId="anna", previousId="annie")
    space.settle()
    erase(space, "customer=annie")
    assert not {"anna", "annie"} & space.customers().keys()
    assert space.who(anna) == space.who(annie) == []
    keys = [name_key(space, "customer", name) for name in ("anna", "annie")]
    for table, column in (("merge_log", "from_person_id"), ("identity_map", "key"), ("person_keys", "key")):
        assert count(space, table, f"{column} IN {{keys:Array(UUID)}}", keys=keys) == 0, table


def test_who_is_anonymised_stays_as_a_number(space: Space) -> None:
    """Events and visits are as many as before, of nobody; of texts those stay that others have too."""
    for number in range(5):
        space.browser().view(ago_h=number + 1)
    anna = space.browser()
    anna.sign_in(customer="anna", ago_h=3)
    anna.view(ago_h=2)
    anna.send(anna.make_event("annas_own_event", 2, p={"secret": "annas-word"}))
    space.settle()

    def read(columns: str) -> list[dict[str, Any]]:
        return space.query(f"SELECT {columns} FROM v_events WHERE space_id = {{space:String}}")

    counts = "count() AS events, uniq(session_id) AS visits, countIf(event_name = 'page_view') AS views"
    before = read(counts)
    done = json.loads(command(space, "erase", "customer=anna", "--anonymise", "--yes", "--json").stdout)
    assert (done["kind"], "counts" in " ".join(done["remarks"])) == ("anonymise", True)
    assert read(counts) == before
    rows = read(
        "toString(person_id) AS person, customer_id, event_name, toJSONString(props) AS props, toString(time) AS at"
    )
    assert "anna" not in json.dumps(rows)
    nobody = [row for row in rows if row["event_name"] == "other"]
    assert len(nobody) >= 2, "a sign-in that few others have, and an event of a name of its own"
    assert {(row["customer_id"], row["props"]) for row in nobody} == {("", "{}")}
    assert all(row["at"].endswith(":00:00.000") for row in nobody)
    assert space.customers() == {}


def test_fingerprints_go_when_consent_to_them_is_taken_back(space: Space) -> None:
    """Nobody sees them from then on, within seconds; what came with the answer that takes them back has none."""
    golden = Path(__file__).parents[1] / "data" / "beacons" / "v1_fingerprint_2.json"
    signals = json.loads(golden.read_text(encoding="utf-8"))["f"]
    anna = space.browser()
    anna.send(anna.make_event("fingerprint", 1), c="aif", f=signals)
    space.settle()

    def read() -> list[str]:
        rows = space.query("SELECT fingerprint FROM v_events WHERE space_id = {space:String} AND fingerprint != ''")
        return [row["fingerprint"] for row in rows]

    assert len(read()) == 1
    anna.send(anna.make_event("page_view", 0.5), c="ai", f=signals)
    space.settle()
    deadline = time.monotonic() + 20
    while read():
        assert time.monotonic() < deadline
        time.sleep(0.1)


LONG_STEPS = [pytest.param(step, marks=pytest.mark.long) for step in ("drain", "delete", "files", "verify")]


@pytest.mark.parametrize("step", ["part", *LONG_STEPS])
def test_who_is_stopped_begins_again(space: Space, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure that ends at any step is open, and carried out by the role govern; the certificate counts it all."""
    anna, ben = space.browser(), space.browser()
    anna.sign_in(customer="anna", ago_h=2)
    anna.view(ago_h=1)
    ben.sign_in(customer="ben", ago_h=1)
    space.settle()

    def stop(self: object, name: str) -> None:
        if name == step:
            raise PrivacyError(PrivacyReason.PENDING, "stopped here")

    with monkeypatch.context() as patch:
        patch.setattr("collector.privacy.desk.Silent.begin", stop)
        stopped = command(space, "erase", "customer=anna", "--yes", "--json", check=False)
    assert "stopped here" in stopped.stderr
    deadline = time.monotonic() + 60
    while (done := json.loads(command(space, "requests", "--all", "--json").stdout))["state"] != "done":
        assert time.monotonic() < deadline, done
        time.sleep(0.2)
    rows = {place["place"]: place["rows"] for place in json.loads(done["certificate"])["places"]}
    assert rows["events"] == 3
    assert set(space.customers()) == {"ben"}
    assert count(space, "events", "own_person_id = {key:UUID}", key=name_key(space, "customer", "anna")) == 0
    assert space.who(anna) == []
