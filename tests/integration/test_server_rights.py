"""What a server's key may do to people, and what Segment's words come to: real collector and engine, what readers see.

The shop's back end may merge; the call centre names customers and may not; a newsletter tool only sends events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from instance_process import RunningInstance

from collector.store.client import open_client
from tests.identity_drive import CALL_CENTRE, FULL, TRACK, Answer, Browser, Space, World, running_world

pytestmark = [pytest.mark.engine, pytest.mark.long]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One instance for the module."""
    with running_world(tmp_path_factory.mktemp("rights"), spaces=9) as running:
        yield running


@pytest.fixture
def space(world: World) -> Space:
    """A space of the test's own."""
    return world.take_space()


def name(space: Space, *scopes: str, user: str, browser: Browser | None = None, **context: Any) -> Answer:
    """A server says who somebody is. `login` and the like in `context`: further identifiers."""
    kinds = ("customer", "login", "email")
    external = [{"type": kind, "id": context.pop(kind)} for kind in kinds if kind in context]
    said = {"siteId": space.site_id, **({"externalIds": external} if external else {}), **context}
    visitor = {} if browser is None else {"anonymousId": browser.visitor}
    return space.call("identify", *scopes, userId=user, context=said, **visitor)


def read_evidence(space: Space, kind: str) -> list[dict[str, Any]]:
    """Return the evidence of a kind as the store has it, actor included, which no view shows."""
    instance: RunningInstance = space.world.instance
    with open_client(instance.config, instance.keyring, "writer") as writer:
        return writer.query_rows(
            "SELECT level, a_kind, b_kind, b_value, source, actor, verification FROM identity_evidence"
            " WHERE space_id = {space:String} AND kind = {kind:String} AND NOT startsWith(b_value, 'mark-')"
            " ORDER BY time, b_value",
            {"space": space.name, "kind": kind},
        )


def test_the_call_centre_attaches_with_its_agent_and_never_merges(space: Space) -> None:
    """Anna has a number and a login, Berta too. The agent mistypes: Anna's number with Berta's login. Both stay who
    they are, the log says why, and the evidence says which agent of which key, and how the caller was verified."""
    anna, berta, caller = space.browser(), space.browser(), space.browser()
    anna.sign_in(customer="anna", login="anna-login", ago_h=5)
    berta.sign_in(customer="berta", login="berta-login", ago_h=5)
    agent = {"actor": "agent-17", "verification": "knowledge"}
    assert name(space, *CALL_CENTRE, user="anna", login="berta-login", browser=caller, **agent).status == 200
    alias = space.call("alias", *CALL_CENTRE, userId="anna", previousId="berta")
    assert (alias.status, alias.rejected, alias.said["field"]) == (403, "scope", "previousId")
    twice = name(space, *CALL_CENTRE, user="anna", customer="berta")
    assert [part["reason"] for part in twice.said["left_out"]] == ["scope"]
    space.settle()
    assert list(space.customers()) == ["anna", "berta"]
    assert len(set(space.customers().values())) == 2
    assert space.refused() == ["two_people"]
    assert [row for row in read_evidence(space, "identify") if row["actor"]] == [
        {
            "level": level,
            "a_kind": "visitor",
            "b_kind": kind,
            "b_value": value,
            "source": "server",
            "actor": f"key:{space.keys[CALL_CENTRE].split('_')[1]}/agent-17",
            "verification": "knowledge",
        }
        for level, kind, value in ((4, "customer", "anna"), (3, "login", "berta-login"))
    ]
    shown = space.query("SELECT * FROM v_identity_evidence WHERE space_id = {space:String}")
    assert "agent-17" not in str(shown)
    assert "knowledge" in str(shown)


def test_a_login_that_is_nobodys_is_the_customers_without_any_right_to_merge(space: Space) -> None:
    """A further unique identifier is tied where it is free."""
    browser = space.browser()
    assert name(space, *CALL_CENTRE, user="anna", login="new-login", browser=browser).rejected == ""
    space.settle()
    assert space.owners("login") == ["anna"]
    assert space.refused() == []


def test_the_same_statement_with_merge_makes_one_person(space: Space) -> None:
    """Two unique kinds in one call of a key that may: by design, and only then."""
    anna, berta = space.browser(), space.browser()
    anna.sign_in(customer="anna", ago_h=5)
    berta.sign_in(login="berta-login", ago_h=4)
    assert name(space, *FULL, user="anna", login="berta-login").status == 200
    space.settle()
    assert set(space.who(anna)) == set(space.who(berta)) == {"anna"}


