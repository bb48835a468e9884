"""`/v1/data-requests` through the whole instance: asked, carried out by the role govern, answered, and guarded."""

from __future__ import annotations

import http.client
import io
import json
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from collector.sites.keys import create_key
from collector.store.client import open_client
from tests.identity_drive import Space, World, running_world

pytestmark = pytest.mark.engine
PATH = "/v1/data-requests"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module, in which erasures want a second pair of eyes."""
    options = ("govern_interval_s=0.1", "privacy_approval=true")
    with running_world(tmp_path_factory.mktemp("requests"), spaces=4, options=options) as running:
        yield running


@pytest.fixture
def space(world: World) -> Space:
    """A space of the test's own."""
    return world.take_space()


class Officer:
    """A program with a key."""

    def __init__(self, space: Space, *scopes: str, site: str = "") -> None:
        instance = space.world.instance
        with open_client(instance.config, instance.keyring, "writer") as writer:
            key, self.text = create_key(
                writer, instance.keyring, scopes=scopes, now_ms=0, space_id=space.name, site_id=site
            )
        self.key_id = key.key_id
        self._config = instance.config
        deadline = time.monotonic() + 20
        while self.ask("GET", PATH)[0] == 401:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def ask(self, method: str, path: str, said: Any = None) -> tuple[int, Any]:
        """Ask and return status and answer; wait first where a key asks too often, as a program should."""
        while (said_back := self._ask_once(method, path, said))[0] == 429:
            time.sleep(0.2)
        return said_back

    def _ask_once(self, method: str, path: str, said: Any) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self._config.host, self._config.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.text}", "Content-Type": "application/json"}
        body = None if said is None else said if isinstance(said, bytes) else json.dumps(said).encode()
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        is_json = answer.headers["content-type"] == "application/json"
        return answer.status, json.loads(data) if is_json else data


def test_an_erasure_is_asked_for_approved_and_carried_out(space: Space) -> None:
    """One key asks, another approves, the role carries it out; the answer has the certificate, and names nobody."""
    anna = space.browser()
    anna.sign_in(customer="anna", ago_h=1)
    space.settle()
    first, second = Officer(space, "privacy"), Officer(space, "privacy")
    call = {"kind": "erase", "names": ["customer=anna"]}
    status, found = first.ask("POST", PATH, {**call, "dry_run": True})
    assert (status, len(found["people"])) == (200, 1)
    status, request = first.ask("POST", PATH, call)
    assert (status, request["state"], request["people"]) == (202, "waiting", 1)
    one = f"{PATH}/{request['request_id']}"
    assert first.ask("POST", f"{one}/approve", b"")[0] == 409
    assert second.ask("POST", f"{one}/approve", b"")[1]["state"] == "open"
    deadline = time.monotonic() + 60
    while (seen := first.ask("GET", one))[0] != 200:
        assert seen[0] == 202
        assert time.monotonic() < deadline, seen
        time.sleep(0.6)
    done = seen[1]
    assert (done["state"], done["approved_by"]) == ("done", f"key:{second.key_id}")
    assert done["certificate"]["signature"]
    assert "anna" not in json.dumps(done)
    assert "anna" not in space.customers()
    listed = first.ask("GET", f"{PATH}?state=done")[1]["requests"]
    assert [item["request_id"] for item in listed] == [request["request_id"]]


def test_what_is_held_is_handed_over_once(space: Space) -> None:
    """A request of kind export is answered by its zip, and then over."""
    anna = space.browser()
    anna.sign_in(customer="anna", ago_h=1)
    space.settle()
    officer = Officer(space, "privacy")
    status, request = officer.ask("POST", PATH, {"kind": "export", "names": ["customer=anna"]})
    assert (status, request["state"]) == (202, "open")
    one = f"{PATH}/{request['request_id']}"
    assert officer.ask("GET", f"{one}/export?language=xx")[0] == 400
    status, data = officer.ask("GET", f"{one}/export?language=de")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.read("events.jsonl").splitlines()) == 2
    assert officer.ask("GET", f"{one}/export")[0] == 409
    assert officer.ask("GET", one)[1]["state"] == "done"


def test_restricting_and_objecting_are_done_at_once(space: Space) -> None:
    """What takes no time is answered with 200."""
    anna = space.browser()
    anna.sign_in(customer="anna", ago_h=1)
    space.settle()
    officer = Officer(space, "privacy")
    for call in ({"kind": "restrict"}, {"kind": "unrestrict"}, {"kind": "object", "purposes": ["marketing"]}):
        status, request = officer.ask("POST", PATH, {**call, "names": ["customer=anna"]})
        assert (status, request["state"], request["kind"]) == (200, "done", call["kind"])
    status, refused = officer.ask(
        "POST", PATH, {"kind": "correct", "names": ["customer=anna"], "traits": {"no_such": 1}}
    )
    assert (status, refused["error"]) == (422, "trait")


@pytest.mark.parametrize(
    ("said", "status", "error"),
    [
        (b"", 400, "argument"),
        (b"{", 400, "argument"),
        (b"\xff", 400, "argument"),
        (b"[" * 100_000, 400, "argument"),
        ({"kind": "erase"}, 400, "argument"),
        ({"kind": "erase", "names": []}, 400, "argument"),
        ({"kind": "erase", "names": [""]}, 400, "argument"),
        ({"kind": "forget", "names": ["customer=anna"]}, 400, "argument"),
        ({"kind": "erase", "names": ["customer=anna"], "more": 1}, 400, "argument"),
        ({"kind": "erase", "names": ["nonsense=1"]}, 400, "argument"),
        ({"kind": "erase", "names": ["anna"]}, 400, "argument"),
        ({"kind": "object", "names": ["customer=anna"], "purposes": ["nonsense"]}, 400, "argument"),
        ({"kind": "correct", "names": ["customer=anna"]}, 400, "argument"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    world: World, said: Any, status: int, error: str, guarded: tuple[Space, Officer]
) -> None:
    """A clear error, and nothing is written down."""
    _, officer = guarded
    assert (answer := officer.ask("POST", PATH, said))[0] == status, answer
    assert answer[1]["error"] == error
    assert officer.ask("GET", PATH)[1] == {"requests": []}


@pytest.fixture(scope="module")
def guarded(world: World) -> tuple[Space, Officer]:
    """A space in which nothing is asked for."""
    space = world.take_space()
    return space, Officer(space, "privacy")


def test_only_a_key_with_the_scope_may_ask(guarded: tuple[Space, Officer]) -> None:
    """Another scope is refused, ids that are none and those of nobody too, and other methods."""
    space, officer = guarded
    time.sleep(2.0)  # a key may ask twice a second, and has
    for scope in ("repair", "export", "read"):
        other = Officer(space, scope)
        assert other.ask("POST", PATH, {"kind": "export", "names": ["customer=anna"]})[0] == 403
        assert other.ask("GET", PATH)[0] == 403
    assert officer.ask("GET", f"{PATH}/nonsense")[0] == 400
    assert officer.ask("GET", f"{PATH}/5f0c9a52-0000-4000-8000-000000000000")[0] == 404
    assert officer.ask("GET", f"{PATH}?state=nonsense")[0] == 400
    assert officer.ask("DELETE", PATH)[0] == 405
