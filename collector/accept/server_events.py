"""Server events: from calls with a secret key to lines of the spool, by the same functions that judge a beacon.

A line is one visitor (or one customer without a visitor) under one set of circumstances; a request with several becomes
several lines. All of them have to be on disk before the request is answered. Pure: no I/O, no clock, no order but that
of the events' times.

The events of a line have what a tag's have, and so go the tag's way from here: texts and addresses minimised, browser
and country recognised, evidence written. What differs is the proof (`server`) and how sure a customer is (level 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from collector.accept.consent import IDENTIFY
from collector.accept.evidence import add_evidence, add_group, add_identities, make_evidence_id
from collector.accept.minimise import minimise
from collector.accept.pipeline import MAX_LINE_BYTES
from collector.accept.recognise import COUNTRY, recognise, truncate_address
from collector.accept.refusals import Refusal
from collector.accept.sample import sample
from collector.accept.server_events_call import ALIAS, GROUP, Call
from collector.accept.server_events_reader import read_statement
from collector.accept.server_events_statement import Caller, Statement
from collector.event import NIL_ID, WIRE_VERSION, Beacon, Context, Envelope, EventRow, LandingRow, Rejected, RejectedRow
from collector.identity.evidence import SERVER
from collector.identity.identifiers import find_visitor
from collector.metrics import count_accepted, count_rejected, count_removed, count_step
from collector.purposes import read_purposes
from collector.reasons import Reason

PROOF = "server"
LONE = "server"
"""Kind of the evidence that a customer exists, where nothing else was named with it."""

_ENCODE = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Judged:
    """Something of a call that is not kept: the place of the call in its request, the reason, the field."""

    index: int
    reason: Reason
    field: str


@dataclass(slots=True)
class AcceptedCalls:
    """What becomes of the calls of one request.

    `lines`: to be spooled, all of them, before the answer. `rejected`: calls that are not kept. `left_out`: parts of
    kept ones. `refusals`: both again, for the record. `made_ids`: event ids of kept calls that had no message id, by
    the call's place. `judged`: how many calls there were so far; `seen`: their ids, with visitor and time.
    `lone`: customers of which the lines say no more than that they exist, and when.
    """

    judged: int = 0
    lines: list[bytes] = field(default_factory=list)
    events: int = 0
    rejected: list[Judged] = field(default_factory=list)
    left_out: list[Judged] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    made_ids: dict[int, str] = field(default_factory=dict)
    seen: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    lone: list[tuple[str, int]] = field(default_factory=list)


def accept_calls(
    calls: Sequence[Call | Rejected], caller: Caller, outcome: AcceptedCalls | None = None
) -> AcceptedCalls:
    """Judge the calls of one request, or one stretch of a file. Never raises.

    `calls`: as `server_events_call` reads them; one that could not be read is its own refusal. The same call twice (id,
    visitor and time) is kept once; two different ones under one id are not both kept. `outcome`: that of the calls
    before these, to which these are added.
    """
    outcome = outcome or AcceptedCalls()
    groups: dict[tuple[str, ...], list[Statement]] = {}
    seen = outcome.seen
    for index, call in enumerate(calls, outcome.judged):
        statement = call if isinstance(call, Rejected) else read_statement(index, call, caller)
        if isinstance(statement, Rejected):
            _refuse(outcome, index, statement, caller, _name_site(call, caller))
            continue
        event, site_id = statement.event, statement.site.site_id
        said = (statement.visitor_id, event.time_ms)
        if (site_id, event.id) in seen:
            if seen[site_id, event.id] != said:
                _refuse(outcome, index, Rejected(Reason.ID, step="validate", field="messageId"), caller, site_id)
            continue
        seen[site_id, event.id] = said
        groups.setdefault(_name_group(statement), []).append(statement)
    outcome.judged += len(calls)
    for statements in groups.values():
        _keep(outcome, statements, caller)
    outcome.rejected.sort(key=lambda judged: judged.index)
    outcome.left_out.sort(key=lambda judged: judged.index)
    return outcome


def _name_site(call: Call | Rejected, caller: Caller) -> str:
    """Return the site for the record of a refusal, "" where it is not known."""
    named = "" if isinstance(call, Rejected) or call.context is None else call.context.site_id or ""
    site = caller.sites.find_site(named or caller.site_id)
    return "" if site is None or site.space_id != caller.space_id else site.site_id


def _refuse(outcome: AcceptedCalls, index: int, refused: Rejected, caller: Caller, site_id: str) -> None:
    outcome.rejected.append(Judged(index, refused.reason, refused.field))
    _record(outcome, refused, caller, site_id, events=1)


def _record(outcome: AcceptedCalls, refused: Rejected, caller: Caller, site_id: str, events: int) -> None:
    count_rejected(refused.step, refused.reason)
    row = RejectedRow(step=refused.step, reason=refused.reason, field=refused.field, events=events)
    outcome.refusals.append(Refusal(caller.received_at_ms, site_id, caller.space_id if site_id else "", row))


def _name_group(statement: Statement) -> tuple[str, ...]:
    """Return what the events of one line share."""
    lone = statement.known[0].key if statement.visitor_id == NIL_ID and statement.known else ""
    return (
        *(statement.site.site_id, statement.visitor_id, lone, statement.letters),
        *(statement.address, statement.user_agent, statement.language, statement.time_zone),
    )


def _keep(outcome: AcceptedCalls, statements: list[Statement], caller: Caller) -> None:
    """Make the lines of one group, or refuse it where its visitor is not in the site's sample."""
    statements.sort(key=lambda statement: (statement.event.time_ms, statement.index))
    beacon, context = _make_beacon(statements, caller)
    for step in (minimise, recognise) if context.user_agent else (minimise,):
        step(beacon, context)
        count_step(step.__name__)
    for place, values in beacon.removed.items():
        count_removed(place, values)
    if not context.user_agent:  # nothing was said of a browser: that alone makes no robot of a server's customer
        beacon.row.country = context.country if COUNTRY.fullmatch(context.country) else ""
        beacon.row.network = truncate_address(context.address) if beacon.site.network_days else ""
    lone = _identify(beacon, context, statements, caller)
    site_id = beacon.site.site_id
    if beacon.row.visitor_id != NIL_ID:
        refused = sample(beacon, context)
        if isinstance(refused, Rejected):
            for statement in statements:
                out = Rejected(refused.reason, step="sample", field="anonymousId")
                _refuse(outcome, statement.index, out, caller, site_id)
            return
    for statement in statements:
        for part in statement.left_out:
            outcome.left_out.append(Judged(statement.index, part.reason, part.field))
            _record(outcome, part, caller, site_id, events=0)
        if statement.made_id:
            outcome.made_ids[statement.index] = statement.made_id
    outcome.lone += lone
    for row in _split(beacon.row):
        outcome.lines.append(_ENCODE(row))
        outcome.events += len(row.events)
        count_accepted(site_id, len(row.events))


