"""The links page over HTTP: who gets in, for how long, what it answers, and what nobody can make it do."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from collector.config import Config
from collector.console import links_page
from collector.console.links_page_list import MAX_PIECE_BYTES
from collector.console.links_page_session import PageDoor, PageSession, invite, is_page_name, write_signed
from collector.console.links_page_store import Said
from collector.endpoints.edge import Edge
from collector.errors import StoreUnavailable
from collector.keyring import open_keyring
from collector.links.record import Minting
from collector.sites.book import IdentifierKind, Site, SiteBook
from tests.edge_examples import KEYRING, NOW_MS, NOW_S

HERE = "http://localhost:8000"
OUTSIDE = "https://collector.example"
LIST = b"customer_id,name\n4711,Ada\nguest,Bob\n4712,Grace\n"
BOOK = SiteBook(
    sites={
        "shop": Site(site_id="shop", origins=("https://shop.example",), time_zone="Europe/Berlin"),
        "far": Site(site_id="far", space_id="elsewhere", origins=("https://far.example",)),
    }
)
OPTIONS: dict[str, Any] = {"column": 0, "campaign": "spring", "target": "https://shop.example/sale"}


class _NoSpool:
    """A spool that nobody may write to."""

    async def append(self, line: bytes) -> None:
        raise AssertionError("the page has stored something")


class _Reader:
    """A reader of a store that answers, or does not."""

    def __init__(self, rows: list[dict[str, Any]] | None) -> None:
        self.rows = rows
        self.asked: list[dict[str, Any]] = []

    def query_rows(self, sql: str, params: Any = None, settings: Any = None) -> list[dict[str, Any]]:
        self.asked.append(dict(params))
        if self.rows is None:
            raise StoreUnavailable("nobody answers")
        return self.rows

    def close(self) -> None:
        pass


class Paged:
    """The page in an application, asked as a browser would."""

    def __init__(self, data: Path, rows: list[dict[str, Any]] | None = None, **settings: Any) -> None:
        self.now_ms = NOW_MS
        self.records: list[Minting] = []
        self.reader = _Reader(rows)
        self.said: list[tuple[str | None, ...]] = []
        self.taken: list[int] = []
        self.is_kept = True
        edge = Edge(Config(data=str(data), **settings), KEYRING, lambda: BOOK, _NoSpool(), lambda: self.now_ms)
        self.app = Starlette(routes=links_page.routes(edge, self))
        self.cookie = ""

    def open_reader(self) -> _Reader:
        """Open the store, as the page does."""
        return self.reader

    def keep_record(self, minting: Minting) -> bool:
        """Keep a record."""
        self.records.append(minting)
        return self.is_kept

    def keep_consent(self, minting: Minting, kind: IdentifierKind, said: Said, taken: int) -> None:
        """Keep what a list says about consent."""
        if not self.is_kept:
            raise StoreUnavailable("nobody answers")
        self.said += [(minting.minting_id, kind.name, *each) for each in said]
        self.taken.append(taken)

    def ask(self, method: str, path: str, body: bytes = b"", *, base: str = HERE, **headers: str) -> httpx.Response:
        """Ask once. Header names are written with underscores."""

        async def send() -> httpx.Response:
            address = "127.0.0.1" if base == HERE else "203.0.113.9"
            transport = httpx.ASGITransport(self.app, client=(address, 50_000))
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                named = {name.replace("_", "-"): text for name, text in headers.items()}
                if self.cookie:
                    named.setdefault("cookie", self.cookie)
                if method == "POST":
                    named.setdefault("sec-fetch-site", "same-origin")
                return await client.request(method, path, content=body, headers=named)

        return asyncio.run(send())

    def enter(self, minutes: int = 15, space: str = "main", **more: Any) -> httpx.Response:
        """Open the page with a fresh link and keep its cookie."""
        answer = self.ask("POST", "/links/open", invite(KEYRING, "anna", minutes, NOW_S, space).encode(), **more)
        self.cookie = answer.headers.get("set-cookie", "").partition(";")[0]
        return answer

    def post(self, path: str, piece: bytes = LIST, state: str = "", is_last: bool = True, **changes: Any) -> Any:
        """Send a piece of a list."""
        head = {"options": {**OPTIONS, **changes}, "state": state, "is_last": is_last}
        return self.ask("POST", f"/links/{path}", msgspec.json.encode(head) + b"\n" + piece)


def read_piece(answer: httpx.Response) -> tuple[dict[str, Any], bytes, bytes]:
    """Return the head, the tagged and the refused rows of an answer."""
    assert answer.status_code == 200, answer.text
    head, _, rest = answer.content.partition(b"\n")
    told = json.loads(head)
    return told, rest[: told["tagged_bytes"]], rest[told["tagged_bytes"] :]


@pytest.fixture
def page(tmp_path: Path) -> Paged:
    """The page, which somebody has opened."""
    page = Paged(tmp_path)
    assert page.enter().status_code == 204
    return page


def test_without_a_session_it_says_how_to_open_it(tmp_path: Path) -> None:
    """The small page names no site and no space, and nothing else answers."""
    page = Paged(tmp_path)
    answer = page.ask("GET", "/links")
    assert answer.status_code == 403
    assert "tagstitch links page" in answer.text
    assert "shop" not in answer.text
    for method, path in (("POST", "preview"), ("POST", "tag"), ("POST", "close"), ("GET", "results?site=shop")):
        refused = page.ask(method, f"/links/{path}", b"{}")
        assert (refused.status_code, refused.json()["error"]) == (403, "session")


def test_a_link_opens_one_session(tmp_path: Path) -> None:
    """Once, though another process of the host is asked; the cookie is for the page alone and out of scripts' reach."""
    secret = invite(KEYRING, "anna", 15, NOW_S).encode()
    first, second = Paged(tmp_path), Paged(tmp_path)
    opened = first.ask("POST", "/links/open", secret)
    assert opened.status_code == 204
    cookie = opened.headers["set-cookie"]
    for part in ("ts_links=", "HttpOnly", "SameSite=strict", "Path=/links", "Max-Age=900"):
        assert part in cookie
    assert "Secure" not in cookie
    again = second.ask("POST", "/links/open", secret)
    assert (again.status_code, again.json()["error"]) == (403, "link")
    assert "set-cookie" not in again.headers
    second.cookie = cookie.partition(";")[0]
    assert second.ask("GET", "/links").status_code == 200


