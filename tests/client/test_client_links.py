"""The Python client's links: asked for in parts, asked again where nobody answered, and refused with a word."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tagstitch_client import Client, LinksError
from tagstitch_client import links as client_links

from tests.client.scripted_collector import CUT, ScriptedCollector, scripted_collector

Entry = tuple[int, dict[str, Any], dict[str, str]]


def answer(*tokens: str) -> Entry:
    """What a collector answers."""
    return 200, {"minting": "1", "made": 1, "links": [{"token": token, "url": f"u{token}"} for token in tokens]}, {}


def open_client(collector: ScriptedCollector) -> Client:
    """Return a client that is quick to try again."""
    return Client(collector.url, "ts_aa_secret", retry_base_s=0.01)


def test_links_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts where there are many; what is empty is not said; times as the wire has them."""
    monkeypatch.setattr(client_links, "RECIPIENTS_AT_ONCE", 2)
    refused = {"error": "nobody", "field": "reference", "message": "names nobody"}
    last = (200, {"links": [refused]}, {})
    with scripted_collector(answer("a", "b"), last) as collector, open_client(collector) as client:
        sent_at = datetime(2026, 3, 1, 9, tzinfo=UTC)
        recipients = [4711, {"reference": "4712", "consent": "m"}, "guest"]
        links = client.make_links(recipients, url="https://x.example/", campaign="spring", sent_at=sent_at, test=True)
    assert [link.url for link in links] == ["ua", "ub", ""]
    assert [link.is_made for link in links] == [True, True, False]
    assert (links[2].error, links[2].field, links[2].message) == ("nobody", "reference", "names nobody")
    shared = {"url": "https://x.example/", "campaign": "spring", "sent_at": "2026-03-01T09:00:00.000Z", "test": True}
    assert [json.loads(body) for body in collector.bodies] == [
        {**shared, "recipients": [{"reference": "4711"}, {"reference": "4712", "consent": "m"}]},
        {**shared, "recipients": [{"reference": "guest"}]},
    ]
    assert set(collector.paths) == {"/v1/links"}
    assert collector.headers[0]["authorization"] == "Bearer ts_aa_secret"


def test_asked_again_until_there_is_an_answer() -> None:
    """A cut connection and a collector that is busy."""
    busy = (503, {"error": "unavailable"}, {})
    with scripted_collector(CUT, busy, answer("a")) as collector, open_client(collector) as client:
        assert client.make_links(["4711"])[0].token == "a"
    assert len(set(collector.bodies)) == 1


@pytest.mark.parametrize(
    ("script", "reason", "field"),
    [
        ((400, {"error": "target", "field": "url", "message": "no"}, {}), "target", "url"),
        ((403, {"error": "scope", "field": "", "message": "no"}, {}), "scope", ""),
        ((200, {"success": True}, {}), "unavailable", ""),
        ((200, {"links": []}, {}), "unavailable", ""),
        ((429, {}, {"Retry-After": "3000"}), "unavailable", ""),
    ],
)
def test_no_links_at_all(script: Entry, reason: str, field: str) -> None:
    """The collector's word where it has one."""
    with (
        scripted_collector(script) as collector,
        open_client(collector) as client,
        pytest.raises(LinksError) as caught,
    ):
        client.make_links(["4711"], timeout_s=1)
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert str(caught.value)


def test_what_is_no_list() -> None:
    """One reference is no list, and nothing that JSON cannot hold is sent."""
    with scripted_collector() as collector, open_client(collector) as client:
        with pytest.raises(TypeError):
            client.make_links("4711")  # type: ignore[arg-type]
        with pytest.raises(LinksError, match="JSON"):
            client.make_links([{"reference": {1}}])
        assert client.make_links([]) == []
    assert collector.bodies == []
