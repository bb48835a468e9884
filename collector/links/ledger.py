"""What a list of recipients says about consent: read from its column, kept in the links, written to the ledger.

A list says yes or no to marketing, or the wire's letters of several purposes; an empty cell says nothing. What is said
goes to `consent_ledger` under the customer's own person id, with the minting as its proof. A list is what somebody
exported once. So it never gives back what the customer took back by a link: whoever said no by themselves must say yes
by themselves. Who reads the ledger goes by that too (`LATEST_STATE`), for an entry may come in after a list that was
written later, or stand under another name of the customer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from collector.errors import LinkError, LinkRefusal
from collector.identity.erased import read_tombstones
from collector.identity.identifiers import find_own_person_id
from collector.keyring import Keyring
from collector.purposes import BY_PERSON, PURPOSE_BY_LETTER, Purpose
from collector.sites.book import IdentifierKind
from collector.store.client import StoreClient, encode_rows
from collector.store.writer import CLUSTER_SETTINGS, STATE_SETTINGS

GRANTED, DENIED, WITHDRAWN = "granted", "denied", "withdrawn"
SOURCE = "list"
ROWS_AT_ONCE = 2_000
"""Keys of one question: they come as one parameter of a form, which has a bound."""

_ORDER = "(time, received_at, state != 'granted', consent_id)"
"""What comes later in the ledger; where one list says both, no."""
OWN_STATE = f"argMaxIf(state, {_ORDER}, source != '{SOURCE}')"
LATEST_STATE = f"if({OWN_STATE} = '{WITHDRAWN}', '{WITHDRAWN}', argMax(state, {_ORDER}))"
"""SQL over the entries of one person and purpose that speak of the person (`BY_PERSON`): what the person said by a
link, "" for nothing; what holds."""

MARKETING = next(letter for letter, purpose in PURPOSE_BY_LETTER.items() if purpose == Purpose.MARKETING)
YES = frozenset(("1", "yes", "y", "true", "t", "granted", "x", "ja", "j", "wahr", "oui", "sí", "si"))
NO = frozenset(("0", "no", "n", "false", "f", "denied", "withdrawn", "nein", "falsch", "non"))
_LETTERS = re.compile(f"[{''.join(PURPOSE_BY_LETTER)}]{{1,{len(PURPOSE_BY_LETTER)}}}")


def read_consent(cell: str) -> str | None:
    """Return the wire's letters of what a recipient has consented to, "" for none; None where the cell says nothing.

    Raises LinkError where it cannot be told.
    """
    word = cell.strip().lower()
    if not word:
        return None
    if word in YES:
        return MARKETING
    if word in NO:
        return ""
    if not _LETTERS.fullmatch(word):
        raise LinkError(LinkRefusal.VALUE, "the consent column says neither yes nor no")
    return "".join(letter for letter in PURPOSE_BY_LETTER if letter in word)


class LedgerWriter:
    """Writes what one list says to the ledger, some rows at a time. Raises StoreError from `add` and `finish`.

    `written`: entries so far. `kept`: grants that were left out, since the customer has taken that consent back.
    """

    def __init__(
        self,
        client: StoreClient,
        keyring: Keyring,
        *,
        space_id: str,
        kind: IdentifierKind,
        minting_id: str,
        time_ms: int,
        actor: str,
    ) -> None:
        self.written = 0
        self.kept = 0
        self._client = client
        self._secret = keyring.pseudonym_key
        self._space_id = space_id
        self._kind = kind
        self._shared = {
            "space_id": space_id,
            "time": time_ms / 1000,
            "source": SOURCE,
            "policy_version": 1,
            "actor": actor,
            "proof": minting_id,
            "received_at": time_ms / 1000,
        }
        # No spool gave these rows a batch. `tagstitch copy` goes by its number, and 0 is what it has already.
        self._batch_seq = time_ms
        self._waiting: list[tuple[str, str]] = []

    def add(self, said: Iterable[tuple[str, str | None]]) -> None:
        """Take what the list says: references as they stand in tokens, and letters as `read_consent` gives them."""
        self._waiting += [(stored, letters) for stored, letters in said if letters is not None]
        while len(self._waiting) >= ROWS_AT_ONCE:
            self._write(self._waiting[:ROWS_AT_ONCE])
            del self._waiting[:ROWS_AT_ONCE]

    def finish(self) -> None:
        """Write what is left."""
        if self._waiting:
            self._write(self._waiting)
            self._waiting = []

    def _write(self, said: list[tuple[str, str]]) -> None:
        """Write entries. The same list under the same minting writes the same ones, which the table keeps once."""
        tombstones = read_tombstones(self._client, self._space_id)
        entries = {
            (find_own_person_id(self._secret, self._space_id, self._kind.name, stored, tombstones)[0], letters): None
            for stored, letters in said
        }
        withdrawn = self._find_withdrawn(sorted({key for key, _ in entries}))
        rows: list[dict[str, Any]] = []
        for key, letters in entries:
            states = {PURPOSE_BY_LETTER[letter]: GRANTED for letter in letters} or {Purpose.MARKETING: DENIED}
            for purpose, state in states.items():
                if state == GRANTED and (key, purpose) in withdrawn:
                    self.kept += 1
                    continue
                text = f"{self._shared['proof']}|{key}|{purpose}|{state}"
                entry = blake2b(text.encode(), digest_size=16, person=b"tagstitch.consen").hexdigest()
                rows.append({"key": key, "purpose": purpose, "state": state, "consent_id": entry, **self._shared})
        self._batch_seq += 1
        if rows:
            rows = [row | {"batch_seq": self._batch_seq} for row in rows]
            settings = {**STATE_SETTINGS, **(CLUSTER_SETTINGS if self._client.cluster else {})}
            lines = encode_rows(rows)
            token = f"{self._shared['proof']}|{blake2b(lines, digest_size=16).hexdigest()}"
            self._client.insert_lines(f"{self._client.database}.consent_ledger", lines, settings, token)
        self.written += len(rows)

    def _find_withdrawn(self, keys: list[str]) -> set[tuple[str, str]]:
        rows = self._client.query_rows(
            f"SELECT toString(key) AS owner, purpose, {OWN_STATE} AS own FROM consent_ledger "  # noqa: S608  our own words
            f"WHERE space_id = {{space:String}} AND key IN {{keys:Array(UUID)}} AND {BY_PERSON} GROUP BY key, purpose "
            "HAVING own = {withdrawn:String}",
            {"space": self._space_id, "keys": keys, "withdrawn": WITHDRAWN},
        )
        return {(row["owner"], row["purpose"]) for row in rows}
