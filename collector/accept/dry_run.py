"""The dry run: judges a beacon as `pipeline.accept` does, step by step, and tells what became of it and why.

Nothing is counted, spooled or written anywhere. What is returned holds what would be stored, after every reduction;
of a beacon that is refused as a whole it holds reason and field and nothing else.
"""

from __future__ import annotations

from typing import Any

import msgspec

from collector.accept.advice import find_advice
from collector.accept.minimise import clean_text
from collector.accept.pace import pace
from collector.accept.pipeline import MAX_LINE_BYTES, STEPS
from collector.accept.removals import Removal, list_removals
from collector.event import (
    NIL_ID,
    WIRE_VERSION,
    Beacon,
    Context,
    Envelope,
    EvidenceRow,
    LandingRow,
    Rejected,
    WireEvent,
    WireIdentifier,
)
from collector.reasons import Reason
from collector.sites.book import Site

MAX_NOTES = 20
_NO_SITE = Site(site_id="", space_id="")
_ENCODE = msgspec.json.Encoder().encode


class Finding(msgspec.Struct, frozen=True):
    """One refusal: of the beacon (`event_id` empty), or of one event or field of it."""

    step: str
    reason: Reason
    field: str
    message: str
    fix: str
    event_id: str = ""
    event: str = ""  # the event's name


class DryRun(msgspec.Struct, frozen=True):
    """What would become of a beacon. `row`: without evidence and refusals, which stand beside it, and without the
    vault; None if refused."""

    accepted: bool
    site_id: str = ""  # of a site that exists
    rejected: tuple[Finding, ...] = ()
    removed: tuple[Removal, ...] = ()
    notes: tuple[str, ...] = ()
    row: LandingRow | None = None
    evidence: tuple[EvidenceRow, ...] = ()
    visitor_reply: str = ""  # visitor id that the answer would name


def try_out(body: bytes, context: Context) -> DryRun:
    """Judge one beacon and keep nothing. `body`: as for `pipeline.accept`. Never raises."""
    beacon = Beacon(
        body=body,
        envelope=Envelope(version=WIRE_VERSION, site_id="", sent_at_ms=0, events=[]),
        row=LandingRow(received_at_ms=context.received_at_ms, site_id="", space_id=""),
        site=_NO_SITE,
    )
    # Who is only looking is nobody's first sender.
    context = msgspec.structs.replace(context, claim_visitor=lambda *named: True)
    names: dict[str, str] = {}
    removed: list[Removal] = []
    for step in STEPS:
        if step is pace:
            continue  # what is only looked at takes nothing of the site's rate
        name, known = step.__name__, len(beacon.rejected)
        before = _copy(beacon.envelope) if name == "minimise" else None
        answer = step(beacon, context)
        if isinstance(answer, Rejected):
            return refuse(msgspec.structs.replace(answer, step=name), beacon.site.site_id)
        if name == "decode":
            names = {event.id.lower(): clean_text(event.name)[:128] for event in beacon.envelope.events}
        if before is not None:
            removed = list_removals(before, beacon.envelope)
        for index in range(known, len(beacon.rejected)):
            beacon.rejected[index] = msgspec.structs.replace(beacon.rejected[index], step=name)
    if len(_ENCODE(beacon.row)) > MAX_LINE_BYTES:
        return refuse(Rejected(Reason.SIZE, step="encode"), beacon.site.site_id)
    evidence = tuple(beacon.row.evidence)
    return DryRun(
        accepted=True,
        site_id=beacon.site.site_id,
        rejected=tuple(_explain(rejected, names.get(rejected.event_id, "")) for rejected in beacon.rejected),
        removed=tuple(removed),
        notes=tuple([*_list_notes(beacon, context), *_list_unknown_fields(body)][:MAX_NOTES]),
        row=msgspec.structs.replace(beacon.row, evidence=[], vault=[]),
        evidence=evidence,
        visitor_reply=beacon.visitor_reply or "",
    )


def refuse(rejected: Rejected, site_id: str = "") -> DryRun:
    """Return the outcome of a beacon that is refused as a whole."""
    return DryRun(accepted=False, site_id=site_id, rejected=(_explain(rejected, ""),))


def _copy(envelope: Envelope) -> Envelope:
    return msgspec.json.decode(_ENCODE(envelope), type=Envelope)


def _explain(rejected: Rejected, event: str) -> Finding:
    advice = find_advice(rejected.reason)
    event_id = "" if rejected.event_id == NIL_ID else rejected.event_id
    return Finding(rejected.step, rejected.reason, rejected.field, advice.message, advice.fix, event_id, event)


def _list_notes(beacon: Beacon, context: Context) -> list[str]:
    """Say what is right as it is, and yet may surprise."""
    row, notes = beacon.row, []
    if row.bot_reason and row.is_bot:
        notes.append(f"Marked as a robot's ({row.bot_reason}): reports leave it out.")
    if row.visitor_id == NIL_ID:
        notes.append("No visitor: neither the beacon nor a cookie names one.")
    elif not context.origin:
        notes.append("No Origin came along, as from a program: cookies are not read, and the visitor stays a claim.")
    elif beacon.set_cookie:
        notes.append("The beacon path would set the visitor's cookie with its answer; the dry run sets none.")
    if beacon.visitor_reply:
        notes.append("The cookie names another visitor than the beacon: the tag would be told to take that one over.")
    if not row.events:
        notes.append("No event of this beacon is left.")
    if not row.consent and not beacon.is_cookieless:
        notes.append("No purpose is granted.")
    if row.events and row.session_id == NIL_ID and not beacon.is_cookieless:
        notes.append("No session: these events count in no session's report.")
    if beacon.envelope.clock_offset_ms:
        notes.append(f"The sender's clock is mended by {beacon.envelope.clock_offset_ms} ms.")
    return notes


def _list_unknown_fields(body: bytes) -> list[str]:
    """Name fields that the wire does not know: they are ignored, and a misspelt one is missed by nobody else."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []
    found = _find_unknown(document, Envelope, "")
    for index, event in enumerate(document.get("e", ())):
        found += _find_unknown(event, WireEvent, f"e[{index}].")
        for position, identifier in enumerate(event.get("k", ())):
            found += _find_unknown(identifier, WireIdentifier, f"e[{index}].k[{position}].")
    return [f"The field {name} is unknown and ignored." for name in found]


def _find_unknown(given: dict[str, Any], shape: type[msgspec.Struct], path: str) -> list[str]:
    known = {field.encode_name for field in msgspec.structs.fields(shape)}
    return [f"{path}{name if name.isidentifier() and len(name) <= 32 else '…'}" for name in given if name not in known]
