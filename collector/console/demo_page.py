"""One page of the demo shop: its snippet, what it tells the tag, and what it says once.

The commands are written as a site owner would write them: one nonced script after the snippet, `tagstitch(…)` line by
line, in the order consent, reset, identify, events. A page that says something once (an order, a sign-in) is marked
`no-store`, so that going back to it does not say it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from collector.config import Config
from collector.console import catalogue
from collector.console.catalogue import CURRENCY, SITE_ID
from collector.console.demo_identity import sign_customer
from collector.console.page import Pages, make_nonce
from collector.console.shop_consent import ask_consent, read_consent, write_consent
from collector.console.shop_session import ShopSession, ShopSessions
from collector.keyring import Keyring
from collector.snippet import NONCE, make_snippet

Command = tuple[object, ...]

PROFILE_MS = 400
IDENTIFY_AGAIN_S = 1800  # how often a page says again who is signed in
IDENTIFY_PAGES = 2  # how many pages say it then: the first may be left before the tag has loaded

NOTICES: dict[str, tuple[str, tuple[str, str] | None, list[Command]]] = {
    "newsletter": ("You are on the list.", ("/demo/mail", "Open the inbox"), []),
    "signed-in": ("You are signed in.", ("/demo/live", "See what changed hands"), []),
    "signed-out": ("You are signed out. From here on this browser is a new visitor.", None, []),
}


class ShopPages:
    """Renders the pages of the shop. `clock`: seconds since 1970."""

    def __init__(
        self, config: Config, keyring: Keyring, sessions: ShopSessions, clock: Callable[[], float] = time.time
    ) -> None:
        self._keyring = keyring
        self._sessions = sessions
        self._clock = clock
        # As docs/tag.md says it: the profile fills places of the page, which stay hidden for it so long at most.
        self._snippet = make_snippet(config, SITE_ID, nonce=True).replace(
            " data-site=", f' data-profile="{PROFILE_MS}" data-site=', 1
        )
        self.pages = Pages()
        self.pages.environment.filters["price"] = catalogue.format_price

    def answer(
        self,
        request: Request,
        template: str,
        title: str,
        events: Sequence[Command] = (),
        *,
        status: int = 200,
        **context: Any,
    ) -> Response:
        """Render a page. `events`: the `track` commands of this page, besides those of what is said once."""
        session = self._sessions.read(request)
        notice, subject = session.take_notice()
        text, link, said = _speak(notice, subject, session)
        consent = read_consent(request)
        commands: list[Command] = [] if consent is None else [("consent", consent)]
        if notice == "signed-out":
            commands.append(("reset",))
        identify = self._identify(session, consent)
        commands += identify
        # Whoever comes back to a product because it went into the basket has not looked at it a second time.
        commands += said if notice == "added" else [*events, *said]
        nonce = make_nonce()
        context = {
            "title": title,
            "snippet": Markup(self._snippet.replace(NONCE, nonce)),  # noqa: S704  made by ourselves
            "commands": commands,
            "categories": catalogue.CATEGORIES,
            "customers": catalogue.CUSTOMERS,
            "password": catalogue.DEMO_PASSWORD,
            "customer": catalogue.find_customer(session.customer_id),
            "basket_count": session.count,
            "shelf": "",
            "search": "",
            "error": "",
            "notice": text,
            "notice_link": link,
            "consent_state": "open" if consent is None else "asked",
            "purposes": ask_consent(consent),
            **context,
        }
        changed = bool(notice or identify)
        keep = "no-store" if changed else "private, no-cache"
        response = self.pages.render(template, context, nonce=nonce, status=status, cache_control=keep)
        if changed:
            self._sessions.write(request, response, session)
        write_consent(request, response)
        return response

    def _identify(self, session: ShopSession, consent: dict[str, bool] | None) -> list[Command]:
        """Return the signed identify of who is signed in, where it is due."""
        customer = catalogue.find_customer(session.customer_id)
        now_s = self._clock()
        if customer is None:
            return []
        if now_s - session.identified_s >= IDENTIFY_AGAIN_S:
            session.identified_s, session.identified_pages = int(now_s), 0
        if session.identified_pages >= IDENTIFY_PAGES:
            return []
        # Without consent the tag holds it for this page only, or drops it: that does not count.
        if consent is not None and consent["analytics"] and consent["identity"]:
            session.identified_pages += 1
        signature = sign_customer(self._keyring, customer, now_s)
        said = {"kind": "customer", "signature": signature, "traits": {"first_name": customer.first_name}}
        return [("identify", customer.customer_id, said)]


def _speak(notice: str, subject: str, session: ShopSession) -> tuple[str, tuple[str, str] | None, list[Command]]:
    """Return what a notice says, where it leads, and the event that goes with it."""
    product = catalogue.find_sku(subject)
    if notice == "added" and product is not None:
        return f"{product.name} is in your basket.", ("/demo/basket", "Open the basket"), []
    if notice == "removed" and product is not None:
        return f"{product.name} is back on the shelf.", None, []
    if notice == "ordered" and session.order is not None:
        order = session.order
        props = {
            "order": order.number,
            "value": order.value_cents / 100,
            "currency": CURRENCY,
            "items": sum(order.lines.values()),
            "sku": ",".join(order.lines),
        }
        return "", None, [("track", "purchase", props)]
    return NOTICES.get(notice, ("", None, []))
