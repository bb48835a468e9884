"""Step `pace`: refuses what comes faster than the site's own rate.

It stands behind `validate`, so that what other origins send uses nothing of that rate up.
"""

from __future__ import annotations

from collector.event import Beacon, Context, Reason, Rejected


def pace(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Ask whether the site may take so many events more, where it has a rate at all."""
    if beacon.site.rate and not context.admit_events(beacon.site, len(beacon.envelope.events)):
        return Rejected(Reason.RATE)
    return beacon
