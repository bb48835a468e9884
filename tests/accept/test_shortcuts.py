"""The cheap tests on the hot path never say "nothing to do" where the careful way finds something."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from itsdangerous import Signer

from collector.accept import minimise as minimise_module
from collector.accept import validate as validate_module
from collector.accept.bounds import MAX_COUNT, MAX_EVENT_CHARS, MAX_KEYS, find_excess, find_flat_types, is_small
from collector.accept.minimise import REMOVED
from collector.accept.pipeline import Accepted, Refused, accept
from collector.accept.visitor_cookie import SALT, VisitorCookie, read_cookie, write_cookie
from collector.event import WireEvent
from collector.metrics import read_totals
from tests.edge_examples import ADDRESS, KEYRING, NOW_S, ORIGIN, VISITOR, make_body, make_context, make_event, make_id

TOKEN = "a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6"
TELLING = (
    "anna@mail.example",
    "anna%40mail.example",
    f"x {ADDRESS} y",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    TOKEN,
)

texts = st.one_of(
    st.sampled_from(
        (*TELLING, "", "a.b", "red shoes", "\x7f", "\x85", "\u2028", "ä", "€", "“quoted”", "\\u0040", "100 %")
    ),
    st.just("carpet-natural-small-outdoor-living-1700"),
    st.text(max_size=40),
    st.lists(st.sampled_from(("Q", "7", "-", "+", "_", "z9", " ", ".")), max_size=60).map("".join),
)
keys = st.one_of(st.sampled_from(("price", "a.b", "a_b", TOKEN, "anna@mail.example")), st.text(max_size=8))
values = st.recursive(
    st.one_of(texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
queries = (
    texts.map("?utm_source={}&secret=1".format),
    texts.map(";gclid={}".format),
    st.just(f"?gclid={TOKEN * 2}&a={TOKEN}"),
)
addresses = st.one_of(
    st.just(""),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from((ORIGIN, "HTTPS://Shop.example", "http://u:p@shop.example:8080", "shop.example", "ftp://a.b")),
        st.one_of(st.just(""), texts.map("/{}".format)),
        st.one_of(st.just(""), *queries),
        st.sampled_from(("", "#part", " ")),
    ),
)


identifiers = st.builds(
    lambda kind, value, signature: {"k": kind, "v": value, "g": signature},
    st.sampled_from(("customer", "email", "unknown")),
    texts,
    st.sampled_from(("", f"1.{NOW_S + 60}.{TOKEN * 2}")),
)


@st.composite
def beacons(draw: st.DrawFn) -> dict[str, Any]:
    """A beacon near the usual form, with something telling here and there."""
    events = [
        make_event(
            100 + number,
            n=draw(st.one_of(st.just("page_view"), texts)),
            u=draw(addresses),
            r=draw(addresses),
            h=draw(texts),
            p=draw(st.dictionaries(keys, values, max_size=4)),
            q=draw(st.sampled_from((0, 1, MAX_COUNT + 1))),
            k=draw(st.lists(identifiers, max_size=2)),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    session = draw(
        st.sampled_from((None, {"i": make_id(50), "n": 1}, {"i": "short", "n": 1}, {"i": make_id(50).upper()}))
    )
    return make_body(
        *events,
        u=draw(addresses),
        r=draw(addresses),
        h=draw(texts),
        x=session,
        d=draw(st.sampled_from((VISITOR, None))),
    )


def judge_carefully(body: bytes) -> Accepted | Refused:
    """Judge without any shortcut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate_module, "is_small", lambda event, flat_types: False)
        patch.setattr(minimise_module, "is_harmless", lambda beacon, address: False)
        return accept(body, make_context())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(beacons(), st.booleans())
def test_the_short_way_ends_where_the_careful_way_does(beacon: dict[str, Any], is_ascii: bool) -> None:
    """Whatever stands in a beacon, line, answer and refusals are the same with the shortcuts and without."""
    body = msgspec.json.encode(beacon)
    if is_ascii:  # the same texts, escaped
        body = body.decode().encode("ascii", "backslashreplace").replace(b"\\x", b"\\u00").replace(b"\\U000", b"\\u")
    before = dict(read_totals().counters.get("removed_values", {}))
    answer = accept(body, make_context())
    between = dict(read_totals().counters.get("removed_values", {}))
    assert answer == judge_carefully(body)
    after = dict(read_totals().counters.get("removed_values", {}))
    for place in after:  # counted alike, too
        assert between.get(place, 0) - before.get(place, 0) == after[place] - between.get(place, 0)


