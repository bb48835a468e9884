"""Who may use the links page: whoever an operator has given a link to it, once, for some minutes.

`tagstitch links page` signs such a link. Its secret stands behind the `#`, which browsers send nowhere: not to us, not
to a proxy, not in a referrer. The page takes it out of the address bar at once and exchanges it, by a POST, for a
cookie that scripts cannot read, that no other site's page can make a browser send, and that ends by itself.

Invariants: a link opens one session, whichever web process of the host is asked (a marker in `run/links-page`); nothing
signed here is good for anything else, and nothing signed elsewhere is good here; a session names its space, and
whatever the page shows or makes is of that space.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import TypeVar

import msgspec
from itsdangerous import BadData, URLSafeSerializer

from collector import disk
from collector.keyring import Keyring
from collector.sites.book import DEFAULT_SPACE

FOLDER = Path("run") / "links-page"
PATH = "/links"
MOST_MINUTES = 720
MAX_TEXT_BYTES = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,39}")
Said = TypeVar("Said")
_NONCE = re.compile(r"[A-Za-z0-9_-]{22}")


class Invitation(msgspec.Struct, frozen=True):
    """What a link to the page says. Times in seconds since 1970: until when it may be opened."""

    nonce: str
    name: str
    minutes: int
    until_s: int
    space_id: str = DEFAULT_SPACE


class PageSession(msgspec.Struct, frozen=True):
    """Who works on the page, in which space, and until when, in seconds since 1970."""

    name: str
    until_s: int
    space_id: str = DEFAULT_SPACE

    @property
    def actor(self) -> str:
        """How the record of a minting names them."""
        return f"page:{self.name}"


def is_page_name(text: str) -> bool:
    """Whether somebody may be called so on the page: it stands in records and in logs."""
    return _NAME.fullmatch(text) is not None


def invite(keyring: Keyring, name: str, minutes: int, now_s: int, space_id: str = DEFAULT_SPACE) -> str:
    """Return the secret part of a link to the page. It may be opened for so many minutes, and what it opens lasts as
    long again."""
    made = Invitation(secrets.token_urlsafe(16), name, minutes, now_s + 60 * minutes, space_id)
    return write_signed(keyring, "invitation", made)


class PageDoor:
    """Lets people in, and knows them again. For any thread."""

    def __init__(self, keyring: Keyring, data: Path) -> None:
        self._keyring = keyring
        self._folder = data / FOLDER

    def open(self, text: str, now_s: int) -> tuple[str, PageSession] | None:
        """Exchange the secret of a link for a session: the cookie's value and what it says. None: it is forged, over,
        or was used before. Raises OSError where the marker cannot be written: then nobody is let in."""
        said = read_signed(self._keyring, "invitation", text, Invitation)
        if said is None or said.until_s <= now_s or not _NONCE.fullmatch(said.nonce) or not self._use(said, now_s):
            return None
        session = PageSession(said.name, now_s + 60 * said.minutes, said.space_id)
        return write_signed(self._keyring, "session", session), session

    def find_session(self, value: str, now_s: int) -> PageSession | None:
        """Return the session of a cookie, or None where there is none or it is over."""
        session = read_signed(self._keyring, "session", value, PageSession)
        return session if session is not None and now_s < session.until_s else None

    def _use(self, said: Invitation, now_s: int) -> bool:
        """Mark a link as used. False: it was before. What is over is swept on the way."""
        disk.make_folder(self._folder)
        for old in self._folder.iterdir():
            until, _, _ = old.name.partition("-")
            if until.isdigit() and int(until) <= now_s:
                old.unlink(missing_ok=True)
        try:
            disk.close(disk.create_file(self._folder / f"{said.until_s}-{said.nonce}"))
        except FileExistsError:
            return False
        disk.sync_folder(self._folder)
        return True


def write_signed(keyring: Keyring, purpose: str, value: msgspec.Struct) -> str:
    """Return a text that says this and is good for this purpose alone."""
    return str(_find_signer(keyring, purpose).dumps(msgspec.to_builtins(value)))


def read_signed(keyring: Keyring, purpose: str, text: str, form: type[Said]) -> Said | None:
    """Return what such a text says, or None where it was not signed here for this purpose. Never raises."""
    if not text or len(text) > MAX_TEXT_BYTES:
        return None
    try:
        return msgspec.convert(_find_signer(keyring, purpose).loads(text), form)
    except (BadData, msgspec.ValidationError):
        return None


def _find_signer(keyring: Keyring, purpose: str) -> URLSafeSerializer:
    return URLSafeSerializer(
        keyring.operator_key,
        salt=f"tagstitch.links-page.{purpose}",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
