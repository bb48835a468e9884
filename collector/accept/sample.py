"""Step `sample`: keeps the site's share of visitors, each of them whole or not at all.

The last step, because only `identify` settles which visitor it is. Who is in the sample follows from the visitor id
under a key of the instance: the same on every host, not to be chosen by a client, and whoever is in stays in when the
share grows. Events without a visitor are drawn by the first event's id, so that a retry has the same fate.
"""

from __future__ import annotations

from hashlib import blake2b

from collector.event import NIL_ID, Beacon, Context, Rejected
from collector.reasons import Reason


def sample(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Refuse what is not of the sample."""
    share, row = beacon.site.sample, beacon.row
    if share >= 1 or not row.events:
        return beacon
    drawn_by = row.visitor_id if row.visitor_id != NIL_ID else row.events[0].event_id
    return beacon if draw(context.keyring.digest_key, drawn_by) < share else Rejected(Reason.OFF)


def draw(key: str, text: str) -> float:
    """Return the number from 0 to 1, without 1, that stands for a text."""
    digest = blake2b(text.encode(), digest_size=8, key=key.encode()[:64], person=b"tagstitch.sample").digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)