def test_a_caller_whom_nobody_has_verified_is_a_claim(space: Space) -> None:
    """A hint on the visitor, whatever the key: it attaches nobody; without a visitor it is refused."""
    caller = space.browser()
    assert name(space, *CALL_CENTRE, user="anna", browser=caller, verification="none").status == 200
    lone = name(space, *FULL, user="anna", verification="none")
    assert (lone.status, lone.rejected, lone.said["field"]) == (400, "unverified", "context.verification")
    space.settle()
    assert set(space.who(caller)) == {""}
    assert space.customers() == {}
    assert [(row["level"], row["verification"]) for row in read_evidence(space, "identify")] == [(1, "none")]


def test_segments_alias_of_the_anonymous_id_is_an_identify(space: Space) -> None:
    """As its browser library sends it: the visitor is the customer's from then on, and nobody is merged."""
    browser = space.browser()
    said = {"anonymousId": browser.visitor, "previousId": browser.visitor}
    assert space.call("alias", *CALL_CENTRE, userId="anna", ago_h=2, **said).status == 200
    browser.view(ago_h=1)
    space.settle()
    assert space.who(browser) == ["anna", "anna"]
    assert list(space.customers()) == ["anna"]


def test_segments_alias_of_two_users_is_a_merge_of_who_may(space: Space) -> None:
    """Both are one person; without the scope they stay two."""
    anna, other = space.browser(), space.browser()
    anna.sign_in(customer="anna", ago_h=5)
    other.sign_in(customer="anna-old", ago_h=6)
    assert space.call("alias", *TRACK, userId="anna", previousId="anna-old").status == 403
    space.settle()
    assert len(set(space.customers().values())) == 2
    assert space.call("alias", *FULL, userId="anna", previousId="anna-old").status == 200
    space.settle()
    assert len(set(space.customers().values())) == 1
    assert len(set(space.who(anna)) | set(space.who(other))) == 1


def test_segments_group_is_a_relation_and_joins_nobody(space: Space) -> None:
    """Two browsers and a customer of one company: three people, each with a relation to it."""
    anna, berta = space.browser(), space.browser()
    anna.sign_in(customer="anna", ago_h=5)
    berta.sign_in(customer="berta", ago_h=5)
    group = {"groupId": "acme", "traits": {"seats": 12}}
    for who in ({"anonymousId": anna.visitor}, {"userId": "carl"}):
        assert space.call("group", *FULL, ago_h=4, **who, **group).status == 200
    props = {"group_kind": "company", "group_id": "acme"}
    assert berta.send(berta.make_event("group", 4, p=props)).status == 204
    space.settle()
    assert list(space.customers()) == ["anna", "berta", "carl"]
    assert len(set(space.customers().values())) == 3
    relations = read_evidence(space, "group")
    assert sorted((row["level"], row["a_kind"], row["source"]) for row in relations) == [
        (1, "customer", "server"),
        (1, "visitor", "server"),
        (1, "visitor", "tag"),
    ]
    assert {row["b_value"] for row in relations} == {"company:acme"}
    asked = space.query(
        "SELECT customer_id, props.group_id::String AS id FROM v_events"
        " WHERE space_id = {space:String} AND event_name = 'group' ORDER BY customer_id"
    )
    assert [(row["customer_id"], row["id"]) for row in asked] == [(who, "acme") for who in ("anna", "berta", "carl")]


def test_segments_reset_begins_a_new_visitor(space: Space) -> None:
    """What comes after it is nobody's until somebody signs in, and does not reach back across it."""
    browser = space.browser()
    browser.sign_in(customer="anna", ago_h=6)
    before = browser.visitor
    browser.sign_out(ago_h=4)
    assert browser.visitor != before
    browser.view(ago_h=3)
    browser.sign_in(customer="berta", ago_h=2)
    space.settle()
    assert space.who(before) == ["anna"]
    assert set(space.who(browser)) == {"berta"}


def test_guessing_through_the_api_tells_nothing(space: Space) -> None:
    """A customer that exists and one that does not: the same answer, in status, headers and words."""
    browser = space.browser()
    browser.sign_in(customer="anna", email="anna@shop.example", ago_h=5)
    space.settle()

    def ask(customer: str, email: str) -> list[tuple[int, list[str], dict[str, Any]]]:
        kinds = ("identify", "track", "group", "alias")
        answers = []
        for scopes in (FULL, CALL_CENTRE, TRACK):
            for kind in kinds:
                context = {"siteId": space.site_id, "externalIds": [{"type": "email", "id": email}]}
                call = {"userId": customer, "event": "Guess", "groupId": "g", "previousId": f"{customer}-2"}
                answers.append(space.call(kind, *scopes, context=context, **call))
        return [(answer.status, sorted(answer.headers.keys()), answer.said) for answer in answers]

    assert ask("anna", "anna@shop.example") == ask("emma", "emma@shop.example")
