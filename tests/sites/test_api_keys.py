"""API keys without a store: what a key's text opens, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from collector.keyring import Keyring, make_keyring
from collector.sites.book import ApiKey, Site, SiteBook
from collector.sites.keys import KeyUses, hash_key, verify_key

NOW = 1_790_000_000_000
TEXT = "ts_0123456789ab_secret-with_under_scores"
EARLIER = "ts_0123456789ab_earlier"


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    """Secrets of an instance."""
    return make_keyring()


def make_book(keyring: Keyring, **settings: Any) -> SiteBook:
    """Return a book with two spaces, three sites and one key."""
    values: dict[str, Any] = {"key_id": "0123456789ab", "hash": hash_key(keyring, TEXT), "scopes": ("read",)}
    key = ApiKey(**(values | settings))
    sites = (Site("shop"), Site("blog"), Site("other", space_id="other"), Site("gone", deleted=True))
    return SiteBook({site.site_id: site for site in sites}, {key.key_id: key}, NOW)


def test_a_key_opens_what_its_scope_says(keyring: Keyring) -> None:
    """Its own scope, every site of its space, and questions without a site."""
    book = make_book(keyring)
    for site_id in ("", "shop", "blog"):
        assert verify_key(book, keyring, TEXT, "read", site_id, now_ms=NOW) is book.keys["0123456789ab"]


@pytest.mark.parametrize(
    ("text", "scope", "site_id"),
    [
        (TEXT, "write", "shop"),
        (TEXT, "read", "other"),
        (TEXT, "read", "gone"),
        (TEXT, "read", "nowhere"),
        (TEXT + "x", "read", "shop"),
        (TEXT[:-1], "read", "shop"),
        (TEXT.replace("ts_", "xx_"), "read", "shop"),
        ("ts_ffffffffffff_secret", "read", "shop"),
        ("ts_0123456789ab_", "read", "shop"),
        ("ts_0123456789ab", "read", "shop"),
        ("", "read", "shop"),
        ("ts_0123456789ab_" + "x" * 10_000, "read", "shop"),
        ("ts_0123456789ab_\ud800\x00é", "read", "shop"),
    ],
)
def test_a_key_opens_nothing_else(keyring: Keyring, text: str, scope: str, site_id: str) -> None:
    """Another scope, another space, another secret, another form: all the same no."""
    assert verify_key(make_book(keyring), keyring, text, scope, site_id, now_ms=NOW) is None


def test_a_key_of_one_site_serves_that_site_only(keyring: Keyring) -> None:
    """The other site of the same space is closed to it."""
    book = make_book(keyring, site_id="shop")
    assert verify_key(book, keyring, TEXT, "read", "shop", now_ms=NOW)
    assert verify_key(book, keyring, TEXT, "read", "blog", now_ms=NOW) is None


def test_a_key_ends_at_its_time(keyring: Keyring) -> None:
    """Valid one millisecond before, refused from then on."""
    book = make_book(keyring, expires_at_ms=NOW)
    assert verify_key(book, keyring, TEXT, "read", now_ms=NOW - 1)
    assert verify_key(book, keyring, TEXT, "read", now_ms=NOW) is None


def test_a_revoked_key_opens_nothing(keyring: Keyring) -> None:
    """Neither its secret nor the one before it."""
    book = make_book(
        keyring, revoked_at_ms=NOW - 1, previous_hash=hash_key(keyring, EARLIER), previous_until_ms=NOW + 1
    )
    assert verify_key(book, keyring, TEXT, "read", now_ms=NOW) is None
    assert verify_key(book, keyring, EARLIER, "read", now_ms=NOW) is None


def test_after_a_rotation_both_secrets_open_until_the_grace_is_over(keyring: Keyring) -> None:
    """The earlier one ends to the millisecond, the new one stays."""
    book = make_book(keyring, previous_hash=hash_key(keyring, EARLIER), previous_until_ms=NOW)
    assert verify_key(book, keyring, EARLIER, "read", now_ms=NOW - 1)
    assert verify_key(book, keyring, EARLIER, "read", now_ms=NOW) is None
    assert verify_key(book, keyring, TEXT, "read", now_ms=NOW)


def test_no_earlier_secret_is_no_secret(keyring: Keyring) -> None:
    """A key that was never rotated has no second text that opens it."""
    book = make_book(keyring, hash="", previous_until_ms=NOW + 1)
    assert verify_key(book, keyring, TEXT, "read", now_ms=NOW) is None


def test_a_stored_digest_is_of_no_use_to_another_instance(keyring: Keyring) -> None:
    """The digest is keyed: other secrets, other digest."""
    assert hash_key(keyring, TEXT) != hash_key(make_keyring(), TEXT)
    assert len(hash_key(keyring, TEXT)) == 64


def test_uses_are_written_once_a_minute() -> None:
    """A thousand uses in a minute are one row; the next minute is another."""
    uses = KeyUses()
    for n in range(1_000):
        uses.note("a", NOW + n)
    assert uses.take() == {"a": NOW - NOW % 60_000}
    uses.note("a", NOW + 1)
    assert uses.take() == {}
    uses.note("a", NOW + 60_000)
    assert list(uses.take().values()) == [NOW + 60_000 - NOW % 60_000]
