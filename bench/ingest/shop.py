"""The shop whose visitors make the benchmark's traffic: its pages, what leads to them, and the browsers that come.

All of it is a function of the seed. Popularity falls off as in life (a few pages, campaigns and browsers make most of
the traffic, many are seen once), because dictionaries, caches and compression live on that.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate, product

ORIGIN = "https://shop.example"
PRODUCTS = 3_000
WORDS = (
    *("oak", "table", "lamp", "chair", "linen", "garden", "classic", "blue", "green", "steel", "copper", "round"),
    *("small", "large", "folding", "wool", "summer", "winter", "kitchen", "wall", "floor", "desk", "shelf", "mirror"),
    *("carpet", "cushion", "basket", "outdoor", "vintage", "solid", "light", "dark", "natural", "white", "black"),
)
CATEGORIES = (
    "lighting",
    "tables",
    "chairs",
    "textiles",
    "garden",
    "kitchen",
    "storage",
    "office",
    "decoration",
    "sale",
)
CAMPAIGNS = tuple(
    f"{season}_{theme}_{year}"
    for season, theme, year in product(
        ("spring", "summer", "autumn", "winter"), ("brand", "retargeting", "newcomers", "sale"), (2025, 2026)
    )
)
REFERRERS = (
    ("https://www.google.com/", 40),
    ("https://www.google.de/", 15),
    ("https://www.bing.com/", 6),
    ("https://duckduckgo.com/", 4),
    ("https://www.facebook.com/", 6),
    ("https://l.instagram.com/", 6),
    ("https://www.pinterest.com/", 4),
    ("https://t.co/", 2),
    ("https://www.reddit.com/r/interiordesign/", 2),
    ("https://blog.living.example/2026/ten-lamps-we-like", 2),
)
LANGUAGES = (("de-DE", 45), ("en-GB", 18), ("en-US", 14), ("fr-FR", 9), ("de-AT", 5), ("nl-NL", 5), ("it-IT", 4))
ZONES = (
    ("Europe/Berlin", 60),
    ("Europe/London", 14),
    ("Europe/Paris", 10),
    ("Europe/Vienna", 6),
    ("America/New_York", 6),
)
DESKTOPS = ("1920x945", "1536x730", "1440x789", "2560x1305", "1366x641", "1680x914", "1280x593", "1903x937")
PHONES = ("390x664", "393x660", "412x785", "360x647", "414x719", "384x712", "375x635", "430x739")
MODELS = ("SM-S921B", "SM-A546B", "SM-G991B", "Pixel 8", "Pixel 7a", "2201116SG", "M2101K6G", "CPH2581", "moto g54")


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `product`: its number in the catalogue, 0 where it shows none."""

    url: str
    title: str
    product: int = 0
    price: float = 0.0
    category: str = ""


class Weighted:
    """Values to be drawn by weight."""

    def __init__(self, values: list[tuple[object, float]]) -> None:
        self._values = [value for value, _ in values]
        self._sums = list(accumulate(weight for _, weight in values))

    def draw(self, rng: random.Random) -> object:
        """Return one of the values."""
        return rng.choices(self._values, cum_weights=self._sums)[0]


