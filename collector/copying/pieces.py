"""Copies a batched table piece by piece: which pieces there are, and how one gets across exactly once.

A piece is all rows of some batches in one partition, read in a fixed order and sent as one block under a token of
its own, so that ClickHouse takes it whole or not at all, and once however often it is sent. What may be in doubt
after a kill is one piece: a table with a key makes one row of two; of a table without one, the target is asked first.

Batches are copied in their order, up to the last one that is in the list: those are settled, and no row of theirs
can come any more. So the loader may go on meanwhile.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator

from collector.copying.record import CopyRecord, Piece
from collector.copying.tables import Table
from collector.errors import StoreUnavailable
from collector.store.client import StoreClient
from collector.store.writer import insert_copied

PIECE_ROWS = 100_000
PIECE_BYTES = 134_217_728
"""A larger piece is read in halves, down to a single batch."""
READ_SETTINGS = {"priority": 5, "max_threads": 2}
"""Whoever loads and asks meanwhile goes first."""
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 10.0, 10.0)
"""Between attempts, where the target does not answer; then the copy gives up, to be taken up again later."""

PARTITIONS = "SELECT DISTINCT _partition_id AS part FROM {table:Identifier} ORDER BY part"
LANES = """
SELECT batch_host AS host, max(batch_seq) AS last FROM {table:Identifier}
WHERE _partition_id = {part:String} GROUP BY host ORDER BY host
"""
PIECES = """
SELECT min(batch_seq) AS first, max(batch_seq) AS last, sum(n) AS rows
FROM
(
    SELECT batch_seq, n, intDiv(sum(n) OVER (ORDER BY batch_seq) - n, {size:UInt64}) AS number
    FROM
    (
        SELECT batch_seq, count() AS n FROM {table:Identifier}
        WHERE _partition_id = {part:String} AND batch_host = {host:String}
          AND batch_seq > {after:UInt64} AND batch_seq <= {last:UInt64}
        GROUP BY batch_seq
    )
)
GROUP BY number ORDER BY number
"""
PIECE = """_partition_id = {part:String} AND batch_host = {host:String}
  AND batch_seq BETWEEN {first:UInt64} AND {last:UInt64}"""
NO_BOUND = 2**63


class TooLarge(Exception):
    """The piece is larger than PIECE_BYTES and can be halved."""


class PieceCopier:
    """Copies pieces from one store into another. For one thread; the caller holds the record."""

    def __init__(
        self,
        source: StoreClient,
        target: StoreClient,
        record: CopyRecord,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._target = target
        self._record = record
        self._sleep = sleep

    def plan(self, table: Table, bounds: dict[str, int] | None) -> list[tuple[Piece, int]]:
        """Return the pieces that are still to be copied, with their rows.

        `bounds`: by host, the last batch that may be copied; None: all there is, as nothing is loaded now.
        """
        pieces = []
        in_doubt = self._record.state.begun
        for part in (row["part"] for row in self._source.query_rows(PARTITIONS, {"table": table.name})):
            for lane in self._source.query_rows(LANES, {"table": table.name, "part": part}):
                host = lane["host"]
                last = NO_BOUND if bounds is None else bounds.get(host, 0)
                after = self._record.find_copied(Piece(table.name, part, host, 0, 0))
                if in_doubt is not None and (in_doubt.table, in_doubt.partition, in_doubt.host) == (
                    table.name,
                    part,
                    host,
                ):
                    # With its own bounds: its token is made of them.
                    pieces.append((in_doubt, 0))
                    after = in_doubt.last
                bounds_of_lane = {"after": after, "last": last, "size": PIECE_ROWS}
                rows = self._source.query_rows(
                    PIECES, {"table": table.name, "part": part, "host": host, **bounds_of_lane}, READ_SETTINGS
                )
                pieces += [
                    (Piece(table.name, part, host, int(row["first"]), int(row["last"])), int(row["rows"]))
                    for row in rows
                ]
        return pieces

    def copy(self, table: Table, piece: Piece) -> Iterator[int]:
        """Copy one piece; yield the bytes of each block that was sent: one, or several where it had to be halved.

        Raises StoreUnavailable where the target stays away, StoreError where a store refuses.
        """
        try:
            body = self._read(table, piece)
        except TooLarge:
            middle = (piece.first + piece.last) // 2
            yield from self.copy(table, Piece(piece.table, piece.partition, piece.host, piece.first, middle))
            yield from self.copy(table, Piece(piece.table, piece.partition, piece.host, middle + 1, piece.last))
            return
        in_doubt = self._record.state.begun == piece
        if not in_doubt:
            self._record.begin(piece)
        if body and not (in_doubt and not table.is_keyed and self._is_there(piece)):
            self._send(table, body, make_token(piece, body))
        self._record.finish_piece(piece)
        yield len(body)

    def _read(self, table: Table, piece: Piece) -> bytes:
        """Return the piece's rows as one or more blocks of format Native, always the same bytes for the same rows."""
        sql = f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {PIECE} ORDER BY {table.order}"  # noqa: S608
        params = {"part": piece.partition, "host": piece.host, "first": piece.first, "last": piece.last}
        data = bytearray()
        with self._source.stream(sql, params, "Native", {**READ_SETTINGS, "max_block_size": PIECE_ROWS}) as answer:
            for part in answer:
                data += part
                if len(data) > PIECE_BYTES and piece.last > piece.first:
                    raise TooLarge
        return bytes(data)

    def _is_there(self, piece: Piece) -> bool:
        """Ask the target whether it has the piece: it was sent as one block, so any row of it means all."""
        rows = self._target.query_rows(
            f"SELECT count() AS n FROM {{table:Identifier}} WHERE {PIECE}",  # noqa: S608
            {
                "table": piece.table,
                "part": piece.partition,
                "host": piece.host,
                "first": piece.first,
                "last": piece.last,
            },
        )
        return int(rows[0]["n"]) > 0

    def _send(self, table: Table, body: bytes, token: str) -> None:
        for pause_s in (*PAUSES_S, None):
            try:
                insert_copied(self._target, table.name, table.columns, body, token)
            except StoreUnavailable:
                if pause_s is None:
                    raise
                self._sleep(pause_s)
            else:
                return


def make_token(piece: Piece, body: bytes) -> str:
    """Return the piece's deduplication token: the same for the same bytes only."""
    digest = hashlib.blake2b(body, digest_size=16).hexdigest()
    return f"copy:{piece.table}:{piece.partition}:{piece.host}:{piece.first}-{piece.last}:{digest}"


def read_bounds(source: StoreClient) -> dict[str, int]:
    """Return by host the last batch that is settled: it stands in the list, so all its rows are in the tables."""
    rows = source.query_rows("SELECT host, max(seq) AS seq FROM batches GROUP BY host")
    return {row["host"]: int(row["seq"]) for row in rows}
