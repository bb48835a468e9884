"""Where a link may lead: nowhere but where a site of the space says, however the address is written."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.links.targets import add_token, find_target_site, is_safe_target, read_origin
from collector.sites.book import Site
from tests.edge_examples import SITE

OTHER = Site(site_id="blog", origins=("https://blog.example",), link_hosts=("shop.example", "landing.example"))
FOREIGN = Site(site_id="foreign", space_id="elsewhere", origins=("https://elsewhere.example",))
SITES = (OTHER, SITE, FOREIGN)

TRICKS = (
    *("//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example"),
    *("https:/evil.example", "https:///evil.example", "https://evil.example", "http:\\\\evil.example"),
    *("https://shop.example@evil.example", "https://shop.example:443@evil.example/", "https://a:b@shop.example/"),
    *(
        "https://shop.example\\@evil.example",
        "https://shop.example\\.evil.example",
        "https://evil.example\\shop.example",
    ),
    *("https://shop.example.evil.example", "https://evilshop.example", "https://shop.example%2eevil.example"),
    *("https://shop.example%00.evil.example", "https://shop.example%2f@evil.example", "https://%73hop.example/"),
    *("https://shop.example.", "https://shop.example./", "https://.shop.example/", "https://shop..example/"),
    *("https://SHOP.example/", "HTTPS://shop.example/", "https://ſhop.example/", "https://shop。example/"),
    *(
        "https://shöp.example/",
        "https://xn--shp-rna.example/",
        "https://shop.example:99999999/",
        "https://shop.example:/",
    ),
    *("https://shop.example:8443/", "https://shop.example:443/", "http://shop.example/", "https://shop.example :443/"),
    *("https://127.0.0.1/", "https://0x7f.1/", "https://2130706433/", "https://0177.0.0.1/", "https://[::1]/"),
    *("javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "mailto:a@b.example", "blob:x"),
    *("java\nscript:alert(1)", " https://shop.example/", "https://shop.example/ ", "https://shop.example/a b"),
    *("https://shop.example/\r\nset-cookie:a=b", "https://shop.example/\t", "https://shop.example/\x00"),
    *("https://shop.example/\\evil", "https://shop.example/é", "https://shop.example/?a=\u2028", "", "/offer", "offer"),
    "https://elsewhere.example/",
)


@pytest.mark.parametrize("target", TRICKS)
def test_nothing_leads_elsewhere(target: str) -> None:
    """However it is written: what is no plain address, or of no site of this space, is no target."""
    assert find_target_site(target, "main", SITES) is None


@pytest.mark.parametrize(
    ("target", "site_id"),
    [
        ("https://shop.example", "shop"),
        ("https://shop.example/", "shop"),
        ("https://shop.example?a=1", "shop"),
        ("https://shop.example#https://evil.example", "shop"),
        ("https://shop.example/@evil.example", "shop"),
        ("https://shop.example/?next=//evil.example", "shop"),
        ("https://www.shop.example/offer?a=1#top", "shop"),
        ("https://blog.example/x", "blog"),
        ("https://landing.example/x", "blog"),
    ],
)
def test_a_site_lets_links_lead_to_itself_and_its_hosts(target: str, site_id: str) -> None:
    """The site whose origin it is comes before one that only lists the host."""
    site = find_target_site(target, "main", SITES)
    assert site is not None
    assert site.site_id == site_id


def test_a_site_that_is_gone_leads_nowhere() -> None:
    """Deleted, it is on no list any more; a listed host is https alone."""
    assert find_target_site("https://shop.example/", "main", [msgspec.structs.replace(SITE, deleted=True)]) is None
    assert find_target_site("http://landing.example/", "main", SITES) is None


_PIECES = (*"/\\@:?#%.-[] \t\n\x00aé。ſ0", "shop.example", "evil.example")
_HOSTILE = st.lists(st.sampled_from(_PIECES), max_size=12).map("".join)


@given(st.sampled_from(["https://", "http://", "//", "https:", "https:/", ""]), _HOSTILE)
def test_a_safe_target_is_read_in_one_way(scheme: str, rest: str) -> None:
    """What is safe has the origin that stands at its front, and is printable ASCII without space or backslash."""
    url = scheme + rest
    origin = read_origin(url)
    assert is_safe_target(url) == (origin is not None)
    if origin is not None:
        assert url.startswith(origin)
        assert url[len(origin) :][:1] in ("", "/", "?", "#")
        assert "@" not in origin
        assert "\\" not in url
        assert url.isascii()
        assert url.isprintable()
        assert " " not in url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.example", "https://shop.example?lt=T"),
        ("https://shop.example/?lt=old&a=1", "https://shop.example/?a=1&lt=T"),
        ("https://shop.example/?a=1&&b=%2F#top", "https://shop.example/?a=1&b=%2F&lt=T#top"),
        ("https://shop.example/?alt=1", "https://shop.example/?alt=1&lt=T"),
    ],
)
def test_the_token_is_added(url: str, expected: str) -> None:
    """As the last parameter, in place of an earlier one, and the rest stays as it was."""
    assert add_token(url, "T") == expected
