"""The main job as a site has it in production: HTTPS, the collector under a path of the shop's own origin, real nginx.

The shop is pages of its own behind the same nginx, under a strict content policy. Everything the site needs comes
from the commands: the site, the snippet (pinned, with its integrity hash and a nonce), the tagged link, the secret
that signs an identify. The name of the shop is another one than the machine's, and a second name plays the stranger.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import secrets
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import brotli
import msgspec
import pytest
from deploy.proxied import Proxy, find_nginx, running_nginx
from instance_process import RunningInstance, running_instance
from known_sites import wait_for_site
from page_server import PageServer, running_page_server
from playwright.sync_api import Browser, BrowserContext, Page
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from collector.config import Config
from collector.sites.rows import find_site, write_site
from collector.snippet import make_snippet
from collector.store.client import open_client

pytestmark = pytest.mark.browser

SHOP, STRANGER = "shop.localhost", "stranger.localhost"
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
BANNER = """
<button id=yes>Yes, remember me</button>
<script nonce="{nonce}">
  const answer = localStorage.getItem('answer');
  if (answer) tagstitch('consent', answer);
  document.getElementById('yes').onclick = () => {{
    localStorage.setItem('answer', 'all');
    tagstitch('consent', 'all');
  }};
</script>
"""
SPIED = "window.violations = []; addEventListener('securitypolicyviolation', e => violations.push(e.violatedDirective))"
MAIL, ADDRESS = "ada.canary@example.com", "198.51.100.23"
EVENTS = """
SELECT event_name, path, url, toString(visitor_id) AS visitor, visitor_proof, toString(person_id) AS person,
       customer_id, customer_id_then, assurance, provisional, utm_campaign, link_status, is_bot, bot_reason, country
FROM v_events WHERE site_id = {site:String} AND path != '/cut' ORDER BY time, sequence
"""
STORED = "SELECT network, country FROM events WHERE site_id = {site:String} AND path = {path:String}"


@dataclass(frozen=True)
class Shop:
    """A shop on its own origin, with the collector below /x/."""

    instance: RunningInstance
    proxy: Proxy
    pages: PageServer
    secret: str  # signs identifies of site `shop`

    @property
    def url(self) -> str:
        """The shop's origin."""
        return self.proxy.url

    @property
    def stranger(self) -> str:
        """Another origin, on the same server."""
        return f"https://{STRANGER}:{self.proxy.port}"

    def events(self, site: str) -> list[dict[str, Any]]:
        """Events of the site in a browser, in their order."""
        return self.instance.sql(EVENTS, {"site": site})

    def wait(self, site: str, fits: Callable[[list[dict[str, Any]]], object], what: str) -> list[dict[str, Any]]:
        """Poll the events until they fit. The limit is for a busy machine; the time taken is printed."""
        began = time.monotonic()
        while True:
            rows = self.events(site)
            if rows and fits(rows):
                print(f"{what}: {time.monotonic() - began:.2f} s")
                return rows
            assert time.monotonic() - began < 20, (what, rows, self.instance.log[-3000:])
            time.sleep(0.05)

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Message, bytes]:
        """Ask nginx as a program does; return status, headers and body. Underscores in header names are dashes."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.proxy.port}{path}",
            body,
            {"Host": f"{SHOP}:{self.proxy.port}", **{name.replace("_", "-"): text for name, text in headers.items()}},
        )
        trust = ssl.create_default_context(cafile=str(self.proxy.ca_file))
        try:
            with urllib.request.urlopen(request, timeout=30, context=trust) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def put(self, path: str, snippet: str, body: str = "") -> str:
        """Serve a page with this snippet, under the policy, with a fresh nonce each time. Returns its address."""

        def answer(_: Request) -> Response:
            nonce = secrets.token_urlsafe(16)
            head = snippet.replace("{{ nonce }}", nonce)
            banner = BANNER.format(nonce=nonce)
            text = f"<!doctype html><title>Lamps</title>{head}<body>{banner}{body.replace('NONCE', nonce)}"
            return HTMLResponse(text, headers={"Content-Security-Policy": POLICY.format(nonce=nonce)})

        self.pages.pages[path] = answer
        return self.url + path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The whole set-up, once: instance, shop, nginx with the deployed sample, two sites made by command.

    `shop` counts automated browsers, as only the demo and tests may; `plain` is a site as everybody has it.
    """
    if find_nginx() is None:
        pytest.fail("no nginx here; `make test` installs it, or: apt-get install nginx")
    folder = tmp_path_factory.mktemp("proxied")
    options = ("trusted_proxies=127.0.0.1/32", "country_header=CF-IPCountry", "settings_interval_s=0.2")
    with (
        running_page_server() as pages,
        running_instance(folder, *(word for option in options for word in ("--set", option))) as instance,
        running_nginx(
            instance.config.port,
            folder=folder / "nginx",
            site_port=int(pages.origin.rpartition(":")[2]),
            names=(SHOP, STRANGER, "127.0.0.1"),
            tls=True,
        ) as proxy,
    ):
        for site in ("shop", "plain"):
            instance.command("site", "add", site, "--origin", proxy.url)
        made = instance.command("key", "create", "--scope", "identify", "--site", "shop")
        with open_client(instance.config, instance.keyring, "writer") as client:
            known = find_site(client, "shop")
            write_site(client, msgspec.structs.replace(known, count_automated=True), known)
        wait_for_site(instance, "plain")
        wait_for_site(instance, "shop", lambda site: site.count_automated and site.identify_versions == (1,))
        yield Shop(instance, proxy, pages, made.stdout.strip())


