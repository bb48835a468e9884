"""Tagged links on a page: what the row says of them, and when one ties the visitor to a customer.

The token comes in the beacon, where the tag has taken it off the address. What is no token stays in the address, a
merge tag that nobody filled above all, and so does everything on a page without script: there it is read before
`minimise` takes it away, and a true token counts as followed, never as confirmed.

What a beacon with a link may leave behind, by the purposes of the page:

    analytics                          status, kind, campaign, message, link, class: nothing of whose link it was
    analytics, identity                and the customer, once a human has confirmed it
    analytics, identity and marketing  and the token's id on the row, unless the customer has withdrawn from marketing

A link ties where all of this holds: it is of the kind message or recipient, valid and not taken back, of this space
and a kind of this site; it was followed by a human (see `links.clicks`), who gave a sign; identity is granted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote, unquote_plus

import msgspec

from collector.accept.assurance import LINKED, Assurance
from collector.accept.evidence import add_evidence, hold_to_arrival
from collector.accept.identifiers import Known, name_known
from collector.accept.minimise import REMOVED, clean_text, find_parameter
from collector.event import NIL_ID, Beacon, Context, LandingRow, WireEvent
from collector.identity.identifiers import PSEUDONYM
from collector.links.clicks import Classed, LinkClass, Seen, class_click
from collector.links.judgement import Judged, LinkStatus, judge_link
from collector.links.minting import MAX_LABEL_CHARS
from collector.links.token import LASTING, LinkKind, LinkToken, holds_token
from collector.purposes import Purpose
from collector.reasons import Reason

HUMAN_SIGNALS = frozenset(("pointer", "key", "touch", "dwell"))
DWELL = "dwell"
REDIRECT, PAGE = "redirect", "page"
"""The ways of a link: by `/l/<token>`, where the click was counted already, or straight to the page."""


class FollowedLink(msgspec.Struct):
    """A link that ties the visitor once a human confirms it."""

    known: Known
    token: LinkToken
    campaign: str
    is_confirmed: bool = False


def find_link_text(beacon: Beacon) -> str | None:
    """Return what stands where the link's token should, or None where the page was not opened by a link."""
    return beacon.envelope.link_token or beacon.link_in_address


def follow_link(beacon: Beacon, context: Context, text: str) -> FollowedLink | None:
    """Fill in what the row says of the link. Return it where a human may confirm it."""
    row = beacon.row
    judged = judge_text(context, text)
    token, known = judged.token, None
    if token is not None and Purpose.IDENTITY in beacon.purposes:
        known = _name_customer(beacon, context, token, judged.customer_key)
    if (token is not None and token.space_id != beacon.site.space_id) or isinstance(known, Reason):
        judged, token, known = Judged(LinkStatus.FORGED), None, None  # true, but not for this site's people
    mark_link(row, judged, _list_addresses(beacon))
    row.link_way = REDIRECT if token is not None and token.target else PAGE
    if token is not None and may_keep_token(context, judged, beacon.purposes):
        row.link_token_id = token.token_id
    seen = Seen(
        context.user_agent,
        robot=row.bot_reason if row.is_bot and not (context.prefetch or beacon.envelope.automation) else "",
        is_prefetch=context.prefetch and bool(row.is_bot),
        is_automated=bool(beacon.envelope.automation and row.is_bot),
        is_scriptless=not beacon.envelope.link_token and judged.token is not None,
        is_dwell=beacon.envelope.human == DWELL,
    )
    classed = class_link(context, seen, token, row.link_campaign)
    mark_class(row, classed)
    is_tying = row.link_status == LinkStatus.UNCONFIRMED and classed.link_class is LinkClass.HUMAN
    if token is None or known is None or not is_tying or not beacon.envelope.link_token or token.kind in LASTING:
        return None
    return FollowedLink(known, token, row.link_campaign)


def confirm_link(beacon: Beacon, context: Context, event: WireEvent, link: FollowedLink, assurance: Assurance) -> None:
    """Tie the visitor to the link's customer, where a human has given a sign.

    As with a sign-in, who only knows a visitor's id does not choose when: a sign-in that confirms the link would else
    inherit a week of what is no one's.
    """
    human, row = beacon.envelope.human, beacon.row
    if human not in HUMAN_SIGNALS or row.visitor_id == NIL_ID:
        return
    if not link.is_confirmed:
        link.is_confirmed = True
        row.link_status = LinkStatus.CONFIRMED
        evidence = add_evidence(beacon, event, link.known, kind="link", source="link")
        evidence.token_id, evidence.campaign, evidence.human = (
            name_token(link.token, row.received_at_ms),
            link.campaign,
            human,
        )
        hold_to_arrival(evidence, context)
    assurance.follow_link(link.known.key, event.time_ms)


