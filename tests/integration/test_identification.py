"""Across two domains to a sign-in with an ID token: HTTP in, real issuer, real engine, and what readers see."""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import jwt
import pytest
from instance_process import RunningInstance, running_instance
from known_sites import PATIENCE_S, wait_for_site

from collector.signing import sign_identify
from collector.sites.book import Site
from tests.edge_examples import CHROME, make_id
from tests.id_tokens.token_makers import AUDIENCE, IssuerServer, make_token, running_issuer

pytestmark = pytest.mark.engine
NUMBERS = itertools.count(100)
SHOP, OUTLET = "https://shop.example", "https://outlet.example"


@pytest.fixture(scope="module")
def issuer() -> Iterator[IssuerServer]:
    """An issuer of ID tokens."""
    with running_issuer() as server:
        server.publish()
        yield server


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, issuer: IssuerServer) -> Iterator[RunningInstance]:
    """An instance with two domains of one organisation, and the issuer's keys read."""
    with running_instance(tmp_path_factory.mktemp("identification")) as running:
        running.command("site", "add", "shop", "--origin", SHOP, "--capture-cookie", "login:customer:signed")
        running.command("site", "add", "outlet", "--origin", OUTLET, "--issuer", f"{issuer.url},{AUDIENCE}")
        running.command("key", "create", "--scope", "identify", "--site", "shop")
        wait_for_site(running, "outlet")
        wait_for_site(running, "shop", _has_secret)
        copy = running.data / "web" / "issuer_keys.json"
        deadline = time.monotonic() + PATIENCE_S
        while not copy.exists():
            assert time.monotonic() < deadline, running.log[-2000:]
            time.sleep(0.05)
        yield running


def _has_secret(site: Site) -> bool:
    return bool(site.identify_versions)


def post(
    instance: RunningInstance, site: str, visitor: str, event: dict[str, Any], cookie: str = "", **more: Any
) -> tuple[int, Message, dict[str, Any]]:
    """Send one beacon as a browser on the site's page does. Return status, headers and what the answer says."""
    now_ms = time.time_ns() // 1_000_000
    origin = {"shop": SHOP, "outlet": OUTLET}[site]
    body = {
        "v": 1,
        "s": site,
        "st": now_ms,
        "d": visitor,
        "c": "ai",
        "u": f"{origin}/",
        "x": {"i": make_id(900, now_ms), "n": 1, "t": now_ms - 60_000},
        **more,
        "e": [{"i": make_id(next(NUMBERS), now_ms), "t": now_ms, **event}],
    }
    headers = {"Origin": origin, "User-Agent": CHROME, "Content-Type": "text/plain", "Cookie": cookie}
    request = urllib.request.Request(f"{instance.url}/x/b", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
        return answer.status, answer.headers, json.loads(text) if text else {}


def test_one_person_over_two_domains(instance: RunningInstance, issuer: IssuerServer) -> None:
    """Landing on the shop, over to the outlet, signed in there with an ID token: all of it is the customer's, the page
    on the shop provisionally. The token with a third visitor is a replay and changes nobody."""
    now_ms = time.time_ns() // 1_000_000
    a, b, c = (make_id(number, now_ms) for number in (1, 2, 3))
    status, headers, said = post(instance, "shop", a, {"n": "page_view"}, xl=1)
    assert status == 200, headers.items()
    token = said["x"]

    status, headers, _ = post(instance, "outlet", b, {"n": "page_view"}, ho=token, r=f"{SHOP}/")
    assert (status, headers["X-Tagstitch-Rejected"]) == (204, None)
    cookie = headers["Set-Cookie"].partition(";")[0]
    status, headers, _ = post(instance, "outlet", c, {"n": "page_view"}, ho=token, r=f"{SHOP}/")
    assert (status, headers["X-Tagstitch-Rejected"]) == (204, None)
    status, headers, _ = post(instance, "outlet", b, {"n": "page_view"}, cookie, ho=token, r="https://mail.example/")
    assert headers["X-Tagstitch-Rejected"] == "handover"

    now_s = now_ms // 1000
    id_token = make_token({"iss": issuer.url, "aud": AUDIENCE, "sub": "4711", "iat": now_s, "exp": now_s + 600})
    names = [{"k": "customer", "v": "", "j": id_token}]
    status, headers, _ = post(instance, "outlet", b, {"n": "identify", "k": names}, cookie)
    assert (status, headers["X-Tagstitch-Rejected"]) == (204, None)

    def who(visitor: str) -> str:
        return f"SELECT DISTINCT customer_id, provisional FROM v_events WHERE visitor_id = '{visitor}'"

    instance.until(who(b), lambda rows: rows == [{"customer_id": "4711", "provisional": 0}])
    instance.until(who(a), lambda rows: rows == [{"customer_id": "4711", "provisional": 1}])
    assert instance.sql(who(c)) == [{"customer_id": "", "provisional": 0}]
    kinds = instance.sql(
        "SELECT kind, level, source, proof FROM v_identity_evidence WHERE site_id = 'outlet' ORDER BY kind, visitor_id"
    )
    assert [(row["kind"], row["level"], row["source"], row["proof"]) for row in kinds] == [
        ("handover", 2, "link", "fresh"),
        ("handover", 2, "link", "fresh"),
        ("identify", 3, "tag", "cookie"),
    ]
    refused = instance.sql("SELECT reason FROM v_guard_log")
    assert [row["reason"] for row in refused] == ["replayed"]


def test_a_signed_cookie_and_a_token_of_the_sites_own(instance: RunningInstance) -> None:
    """What the shop's back end sets as an HttpOnly cookie signs the visitor in with its page view; its JWT does so
    with an identify."""
    now_ms = time.time_ns() // 1_000_000
    by_cookie, by_token = make_id(11, now_ms), make_id(12, now_ms)
    secret = instance.keyring.derive_identify_secret("shop", 1)
    signature = sign_identify(secret, 1, "shop", "customer", "5001", now_ms // 1000 + 600)
    status, headers, _ = post(instance, "shop", by_cookie, {"n": "page_view"}, f"a=b; login=5001%7C{signature}; c=d")
    assert (status, headers["X-Tagstitch-Rejected"]) == (204, None)
    own = jwt.encode({"iss": "shop", "sub": "5002", "exp": now_ms // 1000 + 600}, secret, "HS256")
    names = [{"k": "customer", "v": "5002", "j": own}]
    status, headers, _ = post(instance, "shop", by_token, {"n": "identify", "k": names})
    assert (status, headers["X-Tagstitch-Rejected"]) == (204, None)
    for visitor, customer in ((by_cookie, "5001"), (by_token, "5002")):
        instance.until(
            f"SELECT DISTINCT customer_id, assurance FROM v_events WHERE visitor_id = '{visitor}'",
            lambda rows, customer=customer: rows == [{"customer_id": customer, "assurance": 3}],
        )
    sources = instance.sql("SELECT source, level FROM v_identity_evidence WHERE site_id = 'shop' ORDER BY source")
    assert [(row["source"], row["level"]) for row in sources] == [("capture", 3), ("tag", 3)]


@pytest.mark.long
def test_the_keys_outlive_the_issuer(instance: RunningInstance, issuer: IssuerServer) -> None:
    """The copy on disk holds public keys and nothing else."""
    [copied] = json.loads(Path(instance.data / "web" / "issuer_keys.json").read_bytes())
    assert copied["issuer"] == issuer.url
    assert {key["kid"] for key in copied["keys"]} == {"rsa", "p256", "p384", "ed"}
    assert not {"d", "p", "q"} & {name for key in copied["keys"] for name in key}
