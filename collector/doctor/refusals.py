"""What to do about each reason for which a beacon or an event is refused. docs/troubleshooting.md says the same."""

from __future__ import annotations

from collector.reasons import Reason

REMEDIES: dict[str, str] = {
    Reason.SIZE: "send less in one event: long texts and big properties go",
    Reason.ENCODING: "send UTF-8, plain or as one gzip member",
    Reason.SYNTAX: "something else than the tag sends there: look at what calls the beacon's path",
    Reason.SHAPE: "compare the fields with docs/wire-format.md; an identifier's kind must be declared for the site",
    Reason.DEPTH: "send flat properties",
    Reason.VERSION: "the tag is newer than the collector: update the collector",
    Reason.SITE: "the page names a site that is not here: `tagstitch site list`, then mend data-site or add the site",
    Reason.ORIGIN: "if the page is yours, add its origin to the site; if not, somebody copied the snippet",
    Reason.COUNT: "send at least one event and no more than the setting max_events",
    Reason.ID: "ids of events and visitors are UUIDs: docs/wire-format.md",
    Reason.CLOCK: "the device's clock is off by days, or the events waited for more than a week: nothing to do",
    Reason.CONSENT: "visitors who said no: nothing to do. All of them? The preset of site and snippet differ",
    Reason.SIGNATURE: "the page signs with another secret, site, kind or value: docs/sign-identify.md",
    Reason.EXPIRED: "the page shows an old signature, perhaps from a cache: sign for each answer",
    Reason.KEYS: "an issuer of ID tokens was asked for a new key: browsers send it again, nothing to do",
    Reason.UNVERIFIED: "an issuer of ID tokens shows no such key: the log of web says why, docs/sign-identify.md more",
    Reason.UNSIGNED: "the site takes signed identifies only: docs/sign-identify.md",
    Reason.BLOCKED: "the page identifies with a word such as guest or null: call identify for known customers only",
    Reason.OPTED_OUT: "visitors who objected: nothing to do",
    Reason.ERASED: "what happened before somebody was erased, and came late: nothing to do",
    Reason.OFF: "the site's tag is switched off, or the visitor is not in its sample: `tagstitch site show` says which",
    Reason.HANDOVER: "a link between your domains was opened late, in another browser or network: nothing to do",
    Reason.EXCLUDED: "a network on the site's list of excluded ones, such as your office: nothing to do",
    Reason.RATE: (
        "more than `address_rate` or the site's `--rate`: a loop in the page, a robot, "
        "or a proxy that `trusted_proxies` does not name"
    ),
    Reason.LINK: (
        "forged or cut links: nothing to do. With the field target: links lead where no site of their space lets them, "
        "so add that host to the site's origins or its link_hosts"
    ),
    Reason.SCOPE: "give the server a key with scope track, and identify-server where it names customers",
}

EXPECTED = frozenset((Reason.CONSENT, Reason.EXCLUDED, Reason.CLOCK, Reason.OPTED_OUT, Reason.OFF, Reason.ERASED))
"""Refusals that a healthy instance has every day."""


def find_remedy(reason: str) -> str:
    """Return what to do about a reason, also one that this version does not know."""
    return REMEDIES.get(reason, "docs/wire-format.md says what each reason means")
