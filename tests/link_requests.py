"""Asks the endpoints of tagged links for one, through ASGI, and reads the rows that it has left in the spool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import msgspec
from starlette.applications import Starlette

from collector.config import Config
from collector.endpoints import links
from collector.endpoints.edge import Edge
from collector.errors import SpoolError
from collector.event import LandingRow
from collector.keyring import Keyring
from collector.links.minting import mint_link
from collector.sites.book import Site, SiteBook
from tests.edge_examples import ADDRESS, CHROME, KEYRING, NOW_MS, NOW_S, ORIGIN, SITE

BOOK = SiteBook(sites={"shop": SITE}, read_at_ms=NOW_MS)
TARGET = f"{ORIGIN}/offer?a=1&utm_campaign=in-target#top"


def mint(reference: str = "4711", **changes: Any) -> str:
    """Return a token made an hour ago that leads to the offer."""
    facts = {"now_s": NOW_S - 3600, "campaign": "spring", "message": "m1", "link": "top", "target": TARGET, **changes}
    return mint_link(KEYRING, reference, **facts)


class LinkRequests:
    """One web process's links. `rows`: what it has written down, `refused`: the reasons that it has counted."""

    def __init__(
        self,
        *sites: Site,
        book: SiteBook | None = None,
        keyring: Keyring = KEYRING,
        is_data_centre: bool = False,
        **settings: Any,
    ) -> None:
        named = {site.site_id: site for site in sites}
        self.book = book or (SiteBook(sites=named, read_at_ms=NOW_MS) if sites else BOOK)
        self.error: SpoolError | None = None
        self.lines: list[bytes] = []
        self.edge = Edge(
            Config(**settings),
            keyring,
            lambda: self.book,
            self,  # type: ignore[arg-type]
            lambda: NOW_MS,
            is_data_centre=lambda address: is_data_centre,
        )

    async def append(self, line: bytes) -> None:
        """Keep a line, as the spool does."""
        if self.error is not None:
            raise self.error
        self.lines.append(line)

    @property
    def rows(self) -> list[LandingRow]:
        """What was written down but for refusals."""
        rows = [msgspec.json.decode(line, type=LandingRow) for line in self.lines]
        return [row for row in rows if not row.rejected]

    @property
    def refused(self) -> list[tuple[str, str, str]]:
        """Step, reason and field of what was counted alone."""
        rows = [msgspec.json.decode(line, type=LandingRow) for line in self.lines]
        return [(refusal.step, refusal.reason, refusal.field) for row in rows for refusal in row.rejected]

    def ask(
        self,
        *tokens: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | str = b"",
        address: str = ADDRESS,
        tail: str = "",
        base: str = ORIGIN,
    ) -> httpx.Response:
        """Ask for links one after the other. Return the last answer."""
        return asyncio.run(self._ask(tokens, method, headers or {}, body, address, tail, base))

    async def _ask(
        self,
        tokens: Sequence[str],
        method: str,
        headers: dict[str, str],
        body: bytes | str,
        address: str,
        tail: str,
        base: str,
    ) -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=links.routes(self.edge)), client=(address, 4711))
        folder = self.edge.config.link_path.rstrip("/")
        sent = {"User-Agent": CHROME, **headers}
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            for token in tokens:
                answer = await client.request(method, f"{folder}/{token}{tail}", headers=sent, content=body or None)
        error, self.error = self.error, None
        await self.edge.refusals.flush()
        self.error = error
        return answer
