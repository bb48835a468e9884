"""What the loader needs of the store, and how ClickHouse gives it. One connection, used by one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from collector.config import Config
from collector.errors import SchemaError, StoreError, StoreUnavailable
from collector.keyring import Keyring
from collector.store.client import open_client
from collector.store.migrate import check_landing
from collector.store.writer import insert_batch, insert_rows

BAD_ROW_CODES = frozenset(
    {6, 25, 26, 27, 38, 41, 53, 69, 70, 72, 117, 128, 130, 131, 321, 349, 376, 407, 441, 467, 675, 676}
)
"""ClickHouse's codes for "this row cannot be read", which it says before anything is written."""
TORN_BODY_CODES = frozenset({32, 33})
"""The body ended too early: a bad row, but also a connection that was cut. Believed when it is said again and again."""
BELIEVED_TIMES = 3


class LandingStore(Protocol):
    """Where batches go. All methods raise StoreUnavailable where nothing definite is known."""

    def check(self) -> None:
        """Raise SchemaError where a batch would be lost or refused: a table or view is missing or not as expected."""

    def insert(self, body: bytes, token: str) -> None:
        """Insert JSON lines into `landing` as one block; the same bytes under the same token land once.

        Raises StoreError where the store refuses.
        """

    def list_batch(self, row: Mapping[str, object]) -> None:
        """Enter a batch that has landed into the list `batches`. Harmless to repeat. Raises StoreError."""


class ClickHouseLanding:
    """The store behind the settings. Connects when it is first needed."""

    def __init__(self, config: Config, keyring: Keyring) -> None:
        self._client = open_client(config, keyring, "writer")

    def check(self) -> None:
        """See LandingStore."""
        check_landing(self._client)

    def insert(self, body: bytes, token: str) -> None:
        """See LandingStore."""
        insert_batch(self._client, body, token)

    def list_batch(self, row: Mapping[str, object]) -> None:
        """See LandingStore."""
        insert_rows(self._client, "batches", [row])

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()


def is_bad_row(error: StoreError, times: int) -> bool:
    """Tell whether the refusal is about a row's content, so that other rows of the batch may still be taken.

    `times`: how often in a row the store has said so.
    """
    if isinstance(error, StoreUnavailable | SchemaError):
        return False
    return error.code in BAD_ROW_CODES or (error.code in TORN_BODY_CODES and times >= BELIEVED_TIMES)
