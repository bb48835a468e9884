"""REST: what is asked, and how an answer becomes a record, with a real server."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from collector.adapters.bounds import SourceBounds
from collector.adapters.contract import Record
from collector.adapters.rest import MAX_FOUND
from collector.adapters.source import Source
from collector.errors import AdapterError, AdapterReason
from tests.adapters.faulty_server import FaultyServer, give, hang, one_after_another
from tests.adapters.rest_source import ALL, HOST, LONG_S, ask, find_reason, serve
from tests.adapters.virtual_time import wait_until

CUSTOMER = {"data": {"id": 7, "person": {"first": "Ada", "last": "L"}, "points": 12, "orders": [{"no": "A1"}]}}
MAP = {"name": "person.first"}


def test_a_record_is_mapped_field_by_field() -> None:
    """By the paths of the configuration; a field without one is what the record has by its name."""
    server = FaultyServer(give(CUSTOMER))
    record = ask(server, record="data", map=MAP, headers={"X-Client": "tags"})
    assert record == Record("7", {"name": "Ada", "points": 12, "orders": [{"no": "A1"}]})
    (request,) = server.requests
    assert (request.method, request.target) == ("GET", "/api/customers/7")
    assert request.headers["host"].startswith(f"{HOST}:")
    assert request.headers["x-client"] == "tags"
    assert request.headers["accept-encoding"] == "gzip"
    assert "cookie" not in request.headers
    assert "authorization" not in request.headers


def test_only_what_was_asked_for_is_given() -> None:
    async def story() -> Record | None:
        async with serve(FaultyServer(give(CUSTOMER)), record="data", map=MAP) as adapter:
            return await adapter.retrieve("7", frozenset({"points"}), LONG_S)

    assert asyncio.run(story()) == Record("7", {"points": 12})


@pytest.mark.parametrize(
    ("respond", "settings"),
    [
        (give(status=404), {}),
        (give(status=410), {}),
        (give(body=b"", status=204), {}),
        (give({"data": None}), {"record": "data"}),
        (give({}), {"record": "data"}),
        (give([]), {}),
        (give([]), {"record": "[0]"}),
        (give(None), {}),
    ],
)
def test_no_record(respond: Any, settings: dict[str, Any]) -> None:
    """As sources say it: by status, by nothing, by an empty list."""
    assert ask(FaultyServer(respond), **settings) is None


def test_null_is_no_value() -> None:
    """A field without a value is not in the record."""
    assert ask(FaultyServer(give({"name": None, "points": 0, "orders": []}))) == Record(
        "7", {"points": 0, "orders": []}
    )


def test_an_answer_about_somebody_else_is_none() -> None:
    """Where the configuration says where the key stands, another one is noticed."""
    settings = {"record": "data", "map": MAP, "record_key": "id"}
    assert ask(FaultyServer(give(CUSTOMER)), **settings) is not None
    assert find_reason(FaultyServer(give(CUSTOMER)), key="8", **settings) is AdapterReason.BAD_ANSWER
    assert find_reason(FaultyServer(give({"data": {}})), **settings) is AdapterReason.BAD_ANSWER


def test_a_value_that_does_not_fit_costs_its_field() -> None:
    """The record comes without it, and says so."""
    record = ask(FaultyServer(give({"name": "Ada", "points": "many"})))
    assert record == Record("7", {"name": "Ada"}, frozenset({"points"}))


@pytest.mark.parametrize("document", [[1, 2], "Ada", 7, {"name": 3}])
def test_a_mapping_that_does_not_fit(document: Any) -> None:
    """What its functions cannot take is a bad answer."""
    settings = {"map": {"name": "join('-', name)", "points": "points", "orders": "orders"}}
    assert find_reason(FaultyServer(give(document)), **settings) is AdapterReason.BAD_ANSWER


def test_the_key_may_be_a_parameter() -> None:
    """With others beside it that do not change."""
    server = FaultyServer()
    ask(server, key="a&b=c@example.org", path="/find?active=1&mail={key}&x=%26")
    assert server.requests[0].target == "/api/find?active=1&mail=a%26b%3Dc%40example.org&x=%26"


@pytest.mark.parametrize(
    ("key", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a?b=c", "a%3Fb%3Dc"),
        ("a#b", "a%23b"),
        ("a%2Fb", "a%252Fb"),
        ("ä €", "%C3%A4%20%E2%82%AC"),
        ("a;b", "a%3Bb"),
        ("@evil.example", "%40evil.example"),
        ("a..b", "a..b"),
        ("...", "..."),
        (":80", "%3A80"),
    ],
)
def test_a_key_stays_one_segment_on_the_wire(key: str, segment: str) -> None:
    """Nothing between here and the server reads it anew."""
    server = FaultyServer()
    ask(server, key=key, path="/customers/{key}/card")
    assert server.requests[0].target == f"/api/customers/{segment}/card"


@pytest.mark.parametrize(
    "key",
    [
        *(".", "..", "../admin", "a/../../b", "..\\admin", "%2e%2e", "%2E%2E%2Fadmin", "%252e%252e%252fadmin"),
        *("..;x", "../", "/..", " ..", "\x00", "a\r\nHost: evil", "a\nb", "\x7f", "\ud800", "x" * 1_025, ""),
    ],
)
def test_a_key_that_leads_elsewhere_is_not_asked_for(key: str) -> None:
    """Neither as it is, nor as a server might decode it."""
    server = FaultyServer()
    assert find_reason(server, key=key) is AdapterReason.NOT_SUPPORTED
    assert server.connections == 0


def test_an_answer_may_be_packed() -> None:
    packed = gzip.compress(json.dumps(CUSTOMER).encode())
    server = FaultyServer(give(body=packed, content_encoding="gzip"))
    assert ask(server, record="data", map=MAP) is not None


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/hal+json"])
def test_kinds_of_json(kind: str) -> None:
    assert ask(FaultyServer(give({"name": "Ada"}, content_type=kind))) == Record("7", {"name": "Ada"})


SEARCH = {
    "record_key": "id",
    "map": {"name": "person.first"},
    "search": {"path": "/find?name={name}&zip={postcode}&n={limit}", "records": "items[*].customer"},
}
FOUND = {"items": [{"customer": {"id": number, "person": {"first": f"Ada {number}"}}} for number in range(1, 6)]}


def search(server: FaultyServer, terms: dict[str, str], limit: int = 10, **settings: Any) -> list[Record]:
    async def story() -> list[Record]:
        async with serve(server, **{**SEARCH, **settings}) as adapter:
            return await adapter.search(terms, limit)

    return asyncio.run(story())


def test_a_search_asks_with_the_terms_that_are_given() -> None:
    """Those that are not are left out, and what they are stays in its place."""
    server = FaultyServer(give(FOUND))
    found = search(server, {"name": "A&n=9#?/../B"}, 3)
    assert server.requests[0].target == "/api/find?name=A%26n%3D9%23%3F%2F..%2FB&n=3"
    assert [(record.key, record.values) for record in found] == [
        (str(number), {"name": f"Ada {number}"}) for number in (1, 2, 3)
    ]
    search(server, {"postcode": "1010", "name": "Ada"}, 10_000)
    assert server.requests[1].target == f"/api/find?name=Ada&zip=1010&n={MAX_FOUND}"


def test_who_has_no_key_is_not_found() -> None:
    """Nobody could be asked for it."""
    assert search(FaultyServer(give({"items": [{"customer": {"id": None}}, {"customer": {}}]})), {"name": "A"}) == []
    assert search(FaultyServer(give(status=404)), {"name": "A"}) == []
    assert search(FaultyServer(give({})), {"name": "A"}) == []


@pytest.mark.parametrize(
    "terms", [{}, {"name": " "}, {"mail": "a@example.org"}, {"name": "a", "limit": "5"}, {"name": "a\x00"}]
)
def test_other_terms_are_not_searched_for(terms: dict[str, str]) -> None:
    server = FaultyServer(give(FOUND))
    with pytest.raises(AdapterError) as caught:
        search(server, terms)
    assert caught.value.reason is AdapterReason.NOT_SUPPORTED
    assert server.connections == 0


def test_no_search_is_configured() -> None:
    with pytest.raises(AdapterError) as caught:
        search(FaultyServer(), {"name": "Ada"}, search=None)
    assert caught.value.reason is AdapterReason.NOT_SUPPORTED


def test_found_must_be_a_list() -> None:
    with pytest.raises(AdapterError) as caught:
        search(FaultyServer(give({"items": 7})), {"name": "Ada"}, search={**SEARCH["search"], "records": "items"})
    assert caught.value.reason is AdapterReason.BAD_ANSWER


def test_behind_a_source_a_dead_server_costs_its_fields_alone() -> None:
    """Asked, then hanging, then back: fields, stale fields, none, and fields again."""

    async def story() -> None:
        server = FaultyServer(one_after_another(give({"name": "Ada", "points": 1}), hang))
        async with serve(server) as adapter:
            source = Source(adapter, SourceBounds(deadline_s=0.1, timeout_s=0.2, failures=1, open_s=0.05))
            warm = await source.retrieve("7", ["name"], LONG_S)
            assert warm.values["name"].value == "Ada"
            assert (await source.retrieve("8", ALL)).unavailable == dict.fromkeys(ALL, "timeout")
            assert (await source.retrieve("7", ["name"])).values == warm.values

            async def is_open() -> bool:
                return source.is_open

            await wait_until(is_open)
            assert (await source.retrieve("9", ["name"])).unavailable == {"name": "open"}
            server.respond = give({"name": "Grace"})

            async def is_back() -> bool:
                fetched = await source.retrieve("8", ["name"], LONG_S)
                return "name" in fetched.values and fetched.values["name"].value == "Grace"

            await wait_until(is_back)
            await source.close()

    asyncio.run(story())