def test_over_https_the_cookie_is_secure(tmp_path: Path) -> None:
    """And a tunnel to this machine works all the same, whatever the public address is."""
    page = Paged(tmp_path, public_url=OUTSIDE)
    opened = page.enter(base=OUTSIDE)
    assert opened.headers["set-cookie"].startswith("__Secure-ts_links=")
    assert "; Secure" in opened.headers["set-cookie"]
    assert page.ask("GET", "/links", base=OUTSIDE).status_code == 200
    assert page.ask("GET", "/links").status_code == 403
    assert page.enter().headers["set-cookie"].startswith("ts_links=")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x" * 5000,
        b"\xff\xfe",
        write_signed(KEYRING, "session", PageSession("anna", NOW_S + 900)).encode(),
        write_signed(KEYRING, "invitation", PageSession("anna", NOW_S + 900)).encode(),
        invite(KEYRING, "anna", 15, NOW_S - 900).encode(),
        invite(msgspec.structs.replace(KEYRING, operator_key="other"), "anna", 15, NOW_S).encode(),
        invite(KEYRING, "anna", 15, NOW_S).encode()[:-1] + b"!",
    ],
)
def test_what_opens_nothing(tmp_path: Path, text: bytes) -> None:
    """Nothing, something else that we signed, what is over, what another instance signed."""
    answer = Paged(tmp_path).ask("POST", "/links/open", text)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert not list(tmp_path.rglob("*-*")), "and leaves no marker"


def test_a_session_ends_by_itself(page: Paged) -> None:
    """After as many minutes as the link was good for, or when it is closed."""
    page.now_ms += 899_000
    assert page.ask("GET", "/links").status_code == 200
    page.now_ms += 2_000
    assert page.ask("GET", "/links").status_code == 403
    assert page.post("tag").json()["error"] == "session"
    page.now_ms = NOW_MS
    closed = page.ask("POST", "/links/close")
    assert "Max-Age=0" in closed.headers["set-cookie"]


def test_markers_of_links_that_are_over_go(tmp_path: Path) -> None:
    """The folder does not grow."""
    door = PageDoor(KEYRING, tmp_path)
    for number in range(4):
        now_s = NOW_S + number * 10_000
        assert door.open(invite(KEYRING, "anna", 1, now_s), now_s)
    assert len(list((tmp_path / "run" / "links-page").iterdir())) == 1


