"""API keys: made once, shown once, stored as a keyed digest, checked at every use.

Form: `ts_<key id>_<secret>`, 256 random bits behind an id of 48. A scope says what a key may do:

    read             ask for sites and reports
    write            change customer records, run imports
    profile:read     ask who somebody is: profiles, personal values masked
    profile:write    correct traits of profiles
    pii:read         with profile:read: see personal values in clear
    audience:read    hear who enters and leaves audiences
    export           fetch who is in an audience, page by page
    track            send events from a server
    identify-server  name customers from a server (level 4): attach visitors to them, never make one customer of two
    merge            say that two customers are one
    pages            see the live page and the metrics from elsewhere
    repair           see why somebody is who they are, and change it: merge, split, retract, block, undo
    links            make tagged links

Signing secrets of sites (scope `identify`) are no keys of this kind: they are derived, see `rows`.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from collector.errors import ConfigError
from collector.keyring import Keyring
from collector.sites.book import DEFAULT_SPACE, ApiKey, SiteBook
from collector.sites.rows import find_site, read_keys, write_key
from collector.store.client import StoreClient

REPAIR_SCOPE = "repair"
LINKS_SCOPE = "links"
PROFILE_READ, PROFILE_WRITE, PII_READ = "profile:read", "profile:write", "pii:read"
AUDIENCE_READ = "audience:read"
EXPORT = "export"
PRIVACY_SCOPE = "privacy"
OF_A_SPACE = frozenset((PRIVACY_SCOPE, REPAIR_SCOPE, PROFILE_READ, PROFILE_WRITE, PII_READ, AUDIENCE_READ, EXPORT))
"""Scopes for a whole space: its sites share their people."""
SCOPES = (
    *("read", "write", PROFILE_READ, PROFILE_WRITE, PII_READ, AUDIENCE_READ, EXPORT),
    *("track", "identify-server", "merge", "pages", REPAIR_SCOPE, LINKS_SCOPE, PRIVACY_SCOPE),
)
PREFIX = "ts"
GRACE_MS = 24 * 3_600_000
USE_INTERVAL_MS = 60_000
MAX_KEY_CHARS = 200


def create_key(
    client: StoreClient,
    keyring: Keyring,
    *,
    scopes: Sequence[str],
    now_ms: int,
    site_id: str = "",
    space_id: str = DEFAULT_SPACE,
    name: str = "",
    expires_at_ms: int = 0,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its text, which nobody can show again.

    With a site the key is bound to it and to its space. Raises ConfigError for a scope that does not exist or is for
    whole spaces alone, a site that does not exist or a time that is over.
    """
    if not scopes:
        raise ConfigError("scope", "key", f"a key needs one or more of {', '.join(SCOPES)}")
    for scope in scopes:
        if scope not in SCOPES:
            raise ConfigError("scope", "key", f"{scope!r} is none of {', '.join(SCOPES)}")
    if expires_at_ms and expires_at_ms <= now_ms:
        raise ConfigError("expires", "key", "lies in the past")
    if site_id:
        if shared := sorted(OF_A_SPACE.intersection(scopes)):
            raise ConfigError("site", "key", f"scope {shared[0]} is for a whole space, whose sites share their people")
        space_id = find_site(client, site_id).space_id
    key_id = secrets.token_hex(6)
    text = _make_text(key_id)
    key = ApiKey(
        key_id=key_id,
        hash=hash_key(keyring, text),
        space_id=space_id,
        site_id=site_id,
        scopes=tuple(sorted(set(scopes))),
        name=name,
        created_at_ms=now_ms,
        expires_at_ms=expires_at_ms,
    )
    return write_key(client, key), text


def rotate_key(
    client: StoreClient, keyring: Keyring, key_id: str, *, now_ms: int, grace_ms: int = GRACE_MS
) -> tuple[ApiKey, str]:
    """Give a key a new secret and return both. The earlier secret is valid for `grace_ms` more.

    Raises ConfigError where there is no such key, or it is revoked or expired.
    """
    key = find_key(client, key_id)
    if not is_in_force(key, now_ms):
        raise ConfigError("key", f"key {key_id}", "is revoked or expired: create a new one")
    text = _make_text(key_id)
    rotated = msgspec.structs.replace(
        key, hash=hash_key(keyring, text), previous_hash=key.hash, previous_until_ms=now_ms + grace_ms
    )
    return write_key(client, rotated), text


def revoke_key(client: StoreClient, key_id: str, *, now_ms: int) -> ApiKey:
    """Revoke a key, its earlier secret included: refused from each web process's next poll on. Twice is no error."""
    key = find_key(client, key_id)
    if key.revoked_at_ms:
        return key
    return write_key(client, msgspec.structs.replace(key, revoked_at_ms=now_ms, previous_hash="", previous_until_ms=0))


def find_key(client: StoreClient, key_id: str) -> ApiKey:
    """Return the key. Raises ConfigError where there is none."""
    for key in read_keys(client):
        if key.key_id == key_id:
            return key
    raise ConfigError("key", f"key {key_id}", "there is no such key: `tagstitch key list` shows them all")


def verify_key(
    book: SiteBook, keyring: Keyring, text: str, scope: str, site_id: str = "", *, now_ms: int
) -> ApiKey | None:
    """Return the key that this text is, where it is in force and may do this, else None.

    `site_id`: the site that is asked for; a key bound to a site serves that one only, any other key the sites of its
    space. Without a site the question must be about what the key itself is bound to.
    """
    parts = text.split("_", 2)
    if len(text) > MAX_KEY_CHARS or len(parts) != 3 or parts[0] != PREFIX:
        return None
    digest = hash_key(keyring, text)
    key = book.keys.get(parts[1])
    if key is None or not is_in_force(key, now_ms) or scope not in key.scopes:
        return None
    is_present = hmac.compare_digest(key.hash, digest)
    is_previous = hmac.compare_digest(key.previous_hash, digest) and now_ms < key.previous_until_ms
    if not (is_present or is_previous):
        return None
    if site_id:
        site = book.find_site(site_id)
        if site is None or site.space_id != key.space_id or key.site_id not in ("", site_id):
            return None
    return key


def is_in_force(key: ApiKey, now_ms: int) -> bool:
    """Whether the key is neither revoked nor expired."""
    return not key.revoked_at_ms and (not key.expires_at_ms or now_ms < key.expires_at_ms)


def hash_key(keyring: Keyring, text: str) -> str:
    """Return the keyed digest under which a key is stored: 64 hexadecimal digits."""
    secret = bytes.fromhex(keyring.digest_key)
    return blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=32, key=secret, person=b"tagstitch.apikey"
    ).hexdigest()


class KeyUses:
    """Remembers when keys were used, so that it is written at most once a minute per key. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[str, int] = {}
        self._written: dict[str, int] = {}

    def note(self, key_id: str, now_ms: int) -> None:
        """Remember a use."""
        minute_ms = now_ms - now_ms % USE_INTERVAL_MS
        with self._lock:
            if self._written.get(key_id, -1) < minute_ms:
                self._pending[key_id] = minute_ms
                self._written[key_id] = minute_ms

    def take(self) -> dict[str, int]:
        """Return what is to be written, by key id, and forget it."""
        with self._lock:
            pending, self._pending = self._pending, {}
            return pending


def _make_text(key_id: str) -> str:
    return f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
