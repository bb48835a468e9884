"""Tagged links: the signed token that says whom a link was sent to.

A token is `<key id>.<payload>.<signature>`, signed with the instance's link keys under a salt of its own. The payload
is readable by anyone: it carries a customer reference and never an e-mail address, and a test holds it so. It is
bound to an identity space, expires, and has an id (`jti`); whoever counts tokens counts that id, never the token's
text, which can be written in more than one way. A token is a bearer token and gets forwarded: it proves that a link
was followed, not who followed it. See `accept.identify` for what it may do.
"""

from __future__ import annotations

import re
import secrets
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from itsdangerous import BadData, URLSafeSerializer

from collector.identity.identifiers import EMAIL, is_blocked
from collector.keyring import Keyring
from collector.sites.book import DEFAULT_SPACE

SALT = b"tagstitch.link"
MAX_TOKEN_CHARS = 1024
MAX_REFERENCE_CHARS = 128
MAX_LABEL_CHARS = 64
DEFAULT_KIND = "customer"
DEFAULT_DAYS = 90
CLOCK_SKEW_S = 300

# What a token is written with. base64's reader skips all else, and stops at a `=`: without this check a true token
# could be carried on with anything, line feeds included, into the address that we redirect to.
_FORM = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_TOKEN_CHARS}}}")


class LinkToken(NamedTuple):
    """What a valid token says. Times in seconds since 1970."""

    token_id: str
    value: str  # the customer reference
    issued_s: int
    expires_s: int
    kind: str = DEFAULT_KIND
    campaign: str = ""
    message: str = ""
    link: str = ""
    space_id: str = DEFAULT_SPACE
    target: str = ""


class LinkProblem(NamedTuple):
    """Why a token does not count: `forged` or `expired`. An expired one still tells its verified target."""

    reason: str
    target: str = ""


def mint_link(
    keyring: Keyring,
    value: str,
    *,
    now_s: int,
    days: float = DEFAULT_DAYS,
    kind: str = DEFAULT_KIND,
    campaign: str = "",
    message: str = "",
    link: str = "",
    space_id: str = DEFAULT_SPACE,
    target: str = "",
) -> str:
    """Return a fresh token for the customer reference `value`.

    `target`: where `/l/<token>` leads; leave it out where the token stands in the page's own address. Raises
    ValueError, with a message for the one who mints, where a part cannot be used.
    """
    value = value.strip()
    if not value or len(value) > MAX_REFERENCE_CHARS or not value.isprintable() or is_blocked(value):
        raise ValueError("the customer reference must name one customer in 1 to 128 characters")
    if EMAIL.search(value) or "@" in value:
        raise ValueError("the customer reference looks like an e-mail address, and a link can be read by anyone")
    for name, label in (("campaign", campaign), ("message", message), ("link", link)):
        if len(label) > MAX_LABEL_CHARS or not label.isprintable() or "@" in label:
            raise ValueError(f"the {name} must have at most {MAX_LABEL_CHARS} printable characters and no @")
    if not 0 < days <= 3660:
        raise ValueError("a link must live longer than 0 and at most 3660 days")
    if target and not is_safe_target(target):
        raise ValueError("the target must be an absolute http or https address without user name")
    fields: list[str | int] = [
        secrets.token_urlsafe(8),
        value,
        now_s,
        max(1, round(days * 86_400)),
        campaign,
        message,
        link,
        "" if kind == DEFAULT_KIND else kind,
        "" if space_id == DEFAULT_SPACE else space_id,
        target,
    ]
    while fields[-1] == "":
        fields.pop()
    key = keyring.link_keys[0]
    token = f"{key.id}.{_serializer(key.secret).dumps(fields)}"
    if len(token) > MAX_TOKEN_CHARS:
        raise ValueError(
            f"the link's token has {len(token)} characters, more than {MAX_TOKEN_CHARS}: shorten the target"
        )
    return token


def read_link(keyring: Keyring, token: str, now_s: int) -> LinkToken | LinkProblem:
    """Verify a token and return what it says, or why it does not count. Never raises."""
    if not _FORM.fullmatch(token):
        return LinkProblem("forged")
    key_id, _, signed = token.partition(".")
    key = next((key for key in keyring.link_keys if key.id == key_id), None)
    if key is None:
        return LinkProblem("forged")
    try:
        fields = _serializer(key.secret).loads(signed)
    except BadData:
        return LinkProblem("forged")
    parsed = _parse(fields)
    if parsed is None or parsed.issued_s > now_s + CLOCK_SKEW_S:
        return LinkProblem("forged")
    if parsed.expires_s <= now_s:
        return LinkProblem("expired", parsed.target)
    return parsed


def _parse(fields: object) -> LinkToken | None:
    """Return the token from its verified fields. An older or newer program may have signed another form."""
    if not isinstance(fields, list) or not 4 <= len(fields) <= 10:
        return None
    token_id, value, issued_s, lifetime_s, *rest = fields
    texts = [token_id, value, *rest]
    if not all(isinstance(text, str) for text in texts) or not all(type(n) is int for n in (issued_s, lifetime_s)):
        return None
    campaign, message, link, kind, space_id, target = [*rest, "", "", "", "", "", ""][:6]
    return LinkToken(
        token_id,
        value,
        issued_s,
        issued_s + lifetime_s,
        kind or DEFAULT_KIND,
        campaign,
        message,
        link,
        space_id or DEFAULT_SPACE,
        target if is_safe_target(target) else "",
    )


def add_token(url: str, token: str, parameter: str = "lt") -> str:
    """Return the address with the token as a parameter, in place of an earlier one; the rest stays as it was."""
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] != parameter]
    return urlunsplit(parts._replace(query="&".join([*kept, f"{parameter}={token}"])))


def is_safe_target(url: str) -> bool:
    """Whether a redirect may lead there: absolute http(s), a plain host, nothing that browsers read differently."""
    if not url or len(url) > 2048 or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises ValueError where it is no number
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not url.startswith(f"{parts.scheme}://"):
        return False
    return bool(parts.hostname) and "@" not in parts.netloc and not parts.netloc.startswith((".", ":"))


@lru_cache(maxsize=32)
def _serializer(secret: str) -> URLSafeSerializer:
    return URLSafeSerializer(secret, salt=SALT, signer_kwargs={"digest_method": sha256, "key_derivation": "hmac"})
