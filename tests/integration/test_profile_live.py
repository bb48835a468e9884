"""Profiles by the API of a whole instance: what servers said, masked and in clear, corrected; and who looked."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from instance_process import RunningInstance, running_instance
from known_sites import wait_for_site
from tagstitch_client import Client

from collector.accept.visitor_cookie import VisitorCookie, write_cookie
from collector.identity.identifiers import own_person_id
from collector.store.client import open_client

pytestmark = pytest.mark.engine

USE = """
[traits.plan]
personal = false
min_assurance = 2
sentence = "Tariff"

[traits.first_name]
"""
PATIENCE_S = 30.0


class Desk:
    """A program that asks for profiles, with one key for each thing that it may do."""

    def __init__(self, instance: RunningInstance) -> None:
        def make(*scopes: str) -> str:
            words = [word for scope in scopes for word in ("--scope", scope)]
            return instance.command("key", "create", *words).stdout.strip()

        self.instance = instance
        self.reader = make("profile:read")
        self.officer = make("profile:read", "pii:read", "profile:write")
        self.sender = make("track", "identify-server")
        self.visitor = str(uuid.uuid4())
        self._http = httpx.Client(base_url=instance.url, timeout=30)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def ask(self, path: str, key: str = "", **how: Any) -> httpx.Response:
        """Ask, with the reader's key unless another is given."""
        headers = {"Authorization": f"Bearer {key or self.reader}", **how.pop("headers", {})}
        return self._http.request(how.pop("method", "GET"), path, headers=headers, **how)

    def until(self, path: str, fits: Callable[[dict[str, Any]], bool], key: str = "") -> dict[str, Any]:
        """Ask until the answer fits, and return it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self.ask(path, key)
            if answer.status_code == 200 and fits(answer.json()):
                return dict(answer.json())
            assert time.monotonic() < deadline, f"{answer.status_code} {answer.text}\n{self.instance.log[-2000:]}"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """An instance with a site, a customer with a visitor, two purchases, and traits that a server told."""
    folder = tmp_path_factory.mktemp("profiles")
    use_file = folder / "use.toml"
    use_file.write_text(USE)
    with running_instance(folder, "--set", f"use_file={use_file}") as instance:
        instance.command("site", "add", "shop", "--origin", "https://shop.example", "--consent", "off")
        desk = Desk(instance)
        wait_for_site(instance, "shop")
        _wait_for_keys(desk)
        with Client(instance.url, desk.sender, site="shop") as client:
            traits = {"plan": "gold", "first_name": "Anna", "shoe_size": 39}
            client.identify("4711", anonymous_id=desk.visitor, traits=traits)
            for number, value in enumerate((20, 22.5)):
                paid = {"order_id": f"A{number}", "value": value, "currency": "EUR", "category": "shoes"}
                client.track("purchase", user_id="4711", anonymous_id=desk.visitor, properties=paid)
            for customer in ("5001", "5002"):
                client.track("call", user_id=customer, properties={"touchpoint": "call_centre"})
        yield desk
        desk.close()


def _wait_for_keys(desk: Desk) -> None:
    """Return once web knows the keys: it refuses them until it has asked for settings again."""
    deadline = time.monotonic() + PATIENCE_S
    keys = (desk.reader, desk.officer, desk.sender)
    while any(desk.ask("/v1/customers/none", key).status_code == 401 for key in keys):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def is_whole(profile: dict[str, Any]) -> bool:
    """Whether everything that was sent has arrived."""
    return len(profile["timeline"]["events"]) == 3 and len(profile["identifiers"]) == 2 and bool(profile["traits"])


def test_a_profile_has_everything_by_any_of_its_names(desk: Desk) -> None:
    """By the customer's own key, by the visitor, by a lookup: identifiers, traits, what is computed, the timeline."""
    profile = desk.until("/v1/customers/4711", is_whole)
    assert (profile["customer_id"], profile["assurance"]) == ("4711", 4)
    assert {item["kind"] for item in profile["identifiers"]} == {"customer", "visitor"}
    plan = profile["traits"]["plan"]
    assert (plan["value"], plan["source"], plan["assurance"], plan["min_assurance"]) == ("gold", "server", 4, 2)
    assert not plan["personal"]
    assert (profile["computed"]["orders"], profile["computed"]["value"]) == (2, {"EUR": 42.5})
    assert profile["computed"]["favourite_category"] == "shoes"
    assert {event["name"] for event in profile["timeline"]["events"]} == {"identify", "purchase"}
    assert desk.ask(f"/v1/visitors/{desk.visitor}").json()["person_id"] == profile["person_id"]
    for said in ({"kind": "customer", "value": "4711"}, {"value": " 4711 "}, {"person_id": profile["person_id"]}):
        assert desk.ask("/v1/customers/lookup", method="POST", json=said).json() == profile