def _make_beacon(statements: list[Statement], caller: Caller) -> tuple[Beacon, Context]:
    """Return the beacon that a tag would have sent of these events, and the facts of its request."""
    first, site = statements[0], statements[0].site
    envelope = Envelope(
        version=WIRE_VERSION,
        site_id=site.site_id,
        sent_at_ms=caller.received_at_ms,
        events=[statement.event for statement in statements],
    )
    row = LandingRow(
        received_at_ms=caller.received_at_ms,
        site_id=site.site_id,
        space_id=site.space_id,
        visitor_id=first.visitor_id,
        visitor_proof=PROOF,
        language=first.language,
        time_zone=first.time_zone,
        keep_days=site.keep_days,
        network_days=site.network_days,
        rejected_days=site.rejected_days,
    )
    purposes = read_purposes(first.letters, site.consent)
    row.consent = ",".join(sorted(purposes))
    context = Context(
        received_at_ms=caller.received_at_ms,
        sites=caller.sites,
        keyring=caller.keyring,
        address=first.address,
        user_agent=first.user_agent,
        country=caller.find_country(first.address) if first.address else "",
        link_parameter=caller.link_parameter,
    )
    return Beacon(body=b"", envelope=envelope, row=row, site=site, purposes=purposes), context


def _identify(
    beacon: Beacon, context: Context, statements: Iterable[Statement], caller: Caller
) -> list[tuple[str, int]]:
    """Fill in the own person, the evidence and the events. What was said just before is no news.

    Returns the customers that were named alone, with the time.
    """
    row, key = beacon.row, context.keyring.pseudonym_key
    if row.visitor_id != NIL_ID:
        tombstones = context.sites.tombstones
        row.visitor_id, row.own_person_id = find_visitor(key, beacon.site.space_id, row.visitor_id, tombstones)
    said: list[tuple[str, int]] = []
    lone: list[tuple[str, int]] = []
    for statement in statements:
        event, known = statement.event, statement.known
        names = [(identity.key, identity.level) for identity in known]
        if statement.type == GROUP:
            add_group(beacon, context, event, known, source=caller.source, actor=statement.actor)
        if known and (statement.type in (IDENTIFY, ALIAS) or names != said):
            said = names
            add_identities(beacon, context, event, known, ALIAS if statement.joins_customers else IDENTIFY)
            if row.visitor_id == NIL_ID and len(known) == 1 and not caller.is_known(known[0].key, event.time_ms):
                _add_lone(beacon, statement)
                lone.append((known[0].key, event.time_ms))
        is_sure = bool(known) and known[0].level == SERVER
        row.events.append(
            EventRow(
                event_id=event.id,
                name=event.name,
                time_ms=event.time_ms,
                url=event.url,
                referrer=event.referrer,
                title=event.title,
                props=_ENCODE(event.props).decode() if event.props else "{}",
                customer_key=known[0].key if is_sure else NIL_ID,
                assurance=SERVER if is_sure else 0,
            )
        )
    return lone


def _add_lone(beacon: Beacon, statement: Statement) -> None:
    """Note that this customer exists: without a visitor or a second key there is nothing to tie it to but itself."""
    identity = statement.known[0]
    evidence = add_evidence(beacon, statement.event, identity, kind=LONE, source=identity.source)
    evidence.a_kind, evidence.a_value, evidence.a_key = identity.kind.name, identity.value, identity.key
    evidence.evidence_id = make_evidence_id(evidence)


def _split(row: LandingRow) -> list[LandingRow]:
    """Return rows that are small enough for a line. One event always is: see `bounds`."""
    if len(row.events) < 2 or len(_ENCODE(row)) <= MAX_LINE_BYTES:
        return [row]
    half = len(row.events) // 2
    ids = {event.event_id for event in row.events[:half]}
    first = msgspec.structs.replace(
        row, events=row.events[:half], evidence=[evidence for evidence in row.evidence if evidence.event_id in ids]
    )
    second = msgspec.structs.replace(
        row,
        events=row.events[half:],
        evidence=[evidence for evidence in row.evidence if evidence.event_id not in ids],
        vault=[],
    )
    return [*_split(first), *_split(second)]
