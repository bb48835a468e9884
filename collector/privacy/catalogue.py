"""The catalogue: every field that is kept about people, what for, on which ground, for how long, from whom, for whom.

One place says it, in categories: each table of the inventory belongs to one, single columns to others. A test holds
that against the schema, so that no column is without an entry. What a column means its comment in the schema says.
What depends on a site (consent, retention, cookies) is read from its settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any

import msgspec

from collector.privacy.inventory import PLACES
from collector.purposes import Purpose
from collector.sites.book import Site
from collector.sites.cookies import OPT_OUT, REFUSED, list_cookie_forms, name_tag_cookie
from collector.store.document import list_tables


class Category(StrEnum):
    """What kind of data it is. `catalogue_words` says the rest of each."""

    BEHAVIOUR = "behaviour"
    DEVICE = "device"
    NETWORK = "network"
    FINGERPRINT = "fingerprint"
    IDENTIFIERS = "identifiers"
    LINKS = "links"
    CONSENT = "consent"
    CUSTOMER_DATA = "customer_data"
    AUDIENCES = "audiences"
    DISCLOSURE = "disclosure"
    ACCOUNTABILITY = "accountability"
    TECHNICAL = "technical"


PURPOSES: dict[Category, Purpose] = {
    Category.BEHAVIOUR: Purpose.ANALYTICS,
    Category.DEVICE: Purpose.ANALYTICS,
    Category.NETWORK: Purpose.ANALYTICS,
    Category.FINGERPRINT: Purpose.FINGERPRINT,
    Category.IDENTIFIERS: Purpose.IDENTITY,
    Category.LINKS: Purpose.MARKETING,
    Category.CONSENT: Purpose.NECESSARY,
    Category.CUSTOMER_DATA: Purpose.IDENTITY,
    Category.AUDIENCES: Purpose.MARKETING,
    Category.DISCLOSURE: Purpose.MARKETING,
    Category.ACCOUNTABILITY: Purpose.NECESSARY,
    Category.TECHNICAL: Purpose.NECESSARY,
}
"""The purpose without which none of it is made, as `purposes.SWITCHES` has it."""

TABLES: dict[str, Category] = {
    **dict.fromkeys(("events", "timeline", "sessions", "visitor_facts"), Category.BEHAVIOUR),
    **dict.fromkeys(
        ("identity_evidence", "identity_pairs", "identity_map", "identity_intervals", "customers", "person_keys"),
        Category.IDENTIFIERS,
    ),
    **dict.fromkeys(("identity_blocks", "identifier_vault"), Category.IDENTIFIERS),
    **dict.fromkeys(("traits", "customer_records"), Category.CUSTOMER_DATA),
    **dict.fromkeys(("consent_ledger", "person_states", "signal_withdrawals"), Category.CONSENT),
    **dict.fromkeys(("audience_members", "audience_changes", "offer_exposures"), Category.AUDIENCES),
    "webhook_deliveries": Category.DISCLOSURE,
    **dict.fromkeys(("audit_details", "profile_reads", "merge_log", "guard_log"), Category.ACCOUNTABILITY),
    "link_revocations": Category.LINKS,
    **dict.fromkeys(("touched_people", "touched_keys"), Category.TECHNICAL),
}
"""For each table about people the category of its columns, but for those of COLUMNS."""

COLUMNS: dict[str, Category] = {
    **dict.fromkeys(
        ("browser", "browser_version", "os", "os_version", "device", "language", "time_zone", "viewport"),
        Category.DEVICE,
    ),
    **dict.fromkeys(("is_bot", "bot_reason"), Category.DEVICE),
    **dict.fromkeys(("network", "country"), Category.NETWORK),
    **dict.fromkeys(("fingerprint", "fingerprint_version"), Category.FINGERPRINT),
    **dict.fromkeys(
        ("link_status", "link_kind", "link_token_id", "link_campaign", "link_message", "link_name", "link_class"),
        Category.LINKS,
    ),
    **dict.fromkeys(("link_reasons", "link_way", "token_id"), Category.LINKS),
    **dict.fromkeys(("consent", "policy_version"), Category.CONSENT),
    **dict.fromkeys(("customer_key", "customer_id", "own_person_id", "person_id"), Category.IDENTIFIERS),
    **dict.fromkeys(("assurance", "mfa"), Category.IDENTIFIERS),
    **dict.fromkeys(
        ("site_id", "space_id", "wire_version", "keep_days", "network_days", "batch_host", "batch_seq", "precedence"),
        Category.TECHNICAL,
    ),
    **dict.fromkeys(("version", "is_deleted", "loaded_at"), Category.TECHNICAL),
    **dict.fromkeys(("last_row", "digest", "host", "seq"), Category.TECHNICAL),
}  # fmt: skip
"""Columns that are of another category than their table, by name."""


class Field(msgspec.Struct, frozen=True):
    """A column. `meaning`: as the schema says it, in English."""

    table: str
    column: str
    type: str
    meaning: str
    category: Category


class Cookie(msgspec.Struct, frozen=True):
    """A cookie, or an item of the browser's storage. `purpose`: without it, it is not set. `days`: 0: until removed."""

    name: str
    kind: str  # cookie or storage
    set_by: str  # collector or tag
    role: str  # visitor, session, objection, refusals and so on: `catalogue_words` says what each is for
    purpose: Purpose
    days: int
    is_http_only: bool = False


