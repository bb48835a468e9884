"""Who a server's call is about: a visitor, customers, or both; never nobody.

A customer that a server names by a key with the scope identify-server is level 4. By any other key, and where nobody
has verified who it was, it is a claim (level 1), a hint on a visitor and no more: so there must be a visitor, or the
event would be nobody's. What cannot name a customer is left out and said; a call that says nothing without it is
refused.

Only a key with the scope merge says that two customers are one. By any other, further identifiers of unique kinds stand
at level 3, at which `resolve` ties them to the first where they are nobody else's, and never makes one person of two;
and a second value of one unique kind is left out, because it says of one call that it is about two people.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from collector.accept.assurance import SIGNED
from collector.accept.bounds import find_excess
from collector.accept.identifiers import CLAIMED, Known, keep_surest, name_known
from collector.accept.server_events_agent import NOT_VERIFIED
from collector.accept.server_events_call import ALIAS, GROUP, IDENTIFY, Call, CallContext
from collector.accept.server_events_ids import make_visitor_id
from collector.accept.server_events_statement import Caller, Statement, refuse
from collector.event import NIL_ID, WIRE_VERSION, Beacon, Context, Envelope, LandingRow, Rejected, WireIdentifier
from collector.identity.evidence import SERVER
from collector.identity.identifiers import MAX_VALUE_CHARS, is_blocked
from collector.reasons import Reason
from collector.sites.book import Site

CUSTOMER = "customer"
_PATHS = {
    "n": "event",
    "u": "context.page.url",
    "r": "context.page.referrer",
    "h": "context.page.title",
    "k": "context.externalIds",
}

Said = list[tuple[str, WireIdentifier]]
"""Identifiers as a call gives them, each with its path."""


def read_who(statement: Statement, call: Call, where: CallContext, caller: Caller) -> Rejected | None:
    """Fill in visitor and customers."""
    site, event = statement.site, statement.event
    anonymous_id = "" if call.anonymous_id is None else str(call.anonymous_id).strip()
    if len(anonymous_id) > MAX_VALUE_CHARS:
        return refuse(Reason.SIZE, "anonymousId")
    if anonymous_id:
        if is_blocked(anonymous_id):
            return refuse(Reason.BLOCKED, "anonymousId")
        statement.visitor_id = make_visitor_id(caller.keyring.pseudonym_key, site.space_id, anonymous_id)
    said = list(_list_identifiers(call, where))
    event.identifiers = [identifier for _, identifier in said]
    excess = _find_excess(statement, [path for path, _ in said])
    if excess:
        return excess
    if "i" not in statement.letters:
        return _forget_customers(statement, call, said)
    if not said and statement.visitor_id == NIL_ID:
        return refuse(Reason.SHAPE, "userId", "identify")
    _name_customers(statement, said, caller)
    if call.type == GROUP and call.group_id in (None, ""):
        return refuse(Reason.SHAPE, "groupId")
    if call.type == GROUP and is_blocked(str(call.group_id)):
        return refuse(Reason.BLOCKED, "groupId")
    return _check_known(statement, call, bool(said), caller)


def _list_identifiers(call: Call, where: CallContext) -> Iterator[tuple[str, WireIdentifier]]:
    """Yield the identifiers with their paths, the customer first."""
    if call.user_id not in (None, ""):
        yield "userId", WireIdentifier(kind=CUSTOMER, value=str(call.user_id))
    if call.joins_customers and call.previous_id not in (None, ""):
        yield "previousId", WireIdentifier(kind=CUSTOMER, value=str(call.previous_id))
    for index, external in enumerate(where.external_ids or ()):
        yield f"context.externalIds[{index}]", WireIdentifier(kind=external.type, value=str(external.id))


def _name_customers(statement: Statement, said: Said, caller: Caller) -> None:
    """Fill in the customers that stand; the others are left out, each with its reason."""
    beacon, context = _make_stage(statement.site, caller)
    level = SERVER if _may_vouch(statement, caller) else CLAIMED
    known: list[Known] = []
    for path, identifier in said:
        answer = name_known(beacon, context, identifier.kind, identifier.value)
        if isinstance(answer, Known):
            is_late = answer.erased_ms > statement.event.time_ms
            answer = Reason.ERASED if is_late else _judge_right(answer, known, level, statement, caller)
        if isinstance(answer, Known):
            known.append(answer)
        else:
            statement.left_out.append(refuse(answer, path, "identify"))
    statement.known = keep_surest(known)


def _may_vouch(statement: Statement, caller: Caller) -> bool:
    """Whether the customers that the call names are level 4: who may merge two may name them."""
    may_name = caller.may_identify or (statement.joins_customers and caller.may_merge)
    return may_name and statement.verification != NOT_VERIFIED


def _judge_right(named: Known, before: list[Known], level: int, statement: Statement, caller: Caller) -> Known | Reason:
    """Return the customer at the level that the key gives it, beside those named before, or why it is left out."""
    if level == CLAIMED and statement.site.identify == "signed":
        return Reason.UNSIGNED
    if named.kind.unique and level == SERVER and not caller.may_merge:
        others = [other for other in before if other.kind.unique and other.key != named.key]
        if any(other.kind.name == named.kind.name for other in others):
            return Reason.SCOPE
        if others:
            level = SIGNED
    return msgspec.structs.replace(
        named, level=level, source=caller.source, actor=statement.actor, verification=statement.verification
    )


def _check_known(statement: Statement, call: Call, has_said: bool, caller: Caller) -> Rejected | None:
    """Refuse what says nothing without the customers that it should name."""
    known, problems = statement.known, statement.left_out
    joins = call.joins_customers
    missing = "previousId" if joins and len(known) == 1 and call.user_id not in (None, "") else "userId"
    if (call.type in (IDENTIFY, ALIAS) and not known) or (joins and len(known) < 2):
        return problems[0] if problems else refuse(Reason.SHAPE, missing, "identify")
    vouched = _may_vouch(statement, caller)
    if joins and not vouched:
        return refuse(Reason.UNVERIFIED, "context.verification", "identify")
    if statement.visitor_id != NIL_ID or (known and vouched):
        return None
    if has_said and not known:
        return problems[0]
    if statement.verification == NOT_VERIFIED and caller.may_identify:
        return refuse(Reason.UNVERIFIED, "context.verification", "identify")
    return refuse(Reason.SCOPE, "userId", "identify")


def _forget_customers(statement: Statement, call: Call, said: Said) -> Rejected | None:
    """Keep the event without whoever it names, where identity was not consented to."""
    statement.event.identifiers = []
    if call.type in (IDENTIFY, ALIAS, GROUP):
        return refuse(Reason.CONSENT, "context.consent", "consent")
    statement.left_out += [refuse(Reason.CONSENT, path, "consent") for path, _ in said]
    return None


def _make_stage(site: Site, caller: Caller) -> tuple[Beacon, Context]:
    """Make the beacon and the context that the steps' functions ask for, as far as naming customers needs them."""
    row = LandingRow(received_at_ms=caller.received_at_ms, site_id=site.site_id, space_id=site.space_id)
    envelope = Envelope(version=WIRE_VERSION, site_id=site.site_id, sent_at_ms=caller.received_at_ms, events=[])
    context = Context(received_at_ms=caller.received_at_ms, sites=caller.sites, keyring=caller.keyring)
    return Beacon(body=b"", envelope=envelope, row=row, site=site), context


def _find_excess(statement: Statement, paths: list[str]) -> Rejected | None:
    """Return why the event holds too much or too little, with the sender's own name of the field."""
    found = find_excess(statement.event)
    if found is None:
        return None
    name, _, rest = found.field.partition(".")
    if name == "p" or name.startswith("p["):  # the name of a property may be none that can stand in a path
        props = "traits" if statement.type in (IDENTIFY, ALIAS) else "properties"
        below = f"{name[1:]}.{rest}" if rest else name[1:]
        path = below.lstrip(".") if statement.type == GROUP else props + below
    elif name.startswith("k["):
        path = paths[int(name[2:-1])]
    else:
        path = _PATHS[name]
    return refuse(found.reason, path)
