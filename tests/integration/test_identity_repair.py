"""Repair through a whole instance: commands and API in, real spool, load and stitch, what readers see afterwards."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from collector.cli import make_app
from collector.errors import ConfigError, RepairError, SpoolFull
from collector.identity import arrival
from collector.sites.keys import create_key
from collector.sites.rows import write_key
from collector.store.client import open_client
from tests.identity_drive import Space, World, running_world

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module."""
    with running_world(tmp_path_factory.mktemp("repair"), spaces=8) as running:
        yield running


def tell(space: Space, *words: str, given: str | None = None) -> dict[str, Any]:
    """Run `tagstitch identity …` for a space and return what it said. `given`: on standard input."""
    done = call(space, *words, "--json", given=given)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def call(space: Space, *words: str, given: str | None = None) -> Result:
    """Run a command in this process: starting one takes longer than the command."""
    arguments = ["identity", *words, "--space", space.name, "--data", str(space.world.instance.data)]
    return CliRunner().invoke(make_app("identity"), arguments, input=given)


def refuse(space: Space, *words: str) -> str:
    """Run `tagstitch identity …` that must fail with one line, and return the line."""
    failure = call(space, *words).exception
    assert isinstance(failure, RepairError)
    assert "\n" not in str(failure)
    return str(failure)


