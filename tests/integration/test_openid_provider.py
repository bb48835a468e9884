"""Signing in at a real OpenID provider: its ID token in a beacon, through the real collector and engine.

Its keys rotate, it goes away, its tokens are forged, stolen and shown again. Every beacon here is what a browser's tag
sends.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from known_sites import PATIENCE_S

from collector.sites.book import Issuer, Site
from tests.id_tokens.openid_provider import CLIENT, OTHER_CLIENT, OpenIdProvider, running_provider
from tests.identity_drive import KINDS, Answer, Browser, Space, World, running_world

pytestmark = pytest.mark.engine
PAUSE_S = 4
MALLORYS_KEY = rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    """One provider for the module."""
    with running_provider() as running:
        yield running


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, provider: OpenIdProvider) -> Iterator[World]:
    """One instance for the module, with sites that trust the provider, and its keys read."""
    issuers = (Issuer(provider.url, CLIENT, mfa_acr="gold"),)
    by_mail = (Issuer(provider.url, CLIENT, kind="email", claim="email"),)
    names = ("levels", "forged", "turning", "away", "shown")
    special = [
        *(Site(name, kinds=KINDS, issuers=issuers) for name in names),
        Site("strict", kinds=KINDS, issuers=by_mail, identify="signed"),
    ]
    folder = tmp_path_factory.mktemp("openid")
    with running_world(folder, spaces=0, special=special, options=[f"issuer_pause_s={PAUSE_S}"]) as running:
        copy = running.instance.data / "web" / "issuer_keys.json"
        deadline = time.monotonic() + PATIENCE_S
        while not copy.exists():
            assert time.monotonic() < deadline, running.instance.log[-2000:]
            time.sleep(0.05)
        yield running


def show(browser: Browser, token: str, ago_h: float = 0.0, value: str = "", **more: Any) -> Answer:
    """Send an identify with a token, as the page hands it on."""
    named = {"k": "customer", "v": value, "j": token, **more}
    return browser.send(browser.make_event("identify", ago_h, k=[named]))


def see(space: Space, browser: Browser) -> list[tuple[str, str, int, int]]:
    """Return name, customer, assurance and the flag of several factors of a visitor's events, in order of time."""
    rows = space.query(
        "SELECT event_name, customer_id, assurance, mfa FROM v_events"
        " WHERE space_id = {space:String} AND visitor_id = {visitor:UUID} ORDER BY time, event_id",
        visitor=browser.visitor,
    )
    return [(row["event_name"], row["customer_id"], row["assurance"], row["mfa"]) for row in rows]


def test_a_sign_in_at_the_provider_is_level_3(world: World, provider: OpenIdProvider) -> None:
    """With history, methods in the evidence, and several factors as a flag on each event until the sign-in ends."""
    space = world.named["levels"]
    anna, berta, carl = space.browser(), space.browser(), space.browser()
    anna.view(ago_h=3)
    assert show(anna, provider.sign_in("anna", methods="pwd otp", nonce="n-1"), 2, n="n-1").status == 204
    anna.view(ago_h=1)
    show(berta, provider.sign_in("berta"), 2)
    show(carl, provider.sign_in("carl", class_name="gold"), 2)
    space.settle()
    assert see(space, anna)[1:] == [
        ("page_view", "anna", 0, 0),
        ("identify", "anna", 3, 1),
        ("page_view", "anna", 3, 1),
    ]
    assert see(space, berta)[1:] == [("identify", "berta", 3, 0)]
    assert see(space, carl)[1:] == [("identify", "carl", 3, 1)]
    evidence = space.query(
        "SELECT level, verification, source, proof FROM v_identity_evidence"
        " WHERE space_id = {space:String} AND visitor_id = {visitor:UUID}",
        visitor=anna.visitor,
    )
    assert evidence == [{"level": 3, "verification": "otp pwd", "source": "tag", "proof": "cookie"}]


def test_what_the_provider_did_not_say_to_us_signs_nobody_in(world: World, provider: OpenIdProvider) -> None:
    """A token for another client, for another request, changed, unsigned, signed with the public key as a secret, or
    with a key that it brings along."""
    space = world.named["forged"]
    mallory = space.browser()
    good = provider.sign_in("mallory", nonce="n-1")
    head, body, signature = good.split(".")
    claims = {**jwt.decode(good, options={"verify_signature": False}), "sub": "anna"}
    keys = httpx.get(f"{provider.url}/jwks", trust_env=False).json()["keys"]
    published = next(key for key in keys if key["kty"] == "RSA")
    public = RSAAlgorithm.from_jwk(published).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    confused = f"{encode({'alg': 'HS256', 'kid': published['kid']})}.{encode(claims)}"
    own = RSAAlgorithm.to_jwk(MALLORYS_KEY.public_key(), as_dict=True)
    brought = {"kid": published["kid"], "jwk": own, "jku": "https://mallory.example/keys"}
    for token, more in (
        (provider.sign_in("anna", client=OTHER_CLIENT), {}),
        (good, {"n": "n-2"}),
        (good, {"value": "anna"}),
        (f"{head}.{encode(claims)}.{signature}", {}),
        (f"{head}.{body}.", {}),
        (f"{encode({'alg': 'none'})}.{encode(claims)}.", {}),
        (f"{confused}.{encode(hmac.digest(public, confused.encode(), hashlib.sha256))}", {}),
        (jwt.encode(claims, MALLORYS_KEY, "RS256", brought), {}),
    ):
        answer = show(mallory, token, 1, **more)
        assert (answer.status, answer.rejected) == (204, "signature")
    space.settle()
    assert space.customers() == {}


