"""Links that take the consent to marketing back or give it: `/l/<token>` of the kinds unsubscribe and preferences.

GET shows a page with a button and changes nothing: mail scanners follow every link. POST does it, by the page's own
form or as mail programs do it in one click (RFC 8058, `List-Unsubscribe=One-Click`). The signed link is all that is
needed: there is no cookie, and no form of another site could have it. It works however old it is and whatever was
revoked; only one that we did not sign does not. An unsubscribe link takes consent away and never gives it, since
whoever holds the mail may be somebody else; a link to the preferences does both. In a test mail it only takes away:
who tries out a mailing with a customer's row is not that customer, and the ledger would say that they had agreed. What
is taken back by a test is taken back all the same, since it may have reached them.

The answer says that it is done once the ledger's entry is on disk. Where it cannot be, it says so, and 503.
"""

from __future__ import annotations

from typing import Any

from collector.accept.clicks import make_change
from collector.endpoints.body import Disconnected, read_body
from collector.endpoints.edge import RequestFacts
from collector.endpoints.link_desk import LinkDesk
from collector.endpoints.link_pages import (
    GRANTED,
    LATER,
    PREFERENCES,
    REFUSED,
    UNSUBSCRIBE,
    WITHDRAWN,
    show_page,
)
from collector.endpoints.plain import Receive, Send, send_answer
from collector.links.judgement import Judged
from collector.links.token import LinkKind
from collector.metrics import count_request
from collector.reasons import Reason

MAX_FORM_BYTES = 4096
ONE_CLICK = (b"List-Unsubscribe", b"One-Click")
"""Name and value, as a form's fields or as the parts of a multipart body."""


class Unsubscribe:
    """Answers for links that are verified already."""

    def __init__(self, desk: LinkDesk) -> None:
        self._desk = desk

    async def receive(
        self,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
        facts: RequestFacts,
        judged: Judged,
        language: bytes,
    ) -> None:
        """Show the page, or do what its form asks for."""
        desk, token = self._desk, judged.token
        assert token is not None  # noqa: S101  see the class
        site = desk.find_site(scope, facts, token.space_id)
        is_both = token.kind is LinkKind.PREFERENCES and not token.is_test
        if scope["method"] != "POST":
            if site is not None:
                await desk.record(facts, site, judged, is_head=scope["method"] == "HEAD")
            await send_answer(send, *show_page(PREFERENCES if is_both else UNSUBSCRIBE, language))
            return
        context = facts.context
        if desk.edge.limits.judge_address(context.address):
            desk.refuse(facts, Reason.RATE, site)
            await send_answer(send, *show_page(LATER, language))
            return
        try:
            body = await read_body(receive, facts.content_length, facts.content_encoding, MAX_FORM_BYTES)
        except Disconnected:
            count_request("disconnected")
            return
        answer = _read_answer(body)
        if answer is None or (answer and not is_both):
            await send_answer(send, *show_page(REFUSED, language))
            return
        row = make_change(context, site, judged, is_granted=answer)
        is_done = await desk.write(row)
        page = (GRANTED if answer else WITHDRAWN) if is_done else LATER
        await send_answer(send, *show_page(page, language))


def _read_answer(body: bytes | Reason) -> bool | None:
    """Return whether consent is given, or taken back; None where the body says neither."""
    if isinstance(body, Reason):
        return None
    answers = set(body.split(b"&"))
    if b"answer=withdraw" in answers or all(word in body for word in ONE_CLICK):
        return False
    return True if b"answer=grant" in answers else None