def _beacon(site: str, url: str) -> bytes:
    """Write a beacon by hand, as docs/wire-format.md says."""
    now_ms = time.time_ns() // 1_000_000
    event = {"i": str(uuid.uuid4()), "n": "page_view", "t": now_ms}
    beacon = {"v": 1, "s": site, "st": now_ms, "d": str(uuid.uuid4()), "c": "a", "u": url, "e": [event]}
    return msgspec.json.encode(beacon)


def _sign(secret: str, site: str, customer: str) -> str:
    """Sign as docs/sign-identify.md says, by hand: a site has none of our code."""
    expires = int(time.time()) + 3600
    text = f"{site}\ncustomer\n{customer}\n{expires}"
    return f"1.{expires}.{hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()}"


@pytest.fixture
def browser_context(chromium: Browser) -> Iterator[BrowserContext]:
    """A fresh profile that calls itself as people's browsers do.

    Its headers are those of a visitor behind a content delivery network that names the country, who has written an
    address of somebody else's into them.
    """
    context = chromium.new_context(
        ignore_https_errors=True,
        user_agent=f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{chromium.version} Safari/537.36",
        extra_http_headers={"CF-IPCountry": "NL", "X-Forwarded-For": ADDRESS},
    )
    context.add_init_script(SPIED)
    yield context
    context.close()


def _touch(page: Page) -> None:
    page.mouse.move(300, 400)
    page.mouse.down()
    page.mouse.up()


def _count(rows: list[dict[str, Any]], name: str) -> int:
    return sum(row["event_name"] == name for row in rows)


