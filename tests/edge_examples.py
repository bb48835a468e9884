"""What tests of the edge start from: fixed secrets, one site, one moment, and beacons that are right until changed."""

from __future__ import annotations

from typing import Any

import msgspec

from collector.accept.pipeline import Accepted, Refused, accept
from collector.accept.refusals import make_line
from collector.event import Context, LandingRow
from collector.keyring import Credential, Key, Keyring, LinkKey, PersonalKey
from collector.signing import sign_identify
from collector.sites.book import Site, SiteBook

NOW_MS = 1_795_000_000_000
NOW_S = NOW_MS // 1000
ORIGIN = "https://shop.example"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
ADDRESS = "203.0.113.77"

KEYRING = Keyring(
    format=1,
    instance_id="00000000-0000-4000-8000-000000000001",
    cookie_keys=[Key("c2", "cookie-new" * 6), Key("c1", "cookie-old" * 6)],
    link_keys=[LinkKey("b2c4", "link-new" * 8), LinkKey("a1b3", "link-old" * 8)],
    identify_key="11" * 32,
    pseudonym_key="22" * 32,
    digest_key="33" * 32,
    operator_key="operator",
    writer=Credential("writer", "w"),
    reader=Credential("reader", "r"),
    analyst=Credential("analyst", "a"),
    personal_keys=[PersonalKey("p1", "44" * 32)],
)

SITE = Site(site_id="shop", origins=(ORIGIN, "https://www.shop.example"), consent="off", identify_versions=(2, 1))


def make_id(number: int, at_ms: int = NOW_MS) -> str:
    """Return a UUIDv7 made at this time; the same number gives the same id."""
    return f"{at_ms:012x}"[:8] + "-" + f"{at_ms:012x}"[8:] + f"-7{number:03x}-8000-{number:012x}"


VISITOR = make_id(1)
OTHER_VISITOR = make_id(2)


def make_event(number: int = 100, **changes: Any) -> dict[str, Any]:
    """Return one event as it stands on the wire. A change to None takes the field away."""
    return _change({"i": make_id(number), "n": "page_view", "t": NOW_MS}, changes)


def make_body(*events: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a beacon as it stands on the wire, with one page view unless events are given."""
    body: dict[str, Any] = {
        "v": 1,
        "s": "shop",
        "st": NOW_MS,
        "d": VISITOR,
        "u": f"{ORIGIN}/shoes",
        "x": {"i": make_id(50), "n": 1, "t": NOW_MS},
        "e": list(events) or [make_event()],
    }
    return _change(body, changes)


def _change(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def make_context(*, site: Site = SITE, **changes: Any) -> Context:
    """Return the facts of a browser's request on the site's own page."""
    facts: dict[str, Any] = {
        "received_at_ms": NOW_MS,
        "sites": SiteBook(sites={site.site_id: site}, read_at_ms=NOW_MS),
        "keyring": KEYRING,
        "address": ADDRESS,
        "origin": ORIGIN,
        "user_agent": CHROME,
        "secure": True,
    }
    return Context(**{**facts, **changes})


def take(body: dict[str, Any] | bytes, context: Context | None = None) -> tuple[Accepted, LandingRow]:
    """Send a beacon through the pipeline, which must keep it. Return the answer and the row."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    answer = accept(raw, context or make_context())
    assert isinstance(answer, Accepted), answer
    return answer, msgspec.json.decode(answer.line, type=LandingRow)


def read_line(answer: Accepted | Refused) -> bytes:
    """Return the line that stands in the spool for this beacon alone."""
    return make_line(answer.refusal) if isinstance(answer, Refused) else answer.line


def refuse(body: dict[str, Any] | bytes, context: Context | None = None) -> tuple[Refused, LandingRow]:
    """Send a beacon through the pipeline, which must refuse it as a whole. Return the answer and the row."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    answer = accept(raw, context or make_context())
    assert isinstance(answer, Refused), answer
    return answer, msgspec.json.decode(make_line(answer.refusal), type=LandingRow)


def sign(value: str, kind: str = "customer", *, version: int = 2, expires_s: int = NOW_S + 3600) -> str:
    """Return the signature that the site's back end would make."""
    secret = KEYRING.derive_identify_secret("shop", version)
    return sign_identify(secret, version, "shop", kind, value, expires_s)
