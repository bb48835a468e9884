"""How kinds, captured cookies and issuers are written on the command line."""

from __future__ import annotations

import pytest

from collector.sites.book import CookieCapture, IdentifierKind, Issuer
from collector.sites.specs import read_capture_cookie, read_issuer, read_kind


def test_a_kind() -> None:
    """Name first, then what it is, in any order; the rank is its priority."""
    assert read_kind("customer:unique", 0) == IdentifierKind("customer", unique=True)
    assert read_kind("email:email:personal", 2) == IdentifierKind(
        "email", unique=False, personal=True, normaliser="email", priority=20
    )
    assert read_kind("login:unique:clear", 1) == IdentifierKind("login", unique=True, clear=True, priority=10)
    assert read_kind("phone:personal:phone=de", 0) == IdentifierKind(
        "phone", unique=False, personal=True, normaliser="phone", region="DE"
    )
    assert read_kind("phone:phone", 0).region == ""
    assert read_kind("card:visitors=7:values=3:priority=1", 4) == IdentifierKind(
        "card", unique=False, priority=1, max_visitors=7, max_per_person=3
    )
    for text, problem in (
        ("customer:number", "number is none of"),
        ("customer:unique=1", "unique takes no value"),
        ("customer:email:phone", "one form, not email and phone"),
        ("customer:visitors=many", "visitors takes a number"),
    ):
        with pytest.raises(ValueError, match=problem):
            read_kind(text, 0)


def test_a_captured_cookie() -> None:
    """Name, kind, and whether it is signed."""
    assert read_capture_cookie("uid") == CookieCapture("uid")
    assert read_capture_cookie("uid:member") == CookieCapture("uid", "member")
    assert read_capture_cookie("uid:member:signed") == CookieCapture("uid", "member", signed=True)
    for text in ("uid:member:maybe", "uid:member:signed:twice"):
        with pytest.raises(ValueError, match="COOKIE:KIND:signed"):
            read_capture_cookie(text)


def test_an_issuer() -> None:
    """Issuer and audience, then what differs from the defaults."""
    assert read_issuer("https://login.example, web") == Issuer("https://login.example", "web")
    text = "https://login.example,web,kind=member,claim=customer_no,jwks=https://login.example/keys"
    assert read_issuer(text) == Issuer(
        "https://login.example", "web", "member", "customer_no", "https://login.example/keys"
    )
    for text, problem in (
        ("https://login.example", "audience"),
        ("https://login.example,kind=member", "audience"),
        ("https://login.example,web,member", "none of kind="),
        ("https://login.example,web,kind=", "none of kind="),
        ("https://login.example,web,secret=x", "none of kind="),
    ):
        with pytest.raises(ValueError, match=problem):
            read_issuer(text)
