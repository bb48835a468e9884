"""Step `minimise`: addresses and texts without what they should not carry.

An address keeps origin, path and the parameters on a list: campaign, click ids and what the site names. User name,
password, fragment and every other parameter go. In path, title, event names and properties whatever looks like an
e-mail address, a JSON web token, a long random token, or is the client's own network address, becomes `[removed]`.
A UUID stays: products and orders are named so.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, unquote_plus

from collector.accept.context import EdgeContext
from collector.event import Beacon, Rejected

REMOVED = "[removed]"

CAMPAIGN_PARAMETERS = frozenset(
    ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id", "utm_source_platform")
)
CLICK_IDS = frozenset(
    (
        *("gclid", "gclsrc", "dclid", "gbraid", "wbraid", "fbclid", "msclkid", "twclid", "ttclid", "li_fat_id"),
        *("mc_cid", "igshid", "rdt_cid", "epik", "qclid", "sccid", "irclid", "yclid"),
    )
)
"""Click ids of advertising systems. Ids of a single mail's reader (mc_eid, _kx …) are not among them."""
_KEPT = CAMPAIGN_PARAMETERS | CLICK_IDS

MAX_PARAMETERS = 64
MAX_PARAMETER_CHARS = 512

_EMAIL = re.compile(
    r"[^\s@/?&=:;,<>()\"'\[\]]{1,64}(?:@|%40)[^\s@/?&=:;,<>()\"'\[\]]+\.[^\s@/?&=:;,<>()\"'\[\]]{2,63}", re.I
)
_JWT = re.compile(r"eyJ[\w-]{6,}(?:\.[\w-]*){1,4}")
_RUN = re.compile(r"[A-Za-z0-9_=+-]{32,}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I)
_DIGITS_IN_LETTERS = re.compile(r"(?<=[A-Za-z])[0-9]+|[0-9]+(?=[A-Za-z])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://")
_HOST = re.compile(r"[^\s@/?#\\]{1,255}")


def minimise(beacon: Beacon, context: EdgeContext) -> Beacon | Rejected:
    """Clean the addresses and texts of the envelope and of every event."""
    envelope, address = beacon.envelope, context.address
    parameters = _KEPT
    if beacon.site.url_parameters:
        parameters = _KEPT.union(beacon.site.url_parameters) - {context.link_parameter}
    envelope.url = clean_url(envelope.url, parameters, address)
    envelope.referrer = clean_url(envelope.referrer, parameters, address)
    envelope.title = clean_text(envelope.title, address)
    for event in envelope.events:
        event.name = clean_text(event.name, address)
        if event.url:
            event.url = clean_url(event.url, parameters, address)
        if event.referrer:
            event.referrer = clean_url(event.referrer, parameters, address)
        if event.title:
            event.title = clean_text(event.title, address)
        if event.props:
            event.props = clean_props(event.props, address)
    return beacon


def clean_url(url: str, parameters: frozenset[str], address: str = "") -> str:
    """Return origin, path and listed parameters of an absolute address; "" where it is none.

    Written by hand: the library's parser takes five times as long and mends what we would rather refuse.
    """
    if not url:
        return ""
    url = _CONTROL.sub("", url).strip().replace("\\", "/")
    scheme = _SCHEME.match(url)
    if scheme is None:
        return ""
    rest = url[scheme.end() :].partition("#")[0]
    rest, _, query = rest.partition("?")
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2]
    if not _HOST.fullmatch(host):
        return ""
    cleaned = f"{scheme.group().lower()}{host.lower()}/{clean_path(path, address) if slash else ''}"
    kept = _clean_query(query, parameters, address) if query else ""
    if address and address in cleaned:
        cleaned = cleaned.replace(address, REMOVED)
    return f"{cleaned}?{kept}" if kept else cleaned


def clean_path(path: str, address: str = "") -> str:
    """Return the path with its telling segments removed; segments count as telling in decoded form as well."""
    if "%" not in path:
        return clean_text(path, address) if _is_suspicious(path) else path
    segments = path.split("/")
    for index, segment in enumerate(segments):
        plain = _decode(segment)
        if clean_text(plain, address) != plain or clean_text(segment, address) != segment:
            segments[index] = REMOVED
    return "/".join(segments)


def _clean_query(query: str, parameters: frozenset[str], address: str) -> str:
    kept = []
    for pair in query.replace(";", "&").split("&", MAX_PARAMETERS)[:MAX_PARAMETERS]:
        name, _, value = pair.partition("=")
        if name not in parameters or not value:
            continue
        value = value[:MAX_PARAMETER_CHARS]
        plain = unquote_plus(_decode(value)) if "%" in value else value
        # A click id is a long token by nature; it may hold no address of a person all the same.
        is_telling = bool(_EMAIL.search(plain) or _JWT.search(plain)) or bool(address and address in plain)
        if is_telling or (name not in CLICK_IDS and clean_text(plain) != plain):
            value = REMOVED
        kept.append(f"{name}={value}")
    return "&".join(kept)


def _decode(text: str) -> str:
    """Undo percent encoding, up to three layers of it."""
    for _ in range(3):
        plain = unquote(text)
        if plain == text:
            break
        text = plain
    return text


def clean_props(props: dict[str, Any], address: str = "") -> dict[str, Any]:
    """Return properties with clean keys and values, at any depth. Nests no deeper than `validate` allows."""
    cleaned: dict[str, Any] = {}
    for key, value in props.items():
        if isinstance(value, str):
            value = clean_text(value, address)
        elif isinstance(value, dict):
            value = clean_props(value, address)
        elif isinstance(value, list):
            value = _clean_list(value, address)
        cleaned[clean_text(key, address)] = value
    return cleaned


def _clean_list(values: list[Any], address: str) -> list[Any]:
    return [
        clean_text(value, address)
        if isinstance(value, str)
        else clean_props(value, address)
        if isinstance(value, dict)
        else _clean_list(value, address)
        if isinstance(value, list)
        else value
        for value in values
    ]


def clean_text(text: str, address: str = "") -> str:
    """Return the text with what looks like an e-mail address, a token or the client's address removed."""
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    if address and address in text:
        text = text.replace(address, REMOVED)
    if not _is_suspicious(text):
        return text
    text = _JWT.sub(REMOVED, text)
    text = _EMAIL.sub(REMOVED, text)
    return _RUN.sub(_judge_run, text)


def _is_suspicious(text: str) -> bool:
    return len(text) >= 32 or "@" in text or "eyJ" in text or "%40" in text


def _judge_run(match: re.Match[str]) -> str:
    """Remove a long run that no person wrote: hexadecimal, or letters with digits strewn in."""
    run = match.group()
    groups = len(_DIGITS_IN_LETTERS.findall(_UUID.sub("", run)))
    return REMOVED if groups >= 4 else run
