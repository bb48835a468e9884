"""Records of other sources in profiles and on pages: a real service that answers, hangs and is gone, and files."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from instance_process import running_instance
from known_sites import wait_for_site
from tagstitch_client import Client

from collector.identity.identifiers import own_person_id
from collector.profiles.states import State, set_state
from collector.store.client import open_client
from tests.adapters.faulty_server import FaultyServer, Request, give, hang
from tests.integration.test_profile_live import NOBODY, PAGE, Desk, ask_me, sign_in

pytestmark = pytest.mark.engine

USE = """
[traits.plan]
personal = false

[adapters.crm]
kind = "rest"
base_url = "http://127.0.0.1:{port}"
path = "/crm/{{key}}"
allow_networks = ["127.0.0.1/32"]
bounds = {{ deadline_s = 5, page_deadline_s = 5 }}
[adapters.crm.fields]
first_name = {{ type = "text", page = true, as = "first_name" }}
tier = {{ type = "text", personal = false, min_assurance = 2, page = true }}
secret = {{ type = "text", page = true, min_assurance = 4 }}
city = "text"
points = {{ type = "integer", personal = false }}

[adapters.slow]
kind = "rest"
base_url = "http://127.0.0.1:{port}"
path = "/slow/{{key}}"
allow_networks = ["127.0.0.1/32"]
fields.score = {{ type = "number", personal = false, min_assurance = 2, page = true }}

[adapters.dead]
kind = "rest"
base_url = "http://127.0.0.1:{dead}"
path = "/{{key}}"
allow_networks = ["127.0.0.1/32"]
bounds = {{ deadline_s = 5 }}
fields.score = "number"

[adapters.broken]
kind = "rest"
base_url = "http://127.0.0.1:{port}"
path = "/{{key}}"
auth = {{ kind = "bearer", token_env = "NOBODY_HAS_SET_THIS" }}
fields.score = "number"

[adapters.mail]
kind = "files"
key_kind = "email"
path = "mail.csv"
key = "email"
bounds = {{ deadline_s = 5 }}
fields.topics = "integer"

[adapters.club]
kind = "files"
path = "club.csv"
key = "number"
search = ["last_name", "level"]
bounds = {{ deadline_s = 5 }}
[adapters.club.fields]
last_name = "text"
level = {{ type = "text", personal = false }}

[adapters.list]
kind = "files"
path = "list.csv"
key = "number"
bounds = {{ deadline_s = 5 }}
[adapters.list.fields]
plan = {{ type = "text", personal = false }}
mail = {{ type = "text", identifier = "email" }}

