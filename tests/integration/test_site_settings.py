"""What a site's settings do in a whole instance: cookieless visitors, the kill switch, the public page, the hashes."""

from __future__ import annotations

import http.client
import json
import stat
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from instance_process import RunningInstance, running_instance
from known_sites import wait_for_site

pytestmark = pytest.mark.engine

SHOP = "https://shop.example"


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningInstance]:
    """One instance for this file."""
    with running_instance(tmp_path_factory.mktemp("settings")) as running:
        yield running


def ask(
    instance: RunningInstance, method: str, path: str, body: Any = None, **headers: str
) -> http.client.HTTPResponse:
    """Send one request to web, as a page of the site would, and return the answer, read to its end."""
    connection = http.client.HTTPConnection(instance.config.host, instance.config.port, timeout=20)
    data = body if isinstance(body, str | None) else json.dumps(body)
    connection.request(method, path, data, {"Origin": SHOP, "User-Agent": "Mozilla/5.0 Firefox/140.0", **headers})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def send(instance: RunningInstance, site: str, **fields: Any) -> http.client.HTTPResponse:
    """Send one page view that names nobody and has asked nobody."""
    now_ms = time.time_ns() // 1_000_000
    event = {"i": str(uuid.uuid4()), "n": "page_view", "t": now_ms}
    return ask(instance, "POST", "/x/b", {"v": 1, "s": site, "st": now_ms, "e": [event], **fields})


@pytest.mark.long
def test_cookieless_visitors_are_counted_by_the_day(instance: RunningInstance) -> None:
    """Two page views of one browser are one visitor without session or cookie; the salt is the owner's alone."""
    instance.command("site", "add", "calm", "--origin", SHOP, "--consent", "cookieless")
    wait_for_site(instance, "calm", lambda site: site.consent == "cookieless")
    for _ in range(2):
        answer = send(instance, "calm")
        assert (answer.status, answer.getheader("Set-Cookie")) == (204, None)
    question = """
        SELECT visitor_proof, uniqExact(visitor_id) AS visitors, countIf(session_id != toUUIDOrZero('')) AS sessions,
            any(toString(visitor_id)) AS visitor, count() AS n
        FROM v_events WHERE site_id = 'calm' GROUP BY visitor_proof
    """
    [row] = instance.until(question, lambda rows: bool(rows) and rows[0]["n"] == 2)
    assert (row["visitor_proof"], row["visitors"], row["sessions"]) == ("cookieless", 1, 0)
    assert uuid.UUID(row["visitor"]).version == 8
    [salt] = (instance.data / "web").glob("day-salt-*")
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600


@pytest.mark.long
def test_the_kill_switch_works_without_touching_a_page(instance: RunningInstance) -> None:
    """Switched off, the next beacon is told to be silent; switched on again, the next one is kept."""
    instance.command("site", "add", "loud", "--origin", SHOP, "--consent", "off")
    wait_for_site(instance, "loud")
    assert send(instance, "loud").getheader("X-Tagstitch-Stop") is None
    for option, expected in (("--no-tag", "3600"), ("--tag", None)):
        instance.command("site", "add", "loud", "--replace", option)
        wait_for_site(instance, "loud", lambda site, wanted=expected: site.tag is (wanted is None))
        answer = send(instance, "loud")
        assert (answer.status, answer.getheader("X-Tagstitch-Stop")) == (204, expected)
    instance.until(
        "SELECT count() AS n FROM v_rejected WHERE site_id = 'loud' AND reason = 'off'", lambda rows: rows[0]["n"] == 1
    )


def test_the_public_pages_are_served(instance: RunningInstance) -> None:
    """The page for objections and the published hashes stand where the documents say."""
    assert ask(instance, "GET", "/x/opt-out").status == 200
    own = {"Origin": instance.url, "Content-Type": "application/x-www-form-urlencoded"}
    answer = ask(instance, "POST", "/x/opt-out", "answer=object", **own)
    assert (answer.status, str(answer.getheader("Set-Cookie")).partition(";")[0]) == (303, "_ts_out=1")
    answer = ask(instance, "GET", "/x/t.json")
    assert (answer.status, answer.getheader("Access-Control-Allow-Origin")) == (200, "*")
