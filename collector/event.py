"""The shapes that an event takes on its way, each once.

    Envelope, WireEvent   one HTTP body, as the tag writes it: short names, see docs/wire-format.md
    Beacon                the envelope and what the edge has learned about it; the steps fill it in
    LandingRow            one line of the spool, one row of the table `landing`: long names
    Context               the facts of the request, the settings and the keys that the steps may look at
    Rejected              why a beacon or one of its events is not kept

Invariants: nothing here does I/O. An Envelope is never written anywhere; only a LandingRow is, and it is made
after the consent step. `time_ms` of an event is the tag's clock plus the tag's own offset, never a function of
the arrival, so that a retry gives the same row key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from collector.purposes import Purpose
from collector.reasons import Reason

if TYPE_CHECKING:
    from collector.id_tokens.keys import KeyBook
    from collector.keyring import Keyring
    from collector.links.watch import LinkWatch
    from collector.sites.book import Site, SiteBook
    from collector.sites.cookies import CookieForm

WIRE_VERSION = 1
NIL_ID = "00000000-0000-0000-0000-000000000000"
"""Stands for "no visitor" where a column is part of a sorting key."""


class Rejected(msgspec.Struct, frozen=True):
    """A refusal: of a whole beacon, or of one event of it (`event_id` set)."""

    reason: Reason
    step: str = ""
    field: str = ""  # path of the field, such as "e[3].p.price"; never its value
    event_id: str = ""
    retry_after_s: int = 0  # in how many seconds the same would be taken; 0: not known


# --- the wire -----------------------------------------------------------------------------------------------


class WireIdentifier(msgspec.Struct):
    """An identifier as the page gave it: kind, value and, where the site signs, the signature."""

    kind: str = msgspec.field(name="k")
    value: str = msgspec.field(name="v")
    signature: str = msgspec.field(name="g", default="")
    token: str = msgspec.field(name="j", default="")  # an ID token; the value then may be empty
    nonce: str = msgspec.field(name="n", default="")  # what the page asked the issuer to put into the token
    origin: str = msgspec.field(name="o", default="")  # where the tag found it: param, cookie, meta, data, js


class WireSession(msgspec.Struct):
    """The session as the tag counts it. `started_ms` is milliseconds since 1970 by the tag's clock."""

    id: str = msgspec.field(name="i")
    number: int = msgspec.field(name="n", default=0)
    started_ms: int = msgspec.field(name="t", default=0)


class WireEvent(msgspec.Struct):
    """One event. `time_ms`: milliseconds since 1970 by the tag's clock; url, referrer and title only where they
    differ from the envelope's."""

    id: str = msgspec.field(name="i")
    name: str = msgspec.field(name="n")
    time_ms: int = msgspec.field(name="t")
    url: str = msgspec.field(name="u", default="")
    referrer: str = msgspec.field(name="r", default="")
    title: str = msgspec.field(name="h", default="")
    props: dict[str, Any] = msgspec.field(name="p", default_factory=dict)
    identifiers: list[WireIdentifier] = msgspec.field(name="k", default_factory=list)
    sequence: int = msgspec.field(name="q", default=0)


class WireFingerprint(msgspec.Struct):
    """Device signals: `version` of the module that read them, and value or reason by signal name."""

    version: int = msgspec.field(name="v")
    signals: dict[str, Any] = msgspec.field(name="s", default_factory=dict)


class Envelope(msgspec.Struct):
    """One HTTP body. Unknown fields are ignored, so that an older collector takes a newer tag's beacons."""

    version: int = msgspec.field(name="v")
    site_id: str = msgspec.field(name="s")
    sent_at_ms: int = msgspec.field(name="st")
    events: list[WireEvent] = msgspec.field(name="e")
    visitor_id: str = msgspec.field(name="d", default="")
    reset_from: str = msgspec.field(name="rf", default="")
    clock_offset_ms: int = msgspec.field(name="o", default=0)
    consent: str | None = msgspec.field(name="c", default=None)
    url: str = msgspec.field(name="u", default="")
    referrer: str = msgspec.field(name="r", default="")
    title: str = msgspec.field(name="h", default="")
    language: str = msgspec.field(name="l", default="")
    time_zone: str = msgspec.field(name="z", default="")
    viewport: str = msgspec.field(name="w", default="")
    session: WireSession | None = msgspec.field(name="x", default=None)
    automation: int = msgspec.field(name="b", default=0)
    fingerprint: WireFingerprint | None = msgspec.field(name="f", default=None)
    link_token: str = msgspec.field(name="lt", default="")
    human: str = msgspec.field(name="hs", default="")
    handover: str = msgspec.field(name="ho", default="")  # token that this visitor came with from another domain
    wants_handover: int = msgspec.field(name="xl", default=0)  # 1: the answer shall bring such a token