def test_personal_values_are_masked_without_the_scope(desk: Desk) -> None:
    """What nobody has declared is personal too; a key without pii:read cannot ask for it."""
    traits = desk.until("/v1/customers/4711", is_whole)["traits"]
    assert (traits["first_name"]["value"], traits["shoe_size"]["value"]) == ("A***", "***")
    refused = desk.ask("/v1/customers/4711?personal=1")
    assert (refused.status_code, refused.json()["error"], "pii:read" in refused.json()["message"]) == (
        403,
        "scope",
        True,
    )
    shown = desk.ask("/v1/customers/4711?personal=1", desk.officer).json()["traits"]
    assert (shown["first_name"]["value"], shown["shoe_size"]["value"]) == ("Anna", 39)


def test_the_timeline_comes_in_pages(desk: Desk) -> None:
    """One event a page, the newest first, each once."""
    desk.until("/v1/customers/4711", is_whole)
    seen, cursor = [], ""
    while len(seen) < 5:
        page = desk.ask("/v1/customers/4711/timeline", params={"limit": 1, "cursor": cursor}).json()
        seen += [event["event_id"] for event in page["events"]]
        cursor = page["next"]
        if not cursor:
            break
    whole = desk.ask("/v1/customers/4711/timeline").json()
    assert seen == [event["event_id"] for event in whole["events"]]
    assert len(set(seen)) == 3


def test_parts_and_a_known_answer(desk: Desk) -> None:
    """Only what is asked for is given; the same answer again is 304."""
    desk.until("/v1/customers/4711", is_whole)
    answer = desk.ask("/v1/customers/4711?fields=traits,consent")
    assert {"traits", "consent"} <= answer.json().keys()
    assert not {"computed", "timeline"} & answer.json().keys()
    assert answer.headers["cache-control"] == "private, no-cache"
    tag = {"If-None-Match": f'"other", {answer.headers["etag"]}'}
    again = desk.ask("/v1/customers/4711?fields=traits,consent", headers=tag)
    assert (again.status_code, again.content) == (304, b"")


def test_a_correction_beats_everything_until_it_is_taken_back(desk: Desk) -> None:
    """It needs its own scope, a declared trait and a value of its type; what lost stays to be seen."""
    desk.until("/v1/customers/4711", is_whole)
    path = "/v1/customers/4711/traits/plan"
    assert desk.ask(path, method="PUT", json={"value": "silver"}).status_code == 403
    for name, value in (("plan", 7), ("hat_size", "7")):
        wrong = desk.ask(f"/v1/customers/4711/traits/{name}", desk.officer, method="PUT", json={"value": value})
        assert (wrong.status_code, wrong.json()["error"]) == (422, "trait")
    assert desk.ask(path, desk.officer, method="PUT", json={"value": "silver"}).status_code == 200
    plan = desk.ask("/v1/customers/4711").json()["traits"]["plan"]
    assert (plan["value"], plan["source"], plan["actor"][:4]) == ("silver", "correction", "key:")
    assert [(other["value"], other["lost_by"]) for other in plan["others"]] == [("gold", "correction")]
    assert desk.ask(path, desk.officer, method="DELETE").status_code == 200
    assert desk.ask("/v1/customers/4711").json()["traits"]["plan"]["value"] == "gold"


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/v1/customers/nobody", 404, "unknown"),
        ("/v1/visitors/00000000-0000-4000-8000-000000000001", 404, "unknown"),
        ("/v1/visitors/4711", 400, "argument"),
        ("/v1/customers/anna@shop.example", 400, "personal"),
        ("/v1/customers/anna%40shop.example?kind=email", 400, "personal"),
        ("/v1/customers/4711?kind=cat", 400, "argument"),
        ("/v1/customers/4711?fields=secrets", 400, "argument"),
        ("/v1/customers/4711?limit=0", 400, "argument"),
        ("/v1/customers/4711?limit=1&limit=2", 400, "argument"),
        ("/v1/customers/4711?cursor=%FF", 400, "argument"),
        ("/v1/customers/4711?cursor=YQ", 400, "argument"),
        ("/v1/customers/4711?x=%FF", 400, "argument"),
    ],
)
def test_a_wrong_question_has_its_answer(desk: Desk, path: str, status: int, error: str) -> None:
    """One line with the reason, and nothing of what was sent."""
    answer = desk.ask(path)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert "anna" not in answer.text
    assert "secrets" not in answer.text


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"value": 7}', b'{"value": "\xff"}', b'{"value": "4711", "x": 1}', b"{}", b'{"person_id": "4711"}'],
)
def test_a_wrong_lookup_is_refused(desk: Desk, body: bytes) -> None:
    """400, and no fault of ours."""
    assert desk.ask("/v1/customers/lookup", method="POST", content=body).status_code == 400


