"""A rotation of the personal key through the real collector and engine: nobody who came back in the meantime changes.

Anna signs in with her address before, during and after. Berta is in the vault and comes back only after. Carla is
neither, and begins anew. Dora gives her address for the first time while both keys are in force.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from identity_drive import KINDS, Browser, Space, World, running_world
from instance_process import RunningInstance
from typer.testing import CliRunner

from collector.cli import make_app
from collector.errors import TagstitchError
from collector.keyring import PersonalKey, read_keyring
from collector.sites.book import IdentifierKind, Site
from collector.store.client import open_client

pytestmark = [pytest.mark.engine, pytest.mark.long, pytest.mark.timeout(180)]

ADDRESS = "{}.canary@shop.example"
CUSTOMERS = (KINDS[0], IdentifierKind("email", unique=True, personal=True, normaliser="email", priority=10))


@dataclass
class Story:
    """What was seen, step by step. `persons`: of everybody, by step; `said`: what the commands printed."""

    world: World
    space: Space
    old: PersonalKey
    new: PersonalKey
    browsers: dict[str, Browser]
    persons: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def look(self, step: str) -> None:
        """Note whose the events of everybody are."""
        self.space.settle()
        self.persons[step] = {name: self.space.persons(browser) for name, browser in self.browsers.items()}

    def come_back(self, name: str, browser: str = "") -> None:
        """Somebody signs in on their browser, or on one that nobody has seen yet."""
        if browser:
            self.browsers[browser] = self.space.browser()
        assert not self.browsers[browser or name].sign_in(email=ADDRESS.format(name)).rejected


def run(instance: RunningInstance, *words: str, status: int = 0, text: str = "") -> str:
    """Run `tagstitch …` in this process and return what it printed, both streams and its error."""
    done = CliRunner().invoke(make_app(words[0]), [*words, "--data", str(instance.data)], input=text)
    failed = isinstance(done.exception, TagstitchError)
    printed = f"{done.stdout}{done.stderr}{done.exception if failed else ''}"
    assert done.exit_code == status, printed
    return printed


def _read_load_status(instance: RunningInstance) -> str:
    return (instance.data / "load" / "status.json").read_text()


def reload(instance: RunningInstance) -> None:
    """Let the web processes read the secrets anew, and wait until they have."""
    told = instance.log.count("replaced processes")
    run(instance, "reload")
    instance.until("SELECT 1", lambda _: instance.log.count("replaced processes") > told, limit_s=60)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Everything that happens, once; the tests look at it."""
    vaulted = Site("vaulted", kinds=CUSTOMERS, vault=True)
    with running_world(tmp_path_factory.mktemp("rotation"), spaces=0, special=(vaulted,)) as world:
        instance, space = world.instance, world.named["vaulted"]
        secrets = instance.config.secrets_path
        [old] = instance.keyring.personal_keys
        names = ("anna", "berta", "carla")
        told = Story(world, space, old, old, {name: space.browser() for name in names})
        for name in names:
            told.come_back(name)
        told.look("before")
        told.said["pseudonym before"] = run(
            instance, "pseudonym", "email", ADDRESS.format("anna"), "--space", "vaulted"
        )
        # Carla asks to be forgotten by the vault, so that nothing but her browser could keep her thread.
        with open_client(instance.config, instance.keyring, "writer") as writer:
            carla = run(instance, "pseudonym", "email", ADDRESS.format("carla"), "--space", "vaulted").strip()
            writer.command(
                "ALTER TABLE identifier_vault DELETE WHERE pseudonym = {name:String} SETTINGS mutations_sync = 1",
                {"name": carla},
            )

        told.said["rotate"] = run(instance, "key", "rotate-personal")
        told.new = read_keyring(secrets, {}).personal_keys[0]
        told.said["twice"] = run(instance, "key", "rotate-personal", status=1)
        reload(instance)
        told.come_back("anna")
        told.come_back("anna", browser="anna's phone")
        told.come_back("dora", browser="dora")
        told.look("during")
        told.said["status"] = run(instance, "key", "rotation")
        told.said["pseudonym during"] = run(
            instance, "pseudonym", "email", "--space", "vaulted", text=f"{ADDRESS.format('anna')}\nnobody\n", status=1
        )
        told.said["dry run"] = run(instance, "key", "finish-rotation", "--dry-run")
        assert len(read_keyring(secrets, {}).personal_keys) == 2

        # Dora signs in where the loader stands still: what is in the spool is not forgotten.
        run(instance, "maintenance", "on")
        instance.until("SELECT 1", lambda _: '"paused":"maintenance"' in _read_load_status(instance))
        told.come_back("dora")
        told.said["not loaded"] = run(instance, "key", "finish-rotation", "--yes", status=1)
        assert len(read_keyring(secrets, {}).personal_keys) == 2
        run(instance, "maintenance", "off")
        instance.until("SELECT 1", lambda _: '"paused":""' in _read_load_status(instance))
        told.said["finish"] = run(instance, "key", "finish-rotation", "--yes")
        reload(instance)
        told.come_back("anna", browser="anna's tablet")
        told.come_back("berta", browser="berta's phone")
        told.come_back("carla", browser="carla's phone")
        told.come_back("dora", browser="dora's phone")
        told.look("after")
        yield told


