"""What the links page needs of the store: results to read, and what a tagged list leaves behind.

Of a list that is the record of its minting, and what its column says about consent: nothing else. Each call opens a
connection of its own, in the thread that it is made in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

from collector.config import Config
from collector.console.live_source import RowReader
from collector.keyring import Keyring
from collector.links.ledger import LedgerWriter
from collector.links.record import Minting, keep_minting
from collector.sites.book import IdentifierKind
from collector.store.client import open_client

Said = Sequence[tuple[str, str | None]]
"""What a list says about consent: references as they stand in tokens, and letters as `read_consent` gives them."""

BYTES_PER_BATCH = 16_384
"""A ledger numbers its batches from its time on, in milliseconds: so each piece begins behind those of the last one,
and begins there again where it is sent again."""


class PageStore(Protocol):
    """What the page asks of the store. Every call may block and may raise StoreError."""

    def open_reader(self) -> RowReader:
        """Open a client of the store as reader."""

    def keep_record(self, minting: Minting) -> bool:
        """Keep the record of a minting. False: it waits in the data folder."""

    def keep_consent(self, minting: Minting, kind: IdentifierKind, said: Said, taken: int) -> None:
        """Write what a piece of a list says about consent; the same twice changes nothing. `taken`: bytes before it."""


class RealStore:
    """The instance's own."""

    def __init__(self, config: Config, keyring: Keyring) -> None:
        self._config = config
        self._keyring = keyring

    def open_reader(self) -> RowReader:
        """Open a client of the store as reader."""
        return open_client(self._config, self._keyring, "reader")

    def keep_record(self, minting: Minting) -> bool:
        """Keep the record of a minting. False: it waits in the data folder."""
        return keep_minting(self._config, self._keyring, minting)

    def keep_consent(self, minting: Minting, kind: IdentifierKind, said: Said, taken: int) -> None:
        """Write what a piece of a list says about consent; the same twice changes nothing. `taken`: bytes before it."""
        with contextlib.closing(open_client(self._config, self._keyring, "writer")) as client:
            ledger = LedgerWriter(
                client,
                self._keyring,
                space_id=minting.space_id,
                kind=kind,
                minting_id=minting.minting_id,
                time_ms=minting.minted_at_ms + taken // BYTES_PER_BATCH,
                actor=minting.actor,
            )
            ledger.add(said)
            ledger.finish()
