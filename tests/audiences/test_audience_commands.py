"""`tagstitch audience list|preview|members|changes`: what they print, for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from collector.audiences.configuration import digest
from collector.config import Config
from collector.use.config import read_use
from tests.audiences.audience_world import World, customer, visitor
from tests.instance_process import run_command
from tests.running_store import RunningStore, running_store

pytestmark = pytest.mark.engine
USE = """
[audiences.buyers]
sentence = "Whoever has bought"
purpose = ""
all = [{ event = "purchase", at_least = 1 }]

[audiences.agreed]
all = [{ event = "purchase", at_least = 1 }]

[audiences.by_statement]
purpose = ""
sql = "SELECT person_id FROM v_timeline WHERE event_name = 'purchase'"
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """Visitors 1 to 3 have bought, 3 is customer 3; the role has kept `buyers`, before 2 had."""
    with running_store(tmp_path_factory.mktemp("store")) as running:
        world = World(running)
        world.does(1)
        world.ties(customer(3), customer(3), kind="customer", customer_id="C-3")
        world.ties(visitor(3), customer(3), customer_id="C-3")
        world.does(3)
        world.run()
        world.does(2)
        world.does(4, "page_view")
        yield running


@pytest.fixture
def options(store: RunningStore, tmp_path: Path) -> list[str]:
    """What leads a command to this store, and to a file with audiences."""
    use_file = tmp_path / "use.toml"
    use_file.write_text(USE)
    secrets = tmp_path / "data" / "secrets.json"
    secrets.parent.mkdir()
    secrets.write_bytes(msgspec.json.encode(store.keyring))
    secrets.chmod(0o600)
    port = f"engine_port={store.config.engine_port}"
    return ["--data", str(secrets.parent), "--set", f"use_file={use_file}", "--set", port]


def test_what_is_configured(store: RunningStore, options: list[str]) -> None:
    """With how many are in each, and whether everybody has been judged by it as it is now."""
    use = read_use(Config(use_file=options[3].removeprefix("use_file=")))
    kept = {
        "space_id": "main",
        "subject": "audience:buyers",
        "value": digest(use.audiences["buyers"]),
        "version": 2**60,
    }
    store.put("audience_progress", kept, {**kept, "subject": "audience:agreed", "value": "another"})
    said = run_command("audience", "list", *options, check=True).stdout
    for words in ("Whoever has bought", "marketing", "1 rule", "SQL, every 300 s"):
        assert words in said
    rows = [json.loads(line) for line in run_command("audience", "list", *options, "--json").stdout.splitlines()]
    assert [(row["audience"], row["members"], row["state"]) for row in rows] == [
        ("buyers", 2, "kept"),
        ("agreed", 0, "changed: being judged"),
        ("by_statement", 0, "new: not judged yet"),
    ]


def test_none_yet_says_how(tmp_path: Path) -> None:
    """Lines to begin with, and where to read on."""
    use_file = tmp_path / "use.toml"
    use_file.write_text("")
    said = run_command("audience", "list", "--data", str(tmp_path), "--set", f"use_file={use_file}", check=True).stdout
    assert "[audiences.shoe_lovers]" in said and "docs/audiences.md" in said
    use_file.write_text(said.split(":\n", 1)[1].split("`tagstitch")[0])
    assert list(read_use(Config(use_file=str(use_file))).audiences) == ["shoe_lovers"]


def test_a_preview_says_what_would_change(options: list[str]) -> None:
    """How many of how many, who would enter and leave, and a few of them; nothing is written by it."""
    said = run_command("audience", "preview", "buyers", *options, check=True).stdout
    for words in ("buyers: Whoever has bought", "3 of 4 people would be in it (75.0%)", "1 would enter, 0 would leave"):
        assert words in said
    assert visitor(1) in said and "C-3" in said
    for name in ("buyers", "by_statement"):
        found = json.loads(run_command("audience", "preview", name, *options, "--json", "--sample", "2").stdout)
        assert (found["members"], found["without_consent"], len(found["sample"])) == (3, 0, 2)
    found = json.loads(run_command("audience", "preview", "agreed", *options, "--json").stdout)
    assert (found["members"], found["without_consent"], found["standing"]) == (0, 3, 0)
    assert (
        "3 more would be, had they granted marketing" in run_command("audience", "preview", "agreed", *options).stdout
    )


def test_a_preview_counts_who_would_leave(options: list[str]) -> None:
    """Where the rules have become others."""
    path = Path(options[3].removeprefix("use_file="))
    path.write_text(USE.replace("at_least = 1", "at_least = 2"))
    found = json.loads(run_command("audience", "preview", "buyers", *options, "--json").stdout)
    assert (found["members"], found["standing"], found["enters"], found["leaves"]) == (0, 2, 0, 2)


def test_who_is_in_it(options: list[str]) -> None:
    """The latest first, and how many in all."""
    said = run_command("audience", "members", "buyers", *options, check=True).stdout
    assert customer(3) in said and "C-3" in said and visitor(1) in said and "2 in all" in said
    few = run_command("audience", "members", "buyers", *options, "--limit", "1").stdout
    assert "the last 1 of 2" in few
    rows = [
        json.loads(line)
        for line in run_command("audience", "members", "buyers", *options, "--json").stdout.splitlines()
    ]
    assert {row["person_id"] for row in rows} == {customer(3), visitor(1)}
    assert "audience preview agreed" in run_command("audience", "members", "agreed", *options).stdout


def test_who_came_and_went(options: list[str]) -> None:
    """With the reason; of one audience, of one kind."""
    said = run_command("audience", "changes", *options, check=True).stdout
    assert "buyers" in said and "enter" in said
    output = run_command("audience", "changes", "buyers", *options, "--json").stdout
    assert {json.loads(line)["change"] for line in output.splitlines()} == {"enter"}
    assert "nobody has entered or left" in run_command("audience", "changes", *options, "--only", "leave").stdout
    assert run_command("audience", "changes", *options, "--only", "both").returncode == 2


@pytest.mark.parametrize("word", ["preview", "members", "changes"])
def test_an_audience_that_is_not_there(options: list[str], word: str) -> None:
    """The answer names those that are."""
    wrong = run_command("audience", word, "byers", *options)
    assert wrong.returncode == 1 and "there is no such audience; there is buyers, agreed, by_statement" in wrong.stderr