def encode(part: Any) -> str:
    """Return a part of a token."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def send_again(browser: Browser, event: dict[str, Any]) -> list[Answer]:
    """Send an event as the tag does, again while it is asked to, without the pause; and return the answers."""
    answers = [browser.send(event)]
    deadline = time.monotonic() + PATIENCE_S
    while answers[-1].status == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        answers.append(browser.send(event))
    return answers


@pytest.mark.long
def test_a_new_key_of_the_provider_costs_no_sign_in(world: World, provider: OpenIdProvider) -> None:
    """While it is asked for, the beacon is to come again (503) and nothing of it is kept; then it counts. Tokens by the
    key before still do, as long as the provider shows it."""
    space = world.named["turning"]
    anna, berta, carl = space.browser(), space.browser(), space.browser()
    by_old_key = provider.sign_in("berta")
    provider.rotate()
    by_new_key = provider.sign_in("anna")
    time.sleep(PAUSE_S)  # by now keys that were read are no longer fresh
    event = anna.make_event("identify", 2, k=[{"k": "customer", "v": "", "j": by_new_key}])
    first, *between, last = send_again(anna, event)
    assert (first.status, first.rejected, first.headers["Retry-After"]) == (503, "keys", "3")
    assert first.said["retry"] is True
    assert {answer.rejected for answer in between} <= {"keys"}
    assert (last.status, last.rejected) == (204, "")
    assert show(berta, by_old_key, 2).rejected == ""

    # A key that the provider never shows: asked for once, then the token is as good as any text.
    claims = {**jwt.decode(by_new_key, options={"verify_signature": False}), "sub": "anna"}
    forged = jwt.encode(claims, MALLORYS_KEY, "RS256", {"kid": "key-99"})
    event = carl.make_event("identify", 2, k=[{"k": "customer", "v": "", "j": forged}])
    assert send_again(carl, event)[-1].rejected == "unverified"
    space.settle()
    assert see(space, anna)[1:] == [("identify", "anna", 3, 0)]
    assert see(space, berta)[1:] == [("identify", "berta", 3, 0)]
    assert see(space, carl)[1:] == [("identify", "", 0, 0)]
    levels = space.query(
        "SELECT level, verification FROM v_identity_evidence"
        " WHERE space_id = {space:String} AND visitor_id = {visitor:UUID}",
        visitor=carl.visitor,
    )
    assert levels == [{"level": 1, "verification": ""}]


@pytest.mark.long
def test_while_the_provider_is_away_its_keys_are_in_force(world: World, provider: OpenIdProvider) -> None:
    """Also for a web process that starts meanwhile: it has the copy on disk."""
    space, instance = world.named["away"], world.instance
    anna = space.browser()
    token = provider.sign_in("anna", methods="pwd hwk")
    provider.freeze()
    try:
        before = instance.role_pids()["web"]
        os.kill(before, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while instance.role_pids().get("web", before) == before or not _answers(world):
            assert time.monotonic() < deadline, instance.log[-2000:]
            time.sleep(0.05)
        answer = show(anna, token, 2)
        assert (answer.status, answer.rejected) == (204, "")
    finally:
        provider.thaw()
    space.settle()
    assert see(space, anna)[1:] == [("identify", "anna", 3, 1)]


def _answers(world: World) -> bool:
    try:
        return world.get("/healthz").status < 500
    except OSError:
        return False


def test_a_token_that_others_show_too(world: World, provider: OpenIdProvider) -> None:
    """The owner's second device counts and is marked; a third visitor is a replay and has nobody's history."""
    space = world.named["shown"]
    anna, phone, thief = space.browser(), space.browser(), space.browser()
    token = provider.sign_in("anna")
    for ago_h, browser in ((5, anna), (4, anna), (3, phone), (2, thief)):
        assert show(browser, token, ago_h).rejected == ""
    space.settle()
    assert [set(space.who(browser)) for browser in (anna, phone, thief)] == [{"anna"}, {"anna"}, {""}]
    assert space.refused() == ["second_device", "replayed"]


def test_a_site_that_wants_signed_identifies_takes_no_others(world: World, provider: OpenIdProvider) -> None:
    """Unsigned: refused with its reason, nothing is kept of whom it named. Signed by the site, or by the provider for
    an address that it has verified: taken."""
    space = world.named["strict"]
    anna, berta, mallory = space.browser(), space.browser(), space.browser()
    assert mallory.claim(customer="anna").rejected == "unsigned"
    assert mallory.claim(email="anna@shop.example").rejected == "unsigned"
    assert show(mallory, provider.sign_in("stranger")).rejected == "signature"
    assert anna.sign_in(customer="anna", ago_h=1).rejected == ""
    assert show(berta, provider.sign_in("berta"), 1).rejected == ""
    assert space.call("track", "track", event="Guess", userId="anna", anonymousId=mallory.visitor).said["left_out"]
    space.settle()
    assert set(space.who(mallory)) <= {""}
    assert [name for name, *_ in see(space, mallory)] == ["page_view", "Guess"]
    assert set(space.who(anna)) == {"anna"}
    levels = space.query(
        "SELECT level FROM v_identity_evidence WHERE space_id = {space:String} AND visitor_id IN ({a:UUID}, {b:UUID})",
        a=berta.visitor,
        b=mallory.visitor,
    )
    assert levels == [{"level": 3}]
    refused = world.instance.until(
        "SELECT reason, sum(beacons) AS n FROM v_rejected WHERE site_id = 'strict' GROUP BY reason ORDER BY reason",
        lambda rows: len(rows) == 2,
    )
    assert {row["reason"] for row in refused} == {"signature", "unsigned"}
