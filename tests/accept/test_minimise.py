"""Addresses and texts: what is kept, and what nobody asked for and must not be kept."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import msgspec
import pytest

from collector.accept.minimise import CAMPAIGN_PARAMETERS, CLICK_IDS, REMOVED, clean_props, clean_text, clean_url
from collector.metrics import read_totals
from tests.edge_examples import ADDRESS, ORIGIN, SITE, make_body, make_context, make_event, take

KEPT = CAMPAIGN_PARAMETERS | CLICK_IDS
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
TOKEN = "k3Jf9Qz1Lm8Tx2Vb7Rc4Wd6Ys5Ng0Hp3"
UUID = "4f6d2c1e-8a3b-4c5d-9e7f-0a1b2c3d4e5f"
CLICK_ID = "Cj0KCQjw5oiMBhDtARIsAJi0qk1vPb2oN3xQ7zT9yL4mK8wE6rU5sD1fG"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://shop.example/", "https://shop.example/"),
        ("https://shop.example", "https://shop.example/"),
        ("HTTPS://Shop.Example:8443/A/b", "https://shop.example:8443/A/b"),
        ("https://shop.example/a#token=secret", "https://shop.example/a"),
        ("https://shop.example/a?q=shoes&utm_source=mail#x", "https://shop.example/a?utm_source=mail"),
        (
            "https://shop.example/?utm_source=a&utm_campaign=b%20c",
            "https://shop.example/?utm_source=a&utm_campaign=b%20c",
        ),
        (f"https://shop.example/?gclid={CLICK_ID}", f"https://shop.example/?gclid={CLICK_ID}"),
        ("https://shop.example/?gclid=joe@example.com", "https://shop.example/?gclid=[removed]"),
        ("https://shop.example/?utm_content=joe%40example.com", "https://shop.example/?utm_content=[removed]"),
        ("https://shop.example/?utm_content=joe%2540example.com", "https://shop.example/?utm_content=[removed]"),
        (f"https://shop.example/?utm_term={JWT}", "https://shop.example/?utm_term=[removed]"),
        (f"https://shop.example/?utm_term={TOKEN}", "https://shop.example/?utm_term=[removed]"),
        ("https://shop.example/?lt=abc.def.ghi&utm_source=x", "https://shop.example/?utm_source=x"),
        ("https://shop.example/?utm_source", "https://shop.example/"),
        ("https://joe:secret@shop.example/a", "https://shop.example/a"),
        ("https://shop.example/u/joe@example.com/orders", "https://shop.example/u/[removed]/orders"),
        ("https://shop.example/u/joe%40example.com/orders", "https://shop.example/u/[removed]/orders"),
        ("https://shop.example/u/joe%2540example.com", "https://shop.example/u/[removed]"),
        (f"https://shop.example/reset/{TOKEN}", "https://shop.example/reset/[removed]"),
        (f"https://shop.example/reset/{'0a1b' * 10}", "https://shop.example/reset/[removed]"),
        (f"https://shop.example/p/{UUID}", f"https://shop.example/p/{UUID}"),
        (f"https://shop.example/p/order-{UUID}", f"https://shop.example/p/order-{UUID}"),
        (
            "https://shop.example/the-20-best-running-shoes-of-2026-for-wide-feet",
            "https://shop.example/the-20-best-running-shoes-of-2026-for-wide-feet",
        ),
        ("https://shop.example/%E6%9D%B1%E4%BA%AC", "https://shop.example/%E6%9D%B1%E4%BA%AC"),
        (f"https://shop.example/ip/{ADDRESS}", "https://shop.example/ip/[removed]"),
        ("android-app://com.google.android.gm/", "android-app://com.google.android.gm/"),
        ("/relative?q=1", ""),
        ("javascript:alert(1)", ""),
        ("data:text/html,hello", ""),
        ("about:blank", ""),
        ("https://", ""),
        ("https://bad host/", ""),
        ("https://shop.example\\@evil.example/", "https://shop.example/@evil.example/"),
        ("ht\ntps://shop.example/", "https://shop.example/"),
    ],
)
def test_addresses(url: str, kept: str) -> None:
    """An address keeps origin, path and the listed parameters, and nothing that tells who somebody is."""
    assert clean_url(url, KEPT, ADDRESS) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Shoes", "Shoes"),
        ("Welcome joe.doe+shop@mail.example.com!", "Welcome [removed]!"),
        ("a@b", "a@b"),
        ("Jörg@bücher.example", "[removed]"),
        (f"token {JWT} here", "token [removed] here"),
        (f"id={TOKEN};", "id=[removed];"),
        (f"order {UUID}", f"order {UUID}"),
        ("Donaudampfschifffahrtsgesellschaftskapitän", "Donaudampfschifffahrtsgesellschaftskapitän"),
        ("The-Twenty-Best-Running-Shoes-Of-2026", "The-Twenty-Best-Running-Shoes-Of-2026"),
        (f"from {ADDRESS}", "from [removed]"),
        ("a\x00b\x1b[31mc\r\nd\u2028e", "a b [31mc d e"),
        ("", ""),
    ],
)
def test_texts(text: str, kept: str) -> None:
    """Titles and values lose what looks like an address or a token, and control characters, and keep the rest."""
    assert clean_text(text, ADDRESS) == kept


def test_properties_at_any_depth() -> None:
    """Keys and values are cleaned at every level; numbers, truth values and null stay."""
    assert clean_props({"a": {"b": ["joe@x.example", {"c": JWT}, [TOKEN], 1, None, True]}, "joe@x.example": 2.5}) == {
        "a": {"b": ["[removed]", {"c": "[removed]"}, ["[removed]"], 1, None, True]},
        "[removed]": 2.5,
    }


def test_keys_never_stand_for_one_path_twice() -> None:
    """ClickHouse takes `a.b` and `a: {b}` for the same path and refuses the row; so dots go, and nothing is lost."""
    assert clean_props({"a.b": 1, "a": {"b": 2}, "a_b": 3, "x@y.example": 4, "z@y.example": 5}) == {
        "a_b": 1,
        "a": {"b": 2},
        "a_b_2": 3,
        "[removed]": 4,
        "[removed]_2": 5,
    }


def test_many_keys_may_fall_together() -> None:
    """Every value keeps a key of its own and a short one, also where other keys look like those that are made."""
    props = {"".join(parts): number for number, parts in enumerate(product("._", repeat=8))}
    cleaned = clean_props({"a_2": -1, "a.2": -2, **props})
    assert len(cleaned) == len(props) + 2
    assert max(map(len, cleaned)) <= len("________") + len("_256")


def test_a_path_of_very_many_parts_is_judged_by_its_last_as_one() -> None:
    """What stands behind the 32nd part is looked at in one piece, and nothing of it is kept where it tells too much."""
    deep = "https://shop.example" + "/%20" * 100
    assert clean_url(deep, KEPT) == deep
    told = clean_url(f"{deep}/joe%40shop.example/x", KEPT)
    assert told.endswith("/[removed]")
    assert "joe" not in told


def test_a_site_names_further_parameters() -> None:
    """A site's own parameters are kept, the link's token not even then."""
    site = msgspec.structs.replace(SITE, url_parameters=("page", "lt"))
    body = make_body(u="https://shop.example/list?page=2&lt=abc&sort=up", r="https://news.example/?page=3&q=x")
    _, row = take(body, make_context(site=site))
    assert row.events[0].url == "https://shop.example/list?page=2"
    assert row.events[0].referrer == "https://news.example/?page=3"


def test_an_event_has_its_own_address_where_it_differs() -> None:
    """Address, referrer and title come from the event, else from the envelope."""
    body = make_body(
        make_event(1),
        make_event(2, u="https://shop.example/b?x=1", r="https://shop.example/a", h="B"),
        u="https://shop.example/a",
        r="https://search.example/?q=shoes",
        h="A",
    )
    _, row = take(body)
    assert [(event.url, event.referrer, event.title) for event in row.events] == [
        ("https://shop.example/a", "https://search.example/", "A"),
        ("https://shop.example/b", "https://shop.example/a", "B"),
    ]


@pytest.mark.parametrize("size", [1_000, 8_000])
@pytest.mark.parametrize(
    "piece", ["a@", "eyJ.", "a%40", "a1", "%25", "@.", "-", "x.", "joe@x.", "eyJ", "_eyJ", "1", "a@b", "[]", "a%40b."]
)
def test_hostile_texts_cost_little(piece: str, size: int) -> None:
    """Time grows with the length of a text and no faster: else this test would not end."""
    text = piece * (size // len(piece))
    for _ in range(20):
        clean_text(text, ADDRESS)
        clean_url(f"https://shop.example/{text}?utm_source={text}", KEPT, ADDRESS)


def test_this_machines_own_address_stays() -> None:
    """On a site that is tried out on this machine, the page before keeps its host, and so its channel."""
    page = "http://127.0.0.1:8000/"
    site = msgspec.structs.replace(SITE, origins=("http://127.0.0.1:8000",))
    context = make_context(site=site, address="127.0.0.1", origin="http://127.0.0.1:8000")
    _, row = take(make_body(u=page, r=page), context)
    assert (row.events[0].url, row.events[0].referrer) == (page, page)


def test_the_tag_knows_the_click_ids_that_are_kept() -> None:
    """Whatever the collector keeps as a click id begins a session and a touch in the tag too."""
    source = (Path(__file__).parents[2] / "tag_js" / "src" / "campaign.ts").read_text(encoding="utf-8")
    found = re.search(r"CLICK_ID = /(.*)/;", source)
    assert found is not None
    assert [name for name in CLICK_IDS if not re.search(found.group(1), name)] == []


def test_what_is_removed_is_counted_by_place() -> None:
    """Each value that becomes `[removed]` counts once, where it stood; what a page itself wrote so does not."""
    before = read_totals().counters.get("removed_values", {})
    event = make_event(n="anna@mail.example", u=f"{ORIGIN}/anna@mail.example/{TOKEN}", p={"a": [TOKEN, REMOVED, 1]})
    take(make_body(event, h="anna@mail.example and bert@mail.example", r=f"{ORIGIN}/?secret=1"))
    after = read_totals().counters["removed_values"]
    counted = {place: after[place] - before.get(place, 0) for place in after if after[place] != before.get(place, 0)}
    assert counted == {"name": 1, "url": 2, "properties": 1, "title": 2}