@pytest.mark.long
def test_the_main_job_behind_nginx(shop: Shop, browser_context: BrowserContext) -> None:
    """Over HTTPS and nginx, a campaign visit, a tagged link and a signed sign-in end as one customer's history."""
    snippet = shop.instance.command("snippet", "--site", "shop", "--versioned", "--nonce").stdout
    assert 'integrity="sha384-' in snippet
    shop.put("/offer", snippet)
    shop.put("/lamp", snippet)
    signature = _sign(shop.secret, "shop", "4711")
    call = html.escape(f"tagstitch('identify', '4711', {{signature: '{signature}'}})", quote=False)
    shop.put("/account", snippet, f'<script nonce="NONCE">{call}</script>')

    page = browser_context.new_page()
    statuses: dict[str, int] = {}
    page.on("response", lambda answer: statuses.__setitem__(answer.url.partition("?")[0], answer.status))

    # A campaign's visitor; nothing happens before the answer to the banner.
    campaign = f"spring-{secrets.token_hex(4)}"
    page.goto(f"{shop.url}/offer?utm_source=news&utm_campaign={campaign}&mail={MAIL}")
    page.wait_for_function("tagstitch.isTagstitch")
    page.wait_for_timeout(600)
    assert browser_context.cookies() == []
    assert shop.events("shop") == []
    page.locator("#yes").click()
    # Everything is granted, so the device's signals follow, from modules that the page's policy lets through.
    rows = shop.wait("shop", lambda rows: len(rows) == 2, "the first page")
    assert [row["event_name"] for row in rows] == ["page_view", "fingerprint"]
    assert (rows[0]["path"], rows[0]["utm_campaign"], rows[0]["customer_id"]) == ("/offer", campaign, "")
    assert MAIL not in rows[0]["url"]
    assert rows[0]["url"].startswith(f"{shop.url}/offer?")
    tag_url = next(url for url in statuses if url.startswith(f"{shop.url}/x/t-"))
    assert statuses[tag_url] == 200, "the pinned tag, let through by its nonce and its hash"

    # The collector knows that it is HTTPS, though it speaks plain HTTP to nginx: the strictest cookie there is.
    [cookie] = [cookie for cookie in browser_context.cookies() if cookie["httpOnly"]]
    assert cookie["name"] == "__Host-ts_shop"
    assert (cookie["secure"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert cookie["domain"] == SHOP, "a host cookie: no dot before it, no subdomain has it"
    assert 399 * 86_400 < cookie["expires"] - time.time() <= 400 * 86_400

    # What the trusted proxy says counts: the country. What the visitor wrote there does not, and no address is whole.
    assert rows[0]["country"] == "NL"
    with open_client(shop.instance.config, shop.instance.keyring, "writer") as client:
        stored = client.query_rows(STORED, {"site": "shop", "path": "/offer"})
        assert stored == [{"network": "127.0.0.0/24", "country": "NL"}] * 2

    # Back by the link in a mail.
    link = shop.instance.command(
        "link", "--customer", "4711", "--campaign", "letter", f"{shop.url}/lamp"
    ).stdout.strip()
    token = link.partition("lt=")[2]
    assert len(token) > 40
    page.goto(link)
    assert page.url == f"{shop.url}/lamp"
    # The campaign of the link begins a session, which has signals of its own.
    rows = shop.wait("shop", lambda rows: _count(rows, "fingerprint") == 2, "the link, untouched")
    assert next(row["link_status"] for row in rows if row["path"] == "/lamp") == "unconfirmed"
    assert {row["customer_id"] for row in rows} == {""}
    assert rows[-1]["visitor_proof"] == "cookie"
    _touch(page)
    rows = shop.wait("shop", lambda rows: rows[-1]["customer_id"] == "4711", "the link, touched")
    assert (rows[-1]["link_status"], rows[-1]["provisional"], rows[0]["customer_id"]) == ("confirmed", 1, "")

    # Signed in: the first page is the customer's, too.
    page.goto(f"{shop.url}/account")
    rows = shop.wait("shop", lambda rows: {row["customer_id"] for row in rows} == {"4711"}, "the sign-in")
    assert [(row["path"], row["event_name"]) for row in rows] == [
        *(("/offer", name) for name in ("page_view", "fingerprint", "engagement")),
        *(("/lamp", name) for name in ("page_view", "fingerprint", "link_confirm", "engagement")),
        *(("/account", name) for name in ("page_view", "identify")),
    ]
    assert len({row["person"] for row in rows}) == 1
    assert len({row["visitor"] for row in rows}) == 1
    assert {row["provisional"] for row in rows} == {0}
    assert (rows[0]["customer_id_then"], rows[0]["assurance"]) == ("", 0)
    assert (rows[-1]["customer_id_then"], rows[-1]["assurance"]) == ("4711", 3)
    [identity] = shop.instance.sql("SELECT customer_id, provisional FROM v_customers")
    assert identity == {"customer_id": "4711", "provisional": 0}
    assert page.evaluate("violations") == []

    # What nginx, the supervisor and the roles have written down by now says nothing about anybody.
    page.close()
    logs = shop.proxy.read_logs()
    assert "/x/b 204" in logs, "nginx did log it"
    assert "/offer" in logs
    assert "127.0.0.1" not in logs, "no full address, not even this one"
    visitor = rows[0]["visitor"]
    told = (
        token,
        token[:20],
        signature,
        signature.rpartition(".")[2],
        MAIL,
        ADDRESS,
        campaign,
        visitor,
        cookie["value"],
    )
    for log in (logs, shop.instance.log):
        assert not [secret for secret in (*told, "utm_", "lt=", shop.secret, "%40") if secret in log]


@pytest.mark.long
def test_an_automated_browser_is_nobody_on_a_normal_site(shop: Shop, browser_context: BrowserContext) -> None:
    """On a site as everybody has it, a link that a robot opens and clicks attaches nothing, and its events say so."""
    page_url = shop.put("/plain", make_snippet(Config(), "plain", nonce=True))
    link = shop.instance.command("link", "--customer", "4712", "--campaign", "letter", page_url).stdout.strip()
    page = browser_context.new_page()
    page.goto(link)
    assert page.url == page_url
    page.locator("#yes").click()
    _touch(page)
    rows = shop.wait("plain", lambda rows: "link_confirm" in {row["event_name"] for row in rows}, "the robot's click")
    rows = [row for row in rows if row["event_name"] != "fingerprint"]
    assert {(row["is_bot"], row["bot_reason"], row["link_status"]) for row in rows} == {(1, "automation", "bot")}
    page.goto(page_url)
    rows = shop.wait("plain", lambda rows: _count(rows, "page_view") == 2, "one more page, stitched by then")
    assert {(row["customer_id"], row["assurance"]) for row in rows} == {("", 0)}
    evidence = "SELECT count() AS n FROM v_identity_evidence WHERE site_id = 'plain'"
    assert shop.instance.sql(evidence) == [{"n": 0}]


def test_a_foreign_origin_gets_nothing(shop: Shop, chromium: Browser) -> None:
    """A page elsewhere that carries the shop's snippet is refused: no event, no cookie, no answer that it may read."""
    snippet = make_snippet(Config(), "shop", base_url=shop.url, consent="implied")
    shop.pages.add_page("/stolen", f"<!doctype html>{snippet}<body>stolen")
    context = chromium.new_context(ignore_https_errors=True)
    page = context.new_page()
    with page.expect_request(f"{shop.url}/x/b") as sent:
        page.goto(f"{shop.stranger}/stolen")
    body = sent.value.post_data_buffer
    assert body is not None
    shop.instance.until(
        "SELECT reason, events FROM v_rejected WHERE site_id = 'shop' AND reason = 'origin'", lambda rows: bool(rows)
    )
    assert [cookie["name"] for cookie in context.cookies() if cookie["httpOnly"]] == []
    read = """address => fetch(address, {method: 'POST', body: '{}', credentials: 'include'})
        .then(() => 'read it', error => error.name)"""
    assert page.evaluate(read, f"{shop.url}/x/b") == "TypeError"
    context.close()

    status, headers, _ = shop.ask("/x/b", body, Origin=shop.stranger, Content_Type="text/plain")
    assert status == 403
    names = {name.lower() for name in headers}
    assert "set-cookie" not in names
    assert not [name for name in names if name.startswith("access-control-")]
    counted = "SELECT count() AS n FROM v_events WHERE path = '/stolen'"
    assert shop.instance.sql(counted) == [{"n": 0}]


def test_the_tag_is_served_well_through_nginx(shop: Shop) -> None:
    """nginx hands the tag on as the collector serves it: brotli, its lifetime, its entity tag, 304 on a revisit."""
    pinned = make_snippet(Config(), "plain", versioned=True)
    pinned_path = pinned.partition('src="')[2].partition('"')[0]
    for path, lifetime in (("/x/t.js", "public, max-age=900"), (pinned_path, "public, max-age=31536000, immutable")):
        status, headers, body = shop.ask(path, Accept_Encoding="gzip, br")
        assert (status, headers["content-encoding"], headers["cache-control"]) == (200, "br", lifetime)
        assert (headers["vary"], headers["set-cookie"]) == ("Accept-Encoding", None)
        assert headers["content-type"].startswith("text/javascript")
        assert b"isTagstitch" in brotli.decompress(body)
        status, headers, body = shop.ask(path, Accept_Encoding="gzip, br", If_None_Match=headers["etag"])
        assert (status, body) == (304, b"")


def test_an_address_from_the_proxy_is_cut(shop: Shop, tmp_path: Path) -> None:
    """What a trusted proxy says about the client's address counts, and only its network is stored or written down."""
    headers = {"Origin": shop.url, "X-Forwarded-For": ADDRESS, "X-Forwarded-Proto": "https", "CF-IPCountry": "PT"}
    status, _ = shop.instance.post(_beacon("plain", f"{shop.url}/cut"), headers)
    assert status == 204
    shop.instance.until("SELECT event_id FROM v_events WHERE path = '/cut'", lambda rows: len(rows) == 1)
    with open_client(shop.instance.config, shop.instance.keyring, "writer") as client:
        rows = client.query_rows(STORED, {"site": "plain", "path": "/cut"})
    assert rows == [{"network": "198.51.100.0/24", "country": "PT"}]
    written = [path for path in (shop.instance.data / "spool").rglob("*") if path.is_file()]
    assert not [path.name for path in written if ADDRESS.encode() in path.read_bytes()]
    assert ADDRESS not in shop.instance.log