[adapters.other]
kind = "files"
space = "other"
path = "club.csv"
key = "number"
fields.last_name = "text"
"""
CUSTOMERS = ("4711", "4712", "4714", "4715")
ADA = {"first_name": "Ada", "tier": "gold", "secret": "s3cr3t", "city": "London", "points": "many"}


class Service:
    """A service in a thread of this process: what it was asked, and whether it answers."""

    def __init__(self) -> None:
        self.server = FaultyServer(self._respond)
        self.is_hanging = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port: int = asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(20)

    async def _respond(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if self.is_hanging or request.target.startswith("/slow/"):
            await hang(request, writer)
        elif request.target == "/crm/4711":
            await give(ADA)(request, writer)
        else:
            await give(status=404)(request, writer)

    def targets(self) -> list[str]:
        return [request.target for request in self.server.requests]

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Desk]:
    """An instance with sources of all sorts, and some customers."""
    folder = tmp_path_factory.mktemp("records")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = closed.getsockname()[1]
    (folder / "use.toml").write_text(USE.format(port=service.port, dead=dead))
    (folder / "mail.csv").write_text("email,topics\nada@shop.example,3\n")
    (folder / "club.csv").write_text(
        "number,last_name,level\n4711,Lovelace,one\n4712,Loveless,two\n4714,Rossi,one\n4715,Russo,one\n"
    )
    (folder / "list.csv").write_text("number,plan,mail\n4801,platinum,grace@shop.example\n")
    with running_instance(folder, "--set", f"use_file={folder / 'use.toml'}") as instance:
        instance.command("site", "add", "shop", "--origin", "https://shop.example", "--consent", "off", "--vault")
        desk = Desk(instance)
        wait_for_site(instance, "shop")
        deadline = time.monotonic() + 30
        while any(
            desk.ask("/v1/customers/none", key).status_code == 401 for key in (desk.reader, desk.officer, desk.sender)
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with Client(instance.url, desk.sender, site="shop") as client:
            client.identify("4711", anonymous_id=desk.visitor, traits={"plan": "basic"})
            mail = {"externalIds": [{"type": "email", "id": "ada@shop.example"}]}
            client.identify("4716", traits={"plan": "basic"}, context=mail)
            for customer in CUSTOMERS[1:]:
                client.identify(customer, traits={"plan": "basic"})
        for customer in CUSTOMERS:
            desk.until(f"/v1/customers/{customer}?fields=traits", lambda profile: bool(profile["traits"]))
        desk.until(f"/v1/visitors/{desk.visitor}?fields=traits", lambda profile: profile.get("customer_id") == "4711")
        yield desk
        desk.close()


def read(desk: Desk, words: str = "fields=records", customer: str = "4711", key: str = "") -> dict[str, Any]:
    answer = desk.ask(f"/v1/customers/{customer}?{words}", key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_profile_has_what_other_sources_know(desk: Desk) -> None:
    """Each field with where it comes from, personal ones masked; what cannot be had with its reason."""
    profile = read(desk)
    crm, club = profile["records"]["crm"], profile["records"]["club"]
    assert {name: field["value"] for name, field in crm.items()} == {
        "first_name": "A***",
        "tier": "gold",
        "secret": "s***",
        "city": "L***",
    }
    tier = crm["tier"]
    assert (tier["personal"], tier["source"], tier["min_assurance"], tier.get("stale")) == (
        False,
        "adapter:crm",
        2,
        None,
    )
    assert abs(tier["fetched_at_ms"] - time.time() * 1000) < 60_000
    assert tier["own_person_id"] == own_person_id(desk.instance.keyring.pseudonym_key, "main", "customer", "4711")
    assert {name: field["value"] for name, field in club.items()} == {"last_name": "L***", "level": "one"}
    reasons = profile["unavailable"]
    assert reasons.pop("slow") in ("timeout", "open")
    assert reasons.pop("dead") in ("unreachable", "open")
    assert reasons == {"broken": "config", "mail": "no_key", "crm.points": "bad_answer"}
    assert "other" not in profile["records"]


def test_personal_fields_are_in_clear_for_who_may_see_them(desk: Desk) -> None:
    """As traits are: with personal=1 and the scope; the log says so."""
    shown = read(desk, "fields=records.crm&personal=1", key=desk.officer)["records"]["crm"]
    assert (shown["first_name"]["value"], shown["first_name"]["personal"]) == ("Ada", True)
    assert desk.ask("/v1/customers/4711?fields=records&personal=1").status_code == 403
    desk.instance.until(
        "SELECT parts, personal, found FROM v_profile_reads WHERE parts = 'records.crm' AND personal = 1",
        lambda rows: bool(rows) and rows[0]["found"] == "known",
    )


def test_only_what_is_selected_is_asked_for(desk: Desk, service: Service) -> None:
    """One source by its name; none where other parts are wanted; a name that there is not is refused."""
    before = len(service.targets())
    assert read(desk, "fields=records.club")["records"].keys() == {"club"}
    assert "records" not in read(desk, "fields=traits")
    assert len(service.targets()) == before
    assert desk.ask("/v1/customers/4711?fields=records.other").status_code == 400
    lookup = {"kind": "customer", "value": "4711", "fields": "records.club"}
    assert desk.ask("/v1/customers/lookup", method="POST", json=lookup).json()["records"].keys() == {"club"}


def test_a_kept_record_is_the_same_answer(desk: Desk) -> None:
    """As long as nothing is fetched anew."""
    answer = desk.ask("/v1/customers/4711?fields=records.club")
    tag = {"If-None-Match": answer.headers["etag"]}
    assert desk.ask("/v1/customers/4711?fields=records.club", headers=tag).status_code == 304


def test_a_key_that_was_asked_with_finds_the_record(desk: Desk) -> None:
    """A customer of whom a source has no record has no fields, and no reason either."""
    profile = read(desk, "fields=records.crm,records.club", customer="4712")
    assert profile["records"]["crm"] == {}
    assert profile["records"]["club"]["last_name"]["value"] == "L***"
    assert profile["unavailable"] == {}


def test_an_address_out_of_the_vault_finds_its_record(desk: Desk) -> None:
    """In clear to the source, and to nobody else; so it is where somebody was looked up by it."""
    profile = desk.until(
        "/v1/customers/4716?fields=records.mail", lambda profile: "mail" not in profile.get("unavailable", {})
    )
    topics = profile["records"]["mail"]["topics"]
    assert (topics["value"], topics["source"]) == ("***", "adapter:mail")
    (address,) = (item for item in profile["identifiers"] if item["kind"] == "email")
    assert topics["own_person_id"] == address["own_person_id"]
    assert "value" not in address
    lookup = {"kind": "email", "value": "ada@shop.example", "fields": "records.mail", "personal": True}
    found = desk.ask("/v1/customers/lookup", desk.officer, method="POST", json=lookup).json()
    assert (found["customer_id"], found["records"]["mail"]["topics"]["value"]) == ("4716", 3)


def search(desk: Desk, key: str = "", **said: Any) -> Any:
    return desk.ask("/v1/customers/search", key or desk.officer, method="POST", json=said)


def test_a_search_finds_candidates(desk: Desk) -> None:
    """By a term of a source, with the identifier by which a profile is asked for; the log says whom it showed."""
    found = search(desk, terms={"last_name": "lovel"}).json()
    assert found == {
        "candidates": [
            {
                "source": "adapter:club",
                "identifier": {
                    "kind": "customer",
                    "value": number,
                    "own_person_id": own_person_id(desk.instance.keyring.pseudonym_key, "main", "customer", number),
                },
                "fields": {
                    "last_name": {"value": "L***", "personal": True},
                    "level": {"value": level, "personal": False},
                },
            }
            for number, level in (("4711", "one"), ("4712", "two"))
        ],
        "unavailable": {"broken": "config"},
    }
    shown = search(desk, terms={"last_name": "lovelace"}, sources=["club"], personal=True).json()
    assert [one["fields"]["last_name"]["value"] for one in shown["candidates"]] == ["Lovelace"]
    assert shown["unavailable"] == {}
    desk.instance.until(
        "SELECT parts, found FROM v_profile_reads WHERE way = 'search' AND personal = 1",
        lambda rows: rows == [{"parts": "records.club", "found": "candidate"}],
    )


def test_a_personal_term_needs_the_scope(desk: Desk) -> None:
    """Else one could guess; what is not personal may be searched for, and is masked."""
    assert search(desk, desk.reader, terms={"last_name": "lovel"}).status_code == 403
    assert search(desk, desk.reader, terms={"level": "two"}, personal=True).status_code == 403
    found = search(desk, desk.reader, terms={"level": "two"}).json()["candidates"]
    assert [one["fields"]["last_name"]["value"] for one in found] == ["L***"]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"terms": {}},
        {"terms": {"last_name": ""}},
        {"terms": {"last_name": "x" * 201}},
        {"terms": {"Last Name": "x"}},
        {"terms": {"last_name": 7}},
        {"terms": {"last_name": "x"}, "limit": 51},
        {"terms": {"last_name": "x"}, "sources": ["other"]},
        {"terms": {"last_name": "x"}, "more": 1},
    ],
)
def test_a_wrong_search_is_refused(desk: Desk, said: dict[str, Any]) -> None:
    """400, and nothing of what was sent."""
    answer = search(desk, **said)
    assert (answer.status_code, answer.json()["error"]) == (400, "argument")
    assert "xxx" not in answer.text


def test_a_source_that_cannot_is_named(desk: Desk) -> None:
    """Where it was asked for; and one that is searched by other terms."""
    assert search(desk, terms={"last_name": "x"}, sources=["crm"]).json()["unavailable"] == {"crm": "not_supported"}
    unavailable = search(desk, terms={"shoe": "x"}).json()["unavailable"]
    assert unavailable == {"club": "not_supported", "broken": "config"}


def test_a_page_is_told_the_fields_that_are_let_out(desk: Desk) -> None:
    """By their names for pages, by the visitor's level; a hanging source costs its own field."""
    read(desk, "fields=records.crm")
    signed = ask_me(desk, {**PAGE, **sign_in(desk, 3)}).json()
    assert signed["traits"] == {"plan": "basic", "first_name": "Ada", "crm_tier": "gold"}
    linked = ask_me(desk, {**PAGE, **sign_in(desk, 2)}).json()
    assert (linked["level"], linked["traits"]) == (2, {"crm_tier": "gold"})


