"""What each reason of a refusal means, and what its sender can do: the words of the dry run.

Sentences for whoever builds a page. They never hold anything of a beacon.
"""

from __future__ import annotations

from typing import NamedTuple

from collector.reasons import Reason


class Advice(NamedTuple):
    """What is wrong, and how it is mended."""

    message: str
    fix: str


ADVICE: dict[Reason, Advice] = {
    Reason.SIZE: Advice(
        "The body or one of its fields is larger than this collector takes.",
        "Send fewer events at once, and keep texts under 8,192 characters and an event under 64 KB.",
    ),
    Reason.ENCODING: Advice(
        "The body is not UTF-8, or comes in a content encoding that is not taken.",
        "Send UTF-8 as it is, or as exactly one gzip member with Content-Encoding: gzip.",
    ),
    Reason.SYNTAX: Advice("The body is not JSON.", "Write it with JSON.stringify, and send one document alone."),
    Reason.SHAPE: Advice(
        "A field is missing, has the wrong type or the wrong form.",
        "Compare the field with the tables of docs/wire-format.md; an identifier's kind must be one that the site has, "
        "and its value one of that kind.",
    ),
    Reason.DEPTH: Advice(
        "The body nests too deep, or the properties have too many keys.",
        "Keep nesting under 16 levels and the keys of one event under 257.",
    ),
    Reason.VERSION: Advice(
        "This collector does not know this version of the wire format or of the signals.",
        "Send version 1, or update the collector before its tags.",
    ),
    Reason.SITE: Advice(
        "There is no such site here.",
        "Compare the site id with tagstitch site list; a site is made with tagstitch site add.",
    ),
    Reason.ORIGIN: Advice(
        "The page's origin is not on the site's list.",
        "Add it: tagstitch site add SITE --replace --origin …; scheme, host and port are compared letter by letter.",
    ),
    Reason.COUNT: Advice(
        "There are no events, too many of them, or too many identifiers.",
        "Send 1 to 500 events in a beacon, at most 8 identifiers with an event and 64 in all.",
    ),
    Reason.ID: Advice(
        "An id is no UUID, or an event's id came twice.",
        "Make a fresh UUID for every event; a UUIDv7 sorts by time.",
    ),
    Reason.CLOCK: Advice(
        "A time lies more than 7 days before or 5 minutes after its arrival.",
        "Send milliseconds since 1970, and compare the clock with the answer's Date; the field o mends a wrong clock.",
    ),
    Reason.CONSENT: Advice(
        "It was not consented to.",
        "Grant the purpose (tagstitch('consent', …)) before, or leave it: without consent this is what shall happen.",
    ),
    Reason.SIGNATURE: Advice(
        "A signature or token does not verify.",
        "Sign site, kind, value and time on the server with the site's present secret: see docs/sign-identify.md.",
    ),
    Reason.EXPIRED: Advice(
        "A signature or token is past its time.", "Sign anew with each page, with a time that is still to come."
    ),
    Reason.KEYS: Advice(
        "The token's issuer is being asked for its keys.", "Send the same bytes again after the time in Retry-After."
    ),
    Reason.UNVERIFIED: Advice(
        "The token's issuer shows no key by which it could be verified, so it counts as unsigned.",
        "Say it again with the next page; if it stays so, the log of web says why the keys cannot be read.",
    ),
    Reason.UNSIGNED: Advice(
        "The site takes signed identifiers only.", "Sign the value on the server: see docs/sign-identify.md."
    ),
    Reason.BLOCKED: Advice(
        "The identifier names nobody: null, undefined, guest and the like.",
        "Call identify only when somebody is signed in, with that customer's own value.",
    ),
    Reason.OPTED_OUT: Advice(
        "The person has objected: the cookie _ts_out=1 came along.",
        "Take the objection back on the opt-out page, if this is your own browser.",
    ),
    Reason.OFF: Advice(
        "The site's tag is switched off, or this visitor is not in its sample.",
        "Look at tagstitch site show: its tag and its sample.",
    ),
    Reason.HANDOVER: Advice(
        "The hand-over token is forged, too old, or came from another browser or page.",
        "Link from a page of the same space, without noreferrer, and follow the link within five minutes.",
    ),
    Reason.LINK: Advice(
        "The tagged link is forged or cut, or leads where no site of its space lets links lead.",
        "Copy the whole link; add the target's host to the site's origins or its link hosts.",
    ),
    Reason.EXCLUDED: Advice(
        "The request comes from a network that the site excludes.",
        "Test from another network, or take this one off the site's list.",
    ),
    Reason.ERASED: Advice(
        "It happened before whom it is about was erased.",
        "Nothing to mend: what comes later is taken in again, and belongs to somebody new.",
    ),
    Reason.SCOPE: Advice(
        "The key may not do this.", "Make a key with the scope that this needs: tagstitch key create --scope …."
    ),
    Reason.RATE: Advice("Too many at once.", "Send the same bytes again after the time that Retry-After names."),
}
_OTHER = Advice("This is not accepted.", "See docs/wire-format.md.")


def find_advice(reason: Reason) -> Advice:
    """Return what to say about a reason."""
    return ADVICE.get(reason, _OTHER)
