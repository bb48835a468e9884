"""Reading a server's call: from its fields to a Statement, or to the reason why it is refused.

A call is refused alone, with the field as the sender knows it. Optional facts that make no sense (an address, a
language, one identifier of several) are left out and named, and cost no event.

    when   `timestamp`, else the time in a message id that is a UUIDv7. Never corrected by `sentAt`: the time is part of
           the row's key, and what depends on when a call was sent differs with each retry
    may    `context.consent`. A server that says nothing vouches for analytics and identity; see docs/server-events.md
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from collector.accept.recognise import MAX_USER_AGENT_CHARS
from collector.accept.server_events_agent import read_agent
from collector.accept.server_events_call import (
    ALIAS,
    GROUP,
    IDENTIFY,
    PAGE,
    SCREEN,
    TRACK,
    TYPES,
    Call,
    CallCampaign,
    CallContext,
)
from collector.accept.server_events_customers import read_who
from collector.accept.server_events_ids import make_event_id, read_made_ms
from collector.accept.server_events_statement import VOUCHED, Caller, Statement, refuse
from collector.accept.validate import LANGUAGE, TIME_ZONE, is_in_networks
from collector.event import Rejected, WireEvent
from collector.purposes import PURPOSE_BY_LETTER, Purpose
from collector.reasons import Reason
from collector.sites.book import Site

MAX_MESSAGE_ID_CHARS = 256

LETTER_BY_CATEGORY = {
    **{purpose.value: letter for letter, purpose in PURPOSE_BY_LETTER.items()},
    "personalization": "ip",
    "advertising": "m",
}
"""Our purposes by their own names, and the words that consent tools use for the same. All others grant nothing."""

_NAME_BY_TYPE = {PAGE: "page_view", SCREEN: "screen_view", IDENTIFY: IDENTIFY, ALIAS: ALIAS, GROUP: GROUP}
_PAGE_PROPERTIES = ("url", "referrer", "title")
_CAMPAIGN_PARAMETERS = {"name": "utm_campaign", **{name: f"utm_{name}" for name in CallCampaign.__struct_fields__[1:]}}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_CONTEXT = CallContext()


def read_statement(index: int, call: Call, caller: Caller) -> Statement | Rejected:
    """Return what the call says, or why it is refused. `index`: its place among the calls of the request."""
    where = call.context or _NO_CONTEXT
    site = _find_site(where, caller)
    if isinstance(site, Rejected):
        return site
    if call.type not in TYPES:
        return refuse(Reason.SHAPE, "type")
    if call.joins_customers:
        if not caller.may_merge:
            return refuse(Reason.SCOPE, "previousId")
    elif not (caller.may_identify if call.type in (IDENTIFY, ALIAS) else caller.may_track):
        return refuse(Reason.SCOPE, "type")
    letters = read_letters(where)
    if Purpose.ANALYTICS[0] not in letters:
        return refuse(Reason.CONSENT, "context.consent", "consent")
    event = _make_event(call, where, site, caller)
    if isinstance(event, Rejected):
        return event
    statement = Statement(index, call.type, site, event, letters=letters, joins_customers=call.joins_customers)
    read_agent(statement, where, caller)
    if call.message_id in (None, ""):
        statement.made_id = event.id
    return read_who(statement, call, where, caller) or _read_facts(statement, where) or statement


def _find_site(where: CallContext, caller: Caller) -> Site | Rejected:
    """Return the site that is meant. One of another space is none, so that a key cannot ask which sites there are."""
    site_id = where.site_id or caller.site_id
    site = caller.sites.find_site(site_id) if site_id else None
    if site is None or site.space_id != caller.space_id or caller.site_id not in ("", site_id):
        return refuse(Reason.SITE, "context.siteId")
    return site


def read_letters(where: CallContext) -> str:
    """Return the letters of what is granted. An answer is complete: what it does not grant is refused."""
    said = where.consent
    if said is None:
        return VOUCHED
    if isinstance(said, str):
        return said[:16]
    granted = [LETTER_BY_CATEGORY.get(name.lower(), "") for name, yes in said.category_preferences.items() if yes]
    return "".join(sorted({*"".join(granted)}))


def _make_event(call: Call, where: CallContext, site: Site, caller: Caller) -> WireEvent | Rejected:
    if call.type == TRACK and not call.event:
        return refuse(Reason.SHAPE, "event")
    message_id = "" if call.message_id is None else str(call.message_id)
    if len(message_id) > MAX_MESSAGE_ID_CHARS:
        return refuse(Reason.SIZE, "messageId")
    if message_id:
        event_id = make_event_id(caller.keyring.pseudonym_key, site.space_id, site.site_id, message_id)
    else:
        event_id = caller.make_id() if caller.make_id else None
    if event_id is None:
        return refuse(Reason.ID, "messageId")
    time_ms = _find_time(call.timestamp, message_id, caller)
    if time_ms is None:
        return refuse(Reason.SHAPE, "timestamp")
    if not -caller.oldest_ms <= time_ms - caller.received_at_ms <= caller.newest_ms:
        return refuse(Reason.CLOCK, "timestamp")
    page = where.page
    event = WireEvent(
        id=event_id,
        name=call.event or "" if call.type == TRACK else _NAME_BY_TYPE[call.type],
        time_ms=time_ms,
        url=(page and page.url) or "",
        referrer=(page and page.referrer) or "",
        title=(page and page.title) or "",
        props=_collect_props(call),
    )
    if call.type == PAGE:
        for name in _PAGE_PROPERTIES:
            if isinstance(event.props.get(name), str):
                setattr(event, name, event.props.pop(name) or getattr(event, name))
    if call.type in (PAGE, SCREEN):
        said = {"name": call.name, "category": call.category}
        event.props = {**{name: text for name, text in said.items() if text}, **event.props}
    if where.campaign is not None:
        _add_campaign(event, where.campaign)
    return event


def _find_time(timestamp: datetime | None, message_id: str, caller: Caller) -> int | None:
    """Return when it happened, in milliseconds; None where a retry could not say the same. No time zone: UTC."""
    if timestamp is not None:
        if timestamp.tzinfo is None:
            timestamp = timestamp.replace(tzinfo=UTC)
        return (timestamp - _EPOCH) // timedelta(milliseconds=1)
    return read_made_ms(message_id) if message_id else caller.received_at_ms


def _collect_props(call: Call) -> dict[str, Any]:
    if call.type in (IDENTIFY, ALIAS):
        return dict(call.traits or {})
    if call.type == GROUP:
        group_id = "" if call.group_id is None else str(call.group_id)
        return {"group_kind": "company", "group_id": group_id, **({"traits": call.traits} if call.traits else {})}
    return dict(call.properties or {})


def _add_campaign(event: WireEvent, campaign: CallCampaign) -> None:
    """Put the campaign where reports look for it: into the address; where there is none, into the properties."""
    said = {name: text for name in _CAMPAIGN_PARAMETERS if (text := getattr(campaign, name))}
    if not event.url:
        if said:
            event.props.setdefault("campaign", said)
        return
    address, _, query = event.url.partition("#")[0].partition("?")
    named = {pair.partition("=")[0] for pair in query.split("&")}
    added = [
        f"{parameter}={quote(said[name], safe='')}"
        for name, parameter in _CAMPAIGN_PARAMETERS.items()
        if name in said and parameter not in named
    ]
    if added:
        event.url = f"{address}?{'&'.join([query, *added] if query else added)}"


def _read_facts(statement: Statement, where: CallContext) -> Rejected | None:
    """Fill in address, browser, language and time zone, as far as they make sense."""
    address = (where.ip or "").strip()
    if address not in ("", "0.0.0.0"):  # noqa: S104  Segment's word for "do not look at the address"
        try:
            statement.address = str(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            statement.left_out.append(refuse(Reason.SHAPE, "context.ip"))
        if statement.site.excluded_networks and is_in_networks(statement.address, statement.site.excluded_networks):
            return refuse(Reason.EXCLUDED, "context.ip")
    statement.user_agent = (where.user_agent or "")[:MAX_USER_AGENT_CHARS]
    language, time_zone = (where.locale or "").replace("_", "-"), where.timezone or ""
    for name, text, form, path in (
        ("language", language, LANGUAGE, "context.locale"),
        ("time_zone", time_zone, TIME_ZONE, "context.timezone"),
    ):
        if text and form.fullmatch(text):
            setattr(statement, name, text)
        elif text:
            statement.left_out.append(refuse(Reason.SHAPE, path))
    return None