class Api:
    """The API with one key."""

    def __init__(self, space: Space, bound_to: str = "", **more: Any) -> None:
        """`bound_to`: a site, which no key of this scope should be bound to."""
        instance = space.world.instance
        more = {"scopes": ["repair"], "space_id": space.name, **more}
        with contextlib.closing(open_client(instance.config, instance.keyring, "writer")) as client:
            key, text = create_key(client, instance.keyring, now_ms=time.time_ns() // 1_000_000, **more)
            if bound_to:
                write_key(client, msgspec.structs.replace(key, site_id=bound_to))
        self.key_id, self.text, self.url = key.key_id, text, f"{instance.url}/v1/identity/"
        deadline = time.monotonic() + 20
        while self.ask("log")[0] == 401 and time.monotonic() < deadline:
            time.sleep(0.05)

    def ask(self, path: str, body: dict[str, Any] | bytes | None = None, key: str | None = None) -> tuple[int, Any]:
        """Ask, and return status and answer."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.text if key is None else key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


def until(holds: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_merge_is_shown_made_and_undone(world: World) -> None:
    """Dry run, merge, undo: each says what it does, readers see it at once, and the old person ids are back."""
    space = world.take_space()
    anna, otto = space.browser(), space.browser()
    anna.sign_in(customer="anna", email="anna@shop.example", ago_h=5)
    otto.sign_in(customer="otto", ago_h=4)
    otto.view(ago_h=3)
    space.settle()
    people = space.customers()

    would = tell(space, "merge", "customer=anna", "customer=otto", "--dry-run")
    assert would["audit_id"] == ""
    assert space.who(otto) == ["otto", "otto"]
    done = tell(space, "merge", "-", "customer=otto", "--note", "ticket 88", given="email=anna@shop.example\n")
    assert done["difference"]["moved"] == would["difference"]["moved"]
    assert done["difference"]["events"] == would["difference"]["events"] == 3
    assert space.who(otto) == ["anna", "anna"]

    undone = tell(space, "undo", done["audit_id"])
    assert (undone["evidence_added"], undone["evidence_taken_back"]) == (0, 1)
    assert space.customers() == people
    assert space.who(otto) == ["otto", "otto"]
    assert "undone already" in refuse(space, "undo", done["audit_id"])


@pytest.mark.long
def test_a_mail_that_was_forwarded_is_taken_back_by_its_token(world: World) -> None:
    """The link of one customer was clicked by two others; taking the token back frees them, and restoring undoes it."""
    space = world.take_space()
    token = space.mint("anna", campaign="spring")
    first, second = space.browser(), space.browser()
    first.click(token, ago_h=3)
    second.click(token, ago_h=2)
    space.settle()
    assert {*space.who(first), *space.who(second)} == {"anna?"}
    said = tell(space, "explain", first.visitor)
    pieces = [each for each in said["evidence"] if each["kind"] == "link" and each["state"] == "ties"]
    assert {each["campaign"] for each in pieces} == {"spring"}
    (piece, other) = pieces
    assert piece["token_id"] == other["token_id"]
    done = tell(space, "retract", "--token", piece["token_id"])
    assert {*space.who(first), *space.who(second)} == {""}
    assert done["evidence_taken_back"] == 2
    tell(space, "undo", done["audit_id"])
    assert {*space.who(first), *space.who(second)} == {"anna?"}


@pytest.mark.long
def test_a_wrong_address_is_split_off(world: World) -> None:
    """Anna's browser had Otto's e-mail typed in while signed in: it goes, all else stays."""
    space = world.take_space()
    anna = space.browser()
    anna.sign_in(customer="anna", email="otto@shop.example", ago_h=5)
    anna.view(ago_h=1)
    space.settle()
    tell(space, "split", "email=otto@shop.example")
    assert space.who(anna) == ["anna", "anna"]
    assert space.owners("email") == []
    assert "apart already" in refuse(space, "split", "email=otto@shop.example")


@pytest.mark.long
def test_a_shared_address_is_blocked_and_let_go(world: World) -> None:
    """The office's address tied two colleagues' browsers; blocked it ties nobody, and stands in the view."""
    space = world.take_space()
    first, second = space.browser(), space.browser()
    first.sign_in(email="office@shop.example", ago_h=5)
    second.sign_in(email="office@shop.example", ago_h=4)
    space.settle()
    assert space.persons(first)[-1] == space.persons(second)[-1]
    tell(space, "block", "email=office@shop.example", "--note", "the whole office")
    assert space.persons(first)[-1] != space.persons(second)[-1]
    assert "blocked" in space.refused()
    query = "SELECT kind FROM v_identity_blocks WHERE space_id = {space:String}"
    assert space.query(query) == [{"kind": "email"}]
    tell(space, "unblock", "email=office@shop.example")
    assert space.persons(first)[-1] == space.persons(second)[-1]
    assert space.query(query) == []


@pytest.mark.long
def test_an_explanation_is_made_for_people_to_read(world: World) -> None:
    """Tables with every tie; the clear e-mail that was asked for is nowhere in them, nor in the log."""
    space = world.take_space()
    anna = space.browser()
    anna.claim(customer="queen", ago_h=6)
    anna.sign_in(customer="anna", email="anna@shop.example", ago_h=5)
    space.settle()
    instance = world.instance
    shown = instance.command("identity", "explain", "email=anna@shop.example", "--space", space.name).stdout
    assert "customer anna (customer)" in shown
    assert "3 signed" in shown
    assert "hint" in shown
    assert anna.visitor in shown
    assert "anna@shop.example" not in shown
    assert "block: in the map" in call(space, "block", "email=anna@shop.example", "--actor", "eve").stdout
    shown = call(space, "log").stdout
    assert "operator:eve" in shown
    assert "block" in shown
    shown += call(space, "blocks").stdout
    assert "anna@shop.example" not in shown + instance.log
    assert "nothing was ever seen" in refuse(space, "explain", "customer=nobody-here")
    unheard = instance.command("identity", "explain", "customer=nobody-here", "--space", space.name, check=False)
    assert (unheard.returncode, unheard.stderr.count("\n")) == (1, 1)


def test_a_full_disk_is_in_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with the spool's line, nothing has changed, and the log says that it failed."""
    space = world.take_space()
    space.browser().sign_in(customer="anna", ago_h=5)
    space.settle()

    async def refuse_lines(*_: object) -> None:
        raise SpoolFull("the disk is full: make room")

    monkeypatch.setattr(arrival, "spool_lines", refuse_lines)
    failure = call(space, "block", "customer=anna").exception
    assert isinstance(failure, SpoolFull)
    said = [json.loads(line)["action"] for line in call(space, "log", "--json").stdout.splitlines()]
    assert sorted(said) == ["block", "failed"]
    assert call(space, "blocks", "--json").stdout == ""


@pytest.mark.long
def test_the_api_does_the_same_with_a_key_of_its_own(world: World) -> None:
    """A program merges, sees it, and undoes it; the audit log names its key, never the people."""
    space = world.take_space()
    api = Api(space)
    anna, otto = space.browser(), space.browser()
    anna.sign_in(customer="anna", ago_h=5)
    otto.sign_in(customer="otto", ago_h=4)
    space.settle()

    merge = {"a": "customer=anna", "b": "customer=otto"}
    status, would = api.ask("merge", {**merge, "dry_run": True})
    assert (status, would["audit_id"]) == (200, "")
    status, done = api.ask("merge", merge)
    assert status == 202
    assert done["difference"] == would["difference"]
    until(lambda: space.who(otto) == ["anna"])
    status, said = api.ask("explain", {"of": "customer=otto"})
    assert (status, said["customer_id"]) == (200, "anna")
    assert [each["actor"] for each in said["evidence"] if each["kind"] == "alias"] == [f"key:{api.key_id}"]
    status, undone = api.ask("undo", {"audit_id": done["audit_id"]})
    assert status == 202
    until(lambda: space.who(otto) == ["otto"])
    entries = api.ask("log?limit=10")[1]["entries"]
    assert [(entry["action"], entry["via"], entry["actor"]) for entry in entries] == [
        ("undo", "api", f"key:{api.key_id}"),
        ("merge", "api", f"key:{api.key_id}"),
    ]
    assert entries[0]["audit_id"] == undone["audit_id"]
    assert api.ask("blocks") == (200, {"blocks": []})


def test_the_api_refuses_what_it_must(world: World) -> None:
    """Without a key, with one of another scope, space or of one site alone; and what cannot be carried out."""
    space = world.take_space()
    anna = space.browser()
    anna.sign_in(customer="anna", ago_h=5)
    space.settle()
    api = Api(space)
    tracker = Api(space, scopes=["track", "merge"])
    stranger = Api(space, space_id="main")
    with pytest.raises(ConfigError, match="whole space"):
        Api(space, site_id=space.site_id)
    of_a_site = Api(space, bound_to=space.site_id)
    asked = {"of": "customer=anna"}
    assert api.ask("explain", asked)[0] == 200
    for key, status, error in (("", 401, "unauthorized"), (tracker.text, 403, "scope"), (of_a_site.text, 403, "scope")):
        found = api.ask("explain", asked, key=key)
        assert (found[0], found[1]["error"]) == (status, error)
    # A key of another space: there nobody of that name was ever seen.
    assert stranger.ask("explain", asked)[1]["error"] == "unknown"
    for path, body, status, error in (
        ("explain", {"of": "customer=unheard"}, 404, "unknown"),
        ("explain", {"of": "shoe=42"}, 400, "argument"),
        ("explain", {"of": ""}, 400, "argument"),
        ("explain", b"{", 400, "argument"),
        ("explain", {"of": "customer=anna", "limti": 3}, 400, "argument"),
        ("explain", b"x" * 70_000, 413, "size"),
        ("merge", {"a": "customer=anna", "b": "customer=anna"}, 409, "conflict"),
        ("retract", {}, 400, "argument"),
        ("retract", {"source": "nobody"}, 409, "nothing"),
        ("undo", {"audit_id": anna.visitor}, 404, "unknown"),
        ("log?limit=0", None, 400, "argument"),
    ):
        found = api.ask(path, body)
        assert (found[0], found[1]["error"], found[1]["retry"]) == (status, error, False), path
    answers = {api.ask("blocks")[0] for _ in range(40)}
    assert answers == {200, 429}