def test_rotation_changes_no_person_of_who_was_seen_meanwhile(story: Story) -> None:
    """Before, during and after, on every browser, on old events and new: one person each."""
    [anna] = {person for step in story.persons.values() for person in step["anna"]}
    assert story.persons["during"]["anna's phone"][-1:] == [anna]
    assert story.persons["after"]["anna's phone"] == story.persons["during"]["anna's phone"]
    assert story.persons["after"]["anna's tablet"][-1:] == [anna]


def test_who_came_for_the_first_time_meanwhile_stays_too(story: Story) -> None:
    """Nobody notices which key was in force when they were first seen."""
    assert story.persons["after"]["dora"] == story.persons["during"]["dora"]
    assert story.persons["after"]["dora's phone"][-1] == story.persons["after"]["dora"][-1]


def test_who_is_in_the_vault_keeps_their_thread_unseen(story: Story) -> None:
    """The vault knows the value, so the new name is made from there."""
    assert story.persons["after"]["berta"] == story.persons["before"]["berta"]
    assert story.persons["after"]["berta's phone"][-1] == story.persons["before"]["berta"][-1]


def test_who_is_neither_begins_anew(story: Story) -> None:
    """What the command had warned of: their old browser stays theirs, the two are not known to be one."""
    assert story.persons["after"]["carla"] == story.persons["before"]["carla"]
    assert story.persons["after"]["carla's phone"][-1] != story.persons["before"]["carla"][-1]
    assert "1 neither: they lose it" in " ".join(story.said["dry run"].split())


def test_a_rebuild_makes_the_same_map(story: Story) -> None:
    """Names are tied by evidence, so the map follows from the evidence as before."""
    done = story.world.instance.command("stitch", "--rebuild", "--dry-run")
    assert ", 0 would change" in done.stdout


def test_nothing_leads_back_any_more(story: Story) -> None:
    """The old key is in no file of the instance, and what it sealed is gone; the new one is in one file."""
    data = story.world.instance.data
    contents = {path: path.read_bytes() for path in data.rglob("*") if path.is_file() and not path.is_symlink()}
    assert [path.name for path, content in contents.items() if story.old.secret.encode() in content] == []
    assert [path.name for path, content in contents.items() if story.new.secret.encode() in content] == ["secrets.json"]
    with open_client(story.world.instance.config, story.world.instance.keyring, "writer") as writer:
        assert writer.query_rows("SELECT DISTINCT key_id FROM identifier_vault") == [{"key_id": story.new.id}]
        # Carla's new address is there as well: she has signed in since.
        assert writer.query_rows("SELECT count() AS n FROM identifier_vault FINAL WHERE kind = 'email'") == [{"n": 4}]


def test_no_clear_address_is_written_anywhere(story: Story) -> None:
    """Neither spool nor store nor logs nor what the commands print."""
    world = story.world
    places = {path.name: path.read_bytes() for path in world.instance.data.rglob("*") if path.is_file()}
    places["log"] = world.instance.log.encode()
    places["printed"] = "".join(story.said.values()).encode()
    assert [name for name, content in places.items() if b"canary" in content.lower()] == []


def test_the_commands_tell_how_it_stands(story: Story) -> None:
    """Which key, how many, what is next; never a secret."""
    said = {step: " ".join(text.split()) for step, text in story.said.items()}
    assert f"personal key {story.new.id} is in force beside {story.old.id}" in said["rotate"]
    assert "tagstitch reload" in said["rotate"]
    assert "rotate already" in said["twice"]
    assert "3 personal identifiers that the old key named" in said["status"]
    assert f"rotation from {story.old.id} to {story.new.id} since" in said["status"]
    assert "nothing was changed" in said["dry run"]
    assert "loading is paused (maintenance)" in said["not loaded"]
    assert "the old key is gone from" in said["finish"]
    assert "backups of it" in said["finish"]
    for text in said.values():
        assert story.old.secret not in text
        assert story.new.secret not in text


def test_the_audit_log_tells_of_it(story: Story) -> None:
    """Whoever asks later who replaced the key, and when, is told; the vault of a site has its line too."""
    instance = story.world.instance
    run(instance, "site", "add", "vaulted", "--replace", "--no-vault")
    said = [json.loads(line) for line in run(instance, "identity", "log", "--space", "vaulted", "--json").splitlines()]
    assert [entry["action"] for entry in said] == ["vault", "finish-rotation", "rotate-personal"]
    assert json.loads(said[0]["arguments"]) == {"site": "vaulted", "vault": False}
    assert json.loads(said[1]["arguments"])["lost"] == 1
    assert all(entry["actor"].startswith("operator:") for entry in said)


def test_analysts_join_by_what_the_command_prints(story: Story) -> None:
    """While keys rotate both names are printed, the newest first; a line that names nobody keeps its place."""
    [before] = story.said["pseudonym before"].split()
    first, second, *_ = story.said["pseudonym during"].splitlines()
    newest, old = first.split("\t")
    assert (old, newest.startswith(f"{story.new.id}."), second) == (before, True, "")
    assert "value 2: names nobody, or is no email" in story.said["pseudonym during"]
    rows = story.space.query(
        "SELECT toString(person_id) AS person FROM v_customers WHERE space_id = {space:String}"
        " AND customer_id = {name:String}",
        name=newest,
    )
    assert [row["person"] for row in rows] == story.persons["after"]["anna"]
