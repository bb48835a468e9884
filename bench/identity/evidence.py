"""Evidence of a shop's customers, as the landing views would have left it in `identity_evidence`: columns, fast.

A population of customers, each with one to four devices whose visitor ids change every four months or so. Of 100
requests that say who somebody is:

    84  sign-ins with a customer number, of every third customer with an e-mail as well; a tenth without proof
     3  sign-ins on a browser of the neighbour in the same household
     5  tagged links: one in 20 without a human signal, one in 50 on a stranger's browser
     4  sign-outs, half of them with a new visitor id
     3  ties of customer number and e-mail by a server, at level 4
     1  others: hand-overs between two domains, `guest`, one test account of many visitors, retractions

Invariants: the same seed gives the same rows; chunks are in order of time and follow each other without overlap; who
is drawn depends on the population's size alone, so that further rows are about the same people.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Numbers = np.ndarray[Any, np.dtype[Any]]

START_MS = 1_780_000_000_000
SPAN_MS = 180 * 86_400_000
ROWS_PER_CUSTOMER = 6
CHUNK_ROWS = 1_000_000
LIFE_MS = 120 * 86_400_000
BATCH_ROWS = 5_000
HOST = "bench"
SPACE, SITE = "main", "shop"

_ID = pa.binary(16)
_MOMENT = pa.timestamp("ms", "UTC")
_VISITOR, _CUSTOMER, _EMAIL, _EVENT, _SESSION, _EVIDENCE, _DOMAIN, _VALUE = range(1, 9)
_SIGN_IN, _SWITCH, _LINK, _RESET, _SERVER, _OTHER = range(6)
_SHARES = (0.84, 0.03, 0.05, 0.04, 0.03, 0.01)
_HEX = np.array([f"{byte:02x}".encode() for byte in range(256)], dtype="S2")


class Population:
    """The customers whom evidence is about, and what they do. `rows`: how much evidence they leave in half a year."""

    def __init__(self, rows: int, seed: int = 1) -> None:
        self.customers = max(2, rows // ROWS_PER_CUSTOMER)
        self.seed = seed
        self._rate = SPAN_MS / rows

    def make(self, rows: int, *, first: int = 0) -> Iterator[pa.Table]:
        """Yield evidence in chunks of at most `CHUNK_ROWS`, with the columns of `identity_evidence`.

        `first`: how many rows came before, so that time and the numbers of batches go on from there.
        """
        for start in range(first, first + rows, CHUNK_ROWS):
            yield self._make_chunk(start, min(CHUNK_ROWS, first + rows - start))

    def repeat(self, earlier: pa.Table, rows: int, *, first: int) -> pa.Table:
        """Return sign-ins of `earlier` once more, as new requests in new sessions: who comes back to a browser."""
        chance = np.random.default_rng((self.seed, first, rows))
        event = np.frombuffer(_join_ids(earlier["event_id"]), dtype=np.uint64)[::2]
        is_sign_in = np.asarray(pc.equal(earlier["kind"].cast(pa.string()), "identify"))
        is_sign_in &= np.asarray(pc.equal(earlier["a_kind"].cast(pa.string()), "visitor"))
        is_sign_in &= np.asarray(pc.greater(earlier["op"], 0))
        is_second = np.zeros(len(event), dtype=bool)
        is_second[1:] = event[1:] == event[:-1]
        starts = np.sort(chance.choice(np.flatnonzero(is_sign_in & ~is_second)[:-1], rows))
        with_second = is_second[starts + 1] & is_sign_in[starts + 1]
        number = np.arange(rows, dtype=np.int64) + 10**12 + first
        number = np.concatenate([number, number[with_second]])
        place = np.concatenate([starts, starts[with_second] + 1])
        order = np.argsort(number, kind="stable")[:rows]
        number, place = number[order], place[order]
        at_ms = (START_MS + (first + np.arange(rows)) * self._rate).astype(np.int64)
        table = earlier.take(pa.array(place))
        new = {
            "evidence_id": _text(_to_text(_make_evidence_ids(number, is_second[place]))),
            "event_id": _bytes(_make_ids(number, np.full(rows, _EVENT))),
            "session_id": _bytes(_make_ids(number, np.full(rows, _SESSION))),
            "time": _moments(at_ms),
            "received_at": _moments(at_ms + 1_000),
            "session_started": _moments(at_ms - 60_000),
        }
        for name, column in new.items():
            table = table.set_column(table.schema.get_field_index(name), name, column)
        return table

    def _make_chunk(self, first: int, rows: int) -> pa.Table:
        chance = np.random.default_rng((self.seed, first))
        count = rows  # a request leaves one row or two: the surplus is cut off
        at_ms = START_MS + np.sort(first + rows * chance.random(count)) * self._rate
        at_ms = at_ms.astype(np.int64)
        who = np.minimum((self.customers * chance.random(count) ** 1.3).astype(np.int64), self.customers - 1)
        device = np.searchsorted((0.62, 0.87, 0.96), chance.random(count))
        what = chance.choice(6, count, p=_SHARES)
        owner = np.where(what == _SWITCH, np.minimum(who ^ 1, self.customers - 1), who)
        is_stranger = (what == _LINK) & (chance.random(count) < 0.02)
        owner = np.where(is_stranger, chance.integers(0, self.customers, count), owner)
        slot = owner * 4 + device
        phase = (_mix(slot, 99) % np.uint64(LIFE_MS)).astype(np.int64)
        life = (at_ms - START_MS + phase) // LIFE_MS
        visitor = slot * 1024 + life
        other = chance.random(count)
        request = np.arange(count, dtype=np.int64) + first * 2

        columns: dict[str, Numbers] = {
            "at_ms": at_ms,
            "visitor": visitor,
            "who": who,
            "what": what,
            "request": request,
            "chance": other,
            "is_email": np.zeros(count, dtype=bool),
        }
        with_email = (what <= _SWITCH) & (_mix(who, 98) % np.uint64(3) == 0)
        order = np.argsort(np.concatenate([request * 2, request[with_email] * 2 + 1]), kind="stable")[:rows]
        drawn = {name: np.concatenate([values, values[with_email]])[order] for name, values in columns.items()}
        drawn["is_email"] = np.concatenate([columns["is_email"], np.ones(int(with_email.sum()), dtype=bool)])[order]
        return _make_table(drawn, first)


def _make_table(drawn: dict[str, Numbers], first: int) -> pa.Table:
    what, chance, who, visitor, at_ms = (drawn[name] for name in ("what", "chance", "who", "visitor", "at_ms"))
    rows = len(what)
    is_other = what == _OTHER
    is_handover = is_other & (chance < 0.5)
    is_guest = is_other & (chance >= 0.5) & (chance < 0.6)
    is_test = is_other & (chance >= 0.6) & (chance < 0.9)
    is_retraction = is_other & (chance >= 0.9)
    is_link, is_reset, is_server = what == _LINK, what == _RESET, what == _SERVER
    is_email = drawn["is_email"] | is_server
    keeps_id = is_reset & (chance < 0.5)

    mailbox = np.where(chance < 0.015, who ^ 1, who)
    customer = np.where(is_guest, -1, np.where(is_test, -2, who))
    named = np.where(is_email, mailbox, customer)
    b_key = _make_ids(named, np.where(is_email, _EMAIL, _CUSTOMER))
    visitor_key = _make_ids(visitor, np.full(rows, _VISITOR))
    arriving = np.where(is_handover, _DOMAIN, _VISITOR)
    a_key = _make_ids(np.where(is_reset & ~keeps_id, visitor + 1, visitor), arriving)
    a_key[is_server] = _make_ids(who[is_server], np.full(int(is_server.sum()), _CUSTOMER))
    of_visitor = is_reset | is_handover
    b_key[of_visitor] = visitor_key[of_visitor]

    number = np.char.add("C", np.char.zfill(who.astype("U10"), 9))
    email = _to_text(_make_ids(mailbox, np.full(rows, _EMAIL + 100)), dashes=False)
    b_value = np.where(is_email, email, number.astype("S32"))
    b_value = np.where(is_guest, b"guest", np.where(is_test, b"C-TEST", b_value))
    b_value = np.where(of_visitor, _to_text(_flip(b_key)), b_value.astype("S36"))
    a_value = np.where(is_server, number.astype("S36"), _to_text(_flip(a_key)))

    evidence = _to_text(_make_evidence_ids(drawn["request"], drawn["is_email"]))
    kind = np.select([is_link, is_reset, is_handover], ["link", "reset", "handover"], "identify")
    level = np.select([is_link | is_handover, is_reset, is_server], [2, 1, 4], 3)
    b_kind = np.where(of_visitor, "visitor", np.where(is_email, "email", "customer"))
    human = np.where(is_link & (chance >= 0.05), np.where(chance < 0.7, "pointer", "dwell"), "")
    proof = np.where(is_server, "server", np.where((chance * 977 % 1) < 0.1, "script", "cookie"))
    token = np.where(is_link, np.char.add("m-", np.char.add(who.astype("U10"), (at_ms // LIFE_MS).astype("U6"))), "")
    token = np.where(is_handover, np.char.add("h-", drawn["request"].astype("U12")), token)
    began_ms = at_ms - 1 - (chance * 600_000).astype(np.int64)
    event = _make_ids(drawn["request"], np.full(rows, _EVENT))
    session = _make_ids(visitor * 65_536 + began_ms // 3_600_000 % 65_536, np.full(rows, _SESSION))
    zeros = np.zeros((rows, 16), dtype=np.uint8)
    source = np.select([is_link, is_server], ["link", "server"], "tag")

    table = pa.table(
        {
            "space_id": _repeat(SPACE, rows),
            "site_id": _repeat(SITE, rows),
            "evidence_id": _text(evidence),
            "kind": _code(kind),
            "level": pa.array(level.astype(np.uint8)),
            "a_kind": _code(np.where(is_server, "customer", "visitor")),
            "a_value": _text(a_value),
            "a_key": _bytes(a_key),
            "b_kind": _code(b_kind),
            "b_value": _text(b_value),
            "b_key": _bytes(b_key),
            "b_unique": pa.array((b_kind == "customer").astype(np.uint8)),
            "source": _code(source),
            "proof": _code(proof),
            "time": _moments(at_ms),
            "received_at": _moments(at_ms + 1_000),
            "visitor_id": _bytes(np.where(is_server[:, None], zeros, _flip(a_key))),
            "session_id": _bytes(np.where(is_server[:, None], zeros, session)),
            "session_started": _moments(np.where(is_server, 0, began_ms)),
            "event_id": _bytes(event),
            "token_id": pa.array(token),
            "campaign": _repeat("", rows),
            "human": _code(human),
            "consent": _repeat("analytics,identity", rows),
            "policy_version": pa.array(np.ones(rows, dtype=np.uint16)),
            "actor": _repeat("", rows).cast(pa.string()),
        }
    )
    # A retraction repeats the row that it takes back: the one before it.
    table = table.take(pa.array(np.maximum(0, np.arange(rows) - is_retraction)))
    batch = (first + np.arange(rows)) // BATCH_ROWS + 1
    return (
        table.append_column("op", pa.array(np.where(is_retraction, -1, 1).astype(np.int8)))
        .append_column("batch_host", _repeat(HOST, rows))
        .append_column("batch_seq", pa.array(batch.astype(np.uint64)))
    )


def _mix(values: Numbers, salt: int | Numbers) -> Numbers:
    """Return 64 bits that depend on all bits of a number: splitmix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        x = values.astype(np.uint64) + np.asarray(salt).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: Numbers = x ^ (x >> np.uint64(31))
    return mixed