@pytest.mark.parametrize("text", TELLING)
@pytest.mark.parametrize("place", ["title", "name", "path", "property", "key", "nested", "session"])
def test_what_tells_is_removed_from_an_otherwise_plain_beacon(text: str, place: str) -> None:
    """One telling value in a beacon that is plain but for it is found, also where ids make up for its length."""
    event = make_event()
    body = make_body(event)
    if place == "title":
        event["h"] = text
    elif place == "name":
        event["n"] = text
    elif place == "path":
        event["u"] = f"{ORIGIN}/{text}"
    elif place == "property":
        event["p"] = {"note": text}
    elif place == "key":
        event["p"] = {text: 1}
    elif place == "nested":
        event["p"] = {"list": [{"note": text}]}
    else:
        event["h"], body["x"] = text, {"i": "no-id"}
    answer = accept(msgspec.json.encode(body), make_context())
    assert isinstance(answer, Accepted)
    assert text.encode() not in answer.line
    assert REMOVED.encode() in answer.line


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        WireEvent,
        id=st.just(make_id(1)),
        name=st.one_of(st.just("x" * 128), texts),
        time_ms=st.just(0),
        url=st.sampled_from(("", "u" * 8192, "u" * 8193)),
        title=st.sampled_from(("", "h" * 8192)),
        props=st.dictionaries(st.text(max_size=70), values, max_size=70),
        sequence=st.sampled_from((0, -1, MAX_COUNT, MAX_COUNT + 1)),
    )
)
def test_a_small_event_has_no_excess(event: WireEvent) -> None:
    """What the cheap test lets pass, the careful one does too."""
    body = msgspec.json.encode(event)
    if is_small(event) or is_small(event, find_flat_types(body)):
        assert find_excess(event) is None


@pytest.mark.parametrize(
    "props",
    [
        {"n": 2**63},
        {"n": -(2**63) - 1},
        {"text": "x" * 8193},
        {"k" * 129: 1},
        {f"k{number}": 1 for number in range(MAX_KEYS + 1)},
        {"list": [0] * (MAX_EVENT_CHARS // 8 + 1)},
        {"deep": [[[[[[[[[[[[[[1]]]]]]]]]]]]]]},
        {"a.b": 1},
    ],
)
def test_what_is_not_small(props: dict[str, Any]) -> None:
    """Each bound, and a key that has to be renamed, sends an event the careful way."""
    event = WireEvent(make_id(1), "page_view", 0, props=props)
    assert is_small(WireEvent(make_id(1), "page_view", 0))
    assert not is_small(event)
    assert not is_small(event, find_flat_types(msgspec.json.encode(event)))


def test_the_cookie_is_signed_as_itsdangerous_signs() -> None:
    """The signature is the library's own, so that cookies from before stay valid, and both keys of the ring verify."""
    cookie = VisitorCookie(VISITOR, NOW_S)
    text = write_cookie(KEYRING, "shop", cookie)
    value, _, signature = text.rpartition(".")
    for key in KEYRING.cookie_keys:
        signer = Signer(key.secret, salt=SALT, key_derivation="hmac", digest_method=sha256)
        signed = f"{value}.{signer.get_signature(f'shop.{value}').decode()}"
        assert read_cookie(KEYRING, "shop", signed, NOW_S) == cookie
        assert (signed == text) is (key is KEYRING.cookie_keys[0])
    assert read_cookie(KEYRING, "shop", f"{value}.{signature}=", NOW_S) is None
    assert read_cookie(KEYRING, "blog", text, NOW_S) is None


def test_a_click_id_takes_no_careful_walk_and_hides_nothing() -> None:
    """Long runs in the page's own parameters are judged there; one more anywhere else is still found."""
    url = f"{ORIGIN}/shoes?gclid={TOKEN}{TOKEN}&utm_term={TOKEN}&secret={TOKEN}"
    event = make_event(p={"note": "shoes"})
    answer = accept(msgspec.json.encode(make_body(event, u=url)), make_context())
    assert isinstance(answer, Accepted)
    assert f"/shoes?gclid={TOKEN}{TOKEN}&utm_term=[removed]".encode() in answer.line
    event["p"] = {"note": TOKEN}
    answer = accept(msgspec.json.encode(make_body(event, u=url)), make_context())
    assert isinstance(answer, Accepted)
    assert b"note" in answer.line
    assert answer.line.count(TOKEN.encode()) == 2
