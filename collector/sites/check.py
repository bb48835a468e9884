"""What a site's settings must be, and what looks wrong with them.

`validate_site` refuses what cannot work. `inspect_site` finds what works but is probably not meant, each with its
fix; `tagstitch site check` prints it. Both are pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from collector.errors import ConfigError
from collector.sites.book import Site

CONSENT_PRESETS = ("required", "implied", "off")
IDENTIFY_MODES = ("any", "signed")
NORMALISERS = ("text", "email", "uuid")
MAX_KEEP_DAYS = 36_500
LONG_KEEP_DAYS = 5 * 366

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")  # it stands in cookie names and paths
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9-]{1,63})*")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PARAMETER = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class SiteFinding(NamedTuple):
    """Something that looks wrong. `severity`: `error` (nothing will be counted), `warning` or `note`."""

    severity: Literal["error", "warning", "note"]
    setting: str
    problem: str
    fix: str


def validate_site(site: Site, others: Iterable[Site] = ()) -> None:
    """Raise ConfigError, naming the setting and the fix, where a site's settings cannot be used.

    `others`: the sites there are; those of the same space must declare the same kinds in the same way, because
    people are shared among them.
    """
    _require(_ID.fullmatch(site.site_id), site, "site", "an id is 1–40 of a–z, 0–9, - and _, beginning with a–z or 0–9")
    _require(_ID.fullmatch(site.space_id), site, "space", "an id is 1–40 of a–z, 0–9, - and _")
    for origin in site.origins:
        validate_origin(site, origin)
    _require(site.consent in CONSENT_PRESETS, site, "consent", f"is one of {', '.join(CONSENT_PRESETS)}")
    _require(site.identify in IDENTIFY_MODES, site, "identify", f"is one of {', '.join(IDENTIFY_MODES)}")
    _require(1 <= site.session_minutes <= 24 * 60, site, "session_minutes", "is 1 to 1440")
    _require(0 <= site.keep_days <= MAX_KEEP_DAYS, site, "keep_days", f"is 0 (for ever) to {MAX_KEEP_DAYS}")
    try:
        if site.time_zone != "UTC":  # known without a time zone database too
            ZoneInfo(site.time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise _refuse(site, "time_zone", f"{site.time_zone!r} is no time zone: give one like Europe/Berlin") from error
    for network in site.excluded_networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise _refuse(site, "excluded_networks", f"{network!r} is no network: write 203.0.113.0/24") from error
    for parameter in site.url_parameters:
        _require(_PARAMETER.fullmatch(parameter), site, "url_parameters", f"{parameter!r} is no parameter's name")
    _validate_kinds(site, [other for other in others if other.space_id == site.space_id])


def validate_origin(site: Site, origin: str) -> None:
    """Raise ConfigError where the text is not what a browser sends as Origin: scheme, host, port, nothing else."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError as error:
        raise _refuse(site, "origins", f"{origin!r} is no origin: write https://shop.example") from error
    _require(parts.scheme in _DEFAULT_PORTS, site, "origins", f"{origin!r} must begin with https:// or http://")
    host = parts.hostname or ""
    _require(host and "*" not in host, site, "origins", f"{origin!r}: name each host; there are no wildcards")
    _require(
        _HOST.fullmatch(host) or _is_address(host),
        *(site, "origins", f"{origin!r}: give the host as browsers send it, in lower case, xn--… for other letters"),
    )
    _require(
        port is None or port != _DEFAULT_PORTS[parts.scheme],
        *(site, "origins", f"{origin!r}: browsers leave :{port} out with {parts.scheme}; leave it out too"),
    )
    shown = f"[{host}]" if ":" in host else host
    exact = f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
    _require(exact == origin, site, "origins", f"{origin!r} is more than an origin: write {exact}")


