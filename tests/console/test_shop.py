"""The demo shop over HTTP: what its pages carry, what it remembers, what it refuses."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from httpx import Response
from starlette.applications import Starlette

from collector.config import Config
from collector.console.catalogue import CATEGORIES, CUSTOMERS, DEMO_PASSWORD, PRODUCTS
from collector.console.demo import demo_routes
from collector.console.demo_page import IDENTIFY_AGAIN_S, IDENTIFY_PAGES
from collector.console.page import STATIC_FOLDER, find_static
from collector.keyring import Keyring, make_keyring
from collector.links.token import LinkToken, read_link
from collector.reasons import Reason
from collector.signing import check_identify
from collector.sites.book import Site
from tests.console.asgi_client import AsgiClient

BASE = "http://localhost:8000"
NOW_S = 1_795_000_000
SITE = Site(site_id="demo", identify_versions=(1,))
PAGES = (
    "/demo",
    *(f"/demo/shelf/{category.slug}" for category in CATEGORIES),
    *(f"/demo/product/{product.slug}" for product in PRODUCTS),
    "/demo/search?q=lamp",
    "/demo/basket",
    "/demo/sign-in",
    "/demo/newsletter",
    "/demo/mail",
    "/demo/mail?to=4712",
    "/demo/product/nothing",
)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = float(NOW_S)

    def __call__(self) -> float:
        return self.now_s


class Visitor:
    """A browser in the shop: keeps cookies, sends forms from the shop's own origin."""

    def __init__(self, config: Config | None = None, client: tuple[str, int] = ("127.0.0.1", 50000)) -> None:
        self.keyring: Keyring = make_keyring()
        self.clock = Clock()
        app = Starlette(routes=demo_routes(config or Config(demo=True), self.keyring, self.clock))
        self.http = AsgiClient(app, base_url=BASE, client=client, follow_redirects=True)

    def get(self, path: str) -> Response:
        return self.http.get(path)

    def send(self, path: str, origin: str = BASE, **fields: str) -> Response:
        return self.http.post(path, data=fields, headers={"Origin": origin})

    def sign_in(self, customer: str = "4711") -> Response:
        return self.send("/demo/sign-in", customer=customer, password=DEMO_PASSWORD)


def read_commands(answer: Response) -> list[list[object]]:
    """The calls of `tagstitch` that the page makes, as lists of their arguments."""
    nonce = re.search(r"'nonce-([^']+)'", answer.headers["content-security-policy"])
    assert nonce
    script = re.search(rf'<script nonce="{re.escape(nonce[1])}">\n(.*?)</script>', answer.text, re.DOTALL)
    lines = re.findall(r"^\s*tagstitch\((.*)\);$", script[1], re.MULTILINE) if script else []
    return [json.loads(f"[{line}]") for line in lines]


def find_commands(answer: Response, name: str) -> list[list[object]]:
    """The calls of one command."""
    return [command for command in read_commands(answer) if command[0] == name]


@pytest.mark.parametrize("path", PAGES)
def test_the_first_page_sets_no_cookie_and_has_a_strict_policy(path: str) -> None:
    """Whatever page is opened first: nothing is stored, scripts run by nonce only, nothing inline, nobody frames it."""
    answer = Visitor().get(path)
    assert "set-cookie" not in answer.headers
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"]
    assert not re.search(r"<[^>]+\son[a-z]+=", answer.text), "no inline event handlers"
    assert not re.search(r"<[^>]+\sstyle=", answer.text), "no inline styles"
    assert "<style" not in answer.text
    assert not re.search(r"""(?:src|href|action)=["']?(?:https?:)?//(?!localhost:8000)""", answer.text)
    nonce = re.search(r"'nonce-([^']+)'", policy)
    assert nonce
    for tag in re.findall(r"<script[^>]*>", answer.text):
        assert f'nonce="{nonce[1]}"' in tag


def test_each_answer_has_a_nonce_of_its_own() -> None:
    """A nonce is never used twice."""
    visitor = Visitor()
    policies = {visitor.get("/demo").headers["content-security-policy"] for _ in range(5)}
    assert len(policies) == 5


def test_every_link_of_the_shop_leads_somewhere() -> None:
    """Following all links and static files from the front page finds no dead end."""
    visitor = Visitor()
    seen: set[str] = set()
    waiting = ["/demo"]
    while waiting:
        path = waiting.pop()
        if path in seen or path.startswith("/demo/live"):
            continue
        seen.add(path)
        answer = visitor.get(path)
        assert answer.status_code == 200, path
        if "html" in answer.headers["content-type"]:
            found = re.findall(r'(?:href|src)="(/demo[^"#]*)', answer.text)
            waiting += [html.unescape(one) for one in found]
    assert len(seen) > len(PRODUCTS) + len(CATEGORIES)