def name_token(token: LinkToken, received_at_ms: int) -> str:
    """Return by what id the evidence of a link is told from that of others: of one id, `resolve` lets the first two
    visitors count.

    A recipient's token is in every mail of more than a year, in which people get new phones and lose cookies. So it
    counts anew each month, by our own clock.
    """
    if token.kind is not LinkKind.RECIPIENT:
        return token.token_id
    return f"{token.token_id}:{datetime.fromtimestamp(received_at_ms / 1000, UTC):%Y-%m}"


def judge_text(context: Context, text: str) -> Judged:
    """Judge what stands where a token should, at the time of the request and by what is revoked."""
    now_s = context.received_at_ms // 1000
    book = context.sites
    return judge_link(
        context.keyring, text, book.links.revocations, now_s, context.link_parameter, tombstones=book.tombstones
    )


def mark_link(row: LandingRow, judged: Judged, addresses: list[str]) -> None:
    """Fill in status, kind, campaign, message and link. What the token does not say, the page's address does."""
    row.link_status = judged.status
    token = judged.token
    if token is not None:
        row.link_kind, row.link_name = token.kind, token.link
        row.link_campaign, row.link_message = token.campaign, token.message
    if judged.status is not LinkStatus.FORGED and not row.link_campaign and not row.link_message:
        row.link_campaign = read_label(addresses, "utm_campaign")
        row.link_message = read_label(addresses, "utm_id")


def class_link(context: Context, seen: Seen, token: LinkToken | None, campaign: str) -> Classed:
    """Return who followed the link, by the request and by what is known of its address."""
    watch = context.link_watch
    if watch is not None:
        seen = watch.look(seen, context.address, token, campaign, context.received_at_ms // 1000)
    return class_click(seen)


def mark_class(row: LandingRow, classed: Classed) -> None:
    """Fill in the class and its reasons. A valid link that a robot follows has a status of its own."""
    row.link_class, row.link_reasons = classed.link_class, ",".join(classed.reasons)
    if classed.link_class is LinkClass.BOT and row.link_status == LinkStatus.UNCONFIRMED:
        row.link_status = LinkStatus.BOT


def may_keep_token(context: Context, judged: Judged, purposes: frozenset[Purpose]) -> bool:
    """Whether the token's id may stand on the row of a page: both purposes are granted, and not withdrawn since."""
    is_granted = Purpose.IDENTITY in purposes and Purpose.MARKETING in purposes
    return is_granted and not is_withdrawn(context, judged)


def is_withdrawn(context: Context, judged: Judged) -> bool:
    """Whether the customer has taken the consent to marketing back."""
    return judged.customer_key in context.sites.links.withdrawn


def read_label(addresses: list[str], parameter: str) -> str:
    """Return a parameter's value as a label, from the first address that has it; "" where none has.

    What is personal is removed however often it was encoded on its way, and so is a token: a sender's merge tag may
    stand behind the wrong name.
    """
    value = next((found for found in (find_parameter(address, parameter) for address in addresses) if found), "")
    label = unquote_plus(value).strip()
    plain = unquote(unquote(label))
    if holds_token(plain) or (plain != label and clean_text(plain) != plain):
        return REMOVED
    return clean_text(label)[:MAX_LABEL_CHARS]


def _list_addresses(beacon: Beacon) -> list[str]:
    return [beacon.envelope.url, *(event.url for event in beacon.envelope.events if event.url)]


def _name_customer(beacon: Beacon, context: Context, token: LinkToken, key: str) -> Known | Reason:
    """Return the customer at a link's level. A pseudonym stands in the token as it is stored; `key`: its person id."""
    if not token.is_pseudonym:
        known = name_known(beacon, context, token.identifier_kind, token.reference)
        return known if isinstance(known, Reason) else msgspec.structs.replace(known, level=LINKED)
    kind = beacon.site.find_kind(token.identifier_kind)
    if kind is None or not kind.personal or not PSEUDONYM.fullmatch(token.reference):
        return Reason.SHAPE
    return Known(kind, token.reference, key, LINKED)