def inspect_site(site: Site, others: Iterable[Site] = (), *, public_url: str = "") -> list[SiteFinding]:
    """Return what looks wrong with a site, worst first. `public_url`: how browsers reach the collector."""
    found: list[SiteFinding] = []

    def find(severity: Literal["error", "warning", "note"], setting: str, problem: str, fix: str) -> None:
        found.append(SiteFinding(severity, setting, problem, fix))

    if site.deleted:
        find("error", "deleted", "the site is switched off: its beacons are refused", "add it again")
    if not site.origins:
        find("error", "origins", "no origin is allowed: every browser's beacon is refused", "--origin https://…")
    hosts = {origin: urlsplit(origin).hostname or "" for origin in site.origins}
    for origin, host in hosts.items():
        if origin.startswith("http://") and host not in _LOCAL_HOSTS and not host.endswith(".localhost"):
            find(
                *("warning", "origins", f"{origin} is not encrypted: cookies of its pages can be read and set"),
                f"serve it as https and allow https://{host}",
            )
        bare = host.removeprefix("www.")
        twin = origin.replace(host, bare if host != bare else f"www.{host}")
        if host not in _LOCAL_HOSTS and not _is_address(host) and host.count(".") < 3 and twin not in site.origins:
            find("note", "origins", f"{twin} is not allowed, {origin} is", "allow it too, if it shows pages")
        for other in others:
            if other.site_id != site.site_id and not other.deleted and origin in other.origins:
                find(
                    *("warning", "origins", f"{origin} is allowed for site {other.site_id} too"),
                    "give each page one site, or keep both if the page carries two tags",
                )
    if public_url and hosts:
        collector = urlsplit(public_url).hostname or ""
        if not any(_share_domain(collector, host) for host in hosts.values()):
            find(
                *(
                    "warning",
                    "public_url",
                    f"{collector} is foreign to the site: browsers block or shorten its cookies",
                ),
                "put the collector under a path of the site's own origin, see deploy/",
            )
    if site.consent == "off":
        find(
            *("warning", "consent", "everybody is counted as having consented to all purposes"),
            "use `required`, unless you have another legal ground",
        )
    if site.identify == "any":
        find(
            *("note", "identify", "browsers may name customers without your signature; such claims join nothing"),
            "sign identifies (docs/sign-identify.md) and set `signed`",
        )
    if not site.identify_versions:
        find(
            *("warning", "identify_versions", "there is no signing secret: no sign-in can be believed"),
            f"tagstitch key create --scope identify --site {site.site_id}",
        )
    if not any(kind.unique for kind in site.kinds):
        find(
            *("warning", "kinds", "no kind of identifier is unique: nothing keeps two customers apart"),
            "declare the customer number as unique",
        )
    if site.count_automated and site.site_id != "demo":
        find("error", "count_automated", "robots are counted as people", "switch it off: it is for the demo only")
    if site.debug:
        find("note", "debug", "debug mode shows refused beacons live", "switch it off when you are done")
    if site.keep_days == 0:
        find("note", "keep_days", "events are kept for ever", "--keep-days 400, or what your privacy notice says")
    elif site.keep_days > LONG_KEEP_DAYS:
        find("note", "keep_days", f"events are kept for {site.keep_days} days", "keep what you can give a reason for")
    for network in site.excluded_networks:
        if ipaddress.ip_network(network).prefixlen < (8 if "." in network else 16):
            find(
                *("error", "excluded_networks", f"{network} is a large part of the internet"),
                "name your own networks only",
            )
    order = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _validate_kinds(site: Site, others: Iterable[Site]) -> None:
    names = [kind.name for kind in site.kinds]
    _require(len(set(names)) == len(names), site, "kinds", "each kind stands once")
    for kind in site.kinds:
        _require(
            _KIND.fullmatch(kind.name) and kind.name != "visitor",
            *(site, "kinds", f"{kind.name!r}: a name is a–z, 0–9 and _, beginning with a letter, and not `visitor`"),
        )
        _require(
            kind.normaliser in NORMALISERS, site, "kinds", f"{kind.name}: normaliser is one of {', '.join(NORMALISERS)}"
        )
        _require(kind.max_visitors >= 1 and kind.max_per_person >= 1, site, "kinds", f"{kind.name}: caps are 1 or more")
        for other in others:
            twin = other.find_kind(kind.name)
            if twin is None or other.site_id == site.site_id:
                continue
            same = (twin.unique, twin.personal, twin.normaliser) == (kind.unique, kind.personal, kind.normaliser)
            _require(
                same,
                *(site, "kinds", f"{kind.name} is declared differently by site {other.site_id} of the same space:"),
                " declare it alike, or put the site into another space",
            )


def _share_domain(first: str, second: str) -> bool:
    """Whether two hosts look like one site's: equal, or one under the other's last two labels."""
    if first == second or (first in _LOCAL_HOSTS and second in _LOCAL_HOSTS):
        return True
    return not _is_address(first) and not _is_address(second) and first.split(".")[-2:] == second.split(".")[-2:]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _require(holds: object, site: Site, setting: str, *reason: str) -> None:
    if not holds:
        raise _refuse(site, setting, "".join(reason))


def _refuse(site: Site, setting: str, reason: str) -> ConfigError:
    return ConfigError(setting, f"site {site.site_id}", reason)
