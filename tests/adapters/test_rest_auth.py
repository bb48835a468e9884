"""How the REST adapter says who it is, with a real server; and that no secret is told to anyone else."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import pytest

from collector.adapters.contract import Wrong
from collector.errors import AdapterError, AdapterReason
from tests.adapters.faulty_server import FaultyServer, Respond, by_path, give, hang, one_after_another
from tests.adapters.rest_source import ALL, HOST, LONG_S, SECRETS, ask, find_reason, gather_all, make_adapter

SECRET = SECRETS["CRM_SECRET"]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"kind": "bearer", "token_env": "CRM_SECRET"}, "authorization", f"Bearer {SECRET}"),
        ({"kind": "basic", "user": "tags", "password_env": "CRM_SECRET"}, "authorization", basic("tags", SECRET)),
        ({"kind": "header", "header": "X-Api-Key", "value_env": "CRM_SECRET"}, "x-api-key", SECRET),
    ],
)
def test_every_request_is_signed(auth: dict[str, str], header: str, value: str) -> None:
    """With the secret of the environment."""
    server = FaultyServer()
    ask(server, auth=auth)
    assert server.requests[0].headers[header] == value
    refusing = FaultyServer(give({"error": SECRET}, 401))
    assert find_reason(refusing, auth=auth) is AdapterReason.REFUSED  # and is in no message
    assert len(refusing.requests) == 1


class Shop:
    """A source and its issuer of tokens, on one server; and the time that the adapter has."""

    def __init__(self, token: Respond | None = None, **token_settings: Any) -> None:
        self.now_s = 0.0
        self.server = FaultyServer(by_path(token=token or self.give_token, **{"7": self.give_record}))
        self.token_settings = token_settings
        self.issued = 0
        self.withdrawn: set[str] = set()

    async def give_token(self, request: Any, writer: Any) -> None:
        await asyncio.sleep(0.02)
        self.issued += 1
        document = {"access_token": f"token-{self.issued}", "token_type": "Bearer", "expires_in": 600}
        await give(document)(request, writer)

    async def give_record(self, request: Any, writer: Any) -> None:
        token = request.headers["authorization"].removeprefix("Bearer ")
        await give({"name": token}, 401 if token in self.withdrawn else 200)(request, writer)

    def run(self, story: Any) -> Any:
        async def work() -> Any:
            port = await self.server.start()
            auth = {
                "kind": "oauth2",
                "token_url": f"http://login.test:{port}/token",
                "client_id": "tag:stitch&",
                "client_secret_env": "CRM_SECRET",
                **self.token_settings,
            }
            adapter = make_adapter(port, auth=auth, clock=lambda: self.now_s)
            try:
                return await story(adapter)
            finally:
                await adapter.close()
                await self.server.stop()

        return asyncio.run(work())

    def tokens(self) -> list[Any]:
        return [request for request in self.server.requests if request.target == "/token"]


def read_reason(shop: Shop, deadline_s: float = LONG_S) -> AdapterReason:
    async def story(adapter: Any) -> Any:
        with pytest.raises(AdapterError) as caught:
            await adapter.retrieve("7", ALL, deadline_s)
        assert SECRET not in str(caught.value)
        return caught.value.reason

    found: AdapterReason = shop.run(story)
    return found


def test_a_token_is_fetched_once_for_all() -> None:
    """By the name and the secret of this program, as RFC 6749 has it, at the issuer's own name."""
    shop = Shop(scope="customers read")

    async def story(adapter: Any) -> list[Any]:
        return list(await asyncio.gather(*(adapter.retrieve("7", ALL, LONG_S) for _ in range(10))))

    assert {record.values["name"] for record in shop.run(story)} == {"token-1"}
    (request,) = shop.tokens()
    assert request.method == "POST"
    assert request.headers["host"].startswith("login.test:")
    assert parse_qs(request.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["customers read"]}
    user, _, password = (
        base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
    )
    assert (unquote_plus(user), unquote_plus(password)) == ("tag:stitch&", SECRET)
    asked = next(request for request in shop.server.requests if request.target != "/token")
    assert asked.headers["host"].startswith(f"{HOST}:")


def test_a_token_is_renewed_before_its_end() -> None:
    shop = Shop()

    async def story(adapter: Any) -> list[str]:
        names = []
        for now_s in (0.0, 569.0, 571.0, 1_000.0):
            shop.now_s = now_s
            names.append((await adapter.retrieve("7", ALL, LONG_S)).values["name"])
        return names

    assert shop.run(story) == ["token-1", "token-1", "token-2", "token-2"]


def test_a_withdrawn_token_is_renewed_once() -> None:
    """By one of all that come to know it; a new one that is not accepted either is the end of it."""
    shop = Shop()

    async def story(adapter: Any) -> None:
        await adapter.retrieve("7", ALL, LONG_S)
        shop.withdrawn = {"token-1"}
        found = await asyncio.gather(*(adapter.retrieve("7", ALL, LONG_S) for _ in range(10)))
        assert {record.values["name"] for record in found} == {"token-2"}
        assert shop.issued == 2
        shop.withdrawn = {f"token-{number}" for number in range(10)}
        with pytest.raises(AdapterError) as caught:
            await adapter.retrieve("7", ALL, LONG_S)
        assert caught.value.reason is AdapterReason.REFUSED
        assert shop.issued == 3

    shop.run(story)


