"""Tokens of tagged links: minted, read, and refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import LinkError
from collector.keyring import LinkKey
from collector.links.minting import mint_link
from collector.links.targets import add_token, is_safe_target
from collector.links.token import (
    MAX_TOKEN_CHARS,
    LinkKind,
    LinkProblem,
    LinkToken,
    read_link,
)
from collector.sites.book import IdentifierKind
from tests.edge_examples import KEYRING, NOW_S


def _mint(value: str = "4711", **changes: Any) -> str:
    return mint_link(KEYRING, value, **{"now_s": NOW_S, **changes})


def _read(token: str, now_s: int = NOW_S) -> LinkToken | LinkProblem:
    return read_link(KEYRING, token, now_s)


def test_what_goes_in_comes_out() -> None:
    """Every part of a token survives the round."""
    token = _mint(
        campaign="spring",
        message="m-7",
        link="button",
        identifier_kind=IdentifierKind("loyalty"),
        space_id="eu",
        days=2,
        target="https://a.example/x",
        consent="im",
        is_test=True,
    )
    link = _read(token)
    assert isinstance(link, LinkToken)
    assert link == LinkToken(
        kind=LinkKind.MESSAGE,
        key_id="b2c4",
        token_id=link.token_id,
        reference="4711",
        issued_s=NOW_S // 60 * 60,
        expires_s=NOW_S // 60 * 60 + 172_800,
        campaign="spring",
        message="m-7",
        link="button",
        identifier_kind="loyalty",
        consent="im",
        is_test=True,
        space_id="eu",
        target="https://a.example/x",
    )


def test_defaults_are_not_written() -> None:
    """A plain token reads back with the defaults, and is short enough for a text message."""
    token = _mint(campaign="spring")
    link = _read(token)
    assert isinstance(link, LinkToken)
    assert (link.identifier_kind, link.space_id, link.target, link.message) == ("customer", "main", "", "")
    assert len(token) < 80
    assert len(_mint("C-1234567", campaign="spring-2026", message="newsletter-1", link="hero")) < 100
    assert len(_mint("C-1234567", campaign="spring-2026", message="newsletter-1", link="hero", sealed=True)) < 120


def test_a_token_survives_in_an_address() -> None:
    """It has only characters that mail programs and browsers leave alone."""
    assert set(_mint(campaign="Frühling & Co")) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    )


def test_each_token_has_its_own_id() -> None:
    """Two tokens with the same contents can be told apart, and revoked apart."""
    first, second = _read(_mint()), _read(_mint())
    assert isinstance(first, LinkToken)
    assert isinstance(second, LinkToken)
    assert first.token_id != second.token_id


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        ("joe@shop.example", {}),
        ("", {}),
        ("  ", {}),
        ("null", {}),
        ("x" * 129, {}),
        ("a\nb", {}),
        ("4711", {"campaign": "to:joe@shop.example"}),
        ("4711", {"campaign": "x" * 65}),
        ("4711", {"message": "a\tb"}),
        ("4711", {"days": 0}),
        ("4711", {"days": 100_000}),
        ("4711", {"target": "//evil.example"}),
        ("4711", {"target": "javascript:alert(1)"}),
        ("4711", {"target": "https://shop.example/" + "".join(map(str, range(800)))}),
    ],
)
def test_what_is_not_minted(value: str, changes: dict[str, Any]) -> None:
    """No e-mail address, no nobody, no unsafe target, no overlong token; the message says which."""
    with pytest.raises(LinkError, match=r"must|looks like|characters|no reference|names nobody|cannot be used"):
        _mint(value, **changes)


def test_the_token_holds_no_more_than_it_says() -> None:
    """The readable part is what was given, in minutes and plain words."""
    _, _, *fields, _ = _mint(campaign="spring").split(".")
    assert fields == ["4711", "ht7ui", "2s00", "spring"]


def test_expiry() -> None:
    """A token ends at its time, and still tells its target."""
    token = _mint(days=1, target="https://a.example/")
    assert isinstance(_read(token, NOW_S // 60 * 60 + 86_399), LinkToken)
    late, early = _read(token, NOW_S + 86_400), _read(token, NOW_S - 120)
    assert isinstance(late, LinkProblem)
    assert late.token is not None
    assert (late.reason, late.token.target) == ("expired", "https://a.example/")
    assert isinstance(early, LinkProblem)
    assert early.reason == "early", "made in the future"
    assert isinstance(_read(token, NOW_S - 60), LinkToken), "clocks may differ by a minute"


def test_rotation() -> None:
    """A token of the key before is read while that key is kept, and not after; the newest signs."""
    earlier = msgspec.structs.replace(KEYRING, link_keys=KEYRING.link_keys[1:])
    token = mint_link(earlier, "4711", now_s=NOW_S)
    assert token.startswith("ma1b3.")
    assert _mint().startswith("mb2c4.")
    assert isinstance(_read(token), LinkToken)
    assert read_link(earlier, _mint(), NOW_S) == LinkProblem("forged")


def test_forgeries() -> None:
    """Another key under a known id, another key's id, a cookie's salt, cut and oversize tokens: all forged."""
    stranger = msgspec.structs.replace(KEYRING, link_keys=[LinkKey("b2c4", "stranger" * 8)])
    key_id, rest = _mint().split(".", 1)
    payload, _, signature = rest.rpartition(".")
    for token in (
        mint_link(stranger, "4711", now_s=NOW_S),
        f"ma1b3.{payload}.{signature}",
        f"{key_id}.{payload}",
        f"{key_id}.{payload}.",
        f"{payload}.{signature}",
        f"{key_id}.{payload[:-2]}.{signature}",
        "",
        ".",
        "...",
        "x" * (MAX_TOKEN_CHARS + 1),
        "ü" * 50,
        *(
            f"{key_id}.{payload}.{signature}{tail}"
            for tail in ("=", "=&a=1", "=#a", "\r\n", "=\r\nset-cookie: a", "é", " ")
        ),
        f"{key_id}.\n{payload}.{signature}",
    ):
        assert _read(token) == LinkProblem("forged"), token


def test_malleable_forms_are_one_token() -> None:
    """The same token can be written in several ways; its id tells that it is one."""
    token = _mint()
    first, second = _read(token), _read(token + "=")
    assert isinstance(first, LinkToken)
    assert second in (first, LinkProblem("forged"))


@given(st.text(max_size=300))
def test_any_text_gets_an_answer(text: str) -> None:
    """No text breaks the reading."""
    assert _read(text).__class__ is LinkProblem
    assert _read(f"mb2c4.{text}").__class__ is LinkProblem


@pytest.mark.parametrize(
    ("url", "with_token"),
    [
        ("https://shop.example/offer", "https://shop.example/offer?lt=T"),
        ("https://shop.example/offer?a=1&b=%20#part", "https://shop.example/offer?a=1&b=%20&lt=T#part"),
        ("https://shop.example", "https://shop.example?lt=T"),
        ("https://shop.example/?lt=old", "https://shop.example/?lt=T"),
        ("https://shop.example/?a=1&&lt=&b=2", "https://shop.example/?a=1&b=2&lt=T"),
    ],
)
def test_adding_the_token(url: str, with_token: str) -> None:
    """Everything else of the address stays as it was."""
    assert add_token(url, "T") == with_token


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://shop.example/a?b=c#d", True),
        ("http://localhost:8000/demo", True),
        ("https://xn--bcher-kva.example/", True),
        ("//evil.example", False),
        ("/offer", False),
        ("https:evil.example", False),
        ("https:/evil.example", False),
        ("https:///evil.example", False),
        ("https:\\\\evil.example", False),
        ("https://shop.example\\@evil.example", False),
        ("https://shop.example@evil.example", False),
        ("https://joe:secret@shop.example/", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("ftp://shop.example/", False),
        ("https://shop.example/\r\nset-cookie: a=b", False),
        ("https://shop.example/\t", False),
        ("https://shop.example/a b", False),
        ("https://shop。example/", False),
        ("https://shop.example:port/", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://.example/", False),
        ("", False),
        ("https://shop.example/" + "x" * 3000, False),
    ],
)
def test_safe_targets(url: str, is_safe: bool) -> None:
    """Absolute http and https with a plain host; nothing that browsers read differently than we do."""
    assert is_safe_target(url) is is_safe
