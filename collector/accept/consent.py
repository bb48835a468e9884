"""Step `consent`: what was consented to, and everything else taken out.

Runs before any step that derives something. What a page has said (`c` on the wire) is read by the site's preset:

    required   only what `c` grants
    implied    no `c`: storage, identity and marketing; with `c`: what it grants
    off        no `c`: everything; with `c`: what it grants

Global Privacy Control always takes fingerprint and marketing away. Without storage nothing of the beacon is kept but
the count of it.
"""

from __future__ import annotations

from collector.event import PURPOSE_BY_LETTER, Beacon, Context, Purpose, Reason, Rejected

_ALL = frozenset(Purpose)
_WITHOUT_SCRIPT_READING = _ALL - {Purpose.FINGERPRINT}
_NOT_UNDER_GPC = frozenset((Purpose.FINGERPRINT, Purpose.MARKETING))
_BY_PRESET: dict[str, frozenset[Purpose]] = {"implied": _WITHOUT_SCRIPT_READING, "off": _ALL}

IDENTIFY = "identify"


def consent(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Keep what was consented to. Fills in the purposes."""
    envelope = beacon.envelope
    purposes = read_purposes(envelope.consent, beacon.site.consent)
    if context.gpc:
        purposes -= _NOT_UNDER_GPC
    if Purpose.STORAGE not in purposes:
        return Rejected(Reason.CONSENT)
    beacon.purposes = purposes
    beacon.row.consent = ",".join(sorted(purposes))
    if Purpose.FINGERPRINT not in purposes and envelope.fingerprint is not None:
        envelope.fingerprint = None
        beacon.rejected.append(Rejected(Reason.CONSENT, field="f"))
    if Purpose.IDENTITY not in purposes:
        _forget_identity(beacon)
    return beacon


def read_purposes(letters: str | None, preset: str) -> frozenset[Purpose]:
    """Return what the wire's letters grant on a site with this preset. Unknown letters grant nothing."""
    if letters is None:
        return _BY_PRESET.get(preset, frozenset())
    return frozenset(PURPOSE_BY_LETTER[letter] for letter in letters[:16] if letter in PURPOSE_BY_LETTER)


def _forget_identity(beacon: Beacon) -> None:
    """Take identifiers and the link away; an `identify` says nothing without them and goes."""
    envelope = beacon.envelope
    if envelope.link_token:
        envelope.link_token = ""
        beacon.rejected.append(Rejected(Reason.CONSENT, field="lt"))
    kept = []
    for event in envelope.events:
        if event.identifiers or event.name == IDENTIFY:
            event.identifiers = []
            beacon.rejected.append(Rejected(Reason.CONSENT, field="e.k", event_id=event.id))
        if event.name != IDENTIFY:
            kept.append(event)
    envelope.events = kept
