"""The chain of the audit log: digests of all entries and looks, each bound to the one before.

    link = number, source, digest of the row; chain = SHA-256(chain before | number | source | digest)
    seal = a link whose digest is a signature of the chain before it, by the instance's key

An entry enters the chain within seconds (role `govern`); from then on it cannot be changed, left out or put in without
that showing: its digest is missing, or a row has none. A row holds a random id, so that nobody is found by its digest.
What was erased, or is over its time (KEEP_DAYS), leaves its link: `verify` counts such links, and tells them from rows
of the log itself, which never go before their time.

One process adds links; a second would be seen as a break. Raises StoreError.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from collector.keyring import Keyring
from collector.privacy.certificate import make_signing_key
from collector.store.client import StoreClient
from collector.store.writer import insert_rows

LOG, DETAILS, READ, SEAL = "log", "details", "read", "seal"
FIRST = "0" * 64
MOST_LINKS = 20_000
ROWS_PER_LOOK = 100_000
KEEP_DAYS = 1_095
"""How long entries and looks are kept, as their tables say: three years."""
BACK_DAYS = 3
"""How far back the role looks for rows without a link: a look waits in the spool of a host while the store is away.
What is older is found by `verify`."""

_COLUMNS = "seq, source, digest, chain, toUnixTimestamp64Milli(at) AS at_ms"
_ROWS = {
    LOG: (
        "audit_log",
        "toString(row.audit_id), space_id, toUnixTimestamp64Milli(row.at), action, actor, via, arguments, people,"
        " identifiers_moved, events_moved, toString(undoes)",
    ),
    DETAILS: (
        "audit_details",
        "toString(row.audit_id), space_id, toUnixTimestamp64Milli(row.at), keys, arguments, note, appended, taken_back,"
        " blocked, unblocked, people_before, people_after, last_row",
    ),
    READ: (
        "profile_reads",
        "toString(row.read_id), space_id, toUnixTimestamp64Milli(row.at), toString(key), toString(row.person_id),"
        " actor, way, parts, personal, found",
    ),
}


class Link(msgspec.Struct, frozen=True):
    """One link."""

    seq: int
    source: str
    digest: str
    chain: str
    at_ms: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """What a verification found. `links`: entries and looks in the chain; `gone`: links of details and looks whose row
    was erased, and of any row that is over its time; `waiting`: rows that are not in the chain yet.

    Wrong where any of these is not empty: `broken`, numbers of links that do not fit the one before; `missing`: numbers
    of links whose entry of the log is not there as it was; `unsigned`: numbers of seals that do not verify.
    """

    links: int
    sealed: int
    gone: int
    waiting: int
    broken: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    unsigned: tuple[int, ...] = ()
    head: str = FIRST

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.broken or self.missing or self.unsigned)


def extend_chain(client: StoreClient, keyring: Keyring, now_ms: int, *, most: int = MOST_LINKS) -> int:
    """Add links for rows that have none, and a seal behind them. Return how many rows; of `most` there may be more."""
    wanted = [(source, digest) for source in _ROWS for digest in _find_unlinked(client, source, now_ms, most)][:most]
    if not wanted:
        return 0
    last = _read_last(client)
    seq, chain = last.seq, last.chain
    rows: list[dict[str, Any]] = []
    for source, digest in wanted:
        seq, chain = seq + 1, bind(chain, seq + 1, source, digest)
        rows.append({"seq": seq, "at": now_ms / 1000, "source": source, "digest": digest, "chain": chain})
    signature = b64encode(make_signing_key(keyring).sign(chain.encode())).decode()
    seq, chain = seq + 1, bind(chain, seq + 1, SEAL, signature)
    rows.append({"seq": seq, "at": now_ms / 1000, "source": SEAL, "digest": signature, "chain": chain})
    insert_rows(client, "audit_chain", rows)
    return len(wanted)


def verify_chain(
    client: StoreClient, keyring: Keyring, now_ms: int, tell: Callable[[int], None] = lambda links: None
) -> Verdict:
    """Go through the whole chain, and through all rows that it is about. `tell` hears how many links were looked at."""
    digests = {source: _read_digests(client, source) for source in _ROWS}
    left = {source: set(found) for source, found in digests.items()}
    broken, missing, unsigned = [], [], []
    # An entry enters the chain at most BACK_DAYS after it was made.
    expired_ms = now_ms - (KEEP_DAYS - BACK_DAYS) * 86_400_000
    links = sealed = gone = 0
    before = Link(0, "", "", FIRST)
    for link in _read_links(client):
        if link.seq != before.seq + 1 or link.chain != bind(before.chain, link.seq, link.source, link.digest):
            broken.append(link.seq)
        if link.source == SEAL:
            sealed += 1
            if not _is_signed(keyring, before.chain, link.digest):
                unsigned.append(link.seq)
        else:
            links += 1
            left[link.source].discard(link.digest)
            if link.digest not in digests[link.source]:
                if link.source == LOG and link.at_ms > expired_ms:
                    missing.append(link.seq)
                else:
                    gone += 1
        before = link
        tell(link.seq)
    return Verdict(
        *(links, sealed, gone, sum(map(len, left.values()))),
        broken=tuple(broken),
        missing=tuple(missing),
        unsigned=tuple(unsigned),
        head=before.chain,
    )


def bind(before: str, seq: int, source: str, digest: str) -> str:
    """Return the chain after a link."""
    return hashlib.sha256(f"{before}|{seq}|{source}|{digest}".encode()).hexdigest()


def _digest_of(source: str) -> str:
    return f"lower(hex(SHA256(toJSONString(tuple({_ROWS[source][1]})))))"


def _find_unlinked(client: StoreClient, source: str, now_ms: int, most: int) -> list[str]:
    table = _ROWS[source][0]
    rows = client.query_rows(
        f"SELECT DISTINCT {_digest_of(source)} AS digest FROM {table} AS row"  # noqa: S608  our own words
        " WHERE row.at >= fromUnixTimestamp64Milli({since:Int64}) AND digest GLOBAL NOT IN"
        " (SELECT digest FROM audit_chain WHERE source = {source:String}"
        " AND at >= fromUnixTimestamp64Milli({since:Int64}))"
        " ORDER BY row.at, digest LIMIT {most:UInt32}",
        {"since": now_ms - BACK_DAYS * 86_400_000, "source": source, "most": most},
    )
    return [row["digest"] for row in rows]


def _read_last(client: StoreClient) -> Link:
    rows = client.query_rows(f"SELECT {_COLUMNS} FROM audit_chain ORDER BY seq DESC LIMIT 1")  # noqa: S608  our own words
    return msgspec.convert(rows[0], Link) if rows else Link(0, "", "", FIRST)


def _read_links(client: StoreClient) -> Iterator[Link]:
    after = 0
    while True:
        rows = client.query_rows(
            f"SELECT {_COLUMNS} FROM audit_chain WHERE seq > {{after:UInt64}} ORDER BY seq LIMIT {{most:UInt32}}",  # noqa: S608  our own words
            {"after": after, "most": ROWS_PER_LOOK},
        )
        for row in rows:
            yield msgspec.convert(row, Link)
        if len(rows) < ROWS_PER_LOOK:
            return
        after = rows[-1]["seq"]


def _read_digests(client: StoreClient, source: str) -> frozenset[str]:
    sql = f"SELECT DISTINCT {_digest_of(source)} AS digest FROM {_ROWS[source][0]} AS row"  # noqa: S608  our own words
    return frozenset(row["digest"] for row in client.query_rows(sql))


def _is_signed(keyring: Keyring, chain: str, signature: str) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        make_signing_key(keyring).public_key().verify(b64decode(signature, validate=True), chain.encode())
    except (ValueError, InvalidSignature):
        return False
    return True
