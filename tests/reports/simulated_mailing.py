"""Two campaigns by mail, made by a seeded generator: what happened to their links, and the same as rows for the store.

The list of Followed is the truth that the tests compute from; it is written without a look at any SQL. Each is one way
to follow a link, whatever number of events the collector makes of it: by way of /l/ there is an event of its own before
the page's, in a page's own address there is none, and a machine without script leaves no page at all.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from collector.event import NIL_ID, LandingRow
from tests.running_store import NOON_MS, make_event, make_evidence, make_id, make_row

SITE = "mailshop"
VISITOR = 50_000  # the first; other tests of this store have other visitors
DAY_S = 86_400
CAMPAIGNS = (("spring", "m-1"), ("spring", "m-2"), ("autumn", "m-3"))
LINKS = ("top", "foot", "")
MACHINES = (
    ("scanner", "agent"),
    ("scanner", "soon,many"),
    ("prefetch", "prefetch_header"),
    ("preview", "preview_agent"),
)
TRUE_STATUSES = ("unconfirmed", "unconfirmed", "unconfirmed", "expired", "revoked", "early")
UNTRUE_STATUSES = ("unfilled", "test", "forged")


@dataclass
class Followed:
    """One way in that was followed, with what came of it. `after_s`: seconds after NOON_MS."""

    campaign: str
    message: str
    link: str
    after_s: int
    way: str  # page or redirect
    class_: str
    reasons: str
    status: str
    token: str  # empty where marketing is not consented to
    visitor: int = 0  # 0: no page was opened
    is_confirmed: bool = False
    notes: tuple[str, ...] = ()  # of the guards
    kind: str = "message"

    @property
    def is_counted(self) -> bool:
        """Whether it counts as a click of its mailing."""
        return self.status not in UNTRUE_STATUSES and self.kind == "message"


@dataclass
class Bought:
    """The goal was reached."""

    visitor: int
    after_s: int
    value: float


@dataclass
class Post:
    """Everything that happened, and what the store is to be told."""

    followed: list[Followed] = field(default_factory=list)
    bought: list[Bought] = field(default_factory=list)
    opens: list[tuple[str, str, str]] = field(default_factory=list)  # campaign, message, class
    unsubscribed: list[tuple[str, str]] = field(default_factory=list)  # campaign, message
    landing: list[LandingRow] = field(default_factory=list)
    guards: list[dict[str, Any]] = field(default_factory=list)

    @property
    def persons(self) -> dict[int, str]:
        """Visitor → person: nobody's visitors are tied here."""
        return {one.visitor: make_id(one.visitor, 0xB) for one in self.followed if one.visitor}


def simulate_post(seed: int, count: int = 240) -> Post:
    """Make a post of `count` ways in over 20 days."""
    chance, post = random.Random(seed), Post()
    number = 0
    for _ in range(count):
        one = _follow(chance, len(post.followed))
        post.followed.append(one)
        number += 10
        _land(post, one, number)
        if one.visitor and chance.random() < 0.4:
            sold = Bought(
                one.visitor, one.after_s + chance.randrange(-2, 12) * DAY_S // 2 + 60, chance.randrange(1, 90)
            )
            post.bought.append(sold)
            event = make_event(
                number + 5, after_s=sold.after_s, name="purchase", props=json.dumps({"value": sold.value})
            )
            post.landing.append(make_row(one.visitor, site_id=SITE, after_s=sold.after_s, events=[event]))
    for place in range(30):
        campaign, message = chance.choice(CAMPAIGNS)
        class_ = chance.choice(["human", "preview"])
        post.opens.append((campaign, message, class_))
        tell(post, 90_000 + place, "mail_open", campaign, message, link_class=class_, link_reasons="image_proxy")
    for place in range(7):
        campaign, message = chance.choice(CAMPAIGNS)
        post.unsubscribed.append((campaign, message))
        # Some say it twice: the same event, some time later.
        for after_s in range(1 + place % 2):
            shown = {"link_class": "human", "link_kind": "unsubscribe"}
            tell(post, 95_000 + place, "unsubscribe", campaign, message, after_s, **shown)
        # A scanner looks at such a link too: no click of the mailing.
        tell(post, 96_000 + place, "link_click", campaign, message, link_class="scanner", link_kind="unsubscribe")
    return post


