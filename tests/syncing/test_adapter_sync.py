"""`tagstitch adapter sync` on a real engine: what is written, what a second time writes, what is taken back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.event import EvidenceRow, LandingRow
from collector.identity.identifiers import name_identifier
from collector.profiles.definitions import Definitions, TraitConfig
from collector.profiles.profile import Part, Profile, read_profile
from collector.profiles.states import State, set_state
from collector.profiles.traits import correct, open_trait
from collector.sites.book import DEFAULT_KINDS
from collector.spool.frames import scan_frames
from collector.spool.writer import SpoolWriter
from collector.syncing.sync import AdapterSync
from tests.instance_process import run_command
from tests.running_store import NOON_MS, RunningStore, running_store

pytestmark = pytest.mark.engine
USE = """
[adapters.crm]
kind = "files"
path = "crm.csv"
key = "number"
settle_s = 0

[adapters.crm.fields]
first_name = "text"
tier = { type = "text", personal = false, trait = "plan" }
points = { type = "integer", personal = false }
mail = { type = "text", identifier = "email" }

[traits.plan]
personal = false

[traits.points]
type = "integer"
personal = false
"""
TRAITS = {"plan": TraitConfig(personal=False)}
PEOPLE = [
    {"number": "4711", "first_name": "Anna", "tier": "gold", "points": "7", "mail": "Anna@Shop.example"},
    {"number": "4712", "first_name": "Bert", "tier": "", "points": "x", "mail": ""},
    {"number": "null", "first_name": "Nobody", "tier": "gold", "points": "1", "mail": ""},
]


class Place:
    """A store, a folder and a file of customers."""

    def __init__(self, store: RunningStore, folder: Path) -> None:
        self.store = store
        self.data = folder / "data"
        self.data.mkdir()
        secrets = self.data / "secrets.json"
        secrets.write_bytes(msgspec.json.encode(store.keyring))
        secrets.chmod(0o600)
        self.use_file = folder / "use.toml"
        self.use_file.write_text(USE)
        self.file = folder / "crm.csv"
        self.write(PEOPLE)

    def write(self, people: list[dict[str, str]]) -> None:
        """Write the file anew."""
        lines = [",".join(PEOPLE[0]), *(",".join(one[name] for name in PEOPLE[0]) for one in people)]
        self.file.write_text("\n".join(lines) + "\n")

    def sync(self, *words: str) -> dict[str, Any]:
        """Run the command, which has to end well or with records refused, and return what it says."""
        done = self.run(*words, "--json")
        assert done.returncode in (0, 3), done.stderr
        return msgspec.json.decode(done.stdout, type=dict[str, Any])

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command."""
        port = f"engine_port={self.store.config.engine_port}"
        options = ["--data", str(self.data), "--set", f"use_file={self.use_file}", "--set", port]
        return run_command("adapter", "sync", "crm", *options, *words)

    def key(self, number: str) -> str:
        """Return a customer's own person id."""
        return name_identifier(self.store.keyring, "main", DEFAULT_KINDS[0], number).key

    def traits(self) -> dict[tuple[str, str], Any]:
        """Return what the store holds, by key and name, opened."""
        columns = "toString(t.key) AS key, name, value, sealed, source, level"
        found = {}
        for row in self.store.query(f"SELECT {columns} FROM traits AS t FINAL WHERE is_deleted = 0"):
            assert (row["source"], row["level"]) == ("adapter:crm", 4)
            text = row["value"]
            if row["sealed"]:
                text = open_trait(self.store.keyring, "main", row["key"], row["name"], text)
            found[row["key"], row["name"]] = json.loads(text)
        return found

    def evidence(self) -> list[tuple[str, int, str, str]]:
        """Return kind, op and both keys of all evidence in the spool."""
        return [(one.kind, one.op, one.a_key, one.b_key) for one in self.spooled()]

    def standing(self) -> set[tuple[str, str]]:
        """Return both keys of the evidence that stands: what was taken back once never does."""
        spooled = self.spooled()
        gone = {one.evidence_id for one in spooled if one.op < 0}
        return {(one.a_key, one.b_key) for one in spooled if one.evidence_id not in gone}

    def spooled(self) -> list[EvidenceRow]:
        """Return all evidence in the spool."""
        found: list[EvidenceRow] = []
        for segment in sorted((self.data / "spool" / "sync-crm").glob("*")):
            data = segment.read_bytes() if segment.suffix in (".open", ".log", ".seg", ".sealed") else b""
            for stretch in scan_frames(data):
                if stretch.line is None:
                    continue
                row = msgspec.json.decode(stretch.line, type=LandingRow)
                assert not row.events and row.space_id == "main"
                found += row.evidence
        return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def place(shared: RunningStore, tmp_path: Path) -> Place:
    shared.clear()
    return Place(shared, tmp_path)


