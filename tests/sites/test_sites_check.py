"""What a site's settings must be, and what `tagstitch site check` finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from collector.errors import ConfigError
from collector.sites.book import DEFAULT_KINDS, CookieCapture, IdentifierKind, Issuer, Site
from collector.sites.check import inspect_site
from collector.sites.validate import AUTO_WORDS, CONSENT_TOOLS, validate_site


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
        ("kinds", (IdentifierKind("customer", normaliser="number"),)),
        ("kinds", (IdentifierKind("customer", personal=True, clear=True),)),
        ("kinds", (IdentifierKind("customer", region="DE"),)),
        ("kinds", (IdentifierKind("phone", normaliser="phone", region="XY"),)),
        ("kinds", (IdentifierKind("customer", max_visitors=0),)),
        ("site_id", "operator"),
        ("cookie", "a b"),
        ("cookie", "__Host-sid"),
        ("cookie", "__secure-sid"),
        ("cookie", "_ts_v"),
        ("cookie", "ts_blog"),
        ("cookie", "sid;Domain=x"),
        ("cookie_domain", "example"),
        ("cookie_domain", ".shop.example"),
        ("cookie_domain", "https://shop.example"),
        ("cookie_domain", "127.0.0.1"),
        ("cookie_domain", "other.example"),
        ("cookie_domain", "op.example"),
        ("cookie_domain", "www.shop.example"),
        ("capture", ("customer",)),
        ("capture", ("customer=url:cid",)),
        ("capture", ("member=param:cid",)),
        ("capture", ("customer=param:a b",)),
        ("capture", ("customer=param:a$b",)),
        ("capture", ("customer=param:</script>",)),
        ("capture", ("customer=param:cid", "email=param:cid")),
        ("capture_cookies", (CookieCapture("uid", "member"),)),
        ("capture_cookies", (CookieCapture("ts_shop"),)),
        ("capture_cookies", (CookieCapture("__Host-ts_shop"),)),
        ("capture_cookies", (CookieCapture("u;d"),)),
        ("capture_cookies", (CookieCapture("uid"), CookieCapture("uid", "email"))),
        ("issuers", (Issuer("http://login.example", "web"),)),
        ("issuers", (Issuer("login.example", "web"),)),
        ("issuers", (Issuer("https://user@login.example", "web"),)),
        ("issuers", (Issuer("https://login.example?a=1", "web"),)),
        ("issuers", (Issuer("https://login.example:99999", "web"),)),
        ("issuers", (Issuer("https://login.example", ""),)),
        ("issuers", (Issuer("https://login.example", "web", kind="member"),)),
        ("issuers", (Issuer("https://login.example", "web", claim="a b"),)),
        ("issuers", (Issuer("https://login.example", "web", jwks_url="file:///etc/passwd"),)),
        ("issuers", (Issuer("https://login.example", "web"), Issuer("https://login.example", "web", claim="no"))),
        ("auto", "spa outbond"),
        ("auto", "none spa"),
        ("auto", "spa  forms"),
        ("consent_from", "tcf usp"),
        ("linked_domains", ("https://other.example",)),
        ("link_hosts", ("https://apps.example",)),
        ("link_hosts", ("Apps.example",)),
        ("link_hosts", ("apps.example/path",)),
        ("link_hosts", ("apps.example@evil.example",)),
        ("linked_domains", ("other.example/path",)),
        ("linked_domains", ("*.example",)),
        ("linked_domains", ("example",)),
        ("sample", 0.0),
        ("sample", -0.1),
        ("sample", 1.5),
        ("sample", float("nan")),
    ],
)
def test_settings_that_cannot_work_are_refused(setting: str, value: object) -> None:
    """Each bad value raises ConfigError that names a setting of the site."""
    with pytest.raises(ConfigError):
        validate_site(make_site(**{setting: value}))


@pytest.mark.parametrize(
    "settings",
    [
        {"consent": "cookieless"},
        {"cookie": "sid", "cookie_domain": "shop.example"},
        {"cookie_domain": "shop.example", "origins": ("https://a.b.shop.example", "http://localhost:3000")},
        {
            "capture": (
                "customer=param:cid",
                "email=data:user.email",
                "customer=js:shop.user[0].id",
                "customer=meta:x:y",
            )
        },
        {"capture_cookies": (CookieCapture("uid"), CookieCapture("mail", "email", signed=True))},
        {"kinds": (IdentifierKind("phone", normaliser="phone", region="DE"), IdentifierKind("login", clear=True))},
        {"issuers": (Issuer("https://login.example/realms/shop", "web", jwks_url="https://login.example/keys"),)},
        {"issuers": (Issuer("http://localhost:8080", "web"), Issuer("http://localhost:8080", "app"))},
        {"auto": "none"},
        {"auto": "spa hash vitals"},
        {"consent_from": "tcf gpp google"},
        {"linked_domains": ("other.example", "localhost", "127.0.0.1")},
        {"link_hosts": ("apps.example", "xn--bcher-kva.example")},
        {"sample": 0.001},
        {"tag": False},
    ],
)
def test_settings_that_can_work_are_taken(settings: dict[str, Any]) -> None:
    """Nothing is refused that a site may mean."""
    validate_site(make_site(**settings))


def test_a_share_of_nothing_is_refused_with_the_way_to_have_it() -> None:
    """Who wants to keep nobody is told how."""
    with pytest.raises(ConfigError, match="--no-tag"):
        validate_site(make_site(sample=0.0))


def test_a_domain_that_does_not_cover_an_origin_is_refused_by_its_name() -> None:
    """The message names the host whose browsers would refuse the cookie."""
    with pytest.raises(ConfigError, match=r"shop\.other\.example does not lie in shop\.example"):
        validate_site(make_site(cookie_domain="shop.example", origins=("https://shop.other.example",)))


def test_two_sites_on_one_host_do_not_share_a_cookie() -> None:
    """They would overwrite each other's visitor on every page; on other hosts the name may be the same."""
    other = make_site(site_id="blog", cookie="sid")
    with pytest.raises(ConfigError, match="site blog"):
        validate_site(make_site(cookie="sid"), [other])
    validate_site(make_site(cookie="sid"), [make_site(site_id="blog", cookie="sid", deleted=True)])
    validate_site(make_site(cookie="sid", origins=("https://a.example",)), [other])
    domain = {"cookie": "sid", "cookie_domain": "shop.example"}
    with pytest.raises(ConfigError, match="site blog"):
        validate_site(
            make_site(**domain), [make_site(site_id="blog", origins=("https://blog.shop.example",), **domain)]
        )


