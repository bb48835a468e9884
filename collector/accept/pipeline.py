"""The edge half of the way of one event: from the bytes of a beacon to one line of the spool.

`STEPS` run in order on a Beacon that belongs to one request. Each step returns it, changed, or says why it is
Rejected. Steps do no I/O and decide nothing by a clock of their own: all they may look at stands in the Context.
What is refused is counted, with the reason and the size and nothing of what was in it: see `refusals`.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import msgspec

from collector.accept.consent import consent
from collector.accept.decode import decode
from collector.accept.identify import identify
from collector.accept.minimise import minimise
from collector.accept.pace import pace
from collector.accept.recognise import recognise
from collector.accept.refusals import Refusal
from collector.accept.sample import sample
from collector.accept.validate import validate
from collector.event import WIRE_VERSION, Beacon, Context, Envelope, LandingRow, Rejected, RejectedRow
from collector.metrics import count_accepted, count_rejected, count_removed, count_step
from collector.reasons import Reason
from collector.sites.book import Site
from collector.sites.cookies import CookieForm, list_cookie_forms

Step = Callable[[Beacon, Context], Beacon | Rejected]

STEPS: tuple[Step, ...] = (decode, validate, pace, consent, minimise, recognise, identify, sample)

MAX_LINE_BYTES = 4_194_304
"""Largest line, half of what one insert takes. What a beacon says once (address, title) stands on each of its events,
so that a small body could otherwise make a line of 12 MB."""

_DROPS_COOKIE = frozenset((Reason.CONSENT, Reason.OPTED_OUT))
_NAMED_STEPS = tuple((step.__name__, step) for step in STEPS)
_NO_ENVELOPE = Envelope(version=WIRE_VERSION, site_id="", sent_at_ms=0, events=[])  # never filled in: decode makes one
_NO_SITE = Site(site_id="", space_id="")
_ENCODE = msgspec.json.Encoder().encode


class Accepted(msgspec.Struct, frozen=True):
    """A beacon that is kept, maybe without some of its events, and what the answer says."""

    line: bytes  # one LandingRow as JSON, to be spooled before the answer
    site_id: str
    events: int
    reasons: tuple[Reason, ...]  # why single events or fields were refused
    set_cookie: str | None  # value of the visitor cookie; "" takes it away; None leaves it
    visitor_reply: str | None  # visitor id that the tag must take over
    cookie_forms: tuple[CookieForm, ...] = ()  # where that value goes; behind it the forms that go
    handover: str | None = None  # hand-over token for the tag
    rejected: tuple[Rejected, ...] = ()  # the single refusals


class Refused(msgspec.Struct, frozen=True):
    """A beacon that is refused as a whole. `refusal` counts it and says why. `line`: what is spooled before the answer
    all the same, that somebody has taken everything back; mostly nothing."""

    refusal: Refusal
    rejected: Rejected
    set_cookie: str | None = None
    cookie_forms: tuple[CookieForm, ...] = ()
    line: bytes = b""


def accept(body: bytes, context: Context) -> Accepted | Refused:
    """Judge one beacon. `body`: at most `max_body_bytes`, without content encoding. Never raises."""
    row = LandingRow(received_at_ms=context.received_at_ms, site_id="", space_id="")
    beacon = Beacon(body=body, envelope=_NO_ENVELOPE, row=row, site=_NO_SITE)
    for name, step in _NAMED_STEPS:
        known = len(beacon.rejected)
        answer = step(beacon, context)
        count_step(name)
        if isinstance(answer, Rejected):
            return _refuse(beacon, context, msgspec.structs.replace(answer, step=name))
        if known < len(beacon.rejected):
            for index in range(known, len(beacon.rejected)):
                beacon.rejected[index] = msgspec.structs.replace(beacon.rejected[index], step=name)
    line = _ENCODE(beacon.row)
    if len(line) > MAX_LINE_BYTES:
        return _refuse(beacon, context, Rejected(Reason.SIZE, step="encode"))
    if beacon.rejected:
        beacon.row.rejected = _count_single(beacon, context)
        line = _ENCODE(beacon.row)
    count_accepted(beacon.site.site_id, len(beacon.row.events))
    for place, values in beacon.removed.items():
        count_removed(place, values)
    return Accepted(
        line=line,
        site_id=beacon.site.site_id,
        events=len(beacon.row.events),
        reasons=tuple(sorted({rejected.reason for rejected in beacon.rejected})) if beacon.rejected else (),
        set_cookie=beacon.set_cookie,
        visitor_reply=beacon.visitor_reply,
        cookie_forms=_list_cookie_forms(beacon, context),
        handover=beacon.handover_reply,
        rejected=tuple(beacon.rejected),
    )


def refuse_unread(reason: Reason, body_bytes: int, context: Context, retry_after_s: int = 0) -> Refused:
    """Refuse a body that was never read to its end, by its size (0: not known)."""
    rejected = Rejected(reason, step="read", retry_after_s=retry_after_s)
    row = RejectedRow(step="read", reason=reason, body_bytes=body_bytes)
    count_rejected("read", reason)
    return Refused(Refusal(context.received_at_ms, "", "", row), rejected)


def _refuse(beacon: Beacon, context: Context, rejected: Rejected) -> Refused:
    row = RejectedRow(
        step=rejected.step,
        reason=rejected.reason,
        field=rejected.field,
        body_bytes=len(beacon.body),
        events=len(beacon.envelope.events),
        digest=_digest(beacon.body, context),
    )
    count_rejected(rejected.step, rejected.reason)
    refusal = Refusal(context.received_at_ms, beacon.site.site_id, beacon.site.space_id, row, beacon.site.rejected_days)
    if rejected.reason not in _DROPS_COOKIE:
        return Refused(refusal, rejected)
    line = _ENCODE(_make_withdrawal(beacon)) if beacon.withdrawals else b""
    return Refused(refusal, rejected, beacon.set_cookie, _list_cookie_forms(beacon, context), line)


def _make_withdrawal(beacon: Beacon) -> LandingRow:
    """Return the row of who has taken everything back: that, and nothing else of the beacon."""
    row = beacon.row
    return LandingRow(row.received_at_ms, row.site_id, row.space_id, visitor_proof="none", consents=beacon.withdrawals)


def _list_cookie_forms(beacon: Beacon, context: Context) -> tuple[CookieForm, ...]:
    if beacon.set_cookie is None:
        return ()
    return (list_cookie_forms(beacon.site, context.secure)[0], *beacon.stale_cookies)


def _count_single(beacon: Beacon, context: Context) -> list[RejectedRow]:
    """Sum single refusals up: one row for each step and reason, with the first field as the example."""
    rows: dict[tuple[str, Reason], RejectedRow] = {}
    for rejected in beacon.rejected:
        row = rows.get((rejected.step, rejected.reason))
        if row is None:
            row = RejectedRow(step=rejected.step, reason=rejected.reason, field=rejected.field)
            row.digest = _digest(beacon.body, context)
            rows[rejected.step, rejected.reason] = row
        row.events += bool(rejected.event_id)
        count_rejected(rejected.step, rejected.reason)
    return list(rows.values())


def _digest(body: bytes, context: Context) -> str:
    return blake2b(body, digest_size=16, key=context.keyring.digest_key.encode()[:64]).hexdigest()