def test_a_page_does_not_wait_for_a_source_that_hangs(desk: Desk, service: Service) -> None:
    """What is kept is told all the same."""
    read(desk, "fields=records.crm")
    service.is_hanging = True
    try:
        for _ in range(5):
            told = ask_me(desk, {**PAGE, **sign_in(desk, 3)}).json()["traits"]
            assert told == {"plan": "basic", "first_name": "Ada", "crm_tier": "gold"}
    finally:
        service.is_hanging = False


@pytest.mark.parametrize(("state", "status", "customer"), [("erased", 410, "4714"), ("restricted", 451, "4715")])
def test_nothing_is_told_of_erased_and_restricted_people(desk: Desk, state: str, status: int, customer: str) -> None:
    """Neither a profile, nor a timeline, nor a correction, nor the page; and each look is in the log."""
    key = own_person_id(desk.instance.keyring.pseudonym_key, "main", "customer", customer)
    with open_client(desk.instance.config, desk.instance.keyring, "writer") as client:
        set_state(client, "main", [key], State(state), now_ms=int(time.time() * 1000))
    asked = [
        desk.ask(f"/v1/customers/{customer}"),
        desk.ask(f"/v1/customers/{customer}/timeline"),
        desk.ask("/v1/customers/lookup", method="POST", json={"person_id": key}),
        desk.ask("/v1/customers/lookup", method="POST", json={"kind": "customer", "value": customer}),
        desk.ask(f"/v1/customers/{customer}/traits/plan", desk.officer, method="PUT", json={"value": "x"}),
    ]
    assert {(answer.status_code, answer.json()["error"]) for answer in asked} == {(status, state)}
    assert ask_me(desk, {**PAGE, **sign_in(desk, 3, customer=customer)}).json() == NOBODY
    names = {"4714": "ross", "4715": "russ"}
    found = search(desk, terms={"last_name": names[customer]}, sources=["club"]).json()["candidates"]
    assert customer not in {one["identifier"]["value"] for one in found}
    desk.instance.until(
        f"SELECT count() AS n FROM v_profile_reads WHERE found = '{state}'", lambda rows: rows[0]["n"] >= len(asked)
    )