# --- the row ------------------------------------------------------------------------------------------------


class EventRow(msgspec.Struct, omit_defaults=True):
    """One event of a landing row. Times in milliseconds since 1970, UTC."""

    event_id: str
    name: str
    time_ms: int
    url: str = ""
    referrer: str = ""
    title: str = ""
    props: str = "{}"
    sequence: int = 0
    customer_key: str = NIL_ID  # own person id of the customer key in force then; NIL_ID: nobody known
    assurance: int = 0  # level in force then, 0–4
    mfa: int = 0  # 1: the sign-in in force then was by more than one factor


class EvidenceRow(msgspec.Struct):
    """One observation that two identifiers belong together. `a` is the visitor where there is one."""

    evidence_id: str
    kind: str  # identify, alias, link, disown, handover, reset, server, group, rekey
    level: int  # 1 claimed, 2 linked, 3 signed, 4 server
    a_kind: str
    a_value: str
    a_key: str  # own person id of a
    b_kind: str
    b_value: str
    b_key: str
    b_unique: int  # 1 where b's kind has at most one value per person
    source: str  # tag, capture, link, server, import, operator, edge
    proof: str  # cookie, script, server
    time_ms: int
    session_id: str = NIL_ID
    session_started_ms: int = 0  # of a hand-over: when the session began that the visitor left
    event_id: str = NIL_ID
    token_id: str = ""  # of a tagged link, a hand-over or an ID token; of a disown the customer key
    campaign: str = ""
    human: str = ""  # pointer, key, touch, dwell: the human signal behind a link
    consent: str = ""
    policy_version: int = 1
    actor: str = ""  # who vouches, where it is neither the visitor nor the site: the issuer of an ID token, an agent
    verification: str = ""  # how whoever vouches has made sure: `amr` of a token, a word for a caller
    op: int = 1  # -1 takes back what has the same evidence_id


class RejectedRow(msgspec.Struct):
    """One refusal, or a sum of them, without what was refused."""

    step: str
    reason: str
    field: str = ""
    body_bytes: int = 0
    events: int = 0
    digest: str = ""  # keyed digest of the body, to recognise a repeated one; hex; "" where a sum has several
    beacons: int = 1  # how many beacons the sum counts


class VaultRow(msgspec.Struct):
    """The clear value of an identifier that is stored as a pseudonym, sealed; see `identity.vault`."""

    kind: str
    value: str  # the pseudonym
    key: str  # own person id
    sealed: str  # base64


class ConsentRow(msgspec.Struct):
    """One entry of the consent ledger: what somebody granted, refused or took back, for one purpose."""

    consent_id: str  # follows from what was said, so that a repeated request is one entry
    key: str  # own person id of the customer key or the visitor that it is about
    purpose: str  # see Purpose
    state: str  # granted, denied, withdrawn
    source: str  # tag, tcf, gpp, google, gpc, dnt, opt_out, unsubscribe, preferences, list, or what a page calls it
    time_ms: int
    policy_version: int = 1
    actor: str = ""  # who wrote it down, where it was not the person: operator:NAME, key:ID
    proof: str = ""  # what proves it: the answer of a consent tool; the token of a tagged link, or the minting
    page: str = ""  # address of the page on which it was said


class ReadRow(msgspec.Struct):
    """One look at a profile: who asked, for whom, and what was given."""

    read_id: str
    key: str  # own person id of the identifier that was asked for
    person_id: str  # whose profile was given; NIL_ID: nobody's
    actor: str  # key:ID
    way: str  # customer, visitor, lookup, timeline, search, correction
    parts: str  # what of it, sorted, comma between
    personal: int  # 1: personal values in clear
    found: str  # known, merged, candidate, unknown, erased, restricted