def counts(said: Mapping[str, Any]) -> tuple[int, ...]:
    """Return how many are new, changed, the same, gone."""
    return tuple(said[name] for name in ("new", "changed", "same", "gone"))


def test_the_first_sync(place: Place) -> None:
    """Values become traits, personal ones sealed; keys and addresses evidence of level 4; what cannot be is counted."""
    said = place.sync()
    assert counts(said) == (2, 0, 0, 0)
    assert (said["read"], said["refused"], said["unfit"]) == (3, {"blocked": 1}, {"points": 1})
    anna, bert = place.key("4711"), place.key("4712")
    assert place.traits() == {
        (anna, "first_name"): "Anna",
        (anna, "plan"): "gold",
        (anna, "points"): 7,
        (anna, "mail"): "Anna@Shop.example",
        (bert, "first_name"): "Bert",
    }
    assert place.store.value("SELECT count() FROM traits FINAL WHERE sealed = 1") == 3
    mail = name_identifier(place.store.keyring, "main", DEFAULT_KINDS[1], "anna@shop.example").key
    assert sorted(place.evidence()) == sorted(
        [("server", 1, anna, anna), ("identify", 1, anna, mail), ("server", 1, bert, bert)]
    )


def test_a_dry_run_writes_nothing(place: Place) -> None:
    """And says the same."""
    said = place.sync("--dry-run")
    assert counts(said) == (2, 0, 0, 0) and said["values_written"] == 5
    assert not place.traits() and not place.store.query("SELECT * FROM customer_records")
    assert not (place.data / "spool").exists()
    assert "Nothing was written." in place.run("--dry-run").stdout


def test_the_same_again_writes_nothing(place: Place) -> None:
    """Neither values nor evidence."""
    place.sync()
    before = place.evidence()
    said = place.sync()
    assert counts(said) == (0, 0, 2, 0) and said["values_written"] == 0
    assert place.evidence() == before
    assert place.store.value("SELECT count() FROM traits") == 5


def test_what_has_changed(place: Place) -> None:
    """Values that are new, others and gone; an address that is another one; each said in the answer."""
    place.sync()
    place.write([{**PEOPLE[0], "tier": "silver", "points": "", "mail": "a.nna@shop.example"}, PEOPLE[1]])
    said = place.sync()
    assert counts(said) == (0, 1, 1, 0)
    assert said["traits"] == {"mail": 1, "plan": 1, "points": 1}
    assert said["sample"] == [{"key": "4711", "outcome": "changed", "traits": ["mail", "plan", "points"]}]
    anna = place.key("4711")
    values = {name: value for (key, name), value in place.traits().items() if key == anna}
    assert values == {"first_name": "Anna", "plan": "silver", "mail": "a.nna@shop.example"}
    keys = [
        name_identifier(place.store.keyring, "main", DEFAULT_KINDS[1], one).key
        for one in ("anna@shop.example", "a.nna@shop.example")
    ]
    told = [one for one in place.evidence() if one[0] == "identify"]
    assert told == [("identify", 1, anna, keys[0]), ("identify", 1, anna, keys[1]), ("identify", -1, anna, keys[0])]


def test_evidence_that_comes_back_is_another_one(place: Place) -> None:
    """What was taken back never stands again, so an address that returns is said under a new id."""
    place.sync()
    for mail in ("", PEOPLE[0]["mail"]):
        place.write([{**PEOPLE[0], "mail": mail}, PEOPLE[1]])
        place.sync()
    ops = [op for kind, op, *_ in place.evidence() if kind == "identify"]
    assert ops == [1, -1, 1]
    rows = place.store.query("SELECT ties FROM customer_records FINAL WHERE length(ties) = 2")
    assert len({tie["time_ms"] for tie in rows[0]["ties"]}) == 2


def test_who_has_gone(place: Place) -> None:
    """Values and evidence are taken back."""
    place.sync()
    place.write([PEOPLE[0]])
    assert counts(place.sync()) == (0, 0, 1, 1)
    bert = place.key("4712")
    assert not [key for key, _ in place.traits() if key == bert]
    assert place.evidence()[-1] == ("server", -1, bert, bert)
    assert counts(place.sync()) == (0, 0, 1, 0)
    place.write(PEOPLE[:2])
    assert counts(place.sync()) == (1, 0, 1, 0)
    assert place.evidence()[-1] == ("server", 1, bert, bert)


