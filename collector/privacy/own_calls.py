"""What somebody may do on the page `/x/privacy`, each with a connection of its own to the store.

Everything is carried out for whom the form was shown to (`page_tokens.Sitting`), judged anew each time: what has been
erased or has become somebody else's since is not shown and not touched. Requests stand in the same list as those that
officers write down, by `person` and via `page`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from collector.config import Config
from collector.errors import PrivacyError, RepairError
from collector.keyring import Keyring
from collector.privacy import confirming, requests
from collector.privacy.desk import PrivacyDesk
from collector.privacy.own_view import Found, OwnView, Whose, find_whose, read_own_view
from collector.privacy.page_tokens import Confirmation, Sitting
from collector.privacy.requests import Asked, DataRequest
from collector.privacy.words import Words
from collector.profiles.definitions import Definitions, TraitConfig, TraitRefused, TraitType
from collector.sites.book import SiteBook
from collector.store.client import open_client

MAX_VALUE_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class OwnCalls:
    """The calls of one request of one browser. `now_ms`: milliseconds since 1970."""

    config: Config
    keyring: Keyring
    book: SiteBook
    space_id: str
    now_ms: Callable[[], int]

    def show(self, sitting: Sitting) -> OwnView:
        """Return what may be shown. Raises StoreError."""
        with self._open() as desk:
            return read_own_view(desk.client, self.keyring, self.book, self.space_id, sitting, self.now_ms())

    def take(self, sitting: Sitting, words: Words) -> bytes:
        """Return the zip of all that is held; b"" where nothing may be taken. Raises StoreError."""
        with self._open() as desk:
            found = self._find(desk, sitting)
            if not found.names:
                return b""
            out = io.BytesIO()
            try:
                desk.export(found.names, out, words)
            except RepairError:  # nothing was ever seen of them
                return b""
            return out.getvalue()

    def erase(self, sitting: Sitting) -> DataRequest | None:
        """Ask for an erasure, which the role govern carries out; None where there is nothing. Raises StoreError."""
        with self._open() as desk:
            found = self._find(desk, sitting)
            if not found.names:
                return None
            try:
                return desk.ask(requests.ERASE, Asked(found.names))
            except RepairError:
                return None

    def correct(self, sitting: Sitting, trait: str, text: str, definitions: Definitions) -> DataRequest | None:
        """Ask that a trait be put right, which an officer approves; None where that cannot be asked for: nobody who
        may, no such trait, or no value of its kind. Raises StoreError."""
        try:
            value = read_value(definitions.find(trait), text)
            with self._open() as desk:
                found = self._find(desk, sitting)
                if found.whose is not Whose.PERSON:
                    return None
                return desk.ask_to_correct(found.names[:1], {trait: value}, definitions)
        except (TraitRefused, RepairError, PrivacyError):
            return None

    def ask_for_link(self, name: str, page: str) -> None:
        """Write down that a link is to be sent, where it may be. Raises StoreError."""
        with self._open() as desk:
            confirming.ask_for_link(desk, name, page)

    def is_open(self, confirmation: Confirmation) -> bool:
        """Whether a link still opens anything. Raises StoreError."""
        with self._open() as desk:
            return confirming.is_open(desk, confirmation.request_id)

    def open_link(self, confirmation: Confirmation) -> str:
        """Return whose data a link opens, by own person id; "" nobody's. Raises StoreError."""
        with self._open() as desk:
            return confirming.open_link(desk, confirmation.request_id)

    @contextmanager
    def _open(self) -> Iterator[PrivacyDesk]:
        with open_client(self.config, self.keyring, "writer") as client:
            yield PrivacyDesk(
                *(client, self.config, self.keyring, self.space_id, requests.PERSON, requests.PAGE, self.now_ms)
            )

    def _find(self, desk: PrivacyDesk, sitting: Sitting) -> Found:
        return find_whose(desk.client, self.keyring, self.book, self.space_id, sitting, self.now_ms())


def read_value(trait: TraitConfig, text: str) -> Any:
    """Return what somebody has typed as a value of a trait's type; an empty text takes a correction back.

    Raises TraitRefused."""
    text = text.strip()
    if len(text) > MAX_VALUE_CHARS:
        raise TraitRefused(f"at most {MAX_VALUE_CHARS:,} characters")
    if not text:
        return None
    if trait.type in (TraitType.TEXT, TraitType.DATE, TraitType.TIME):
        return text
    try:
        return msgspec.json.decode(text.lower() if trait.type is TraitType.BOOLEAN else text)
    except (msgspec.DecodeError, RecursionError):
        raise TraitRefused("no value of this type") from None
