"""Sites, spaces and keys as the edge needs them: what is allowed on which site.

A site belongs to exactly one identity space; people are shared inside a space and never across. The rows live in
the store (`sites`, `api_keys`); every web process polls them and keeps a copy on disk, so that it starts and runs
with the store away. A SiteBook is a frozen snapshot; a poll replaces it whole.
"""

from __future__ import annotations

import msgspec

from collector.links.rules import LinkRules
from collector.privacy.tombstones import Tombstones

DEFAULT_SPACE = "main"


class IdentifierKind(msgspec.Struct, frozen=True):
    """A kind of identifier that a space knows.

    `unique`: at most one value per person. `personal`: stored as a keyed pseudonym, never in clear. `clear`: stored as
    it is even where a value holds an e-mail address; without it, such a value of a kind that is not personal is stored
    as a pseudonym too. `region`: of phone numbers without country, ISO 3166-1 alpha-2.
    `priority`: 0 is highest; it decides where one request names several people. `max_visitors`: a value seen with
    more visitors is shared by many and ties nobody. `max_per_person`: how many values of a kind that is not unique
    one person may gather below level 4.
    """

    name: str
    unique: bool = True
    personal: bool = False
    normaliser: str = "text"  # text (trimmed), email, phone, uuid
    priority: int = 0
    max_visitors: int = 200
    max_per_person: int = 10
    clear: bool = False
    region: str = ""


DEFAULT_KINDS = (
    IdentifierKind(name="customer", unique=True, personal=False, normaliser="text", priority=0),
    IdentifierKind(name="email", unique=False, personal=True, normaliser="email", priority=10),
)


class Issuer(msgspec.Struct, frozen=True):
    """Who may vouch for a sign-in with an ID token (OpenID Connect).

    `issuer`: its address, as in the token's `iss`. `audience`: our client id there. `claim` names the customer.
    `jwks_url`: where its keys are; empty: as its discovery document says. `mfa_acr`: its `acr` for several factors.
    """

    issuer: str
    audience: str
    kind: str = "customer"
    claim: str = "sub"
    jwks_url: str = ""
    mfa_acr: str = ""


class CookieCapture(msgspec.Struct, frozen=True):
    """A cookie of the site's own that names a customer. Scripts may be unable to read it: the collector can.

    `signed`: its value is `<value>|<signature>`, signed like an identify; else it is a claim.
    """

    cookie: str
    kind: str = "customer"
    signed: bool = False


class Site(msgspec.Struct, frozen=True):
    """The settings of one site. Times in days, networks as CIDR."""

    site_id: str
    space_id: str = DEFAULT_SPACE
    origins: tuple[str, ...] = ()  # exact origins, `https://shop.example`; a beacon from elsewhere is refused
    consent: str = "required"  # required, implied, cookieless or off
    policy_version: int = 1  # of what people answer to: raise it, and everybody's answer is written down anew
    kinds: tuple[IdentifierKind, ...] = DEFAULT_KINDS
    time_zone: str = "UTC"
    session_minutes: int = 30
    keep_days: int = 0  # 0: for ever
    network_days: int = 30  # how long its events have the truncated address; 0: never
    rejected_days: int = 14  # how long it is kept what was refused, without what was in it
    excluded_networks: tuple[str, ...] = ()  # offices, monitors: their beacons are refused as `excluded`
    url_parameters: tuple[str, ...] = ()  # kept besides utm_* and click ids
    identify: str = "any"  # any, or signed: unsigned identifies are refused
    identify_versions: tuple[int, ...] = ()  # versions of the signing secret in force, newest first
    count_automated: bool = False  # let automated browsers count as human; only ever for the demo and tests
    issuers: tuple[Issuer, ...] = ()  # whose ID tokens sign a customer in
    capture_cookies: tuple[CookieCapture, ...] = ()  # read by the collector with each page view
    cookie: str = ""  # name of the visitor cookie; empty: ts_<site>, with __Host- over HTTPS
    cookie_domain: str = ""  # its domain; empty: this host alone
    capture: tuple[str, ...] = ()  # what the tag reads: `kind=source:name`, see docs/tag.md; goes into the snippet
    auto: str = ""  # what the tag notes by itself; empty: its default; goes into the snippet
    consent_from: str = ""  # consent tools that the tag listens to; goes into the snippet
    linked_domains: tuple[str, ...] = ()  # hosts to which visitors are handed over; goes into the snippet
    sample: float = 1.0  # share of visitors that is kept, 0–1
    rate: float = 0.0  # events a second that each host takes; 0: any
    link_hosts: tuple[str, ...] = ()  # hosts besides its origins to which tagged links may lead; always https
    vault: bool = False  # keep the clear values behind pseudonyms, sealed, in the vault
    tag: bool = True  # False: the tag falls silent, and what still comes is refused
    debug: bool = False
    version: int = 0
    deleted: bool = False

    def find_kind(self, name: str) -> IdentifierKind | None:
        """Return the declared kind of this name."""
        return next((kind for kind in self.kinds if kind.name == name), None)


class ApiKey(msgspec.Struct, frozen=True):
    """A key for the API and for pages. The secret itself is never stored: `hash` is its keyed digest.

    After a rotation the earlier secret is valid until `previous_until_ms`.
    """

    key_id: str
    hash: str
    space_id: str = DEFAULT_SPACE
    site_id: str = ""  # "": every site of the space
    scopes: tuple[str, ...] = ()
    name: str = ""
    created_at_ms: int = 0
    expires_at_ms: int = 0  # 0: never
    revoked_at_ms: int = 0
    previous_hash: str = ""
    previous_until_ms: int = 0
    version: int = 0


class SiteBook(msgspec.Struct, frozen=True):
    """A snapshot of all sites and keys, of what tagged links are to be judged by, and of what was erased. `read_at_ms`:
    when the store was last asked."""

    sites: dict[str, Site] = msgspec.field(default_factory=dict)
    keys: dict[str, ApiKey] = msgspec.field(default_factory=dict)
    read_at_ms: int = 0
    links: LinkRules = LinkRules()
    tombstones: Tombstones = Tombstones()

    def find_site(self, site_id: str) -> Site | None:
        """Return the site, or None where there is none or it is switched off."""
        site = self.sites.get(site_id)
        return None if site is None or site.deleted else site
