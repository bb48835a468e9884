"""Hand-over tokens: what they say, what they are bound to, and everything else that they are not."""

from __future__ import annotations

import string

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.handover import (
    CLOCK_SKEW_S,
    LIFETIME_S,
    TOKEN_CHARS,
    Handover,
    mint_handover,
    read_handover,
)
from collector.keyring import Key
from tests.edge_examples import ADDRESS, CHROME, KEYRING, NOW_S, VISITOR

TOKEN = mint_handover(KEYRING, "main", VISITOR, ADDRESS, CHROME, NOW_S, NOW_S - 90) or ""


def read(
    token: str = TOKEN,
    *,
    space: str = "main",
    address: str = ADDRESS,
    agent: str = CHROME,
    now_s: int = NOW_S,
) -> Handover | None:
    """Read the token as a collector does on arrival."""
    return read_handover(KEYRING, space, token, address, agent, now_s)


def test_a_token_says_who_left_and_when() -> None:
    """Visitor, time, start of the session, and an id; in 70 characters that need no escaping."""
    found = read()
    assert found is not None
    assert found[1:] == (VISITOR, NOW_S, NOW_S - 90)
    assert len(found.token_id) == 24
    assert len(TOKEN) == TOKEN_CHARS
    assert set(TOKEN) <= set(string.ascii_letters + string.digits + "-_")


def test_nobody_can_read_a_visitor_in_it() -> None:
    """The same visitor gives another token each time, and no part of its id stands in it."""
    other = mint_handover(KEYRING, "main", VISITOR, ADDRESS, CHROME, NOW_S, NOW_S - 90) or ""
    assert other != TOKEN
    second = read(other)
    assert second is not None
    assert second != read(), "ids differ"
    from base64 import urlsafe_b64decode
    from uuid import UUID

    assert UUID(VISITOR).bytes[:6] not in urlsafe_b64decode(TOKEN + "==")


@pytest.mark.parametrize(("seconds", "valid"), [(0, True), (LIFETIME_S, True), (LIFETIME_S + 1, False)])
def test_it_lives_for_five_minutes(seconds: int, valid: bool) -> None:
    """And is not believed from the future, but for what the clocks of two hosts may differ."""
    assert (read(now_s=NOW_S + seconds) is not None) is valid
    assert read(now_s=NOW_S - CLOCK_SKEW_S) is not None
    assert read(now_s=NOW_S - CLOCK_SKEW_S - 1) is None


def test_another_browser_address_or_space_cannot_use_it() -> None:
    """A planted token: made for one browser, opened in another."""
    assert read(agent=CHROME.replace("140", "141")) is None
    assert read(agent="") is None
    assert read(address="203.0.113.78") is None
    assert read(address="") is None
    assert read(address="2001:db8::1") is None
    assert read(space="other") is None


def test_of_ipv6_the_network_counts() -> None:
    """Browsers change the second half of their address at will; a mapped IPv4 address is one of IPv4."""
    token = mint_handover(KEYRING, "main", VISITOR, "2001:db8:1:2::1", CHROME, NOW_S) or ""
    assert read(token, address="2001:db8:1:2:ffff::9") is not None
    assert read(token, address="2001:db8:1:3::1") is None
    assert read(address=f"::ffff:{ADDRESS}") is not None


def test_without_a_binding_there_is_no_token() -> None:
    """No address or no browser's name: nothing to bind it to."""
    assert mint_handover(KEYRING, "main", VISITOR, "", CHROME, NOW_S) is None
    assert mint_handover(KEYRING, "main", VISITOR, "unix", CHROME, NOW_S) is None
    assert mint_handover(KEYRING, "main", VISITOR, ADDRESS, "", NOW_S) is None


def test_parts_of_the_binding_cannot_be_moved_into_each_other() -> None:
    """Space and browser's name are told apart by their lengths."""
    token = mint_handover(KEYRING, "ab", VISITOR, ADDRESS, "c", NOW_S) or ""
    assert read(token, space="ab", agent="c") is not None
    assert read(token, space="a", agent="bc") is None


def test_keys_rotate() -> None:
    """A token of the key before is valid; one of a key that is gone is not."""
    older = msgspec.structs.replace(KEYRING, cookie_keys=KEYRING.cookie_keys[1:])
    token = mint_handover(older, "main", VISITOR, ADDRESS, CHROME, NOW_S) or ""
    assert read(token) is not None
    gone = msgspec.structs.replace(KEYRING, cookie_keys=[Key("c9", "another" * 9)])
    assert read_handover(gone, "main", token, ADDRESS, CHROME, NOW_S) is None


def test_a_session_in_the_future_is_not_known() -> None:
    """When a session began is the browser's word; what cannot be is left out."""
    for began_s in (0, -5, NOW_S + 1):
        found = read(mint_handover(KEYRING, "main", VISITOR, ADDRESS, CHROME, NOW_S, began_s) or "")
        assert found is not None
        assert found.session_started_s == 0


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=120) | st.text(string.ascii_letters + string.digits + "-_", min_size=68, max_size=72))
def test_any_text_is_refused(text: str) -> None:
    """Whatever stands in the address is no token of ours, and no exception."""
    assert read(text) is None
    assert read(text, address=text, agent=text, space=text) is None


@settings(max_examples=300, deadline=None)
@given(st.integers(0, TOKEN_CHARS - 1), st.sampled_from(string.ascii_letters + string.digits + "-_=+/. é"))
def test_no_character_can_be_changed(place: int, character: str) -> None:
    """Not even in what base64 would not notice: a token has one spelling."""
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    assert (read(changed) is None) is (changed != TOKEN)