@pytest.mark.parametrize(
    "value",
    [b"[" * 20_000 + b"]" * 20_000, b"NaN", b"1e999", b'"\\ud800"', b'"\xff"', b"null", b'1, "value'],
    ids=["deep", "nan", "large", "half", "bytes", "null", "open"],
)
def test_a_wrong_correction_is_refused(desk: Desk, value: bytes) -> None:
    """Whatever a program makes of it: no value, half a character, more brackets than a reader has patience for."""
    path = "/v1/customers/4711/traits/plan"
    answer = desk.ask(path, desk.officer, method="PUT", content=b'{"value": ' + value + b"}")
    assert (answer.status_code, answer.json()["error"]) == (400, "argument")


def test_who_was_merged_answers_under_the_surviving_id(desk: Desk) -> None:
    """The other customer's key leads to the one person, and the answer says so."""
    other = desk.until("/v1/customers/5002", lambda profile: bool(profile["timeline"]["events"]))
    assert other["timeline"]["events"][0]["touchpoint"] == "call_centre"
    merged = desk.instance.command("identity", "merge", "customer=5001", "customer=5002", check=False)
    assert merged.returncode == 0, merged.stderr
    found = {
        name: desk.until(f"/v1/customers/{name}", lambda profile: len(profile["timeline"]["events"]) == 2)
        for name in ("5001", "5002")
    }
    assert found["5001"]["person_id"] == found["5002"]["person_id"]
    assert sorted(bool(profile.get("merged_from")) for profile in found.values()) == [False, True]


def test_every_look_is_in_the_log(desk: Desk) -> None:
    """By which key, of whom, in clear or not; analysts see that somebody looked, and not who."""
    desk.until("/v1/customers/4711", is_whole)
    assert desk.ask("/v1/customers/1234567?personal=1&fields=traits", desk.officer).status_code == 404
    desk.ask("/v1/customers/4711?personal=1&fields=traits", desk.officer)
    rows = desk.instance.until(
        "SELECT way, parts, personal, found FROM v_profile_reads ORDER BY at",
        lambda rows: bool(rows) and (rows[-1]["parts"], rows[-1]["personal"]) == ("traits", 1),
    )
    assert {"way": "customer", "parts": "", "personal": 0, "found": "unknown"} in rows
    assert all(set(row) == {"way", "parts", "personal", "found"} for row in rows)
    with open_client(desk.instance.config, desk.instance.keyring, "writer") as client:
        [last] = client.query_rows("SELECT actor FROM profile_reads ORDER BY at DESC LIMIT 1", {})
    assert last["actor"] == f"key:{desk.officer.split('_')[1]}"


def test_readers_see_what_is_declared_not_personal(desk: Desk) -> None:
    """And nothing else of what was said."""
    desk.until("/v1/customers/4711", is_whole)
    rows = desk.instance.sql("SELECT DISTINCT name FROM v_traits")
    assert [row["name"] for row in rows] == ["plan"]


# --- what a page is told -------------------------------------------------------------------------------------

NOBODY = {"v": 1, "known": False, "level": 0, "traits": {}, "audiences": [], "offers": []}
PAGE = {"Origin": "https://shop.example"}


def sign_in(desk: Desk, level: int, *, customer: str = "4711", visitor: str = "", **changes: Any) -> dict[str, str]:
    """Return the cookie of a browser on which somebody is known."""
    now_s = int(time.time())
    key = own_person_id(desk.instance.keyring.pseudonym_key, "main", "customer", customer)
    values = {"visitor_id": visitor or desk.visitor, "signed_s": now_s, "level": level, "until_s": now_s + 600}
    cookie = VisitorCookie(**{**values, "customer_key": key, **changes})
    return {"Cookie": f"ts_shop={write_cookie(desk.instance.keyring, 'shop', cookie)}"}


def ask_me(desk: Desk, headers: dict[str, str], site: str = "shop") -> httpx.Response:
    """Ask as a page's script does."""
    return httpx.get(f"{desk.instance.url}/x/me?s={site}", headers=headers, timeout=30)


def test_a_page_is_told_what_its_visitors_level_reaches(desk: Desk) -> None:
    """Signed in, everything declared; by a link what is let out at that level, and only on that customer's browser."""
    desk.until("/v1/customers/4711", is_whole)
    signed = ask_me(desk, {**PAGE, **sign_in(desk, 3)})
    assert signed.json() == {**NOBODY, "known": True, "level": 3, "traits": {"plan": "gold", "first_name": "Anna"}}
    assert signed.headers["cache-control"] == "no-store"
    assert signed.headers["access-control-allow-origin"] == "https://shop.example"
    assert set(signed.headers["vary"].split(", ")) >= {"Origin", "Cookie"}
    assert ask_me(desk, {**PAGE, "Sec-GPC": "1", **sign_in(desk, 3, consent="aip1")}).json() == signed.json()
    linked = ask_me(desk, {**PAGE, **sign_in(desk, 2)}).json()
    assert linked == {**NOBODY, "known": True, "level": 2, "traits": {"plan": "gold"}}


