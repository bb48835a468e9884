"""What the endpoints of tagged links share: the host's site, writing a row down, counting what leaves none."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.accept.clicks import find_host_site, find_refusal, make_click
from collector.accept.refusals import Refusal
from collector.endpoints.edge import Edge, RequestFacts
from collector.endpoints.pixel import make_id
from collector.errors import SpoolError
from collector.event import LandingRow, RejectedRow
from collector.links.judgement import Judged
from collector.metrics import count_rejected, count_request
from collector.reasons import Reason
from collector.sites.book import Site

STEP = "link"
"""What refused links are counted under, where beacons have the name of a step."""

_ENCODE = msgspec.json.Encoder().encode


class LinkDesk:
    """The parts of one web process."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge

    def find_site(self, scope: dict[str, Any], facts: RequestFacts, space_id: str) -> Site | None:
        """Return the site of the host that was asked, see `accept.clicks.find_host_site`."""
        host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
        host = self.edge.public_origin.partition("://")[2] or host
        return find_host_site(host, space_id, facts.context.sites.sites.values())

    async def record(self, facts: RequestFacts, site: Site, judged: Judged, **more: Any) -> None:
        """Write the row of a request, unless there is a reason not to. Never raises: the answer does not hang on it."""
        context = facts.context
        if self.edge.limits.judge_address(context.address):
            self.refuse(facts, Reason.RATE, site)
            return
        refusal = find_refusal(context, site)
        if refusal is not None:
            self.refuse(facts, refusal, site)
            return
        row = make_click(context, site, judged, event_id=make_id(context.received_at_ms), **more)
        if not await self.write(row):
            count_request("link unrecorded")

    async def write(self, row: LandingRow) -> bool:
        """Return once the row is on disk; False where it cannot be."""
        try:
            await self.edge.spool.append(_ENCODE(row))
        except SpoolError:
            return False
        return True

    def refuse(self, facts: RequestFacts, reason: Reason, site: Site | None = None, field: str = "") -> None:
        """Count a request that leaves no row."""
        count_rejected(STEP, reason)
        row = RejectedRow(step=STEP, reason=reason, field=field)
        whose = ("", "") if site is None else (site.site_id, site.space_id)
        self.edge.refusals.note(Refusal(facts.context.received_at_ms, *whose, row))
