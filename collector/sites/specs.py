"""How a site's settings are written on the command line, where one text says several things.

    kind             NAME[:unique][:personal][:clear][:email|phone[=REGION]|uuid|text]
                     [:visitors=N][:values=N][:priority=N]
    capture cookie   COOKIE[:KIND][:signed]
    issuer           ISSUER,AUDIENCE[,kind=KIND][,claim=NAME][,jwks=ADDRESS][,mfa=ACR]

Only the form is read here; whether the parts make sense is `validate`'s to say. All raise ValueError with a sentence.
"""

from __future__ import annotations

from collector.sites.book import CookieCapture, IdentifierKind, Issuer

DEFAULT_KIND = "customer"
MAX_DIGITS = 9
KIND_MARKS = ("unique", "personal", "clear", "email", "phone", "uuid", "text", "visitors", "values", "priority")
NUMBER_MARKS = {"visitors": "max_visitors", "values": "max_per_person", "priority": "priority"}
"""What takes a number, and what it is called in a kind."""
NORMALISER_MARKS = frozenset(("email", "phone", "uuid", "text"))
ISSUER_PARTS = {"kind": "kind", "claim": "claim", "jwks": "jwks_url", "mfa": "mfa_acr"}


def read_kind(text: str, rank: int) -> IdentifierKind:
    """Read an identifier kind. `rank`: its place in the list, 0 first."""
    name, *parts = text.split(":")
    marks = {mark: value for mark, _, value in (part.partition("=") for part in parts)}
    if unknown := marks.keys() - set(KIND_MARKS):
        raise ValueError(f"{text}: {min(unknown)} is none of {', '.join(KIND_MARKS)}")
    if valued := [mark for mark, value in marks.items() if value and mark not in ("phone", *NUMBER_MARKS)]:
        raise ValueError(f"{text}: {valued[0]} takes no value")
    numbers = {name: _read_number(text, mark, marks[mark]) for mark, name in NUMBER_MARKS.items() if mark in marks}
    normalisers = NORMALISER_MARKS & marks.keys()
    if len(normalisers) > 1:
        raise ValueError(f"{text}: a kind has one form, not {' and '.join(sorted(normalisers))}")
    return IdentifierKind(
        name=name,
        unique="unique" in marks,
        personal="personal" in marks,
        normaliser=next(iter(normalisers), "text"),
        **({"priority": rank * 10} | numbers),
        clear="clear" in marks,
        region=marks.get("phone", "").upper(),
    )


def _read_number(text: str, mark: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < MAX_DIGITS):
        raise ValueError(f"{text}: {mark} takes a number, {mark}=50")
    return int(value)


def read_capture_cookie(text: str) -> CookieCapture:
    """Read which cookie of the site's own names a customer."""
    cookie, *rest = text.split(":")
    if len(rest) > 2 or (len(rest) == 2 and rest[1] != "signed"):
        raise ValueError(f"{text}: write COOKIE, COOKIE:KIND or COOKIE:KIND:signed")
    return CookieCapture(cookie, rest[0] if rest else DEFAULT_KIND, signed=len(rest) == 2)


def read_issuer(text: str) -> Issuer:
    """Read who may vouch for a sign-in with an ID token."""
    issuer, *rest = (part.strip() for part in text.split(","))
    if not rest or "=" in rest[0]:
        raise ValueError(f"{text}: name the audience too: https://login.shop.example,CLIENT-ID")
    given: dict[str, str] = {}
    for part in rest[1:]:
        name, sign, value = part.partition("=")
        if not sign or not value or name not in ISSUER_PARTS:
            raise ValueError(f"{text}: {part} is none of {', '.join(f'{known}=…' for known in ISSUER_PARTS)}")
        given[ISSUER_PARTS[name]] = value
    return Issuer(issuer, rest[0], **given)