@pytest.mark.parametrize("headers", [{"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}])
def test_no_other_page_can_post(page: Paged, headers: dict[str, str]) -> None:
    """Though it had the cookie, which SameSite keeps from it."""
    for path in ("open", "tag", "preview", "close"):
        answer = page.ask("POST", f"/links/{path}", LIST, **headers)
        assert (answer.status_code, answer.json()["error"]) == (403, "origin")
    assert page.records == []


def test_an_older_browser_says_its_origin(page: Paged) -> None:
    """And who says nothing of where the page stands is refused."""
    head = msgspec.json.encode({"options": OPTIONS, "is_last": True}) + b"\n" + LIST
    own = page.ask("POST", "/links/preview", head, sec_fetch_site="", origin=HERE)
    assert own.status_code == 403, "an empty word is no word"

    async def send(**headers: str) -> int:
        transport = httpx.ASGITransport(page.app, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            answer = await client.post("/links/preview", content=head, headers={"cookie": page.cookie, **headers})
            return answer.status_code

    assert asyncio.run(send(origin=HERE)) == 200
    assert asyncio.run(send(origin="https://evil.example")) == 403
    assert asyncio.run(send()) == 403


def test_the_page(page: Paged) -> None:
    """Strict policy, nothing inline, nothing kept by the browser, the space's own sites alone."""
    answer = page.ask("GET", "/links")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.text.count("<script") == 1
    for text in (" style=", " onclick=", " onsubmit="):
        assert text not in answer.text
    assert "https://shop.example/" in answer.text
    assert "far.example" not in answer.text
    assert "anna" in answer.text
    assert page.ask("GET", "/links/").status_code == 200
    for name in re.findall(r'(?:href|src)="(/links/static/[^"]+)"', answer.text):
        assert page.ask("GET", name).headers["cache-control"] == "public, max-age=31536000, immutable"
    for name in ("live.js", "shop.css", "../templates/links.html", "%2e%2e/page.py"):
        assert page.ask("GET", f"/links/static/{name}").status_code == 404


def test_previews(page: Paged) -> None:
    """What becomes of the first rows; nothing is recorded."""
    told = page.post("preview").json()["previews"]
    assert [(each["line"], each["reference"], each["refused"]) for each in told] == [
        (2, "4711", ""),
        (3, "guest", "nobody"),
        (4, "4712", ""),
    ]
    assert told[0]["made"].startswith("https://shop.example/sale?lt=m")
    assert page.records == []


def test_a_list_in_two_pieces(page: Paged) -> None:
    """The state goes from one to the next; at the end there is one record."""
    first, tagged, refused = read_piece(page.post("tag", LIST[:30], is_last=False))
    assert page.records == []
    second, more, _ = read_piece(page.post("tag", LIST[first["taken"] :], first["state"]))
    assert (second["made"], second["refused"], second["taken"]) == (2, 1, len(LIST))
    assert (tagged + more).count(b"lt=m") == 2
    assert refused.startswith(b"customer_id,name,refused\n")
    [record] = page.records
    assert (record.actor, record.via, record.made, record.refused) == ("page:anna", "page", 2, 1)
    assert record.space_id == "main"
    # The last piece once more, as after a lost answer: the same record.
    read_piece(page.post("tag", LIST[first["taken"] :], first["state"]))
    assert page.records[0] == page.records[1]


def test_the_record_waits_where_the_store_is_away(page: Paged) -> None:
    """The page is told."""
    page.is_kept = False
    assert read_piece(page.post("tag"))[0]["recorded"] is False


def test_what_a_list_says_about_consent_is_kept(page: Paged) -> None:
    """Yes and no under the minting's id, a piece at a time; an empty cell says nothing, and a test says nothing."""
    text = b"customer_id,news\n4711,yes\n4712,no\n4713,\nguest,yes\n"
    read_piece(page.post("tag", text, consent_column=1, is_test=True))
    assert page.said == []
    read_piece(page.post("tag", text, consent_column=1))
    record = page.records[-1]
    assert page.said == [(record.minting_id, "customer", "4711", "m"), (record.minting_id, "customer", "4712", "")]
    first, _, _ = read_piece(page.post("tag", text[:30], is_last=False, consent_column=1))
    for _ in range(2):  # the second as after a lost answer
        read_piece(page.post("tag", text[first["taken"] :], first["state"], consent_column=1))
    assert page.taken[1:] == [0, first["taken"], first["taken"]]
    page.is_kept = False
    away = page.post("tag", text, consent_column=1)
    assert (away.status_code, away.json()["retry"]) == (503, True)


def test_nothing_of_a_list_that_gives_no_link_is_recorded(page: Paged) -> None:
    """All rows refused: no minting."""
    told, _, refused = read_piece(page.post("tag", b"customer_id\nguest\nnull\n"))
    assert (told["made"], told["refused"]) == (0, 2)
    assert refused.count(b"nobody") == 2
    assert page.records == []


def test_a_state_is_for_its_own_list(page: Paged) -> None:
    """Other options, or a state that was not signed here: nothing is minted with it."""
    first, _, _ = read_piece(page.post("tag", LIST[:30], is_last=False))
    for state, changes in ((first["state"], {"campaign": "other"}), (first["state"][:-2] + "xx", {}), ("x", {})):
        answer = page.post("tag", LIST, state, **changes)
        assert (answer.status_code, answer.json()["error"]) == (400, "state")
    assert page.records == []


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"target": "https://far.example/"}, 422, "target"),
        ({"target": "javascript:alert(1)"}, 422, "target"),
        ({"campaign": "x" * 65}, 422, "label"),
        ({"column": 9}, 422, "column"),
        ({"identifier": "nothing"}, 422, "identifier"),
        ({"kind": "boss"}, 400, ""),
        ({"surprise": 1}, 400, ""),
        ({"days": "1"}, 400, ""),
    ],
)
def test_what_cannot_be_asked(page: Paged, changes: dict[str, Any], status: int, field: str) -> None:
    """The answer is JSON, names the field, and repeats nothing of the list."""
    for path in ("preview", "tag"):
        answer = page.post(path, **changes)
        assert (answer.status_code, answer.json()["field"]) == (status, field)
        assert "4711" not in answer.text
    assert page.records == []


