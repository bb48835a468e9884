"""What a site's settings must be: `validate_site` refuses what cannot work, naming the setting and the fix.

Pure, and the only gate: whatever writes a site goes through it, so that the edge, the snippet and the cookies may take
every name in a site's row as it stands.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from collector.errors import ConfigError
from collector.sites.book import IdentifierKind, Issuer, Site

CONSENT_PRESETS = ("required", "implied", "cookieless", "off")
IDENTIFY_MODES = ("any", "signed")
NORMALISERS = ("text", "email", "phone", "uuid")
CAPTURE_SOURCES = ("param", "cookie", "meta", "data", "js")
AUTO_WORDS = ("spa", "hash", "outbound", "downloads", "forms", "clicks", "engagement", "media", "vitals")
NOTHING = "none"
"""In place of AUTO_WORDS: note nothing by itself."""
CONSENT_TOOLS = ("tcf", "gpp", "google")
MAX_KEEP_DAYS = 36_500
MAX_POLICY_VERSION = 65_535
MAX_RATE = 1_000_000

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")  # it stands in cookie names and paths
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9-]{1,63})*")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PARAMETER = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")
_COOKIE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_CAPTURE = re.compile(r"(?P<kind>[a-z][a-z0-9_]*)=(?P<source>[a-z]+):(?P<name>[A-Za-z0-9_$.:\[\]-]{1,64})")
_CLAIM = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_OURS = ("ts_", "_ts_")
_DEFAULT_PORTS = {"http": 80, "https": 443}
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def validate_site(site: Site, others: Iterable[Site] = ()) -> None:
    """Raise ConfigError, naming the setting and the fix, where a site's settings cannot be used.

    `others`: the sites there are; those of the same space must declare the same kinds in the same way, because
    people are shared among them.
    """
    _require(_ID.fullmatch(site.site_id), site, "site", "an id is 1–40 of a–z, 0–9, - and _, beginning with a–z or 0–9")
    _require(site.site_id != "operator", site, "site", "the name is taken: its cookie would be the operator's")
    _require(_ID.fullmatch(site.space_id), site, "space", "an id is 1–40 of a–z, 0–9, - and _")
    for origin in site.origins:
        validate_origin(site, origin)
    _require(site.consent in CONSENT_PRESETS, site, "consent", f"is one of {', '.join(CONSENT_PRESETS)}")
    _require(1 <= site.policy_version <= MAX_POLICY_VERSION, site, "policy_version", f"is 1 to {MAX_POLICY_VERSION}")
    _require(site.identify in IDENTIFY_MODES, site, "identify", f"is one of {', '.join(IDENTIFY_MODES)}")
    _require(1 <= site.session_minutes <= 24 * 60, site, "session_minutes", "is 1 to 1440")
    _require(0 <= site.network_days <= MAX_KEEP_DAYS, site, "network_days", f"is 0 (never) to {MAX_KEEP_DAYS}")
    _require(1 <= site.rejected_days <= MAX_KEEP_DAYS, site, "rejected_days", f"is 1 to {MAX_KEEP_DAYS}")
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
    others = list(others)
    _validate_kinds(site, [other for other in others if other.space_id == site.space_id])
    _validate_cookie(site, others)
    _validate_captures(site)
    for issuer in site.issuers:
        _validate_issuer(site, issuer)
    pairs = [(issuer.issuer, issuer.audience, issuer.kind) for issuer in site.issuers]
    _require(len(set(pairs)) == len(pairs), site, "issuers", "an issuer stands once for each audience and kind")
    _validate_delivery(site)


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
        _HOST.fullmatch(host) or is_address(host),
        *(site, "origins", f"{origin!r}: give the host as browsers send it, in lower case, xn--… for other letters"),
    )
    _require(
        port is None or port != _DEFAULT_PORTS[parts.scheme],
        *(site, "origins", f"{origin!r}: browsers leave :{port} out with {parts.scheme}; leave it out too"),
    )
    shown = f"[{host}]" if ":" in host else host
    exact = f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
    _require(exact == origin, site, "origins", f"{origin!r} is more than an origin: write {exact}")


def list_captures(site: Site) -> list[tuple[str, str, str]]:
    """Return what the tag captures: kind, source and name of each."""
    matches = (_CAPTURE.fullmatch(spec) for spec in site.capture)
    return [(match["kind"], match["source"], match["name"]) for match in matches if match]


def is_below(host: str, domain: str) -> bool:
    """Whether the host is the domain or stands below it."""
    return f".{host}".endswith(f".{domain}")


def is_local(host: str) -> bool:
    """Whether the host is this machine: where sites are tried out."""
    return host in LOCAL_HOSTS or host.endswith(".localhost")


def _validate_cookie(site: Site, others: Iterable[Site]) -> None:
    name, domain = site.cookie, site.cookie_domain
    if name:
        _require(_COOKIE.fullmatch(name), site, "cookie", f"{name!r} is no cookie's name: 1–60 of A–Z, a–z, 0–9, _ . -")
        _require(
            not name.lower().startswith(("__host-", "__secure-")),
            *(site, "cookie", "leave the prefix out: over HTTPS `__Host-` is put before it, unless there is a domain"),
        )
        _require(not name.startswith(_OURS), site, "cookie", "names that begin with ts_ or _ts_ are our defaults")
    if domain:
        _require(
            _HOST.fullmatch(domain) and "." in domain and not is_address(domain),
            *(site, "cookie_domain", f"{domain!r} is no domain: write shop.example, without scheme and leading dot"),
        )
        for origin in site.origins:
            host = urlsplit(origin).hostname or ""
            _require(
                is_below(host, domain) or is_local(host),
                *(site, "cookie_domain", f"{host} does not lie in {domain}, browsers would refuse the cookie there: "),
                "make it a site of its own in the same space, or leave the domain empty",
            )
    for other in others:
        is_near = set(site.origins) & set(other.origins) or (domain and domain == other.cookie_domain)
        _require(
            not (name and name == other.cookie and site.site_id != other.site_id and is_near and not other.deleted),
            *(site, "cookie", f"site {other.site_id} has a cookie of this name on the same host: give it another"),
        )


def _validate_captures(site: Site) -> None:
    for spec in site.capture:
        match = _CAPTURE.fullmatch(spec)
        _require(
            match and match["source"] in CAPTURE_SOURCES,
            *(site, "capture", f"{spec!r}: write KIND=SOURCE:NAME, the source one of {', '.join(CAPTURE_SOURCES)}"),
        )
    for kind, source, name in list_captures(site):
        _require_kind(site, "capture", kind)
        if source == "param":
            _require(_PARAMETER.fullmatch(name), site, "capture", f"{name!r} is no parameter's name")
    places = [spec.partition("=")[2] for spec in site.capture]
    _require(len(set(places)) == len(places), site, "capture", "each place is read for one kind")
    own = {site.cookie, f"__Host-{site.cookie}"} - {"", "__Host-"}
    for capture in site.capture_cookies:
        _require(
            _COOKIE.fullmatch(capture.cookie)
            and capture.cookie not in own
            and not capture.cookie.removeprefix("__Host-").startswith(_OURS),
            *(site, "capture_cookies", f"{capture.cookie!r} is no name of a cookie of the site's own"),
        )
        _require_kind(site, "capture_cookies", capture.kind)
    names = [capture.cookie for capture in site.capture_cookies]
    _require(len(set(names)) == len(names), site, "capture_cookies", "each cookie stands once")


def _validate_issuer(site: Site, issuer: Issuer) -> None:
    for address in (issuer.issuer, issuer.jwks_url):
        if address or address is issuer.issuer:
            _require(
                _is_safe_address(address),
                site,
                "issuers",
                f"{address!r} is no address: write https://login.shop.example",
            )
    audience = issuer.audience
    _require(
        0 < len(audience) <= 255 and audience.isprintable(),
        *(site, "issuers", f"{issuer.issuer}: name the audience, which is this site's client id there"),
    )
    _require(_CLAIM.fullmatch(issuer.claim), site, "issuers", f"{issuer.claim!r} is no claim: write sub")
    _require_kind(site, "issuers", issuer.kind)


def _validate_delivery(site: Site) -> None:
    words = site.auto.split(" ") if site.auto else []
    _require(
        site.auto == NOTHING or not set(words) - set(AUTO_WORDS),
        *(site, "auto", f"{site.auto!r}: words of {' '.join(AUTO_WORDS)}, with a space between, or `{NOTHING}`"),
    )
    tools = site.consent_from.split(" ") if site.consent_from else []
    _require(
        not set(tools) - set(CONSENT_TOOLS),
        *(site, "consent_from", f"{site.consent_from!r}: words of {' '.join(CONSENT_TOOLS)}, with a space between"),
    )
    for host in site.linked_domains:
        _require(
            (_HOST.fullmatch(host) and "." in host) or is_local(host) or is_address(host),
            *(site, "linked_domains", f"{host!r} is no host: write other.example, without scheme and path"),
        )
    for host in site.link_hosts:
        _require(
            _HOST.fullmatch(host) and "." in host,
            *(site, "link_hosts", f"{host!r} is no host: write apps.example, in lower case, without scheme and path"),
        )
    _require(
        0 <= site.rate <= MAX_RATE,
        *(site, "rate", f"is 0 (any) to {MAX_RATE} events a second, not {site.rate:g}"),
    )
    _require(
        0 < site.sample <= 1,
        *(site, "sample", f"is a share above 0, at most 1, not {site.sample:g}; to keep nothing at all, use --no-tag"),
    )


def _require_kind(site: Site, setting: str, name: str) -> None:
    declared = ", ".join(kind.name for kind in site.kinds) or "none"
    _require(site.find_kind(name), site, setting, f"{name!r} is no declared kind ({declared}): declare it with --kind")


def _is_safe_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        parts.port  # noqa: B018  raises ValueError where it is no number
    except ValueError:
        return False
    if not address.isascii() or not address.isprintable() or " " in address or parts.query or parts.fragment:
        return False
    return (
        bool(host)
        and "@" not in parts.netloc
        and (parts.scheme == "https" or (parts.scheme == "http" and is_local(host)))
    )


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
        _require(
            not (kind.personal and kind.clear),
            *(site, "kinds", f"{kind.name}: personal is never stored in clear: leave one of the two out"),
        )
        _validate_region(site, kind)
        _require(kind.max_visitors >= 1 and kind.max_per_person >= 1, site, "kinds", f"{kind.name}: caps are 1 or more")
        for other in others:
            twin = other.find_kind(kind.name)
            if twin is None or other.site_id == site.site_id:
                continue
            _require(
                _list_shared(twin) == _list_shared(kind),
                *(site, "kinds", f"{kind.name} is declared differently by site {other.site_id} of the same space:"),
                " declare it alike, or put the site into another space",
            )


def _list_shared(kind: IdentifierKind) -> tuple[object, ...]:
    """Return what sites of one space have to declare alike: else one value would be two identifiers."""
    return kind.unique, kind.personal, kind.normaliser, kind.clear, kind.region


def _validate_region(site: Site, kind: IdentifierKind) -> None:
    if not kind.region:
        return
    _require(kind.normaliser == "phone", site, "kinds", f"{kind.name}: a region belongs to a phone number: phone=DE")
    from collector.identity.normal_forms import list_regions  # late: its library is large, and few sites have phones

    _require(
        kind.region in list_regions(),
        *(site, "kinds", f"{kind.name}: {kind.region!r} is no region: write phone=DE, by ISO 3166-1 alpha-2"),
    )


def is_address(host: str) -> bool:
    """Whether the host is a network address."""
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