class LandingRow(msgspec.Struct, omit_defaults=True):
    """One beacon of one visitor, as it stands in the spool and in the table `landing`.

    The loader adds `batch_host` and `batch_seq` in front; everything else is final here. A field that holds its default
    is left out of the line, where the store would fill in the same: "", 0, no id, nothing in the list. `wire_version`
    and `visitor_proof` have other defaults and always stand there: a factory is never left out.
    """

    received_at_ms: int
    site_id: str
    space_id: str
    wire_version: int = msgspec.field(default_factory=lambda: WIRE_VERSION)
    visitor_id: str = NIL_ID
    visitor_proof: str = msgspec.field(default_factory=lambda: "script")  # cookie, script, server, cookieless, none
    reset_from: str = NIL_ID
    own_person_id: str = NIL_ID  # person id of the visitor (else of the first customer key) on its own
    session_id: str = NIL_ID
    session_number: int = 0
    session_started_ms: int = 0
    consent: str = ""  # purposes by name, sorted, comma between
    country: str = ""
    network: str = ""  # truncated address: /24 or /48
    browser: str = ""
    browser_version: str = ""
    os: str = ""
    os_version: str = ""
    device: str = ""  # desktop, mobile, tablet, other
    is_bot: int = 0
    bot_reason: str = ""
    language: str = ""
    time_zone: str = ""
    viewport: str = ""
    fingerprint: str = ""
    fingerprint_version: int = 0
    link_status: str = ""  # "" without a tagged link; see collector.links.judgement.LinkStatus
    link_kind: str = ""  # message, recipient, unsubscribe, preferences
    link_token_id: str = ""
    link_campaign: str = ""
    link_message: str = ""
    link_name: str = ""  # which link of the message
    link_class: str = ""  # who followed it: human, scanner, prefetch, preview, bot
    link_reasons: str = ""  # what spoke for that, words with a comma between
    link_way: str = ""  # redirect: by way of /l/, which counts the click itself; page: in the page's own address
    keep_days: int = 0  # 0: for ever
    network_days: int = 30  # as the store has it where it is left out
    rejected_days: int = 14  # the same
    events: list[EventRow] = msgspec.field(default_factory=list)
    evidence: list[EvidenceRow] = msgspec.field(default_factory=list)
    rejected: list[RejectedRow] = msgspec.field(default_factory=list)
    vault: list[VaultRow] = msgspec.field(default_factory=list)  # of sites that want it, else empty
    consents: list[ConsentRow] = msgspec.field(default_factory=list)
    reads: list[ReadRow] = msgspec.field(default_factory=list)


# --- at the edge --------------------------------------------------------------------------------------------


class Context(msgspec.Struct, frozen=True):
    """What the steps may look at besides the beacon. Made by the endpoint, once per request."""

    received_at_ms: int
    sites: SiteBook
    keyring: Keyring
    address: str = ""  # the client's, after trusted proxies; never written anywhere
    origin: str = ""
    user_agent: str = ""
    country: str = ""  # from a trusted proxy's header or the country database
    # The cookies that a site or we may want: the first of a name, and further values under the same name.
    cookies: Mapping[str, str] = msgspec.field(default_factory=dict)
    cookie_twins: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    secure: bool = False
    gpc: bool = False  # Sec-GPC: 1, or DNT: 1
    is_dnt: bool = False  # by DNT alone
    prefetch: bool = False  # Sec-Purpose says prefetch or prerender
    is_heard: bool = True  # the sender hears the answer; not where a browser sends what a page leaves behind
    pixel: bool = False  # no script: GET with query parameters
    may_set_visitor: bool = True  # whether a visitor id that only the request names may be signed into a cookie
    # Whether this sender may have made the visitor id: (site, visitor, address, user agent, seconds). See first_sight.
    claim_visitor: Callable[[str, str, str, str, int], bool] = lambda *named: True
    max_events: int = 500
    assurance_hours: float = 12.0  # how long a signed identify stays in force
    issuer_keys: KeyBook | None = None  # the public keys of those who issue ID tokens
    link_parameter: str = "lt"  # never kept in an address
    link_watch: LinkWatch | None = None  # what is known of addresses that follow tagged links
    day_salt: bytes = b""  # the salt of the day; empty where no site is cookieless
    judge_rate: Callable[[Site, int], int] = lambda site, events: 0  # seconds until the site's rate lets them in


class Beacon(msgspec.Struct):
    """An envelope on its way through the steps, and what they have learned. Owned by one request."""

    body: bytes
    envelope: Envelope
    row: LandingRow
    site: Site
    purposes: frozenset[Purpose] = frozenset()
    rejected: list[Rejected] = msgspec.field(default_factory=list)  # single events; the beacon goes on without them
    is_plain: bool = False  # every event small and of the usual form, its identifiers aside: see accept.bounds.is_small
    named: dict[tuple[str, str], Any] = msgspec.field(default_factory=dict)  # identifiers as judged, by kind and text
    removed: dict[str, int] = msgspec.field(default_factory=dict)  # how many values became `[removed]`, by place
    link_in_address: str | None = None  # what stood in the page's address where the link's token should be
    is_cookieless: bool = False  # kept without anything on the device: no cookie is read or set
    set_cookie: str | None = None  # value of the visitor cookie to send back, signed; "": take it away
    withdrawals: list[ConsentRow] = msgspec.field(default_factory=list)  # kept though nothing else of the beacon is
    stale_cookies: tuple[CookieForm, ...] = ()  # earlier forms of it that came along: they go when it is set
    visitor_reply: str | None = None  # visitor id that the tag must take over, where its own was not right
    handover_reply: str | None = None  # hand-over token, where the tag has asked for one
