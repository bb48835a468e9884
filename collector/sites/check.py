"""What looks wrong with a site's settings: what works, but is probably not meant, each with its fix.

`tagstitch site check` prints it. Pure. What cannot work at all is refused before: see `validate`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from collector.sites.book import Site
from collector.sites.validate import LOCAL_HOSTS, is_address, is_below, is_local, list_captures

LONG_KEEP_DAYS = 5 * 366
LOW_RATE = 10.0
"""Events a second. A lower rate is hardly meant: a handful of people shop faster."""


class SiteFinding(NamedTuple):
    """Something that looks wrong. `severity`: `error` (nothing will be counted), `warning` or `note`."""

    severity: Literal["error", "warning", "note"]
    setting: str
    problem: str
    fix: str


def inspect_site(site: Site, others: Iterable[Site] = (), *, public_url: str = "") -> list[SiteFinding]:
    """Return what looks wrong with a site, worst first. `public_url`: how browsers reach the collector."""
    found: list[SiteFinding] = []
    others = list(others)

    def find(severity: Literal["error", "warning", "note"], setting: str, problem: str, fix: str) -> None:
        found.append(SiteFinding(severity, setting, problem, fix))

    if site.deleted:
        find("error", "deleted", "the site is switched off: its beacons are refused", "add it again")
    if not site.origins:
        find("error", "origins", "no origin is allowed: every browser's beacon is refused", "--origin https://…")
    hosts = {origin: urlsplit(origin).hostname or "" for origin in site.origins}
    for origin, host in hosts.items():
        if origin.startswith("http://") and not is_local(host):
            find(
                *("warning", "origins", f"{origin} is not encrypted: cookies of its pages can be read and set"),
                f"serve it as https and allow https://{host}",
            )
        bare = host.removeprefix("www.")
        twin = origin.replace(host, bare if host != bare else f"www.{host}")
        if host not in LOCAL_HOSTS and not is_address(host) and host.count(".") < 3 and twin not in site.origins:
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
    found += _inspect_cookie(site, public_url)
    found += _inspect_captures(site)
    found += _inspect_delivery(site, others)
    order = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _inspect_cookie(site: Site, public_url: str) -> Iterable[SiteFinding]:
    collector, domain = urlsplit(public_url).hostname or "", site.cookie_domain
    if not domain:
        return
    yield SiteFinding(
        *("note", "cookie_domain", f"any host below {domain} can set the visitor cookie: over HTTPS it has no __Host-"),
        "keep it if you trust them all; else empty the domain and link the hosts with --linked-domain",
    )
    if collector and not is_below(collector, domain):
        yield SiteFinding(
            *("error", "cookie_domain", f"the collector answers at {collector}, whose cookies cannot be for {domain}"),
            "put the collector on a host of that domain, or leave the domain empty",
        )


def _inspect_captures(site: Site) -> Iterable[SiteFinding]:
    for kind, source, name in list_captures(site):
        if source == "param" and name in site.url_parameters:
            yield SiteFinding(
                *("warning", "url_parameters", f"{name} is kept in addresses, and names a person ({kind})"),
                "take it off --parameter: what is captured need not be kept twice",
            )
    unsigned = [*site.capture, *(capture.cookie for capture in site.capture_cookies if not capture.signed)]
    if site.identify == "signed" and unsigned:
        yield SiteFinding(
            *("warning", "identify", f"{unsigned[0]} is captured unsigned, and the site takes signed identifies only"),
            "sign the value (docs/sign-identify.md), or set --identify any: such claims join nothing",
        )


def _inspect_delivery(site: Site, others: list[Site]) -> Iterable[SiteFinding]:
    if not site.tag:
        yield SiteFinding("warning", "tag", "the tag is switched off: nothing is counted", "--tag")
    if 0 < site.rate < LOW_RATE:
        yield SiteFinding(
            *("note", "rate", f"more than {site.rate:g} events a second are answered 429, and come again later"),
            "a page view with what the tag notes is several events; use --rate 0 for any number",
        )
    if site.sample < 1:
        yield SiteFinding(
            *("note", "sample", f"only {site.sample:.2%} of all visitors are kept, and customers among them as well"),
            "multiply counts by its inverse, or use --sample 1",
        )
    if site.consent == "cookieless":
        yield SiteFinding(
            *("note", "consent", "without consent visitors are counted for a day each; none of them ever returns"),
            "say so in your privacy notice, and link the page for objections (setting opt_out_path)",
        )
    hosts = {urlsplit(origin).hostname or "" for origin in site.origins}
    near = [other for other in (site, *others) if other.space_id == site.space_id and not other.deleted]
    known = {urlsplit(origin).hostname or "" for other in near for origin in other.origins}
    for domain in site.linked_domains:
        if not any(is_below(host, domain) for host in known):
            yield SiteFinding(
                *("warning", "linked_domains", f"no site of space {site.space_id} has pages on {domain}"),
                f"add a site with --origin https://{domain} --space {site.space_id}, or take it off",
            )
        elif len(hosts) == 1 and domain in hosts:
            yield SiteFinding(
                *("note", "linked_domains", f"{domain} is the site's own host: nobody is handed over to it"),
                "name the other hosts only",
            )


def _share_domain(first: str, second: str) -> bool:
    """Whether two hosts look like one site's: equal, or one under the other's last two labels."""
    if first == second or (first in LOCAL_HOSTS and second in LOCAL_HOSTS):
        return True
    return not is_address(first) and not is_address(second) and first.split(".")[-2:] == second.split(".")[-2:]
