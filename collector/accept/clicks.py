"""Requests for links as rows: `link_click`, `mail_open`, `unsubscribe` and `resubscribe`.

A request for a link is no person: mail scanners, previews and browsers that fetch ahead ask as people do. So such a
row has no visitor, no session and no customer, and stands in nobody's history; who asked is a class with its reasons
(see `links.clicks`), and all but humans count as bots.

The token's id and the network stand there only where `marketing` is known to be consented to: in the token itself,
which a list with a column of consent was minted into, not withdrawn since, and not against Global Privacy Control.
Without it a click is counted by campaign, message, link and class, and says nothing of whose it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from uuid import UUID

from collector.accept.links import REDIRECT, class_link, is_withdrawn, mark_class, mark_link
from collector.accept.minimise import clean_url, list_kept_parameters
from collector.accept.recognise import COUNTRY, MAX_USER_AGENT_CHARS, recognise_client, truncate_address
from collector.accept.validate import is_in_networks
from collector.event import ConsentRow, Context, EventRow, LandingRow
from collector.links.clicks import LinkClass, Seen
from collector.links.judgement import Judged
from collector.purposes import Purpose
from collector.reasons import Reason
from collector.sites.book import Site
from collector.sites.cookies import OPT_OUT

LINK_CLICK, MAIL_OPEN = "link_click", "mail_open"
UNSUBSCRIBE, RESUBSCRIBE = "unsubscribe", "resubscribe"
WITHDRAWN, GRANTED = "withdrawn", "granted"
NOBODY = "none"
_DAY_MS = 86_400_000


def make_click(
    context: Context,
    site: Site,
    judged: Judged,
    *,
    event_id: str,
    name: str = LINK_CLICK,
    is_head: bool = False,
    address: str = "",
) -> LandingRow:
    """Return the row of a request. `address`: what says the campaign where the token does not."""
    token, agent = judged.token, context.user_agent[:MAX_USER_AGENT_CHARS]
    client = recognise_client(agent)
    target = token.target if token is not None else ""
    row = _start_row(context, site)
    row.browser, row.browser_version = client.browser, client.browser_version
    row.os, row.os_version, row.device = client.os, client.os_version, client.device
    row.link_way = REDIRECT
    mark_link(row, judged, [target, address])
    robot = "" if site.count_automated else client.robot
    seen = Seen(agent, robot, is_head, name == MAIL_OPEN, context.prefetch)
    classed = class_link(context, seen, token, row.link_campaign)
    mark_class(row, classed)
    if classed.link_class is not LinkClass.HUMAN:
        row.is_bot, row.bot_reason = 1, robot or classed.reasons[0]
    if token is not None and is_marketing_known(context, judged):
        row.link_token_id, row.consent = token.token_id, Purpose.MARKETING
        row.country = context.country if COUNTRY.fullmatch(context.country) else ""
        row.network = truncate_address(context.address) if site.network_days else ""
    url = clean_url(target, list_kept_parameters(site, context.link_parameter)) if name == LINK_CLICK else ""
    row.events = [EventRow(event_id, name, context.received_at_ms, url)]
    return row


def make_change(context: Context, site: Site | None, judged: Judged, *, is_granted: bool) -> LandingRow:
    """Return the row by which somebody takes their consent to marketing back, or gives it. The link must be true.

    The event is counted by campaign; whom it is about stands in the ledger's entry alone. Mail programs say it twice,
    and people press a button again: the same by the same link has the same event id, and counts once. `site`: None
    where the space has none: then there is no event.
    """
    token = judged.token
    assert token is not None  # noqa: S101  the caller has answered forged links
    row = _start_row(context, site)
    row.space_id = token.space_id
    state = GRANTED if is_granted else WITHDRAWN
    said = f"{token.token_id}|{state}"
    row.consents = [
        ConsentRow(
            consent_id=_digest(f"{said}|{context.received_at_ms // _DAY_MS}", b"tagstitch.consen").hex(),
            key=judged.customer_key,
            purpose=Purpose.MARKETING,
            state=state,
            source=token.kind,
            time_ms=context.received_at_ms,
            proof=token.token_id,
        )
    ]
    if site is not None:
        mark_link(row, judged, [])
        row.link_way, row.link_class = REDIRECT, LinkClass.HUMAN
        event_id = str(UUID(bytes=_digest(said, b"tagstitch.change")))
        row.events = [EventRow(event_id, RESUBSCRIBE if is_granted else UNSUBSCRIBE, context.received_at_ms)]
    return row


def is_marketing_known(context: Context, judged: Judged) -> bool:
    """Whether the customer is known to consent to marketing: as the token says, and not withdrawn since."""
    token = judged.token
    says_so = token is not None and Purpose.MARKETING[0] in token.consent
    return says_so and not context.gpc and not is_withdrawn(context, judged)


def find_refusal(context: Context, site: Site) -> Reason | None:
    """Return why a request is not recorded though its link is answered, or None."""
    if context.cookies.get(OPT_OUT) == "1":
        return Reason.OPTED_OUT
    if not site.tag:
        return Reason.OFF
    if site.excluded_networks and is_in_networks(context.address, site.excluded_networks):
        return Reason.EXCLUDED
    return Reason.RATE if context.judge_rate(site, 1) else None


def find_host_site(host: str, space_id: str, sites: Iterable[Site]) -> Site | None:
    """Return the site that a host belongs to, else the first by its id; None where the space has no site.

    `space_id`: "" for any. For links that lead nowhere by themselves.
    """
    found = sorted((site for site in sites if not site.deleted and space_id in ("", site.space_id)), key=_read_id)
    by_origin = (site for site in found if any(origin.partition("://")[2] == host for origin in site.origins))
    by_list = (site for site in found if host in site.link_hosts)
    return next(by_origin, None) or next(by_list, None) or next(iter(found), None)


def _start_row(context: Context, site: Site | None) -> LandingRow:
    return LandingRow(
        received_at_ms=context.received_at_ms,
        site_id=site.site_id if site is not None else "",
        space_id=site.space_id if site is not None else "",
        visitor_proof=NOBODY,
        keep_days=site.keep_days if site is not None else 0,
        network_days=site.network_days if site is not None else 0,
    )


def _digest(said: str, person: bytes) -> bytes:
    return blake2b(said.encode(), digest_size=16, person=person).digest()


def _read_id(site: Site) -> str:
    return site.site_id
