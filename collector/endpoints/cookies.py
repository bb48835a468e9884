"""Cookies in HTTP's form: those that concern us picked out of the request, ours written into the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from collector.accept.visitor_cookie import MAX_AGE_S
from collector.endpoints.plain import Headers
from collector.purposes import COOKIELESS
from collector.sites.book import Site, SiteBook
from collector.sites.cookies import OPT_OUT, REFUSED, CookieForm, list_cookie_forms, name_tag_cookie
from collector.sites.validate import is_below

MAX_COOKIE_BYTES = 16_384
MAX_TWINS = 3
"""Most further values under one name that are looked at: each costs a signature."""


class Needs(NamedTuple):
    """What the sites of a book need of every request."""

    cookie_names: frozenset[bytes]
    day_salt: bool  # whether any site is cookieless


class SiteNeeds:
    """What the sites need, worked out once for each book of sites."""

    def __init__(self) -> None:
        self._book: SiteBook | None = None
        self._needs = Needs(frozenset(), False)

    def find(self, book: SiteBook) -> Needs:
        """Return what the sites of this book need."""
        if book is not self._book:
            sites = [site for site in book.sites.values() if not site.deleted]
            names = {OPT_OUT, REFUSED}
            for site in sites:
                names.update(form.name for secure in (True, False) for form in list_cookie_forms(site, secure))
                names.update(capture.cookie for capture in site.capture_cookies)
            encoded = frozenset(name.encode("latin-1", "replace") for name in names)
            self._needs = Needs(encoded, any(site.consent == COOKIELESS for site in sites))
            self._book = book
        return self._needs


def pick_cookies(
    headers: Iterable[bytes], names: frozenset[bytes]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return the cookies of these names, and where a name came more than once its further values.

    Browsers send the narrower of two first, by path; which of them has a domain they do not say. All other cookies of
    the page are not even decoded.
    """
    found: dict[str, str] = {}
    twins: dict[str, tuple[str, ...]] = {}
    for header in headers:
        if len(header) > MAX_COOKIE_BYTES:
            continue
        for pair in header.split(b";"):
            raw, _, value = pair.partition(b"=")
            raw = raw.strip()
            if raw not in names:
                continue
            name, text = raw.decode("latin-1"), value.strip().decode("latin-1").strip('"')
            if name not in found:
                found[name] = text
            elif len(twins.get(name, ())) < MAX_TWINS:
                twins[name] = (*twins.get(name, ()), text)
    return found, twins


def list_places(name: str, host: str, sites: Iterable[Site]) -> list[CookieForm]:
    """Return where a cookie stands that is for all sites of a host: on it, and in each domain that its sites share
    visitors in."""
    domains = {site.cookie_domain for site in sites if site.cookie_domain and is_below(host, site.cookie_domain)}
    return [CookieForm(name), *(CookieForm(name, domain) for domain in sorted(domains))]


def list_browser_forms(site: Site, host: str, secure: bool) -> set[CookieForm]:
    """Return every form that a cookie of ours may have, the tag's own included, which this host may take away."""
    tag = name_tag_cookie(site)
    tag_forms = (CookieForm(tag), CookieForm(tag, site.cookie_domain)) if site.cookie_domain else (CookieForm(tag),)
    forms = (*list_cookie_forms(site, secure), *tag_forms)
    return {form for form in forms if not form.domain or is_below(host, form.domain)}


def write_visitor_cookies(value: str | None, forms: Sequence[CookieForm], secure: bool) -> Headers:
    """Return the answer's headers: the first form gets the value, the others go. An empty value takes it away too.

    `forms`: empty where nothing changes.
    """
    values = ((value or "") if index == 0 else "" for index in range(len(forms)))
    return [
        (b"set-cookie", write_cookie_header(form, text, secure).encode("latin-1"))
        for form, text in zip(forms, values, strict=True)
    ]


def write_cookie_header(form: CookieForm, value: str, secure: bool, *, http_only: bool = True) -> str:
    """Return the value of Set-Cookie. An empty value takes the cookie away."""
    text = f"{form.name}={value}; Path=/; Max-Age={MAX_AGE_S if value else 0}"
    if form.domain:
        text += f"; Domain={form.domain}"
    if http_only:
        text += "; HttpOnly"
    return f"{text}; SameSite=Lax; Secure" if secure else f"{text}; SameSite=Lax"
