"""What a site's settings must be, and what `tagstitch site check` finds."""

from __future__ import annotations

from typing import Any

import pytest

from collector.errors import ConfigError
from collector.sites.book import DEFAULT_KINDS, IdentifierKind, Site
from collector.sites.check import inspect_site, validate_site


def make_site(**settings: Any) -> Site:
    """Return a site that nothing is wrong with, but for what is given."""
    values: dict[str, Any] = {
        "site_id": "shop",
        "origins": ("https://shop.example", "https://www.shop.example"),
        "identify": "signed",
        "identify_versions": (1,),
        "keep_days": 400,
    }
    return Site(**(values | settings))


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example",
        "http://shop.example:8080",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "https://xn--bcher-kva.example",
        "http://localhost",
    ],
)
def test_an_exact_origin_is_taken(origin: str) -> None:
    """What browsers send as Origin is what may be allowed."""
    validate_site(make_site(origins=(origin,)))


@pytest.mark.parametrize(
    ("origin", "fix"),
    [
        ("shop.example", "https://"),
        ("https://shop.example/", "write https://shop.example"),
        ("https://shop.example/de", "write https://shop.example"),
        ("https://Shop.example", "write https://shop.example"),
        ("https://shop.example:443", "leave it out"),
        ("http://shop.example:80", "leave it out"),
        ("https://*.shop.example", "no wildcards"),
        ("https://user@shop.example", "write https://shop.example"),
        ("https://bücher.example", "xn--"),
        ("https://shop.example:99999", "write https://"),
        ("https://", "no wildcards"),
        ("null", "https://"),
        ("ftp://shop.example", "https://"),
        ("https://shop.example?x", "write https://shop.example"),
    ],
)
def test_what_is_no_origin_is_refused_with_the_right_one(origin: str, fix: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(ConfigError, match="origins") as caught:
        validate_site(make_site(origins=(origin,)))
    assert fix in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("site_id", "Shop"),
        ("site_id", ""),
        ("space_id", "a b"),
        ("consent", "maybe"),
        ("identify", "yes"),
        ("session_minutes", 0),
        ("keep_days", -1),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../etc/passwd"),
        ("time_zone", ""),
        ("excluded_networks", ("203.0.113.7/24",)),
        ("excluded_networks", ("office",)),
        ("url_parameters", ("a b",)),
        ("kinds", (IdentifierKind("visitor"),)),
        ("kinds", (IdentifierKind("Customer"),)),
        ("kinds", (IdentifierKind("customer"), IdentifierKind("customer"))),
        ("kinds", (IdentifierKind("customer", normaliser="phone"),)),
        ("kinds", (IdentifierKind("customer", max_visitors=0),)),
    ],
)
def test_settings_that_cannot_work_are_refused(setting: str, value: object) -> None:
    """Each bad value raises ConfigError that names a setting of the site."""
    with pytest.raises(ConfigError):
        validate_site(make_site(**{setting: value}))


def test_sites_of_a_space_declare_their_kinds_alike() -> None:
    """People are shared inside a space, so one kind cannot be personal here and clear there."""
    other = make_site(site_id="blog", kinds=(IdentifierKind("customer", personal=True),))
    with pytest.raises(ConfigError, match="site blog"):
        validate_site(make_site(), [other])
    validate_site(make_site(space_id="other"), [other])


def test_nothing_is_found_on_a_good_site() -> None:
    """A site with its own collector, signed identifies and a retention is fine."""
    assert inspect_site(make_site(), public_url="https://shop.example") == []


@pytest.mark.parametrize(
    ("settings", "setting", "severity"),
    [
        ({"origins": ()}, "origins", "error"),
        ({"deleted": True}, "deleted", "error"),
        ({"count_automated": True}, "count_automated", "error"),
        ({"excluded_networks": ("0.0.0.0/0",)}, "excluded_networks", "error"),
        ({"excluded_networks": ("2000::/3",)}, "excluded_networks", "error"),
        ({"origins": ("http://shop.example", "http://www.shop.example")}, "origins", "warning"),
        ({"consent": "off"}, "consent", "warning"),
        ({"identify_versions": ()}, "identify_versions", "warning"),
        ({"kinds": (DEFAULT_KINDS[1],)}, "kinds", "warning"),
        ({"identify": "any"}, "identify", "note"),
        ({"debug": True}, "debug", "note"),
        ({"keep_days": 0}, "keep_days", "note"),
        ({"keep_days": 9_999}, "keep_days", "note"),
        ({"origins": ("https://shop.example",)}, "origins", "note"),
    ],
)
def test_what_is_probably_not_meant_is_found_with_its_fix(
    settings: dict[str, Any], setting: str, severity: str
) -> None:
    """Exactly one thing is changed, and it is what is found."""
    found = inspect_site(make_site(**settings))
    assert {(finding.setting, finding.severity) for finding in found} == {(setting, severity)}
    assert all(finding.fix for finding in found)


def test_a_foreign_collector_is_found() -> None:
    """A collector on another domain than the site loses its cookie in most browsers."""
    (finding,) = inspect_site(make_site(), public_url="https://collect.vendor.example.net")
    assert finding.setting == "public_url"


def test_an_origin_of_two_sites_is_found() -> None:
    """One page, two sites: each event would count twice, or for the wrong one."""
    (first, second) = inspect_site(make_site(), [make_site(site_id="blog")])
    assert "blog" in first.problem
    assert "blog" in second.problem


def test_the_worst_comes_first() -> None:
    """Errors before warnings before notes."""
    found = inspect_site(Site(site_id="shop", consent="off"))
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities, key=("error", "warning", "note").index)
    assert severities[0] == "error"