def test_a_source_that_is_not_whole(place: Place) -> None:
    """Where a third has gone nothing is taken back, until somebody says that it is right."""
    many = [{**PEOPLE[0], "number": str(number), "mail": ""} for number in range(100, 200)]
    place.write(many)
    place.sync()
    place.write(many[:60])
    wrong = place.run()
    assert wrong.returncode == 1 and "40 of 100 records" in wrong.stderr and "--allow-gone" in wrong.stderr
    assert len(place.traits()) == 300
    assert counts(place.sync("--allow-gone")) == (0, 0, 60, 40)
    assert len(place.traits()) == 180


def test_two_records_with_one_key(place: Place) -> None:
    """Neither is copied, and what stood of the key is taken back."""
    place.sync()
    place.write([PEOPLE[0], PEOPLE[1], {**PEOPLE[0], "first_name": "Another"}])
    said = place.sync()
    assert counts(said) == (0, 0, 1, 0) and said["refused"] == {"double": 2}
    assert not [key for key, _ in place.traits() if key == place.key("4711")]


def test_erased_and_restricted_people(place: Place) -> None:
    """Of the erased nothing is copied, and what stood goes; of the restricted all stays as it is."""
    place.sync()
    set_state(place.store.writer, "main", [place.key("4711")], State.ERASED, now_ms=1)
    set_state(place.store.writer, "main", [place.key("4712")], State.RESTRICTED, now_ms=1)
    place.write([PEOPLE[0], {**PEOPLE[1], "first_name": "Berta"}])
    said = place.sync()
    assert said["refused"] == {"erased": 1, "restricted": 1} and said["gone"] == 1
    assert place.traits() == {(place.key("4712"), "first_name"): "Bert"}


def test_a_correction_beats_it(place: Place) -> None:
    """And stays through the next sync."""
    place.sync()
    definitions, anna = Definitions(TRAITS), place.key("4711")
    correct(
        place.store.writer, place.store.keyring, definitions, anna, "plan", "silver", actor="operator:ann", now_ms=1
    )
    place.write([{**PEOPLE[0], "tier": "platinum"}, PEOPLE[1]])
    place.sync()
    row = {"space_id": "main", "person_id": anna, "customer_id": "4711", "customer_key": anna, "level": 4, "version": 1}
    place.store.put("identity_map", {**row, "key": anna, "key_kind": "customer", "key_customer_id": "4711"})
    keyring = place.store.keyring
    profile = read_profile(place.store.writer, keyring, definitions, anna, now_ms=NOON_MS, parts={Part.TRAITS})
    assert isinstance(profile, Profile)
    plan = profile.traits["plan"].survivor
    assert (plan.said.value, plan.said.source) == ("silver", "correction")
    assert [(other.said.value, other.said.source) for other in plan.lost] == [("platinum", "adapter:crm")]


MAIL = "anna@shop.example"
OTHER = "a.nna@shop.example"
STORIES: dict[str, tuple[list[dict[str, str]], ...]] = {
    # Before; what is being copied when it breaks off; what the file says by the time it is copied again.
    "new, and another address": ([], [PEOPLE[0]], [{**PEOPLE[0], "mail": OTHER}]),
    "another address": ([PEOPLE[0]], [{**PEOPLE[0], "mail": OTHER}], [{**PEOPLE[0], "mail": OTHER}]),
    "an address goes and returns": ([PEOPLE[0]], [{**PEOPLE[0], "mail": ""}], [PEOPLE[0]]),
    "a value changes and returns": ([PEOPLE[0]], [{**PEOPLE[0], "tier": "silver"}], [PEOPLE[0]]),
    "a record goes and returns": ([PEOPLE[0], PEOPLE[1]], [PEOPLE[1]], [PEOPLE[0], PEOPLE[1]]),
    "a record goes": ([PEOPLE[0], PEOPLE[1]], [PEOPLE[1]], [PEOPLE[1]]),
    "new, and gone": ([PEOPLE[1]], [PEOPLE[0], PEOPLE[1]], [PEOPLE[1]]),
}


