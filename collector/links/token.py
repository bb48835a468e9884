"""The token of a tagged link: whom it was sent to and with which message, signed, in some 60 to 100 characters.

    m1a2b.ID.REFERENCE.ISSUED.LIFETIME.CAMPAIGN.MESSAGE.LINK.MARKS.IDENTIFIER KIND.SPACE.TARGET.SIGNATURE

The first letter is the kind of link, the four after it the key's id. Empty fields at the end are left out; times are
minutes in base 36. Only letters, digits, `-`, `_` and `.` stand in a token: mail programs, link shorteners and click
counters leave these as they are. Other signs are written with `_`, see `escape_text`. The signature is HMAC-SHA256 by
itsdangerous under a salt of its own, cut to 128 bits, the most that RFC 2104 (section 5) lets go: 22 characters, not
43. With a capital as its first letter a token is sealed: all behind the first dot is encrypted by AES-SIV (RFC 5297,
whose tag of 128 bits is the signature), for who does not want a reference to be read from an address.

A token carries a customer's reference, never an e-mail address or a phone number: of such kinds it carries the space's
keyed pseudonym. It is a bearer token and gets forwarded: it proves that a link was followed, not who followed it. See
`accept.links` for what it may do. Every text other than the one that was minted is refused, and whoever counts or
revokes tokens goes by the id inside: a token is one however it may be written.
"""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from itsdangerous import Signer
from itsdangerous.signer import SigningAlgorithm

from collector.identity.identifiers import MAX_VALUE_CHARS
from collector.keyring import Keyring, LinkKey
from collector.links.targets import is_safe_target
from collector.sites.book import DEFAULT_SPACE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

SALT = b"tagstitch.link"
SEALED_SALT = b"tagstitch.link.sealed"
SIGNATURE_BYTES = 16
SIGNATURE_CHARS = 22
MAX_TOKEN_CHARS = 1024
DEFAULT_KIND = "customer"
CLOCK_SKEW_S = 60
TOKEN_ID_CHARS = 11
"""Length of a token's id: 64 random bits in base64."""


class LinkKind(StrEnum):
    """What a link is for. The first letter stands in the token."""

    MESSAGE = "message"  # one mailing: campaign, message and link inside
    RECIPIENT = "recipient"  # a customer's reference alone, kept as a field in the mailing system
    UNSUBSCRIBE = "unsubscribe"  # takes the consent to marketing back; works for ever
    PREFERENCES = "preferences"  # shows that consent, and changes it; works for ever


KINDS = {kind[0]: kind for kind in LinkKind}
LASTING = frozenset((LinkKind.UNSUBSCRIBE, LinkKind.PREFERENCES))
"""Kinds that work whatever has expired or was revoked: whoever wants no more mail must not need a new one for it."""

# Marks: the wire's letters of what the recipient has consented to, and these.
PSEUDONYM_MARK, TEST_MARK = "P", "T"

_FORM = re.compile(rf"[mrupMRUP][0-9a-z]{{1,16}}\.[A-Za-z0-9_.-]{{1,{MAX_TOKEN_CHARS - 32}}}")
_DOTTED = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)+")
_HEAD = re.compile(r"[mrup][0-9a-z]{1,16}")
_ODD = re.compile(r"[^A-Za-z0-9-]")
_ESCAPED = re.compile(r"_([a-z]|[0-9A-F]{2})")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_FIELDS = 11
# One letter for what stands in addresses and names; two hexadecimal digits for each byte of all else.
_SHORT = {"_": "u", ".": "d", ":": "c", "/": "s", "?": "q", "=": "e", "&": "a", "%": "p", "+": "x", "#": "h", " ": "w"}
_LONG = {letter: sign.encode() for sign, letter in _SHORT.items()}
_SECURE, _PLAIN = "https://", "http://"
_PLAIN_MARK = "-"
"""Before a target's host in place of `http://`; of `https://` nothing is written."""


class LinkToken(NamedTuple):
    """What a verified token says. Times in seconds since 1970."""

    kind: LinkKind
    key_id: str
    token_id: str
    reference: str  # the customer's, or a pseudonym of it
    issued_s: int
    expires_s: int  # 0: never
    campaign: str = ""
    message: str = ""
    link: str = ""
    identifier_kind: str = DEFAULT_KIND
    is_pseudonym: bool = False
    consent: str = ""  # the wire's letters of what the recipient had consented to when the link was minted
    is_test: bool = False
    space_id: str = DEFAULT_SPACE
    target: str = ""


