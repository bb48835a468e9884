"""Beacons made at random, near the shape of the wire, with canaries strewn in: never an exception, never a canary."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.accept.minimise import CAMPAIGN_PARAMETERS, CLICK_IDS, REMOVED, clean_props, clean_text, clean_url
from collector.accept.pipeline import Accepted, accept
from collector.event import LandingRow
from tests.edge_examples import ADDRESS, CHROME, NOW_MS, ORIGIN, SITE, VISITOR, make_context, make_id, read_line

EMAIL = "canary.person@mail.example"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnk"
TOKEN = "Zk3Jf9Qz1Lm8Tx2Vb7Rc4Wd6Ys5Ng0Hp3"
CANARIES = (EMAIL, EMAIL.replace("@", "%40"), JWT, TOKEN, ADDRESS)
TRACES = ("canary.person", "mail.example", "c2lnbmF0dXJl", TOKEN, ADDRESS)
KEPT = CAMPAIGN_PARAMETERS | CLICK_IDS

# A canary stands between characters that end a word, as in a sentence or an address; inside of a word it is none.
between = st.text(alphabet=" ,;:()<>\"'\\/|\n\té€\u2028😀", min_size=1, max_size=4)
plain = st.text(max_size=24)
planted = st.builds(
    lambda a, b, canary, c, d: a + b + canary + c + d, plain, between, st.sampled_from(CANARIES), between, plain
)
texts = plain | planted | st.sampled_from(CANARIES)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
parameters = st.sampled_from(["utm_source", "utm_term", "gclid", "q", "token", "lt"])
addresses = (
    st.builds(
        lambda user, path, name, value, fragment: (
            f"https://{user}shop.example/{path}?{name}={value}&x={value}#{fragment}"
        ),
        st.sampled_from(["", f"{EMAIL}@", "a:b@"]),
        texts,
        parameters,
        texts,
        texts,
    )
    | texts
)
purposes = st.none() | st.text(alphabet="sifmx", max_size=5)


def _seldom(strategy: st.SearchStrategy[Any], *, else_: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return what is made by `else_` nine times of ten."""
    return st.integers(0, 9).flatmap(lambda turn: strategy if turn == 9 else else_)


