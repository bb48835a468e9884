"""Making links: what is refused and with which word, and that a token says what it was made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collector.errors import LinkError
from collector.identity.identifiers import PSEUDONYM
from collector.keyring import make_keyring
from collector.links.minting import LinkMaker, Mailing, find_kinds, mint_link
from collector.links.token import LASTING, LinkKind, LinkToken, read_link
from collector.sites.book import DEFAULT_KINDS, IdentifierKind, Site, SiteBook

KEYRING = make_keyring()
NOW_S = 1_800_000_000
ADDRESSES = DEFAULT_KINDS[1]


def read(text: str) -> LinkToken:
    """Return what a token says."""
    token = read_link(KEYRING, text, NOW_S)
    assert isinstance(token, LinkToken)
    return token


@settings(max_examples=150)
@given(st.text(max_size=140), st.sampled_from(list(LinkKind)), st.booleans())
@example("anna@mail.example", LinkKind.MESSAGE, False)
@example("anna%40mail.example", LinkKind.MESSAGE, True)
@example("0b1c.0123456789abcdef0123456789abcdef", LinkKind.RECIPIENT, False)
def test_a_reference_is_refused_or_comes_back(reference: str, kind: LinkKind, sealed: bool) -> None:
    """Whatever a list holds; and no address ever stands in a token."""
    maker = LinkMaker(KEYRING, Mailing(kind=kind, sealed=sealed), NOW_S)
    try:
        token = read(maker.make(reference))
    except LinkError:
        with pytest.raises(LinkError):
            maker.name_reference(reference)
        return
    assert token.reference == maker.name_reference(reference)
    assert "@" not in token.reference
    assert (token.kind, token.expires_s == 0) == (kind, kind in LASTING)


@given(st.emails())
def test_addresses_become_pseudonyms(address: str) -> None:
    """The same for each spelling of one address, and none of it in the token."""
    maker = LinkMaker(KEYRING, Mailing(identifier_kind=ADDRESSES), NOW_S)
    try:
        token = read(maker.make(f" {address} "))
    except LinkError:
        with pytest.raises(LinkError):
            maker.make(address)
        return
    assert token.is_pseudonym
    assert PSEUDONYM.fullmatch(token.reference)
    assert token.reference == read(maker.make(address)).reference


@pytest.mark.parametrize(
    ("reference", "word"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("null", "nobody"),
        ("0", "nobody"),
        ("guest", "nobody"),
        ("a@b.example", "email"),
        ("x" * 129, "length"),
        ("a\nb", "value"),
    ],
)
def test_refused_references(reference: str, word: str) -> None:
    """Each with its word."""
    with pytest.raises(LinkError) as caught:
        mint_link(KEYRING, reference, now_s=NOW_S)
    assert caught.value.refusal == word


@pytest.mark.parametrize(
    ("mailing", "word"),
    [
        ({"campaign": "x" * 65}, "label"),
        ({"message": "a\nb"}, "label"),
        ({"link": "x@y"}, "label"),
        ({"days": 0}, "value"),
        ({"days": 3661}, "value"),
        ({"days": float("nan")}, "value"),
        ({"kind": LinkKind.RECIPIENT, "campaign": "c"}, "value"),
        ({"kind": LinkKind.RECIPIENT, "link": "top"}, "value"),
        ({"target": "https://shop.example@evil.example/"}, "target"),
        ({"target": "//evil.example"}, "target"),
        ({"sent_at_s": 1}, "value"),
        ({"sent_at_s": 10 * NOW_S}, "value"),
    ],
)
def test_refused_mailings(mailing: dict[str, Any], word: str) -> None:
    """What all links share is refused before the first of them."""
    with pytest.raises(LinkError) as caught:
        LinkMaker(KEYRING, Mailing(**mailing), NOW_S)
    assert caught.value.refusal == word


def test_refused_for_one() -> None:
    """A link's own name, target or consent; the next one is made all the same."""
    maker = LinkMaker(KEYRING, Mailing(), NOW_S)
    for own, word in (({"link": "x@y"}, "label"), ({"target": "ftp://x"}, "target"), ({"consent": "z"}, "value")):
        with pytest.raises(LinkError) as caught:
            maker.make("4711", **own)
        assert caught.value.refusal == word
    with pytest.raises(LinkError, match="kept for all links"):
        LinkMaker(KEYRING, Mailing(kind=LinkKind.RECIPIENT), NOW_S).make("4711", link="top")
    with pytest.raises(LinkError, match="shorten the target"):
        maker.make("4711", target=f"https://shop.example/{'x' * 1200}")
    assert read(maker.make("4711", link="own", target="https://shop.example/")).link == "own"


def test_ids_are_never_the_same() -> None:
    """Also where a maker has used up what it drew at once."""
    maker = LinkMaker(KEYRING, Mailing(campaign="c"), NOW_S)
    tokens = [maker.make("4711") for _ in range(5_000)]
    assert len({token.split(".")[1] for token in tokens}) == 5_000


def test_kinds_of_a_space() -> None:
    """Of its sites that are there, the most important first."""
    club = (IdentifierKind(name="member", priority=1), *DEFAULT_KINDS)
    sites = (Site("a"), Site("b", kinds=club), Site("c", space_id="north", kinds=club[:1]), Site("d", deleted=True))
    book = SiteBook(sites={site.site_id: site for site in sites})
    assert [kind.name for kind in find_kinds(book, "main")] == ["customer", "member", "email"]
    assert [kind.name for kind in find_kinds(book, "north")] == ["member"]
    assert find_kinds(book, "south") == list(DEFAULT_KINDS)