def test_the_tags_own_words_are_known() -> None:
    """What the tag notes by itself, and what else its settings name, may be asked for; so may the consent tools."""
    settings = (Path(__file__).parents[2] / "tag_js" / "src" / "settings.ts").read_text(encoding="utf-8")
    [words] = re.findall(r"What is noted by itself: words out of ([a-z, ]+), with", settings)
    assert re.findall("[a-z]+", words) == list(AUTO_WORDS)
    [tools] = re.findall(r"Consent tools to listen to: (.+), with a space", settings)
    assert re.findall("[a-z]+", tools) == list(CONSENT_TOOLS)


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
        ({"cookie_domain": "shop.example"}, "cookie_domain", "note"),
        ({"consent": "cookieless"}, "consent", "note"),
        ({"tag": False}, "tag", "warning"),
        ({"sample": 0.1}, "sample", "note"),
        ({"capture": ("customer=param:cid",)}, "identify", "warning"),
        ({"capture_cookies": (CookieCapture("uid"),)}, "identify", "warning"),
        ({"linked_domains": ("other.example",)}, "linked_domains", "warning"),
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


def test_a_collector_outside_of_the_cookies_domain_is_found() -> None:
    """Its cookies would be refused by every browser."""
    site = make_site(cookie_domain="shop.example")
    assert [finding.severity for finding in inspect_site(site, public_url="https://data.shop.example")] == ["note"]
    first = inspect_site(site, public_url="https://collect.example")[0]
    assert (first.severity, first.setting) == ("error", "cookie_domain")


def test_linked_domains_belong_to_sites_of_the_space() -> None:
    """A host of another site of the space is right, one of another space is not; its own host alone needs no link."""
    site = make_site(linked_domains=("other.example",))
    other = make_site(site_id="other", origins=("https://www.other.example",))
    assert inspect_site(site, [other]) == []
    [finding] = inspect_site(site, [make_site(site_id="other", space_id="x", origins=("https://other.example",))])
    assert finding.setting == "linked_domains"
    own = make_site(origins=("https://a.b.shop.example",), linked_domains=("a.b.shop.example",))
    assert [(finding.setting, finding.severity) for finding in inspect_site(own)] == [("linked_domains", "note")]


def test_a_captured_parameter_that_stays_in_addresses_is_found() -> None:
    """A customer number in every address of a report is not meant."""
    found = inspect_site(make_site(capture=("customer=param:cid",), url_parameters=("cid",), identify="any"))
    assert [finding.setting for finding in found] == ["url_parameters", "identify"]


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