class Shop:
    """The shop of one seed."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311  traffic, not secrets
        self.home = Page(f"{ORIGIN}/", "Living Shop – furniture and lamps")
        self.cart = Page(f"{ORIGIN}/cart", "Your cart – Living Shop")
        self.checkout = Page(f"{ORIGIN}/checkout", "Checkout – Living Shop")
        self.account = Page(f"{ORIGIN}/account", "Your account – Living Shop")
        self.categories = [Page(f"{ORIGIN}/c/{name}", f"{name.title()} – Living Shop") for name in CATEGORIES]
        self.products = [_make_product(rng, number) for number in range(1, PRODUCTS + 1)]
        self._product_sums = list(accumulate(1 / rank**0.8 for rank in range(1, PRODUCTS + 1)))
        self._agents = Weighted([(agent, weight) for agent, weight in make_agents()])
        self._referrers = Weighted(list(REFERRERS))
        self._languages = Weighted(list(LANGUAGES))
        self._zones = Weighted(list(ZONES))

    def draw_product(self, rng: random.Random) -> Page:
        """Return the page of a product."""
        return rng.choices(self.products, cum_weights=self._product_sums)[0]

    def draw_agent(self, rng: random.Random) -> str:
        """Return what a browser calls itself."""
        return str(self._agents.draw(rng))

    def draw_locale(self, rng: random.Random) -> tuple[str, str]:
        """Return language and time zone."""
        return str(self._languages.draw(rng)), str(self._zones.draw(rng))

    def draw_arrival(self, rng: random.Random) -> tuple[str, str]:
        """Return what led here: the query of the first address, and the referrer."""
        how = rng.random()
        if how < 0.30:
            return "", ""
        if how < 0.65:
            return "", str(self._referrers.draw(rng))
        campaign = CAMPAIGNS[min(int(rng.expovariate(0.25)), len(CAMPAIGNS) - 1)]
        if how < 0.85:
            click = "".join(rng.choices("ABCDEFGHIJKLMNOPabcdefghijklmnopqrstuvwxyz0123456789_-", k=56))
            ad = f"utm_source=google&utm_medium=cpc&utm_campaign={campaign}&utm_content=ad{rng.randrange(40)}"
            return f"?{ad}&gclid=Cj0KCQ{click}", "https://www.google.com/"
        return f"?utm_source=newsletter&utm_medium=email&utm_campaign={campaign}", "https://mail.example/"


def _make_product(rng: random.Random, number: int) -> Page:
    words = rng.sample(WORDS, rng.randint(2, 4))
    slug, name = "-".join(words), " ".join(words).title()
    price = round(rng.lognormvariate(4.2, 0.9), 2)
    return Page(f"{ORIGIN}/p/{slug}-{number}", f"{name} – Living Shop", number, price, rng.choice(CATEGORIES))


def make_agents() -> list[tuple[str, float]]:
    """Return over a thousand user agents with their weights: newer versions more often than older ones."""
    found: list[tuple[str, float]] = []
    for age in range(30):
        chrome, firefox, fresh = 142 - age, 145 - age, 0.62**age
        desktop = f"AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36"
        windows, mac = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
        found += [
            (f"{windows} {desktop}", 22 * fresh),
            (f"{mac} {desktop}", 6 * fresh),
            (f"Mozilla/5.0 (X11; Linux x86_64) {desktop}", 1.5 * fresh),
            (f"{windows} {desktop} Edg/{chrome}.0.0.0", 7 * fresh),
            (f"{windows[:-1]}; rv:{firefox}.0) Gecko/20100101 Firefox/{firefox}.0", 4 * fresh),
            (
                f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:{firefox}.0) Gecko/20100101 Firefox/{firefox}.0",
                fresh,
            ),
            (f"Mozilla/5.0 (Linux; Android 10; K) {desktop.replace(' Safari', ' Mobile Safari')}", 20 * fresh),
        ]
        found += [
            (
                f"Mozilla/5.0 (Linux; Android {13 + age % 3}; {model} Build/AP1A.24{age:02}05.00{age % 7}; wv)"
                f" AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{chrome}.0.{7000 + 7 * age}.{60 + age}"
                f" Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/{530 - age}.0.0.{40 + age}.70;]",
                0.25 * 0.9**age,
            )
            for model in MODELS
        ]
    for major, minor in product(range(16, 27), range(7)):
        if major in range(19, 26):
            continue
        version, weight = f"{major}_{minor}", {26: 12, 18: 9, 17: 2, 16: 0.8}[major] * 0.7 ** (6 - minor)
        phone = f"Mozilla/5.0 (iPhone; CPU iPhone OS {version} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
        found += [
            (f"{phone} Version/{major}.{minor} Mobile/15E148 Safari/604.1", weight),
            (f"{phone} CriOS/{120 + major % 20}.0.{6000 + minor}.54 Mobile/15E148 Safari/604.1", weight / 6),
            (f"{phone} Mobile/22{chr(65 + minor)}{major * 7} Instagram 3{major + 20}.0.{minor}.25.92", weight / 4),
            (
                f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
                f" Version/{major}.{minor} Safari/605.1.15",
                weight / 3,
            ),
        ]
    robots = ("Googlebot/2.1; +http://www.google.com/bot.html", "bingbot/2.0; +http://www.bing.com/bingbot.htm")
    return [*found, *((f"Mozilla/5.0 (compatible; {robot})", 0.5) for robot in robots)]