@pytest.mark.parametrize(
    "step", ["spool", *(pytest.param(one, marks=pytest.mark.long) for one in ("begin", "traits", "end"))]
)
@pytest.mark.parametrize("story", STORIES)
def test_broken_off_at_any_step(place: Place, monkeypatch: pytest.MonkeyPatch, step: str, story: str) -> None:
    """The same words again bring about what the source says by then: neither a value nor a tie is left over or lost,
    and what comes back stands."""
    before, broken, after = STORIES[story]
    if before:
        place.write(before)
        place.sync()

    def die(name: str) -> None:
        if name == step:
            raise KeyboardInterrupt

    place.write(broken)
    with monkeypatch.context() as patch:
        patch.setattr("collector.syncing.opening.AdapterSync", partial(AdapterSync, before=die))
        assert place.run().returncode != 0
    place.write(after)
    place.sync()
    ties: set[tuple[str, str]] = set()
    values: dict[tuple[str, str], str] = {}
    for one in after:
        key = place.key(one["number"])
        ties.add((key, key))
        if one["mail"]:
            ties.add((key, name_identifier(place.store.keyring, "main", DEFAULT_KINDS[1], one["mail"].lower()).key))
        shown = {"first_name": one["first_name"], "plan": one["tier"], "mail": one["mail"]}
        values |= {(key, name): value for name, value in shown.items() if value}
    assert place.standing() == ties
    assert {place: value for place, value in place.traits().items() if place[1] != "points"} == values
    assert counts(place.sync()) == (0, 0, len(after), 0)


def test_a_file_appended_to_itself(place: Place) -> None:
    """It would take everybody back: a dry run says so, and the sync stops."""
    many = [{**PEOPLE[0], "number": str(number), "mail": ""} for number in range(100, 200)]
    place.write(many)
    place.sync()
    place.write([*many, *many])
    assert "100 of 100 records" in place.sync("--dry-run")["warning"]
    wrong = place.run()
    assert wrong.returncode == 1 and "there twice" in wrong.stderr
    assert len(place.traits()) == 300 and len(place.standing()) == 100


def test_an_address_that_comes_and_goes_while_the_source_is_not_whole(place: Place) -> None:
    """Syncs that stop for what has gone have copied the rest, and each says what it says anew."""
    many = [{**PEOPLE[0], "number": str(number), "mail": ""} for number in range(100, 200)]
    place.write([*many, PEOPLE[0]])
    place.sync()
    for mail in ("", MAIL, "", MAIL):
        place.write([{**PEOPLE[0], "mail": mail}])
        assert place.run().returncode == 1
    place.write([*many, PEOPLE[0]])
    place.sync()
    assert len(place.standing()) == 102


def test_only_one_at_a_time(place: Place) -> None:
    """The second is told so."""
    holder = SpoolWriter(
        place.data / "spool" / "sync-crm",
        segment_bytes=1 << 20,
        segment_age_s=1,
        max_spool_bytes=1 << 30,
        min_free_bytes=0,
        durability="batch",
    )
    try:
        assert place.run().returncode == 1
    finally:
        holder.close()


def test_it_is_in_the_audit_log(place: Place) -> None:
    """With counts, and nobody's values."""
    place.sync()
    [entry] = place.store.query("SELECT action, actor, arguments FROM audit_log")
    assert entry["action"] == "sync" and entry["actor"].startswith("operator:")
    assert json.loads(entry["arguments"])["new"] == 2
    assert "Anna" not in entry["arguments"]


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ('identifier = "email"', 'identifier = "fax"', "knows no kind fax"),
        ('trait = "plan"', 'trait = "points"', "two fields become the trait points"),
        ('type = "integer"\npersonal', 'type = "text"\npersonal', "make them the same"),
        ('kind = "files"', 'kind = "files"\nkey_kind = "shoe_size"', "knows no kind shoe_size"),
    ],
)
def test_fields_that_cannot_become_what_they_say(place: Place, before: str, after: str, cause: str) -> None:
    """Setting, cause and fix."""
    assert before in USE
    place.use_file.write_text(USE.replace(before, after))
    wrong = place.run()
    assert wrong.returncode == 1 and cause in wrong.stderr


def test_a_source_that_cannot_be_read_as_a_whole(place: Place) -> None:
    """REST gives one record at a time."""
    head, fields = (
        '[adapters.crm]\nkind = "rest"\nbase_url = "https://crm.example"\n',
        '[adapters.crm.fields]\ntier = "text"',
    )
    place.use_file.write_text(f'{head}path = "/customers/{{key}}"\n{fields}\n')
    wrong = place.run()
    assert wrong.returncode == 1 and "one record at a time" in wrong.stderr
