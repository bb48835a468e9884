"""The lines that a site owner puts into the head of every page, as `tagstitch snippet` prints them.

Two script elements. The first keeps calls until the tag has loaded, and takes the token of a tagged link off the
address bar before any other script runs; the second loads the tag. Text only: nothing here reads a site or a store.
"""

from __future__ import annotations

import re
from html import escape
from posixpath import dirname

from collector.config import Config
from collector.errors import ConfigError
from collector.tag_builds import STATIC, TAG, read_build, versioned_path

NONCE = "{{ nonce }}"
"""Stands where the site's template puts its nonce."""

# `u` keeps the address for the tag, token included. The pattern is that of tag_js/src/link.ts.
_INLINE = (
    (
        "(function(w,l,n){"
        "w[n]=w[n]||function(){(w[n].q=w[n].q||[]).push(arguments)};"
        "var h=w[n].u=l.href,c=h.replace(/([?&])%s=[\\w.~-]{20,}(&|(?=#|$))/,(m,a,b)=>b&&a);"
        'c==h||history.replaceState(history.state,"",c)'
        '})(window,location,"tagstitch")'
    )
    .replace("{{", "{")
    .replace("}}", "}")
)


def make_snippet(
    config: Config,
    site_id: str,
    *,
    base_url: str = "",
    versioned: bool = False,
    consent: str = "required",
    nonce: bool = False,
) -> str:
    """Return the HTML of the snippet.

    `base_url`: where the collector is, `https://shop.example`; empty: on the site's own origin. `versioned`: the
    immutable path with `integrity`; then the page stays with this build until the snippet is changed. `consent`: the
    site's preset. `nonce`: put the place for a nonce. Raises ConfigError for a preset or a base URL that is none.
    """
    if consent not in ("required", "implied", "off"):
        raise ConfigError("consent", "snippet", f"is required, implied or off, not {consent!r}")
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
    attributes["data-site"] = site_id
    if config.beacon_path != f"{dirname(config.tag_path).rstrip('/')}/b":
        attributes["data-endpoint"] = base + config.beacon_path
    if consent != "required":
        attributes["data-consent"] = consent
    if config.link_parameter != "lt":
        attributes["data-link"] = config.link_parameter

    mark = f' nonce="{NONCE}"' if nonce else ""
    listed = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    inline = _INLINE.replace("%s", config.link_parameter)
    return f"<script{mark}>{inline}</script>\n<script async{mark}{listed}></script>\n"
