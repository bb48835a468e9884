"""The lines that a site owner puts into the head of every page, as `tagstitch snippet` prints them.

Two script elements. The first keeps calls until the tag has loaded, and takes off the address bar what stands there for
the tag alone, before any other script runs: the token of a tagged link, the hand-over from another domain, and the
parameters that the site captures. The second loads the tag, with what the site's row says as data attributes. Text
only: nothing here reads a store.
"""

from __future__ import annotations

import re
from html import escape
from posixpath import dirname

import msgspec

from collector.config import Config
from collector.errors import ConfigError
from collector.sites.book import Site
from collector.sites.cookies import TAG_COOKIE, name_tag_cookie
from collector.sites.validate import CONSENT_PRESETS, list_captures
from collector.tag_builds import STATIC, TAG, read_build, versioned_path

NONCE = "{{ nonce }}"
"""Stands where the site's template puts its nonce."""

HANDOVER = "_tsh"
"""URL parameter that hands a visitor over from another domain; the tag's own default."""

# `u` keeps the address for the tag, parameters included. The pattern takes runs of ours, so that what stands between
# them and after them keeps its `?` and its `&`; the fragment is somebody else's. A token has a form, so that a short
# value under the same name stays; what the site captures may be anything. The tag does the same (tag_js/src/address.ts)
# where it comes first. The prototype's own function: others may have put theirs on `history`, and would see the rest.
_INLINE = (
    "((w,n,h)=>{"
    "w[n]=w[n]||function(){(w[n].q=w[n].q||[]).push(arguments)};"
    "var u=w[n].u=location.href,c=u.replace(/#.*|([?&])(?:@ours(&|(?=#|$)))+/g,(m,a,b)=>a?b&&a:m);"
    'c==u||History.prototype.replaceState.call(h,h.state,"",c)'
    '})(window,"tagstitch",history)'
)


def make_snippet(
    config: Config,
    site: Site | str,
    *,
    base_url: str = "",
    versioned: bool = False,
    consent: str = "",
    nonce: bool = False,
) -> str:
    """Return the HTML of the snippet.

    `site`: the site's row; an id alone stands for a site with default settings. `base_url`: where the collector is,
    `https://shop.example`; empty: on the site's own origin. `versioned`: the immutable path with `integrity`; then the
    page stays with this build until the snippet is changed. `consent`: a preset instead of the site's. `nonce`: put the
    place for a nonce. Raises ConfigError for a preset or a base URL that is none.
    """
    if isinstance(site, str):
        site = Site(site_id=site)
    if consent:
        site = msgspec.structs.replace(site, consent=consent)
    if site.consent not in CONSENT_PRESETS:
        raise ConfigError("consent", "snippet", f"is one of {', '.join(CONSENT_PRESETS)}, not {site.consent!r}")
    base = base_url.rstrip("/")
    if base and not re.fullmatch(r"https?://[^/\s\"'<>]+(/[^\s\"'<>]*)?", base):
        raise ConfigError("base_url", "snippet", "is an address such as https://shop.example")

    # The browser may ask for the tag before the first script runs: its referrer must not carry the token into a log.
    attributes: dict[str, str] = {"referrerpolicy": "origin", "src": base + config.tag_path}
    if versioned:
        build = read_build(STATIC)
        file = build.find_file(TAG)
        attributes["src"] = base + versioned_path(config.tag_path, build.version, file)
        attributes["integrity"] = file.integrity
        attributes["crossorigin"] = "anonymous"
    attributes |= list_attributes(config, site, base)

    mark = f' nonce="{NONCE}"' if nonce else ""
    listed = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    inline = _INLINE.replace("@ours", _write_pattern(config, site))
    return f"<script{mark}>{inline}</script>\n<script async{mark}{listed}></script>\n"


def list_attributes(config: Config, site: Site, base: str = "") -> dict[str, str]:
    """Return the data attributes that say the site's settings, those left out that are the tag's own defaults."""
    endpoint = "" if config.beacon_path == f"{dirname(config.tag_path).rstrip('/')}/b" else base + config.beacon_path
    given = (
        ("endpoint", endpoint, ""),
        ("consent", site.consent, "required"),
        ("consent-from", site.consent_from, ""),
        ("auto", site.auto, ""),
        ("capture", " ".join(site.capture), ""),
        ("domains", " ".join(site.linked_domains), ""),
        ("cookie", name_tag_cookie(site), TAG_COOKIE),
        ("cookie-domain", site.cookie_domain, ""),
        ("session-minutes", str(site.session_minutes), "30"),
        ("link", config.link_parameter, "lt"),
    )
    return {"data-site": site.site_id} | {f"data-{name}": value for name, value, default in given if value != default}


def _write_pattern(config: Config, site: Site) -> str:
    """Return the pattern of one of our parameters with its value, in JavaScript's form."""
    tokens = rf"(?:{config.link_parameter}|{HANDOVER})=[\w.~-]{{20,}}"
    captured = dict.fromkeys(name for _, source, name in list_captures(site) if source == "param")
    if not captured:
        return tokens
    names = "|".join(re.sub(r"[.\[\]]", r"\\\g<0>", name) for name in captured)
    return rf"(?:{tokens}|(?:{names})=[^&#]*)"
