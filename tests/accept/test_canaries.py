"""Canaries: planted in every place that a client can write to, they never come out on the line to the spool."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collector.accept.pipeline import accept
from collector.links.minting import mint_link
from tests.edge_examples import ADDRESS, KEYRING, NOW_S, make_body, make_context, make_event, make_id, read_line

EMAIL = "canary.person@mail.example"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnk"
TOKEN = "Zk3Jf9Qz1Lm8Tx2Vb7Rc4Wd6Ys5Ng0Hp3"
CANARIES = {
    "e-mail": (EMAIL, ("canary.person", "mail.example")),
    "JWT": (JWT, (JWT[:20], "c2lnbmF0dXJl")),
    "token": (TOKEN, (TOKEN,)),
    "address": (ADDRESS, (ADDRESS,)),
}


def _planted(canary: str) -> dict[str, Any]:
    """Return a beacon with the canary in each text that the wire knows, its own fields and unknown ones."""
    encoded = canary.replace("@", "%40").replace(".", "%2E")
    url = f"https://{canary}@shop.example/{canary}/{encoded}?utm_source={canary}&utm_term={encoded}&q={canary}#{canary}"
    props: dict[str, Any] = {
        "plain": canary,
        "inside": f"before {canary} after",
        "list": [canary, [canary], {"deep": canary}],
        canary: canary,
        f"a.{canary}": {canary: 1},
    }
    return make_body(
        make_event(1, u=url, r=url, h=f"Hello {canary}", p=props, zz=canary),
        make_event(2, n=canary),
        make_event(3, n="identify", k=[{"k": "email", "v": canary}, {"k": canary, "v": canary, "g": canary}]),
        make_event(4, i=canary),
        make_event(5, t=1, h=canary),
        make_event(6, n="reset"),
        make_event(7, n="alias", k=[{"k": "customer", "v": "", "j": canary, "o": canary}]),
        u=url,
        r=url,
        h=canary,
        l=canary,
        z=canary,
        w=canary,
        hs=canary,
        lt=canary,
        ho=canary,
        x={"i": canary, "n": 1, "t": 1},
        f={"v": 1, "s": {"platform": canary, "canvas": canary, "audio": 1, "math": "a", "fonts": [canary]}},
        zz={"unknown": canary},
    )


@pytest.mark.parametrize("name", list(CANARIES))
def test_nothing_planted_reaches_the_line_of_a_kept_beacon(name: str) -> None:
    """No e-mail address, web token, random token or network address stands in what is written."""
    canary, traces = CANARIES[name]
    context = make_context(
        user_agent=f"Mozilla/5.0 ({canary}) {canary}/1.0",
        country=canary,
        cookies={"__Host-ts_shop": canary, f"ts_{canary}": canary},
    )
    answer = accept(msgspec.json.encode(_planted(canary)), context)
    assert b'"page_view"' in answer.line, "the beacon itself is kept, or this test proves nothing"
    line = answer.line.decode()
    for trace in traces:
        assert trace not in line


@pytest.mark.parametrize("name", list(CANARIES))
@pytest.mark.parametrize("refusal", ["consent", "version", "site", "origin", "excluded", "shape", "syntax", "size"])
def test_nothing_planted_reaches_the_line_of_a_refused_beacon(name: str, refusal: str) -> None:
    """However a beacon is refused, its line holds none of what was in it."""
    canary, traces = CANARIES[name]
    changes = {
        "consent": {"c": ""},
        "version": {"v": 2},
        "site": {"s": canary},
        "shape": {"st": canary},
        "size": {"h": canary * 1000},
    }
    body = msgspec.json.encode({**_planted(canary), **changes.get(refusal, {})})
    if refusal == "syntax":
        body = body[:-1]
    facts: dict[str, Any] = {"origin": f"https://{canary}"} if refusal == "origin" else {}
    if refusal == "excluded":
        site = msgspec.structs.replace(make_context().sites.sites["shop"], excluded_networks=("203.0.113.0/24",))
        facts["site"] = site
    answer = accept(body, make_context(user_agent=canary, country=canary, **facts))
    line = read_line(answer).decode()
    assert f'"reason":"{refusal}"' in line
    for trace in traces:
        assert trace not in line


def test_without_consent_to_identity_the_customer_is_not_in_the_line() -> None:
    """Neither the reference in an identify nor that in a link's token is written without consent to identity."""
    body = make_body(
        make_event(1, n="identify", k=[{"k": "customer", "v": "canary-4711"}]),
        make_event(2),
        lt=mint_link(KEYRING, "canary-4711", now_s=NOW_S),
        x={"i": make_id(50), "n": 1},
        c="a",
    )
    answer = accept(msgspec.json.encode(body), make_context())
    assert b"canary" not in answer.line
    assert b'"page_view"' in answer.line
