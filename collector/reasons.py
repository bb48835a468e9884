"""Why something is not kept: one closed list of words, for the metrics, the answers and `rejected_events`."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something is not kept."""

    SIZE = "size"  # body, event or string over its bound
    ENCODING = "encoding"  # not UTF-8, or a content encoding that we do not take
    SYNTAX = "syntax"  # not JSON
    SHAPE = "shape"  # JSON, but not a beacon: field missing, of the wrong type
    DEPTH = "depth"  # nested too deep, or too many keys
    VERSION = "version"  # a wire version that we do not know
    SITE = "site"  # no such site
    ORIGIN = "origin"  # the page's origin is not on the site's list
    COUNT = "count"  # too many events, or none
    ID = "id"  # an event or visitor id that is no UUID
    CLOCK = "clock"  # time outside what may be accepted
    CONSENT = "consent"  # analytics was not consented to
    SIGNATURE = "signature"  # a signed identify that does not verify
    EXPIRED = "expired"  # a signed identify whose time is over
    KEYS = "keys"  # an ID token whose issuer has to be asked for its keys first
    UNVERIFIED = "unverified"  # an ID token that the issuer's known keys say nothing about: it counts as unsigned
    UNSIGNED = "unsigned"  # the site wants signed identifies only
    BLOCKED = "blocked"  # an identifier value that names nobody (null, undefined, guest …)
    OPTED_OUT = "opted_out"  # the person has objected: the opt-out cookie came along
    OFF = "off"  # the site's tag is switched off, or this visitor is not in the sample
    HANDOVER = "handover"  # a hand-over token that is forged, too old, or of another browser
    EXCLUDED = "excluded"  # a network that the site excludes
    RATE = "rate"  # too many at once
    LINK = "link"  # a tagged link that is forged, or leads where no site lets links lead
    ERASED = "erased"  # it happened before whom it is about was erased
    SCOPE = "scope"  # the key of a server may not do this


RETRYABLE = frozenset({Reason.RATE, Reason.KEYS})
"""Reasons after which the same bytes may be accepted later. All others: do not send it again."""
