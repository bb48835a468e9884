"""The demo shop at /demo: a small site that carries the real tag through the real snippet.

It is a site like any other: it knows the collector by its snippet, the commands of `tagstitch(…)`, the secret that
signs an identify and the minting of tagged links, and by nothing else. What it must remember itself it keeps in two
cookies of its own: the basket (`shop_session`), and the answer to its banner, written by shop.js after the choice.
The first page sets neither.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from collector.config import Config
from collector.console import catalogue
from collector.console.catalogue import CURRENCY, describe_item
from collector.console.demo_identity import mint_mail_link
from collector.console.demo_page import ShopPages
from collector.console.page import is_own_form, make_nonce, static_mount
from collector.console.shop_session import Order, ShopSession, ShopSessions
from collector.endpoints.guard import OperatorGuard
from collector.keyring import Keyring

MAIL_PRODUCT = "dusk-lamp"
MAIL_CAMPAIGN = "autumn-letter"


def demo_routes(config: Config, keyring: Keyring, clock: Callable[[], float] = time.time) -> list[BaseRoute]:
    """Return the routes of the shop and of the static files of all console pages.

    `clock`: seconds since 1970; signatures and links expire by it. From another machine the shop asks for the
    operator key.
    """
    shop = Shop(config, keyring, clock)
    guard = OperatorGuard(keyring)

    def get(path: str, endpoint: Any) -> Route:
        return Route(path, guard.protect(endpoint), methods=["GET"])

    def post(path: str, endpoint: Any) -> Route:
        return Route(path, guard.protect(shop.own_forms_only(endpoint)), methods=["POST"])

    return [
        static_mount(),
        get("/demo", shop.home),
        Route("/demo/", _drop_slash, methods=["GET"]),
        get("/demo/shelf/{slug}", shop.shelf),
        get("/demo/product/{slug}", shop.product),
        get("/demo/search", shop.search),
        get("/demo/basket", shop.basket),
        post("/demo/basket/add", shop.add),
        post("/demo/basket/remove", shop.remove),
        get("/demo/checkout", shop.checkout),
        post("/demo/order", shop.place_order),
        get("/demo/order", shop.order),
        get("/demo/newsletter", shop.newsletter),
        post("/demo/newsletter", shop.join_newsletter),
        get("/demo/sign-in", shop.sign_in),
        post("/demo/sign-in", shop.check_sign_in),
        post("/demo/sign-out", shop.sign_out),
        get("/demo/account", shop.account),
        get("/demo/mail", shop.mail),
    ]


async def _drop_slash(request: Request) -> Response:
    query = request.url.query
    return RedirectResponse(f"/demo?{query}" if query else "/demo", status_code=308)


class Shop:
    """The endpoints of the shop. Stateless: everything about a browser stands in its cookies."""

    def __init__(self, config: Config, keyring: Keyring, clock: Callable[[], float]) -> None:
        self._config = config
        self._keyring = keyring
        self._clock = clock
        self._sessions = ShopSessions(keyring)
        self._pages = ShopPages(config, keyring, self._sessions, clock)

    # --- shelves and products ---

    async def home(self, request: Request) -> Response:
        """The front page."""
        return self._pages.answer(
            request, "shop_home.html", "Lamps, pots and slow mornings", products=catalogue.PRODUCTS
        )

    async def shelf(self, request: Request) -> Response:
        """All products of one category."""
        category = catalogue.find_category(request.path_params["slug"])
        if category is None:
            return self._not_found(request)
        products = [product for product in catalogue.PRODUCTS if product.category == category.slug]
        return self._pages.answer(
            request,
            "shop_shelf.html",
            category.name,
            [("track", "view_item_list", {"list": category.slug, "items": len(products)})],
            shelf=category.slug,
            heading=category.name,
            line=category.line,
            products=products,
        )

    async def product(self, request: Request) -> Response:
        """One product."""
        product = catalogue.find_product(request.path_params["slug"])
        if product is None:
            return self._not_found(request)
        others = [p for p in catalogue.PRODUCTS if p.category == product.category and p is not product]
        return self._pages.answer(
            request,
            "shop_product.html",
            product.name,
            [("track", "view_item", describe_item(product))],
            shelf=product.category,
            category=catalogue.find_category(product.category),
            product=product,
            item=describe_item(product),
            others=others,
        )

    async def search(self, request: Request) -> Response:
        """Products by words."""
        words = request.query_params.get("q", "")[:80].strip()
        products = catalogue.search_products(words)
        found = f"{len(products)} {'thing' if len(products) == 1 else 'things'} found"
        return self._pages.answer(
            request,
            "shop_shelf.html",
            f"Search: {words}" if words else "Search",
            [("track", "search", {"term": words, "results": len(products)})] if words else [],
            search=words,
            heading=f"“{words}”" if words else "Search",
            line=found if words else "What are you looking for?",
            products=products,
        )

    # --- basket and order ---

    async def basket(self, request: Request) -> Response:
        """What is in the basket."""
        items, value_cents = _list_items(self._sessions.read(request).basket)
        return self._pages.answer(request, "shop_basket.html", "Basket", items=items, value_cents=value_cents)

    async def add(self, request: Request) -> Response:
        """Put one product into the basket, and show it again."""
        product = catalogue.find_sku(await _read_field(request, "sku"))
        if product is None:
            return self._not_found(request)
        session = self._sessions.read(request)
        session.add(product.sku)
        session.notice, session.subject = "added", product.sku
        return self._go(request, f"/demo/product/{product.slug}", session)

    async def remove(self, request: Request) -> Response:
        """Take a product out of the basket."""
        session = self._sessions.read(request)
        product = catalogue.find_sku(await _read_field(request, "sku"))
        if product is not None and session.basket.pop(product.sku, 0):
            session.notice, session.subject = "removed", product.sku
        return self._go(request, "/demo/basket", session)

    async def checkout(self, request: Request) -> Response:
        """Look at everything once more."""
        session = self._sessions.read(request)
        if not session.basket:
            return RedirectResponse("/demo/basket", status_code=303)
        items, value_cents = _list_items(session.basket)
        props = {"value": value_cents / 100, "currency": CURRENCY, "items": session.count}
        return self._pages.answer(
            request,
            "shop_checkout.html",
            "Checkout",
            [("track", "begin_checkout", props)],
            items=items,
            value_cents=value_cents,
        )

    async def place_order(self, request: Request) -> Response:
        """Turn the basket into an order."""
        session = self._sessions.read(request)
        if not session.basket:
            return RedirectResponse("/demo/basket", status_code=303)
        _, value_cents = _list_items(session.basket)
        session.order = Order(f"HV-{secrets.token_hex(3).upper()}", session.basket, value_cents)
        session.basket = {}
        session.notice = "ordered"
        return self._go(request, "/demo/order", session)

    async def order(self, request: Request) -> Response:
        """The confirmation of the last order."""
        order = self._sessions.read(request).order
        if order is None:
            return RedirectResponse("/demo/basket", status_code=303)
        items, _ = _list_items(order.lines)
        return self._pages.answer(request, "shop_order.html", "Thank you", order=order, items=items)

    # --- newsletter ---

    async def newsletter(self, request: Request) -> Response:
        """The page after the sign-up."""
        joined = self._sessions.read(request).notice == "newsletter"
        return self._pages.answer(
            request,
            "shop_newsletter.html",
            "Newsletter",
            heading="Welcome to the letter" if joined else "One letter a month",
            line="The first one is already in your pretend inbox." if joined else "Sign up at the foot of this page.",
        )

    async def join_newsletter(self, request: Request) -> Response:
        """Take an address for the newsletter, and forget it: there is no newsletter."""
        mail = await _read_field(request, "email")
        session = self._sessions.read(request)
        if "@" in mail[1:-1] and len(mail) <= 120:
            session.notice = "newsletter"
        return self._go(request, "/demo/newsletter", session)

    # --- sign-in ---

    async def sign_in(self, request: Request) -> Response:
        """Choose a customer."""
        return self._sign_in_page(request)

    async def check_sign_in(self, request: Request) -> Response:
        """Sign a customer in; the pages from now on carry a signed identify."""
        customer = catalogue.find_customer(await _read_field(request, "customer"))
        password = await _read_field(request, "password")
        if customer is None or not secrets.compare_digest(password.encode(), catalogue.DEMO_PASSWORD.encode()):
            return self._sign_in_page(request, "That is not the password. It is on this page.", status=403)
        session = self._sessions.read(request)
        session.customer_id = customer.customer_id
        session.identified_s = 0
        session.notice = "signed-in"
        return self._go(request, "/demo/account", session)

    async def sign_out(self, request: Request) -> Response:
        """Sign out; the next page, which still is the last one of this customer, resets the tag."""
        session = ShopSession(notice="signed-out")
        return self._go(request, "/demo", session)

    async def account(self, request: Request) -> Response:
        """The page of a signed-in customer."""
        session = self._sessions.read(request)
        if not session.customer_id:
            return RedirectResponse("/demo/sign-in", status_code=303)
        return self._pages.answer(request, "shop_account.html", "Your account", order=session.order)

    # --- mail ---

    async def mail(self, request: Request) -> Response:
        """A pretend inbox with one mail, whose link is tagged for its reader."""
        reader = catalogue.find_customer(request.query_params.get("to", "4711"))
        product = catalogue.find_product(MAIL_PRODUCT)
        if reader is None or product is None:
            return self._not_found(request)
        origin = str(request.base_url).rstrip("/")
        link = mint_mail_link(
            self._config, self._keyring, f"{origin}/demo/product/{product.slug}", reader, MAIL_CAMPAIGN, self._clock()
        )
        nonce = make_nonce()
        context = {
            "customers": catalogue.CUSTOMERS,
            "reader": reader,
            "product": product,
            "campaign": MAIL_CAMPAIGN,
            "link": link,
        }
        # The token stands in this page: it is nobody's referrer and in no cache.
        return self._pages.pages.render(
            "mail.html", context, nonce=nonce, referrer_policy="no-referrer", cache_control="no-store"
        )

    # --- what all of them share ---

    def own_forms_only(self, endpoint: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """Wrap an endpoint that changes something: a form on another site cannot reach it."""

        async def checked(request: Request) -> Response:
            if not is_own_form(request):
                return PlainTextResponse("This form was not sent from the shop itself.\n", status_code=403)
            response: Response = await endpoint(request)
            return response

        return checked

    def _sign_in_page(self, request: Request, error: str = "", status: int = 200) -> Response:
        return self._pages.answer(request, "shop_sign_in.html", "Sign in", status=status, error=error)

    def _not_found(self, request: Request) -> Response:
        return self._pages.answer(
            request,
            "shop_shelf.html",
            "Not here",
            status=404,
            heading="That is not on our shelves",
            line="It may have been, once.",
            products=[],
        )

    def _go(self, request: Request, path: str, session: ShopSession) -> Response:
        response = RedirectResponse(path, status_code=303)
        self._sessions.write(request, response, session)
        return response


def _list_items(lines: dict[str, int]) -> tuple[list[dict[str, Any]], int]:
    """Return products with quantities, and what they cost together in cents."""
    items = []
    value_cents = 0
    for sku, quantity in lines.items():
        product = catalogue.find_sku(sku)
        if product is not None:
            items.append({"product": product, "quantity": quantity, "event": describe_item(product, quantity)})
            value_cents += product.price_cents * quantity
    return items, value_cents


async def _read_field(request: Request, name: str) -> str:
    form = await request.form(max_files=0, max_fields=20, max_part_size=4096)
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""
