"""What somebody answers on a page of ours, as a row for the spool: entries of the ledger, and nothing else.

On the page for objections, and on that of one's own data where nobody has proved who sits there, the answer is the
browser's. Where somebody has, it is the person's (`purposes.PERSONAL_SOURCES`), whatever browser they use.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from collector.event import ConsentRow, LandingRow
from collector.purposes import Purpose
from collector.sites.book import Site

BROWSER_SOURCE, PERSON_SOURCE = "opt_out", "privacy"
GRANTED, WITHDRAWN = "granted", "withdrawn"


def make_own_answers(
    site: Site, keys: Iterable[str], purposes: Iterable[Purpose], state: str, source: str, page: str, now_ms: int
) -> LandingRow:
    """Return the row. `keys`: own person ids of whom it is about; `page`: address of our page; `now_ms`: milliseconds
    since 1970."""
    wanted = sorted(purposes)
    entries = []
    for key in sorted(set(keys)):
        for purpose in wanted:
            text = f"{key}|{purpose}|{state}|{source}|{now_ms}"
            entries.append(
                ConsentRow(
                    consent_id=blake2b(text.encode(), digest_size=16, person=b"tagstitch.consen").hexdigest(),
                    key=key,
                    purpose=purpose,
                    state=state,
                    source=source,
                    time_ms=now_ms,
                    policy_version=site.policy_version,
                    page=page,
                )
            )
    return LandingRow(now_ms, site.site_id, site.space_id, visitor_proof="none", consents=entries)