@cache
def list_fields() -> tuple[Field, ...]:
    """Return every column of every table about people, in the order of the schema. Raises SchemaError."""
    places = {place.table for place in PLACES}
    fields = []
    for table in list_tables():
        if table.name in places:
            for name, kind, comment in table.columns:
                category = COLUMNS.get(name, TABLES[table.name])
                fields.append(Field(table.name, name, kind, comment, category))
    return tuple(fields)


def list_cookies(site: Site) -> list[Cookie]:
    """Return what a site may keep in a browser, over HTTPS."""
    tag = name_tag_cookie(site)
    visitor = list_cookie_forms(site, secure=True)[0].name
    storage = (("t", "touch"), ("c", "claims"), ("q", "queue"), ("g", "proof"))
    return [
        Cookie(visitor, "cookie", "collector", "visitor", Purpose.ANALYTICS, 400, is_http_only=True),
        Cookie(tag, "cookie", "tag", "session", Purpose.ANALYTICS, 400),
        Cookie(OPT_OUT, "cookie", "tag", "objection", Purpose.NECESSARY, 400),
        Cookie(REFUSED, "cookie", "collector", "refusals", Purpose.NECESSARY, 400),
        *(Cookie(tag + name, "storage", "tag", role, Purpose.ANALYTICS, 0) for name, role in storage),
    ]


def find_days(category: Category, site: Site) -> int | None:
    """Return for how many days a site keeps what is of this category; 0: for ever; None: no site says so.

    What ties people together, and what they have agreed to, is kept for as long as they are known."""
    if category is Category.NETWORK:
        return site.network_days
    if category in (Category.BEHAVIOUR, Category.DEVICE, Category.FINGERPRINT, Category.LINKS):
        return site.keep_days
    return None


def describe(sites: Sequence[Site]) -> dict[str, Any]:
    """Return the catalogue as plain data: categories with their fields, and for each site what it keeps and sets."""
    return {
        "version": 1,
        "categories": [
            {
                "category": category.value,
                "purpose": PURPOSES[category].value,
                "fields": [
                    {"table": one.table, "column": one.column, "type": one.type, "meaning": one.meaning}
                    for one in list_fields()
                    if one.category is category
                ],
            }
            for category in Category
        ],
        "sites": [
            {
                "site": site.site_id,
                "consent": site.consent,
                "policy_version": site.policy_version,
                "retention_days": {
                    "events": site.keep_days,
                    "network": site.network_days,
                    "rejected": site.rejected_days,
                },
                "cookies": [msgspec.to_builtins(cookie) for cookie in list_cookies(site)],
            }
            for site in sites
        ],
    }
