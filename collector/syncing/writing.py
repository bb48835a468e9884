"""What a sync writes: rows of traits, and the lines of evidence.

A trait's row says who said it (`adapter:NAME`), at level 4: whoever runs the source vouches for whose record it is. A
personal value is sealed, as `profiles.traits` seals what it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from collector.event import EvidenceRow, LandingRow, VaultRow
from collector.identity.evidence import SERVER
from collector.identity.rekey import make_rekey
from collector.identity.vault import seal_value
from collector.keyring import Keyring
from collector.profiles.definitions import Definitions
from collector.profiles.traits import make_sealer
from collector.sites.book import IdentifierKind
from collector.syncing.forms import Tied
from collector.syncing.standing import Tie, join_keys

LONE, NAMED = "server", "identify"
"""Kinds of evidence: that a customer exists; that two identifiers are one customer's."""
IMPORT = "import"
PROOF = "server"
PIECES_PER_LINE = 200

_encode = msgspec.json.Encoder().encode


class TraitRows:
    """Rows of `traits` of one source, gathered trait by trait."""

    def __init__(self, keyring: Keyring, definitions: Definitions, source: str) -> None:
        self._keyring = keyring
        self._definitions = definitions
        self._source = source
        self._columns: dict[tuple[str, bool], _Column] = {}

    def __len__(self) -> int:
        return sum(len(column.keys) for column in self._columns.values())

    def add(self, key: bytes, text_key: str, values: Mapping[str, bytes]) -> None:
        """Add values, JSON by trait. `text_key`: the key as text."""
        for name, text in values.items():
            column = self._columns.get((name, False)) or self._open(name, is_gone=False)
            column.keys.append(key)
            column.texts.append(text if column.seal is None else column.seal(text_key, text))

    def take_back(self, key: bytes, names: Iterable[str]) -> None:
        """Add that the source has no such values any more."""
        for name in names:
            column = self._columns.get((name, True)) or self._open(name, is_gone=True)
            column.keys.append(key)
            column.texts.append(b"null")

    def make_table(self, now_ms: int) -> pa.Table:
        """Return all of it, said at this moment."""
        parts = []
        for (name, is_gone), column in self._columns.items():
            count = len(column.keys)
            values = {"key": join_keys(column.keys), "value": _join(column.texts)}
            words: dict[str, tuple[Any, pa.DataType]] = {
                "space_id": (self._definitions.space_id, pa.string()),
                "name": (name, pa.string()),
                "source": (self._source, pa.string()),
                "level": (SERVER, pa.uint8()),
                "sealed": (int(column.seal is not None), pa.uint8()),
                "time": (now_ms, pa.timestamp("ms", "UTC")),
                "actor": ("", pa.string()),
                "keep_days": (0, pa.uint16()),
                "version": (now_ms, pa.uint64()),
                "is_deleted": (int(is_gone), pa.uint8()),
            }
            parts.append(
                pa.table({**values, **{word: _repeat(said, count, kind) for word, (said, kind) in words.items()}})
            )
        return pa.concat_tables(parts).combine_chunks()

    def _open(self, name: str, *, is_gone: bool) -> _Column:
        is_sealed = not is_gone and self._definitions.find(name).personal
        seal = make_sealer(self._keyring, self._definitions.space_id, name) if is_sealed else None
        column = self._columns[name, is_gone] = _Column([], [], seal)
        return column


class _Column(NamedTuple):
    """Values of one trait, and what seals them where they are personal."""

    keys: list[bytes]
    texts: list[bytes]
    seal: Callable[[str, bytes], bytes] | None


class EvidenceLines:
    """Evidence of one source, gathered into lines of the spool."""

    def __init__(
        self, keyring: Keyring, space_id: str, source: str, kinds: Mapping[str, IdentifierKind], *, vault: bool
    ) -> None:
        """`vault`: whether clear values of personal identifiers are kept, sealed."""
        self._keyring = keyring
        self._space_id = space_id
        self._source = source
        self._kinds = kinds
        self._vault = vault
        self._pieces: list[EvidenceRow] = []
        self._vaulted: list[VaultRow] = []
        self.added = self.taken_back = 0

    def add(self, first: Tie, ties: Iterable[Tie], known: Iterable[Tied]) -> None:
        """Add what ties of a record say. `first`: its key; `known`: the identifiers that they are of."""
        for tie in ties:
            self._pieces.append(self._make(first, tie, 1))
            self.added += 1
            tied = next(one for one in known if one.named.key == tie.key)
            for earlier in tied.named.earlier:
                newest = (tied.named.value, tied.named.key)
                self._pieces.append(make_rekey(tied.kind, earlier, newest, at_ms=tied.named.renamed_at_ms))
            if self._vault and tied.kind.personal:
                self._vaulted.append(seal_value(self._keyring, self._space_id, tied.kind.name, tied.named, tied.value))

    def take_back(self, first: Tie, ties: Iterable[Tie]) -> None:
        """Add that this is not said any more. `first`: the record's key."""
        for tie in ties:
            self._pieces.append(self._make(first, tie, -1))
            self.taken_back += 1

    def make_lines(self, now_ms: int) -> list[bytes]:
        """Return the lines of all of it."""
        lines = []
        for start in range(0, max(len(self._pieces), len(self._vaulted)), PIECES_PER_LINE):
            part = slice(start, start + PIECES_PER_LINE)
            row = LandingRow(received_at_ms=now_ms, site_id="", space_id=self._space_id)
            row.evidence, row.vault = self._pieces[part], self._vaulted[part]
            lines.append(_encode(row))
        return lines

    def _make(self, first: Tie, tie: Tie, op: int) -> EvidenceRow:
        kind = self._kinds.get(tie.kind)
        said = f"sync|{self._source}|{self._space_id}|{first.key}|{tie.key}|{tie.time_ms}"
        digest = blake2b(said.encode(), digest_size=16, person=b"tagstitch.eviden").hexdigest()
        return EvidenceRow(
            evidence_id=f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}",
            kind=LONE if first.key == tie.key else NAMED,
            level=SERVER,
            a_kind=first.kind,
            a_value=first.value,
            a_key=first.key,
            b_kind=tie.kind,
            b_value=tie.value,
            b_key=tie.key,
            b_unique=int(kind.unique) if kind else 0,
            source=IMPORT,
            proof=PROOF,
            time_ms=tie.time_ms,
            actor=self._source,
            op=op,
        )


def _join(texts: list[bytes]) -> pa.Array:
    """Return texts as a column. JSON and base64 are text, so nobody has to look; that is seventy times as quick."""
    offsets = np.zeros(len(texts) + 1, dtype=np.int32)
    np.cumsum(np.fromiter(map(len, texts), np.int32, len(texts)), out=offsets[1:])
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts)))


def _repeat(value: Any, count: int, kind: pa.DataType) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), count)
