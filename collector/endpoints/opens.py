"""`GET /l/<token>/o.gif`: a picture in a mail, which says that its pictures were loaded. Off by default.

That is not the same as that somebody read it. Apple's Mail Privacy Protection loads all pictures beforehand, Gmail and
others load them through proxies, many programs load none. What is known to be a program's is counted apart, as class
`preview` (see `links.clicks`). The picture is answered whatever happens, so that no mail shows a broken one.
"""

from __future__ import annotations

from typing import Any

from collector.accept.clicks import MAIL_OPEN
from collector.accept.links import judge_text
from collector.endpoints.edge import read_facts
from collector.endpoints.link_desk import LinkDesk
from collector.endpoints.link_pages import BASE
from collector.endpoints.pixel import PICTURE
from collector.endpoints.plain import Send, send_answer
from collector.links.judgement import LinkStatus
from collector.links.targets import find_target_site
from collector.reasons import Reason


class Opens:
    """The endpoint."""

    def __init__(self, desk: LinkDesk) -> None:
        self._desk = desk

    async def receive(self, scope: dict[str, Any], receive: object, send: Send) -> None:
        """Record that the picture was asked for, and answer it."""
        desk = self._desk
        if not desk.edge.config.link_opens:
            await send_answer(send, 404, list(BASE))
            return
        facts = read_facts(desk.edge, scope)
        judged = judge_text(facts.context, scope["path_params"]["token"])
        token = judged.token
        if token is None and judged.status is not LinkStatus.UNFILLED:
            desk.refuse(facts, Reason.LINK)
        else:
            space_id = "" if token is None else token.space_id
            target = "" if token is None else token.target
            site = find_target_site(target, space_id, facts.context.sites.sites.values())
            site = site or desk.find_site(scope, facts, space_id)
            if site is not None:
                await desk.record(facts, site, judged, name=MAIL_OPEN, is_head=scope["method"] == "HEAD")
        await send_answer(send, 200, [*BASE, (b"content-type", b"image/gif")], PICTURE)
