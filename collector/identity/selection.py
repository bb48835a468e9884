"""Selection: pieces of evidence by what they say, as they stand in the store, and the rows that take them back.

    retract   the same row with `op = -1`; a piece that was taken back never stands again
    restore   the same statement under the id `<old id>+1`, `+2` …: the id names what it restores

Invariants: only what stands is selected, each piece once. A row that takes back differs from what it takes back in
`op` and actor alone, one that restores in its id alone: so what is restored resolves as what was taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from collector.errors import RepairError, RepairReason
from collector.event import NIL_ID, EvidenceRow
from collector.identity.evidence import Evidence, read_content
from collector.identity.rekey import REKEY
from collector.store.client import StoreClient

IDS_PER_QUESTION = 2_000  # some 40 bytes each; a server takes 128 KiB in one field of a form
MAX_IDS = 1_000
BLOCK = "block"
"""Kind of the row that makes stitch look at an identifier anew, after it was blocked or let go. It never stands."""

# Evidence is found by its first identifier; by the second one by way of the pairs.
_FIRST = "evidence.a_key IN {keys:Array(UUID)}"
_SECOND = (
    "evidence.b_key IN {keys:Array(UUID)} AND evidence.a_key GLOBAL IN"
    " (SELECT a_key FROM identity_pairs WHERE space_id = {space:String} AND b_key IN {keys:Array(UUID)})"
)
# Evidence does not say which message a link stood in; the event that brought it does.
_OF_MESSAGE = (
    "SELECT event_id FROM events"
    " WHERE space_id = {space:String} AND link_status = 'confirmed' AND link_message = {message:String}"
)

_decode = msgspec.json.Decoder(type=dict[str, Any]).decode


class Statement(msgspec.Struct, frozen=True):
    """One piece of evidence and the way by which it came, as a landing row has it."""

    row: EvidenceRow
    space_id: str
    site_id: str = ""
    visitor_id: str = NIL_ID
    received_at_ms: int = 0

    def make_evidence(self) -> Evidence:
        """Return it as `resolve` takes it."""
        return Evidence(
            **msgspec.structs.asdict(self.row),
            space_id=self.space_id,
            site_id=self.site_id,
            received_at_ms=self.received_at_ms,
        )


class Selector(msgspec.Struct, frozen=True, omit_defaults=True):
    """What evidence must say to be selected: all that is given. Times: milliseconds since 1970, `to` not included.

    The time is that of the collector's own clock, when it took the evidence in: no sender sets it.
    """

    ids: tuple[str, ...] = ()
    source: str = ""
    token: str = ""  # id of a tagged link's, a hand-over's or a sign-in's token
    campaign: str = ""  # of a tagged link
    message: str = ""  # of a tagged link, as its event says
    actor: str = ""
    site: str = ""
    keys: tuple[str, ...] = ()  # own person ids of either identifier: one identifier under all its names
    from_ms: int = 0
    to_ms: int = 0

    def is_empty(self) -> bool:
        """Whether it would select everything."""
        return self == Selector()


def count_selected(client: StoreClient, space_id: str, selector: Selector) -> int:
    """Return how many pieces stand that the selector means. Raises RepairError where it means everything."""
    terms, params = _render(space_id, selector)
    sql = f"SELECT uniqExact(evidence_id) AS pieces FROM identity_evidence AS evidence WHERE {terms}"  # noqa: S608
    return int(client.query_rows(sql, params)[0]["pieces"])


def read_selected(client: StoreClient, space_id: str, selector: Selector, most: int) -> list[Statement]:
    """Return the pieces that stand and that the selector means, `most` of them, in order of their ids."""
    terms, params = _render(space_id, selector)
    params["most"] = most
    return _read(client, f"{terms} ORDER BY evidence_id LIMIT 1 BY evidence_id LIMIT {{most:UInt32}}", params)


def read_standing_of(client: StoreClient, space_id: str, ids: Iterable[str]) -> list[Statement]:
    """Return what stands of these pieces, under their own ids or those by which they were restored."""
    found = _read_incarnations(client, space_id, ids)
    return [statement for _, statement, stands in found if stands]


def restore(client: StoreClient, space_id: str, ids: Iterable[str]) -> list[Statement]:
    """Return the rows that restore these pieces: of those that stand already, none.

    Raises RepairError for an id that no evidence ever had.
    """
    wanted = sorted(set(ids))
    found = _read_incarnations(client, space_id, wanted)
    known = {base for base, _, _ in found}
    if missing := [each for each in wanted if name_origin(each) not in known]:
        raise RepairError(RepairReason.UNKNOWN, f"{len(missing)} of these ids no evidence has, {missing[0]} first")
    standing = {base for base, _, stands in found if stands}
    last: dict[str, Statement] = {}
    for base, statement, _ in found:
        if base not in standing and (base not in last or _count(last[base]) < _count(statement)):
            last[base] = statement
    return [_rename(statement, f"{base}+{_count(statement) + 1}") for base, statement in sorted(last.items())]


def take_back(statements: Iterable[Statement], actor: str) -> list[Statement]:
    """Return the rows that take these pieces back. `actor`: who does it."""
    return [
        msgspec.structs.replace(statement, row=msgspec.structs.replace(statement.row, op=-1, actor=actor))
        for statement in statements
    ]


def name_origin(evidence_id: str) -> str:
    """Return the id under which a piece of evidence first stood."""
    return evidence_id.partition("+")[0]


def read_around(client: StoreClient, space_id: str, keys: Sequence[str], most: int) -> list[Statement]:
    """Return the rows that name one of these keys, hints and retractions included, `most` of them: the oldest."""
    terms = "space_id = {space:String} AND kind != 'block'"
    rest = " ORDER BY time, evidence_id, op LIMIT 1 BY evidence_id, op LIMIT {most:UInt32}"
    found: dict[tuple[str, int], Statement] = {}
    ordered = sorted(keys)
    for start in range(0, len(ordered), IDS_PER_QUESTION):
        params = {"space": space_id, "keys": ordered[start : start + IDS_PER_QUESTION], "most": most}
        for end in (_FIRST, _SECOND):
            for statement in _read(client, f"{terms} AND {end}{rest}", params):
                found[(statement.row.evidence_id, statement.row.op)] = statement
    return sorted(found.values(), key=lambda item: (item.row.time_ms, item.row.evidence_id, item.row.op))[:most]


def _read_incarnations(client: StoreClient, space_id: str, ids: Iterable[str]) -> list[tuple[str, Statement, bool]]:
    """Return, of each piece, the row that counts of its own id and of each later one, and whether that stands."""
    found = []
    bases = sorted({name_origin(each) for each in ids})
    for start in range(0, len(bases), IDS_PER_QUESTION):
        params = {"space": space_id, "bases": bases[start : start + IDS_PER_QUESTION]}
        terms = "space_id = {space:String} AND splitByChar('+', evidence_id)[1] IN {bases:Array(String)}"
        rows = _read(client, terms, params)
        gone = {statement.row.evidence_id for statement in rows if statement.row.op < 0}
        chosen: dict[str, Statement] = {}
        for statement in rows:
            evidence_id = statement.row.evidence_id
            if statement.row.op > 0 and (evidence_id not in chosen or _says_less(statement, chosen[evidence_id])):
                chosen[evidence_id] = statement
        found += [(name_origin(each), statement, each not in gone) for each, statement in sorted(chosen.items())]
    return found


def _says_less(statement: Statement, other: Statement) -> bool:
    """Whether this of two rows of one id is the one that counts: see `evidence.keep_standing`."""
    return read_content(statement.make_evidence()) < read_content(other.make_evidence())


def _count(statement: Statement) -> int:
    """Return how often a piece was restored before this row."""
    number = statement.row.evidence_id.partition("+")[2]
    return int(number) if number.isdigit() else 0


def _rename(statement: Statement, evidence_id: str) -> Statement:
    row = msgspec.structs.replace(statement.row, evidence_id=evidence_id, op=1)
    return msgspec.structs.replace(statement, row=row)


def _render(space_id: str, selector: Selector) -> tuple[str, dict[str, Any]]:
    """Return the condition in SQL, its values to be bound. Raises RepairError for one that means everything."""
    if selector.is_empty():
        raise RepairError(
            RepairReason.ARGUMENT, "say which evidence: by id, source, token, actor, site, identifier or time range"
        )
    if len(selector.ids) > MAX_IDS:
        raise RepairError(RepairReason.TOO_MANY, f"at most {MAX_IDS} ids at once")
    terms = [
        "space_id = {space:String} AND op > 0 AND kind != 'block'",
        "evidence_id GLOBAL NOT IN"
        " (SELECT evidence_id FROM identity_evidence WHERE space_id = {space:String} AND op < 0)",
    ]
    params: dict[str, Any] = {"space": space_id}
    if selector.ids:
        terms.append("evidence_id IN {ids:Array(String)}")
        params["ids"] = list(selector.ids)
    else:
        # Two names of one identifier are nobody's observation: they are taken back by id alone.
        terms.append("kind != {rekey:String}")
        params["rekey"] = REKEY
    if selector.token:  # a recipient's token counts by the month, see `accept.links.name_token`
        terms.append("(token_id = {token:String} OR startsWith(token_id, {months:String}))")
        params |= {"token": selector.token, "months": f"{selector.token}:"}
    for name, column in (("source", "source"), ("campaign", "campaign"), ("site", "site_id")):
        if value := getattr(selector, name):
            terms.append(f"{column} = {{{name}:String}}")
            params[name] = value
    if selector.message:
        terms.append(f"event_id GLOBAL IN ({_OF_MESSAGE})")
        params["message"] = selector.message
    if selector.actor:  # a key also stands for the agents behind it: `key:1a2b/agent-17`
        terms.append("(actor = {actor:String} OR startsWith(actor, {agents:String}))")
        params |= {"actor": selector.actor, "agents": f"{selector.actor}/"}
    if selector.keys:
        terms.append(f"({_FIRST} OR ({_SECOND}))")
        params["keys"] = list(selector.keys)
    if selector.from_ms:
        terms.append("received_at >= fromUnixTimestamp64Milli({from_ms:Int64})")
        params["from_ms"] = selector.from_ms
    if selector.to_ms:
        terms.append("received_at < fromUnixTimestamp64Milli({to_ms:Int64})")
        params["to_ms"] = selector.to_ms
    return " AND ".join(terms), params


def _list_columns() -> str:
    """Return what is selected so that a row reads as an EvidenceRow: times as numbers, all else as it is named."""
    columns = []
    for name in EvidenceRow.__struct_fields__:
        column = name.removesuffix("_ms")
        columns.append(f"toUnixTimestamp64Milli({column}) AS {name}" if column != name else name)
    return ", ".join([*columns, "space_id", "site_id", "visitor_id", "toUnixTimestamp64Milli(received_at) AS received"])


def _read(client: StoreClient, terms: str, params: dict[str, Any]) -> list[Statement]:
    sql = f"SELECT {_list_columns()} FROM identity_evidence AS evidence WHERE {terms}"  # noqa: S608  our own words
    settings = {"output_format_json_quote_64bit_integers": 0}
    with client.stream(sql, params, settings=settings) as answer:
        data = b"".join(answer)
    found = []
    for line in data.splitlines():
        fields = _decode(line)
        row = EvidenceRow(**{name: fields[name] for name in EvidenceRow.__struct_fields__})
        found.append(Statement(row, fields["space_id"], fields["site_id"], fields["visitor_id"], fields["received"]))
    return found
