"""`GET` and `HEAD /l/<token>`: records that a tagged link was asked for, and leads to its target.

    valid                             302 to the target, with the token for the landing page's tag
    expired, early, revoked, test     302 to the target, without it
    unsubscribe, preferences          a page with a form, see `endpoints.unsubscribe`
    no target that is allowed now     a small page
    merge tag not filled in           a small page
    forged                            a small page; counted as a refusal, so that a forger cannot fill the store

The target stands inside the signed token, and is looked up among what the sites of its space allow each time, so this
is no open redirect. Nothing is set: browsers purge what a redirect leaves behind, mail scanners follow links too, and
following a link proves nothing (see `links.clicks`). The row is on disk before the answer; where the disk says no, or
too much comes at once, the redirect is given all the same: a customer must arrive.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from collector.accept.links import judge_text
from collector.endpoints.edge import Edge, read_facts
from collector.endpoints.link_desk import LinkDesk
from collector.endpoints.link_pages import BASE, BROKEN, GONE, LATER, UNFILLED, show_page
from collector.endpoints.opens import Opens
from collector.endpoints.plain import PlainEndpoint, Receive, Send, send_answer
from collector.endpoints.unsubscribe import Unsubscribe
from collector.links.judgement import LinkStatus
from collector.links.targets import add_token, find_target_site
from collector.links.token import LASTING
from collector.reasons import Reason
from collector.sites.cookies import OPT_OUT

MAX_QUERY_BYTES = 2048


class Links:
    """The endpoint."""

    def __init__(self, desk: LinkDesk) -> None:
        self._desk = desk
        self._unsubscribe = Unsubscribe(desk)

    async def receive(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer 302 to the target, or a small page."""
        desk = self._desk
        facts = read_facts(desk.edge, scope)
        text: str = scope["path_params"].get("token", "")
        language = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
        judged = judge_text(facts.context, text)
        token, is_head = judged.token, scope["method"] == "HEAD"
        if token is not None and token.kind in LASTING:
            await self._unsubscribe.receive(scope, receive, send, facts, judged, language)
            return
        if scope["method"] == "POST":
            await send_answer(send, 405, [*BASE, (b"allow", b"GET, HEAD")])
            return
        if token is None and judged.status is LinkStatus.UNFILLED:
            site = desk.find_site(scope, facts, "")
            if site is not None:
                query = scope["query_string"][:MAX_QUERY_BYTES].decode("latin-1")
                await desk.record(facts, site, judged, is_head=is_head, address=f"?{query}")
            await send_answer(send, *show_page(UNFILLED, language))
            return
        if token is None:
            desk.refuse(facts, Reason.LINK)
            await send_answer(send, *show_page(BROKEN, language))
            return
        book = facts.context.sites
        site = find_target_site(token.target, token.space_id, book.sites.values())
        if site is None:
            if not book.read_at_ms:  # nothing is known yet of any site
                await send_answer(send, *show_page(LATER, language))
                return
            desk.refuse(facts, Reason.LINK, field="target")
            await send_answer(send, *show_page(GONE if judged.status is LinkStatus.EXPIRED else BROKEN, language))
            return
        await desk.record(facts, site, judged, is_head=is_head)
        target = token.target
        if judged.status is LinkStatus.UNCONFIRMED and facts.context.cookies.get(OPT_OUT) != "1":
            target = add_token(target, text, desk.edge.config.link_parameter)
        await send_answer(send, 302, [*BASE, (b"location", target.encode("ascii"))])


def routes(edge: Edge) -> list[Route]:
    """Return the routes of tagged links: with a token, and with an empty one, which is a merge tag's doing."""
    desk = LinkDesk(edge)
    folder = edge.config.link_path.rstrip("/")
    links = PlainEndpoint(Links(desk).receive)
    methods = ["GET", "HEAD", "POST"]
    empty = [Route(f"{folder}/", links, methods=methods)] if folder else []
    return [
        Route(f"{folder}/{{token}}/o.gif", PlainEndpoint(Opens(desk).receive), methods=["GET", "HEAD"]),
        Route(f"{folder}/{{token}}", links, methods=methods),
        *empty,
    ]