def test_the_page_carries_the_real_snippet() -> None:
    """The tag of the site `demo` is on every page of the shop, under the configured path, and not in the inbox."""
    visitor = Visitor(Config(demo=True, tag_path="/assets/s.js"))
    assert 'src="/assets/s.js"' in visitor.get("/demo").text
    assert 'data-site="demo"' in visitor.get("/demo/basket").text
    assert "data-site" not in visitor.get("/demo/mail").text


def test_without_an_answer_the_page_says_nothing_about_consent() -> None:
    """Until somebody chose, there is no consent command and the banner is asked for."""
    answer = Visitor().get("/demo")
    assert find_commands(answer, "consent") == []
    assert 'data-consent="open"' in answer.text


def test_consent_all_in_the_address_is_kept() -> None:
    """`?consent=all` grants on this page and on those that follow."""
    visitor = Visitor()
    purposes = ("analytics", "identity", "fingerprint", "personalisation", "marketing")
    granted = ["consent", dict.fromkeys(purposes, True)]
    assert find_commands(visitor.get("/demo?consent=all"), "consent") == [granted]
    answer = visitor.get("/demo/product/tide-vase")
    assert find_commands(answer, "consent") == [granted]
    assert 'data-consent="asked"' in answer.text


@pytest.mark.parametrize(
    ("letters", "granted"),
    [
        ("-", set()),
        ("a", {"analytics"}),
        ("ai", {"analytics", "identity"}),
        ("aifpm", {"analytics", "identity", "fingerprint", "personalisation", "marketing"}),
        ("<x>", None),
    ],
)
def test_the_answer_given_earlier_is_told_to_the_tag(letters: str, granted: set[str] | None) -> None:
    """The shop's own cookie is what the page tells the tag; one that makes no sense is no answer."""
    visitor = Visitor()
    visitor.http.cookies.set("demo_consent", letters)
    commands = find_commands(visitor.get("/demo"), "consent")
    if granted is None:
        assert commands == []
        return
    [[_, said]] = commands
    assert isinstance(said, dict)
    assert len(said) == 5, "every purpose is named, so that none is left as it was"
    assert {name for name, value in said.items() if value} == granted


def test_the_pages_track_with_the_usual_names() -> None:
    """Product, search, checkout and order pages carry their event with number, price, currency and value."""
    visitor = Visitor()
    [[_, name, item]] = find_commands(visitor.get("/demo/product/tide-vase"), "track")
    assert name == "view_item"
    assert isinstance(item, dict)
    assert {key: item[key] for key in ("sku", "price", "currency", "value")} == {
        "sku": "CER-01",
        "price": 64.0,
        "currency": "EUR",
        "value": 64.0,
    }
    assert find_commands(visitor.get("/demo/search?q=teapot"), "track") == [
        ["track", "search", {"term": "teapot", "results": 1}]
    ]
    visitor.send("/demo/basket/add", sku="CER-01")
    visitor.send("/demo/basket/add", sku="BRW-03")
    [[_, name, props]] = find_commands(visitor.get("/demo/checkout"), "track")
    assert (name, props) == ("begin_checkout", {"value": 122.0, "currency": "EUR", "items": 2})
    ordered = visitor.send("/demo/order")
    [[_, name, props]] = find_commands(ordered, "track")
    assert name == "purchase"
    assert isinstance(props, dict)
    assert (props["value"], props["currency"], props["sku"]) == (122.0, "EUR", "CER-01,BRW-03")


def test_an_order_is_told_once() -> None:
    """Looking at the confirmation again tells no second purchase, and the first answer is in no cache."""
    visitor = Visitor()
    visitor.send("/demo/basket/add", sku="LMP-01")
    first = visitor.send("/demo/order")
    assert first.headers["cache-control"] == "no-store"
    again = visitor.get("/demo/order")
    assert "Thank you" in again.text
    assert find_commands(again, "track") == []
    assert visitor.send("/demo/order").url.path == "/demo/basket", "the basket is empty now"


