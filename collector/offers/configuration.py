"""What the file of configuration says of offers, read: `[offers.<name>]` becomes an OfferConfig.

    [offers.lamp_letter]
    audience = "lamp_lovers"
    slot = "shelf"
    content = { title = "A lamp for reading", href = "/lamps" }
    cap = { shown = 3, within_days = 7 }
    hold_out = 0.1

Whatever cannot be meant is a ConfigError that names file, offer and setting, cause and fix.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from collector.errors import ConfigError
from collector.purposes import ASKED, Purpose
from collector.sites.book import DEFAULT_SPACE

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
LINK = re.compile(r"(?:.*_)?(?:href|url|link)")
"""Names of what is an address."""
MAX_FIELDS = 50
MAX_TEXT_CHARS = 2_000
LOWEST, HIGHEST = 2, 4
DAY_MS = 86_400_000


class Cap(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How often somebody is shown it at most: `shown` times in any `within_days` days."""

    shown: Annotated[int, Meta(ge=1, le=1_000)]
    within_days: Annotated[float, Meta(gt=0, le=366)] = 7


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the offer is to bring about: an event within some days of the first time that somebody saw it."""

    event: Annotated[str, Meta(min_length=1, max_length=100)] = "purchase"
    within_days: Annotated[int, Meta(ge=1, le=366)] = 14


class OfferConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One offer. `starts_ms`, `ends_ms`: milliseconds since 1970, the end not included; None: open.

    `audience`: "" for everybody who is known. `purpose`: "" where no consent is needed. `sites`: empty for all of the
    space. `hold_out`: the share, 0 to 1, of people who get nothing, to compare with.
    """

    name: str
    slot: str
    content: dict[str, str | bool | int | float]
    audience: str = ""
    priority: int = 0
    starts_ms: int | None = None
    ends_ms: int | None = None
    cap: Cap | None = None
    hold_out: float = 0.0
    purpose: str = Purpose.MARKETING.value
    outcome: Outcome = Outcome()
    min_assurance: int = 3
    space: str = DEFAULT_SPACE
    sites: tuple[str, ...] = ()
    sentence: str = ""


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section as it is written. Times are TOML's own, or texts."""

    slot: Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    content: dict[str, str | bool | int | float]
    audience: str = ""
    priority: Annotated[int, Meta(ge=-1_000, le=1_000)] = 0
    starts: Any = None
    ends: Any = None
    zone: str = "UTC"
    cap: Cap | None = None
    hold_out: Annotated[float, Meta(ge=0, le=1)] = 0.0
    purpose: str = Purpose.MARKETING.value
    outcome: Outcome = Outcome()
    min_assurance: Annotated[int, Meta(ge=LOWEST, le=HIGHEST)] = 3
    space: str = DEFAULT_SPACE
    sites: tuple[str, ...] = ()
    sentence: str = ""


def read_offers(sections: Mapping[str, Any], file: Path, audiences: Mapping[str, Any]) -> dict[str, OfferConfig]:
    """Read what stands below `offers`. `audiences`: what stands below `audiences`, by name.

    Raises ConfigError that names file, offer and setting, cause and fix.
    """
    offers = {name: _read_offer(name, section, file) for name, section in sections.items()}
    for offer in offers.values():
        _check_audience(offer, file, audiences)
    return offers