class LinkProblem(NamedTuple):
    """Why a token ties nobody: `forged`, `expired` or `early` (before it was to be sent). The latter two are verified,
    and `token` says what stands in them."""

    reason: str
    token: LinkToken | None = None


def read_link(keyring: Keyring, text: str, now_s: int) -> LinkToken | LinkProblem:
    """Verify a token and return what it says, or why it does not count. Never raises."""
    if len(text) > MAX_TOKEN_CHARS or not _FORM.fullmatch(text):
        return LinkProblem("forged")
    head, _, rest = text.partition(".")
    key_id = head[1:]
    key = next((key for key in keyring.link_keys if key.id == key_id), None)
    if key is None:
        return LinkProblem("forged")
    said = _unseal(key, head, rest) if head[0].isupper() else _verify(key, text)
    token = None if said is None else _parse(head, said)
    if token is None:
        return LinkProblem("forged")
    if token.kind in LASTING:
        return token
    if token.issued_s > now_s + CLOCK_SKEW_S:
        return LinkProblem("early", token)
    if 0 < token.expires_s <= now_s or 0 < key.until_ms <= now_s * 1000:
        return LinkProblem("expired", token)
    return token


def holds_token(text: str) -> bool:
    """Whether something in the text has the form of a signed token, whoever has signed it. In linear time.

    A sealed one is a long run of letters and digits, which `accept.minimise` removes as such.
    """
    return replace_tokens(text, "") != text


def replace_tokens(text: str, by: str) -> str:
    """Return the text with something else in place of all that has the form of a signed token. In linear time."""
    return _DOTTED.sub(lambda run: by if _is_token(run.group()) else run.group(), text) if text.count(".") > 2 else text


def _is_token(run: str) -> bool:
    head, token_id, *rest = run.split(".")
    is_begun = len(token_id) == TOKEN_ID_CHARS and _HEAD.fullmatch(head) is not None
    return is_begun and any(len(field) == SIGNATURE_CHARS for field in rest[1:])


def write_fields(token_id: str, reference: str, *rest: str) -> str:
    """Return the fields of a token as they are signed. `rest`: escaped already, from the time of issue on."""
    return ".".join((token_id, escape_text(reference), *rest)).rstrip(".")


