"""A kept body judged again: the steps of `accept.pipeline`, as they are now, on what was kept. No I/O.

The steps see the moment at which it was received, and no cookie: what was read of the request then is put back in the
place of `recognise`. A refusal for its time is judged by today's clock, because the clock may have been what was
wrong. What is refused again is not written down again: it has been.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from collector.accept.kept_bodies import KeptBody, KeptFacts
from collector.accept.pipeline import MAX_LINE_BYTES, STEPS
from collector.event import WIRE_VERSION, Beacon, Context, Envelope, LandingRow, Rejected
from collector.keyring import Keyring
from collector.reasons import Reason
from collector.sites.book import Site, SiteBook

NOT_AGAIN = frozenset(("pace", "recognise"))
"""Steps that are about the moment of the request."""

_NO_SITE = Site(site_id="", space_id="")
_ENCODE = msgspec.json.Encoder().encode


@dataclass(slots=True, frozen=True)
class Judgement:
    """What became of a kept body. `line`: to be spooled, with `events` events; None where nothing is accepted."""

    line: bytes | None = None
    events: int = 0
    refused: Counter[Reason] = field(default_factory=Counter)  # events by reason

    @property
    def is_settled(self) -> bool:
        """Whether all of it is accepted now, so that it need not be kept."""
        return self.line is not None and not self.refused


def judge(kept: KeptBody, sites: SiteBook, keyring: Keyring, now_ms: int, max_events: int = 500) -> Judgement:
    """Judge it. `sites`: as they are now. Never raises."""
    context = Context(
        received_at_ms=now_ms if kept.reason is Reason.CLOCK else kept.received_at_ms,
        sites=sites,
        keyring=keyring,
        origin=kept.origin,
        secure=kept.secure,
        may_set_visitor=False,
        max_events=max_events,
    )
    beacon = Beacon(
        body=_ENCODE(kept.envelope),
        envelope=Envelope(version=WIRE_VERSION, site_id="", sent_at_ms=0, events=[]),
        row=LandingRow(received_at_ms=context.received_at_ms, site_id="", space_id=""),
        site=_NO_SITE,
    )
    for step in STEPS:
        if step.__name__ == "recognise":
            _restore(beacon, kept.facts)
        if step.__name__ in NOT_AGAIN:
            continue
        answer = step(beacon, context)
        if isinstance(answer, Rejected):
            return Judgement(refused=Counter({answer.reason: len(kept.envelope.events)}))
    row = beacon.row
    if kept.visitor_proof and row.visitor_id == kept.envelope.visitor_id:
        row.visitor_proof = kept.visitor_proof
    landed = {event.event_id for event in row.events}
    refused = Counter(one.reason for one in beacon.rejected if one.event_id and one.event_id not in landed)
    if not row.events:
        return Judgement(refused=refused)
    line = _ENCODE(row)
    if len(line) > MAX_LINE_BYTES:
        return Judgement(refused=Counter({Reason.SIZE: len(row.events)}))
    return Judgement(line, len(row.events), refused)


def _restore(beacon: Beacon, facts: KeptFacts) -> None:
    """Put back what the request said, as far as the site as it is now wants it."""
    for name, value in msgspec.structs.asdict(facts).items():
        setattr(beacon.row, name, value)
    if beacon.site.count_automated:
        beacon.row.is_bot = 0
