"""What the demo shop sells, and to whom: Hollin & Vale, a shop that does not exist.

Everything here is made up and fixed, so that a test or a reader can name a product or a customer. Money is in
whole cents, EUR.
"""

from __future__ import annotations

from dataclasses import dataclass

CURRENCY = "EUR"
SITE_ID = "demo"
DEMO_PASSWORD = "demo"  # noqa: S105 - shown on the sign-in page
"""One password for all demo customers. There is nothing behind it but a name."""


@dataclass(frozen=True)
class Category:
    """A shelf of the shop."""

    slug: str
    name: str
    line: str


@dataclass(frozen=True)
class Product:
    """One thing for sale. `art`: the name of its drawing in templates/art.html; `tone`: its colours in shop.css."""

    slug: str
    sku: str
    name: str
    category: str
    price_cents: int
    line: str
    story: str
    facts: tuple[str, ...]
    art: str
    tone: str

    @property
    def price(self) -> float:
        """The price in EUR, as events carry it."""
        return self.price_cents / 100


@dataclass(frozen=True)
class DemoCustomer:
    """Somebody who has an account at the demo shop."""

    customer_id: str
    name: str
    mail: str
    about: str

    @property
    def initials(self) -> str:
        """First letters of the names."""
        return "".join(part[0] for part in self.name.split())

    @property
    def first_name(self) -> str:
        """What a mail calls her."""
        return self.name.split()[0]


CATEGORIES = (
    Category("lamps", "Lamps", "Light for the end of the day"),
    Category("pots", "Pots & bowls", "Thrown, glazed and slightly uneven"),
    Category("brewing", "Tea & coffee", "Five minutes that are yours"),
)

PRODUCTS = (
    Product(
        "dusk-lamp",
        "LMP-01",
        "Dusk table lamp",
        "lamps",
        12900,
        "A shade of pressed paper over an ash foot",
        "Dusk was drawn for the hour when the big light is too much. The shade is pressed from cotton paper, "
        "the foot is turned from one piece of ash, and the dimmer remembers where you left it.",
        ("Ash, cotton paper", "38 cm high", "Dims to candle level"),
        "dusk",
        "amber",
    ),
    Product(
        "arc-lamp",
        "LMP-02",
        "Arc reading lamp",
        "lamps",
        18900,
        "Reaches over the armchair, not into your eyes",
        "A single bent steel tube with a counterweight you can move by hand. It stands behind the chair and "
        "brings the light to the page.",
        ("Powder-coated steel", "164 cm high", "Shade turns by 340°"),
        "arc",
        "pine",
    ),
    Product(
        "paper-moon",
        "LMP-03",
        "Paper moon pendant",
        "lamps",
        9600,
        "A full moon, every night",
        "Forty bamboo ribs and a skin of mulberry paper. It folds flat for the post and opens in a minute.",
        ("Mulberry paper, bamboo", "52 cm across", "Cord 2.5 m"),
        "moon",
        "slate",
    ),
    Product(
        "tide-vase",
        "CER-01",
        "Tide vase",
        "pots",
        6400,
        "Two glazes that meet like water and sand",
        "Each vase is dipped twice, and the line between the glazes falls where it wants to. Tall enough for "
        "branches, narrow enough for three tulips.",
        ("Stoneware", "27 cm high", "Watertight, of course"),
        "vase",
        "sea",
    ),
    Product(
        "dune-bowl",
        "CER-02",
        "Dune bowl",
        "pots",
        3800,
        "For soup, for keys, for lemons",
        "Wide, low and heavy. The outside is left raw, so that it feels like the beach it is named after.",
        ("Stoneware, raw outside", "24 cm across", "Dishwasher proof"),
        "bowl",
        "clay",
    ),
    Product(
        "quiet-cups",
        "CER-03",
        "Two quiet cups",
        "pots",
        4200,
        "A pair without handles",
        "They keep the tea warm and let your hands notice. Sold in pairs, because one of them will be borrowed.",
        ("Porcelain", "180 ml each", "Set of two"),
        "cups",
        "plum",
    ),
    Product(
        "heron-kettle",
        "BRW-01",
        "Heron kettle",
        "brewing",
        11800,
        "A long neck and a slow, steady pour",
        "The spout is narrow on purpose: water comes out at the pace of your hand. A thermometer sits in the lid.",
        ("Brushed steel, beech", "0.9 l", "Gas, electric, induction"),
        "kettle",
        "pine",
    ),
    Product(
        "slow-pour",
        "BRW-02",
        "Slow pour set",
        "brewing",
        7400,
        "Glass, a cone and nothing to plug in",
        "A carafe and a cone of heat-proof glass with a leather collar. Makes three cups, or one long morning.",
        ("Borosilicate glass, leather", "0.6 l", "Takes size 4 filters"),
        "pour",
        "amber",
    ),
    Product(
        "button-teapot",
        "BRW-03",
        "Button teapot",
        "brewing",
        5800,
        "Round, small and hard to knock over",
        "A pot for two with a lid that stays on when you pour. The strainer is part of the pot, so it cannot get lost.",
        ("Stoneware", "0.7 l", "Built-in strainer"),
        "teapot",
        "clay",
    ),
)

CUSTOMERS = (
    DemoCustomer("4711", "Ada Kowalski", "ada@example.com", "Lamps, mostly"),
    DemoCustomer("4712", "Ben Okafor", "ben@example.com", "Buys presents in December"),
    DemoCustomer("4713", "Chiara Lindt", "chiara@example.com", "Third teapot"),
    DemoCustomer("4714", "Dev Anand", "dev@example.com", "New since Monday"),
)


def find_product(slug: str) -> Product | None:
    """Return the product of this slug."""
    return next((product for product in PRODUCTS if product.slug == slug), None)


def find_sku(sku: str) -> Product | None:
    """Return the product of this number."""
    return next((product for product in PRODUCTS if product.sku == sku), None)


def find_category(slug: str) -> Category | None:
    """Return the category of this slug."""
    return next((category for category in CATEGORIES if category.slug == slug), None)


def find_customer(customer_id: str) -> DemoCustomer | None:
    """Return the demo customer of this number."""
    return next((customer for customer in CUSTOMERS if customer.customer_id == customer_id), None)


def search_products(words: str) -> list[Product]:
    """Return the products in whose name, line or category every word of the search stands."""
    wanted = words.casefold().split()
    found = []
    for product in PRODUCTS:
        category = find_category(product.category)
        text = f"{product.name} {product.line} {category.name if category else ''}".casefold()
        if wanted and all(word in text for word in wanted):
            found.append(product)
    return found


def format_price(cents: int) -> str:
    """Write an amount the way the shop shows it."""
    return f"€ {cents // 100:,}.{cents % 100:02d}"


def describe_item(product: Product, quantity: int = 1) -> dict[str, object]:
    """Return the properties that an event about this product carries."""
    return {
        "sku": product.sku,
        "name": product.name,
        "category": product.category,
        "price": product.price,
        "currency": CURRENCY,
        "quantity": quantity,
        "value": product.price_cents * quantity / 100,
    }
