"""A browser's manners without a browser: httpx on an ASGI application, with cookies, from a chosen address."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from starlette.types import ASGIApp

from tests.console.event_loop import run


class AsgiClient:
    """Asks an application in this process. Keeps cookies and follows redirects unless told otherwise."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        base_url: str,
        client: tuple[str, int] = ("127.0.0.1", 50000),
        follow_redirects: bool = True,
    ) -> None:
        self.app = app
        self.base_url = base_url
        self.client = client
        self.follow_redirects = follow_redirects
        self.cookies = httpx.Cookies()

    def get(
        self,
        path: str,
        headers: Mapping[str, str | bytes] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """GET, to the end."""
        return run(self._ask("GET", path, headers=headers, params=params))

    def post(
        self, path: str, headers: Mapping[str, str | bytes] | None = None, data: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """POST a form, to the end."""
        return run(self._ask("POST", path, headers=headers, data=data))

    async def _ask(self, method: str, path: str, **more: object) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=self.client)
        async with httpx.AsyncClient(
            transport=transport,
            base_url=self.base_url,
            cookies=self.cookies,
            follow_redirects=self.follow_redirects,
        ) as client:
            answer = await client.request(method, path, **more)  # type: ignore[arg-type]
            self.cookies = client.cookies
            return answer