def _follow(chance: random.Random, place: int) -> Followed:
    campaign, message = chance.choice(CAMPAIGNS)
    link, way, at = chance.choice(LINKS), chance.choice(["page", "redirect"]), chance.randrange(20 * DAY_S)
    token = f"token-{chance.randrange(60)}" if chance.random() < 0.6 else ""
    draw = chance.random()
    if draw < 0.3 and way == "redirect":
        class_, reasons = chance.choice(MACHINES)
        return Followed(campaign, message, link, at, way, class_, reasons, "unconfirmed", token)
    if draw < 0.4:
        return Followed(campaign, message, link, at, "page", "bot", "automation", "bot", token, VISITOR + 900 + place)
    if draw < 0.55:
        return Followed(
            campaign, message, link, at, "page", "human", "", chance.choice(UNTRUE_STATUSES), "", VISITOR + place
        )
    status = chance.choice(TRUE_STATUSES)
    visitor = VISITOR + chance.randrange(120)
    one = Followed(campaign, message, link, at, way, "human", "", status, token, visitor)
    if status == "unconfirmed" and chance.random() < 0.7:
        one.is_confirmed = True
        one.notes = chance.choice([(), (), ("forwarded",), ("other_customer",), ("second_device",), ("replayed",)])
    return one


def _land(post: Post, one: Followed, number: int) -> None:
    said = {
        "link_kind": one.kind,
        "link_campaign": "" if one.status in ("forged", "unfilled") else one.campaign,
        "link_message": "" if one.status in ("forged", "unfilled") else one.message,
        "link_name": "" if one.status in ("forged", "unfilled") else one.link,
        "link_class": one.class_,
        "link_reasons": one.reasons,
        "link_token_id": one.token,
        "link_way": one.way,
    }
    is_bot = int(one.class_ != "human")
    if one.way == "redirect":
        event = make_event(number, after_s=one.after_s, name="link_click")
        row = make_row(
            0, site_id=SITE, after_s=one.after_s, events=[event], is_bot=is_bot, link_status=one.status, **said
        )
        post.landing.append(_without_visitor(row))
    # Expired and revoked links are led on without their token.
    if not one.visitor or (one.way == "redirect" and one.status != "unconfirmed"):
        return
    url = f"https://shop.example/{'?utm_campaign=' + one.campaign if one.status == 'unfilled' else ''}"
    pages = [
        make_event(number + 1, after_s=one.after_s, sequence=1, url=url, name="page_view" if number % 20 else "first"),
        make_event(number + 2, after_s=one.after_s + 1, sequence=2, url=url, name="page_view"),
    ]
    post.landing.append(
        make_row(
            one.visitor, site_id=SITE, after_s=one.after_s, events=pages, is_bot=is_bot, link_status=one.status, **said
        )
    )
    if not one.is_confirmed:
        return
    confirm = make_event(number + 3, after_s=one.after_s + 5, sequence=3, name="link_confirm", url=url)
    evidence = make_evidence(
        number,
        visitor=one.visitor,
        kind="link",
        level=2,
        source="link",
        campaign=one.campaign,
        event_id=confirm.event_id,
        time_ms=confirm.time_ms,
    )
    post.landing.append(
        make_row(
            one.visitor,
            site_id=SITE,
            after_s=one.after_s + 5,
            events=[confirm],
            evidence=[evidence],
            link_status="confirmed",
            **said,
        )
    )
    for reason in one.notes:
        post.guards.append(
            {
                "space_id": "main",
                "at": (NOON_MS + (one.after_s + 5) * 1000) / 1000,
                "reason": reason,
                "evidence_id": evidence.evidence_id,
                "a_key": evidence.a_key,
                "b_key": evidence.b_key,
                "version": 1,
            }
        )


def tell(post: Post, number: int, name: str, campaign: str, message: str, after_s: int = 0, **said: Any) -> None:
    """Note what the collector itself has seen."""
    shared = {"site_id": SITE, "link_status": "unconfirmed", "link_kind": "message", "link_way": "redirect"}
    said = shared | {"link_campaign": campaign, "link_message": message} | said
    row = make_row(0, events=[make_event(number, name=name, after_s=after_s)], **said)
    post.landing.append(_without_visitor(row))


def _without_visitor(row: LandingRow) -> LandingRow:
    row.visitor_id = row.own_person_id = row.session_id = NIL_ID
    row.visitor_proof = "none"
    return row
