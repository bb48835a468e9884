"""Tokens of the page `/x/privacy`: who sits in front of it, in its forms; and the link that proves who asks.

The page is shown in a sandbox, so that no script of a site can read it, and its forms bring no cookies. What they bring
is a token that was in the page: who it was shown to, signed, for half an hour. It is no visitor cookie and cannot
become one. A confirmation link names a request, and nobody: whose it is stands in the request, and it opens once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from itsdangerous import BadData, URLSafeTimedSerializer

from collector.keyring import Keyring

SITTING_S = 1_800
MAX_TOKEN_CHARS = 1_024
_PAGE_SALT, _LINK_SALT = b"tagstitch.privacy.page", b"tagstitch.privacy.link"
_T = TypeVar("_T")


class Sitting(msgspec.Struct, frozen=True):
    """Whom the page was shown to. `visitor_id`: of the browser, "" where it is not known; `key`: own person id of whose
    data may be shown, "" below the level; `linked_key`: of whom a tagged link alone names, to whom a confirmation link
    may go; `refused`: letters of the purposes refused on this page; `is_out`: the browser has objected;
    `is_signalled`: it sends Global Privacy Control or Do Not Track; `told`: names of the purposes that a banner was
    told, sorted, comma between."""

    site_id: str
    visitor_id: str = ""
    key: str = ""
    linked_key: str = ""
    refused: str = ""
    is_out: bool = False
    is_signalled: bool = False
    told: str = ""


class Confirmation(msgspec.Struct, frozen=True):
    """What a confirmation link is about."""

    space_id: str
    request_id: str


def write_sitting(keyring: Keyring, sitting: Sitting) -> str:
    """Return the token of a form."""
    return _sign(keyring, _PAGE_SALT, sitting)


def read_sitting(keyring: Keyring, text: str) -> Sitting | None:
    """Return who a form was shown to; None where it is not ours, or older than SITTING_S. Never raises."""
    return _read(keyring, _PAGE_SALT, text, SITTING_S, Sitting)


def write_confirmation(keyring: Keyring, confirmation: Confirmation) -> str:
    """Return the token of a confirmation link."""
    return _sign(keyring, _LINK_SALT, confirmation)


def read_confirmation(keyring: Keyring, text: str, max_age_s: float) -> Confirmation | None:
    """Return what a link is about; None where it is not ours, or too old. Never raises."""
    return _read(keyring, _LINK_SALT, text, max_age_s, Confirmation)


def _sign(keyring: Keyring, salt: bytes, said: msgspec.Struct) -> str:
    return _make_serializer(keyring, salt).dumps(msgspec.to_builtins(said))


def _read(keyring: Keyring, salt: bytes, text: str, max_age_s: float, kind: type[_T]) -> _T | None:
    if len(text) > MAX_TOKEN_CHARS:
        return None
    try:
        return msgspec.convert(_make_serializer(keyring, salt).loads(text, max_age=int(max_age_s)), kind)
    except (BadData, msgspec.ValidationError):
        return None


def _make_serializer(keyring: Keyring, salt: bytes) -> URLSafeTimedSerializer:
    secrets: Sequence[str] = [key.secret for key in reversed(keyring.cookie_keys)]  # the last one signs
    return URLSafeTimedSerializer(list(secrets), salt=salt)