def test_who_comes_late_with_an_old_token_does_not_withdraw_the_new_one() -> None:
    """A refusal is of the token that was sent."""
    shop = Shop()

    async def story(adapter: Any) -> None:
        auth = adapter._auth
        first = await auth.sign(LONG_S)
        assert auth.renew(first)
        second = await auth.sign(LONG_S)
        assert auth.renew(first)
        assert await auth.sign(LONG_S) == second != first

    shop.run(story)


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (give({"error": "invalid_client"}, 401), "refused"),
        (give({"error": "invalid_scope"}, 400), "bad_answer"),
        (give({}), "refused"),
        (give([]), "refused"),
        (give({"access_token": 7}), "refused"),
        (give({"access_token": ""}), "refused"),
        (give({"access_token": "a\r\nX-Evil: 1"}), "refused"),
        (give({"access_token": "x" * 9_000}), "refused"),
        (give({"access_token": "x", "token_type": "mac"}), "refused"),
        (give({}, 302, location="http://169.254.169.254/"), "bad_answer"),
        (give({}, 503), "unreachable"),
        (hang, "timeout"),
    ],
)
def test_an_issuer_that_gives_no_token(respond: Respond, reason: str) -> None:
    """Then the source is not asked at all."""
    shop = Shop(respond)
    assert read_reason(shop, 0.2 if respond is hang else LONG_S) == reason
    assert len(shop.tokens()) == len(shop.server.requests)


def test_who_gives_up_waiting_for_a_token_leaves_it_to_the_others() -> None:
    """A hanging issuer ends every wait in time; when it is back, all goes on."""
    shop = Shop()
    shop.server.respond = by_path(token=one_after_another(hang, shop.give_token), **{"7": shop.give_record})

    async def story(adapter: Any) -> None:
        ended = await gather_all(*(adapter.retrieve("7", ALL, 0.2) for _ in range(5)))
        assert {error.reason for error in ended} == {AdapterReason.TIMEOUT}
        assert (await adapter.retrieve("7", ALL, LONG_S)).values["name"].startswith("token-")

    shop.run(story)


@pytest.mark.parametrize("life", [None, "600", True, 0, -5, 1])
def test_an_odd_life_of_a_token(life: Any) -> None:
    """It is used all the same."""
    document = {"access_token": "odd", "expires_in": life}
    shop = Shop(give(body=json.dumps(document).encode()))

    async def story(adapter: Any) -> Any:
        return (await adapter.retrieve("7", ALL, LONG_S)).values["name"]

    assert shop.run(story) == "odd"


def test_the_issuer_is_guarded_like_the_source() -> None:
    """A name that leads inside is not asked for a token, and gets no secret."""
    shop = Shop(token_url="http://127.0.0.99:9/token")

    async def story(adapter: Any) -> None:
        with pytest.raises(AdapterError):
            await adapter.retrieve("7", ALL, LONG_S)

    shop.run(story)
    outside = Shop(token_url="https://10.0.0.1/token")
    assert read_reason(outside) is AdapterReason.CONFIG
    assert outside.server.requests == []


@pytest.mark.parametrize(
    "auth",
    [
        {"kind": "bearer", "token_env": "NOT_SET"},
        {"kind": "basic", "user": "tags", "password_env": "NOT_SET"},
        {"kind": "header", "header": "X-Api-Key", "value_env": "NOT_SET"},
        {"kind": "oauth2", "token_url": "https://login.test/", "client_id": "x", "client_secret_env": "NOT_SET"},
    ],
)
def test_a_secret_that_is_not_there(auth: dict[str, str]) -> None:
    """It is said when the adapter is made, with the name of the variable."""
    with pytest.raises(Wrong) as caught:
        make_adapter(80, auth=auth)
    assert "NOT_SET" in str(caught.value)
    assert caught.value.setting.startswith("auth.")


@pytest.mark.parametrize("secret", ["s3\r\nX-Evil: 1", "s3\nb", "s3\x00", "s3ä", " s3", "s3 "])
@pytest.mark.parametrize("kind", ["bearer", "header"])
def test_a_secret_that_is_no_header(secret: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is smuggled in by it, and no message quotes it."""
    monkeypatch.setitem(SECRETS, "CRM_SECRET", secret)
    auth = {"kind": kind, **({"token_env": "CRM_SECRET"} if kind == "bearer" else {})}
    auth |= {"header": "X-Api-Key", "value_env": "CRM_SECRET"} if kind == "header" else {}
    with pytest.raises(Wrong) as caught:
        make_adapter(80, auth=auth)
    assert "s3" not in str(caught.value)