def _mapping(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return mappings with some of these fields, and now and then with one that is anything."""
    return st.builds(
        lambda known, odd: {**known, **odd},
        st.fixed_dictionaries({}, optional=fields),
        _seldom(st.dictionaries(st.sampled_from([*fields, "zz"]), values, max_size=1), else_=st.just({})),
    )


ids = _seldom(texts, else_=st.integers(1, 4_000).map(make_id))
times = _seldom(values, else_=st.integers(NOW_MS - 8 * 86_400_000, NOW_MS + 300_000))
# What a site calls its customers is stored as it comes, unless the kind is a personal one.
identifiers = st.builds(
    lambda known, more: {**known, **more},
    st.fixed_dictionaries({"k": st.just("customer"), "v": plain})
    | st.fixed_dictionaries({"k": st.just("email") | texts, "v": texts}),
    _mapping(g=texts, j=texts, o=texts),
)
names = st.sampled_from(["page_view", "identify", "alias", "group", "reset", "link_confirm", "fingerprint"]) | texts
events = st.builds(
    lambda event, more: {**event, **more},
    st.fixed_dictionaries({"i": st.integers(1, 4_000).map(make_id), "n": names, "t": times}),
    _mapping(
        u=addresses,
        r=addresses,
        h=texts,
        p=st.dictionaries(texts, values, max_size=5),
        k=st.lists(identifiers, max_size=3),
        q=_seldom(values, else_=st.integers(0, 99)),
    ),
)
beacons = st.builds(
    lambda beacon, more: {**beacon, **more},
    st.fixed_dictionaries(
        {"v": st.just(1), "s": st.just("shop"), "st": st.just(NOW_MS), "e": st.lists(events, min_size=1, max_size=4)}
    ),
    _mapping(
        d=st.just(VISITOR) | ids,
        rf=ids,
        o=_seldom(st.integers(-(10**13), 10**13), else_=st.integers(-9_000, 9_000)),
        c=purposes,
        u=addresses,
        r=addresses,
        h=texts,
        l=st.sampled_from(["de-DE"]) | texts,
        z=st.sampled_from(["Europe/Berlin"]) | texts,
        w=st.sampled_from(["1280x720"]) | texts,
        x=st.fixed_dictionaries({"i": ids}, optional={"n": st.integers(-1, 2**33), "t": times}),
        b=_seldom(values, else_=st.integers(0, 3)),
        f=st.fixed_dictionaries(
            {"v": st.integers(1, 2)},
            optional={"s": st.dictionaries(st.sampled_from(["platform", "math"]) | texts, values, max_size=3)},
        ),
        lt=texts,
        ho=texts,
        hs=st.just("pointer") | texts,
        xl=st.integers(0, 2),
    ),
)


@settings(max_examples=200, deadline=None)
@given(beacons, st.sampled_from(["off", "implied", "required", "cookieless"]), st.sampled_from([CHROME, EMAIL, ""]))
def test_a_beacon_near_the_shape(beacon: dict[str, Any], consent: str, agent: str) -> None:
    """Accepted or refused: the line can be read again, is one line, and holds no canary. A refusal holds no event."""
    site = msgspec.structs.replace(SITE, consent=consent)
    answer = accept(msgspec.json.encode(beacon), make_context(site=site, user_agent=agent, day_salt=b"salt" * 8))
    line = read_line(answer)
    row = msgspec.json.decode(line, type=LandingRow)
    assert b"\n" not in line
    # A click id may look like a token: it is kept.
    text = re.sub(r'gclid=(?:\\.|[^"&\\])*', lambda found: found.group().replace(TOKEN, ""), line.decode())
    for trace in TRACES:
        assert trace not in text
    if isinstance(answer, Accepted):
        assert len(row.events) <= len(beacon["e"])
        assert len({event.event_id for event in row.events}) == len(row.events)
    else:
        assert row.events == []
        assert row.visitor_id == "00000000-0000-0000-0000-000000000000"


def test_the_random_beacons_are_near_enough() -> None:
    """Enough of them are kept, and enough refused: else the test above would see one side alone."""
    found = {"kept": 0, "refused": 0}

    @settings(max_examples=100, database=None, derandomize=True, deadline=None)
    @given(beacons)
    def count(beacon: dict[str, Any]) -> None:
        answer = accept(msgspec.json.encode(beacon), make_context())
        found["kept" if isinstance(answer, Accepted) and answer.events else "refused"] += 1

    count()
    assert found["kept"] >= 10
    assert found["refused"] >= 10


@settings(max_examples=250, deadline=None)
@given(texts | st.text(alphabet="a1@.%40[]eyJ-_Z9", max_size=80), st.sampled_from(["", ADDRESS]))
@example("a@b.cd@e.fg", "")
@example("eyJaaaaaaaa.b@c.de", "")
def test_a_clean_text_stays_as_it_is(text: str, address: str) -> None:
    """What is cleaned once is clean: nothing that was put together by a removal is taken for something else."""
    once = clean_text(text, address)
    assert clean_text(once, address) == once


@settings(max_examples=250, deadline=None)
@given(addresses, st.sampled_from(["", ADDRESS]))
def test_a_clean_address_stays_as_it_is(url: str, address: str) -> None:
    """The same for addresses, with their path and parameters; a space at the end, which no address has, may go."""
    once = clean_url(url, KEPT, address)
    assert clean_url(once, KEPT, address).count(REMOVED) == once.count(REMOVED)
    assert clean_url(once.strip(), KEPT, address) in {once.strip(), once.strip().partition("?")[0]}
    assert "#" not in once


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(texts, values, max_size=6))
def test_clean_properties_stay_as_they_are(props: dict[str, Any]) -> None:
    """The same for properties; and as many values are left as there were."""
    once = clean_props(props, ADDRESS)
    assert clean_props(once, ADDRESS) == once
    assert len(once) == len(props)


@pytest.mark.parametrize("canary", [EMAIL, JWT, TOKEN, ADDRESS])
def test_the_canaries_would_be_seen(canary: str) -> None:
    """Each canary, were it kept, would be found by its trace."""
    assert any(trace in canary for trace in TRACES)
    assert ORIGIN not in canary
