"""Step `minimise`: addresses and texts without what they should not carry.

An address keeps origin, path and the parameters on a list: campaign, click ids and what the site names. User name,
password, fragment and every other parameter go. In path, title, event names and properties whatever looks like an
e-mail address, a JSON web token, a tagged link's token, a long random token, or is the client's own network address,
becomes `[removed]`.
A UUID stays: products and orders are named so. How many values were removed, and where, is noted on the beacon.
"""

from __future__ import annotations

import re
from string import ascii_letters, digits
from typing import Any
from urllib.parse import unquote, unquote_plus

import msgspec

from collector.event import NIL_ID, Beacon, Context, Envelope, Rejected, WireEvent
from collector.links.token import replace_tokens
from collector.sites.book import Site

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

MOST_CHANGES = 7
MOST_AT_SIGNS = 32
MAX_PARAMETERS = 64
MAX_PARAMETER_CHARS = 512
MAX_SEGMENTS = 32

_AT = re.compile(r"@|%40")
_MAILBOX = re.compile(r"[^\s@/?&=:;,<>()\"'\[\]]+\Z")
_MAIL_HOST = re.compile(r"[\w.-]+")
_DOTTED_RUN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*")
_RUN = re.compile(r"[A-Za-z0-9_+-]{32,}={0,2}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I)
_LETTER_MEETS_DIGIT = re.compile(r"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://")
_HOST = re.compile(r"[^\s@/?#\\]{1,255}")
_SHORT_URL = re.compile(r"https?://[a-z0-9.-]{1,200}(?::[0-9]{1,5})?/[^?#;\s]*")
"""An address that `clean_url` leaves as it is, in a beacon that is harmless."""
_RUNS_TO_A = bytes(97 if chr(byte) in f"{ascii_letters}{digits}_+-" else 32 for byte in range(256))
_ENCODE = msgspec.json.Encoder().encode
_LONG_RUN = b"a" * 32
_is_uuid = re.compile(_UUID.pattern.encode(), re.I).fullmatch


def minimise(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Clean the addresses and texts of the envelope and of every event."""
    envelope = beacon.envelope
    # This machine's own address says nothing about anybody, and on it sites are tried out.
    address = "" if context.address.startswith(("127.", "::1")) else context.address
    parameters = list_kept_parameters(beacon.site, context.link_parameter)
    if not (envelope.link_token or beacon.is_cookieless) and f"{context.link_parameter}=".encode() in beacon.body:
        beacon.link_in_address = _find_link(envelope, context.link_parameter)
    if beacon.is_plain and is_harmless(beacon, address) and not _names_link_key(beacon, context):
        _shorten_addresses(beacon, parameters)
        return beacon
    _clean_page(beacon, envelope, parameters, address)
    for event in envelope.events:
        name = clean_text(event.name, address)
        _count(beacon, "name", event.name, name)
        event.name = name
        _clean_page(beacon, event, parameters, address)
        if event.props:
            props = clean_props(event.props, address)
            if props != event.props:
                _count(beacon, "properties", _ENCODE(event.props).decode(), _ENCODE(props).decode())
            event.props = props
    return beacon


def _names_link_key(beacon: Beacon, context: Context) -> bool:
    """Whether a tagged link's token may stand in the body: it begins with the id of the key that signed it."""
    return any(f"{key.id}.".encode() in beacon.body for key in context.keyring.link_keys)


def list_kept_parameters(site: Site, link_parameter: str) -> frozenset[str]:
    """Return the parameters that stay in a site's addresses; a tagged link's token never does."""
    return _KEPT.union(site.url_parameters) - {link_parameter} if site.url_parameters else _KEPT


def find_parameter(url: str, parameter: str) -> str | None:
    """Return the value of an address's parameter as it stands there, or None where it has none."""
    for pair in url.partition("#")[0].partition("?")[2].split("&", MAX_PARAMETERS)[:MAX_PARAMETERS]:
        name, _, value = pair.partition("=")
        if name == parameter:
            return value
    return None


def _find_link(envelope: Envelope, parameter: str) -> str | None:
    """Return what stands where a link's token should, with what comes first on a page, before it is taken away.

    The tag takes tokens off the address: what still stands there is none, or the page has no script.
    """
    for event in envelope.events:
        if event.sequence <= 1:
            return find_parameter(event.url or envelope.url, parameter)
    return None


def _clean_page(beacon: Beacon, page: Envelope | WireEvent, parameters: frozenset[str], address: str) -> None:
    """Clean the addresses and the title that an envelope and an event both have."""
    if page.url:
        url = clean_url(page.url, parameters, address)
        _count(beacon, "url", page.url, url)
        page.url = url
    if page.referrer:
        referrer = clean_url(page.referrer, parameters, address)
        _count(beacon, "referrer", page.referrer, referrer)
        page.referrer = referrer
    if page.title:
        title = clean_text(page.title, address)
        _count(beacon, "title", page.title, title)
        page.title = title


def _count(beacon: Beacon, place: str, before: str, after: str) -> None:
    """Note how many values were removed. Whoever judges the beacon counts them, or does not."""
    if REMOVED in after:
        removed = after.count(REMOVED) - before.count(REMOVED)
        if removed > 0:
            beacon.removed[place] = beacon.removed.get(place, 0) + removed


def is_harmless(beacon: Beacon, address: str) -> bool:
    """Whether the body as it came shows that no text in it has anything for `clean_text` to remove.

    A few searches through the bytes in place of several through each text; most beacons pass, and False says nothing.
    Without a backslash every text stands in the body as it is. Long runs of token characters are counted: the beacon's
    own ids are such runs, one each; as many runs as ids mean that there is no other. Where there is, as in the address
    of many an article, each is judged.
    """
    body, envelope = beacon.body, beacon.envelope
    if b"@" in body or b"%" in body or b"\\" in body or b"\x7f" in body or b"eyJ" in body:
        return False
    if address and address.encode("utf-8", "replace") in body:
        return False
    if not body.isascii() and (b"\xc2" in body or b"\xe2\x80\xa8" in body or b"\xe2\x80\xa9" in body):
        return False  # where control characters of Unicode would begin
    session = beacon.row.session_id != NIL_ID  # one that is no UUID may be no run either, and is not counted
    ids = len(envelope.events) + bool(envelope.visitor_id) + bool(envelope.reset_from) + session
    if body.translate(_RUNS_TO_A).count(_LONG_RUN) == ids:
        return True
    telling = _count_telling_runs(body)
    if telling:
        telling -= sum([_count_telling_runs(text.encode("utf-8", "replace")) for text in _list_queries(envelope)])
    if telling:
        telling -= sum([_count_telling_runs(text.encode("utf-8", "replace")) for text in _list_identifiers(envelope)])
    return not telling


def _list_queries(envelope: Envelope) -> list[str]:
    """Return the parameters of all addresses: with click ids, most likely. `clean_url` judges each of them."""
    pages: list[Envelope | WireEvent] = [envelope, *envelope.events]
    addresses = [address for page in pages for address in (page.url, page.referrer) if "?" in address]
    return [address.partition("?")[2] for address in addresses]


def _list_identifiers(envelope: Envelope) -> list[str]:
    """Return what identifiers consist of: signatures, most likely. They are not this step's business."""
    found = [identifier for event in envelope.events for identifier in event.identifiers]
    return [text for each in found for text in (each.kind, each.value, each.signature, each.token, each.nonce)]


def _count_telling_runs(text: bytes) -> int:
    """Return how many long runs of token characters there are that `clean_text` would remove."""
    marked = text.translate(_RUNS_TO_A)
    telling = 0
    start = marked.find(_LONG_RUN)
    while start >= 0:
        end = marked.find(b" ", start)
        end = end if end >= 0 else len(marked)
        if not _is_uuid(text, start, end):
            telling += _is_telling(text[start:end].decode("ascii"))
        start = marked.find(_LONG_RUN, end)
    return telling


def _shorten_addresses(beacon: Beacon, parameters: frozenset[str]) -> None:
    """Clean the addresses of a harmless beacon."""
    envelope = beacon.envelope
    if envelope.url and not _SHORT_URL.fullmatch(envelope.url):
        url = clean_url(envelope.url, parameters)
        _count(beacon, "url", envelope.url, url)
        envelope.url = url
    if envelope.referrer and not _SHORT_URL.fullmatch(envelope.referrer):
        envelope.referrer = clean_url(envelope.referrer, parameters)
    for event in envelope.events:
        if event.url and not _SHORT_URL.fullmatch(event.url):
            event.url = clean_url(event.url, parameters)
        if event.referrer and not _SHORT_URL.fullmatch(event.referrer):
            event.referrer = clean_url(event.referrer, parameters)


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
        return clean_text(path, address)
    segments = path.split("/", MAX_SEGMENTS)  # what is left after that many is one more
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
        # A click id is a long token by nature; an e-mail address in its place goes all the same.
        if clean_text(plain, address, keeps_tokens=name in CLICK_IDS) != plain:
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
    """Return properties with clean keys and values, at any depth. Nests no deeper than `validate` allows.

    A dot in a key becomes an underscore: to ClickHouse `a.b` is the same path as `a: {b}`, and a row with both would
    not load. Keys that fall together are told apart by a number at their end.
    """
    cleaned: dict[str, Any] = {}
    copies: dict[str, int] = {}
    for key, value in props.items():
        if isinstance(value, str):
            value = clean_text(value, address)
        elif isinstance(value, dict):
            value = clean_props(value, address)
        elif isinstance(value, list):
            value = _clean_list(value, address)
        key = clean_text(key, address)
        if "." in key:
            key = key.replace(".", "_")
        name = key
        while name in cleaned:  # the count goes on where it was: many equal keys cost no more than others
            copies[key] = copies.get(key, 1) + 1
            name = f"{key}_{copies[key]}"
        cleaned[name] = value
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


def clean_text(text: str, address: str = "", *, keeps_tokens: bool = False) -> str:
    """Return the text with what looks like an e-mail address, a token or the client's address removed.

    Takes time in proportion to the text, whatever it is: none of the patterns can be made to try again and again.
    """
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    if address and address in text:
        text = text.replace(address, REMOVED)
    if "eyJ" in text:
        text = _DOTTED_RUN.sub(_judge_dotted_run, text)
    if "@" in text or "%40" in text:
        text = _remove_mail_addresses(text)
    text = replace_tokens(text, REMOVED)
    if len(text) >= 32 and not keeps_tokens:
        text = _RUN.sub(_judge_run, text)
    return text


def _remove_mail_addresses(text: str) -> str:
    if text.count("@") + text.count("%40") > MOST_AT_SIGNS:
        return REMOVED  # a list of addresses, or nonsense that would cost time
    kept: list[str] = []
    done = 0
    for at in _AT.finditer(text):
        if at.start() < done:
            continue
        mailbox = _MAILBOX.search(text[max(done, at.start() - 64) : at.start()])
        host = _MAIL_HOST.match(text, at.end(), at.end() + 253)
        if mailbox is None or host is None:
            continue
        name = host.group().rstrip(".-")
        if "." not in name[1:-2]:
            continue
        kept += (text[done : at.start() - len(mailbox.group())], REMOVED)
        done = at.end() + len(name)
    return "".join(kept) + text[done:]


def _judge_dotted_run(match: re.Match[str]) -> str:
    """Remove a JSON web token: from its `eyJ` to the end of the run."""
    run = match.group()
    start = run.find("eyJ")
    return run[:start] + REMOVED if start >= 0 and "." in run[start + 8 :] else run


def _judge_run(match: re.Match[str]) -> str:
    """Remove a long run that no person wrote: letters and digits change over all the time. A UUID does not count."""
    run = match.group()
    return REMOVED if _is_telling(run) else run


def _is_telling(run: str) -> bool:
    return len(_LETTER_MEETS_DIGIT.findall(_UUID.sub("", run))) >= MOST_CHANGES