def test_a_head_that_is_no_text(page: Paged) -> None:
    """As any other that the page has not written."""
    head = msgspec.json.encode({"options": {**OPTIONS, "campaign": "@"}, "state": "", "is_last": True})
    for path in ("preview", "tag"):
        answer = page.ask("POST", f"/links/{path}", head.replace(b"@", b"\xff") + b"\n" + LIST)
        assert (answer.status_code, answer.json()["error"]) == (400, "shape")


def test_bounds(page: Paged, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece that is too large, and a list that is."""
    answer = page.post("tag", b"x" * (MAX_PIECE_BYTES + 20_000))
    assert (answer.status_code, answer.json()["error"]) == (413, "size")
    monkeypatch.setattr(links_page, "MAX_LIST_BYTES", 40)
    first, _, _ = read_piece(page.post("tag", LIST[:30], is_last=False))
    answer = page.post("tag", LIST, first["state"])
    assert (answer.status_code, answer.json()["field"]) == (413, "list")


def test_results(tmp_path: Path) -> None:
    """Both questions, in the site's own days; the file takes no formula from a campaign's name."""
    page = Paged(tmp_path, [{"campaign": "=cmd|' /C calc'!A0", "day": date(2026, 11, 1), "clicks": 3, "links": ["-1"]}])
    page.enter()
    told = page.ask("GET", "/links/results?site=shop&first=2026-10-01&last=2026-10-31&level=message").json()
    assert told["campaigns"][0]["clicks"] == 3
    assert told["days"][0]["day"] == "2026-11-01"
    assert page.reader.asked[0]["level"] == "message"
    assert all(asked["zone"] == "Europe/Berlin" and asked["first"] == date(2026, 10, 1) for asked in page.reader.asked)
    file = page.ask("GET", "/links/results.csv?site=shop")
    assert file.headers["content-disposition"].startswith('attachment; filename="links-shop-')
    assert file.content.startswith(b"\xef\xbb\xbfcampaign,day,clicks,links\r\n")
    assert b"\r\n'=cmd|" in file.content
    assert file.content.endswith(b",3,'-1\r\n")


@pytest.mark.parametrize(("level", "questions"), [("campaign", 2), ("message", 3), ("link", 3)])
def test_totals_are_of_campaigns(tmp_path: Path, level: str, questions: int) -> None:
    """A mail stands in the row of each of its links: the sum of such rows would count it twice."""
    page = Paged(
        tmp_path, [{"campaign": "spring", "sent": 90, "clicks": 3, "bots": 1}, {"campaign": "autumn", "sent": 10}]
    )
    page.enter()
    told = page.ask("GET", f"/links/results?site=shop&level={level}").json()
    assert (told["totals"]["sent"], told["totals"]["clicks"], told["totals"]["bots"]) == (100, 3, 1)
    assert len(page.reader.asked) == questions
    assert page.reader.asked[-1].get("level", level) == (level if level == "campaign" else "campaign")


@pytest.mark.parametrize(
    "query",
    [
        "site=far",
        "site=nowhere",
        "",
        "site=shop&first=2026-10-31&last=2026-10-01",
        "site=shop&first=2020-01-01&last=2026-10-01",
        "site=shop&first=soon",
        "site=shop&level=person",
        f"site=shop&goal={'x' * 200}",
        "site=shop&last=0001-01-01",
        "site=shop&first=1969-12-31&last=1970-01-02",
        "site=shop&first=2149-05-01&last=2149-06-01",
    ],
)
def test_results_that_cannot_be_asked(tmp_path: Path, query: str) -> None:
    """Another space's site among them."""
    page = Paged(tmp_path, [])
    page.enter()
    answer = page.ask("GET", f"/links/results?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "asked")
    assert page.reader.asked == []


def test_the_store_is_away(page: Paged) -> None:
    """The page is told in words, and may try again."""
    answer = page.ask("GET", "/links/results?site=shop")
    assert (answer.status_code, answer.json()["retry"]) == (503, True)


def test_a_session_stays_in_its_space(tmp_path: Path) -> None:
    """Of the sites of others it knows nothing."""
    page = Paged(tmp_path, [])
    page.enter(space="elsewhere")
    assert page.post("preview").json()["field"] == "target"
    assert page.ask("GET", "/links/results?site=shop").status_code == 400
    assert page.ask("GET", "/links/results?site=far").status_code == 200


def test_the_log_has_no_personal_data(page: Paged, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither the list, nor links, nor the secret."""
    page.enter()
    read_piece(page.post("tag", b"customer_id,mail\ncanary77,canary77@mail.example\n"))
    page.post("tag", b'customer_id\n"canary77\n')
    said = "".join(capfd.readouterr())
    assert "links page tagged a list" in said
    assert "canary77" not in said
    assert "lt=" not in said


@pytest.mark.parametrize(("name", "is_one"), [("anna", True), ("Anna B. 2", True), ("a@b.example", False), ("", False)])
def test_names(name: str, is_one: bool) -> None:
    """A name stands in records and logs: no e-mail address."""
    assert is_page_name(name) is is_one


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--minutes", "0"), "between 1 and 720"),
        (("--minutes", "721"), "between 1 and 720"),
        (("--name", "anna@shop.example"), "no e-mail address"),
        (("--data", "nowhere"), "no secrets"),
    ],
)
def test_the_command_refuses(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    """Naming cause and fix, and no traceback."""
    done = _run_command(tmp_path, *words)
    assert done.returncode != 0
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_command_prints_a_link(tmp_path: Path) -> None:
    """To where web is reached from outside, as the settings or the option say; it opens the page."""
    keyring = open_keyring(Config(data=str(tmp_path)).secrets_path)
    done = _run_command(tmp_path, "--set", "public_url=https://shop.example/", "--minutes", "60", "--space", "main")
    base, _, secret = done.stdout.strip().partition("#")
    assert base == "https://shop.example/links"
    now_s = int(time.time())
    opened = PageDoor(keyring, tmp_path).open(secret, now_s)
    assert opened is not None
    assert now_s + 3590 <= opened[1].until_s <= now_s + 3600
    done = _run_command(tmp_path, "--base-url", "https://vpn.example:8443")
    assert done.stdout.startswith("https://vpn.example:8443/links#")


def _run_command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "collector", "links", "page", "--data", str(folder), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={name: value for name, value in os.environ.items() if not name.startswith("TAGSTITCH_")},
        cwd=Path(__file__).parents[2],
    )