def write_facts(token: LinkToken) -> tuple[str, ...]:
    """Return all fields behind the reference as they are signed. They are the same for all links of one minting."""
    lifetime_s = token.expires_s - token.issued_s if token.expires_s else 0
    marks = token.consent + PSEUDONYM_MARK * token.is_pseudonym + TEST_MARK * token.is_test
    return (
        write_number(token.issued_s // 60),
        write_number(lifetime_s // 60),
        *(escape_text(text) for text in (token.campaign, token.message, token.link, marks)),
        "" if token.identifier_kind == DEFAULT_KIND else escape_text(token.identifier_kind),
        "" if token.space_id == DEFAULT_SPACE else escape_text(token.space_id),
        _write_target(token.target),
    )


def sign_fields(key: LinkKey, head: str, fields: str) -> str:
    """Return the token: `head` is the kind's letter and the key's id."""
    return find_signer(key.secret).sign(f"{head}.{fields}".encode()).decode()


def seal_fields(key: LinkKey, head: str, fields: str) -> str:
    """Return the sealed token. The same fields give the same text: it is their random id that parts them."""
    sealed = _make_cipher(key.secret).encrypt(fields.encode(), [head.encode()])
    return f"{head}.{_write_bytes(sealed)}"


def escape_text(text: str) -> str:
    """Return the text in letters, digits, `-` and `_`: a `_` with a letter for common signs, else with two hexadecimal
    digits for each byte of UTF-8."""
    return _ODD.sub(_escape, text) if _ODD.search(text) else text


def unescape_text(text: str) -> str:
    """Undo `escape_text`. Raises ValueError where it cannot have made the text."""
    if "_" not in text:
        return text
    if "_" in _ESCAPED.sub("", text):
        raise ValueError("an underscore that begins nothing")
    raw = _ESCAPED.sub(lambda match: _read_escape(match[1]).decode("latin-1"), text)
    return raw.encode("latin-1").decode()


def write_number(number: int) -> str:
    """Return a number from 0 on in base 36; nothing for 0."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


@lru_cache(maxsize=32)
def find_signer(secret: str) -> Signer:
    """Return what signs and verifies with a key."""
    return _Signer(secret, salt=SALT, key_derivation="hmac", digest_method=sha256, algorithm=_HalfHmac())


class _HalfHmac(SigningAlgorithm):
    """HMAC-SHA256, of which the first 128 bits are written."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        """Return the signature."""
        return hmac.digest(key, value, "sha256")[:SIGNATURE_BYTES]


class _Signer(Signer):
    """itsdangerous' signer, which would derive the same key for every token anew."""

    _derived: bytes = b""

    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:
        """Return the key that salt and secret come to."""
        if not self._derived:
            self._derived = super().derive_key(secret_key)
        return self._derived


def _verify(key: LinkKey, text: str) -> str | None:
    """Return the fields of a signed token."""
    fields, _, signature = text.rpartition(".")
    if not find_signer(key.secret).verify_signature(fields.encode(), signature):
        return None
    raw = _read_bytes(signature)
    return fields.partition(".")[2] if raw is not None and _write_bytes(raw) == signature else None


def _unseal(key: LinkKey, head: str, rest: str) -> str | None:
    """Return the fields of a sealed token."""
    from cryptography.exceptions import InvalidTag

    sealed = _read_bytes(rest)
    if sealed is None or _write_bytes(sealed) != rest:
        return None
    try:
        return _make_cipher(key.secret).decrypt(sealed, [head.encode()]).decode()
    except (InvalidTag, ValueError):
        return None


@lru_cache(maxsize=32)
def _make_cipher(secret: str) -> AESSIV:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # 9 MB of memory: only who seals has them

    return AESSIV(hmac.digest(secret.encode(), SEALED_SALT, "sha256"))


def _parse(head: str, said: str) -> LinkToken | None:
    """Return the token from its verified fields. An older or newer program may have signed another form."""
    fields = said.split(".")
    if not 2 <= len(fields) <= _FIELDS:
        return None
    fields += [""] * (_FIELDS - len(fields))
    token_id, reference, issued, lifetime, campaign, message, link, marks, kind, space_id, target = fields
    try:
        issued_s, lifetime_s = (60 * int(number, 36) if number else 0 for number in (issued, lifetime))
        marks = unescape_text(marks)
        return LinkToken(
            kind=KINDS[head[0].lower()],
            key_id=head[1:],
            token_id=token_id,
            reference=unescape_text(reference)[:MAX_VALUE_CHARS],
            issued_s=issued_s,
            expires_s=issued_s + lifetime_s if lifetime_s else 0,
            campaign=unescape_text(campaign),
            message=unescape_text(message),
            link=unescape_text(link),
            identifier_kind=unescape_text(kind) or DEFAULT_KIND,
            is_pseudonym=PSEUDONYM_MARK in marks,
            consent="".join(letter for letter in marks if letter.islower()),
            is_test=TEST_MARK in marks,
            space_id=unescape_text(space_id) or DEFAULT_SPACE,
            target=_read_target(target),
        )
    except ValueError:
        return None


def _write_target(target: str) -> str:
    if target.startswith(_PLAIN):
        return _PLAIN_MARK + escape_text(target.removeprefix(_PLAIN))
    return escape_text(target.removeprefix(_SECURE))


def _read_target(text: str) -> str:
    if not text:
        return ""
    scheme = _PLAIN if text.startswith(_PLAIN_MARK) else _SECURE
    target = scheme + unescape_text(text.removeprefix(_PLAIN_MARK))
    return target if is_safe_target(target) else ""


def _escape(match: re.Match[str]) -> str:
    sign = match[0]
    letter = _SHORT.get(sign)
    return f"_{letter}" if letter else "".join(f"_{byte:02X}" for byte in sign.encode())


def _read_escape(code: str) -> bytes:
    """Return the bytes that stand behind an underscore. Raises ValueError."""
    if len(code) == 2:
        return bytes((int(code, 16),))
    if code not in _LONG:
        raise ValueError("an underscore that begins nothing")
    return _LONG[code]


def _write_bytes(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read_bytes(text: str) -> bytes | None:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
