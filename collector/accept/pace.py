"""Step `pace`: refuses what comes faster than the site's own rate.

It stands behind `validate`, so that what other origins send uses nothing of that rate up.
"""

from __future__ import annotations

from collector.event import Beacon, Context, Rejected
from collector.reasons import Reason


def pace(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Ask whether the site may take so many events more, where it has a rate; a refusal says how long to wait."""
    wait_s = context.judge_rate(beacon.site, len(beacon.envelope.events)) if beacon.site.rate else 0
    return Rejected(Reason.RATE, retry_after_s=wait_s) if wait_s else beacon