def test_forms_say_what_they_do_as_they_are_sent() -> None:
    """The basket's and the newsletter's forms carry event and properties for shop.js."""
    visitor = Visitor()
    page = visitor.get("/demo/product/dusk-lamp").text
    found = re.search(r"""action="/demo/basket/add" data-track="add_to_cart" data-props='([^']*)'""", page)
    assert found
    assert json.loads(found[1])["sku"] == "LMP-01"
    assert 'data-track="sign_up_newsletter"' in page
    assert "You are on the list" in visitor.send("/demo/newsletter", email="ada@example.com").text
    assert "You are on the list" not in visitor.get("/demo/newsletter").text
    assert "You are on the list" not in Visitor().send("/demo/newsletter", email="nobody").text


def test_the_basket_keeps_and_loses_things() -> None:
    """What is put in stays for the next page, up to nine of each, and can be taken out."""
    visitor = Visitor()
    answer = visitor.send("/demo/basket/add", sku="CER-02")
    assert "Dune bowl is in your basket." in answer.text
    assert find_commands(answer, "track") == [], "coming back from the basket is no second look at the product"
    for _ in range(12):
        visitor.send("/demo/basket/add", sku="CER-02")
    assert "9 × € 38.00" in visitor.get("/demo/basket").text
    assert "€ 342.00" in visitor.get("/demo/basket").text
    assert "Nothing in here yet" in visitor.send("/demo/basket/remove", sku="CER-02").text
    assert visitor.send("/demo/basket/add", sku="NO-99").status_code == 404


def test_the_session_cookie_is_hidden_from_scripts_and_signed() -> None:
    """HttpOnly, SameSite=Lax, below /demo; a changed one is an empty basket, one of another instance too."""
    visitor = Visitor()
    visitor.http.follow_redirects = False
    cookie = visitor.send("/demo/basket/add", sku="CER-02").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/demo" in cookie
    value = cookie.partition("=")[2].partition(";")[0]
    assert "Dune bowl" in visitor.get("/demo/basket").text
    for other, wrong in ((Visitor(), value), (visitor, value[:-6] + "AAAAAA"), (visitor, "x" * 5000)):
        other.http.cookies.clear()
        other.http.cookies.set("demo_shop", wrong, path="/demo")
        assert "Nothing in here yet" in other.get("/demo/basket").text


def test_a_form_of_another_site_changes_nothing() -> None:
    """A POST from another origin, from an opaque one or from nowhere is refused; so is a cross-site fetch."""
    visitor = Visitor()
    for origin in ("https://evil.example", "null", "http://localhost:8000.evil.example", "http://localhost:9"):
        assert visitor.send("/demo/basket/add", origin=origin, sku="CER-02").status_code == 403
    assert visitor.http.post("/demo/basket/add", data={"sku": "CER-02"}).status_code == 403
    for site in ("cross-site", "same-site", "none"):
        headers = {"Origin": BASE, "Sec-Fetch-Site": site}
        assert visitor.http.post("/demo/sign-out", headers=headers).status_code == 403
    assert "set-cookie" not in visitor.get("/demo/basket").headers
    assert "Nothing in here yet" in visitor.get("/demo/basket").text


def test_a_sign_in_makes_the_pages_vouch_for_the_customer() -> None:
    """After the sign-in the page carries an identify whose signature the collector accepts, for an hour."""
    visitor = Visitor()
    visitor.get("/demo?consent=all")
    answer = visitor.sign_in("4712")
    assert answer.url.path == "/demo/account"
    assert "Hello, Ben" in answer.text
    [[_, value, options]] = find_commands(answer, "identify")
    assert value == "4712"
    assert isinstance(options, dict)
    check = (visitor.keyring, SITE, "customer", "4712", options["signature"])
    assert check_identify(*check, NOW_S) is None
    assert check_identify(*check, NOW_S + 3599) is None
    assert check_identify(*check, NOW_S + 2 * 3600) == Reason.EXPIRED
    other = (visitor.keyring, SITE, "customer", "4711", options["signature"])
    assert check_identify(*other, NOW_S) == Reason.SIGNATURE


def test_who_is_signed_in_is_said_sparingly() -> None:
    """A few pages say it after the sign-in and again after half an hour, not every page."""
    visitor = Visitor()
    visitor.get("/demo?consent=all")
    said = [visitor.sign_in(), *(visitor.get("/demo") for _ in range(4))]
    assert [len(find_commands(answer, "identify")) for answer in said] == [1] * IDENTIFY_PAGES + [0] * (
        5 - IDENTIFY_PAGES
    )
    visitor.clock.now_s += IDENTIFY_AGAIN_S
    assert len(find_commands(visitor.get("/demo"), "identify")) == 1


def test_without_consent_every_page_offers_the_identify() -> None:
    """The tag drops it without consent; so it is offered until it can be taken."""
    visitor = Visitor()
    visitor.sign_in()
    for _ in range(4):
        assert len(find_commands(visitor.get("/demo"), "identify")) == 1


