"""REST by POST: a personal key stands in the body alone, where the configuration has its place, and nowhere else."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.adapters.contract import Record, Wrong
from collector.adapters.rest_body import parse_body
from collector.errors import AdapterError, AdapterReason
from tests.adapters.faulty_server import FaultyServer, give, one_after_another
from tests.adapters.rest_source import ask, find_reason, make_adapter, serve

MAIL = 'ada+"}@example.org'
POST: dict[str, Any] = {
    "path": "/lookup?v=2",
    "method": "POST",
    "body": {"filter": {"mail": "{key}", "active": True}, "n": [1, "x"]},
}
SEARCH: dict[str, Any] = {
    "record_key": "id",
    "search": {
        "path": "/search",
        "method": "POST",
        "records": "hits",
        "body": {"all": [{"last": "{last}"}, "{postcode}"], "top": "{limit}", "last": "{last}"},
    },
}


def test_the_key_is_in_the_body_and_in_no_address() -> None:
    """As JSON, where its place is; the rest as the configuration says it."""
    server = FaultyServer(give({"name": "Ada"}))
    assert ask(server, MAIL, **POST) == Record(MAIL, {"name": "Ada"})
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/api/lookup?v=2")
    assert json.loads(request.body) == {"filter": {"mail": MAIL, "active": True}, "n": [1, "x"]}
    assert request.headers["content-type"] == "application/json"
    assert int(request.headers["content-length"]) == len(request.body)
    assert "ada" not in str(request.headers)


def test_a_key_that_no_body_can_hold_is_not_asked_for() -> None:
    """Nothing is sent."""
    server = FaultyServer()
    for key in ("a\x00b", "a\nb", "\ud800", "x" * 1025):
        assert find_reason(server, key, **POST) is AdapterReason.NOT_SUPPORTED
    assert server.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/api/other", "http://169.254.169.254/latest", "//127.0.0.1:1/"])
def test_no_redirect_takes_the_body_elsewhere(status: int, location: str) -> None:
    """307 and 308 would send it again."""
    server = FaultyServer(one_after_another(give({}, status=status, location=location), give({"name": "Eve"})))
    assert find_reason(server, MAIL, **POST) is AdapterReason.BAD_ANSWER
    assert len(server.requests) == 1


def test_a_private_address_is_not_posted_to() -> None:
    """The guard judges before a byte is sent, as for any request."""
    server = FaultyServer()
    assert find_reason(server, MAIL, **{**POST, "allow_networks": []}) is AdapterReason.CONFIG
    assert server.connections == 0


def test_a_refused_lookup_is_sent_once() -> None:
    """Who we are does not change by asking again."""
    server = FaultyServer(give({}, status=401))
    auth = {"kind": "bearer", "token_env": "CRM_SECRET"}
    assert find_reason(server, MAIL, **POST, auth=auth) is AdapterReason.REFUSED
    assert len(server.requests) == 1


def test_a_search_sends_the_terms_that_are_given() -> None:
    """Others are left out, and the limit is a number."""
    server = FaultyServer(give({"hits": [{"id": 7, "name": "Ada"}]}))

    async def story() -> list[Record]:
        async with serve(server, **SEARCH) as adapter:
            with pytest.raises(AdapterError):
                await adapter.search({"limit": "9"}, 5)
            return await adapter.search({"last": MAIL}, 5)

    assert asyncio.run(story()) == [Record("7", {"name": "Ada"})]
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/api/search")
    assert json.loads(request.body) == {"all": [{"last": MAIL}], "top": 5, "last": MAIL}


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"body": {"a": "{key}"}}, "body"),
        ({"path": "/x", "method": "POST"}, "body"),
        ({"path": "/x/{key}", "method": "POST", "body": {"a": "{key}"}}, "path"),
        ({"path": "/x?a={key}", "method": "POST", "body": {"a": "{key}"}}, "path"),
        ({"path": "/x", "method": "POST", "body": {"a": "{key}", "b": "{other}"}}, "body"),
        ({"path": "/x", "method": "POST", "body": {"a": "mail = '{key}'"}}, "body"),
        ({"path": "/x", "method": "POST", "body": {"{key}": "{key}"}}, "body"),
        ({"path": "/x", "method": "POST", "body": {"a": "{key}", "b": date(2026, 1, 1)}}, "body"),
        ({**SEARCH, "search": {"path": "/s?a={a}", "method": "POST", "body": {"a": "{a}"}}}, "search.path"),
        ({**SEARCH, "search": {"path": "/s", "method": "POST", "body": {"top": "{limit}"}}}, "search.body"),
        ({**SEARCH, "search": {"path": "/s", "method": "POST", "body": {"a": "{a}", "q": "x {a}"}}}, "search.body"),
        ({**SEARCH, "search": {"path": "/s?a={a}", "body": {"a": "{a}"}}}, "search.body"),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(settings: dict[str, Any], setting: str) -> None:
    """Before the first request."""
    with pytest.raises(Wrong) as caught:
        make_adapter(1, **settings)
    assert caught.value.setting == setting


def test_what_looks_like_a_place_to_nobody_is_a_text() -> None:
    """Query languages have braces of their own: a key stands beside them, as a variable."""
    query = "query($id: ID!) {customer(id: $id) {name}}"
    template = parse_body({"query": query, "variables": {"id": "{key}"}}, ["key", "limit"])
    assert template.names == {"key"}
    assert json.loads(template.fill({"key": "{limit}"})) == {"query": query, "variables": {"id": "{limit}"}}


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=50))
def test_a_key_stays_in_its_place(key: str) -> None:
    """Whatever it holds, the body says the same of everything else."""
    body = parse_body({"a": "{key}", "b": {"c": ["{key}", 1]}}, ["key"]).fill({"key": key})
    assert json.loads(body) == {"a": key, "b": {"c": [key, 1]}}


def test_a_deep_body_is_refused() -> None:
    """A body is short; nobody writes one of a hundred levels."""
    body: Any = "{key}"
    for _ in range(100):
        body = [body]
    with pytest.raises(ValueError, match="deeper"):
        parse_body({"a": body}, ["key"])
