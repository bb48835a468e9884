"""Statements: what a call of a server says in our words, and the caller by whose rights it is read.

One event with its site, its visitor, its customers, and what is consented to. Made by `server_events_reader`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from collector.accept.identifiers import Known
from collector.accept.validate import NEWEST_MS, OLDEST_MS
from collector.event import NIL_ID, Rejected, WireEvent
from collector.keyring import Keyring
from collector.reasons import Reason
from collector.sites.book import Site, SiteBook

VOUCHED = "ai"
"""What is consented to where a server says nothing: its organisation has grounds of its own."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, what the key allows, and by which bounds a call is judged. Times in milliseconds.

    `site_id`: the site that the key is bound to; "": each call names one of the space. `source`: of evidence, `server`
    or `import`. `oldest_ms`, `newest_ms`: how long before and after `received_at_ms` an event may have happened.
    `is_known`: whether a line on disk has said already that the customer of this key existed at a time.
    `may_merge`: say that two customers are one. `actor`: what the key is known by, in the evidence.
    `make_id`: makes an event id where a call has no message id; None: such a call is refused.
    """

    received_at_ms: int
    sites: SiteBook
    keyring: Keyring
    space_id: str
    site_id: str = ""
    may_track: bool = True
    may_identify: bool = True
    may_merge: bool = True
    actor: str = ""
    source: str = "server"
    oldest_ms: int = OLDEST_MS
    newest_ms: int = NEWEST_MS
    find_country: Callable[[str], str] = field(default=lambda address: "")
    is_known: Callable[[str, int], bool] = field(default=lambda customer_key, time_ms: False)
    make_id: Callable[[], str] | None = None
    link_parameter: str = "lt"


@dataclass(slots=True)
class Statement:
    """What one call says. `known`: its customers, the one that `userId` names first. `left_out`: what was not kept."""

    index: int
    type: str
    site: Site
    event: WireEvent
    visitor_id: str = NIL_ID
    known: list[Known] = field(default_factory=list)
    letters: str = VOUCHED
    address: str = ""
    user_agent: str = ""
    language: str = ""
    time_zone: str = ""
    joins_customers: bool = False  # an alias of two customers
    actor: str = ""  # who vouches for the customers: the key, and the agent behind it
    verification: str = ""  # how they have made sure
    made_id: str = ""  # the event id, where the call had no message id
    left_out: list[Rejected] = field(default_factory=list)


def refuse(reason: Reason, path: str, step: str = "validate") -> Rejected:
    """Return a refusal. `path`: the field, by the name that the sender knows."""
    return Rejected(reason, step=step, field=path)