def _read_offer(name: str, section: Any, file: Path) -> OfferConfig:
    where = f"offers.{name}"
    if not NAME.fullmatch(name):
        raise ConfigError(where, str(file), "an offer's name begins with a small letter; then small letters, digits, _")
    if not isinstance(section, dict):
        raise ConfigError(where, str(file), f"must be a section: write [{where}] above its settings")
    if unknown := section.keys() - set(_Said.__struct_fields__):
        known = ", ".join(_Said.__struct_fields__)
        raise ConfigError(f"{where}.{min(unknown)}", str(file), f"there is no such setting of an offer; it has {known}")
    try:
        said = msgspec.convert(section, _Said)
    except msgspec.ValidationError as error:
        raise ConfigError(where, str(file), str(error)) from None
    _check_content(said.content, where, file)
    if said.purpose and said.purpose not in ASKED:
        reason = f"must be one of {', '.join(ASKED)}, or empty where no consent is needed"
        raise ConfigError(f"{where}.purpose", str(file), reason)
    zone = _read_zone(said.zone, where, file)
    starts_ms = _read_moment(said.starts, zone, f"{where}.starts", file)
    ends_ms = _read_moment(said.ends, zone, f"{where}.ends", file, is_end=True)
    if starts_ms is not None and ends_ms is not None and ends_ms <= starts_ms:
        raise ConfigError(f"{where}.ends", str(file), "lies before starts: nobody would ever be shown it")
    names = {*_Said.__struct_fields__} - {"starts", "ends", "zone"}
    values = {field: getattr(said, field) for field in names}
    return OfferConfig(name=name, starts_ms=starts_ms, ends_ms=ends_ms, **values)


def _check_content(content: Mapping[str, str | bool | int | float], where: str, file: Path) -> None:
    if not content:
        reason = 'says what is shown, by name, such as { title = "For you", href = "/deal" }'
        raise ConfigError(f"{where}.content", str(file), reason)
    if len(content) > MAX_FIELDS:
        raise ConfigError(f"{where}.content", str(file), f"has more than {MAX_FIELDS} names")
    for name, value in content.items():
        place = f"{where}.content.{name}"
        if not NAME.fullmatch(name):
            raise ConfigError(place, str(file), "a name begins with a small letter; then small letters, digits and _")
        if isinstance(value, str) and len(value) > MAX_TEXT_CHARS:
            raise ConfigError(place, str(file), f"is longer than {MAX_TEXT_CHARS:,} characters")
        if LINK.fullmatch(name) and not is_address(value):
            reason = "is an address by its name: write one that begins with https://, http:// or one /"
            raise ConfigError(place, str(file), reason)


def is_address(value: object) -> bool:
    """Whether a page may lead there: an address of http or https with a host, or a path of the site's own."""
    if not isinstance(value, str) or "\\" in value or not value.isprintable() or value != value.strip():
        return False
    if value.startswith("/"):
        return not value.startswith("//")
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


def _read_zone(text: str, where: str, file: Path) -> tzinfo:
    try:
        return UTC if text == "UTC" else ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"{where}.zone", str(file), "there is no such time zone; write Europe/Berlin, say") from None


def _read_moment(said: Any, zone: tzinfo, place: str, file: Path, *, is_end: bool = False) -> int | None:
    """Return milliseconds since 1970. A day as an end is the last one, and counts whole."""
    if said is None:
        return None
    if isinstance(said, str):
        try:
            said = date.fromisoformat(said) if len(said) == len("2026-11-23") else datetime.fromisoformat(said)
        except ValueError:
            said = 0
    if isinstance(said, datetime):
        moment = said if said.tzinfo is not None else said.replace(tzinfo=zone)
    elif isinstance(said, date):
        moment = datetime.combine(said + timedelta(days=int(is_end)), time(), zone)
    else:
        raise ConfigError(place, str(file), "must be a day such as 2026-11-23, or a time such as 2026-11-23T09:00:00Z")
    return int(moment.timestamp() * 1000)


def _check_audience(offer: OfferConfig, file: Path, audiences: Mapping[str, Any]) -> None:
    if not offer.audience:
        return
    place = f"offers.{offer.name}.audience"
    if offer.audience not in audiences:
        raise ConfigError(place, str(file), f"there is no such audience; {_list_names(audiences)}")
    audience = audiences[offer.audience]
    space = audience.get("space", DEFAULT_SPACE) if isinstance(audience, dict) else audience.space
    if space != offer.space:
        raise ConfigError(place, str(file), f"that audience is of space {space}, and the offer of {offer.space}")


def _list_names(names: Collection[str]) -> str:
    if not names:
        return "none is configured: write [audiences.…], or leave it empty for everybody who is known"
    return f"there are {', '.join(sorted(names))}; empty: everybody who is known"