def test_a_source_that_is_copied(desk: Desk) -> None:
    """Whom the source names is a customer, found by the address that stands there, with what it says of them; and what
    it says no longer goes again."""
    instance, use_file = desk.instance, desk.instance.data.parent / "use.toml"
    sync = ("adapter", "sync", "list", "--set", f"use_file={use_file}")
    assert "1 new" in instance.command(*sync).stdout
    mail = {"kind": "email", "value": "grace@shop.example", "fields": "traits,identifiers"}

    def look_up() -> dict[str, Any]:
        return dict(desk.ask("/v1/customers/lookup", method="POST", json=mail).json())

    deadline = time.monotonic() + 30
    while (profile := look_up()).get("customer_id") != "4801":
        assert time.monotonic() < deadline, profile
        time.sleep(0.1)
    assert (profile["traits"]["plan"]["value"], profile["traits"]["plan"]["source"]) == ("platinum", "adapter:list")
    assert profile["traits"]["mail"]["value"].startswith("g***")
    known = instance.until("SELECT customer_id, assurance FROM v_customers WHERE customer_id = '4801'", bool)
    assert known[0]["assurance"] == 4
    (use_file.parent / "list.csv").write_text("number,plan,mail\n4801,,\n")
    assert "mail (1), plan (1)" in instance.command(*sync).stdout
    while look_up().get("customer_id") == "4801":
        assert time.monotonic() < deadline + 30
        time.sleep(0.1)
    assert read(desk, "fields=traits", customer="4801")["traits"] == {}
