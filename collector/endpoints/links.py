"""`GET /l/<token>`: leads a tagged link to its target, and does nothing else.

The target stands inside the signed token, so this is no open redirect. Nothing is set, stored or counted here:
browsers purge what a redirect leaves behind, mail scanners follow links too, and following a link proves nothing.
The landing page's tag sends the token on, which stands in the target's address.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from collector.endpoints.edge import Edge
from collector.endpoints.plain import PlainEndpoint, Send, send_answer
from collector.links import LinkProblem, add_token, read_link

_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
]
_PAGE = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
]
_TEXT = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>{title}</title><h1>{title}</h1><p>{text}</p></html>"
)
NOT_FOUND = _TEXT.format(
    title="This link is not complete",
    text="Maybe a part of it was lost on its way. Copy the whole link from the message, or open the shop directly.",
).encode()
GONE = _TEXT.format(
    title="This link is no longer valid", text="It was made for a limited time. Open the shop directly."
).encode()


class Links:
    """The endpoint."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def receive(self, scope: dict[str, Any], receive: object, send: Send) -> None:
        """Answer 302 to the target, with the token where it is still valid; else a small page."""
        edge = self._edge
        token: str = scope["path_params"]["token"]
        link = read_link(edge.keyring, token, edge.now_ms() // 1000)
        if not link.target:
            is_gone = isinstance(link, LinkProblem) and link.reason == "expired"
            await send_answer(send, 410 if is_gone else 404, [*_HEADERS, *_PAGE], GONE if is_gone else NOT_FOUND)
            return
        target = link.target
        if not isinstance(link, LinkProblem):
            target = add_token(target, token, edge.config.link_parameter)
        await send_answer(send, 302, [*_HEADERS, (b"location", target.encode("ascii"))])


def routes(edge: Edge) -> list[Route]:
    """Return the route of tagged links."""
    path = edge.config.link_path.rstrip("/") + "/{token}"
    return [Route(path, PlainEndpoint(Links(edge).receive), methods=["GET", "HEAD"])]
