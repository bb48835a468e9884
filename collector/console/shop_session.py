"""What the demo shop remembers of one browser: the basket, who signed in, the last order, and what to say next.

It stands in a cookie of the shop's own, signed and HttpOnly, and is strictly necessary: the first page sets none, it
comes with the first thing put into the basket or the first sign-in. It has nothing to do with the tag. Format: JSON
of ShopSession, signed by itsdangerous under a salt of its own with the instance's cookie keys. A cookie that does not
verify, is older than a week or has another shape is an empty session.
"""

from __future__ import annotations

import hashlib

import msgspec
from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from collector.console.catalogue import CUSTOMERS, PRODUCTS
from collector.keyring import Keyring

COOKIE_NAME = "demo_shop"
COOKIE_PATH = "/demo"
MAX_AGE_S = 7 * 24 * 3600
MAX_QUANTITY = 9
MAX_COOKIE_CHARS = 2048


class Order(msgspec.Struct):
    """An order that nobody will ever pack."""

    number: str
    lines: dict[str, int]  # quantity by product number
    value_cents: int


class ShopSession(msgspec.Struct):
    """The state of one browser in the shop."""

    basket: dict[str, int] = msgspec.field(default_factory=dict)  # quantity by product number
    customer_id: str = ""
    identified_s: int = 0  # since when pages tell the tag who is signed in; seconds since 1970
    identified_pages: int = 0  # how many did since then
    order: Order | None = None
    notice: str = ""  # what the next page says once: added, newsletter, ordered, signed-in, signed-out
    subject: str = ""  # what the notice is about, such as a product number

    @property
    def count(self) -> int:
        """How many things are in the basket."""
        return sum(self.basket.values())

    def add(self, sku: str) -> None:
        """Put one more of a product into the basket, up to nine."""
        self.basket[sku] = min(self.basket.get(sku, 0) + 1, MAX_QUANTITY)

    def take_notice(self) -> tuple[str, str]:
        """Return notice and subject, and forget them."""
        taken = self.notice, self.subject
        self.notice = self.subject = ""
        return taken


class ShopSessions:
    """Reads and writes the session cookie."""

    def __init__(self, keyring: Keyring) -> None:
        # Newest first in the keyring, newest last for itsdangerous.
        self._serializer = URLSafeTimedSerializer(
            [key.secret for key in reversed(keyring.cookie_keys)],
            salt="tagstitch.demo.shop",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def read(self, request: Request) -> ShopSession:
        """Return the browser's session, or an empty one."""
        value = request.cookies.get(COOKIE_NAME, "")
        if not value or len(value) > MAX_COOKIE_CHARS:
            return ShopSession()
        try:
            session = msgspec.convert(self._serializer.loads(value, max_age=MAX_AGE_S), ShopSession)
        except (BadData, msgspec.ValidationError):
            return ShopSession()
        return _drop_unknown(session)

    def write(self, request: Request, response: Response, session: ShopSession) -> None:
        """Set the cookie. Never call it for a browser that has done nothing yet."""
        response.set_cookie(
            COOKIE_NAME,
            str(self._serializer.dumps(msgspec.to_builtins(session))),
            path=COOKIE_PATH,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )


def _drop_unknown(session: ShopSession) -> ShopSession:
    """A cookie may be older than the catalogue."""
    known = {product.sku for product in PRODUCTS}
    session.basket = {sku: quantity for sku, quantity in session.basket.items() if sku in known and quantity > 0}
    if session.customer_id not in {customer.customer_id for customer in CUSTOMERS}:
        session.customer_id = ""
    if session.order is not None and not set(session.order.lines) <= known:
        session.order = None
    return session