def _make_ids(values: Numbers, salts: Numbers) -> Numbers:
    """Return 16 bytes for each number: a keyed hash's place, always the same."""
    halves = np.stack([_mix(values, salts * 2), _mix(values, salts * 2 + 1)], axis=1)
    return halves.view(np.uint8).reshape(-1, 16)


def _make_evidence_ids(request: Numbers, is_second: Numbers) -> Numbers:
    """Return ids as the edge makes them where nothing is proved: the first half is that of the request."""
    halves = np.stack([_mix(request, _EVIDENCE * 2), _mix(request * 2 + is_second, _EVIDENCE * 2 + 1)], axis=1)
    return halves.view(np.uint8).reshape(-1, 16)


def _flip(ids: Numbers) -> Numbers:
    """Return other ids, one for each: the visitor id that has this key."""
    return np.bitwise_xor(ids, 0xA5)


def _to_text(ids: Numbers, *, dashes: bool = True) -> Numbers:
    """Return ids as text: 32 hexadecimal digits, or the 36 characters of a UUID."""
    digits = _HEX[ids].view("S1").reshape(-1, 32)
    if not dashes:
        return np.ascontiguousarray(digits).view("S32").ravel()
    text = np.full((len(ids), 36), b"-", dtype="S1")
    for start, end, source in ((0, 8, 0), (9, 13, 8), (14, 18, 12), (19, 23, 16), (24, 36, 20)):
        text[:, start:end] = digits[:, source : source + end - start]
    return np.ascontiguousarray(text).view("S36").ravel()


def _join_ids(column: pa.ChunkedArray) -> bytes:
    return b"".join(
        chunk.buffers()[1].slice(chunk.offset * 16, len(chunk) * 16).to_pybytes() for chunk in column.chunks
    )


def _text(values: Numbers) -> pa.Array:
    return pa.array(values).cast(pa.string())


def _code(values: Numbers) -> pa.Array:
    return pa.array(values).dictionary_encode()


def _repeat(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), pa.array([text]))


def _bytes(ids: Numbers) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(_ID, len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))])


def _moments(ms: Numbers) -> pa.Array:
    return pa.array(ms.astype(np.int64)).cast(_MOMENT)