def test_a_sign_out_resets_the_tag_once() -> None:
    """The page after the sign-out calls reset and no identify, the one after it neither; the basket is gone."""
    visitor = Visitor()
    visitor.sign_in()
    visitor.send("/demo/basket/add", sku="CER-02")
    answer = visitor.send("/demo/sign-out")
    assert find_commands(answer, "reset") == [["reset"]]
    assert find_commands(answer, "identify") == []
    assert find_commands(visitor.get("/demo"), "reset") == []
    assert "Nothing in here yet" in visitor.get("/demo/basket").text
    assert visitor.get("/demo/account").url.path == "/demo/sign-in"


@pytest.mark.parametrize(("customer", "password"), [("4711", "wrong"), ("9999", DEMO_PASSWORD), ("", "")])
def test_a_wrong_sign_in_signs_nobody_in(customer: str, password: str) -> None:
    """A wrong password or a customer who does not exist gets the form again, with 403."""
    visitor = Visitor()
    answer = visitor.send("/demo/sign-in", customer=customer, password=password)
    assert answer.status_code == 403
    assert 'role="alert"' in answer.text
    assert visitor.get("/demo/account").url.path == "/demo/sign-in"


def test_the_mail_links_are_minted_for_their_reader() -> None:
    """The link of each inbox leads to a product, carries campaign parameters and a token for that customer."""
    visitor = Visitor()
    for customer in CUSTOMERS:
        answer = visitor.get(f"/demo/mail?to={customer.customer_id}")
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        found = re.search(r'id="tagged-link"[^>]* href="([^"]+)"', answer.text)
        assert found
        link = urlsplit(html.unescape(found[1]))
        query = parse_qs(link.query)
        assert (link.netloc, link.path) == ("localhost:8000", "/demo/product/dusk-lamp")
        assert query["utm_medium"] == ["email"]
        token = read_link(visitor.keyring, query["lt"][0], NOW_S)
        assert isinstance(token, LinkToken)
        assert (token.identifier_kind, token.reference) == ("customer", customer.customer_id)
        assert [token.campaign] == query["utm_campaign"]
        assert customer.mail not in found[1]
    assert visitor.get("/demo/mail?to=nobody").status_code == 404


@pytest.mark.parametrize(
    "evil", ['<img src=x onerror="alert(1)">', "</script><script>alert(1)</script>", "'\"><svg onload=alert(1)>"]
)
def test_what_people_type_is_only_text(evil: str) -> None:
    """Markup in a search comes back as text in title, heading, field and event."""
    answer = Visitor().http.get("/demo/search", params={"q": evil})
    assert evil not in answer.text
    assert "<img" not in answer.text
    assert "<svg onload" not in answer.text
    assert answer.text.count("<script") == answer.text.count("</script>") == 4
    [[_, _, props]] = find_commands(answer, "track")
    assert props == {"term": evil[:80].strip(), "results": 0}


def test_from_another_machine_the_shop_asks_for_the_key() -> None:
    """The shop and its inbox answer elsewhere only with the operator key."""
    visitor = Visitor(client=("203.0.113.9", 50000))
    assert visitor.get("/demo").status_code == 403
    assert visitor.get("/demo/mail").status_code == 403
    assert visitor.send("/demo/basket/add", sku="CER-02").status_code == 403
    assert visitor.get(f"/demo?key={visitor.keyring.operator_key}").status_code == 200
    assert visitor.get("/demo/mail").status_code == 200


def test_a_static_file_is_kept_for_a_year_by_its_digest() -> None:
    """With the digest of its content the answer is immutable; without or with an old one it is asked for again."""
    visitor = Visitor()
    for name in sorted(path.name for path in STATIC_FOLDER.iterdir()):
        answer = visitor.get(find_static(name))
        assert answer.content == (STATIC_FOLDER / name).read_bytes()
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert visitor.get(f"/demo/static/{name}").headers["cache-control"] == "no-cache"
        assert visitor.get(f"/demo/static/{name}?v=000000000000").headers["cache-control"] == "no-cache"
    for path in ("nothing.css", "../page.py", "%2e%2e/page.py", ""):
        assert visitor.get(f"/demo/static/{path}").status_code in {404, 405}


def test_a_slash_at_the_end_leads_to_the_shop() -> None:
    """`/demo/` keeps its query on the way to `/demo`."""
    visitor = Visitor()
    answer = visitor.get("/demo/?consent=all")
    assert str(answer.url) == f"{BASE}/demo?consent=all"