@pytest.mark.parametrize(
    "how",
    [
        "no cookie",
        "script",
        "forged",
        "other site",
        "over",
        "claimed",
        "forwarded",
        "opted out",
        "refused",
        "not personalised",
        "not identified",
    ],
)
def test_whoever_is_not_known_gets_the_same_answer(desk: Desk, how: str) -> None:
    """A stolen id, a sign-in that is over, a mail that was forwarded to somebody else: nothing, and not why."""
    desk.until("/v1/customers/4711", is_whole)
    good = sign_in(desk, 3)["Cookie"]
    cookie = {
        "no cookie": {},
        "script": {"Cookie": f"_ts_v={desk.visitor}; ts_shop={desk.visitor}"},
        "forged": {"Cookie": good[:-2] + ("AA" if good[-2:] != "AA" else "BB")},
        "other site": {"Cookie": good.replace("ts_shop", "ts_other")},
        "over": sign_in(desk, 3, until_s=int(time.time()) - 1),
        "claimed": sign_in(desk, 1),
        "forwarded": sign_in(desk, 2, customer="5001"),
        "opted out": {"Cookie": f"{good}; _ts_out=1"},
        "refused": {"Cookie": f"{good}; _ts_no=p"},
        "not personalised": sign_in(desk, 3, consent="aim1"),
        "not identified": sign_in(desk, 3, consent="apm1"),
    }[how]
    assert ask_me(desk, {**PAGE, **cookie}).json() == NOBODY


@pytest.mark.parametrize(
    ("headers", "site"),
    [
        ({}, "shop"),
        ({"Origin": "https://evil.example"}, "shop"),
        ({"Origin": "null"}, "shop"),
        ({"Origin": "http://shop.example"}, "shop"),
        ({"Origin": "https://shop.example.evil.example"}, "shop"),
        ({"Sec-Fetch-Site": "cross-site", "Referer": "https://shop.example/"}, "shop"),
        ({**PAGE, "Sec-Fetch-Dest": "document"}, "shop"),
        ({**PAGE, "Sec-Fetch-Dest": "script"}, "shop"),
        (PAGE, "nosite"),
        (PAGE, "shop&s=shop"),
        (PAGE, ""),
    ],
)
def test_a_page_of_another_origin_gets_none(desk: Desk, headers: dict[str, str], site: str) -> None:
    """403 without a word about anybody, and no header that would let a script read it."""
    answer = ask_me(desk, {**headers, **sign_in(desk, 3)}, site)
    assert (answer.status_code, answer.json()) == (403, {"error": "origin"})
    assert "access-control-allow-origin" not in answer.headers


def test_an_operator_sees_the_same_and_stands_in_the_log(desk: Desk) -> None:
    """The command shows what the API does, masked unless clear values are asked for; the log names who looked."""
    profile = desk.until("/v1/customers/4711", is_whole)
    show = ("profile", "show", "customer=4711", "--json", "--set", f"use_file={desk.instance.data.parent / 'use.toml'}")
    shown = json.loads(desk.instance.command(*show).stdout)
    assert (shown["person_id"], shown["computed"]["orders"]) == (profile["person_id"], 2)
    assert (shown["traits"]["first_name"]["value"], shown["traits"]["plan"]["value"]) == ("A***", "gold")
    clear = desk.instance.command(*show[:3], *show[4:], "--personal").stdout
    assert all(word in clear for word in ("customer 4711", "Anna", "purchase", "identify", "shoes", "42.50 EUR"))
    reads = [json.loads(line) for line in desk.instance.command("profile", "reads", *show[2:4]).stdout.splitlines()]
    mine = [read for read in reads if read["way"] == "command"]
    assert [(read["found"], read["personal"]) for read in mine[:2]] == [("known", 1), ("known", 0)]
    assert {read["person_id"] for read in mine} == {profile["person_id"]}
    assert {read["actor"].partition(":")[0] for read in mine} == {"operator"}
    assert any(read["actor"].startswith("key:") for read in reads)
    assert mine[0]["actor"] in desk.instance.command("profile", "reads", "--actor", mine[0]["actor"]).stdout
    nobody = desk.instance.command("profile", "show", "customer=none", check=False)
    assert (nobody.returncode, "nothing was ever seen" in nobody.stderr) == (1, True)
