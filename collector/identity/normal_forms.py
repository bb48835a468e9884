"""Normal forms: the one spelling of an identifier's value that is hashed and compared.

    text    NFC, trimmed, no control characters
    email   as email-validator says it, without a look-up; the mailbox in lower case, the host as people read it
    phone   E.164 (+4930123456) by phonenumbers; a number without country is one of the kind's region
    uuid    lower case, without decoration

Pure functions. A normal form is its own normal form, and what a spelling comes to must never change: pseudonyms and
person ids in the store depend on it. The libraries load with the first value that needs them: beacons are many, and
most addresses are so plain that a pattern gives the library's own answer (a test holds the two against each other).
"""

from __future__ import annotations

import re
import unicodedata

from collector.identity.identifiers import MAX_VALUE_CHARS, UUID
from collector.sites.book import IdentifierKind

MAX_EMAIL_CHARS = 254
MAX_PHONE_CHARS = 64

# No `--`, so no label of IDNA; a top-level domain of letters, and none that is reserved for what is no address.
_PLAIN_EMAIL = re.compile(
    r"[a-z0-9_]+(?:[.+-][a-z0-9_]+)*"
    r"@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+"
    r"(?!(?:arpa|invalid|local|localhost|onion|test)$)[a-z]{2,}"
)
_MAX_PLAIN_CHARS = 60  # no label, mailbox or address of this length is too long
# What people write a number with. No letters: the library would look for a number in any text, and E.164 has no place
# for an extension, so that two desks of a firm would be one person.
_PHONE = re.compile(r"(?:tel:)?\s*[+\uff0b]?[\d\s()./\u2010-\u2015-]+", re.IGNORECASE)


def normalise(kind: IdentifierKind, value: str) -> str | None:
    """Return the value's normal form, by the kind's normaliser, or None where it has none."""
    text = value if value.isascii() else unicodedata.normalize("NFC", value)
    text = text.strip().strip("\u200b\ufeff")
    if not text or len(text) > MAX_VALUE_CHARS or not text.isprintable():
        return None
    if kind.normaliser == "email":
        return _normalise_email(text)
    if kind.normaliser == "phone":
        return _normalise_phone(text, kind.region)
    if kind.normaliser == "uuid":
        text = text.lower().removeprefix("urn:uuid:").strip("{}")
        return text if UUID.fullmatch(text) else None
    return text


def list_regions() -> frozenset[str]:
    """Return the regions that a phone number without country may be of: ISO 3166-1 alpha-2."""
    import phonenumbers

    return frozenset(phonenumbers.SUPPORTED_REGIONS)


def _normalise_email(text: str) -> str | None:
    text = text.removesuffix(".")
    lower = text.lower()
    if len(lower) <= _MAX_PLAIN_CHARS and _PLAIN_EMAIL.fullmatch(lower):
        return lower
    if len(text) > MAX_EMAIL_CHARS:
        return None
    return ask_library(text)


def ask_library(text: str) -> str | None:
    """Return the normal form of an e-mail address by email-validator alone, which knows every case."""
    from email_validator import EmailNotValidError, validate_email

    mailbox, _, host = text.rpartition("@")
    if not mailbox.isascii():
        # Compatibility forms are what keyboards make of a letter. Not casefold: ß and ss are two mailboxes.
        mailbox = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", mailbox).lower())
    try:
        return validate_email(f"{mailbox.lower()}@{host}", check_deliverability=False).normalized
    except (EmailNotValidError, UnicodeError):
        return None


def _normalise_phone(text: str, region: str) -> str | None:
    """Return E.164. Possible by its length is enough: which ranges are given out changes faster than any library."""
    if len(text) > MAX_PHONE_CHARS or not _PHONE.fullmatch(text):
        return None
    from phonenumbers import (
        NumberParseException,
        PhoneNumberFormat,
        ValidationResult,
        format_number,
        is_possible_number_with_reason,
        parse,
    )

    try:
        number = parse(text, region or None)
    except NumberParseException:
        return None
    if is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    return format_number(number, PhoneNumberFormat.E164)
