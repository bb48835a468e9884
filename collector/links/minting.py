"""Making links: what may stand in one, and a maker that turns references into tokens as fast as they can be read.

Everything that all links of a mailing share is checked and written once; what is done for each recipient is a look at
the reference, an id of 64 random bits, and one HMAC. No store is needed, and nothing is kept of a recipient: of a
minting there is one record (see `links.record`). What cannot be used is refused with a word and a sentence for whoever
mints, and never guessed at.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

from collector.errors import LinkError, LinkRefusal
from collector.identity.identifiers import EMAIL, PSEUDONYM, is_blocked, is_kept_clear, make_pseudonym
from collector.identity.normal_forms import normalise
from collector.keyring import Keyring
from collector.links.targets import is_safe_target
from collector.links.token import (
    LASTING,
    MAX_TOKEN_CHARS,
    TOKEN_ID_CHARS,
    LinkKind,
    LinkToken,
    seal_fields,
    sign_fields,
    write_facts,
    write_fields,
)
from collector.purposes import PURPOSE_BY_LETTER
from collector.sites.book import DEFAULT_KINDS, DEFAULT_SPACE, IdentifierKind, SiteBook

MAX_REFERENCE_CHARS = 128
MAX_LABEL_CHARS = 64
MESSAGE_DAYS = 90.0
RECIPIENT_DAYS = 396.0
"""13 months: what is sent once a year still works."""
MAX_DAYS = 3660
IDS_AT_ONCE = 4096

_PLAIN_REFERENCE = re.compile(rf"[A-Za-z0-9-]{{1,{MAX_REFERENCE_CHARS}}}")
_CUSTOMER = DEFAULT_KINDS[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailing:
    """What all links of one minting share. Times in seconds since 1970.

    `identifier_kind`: what the references are; of a personal kind, such as e-mail, the clear values are given and
    pseudonyms are minted. `days`: None for the kind's own. `target`: where `/l/<token>` leads; empty where the token
    stands in the page's own address. `sent_at_s`: when the mail goes out, where that is known: a link that is opened
    before is `early`. `sealed`: nobody can read the token.
    """

    kind: LinkKind = LinkKind.MESSAGE
    campaign: str = ""
    message: str = ""
    link: str = ""
    identifier_kind: IdentifierKind = _CUSTOMER
    space_id: str = DEFAULT_SPACE
    target: str = ""
    days: float | None = None
    sent_at_s: int = 0
    is_test: bool = False
    sealed: bool = False


@dataclass(slots=True)
class LinkMaker:
    """Makes the tokens of one mailing. Raises LinkError where something that all of them share cannot be used."""

    keyring: Keyring
    mailing: Mailing
    now_s: int
    _ids: list[str] = field(default_factory=list)
    _facts: dict[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what all links share."""
        check_mailing(self.mailing)
        if self.mailing.sent_at_s and abs(self.mailing.sent_at_s - self.now_s) > MAX_DAYS * 86_400:
            raise LinkError(LinkRefusal.VALUE, f"a mail goes out within {MAX_DAYS} days of today")
        self._write_facts("", self.mailing.link, self.mailing.target)

    def make(self, reference: str, *, consent: str = "", link: str | None = None, target: str | None = None) -> str:
        """Return a fresh token.

        `consent`: the wire's letters of what this recipient has consented to. `link` and `target`: instead of the
        mailing's. Raises LinkError, naming why, where the reference cannot be used.
        """
        mailing = self.mailing
        chosen = (consent, mailing.link if link is None else link, mailing.target if target is None else target)
        facts = self._facts.get(chosen) or self._write_facts(*chosen)
        stored = self.name_reference(reference)
        if not self._ids:
            self._ids = make_token_ids(IDS_AT_ONCE)
        key = self.keyring.link_keys[0]
        letter: str = mailing.kind[0]
        head = f"{letter.upper() if mailing.sealed else letter}{key.id}"
        fields = write_fields(self._ids.pop(), stored, *facts)
        token = seal_fields(key, head, fields) if mailing.sealed else sign_fields(key, head, fields)
        if len(token) > MAX_TOKEN_CHARS:
            raise LinkError(
                LinkRefusal.LENGTH, f"the token has more than {MAX_TOKEN_CHARS} characters: shorten the target"
            )
        return token

    def name_reference(self, reference: str) -> str:
        """Return what stands in the token for a reference: itself, or the pseudonym. Raises LinkError."""
        text, kind = reference.strip(), self.mailing.identifier_kind
        if not text:
            raise LinkError(LinkRefusal.EMPTY, "there is no reference of a customer")
        if kind.personal:
            value = None if is_blocked(text) else normalise(kind, text)
            if value is None:
                raise LinkError(LinkRefusal.VALUE, f"the reference is no {kind.name} that names one customer")
            return make_pseudonym(self.keyring.personal_keys[0], self.mailing.space_id, kind.name, value)
        if is_blocked(text):
            raise LinkError(LinkRefusal.NOBODY, "the reference names nobody")
        if _PLAIN_REFERENCE.fullmatch(text) and kind.normaliser == "text":
            return text
        if len(text) > MAX_REFERENCE_CHARS:
            raise LinkError(LinkRefusal.LENGTH, f"the reference has more than {MAX_REFERENCE_CHARS} characters")
        if EMAIL.search(text) or "@" in text or "%40" in text:
            raise LinkError(
                LinkRefusal.EMAIL,
                "the reference looks like an e-mail address, and a link can be read by anyone: give the customer's own "
                "id, or mint with kind email, which puts a pseudonym in its place",
            )
        value = normalise(kind, text)
        if value is None or PSEUDONYM.fullmatch(value) or not is_kept_clear(kind, value):
            raise LinkError(LinkRefusal.VALUE, f"the reference cannot be used as a {kind.name}")
        return value

    def _write_facts(self, consent: str, link: str, target: str) -> tuple[str, ...]:
        """Check and write what a link shares with others, and keep it for them."""
        mailing = self.mailing
        check_label("link", link)
        if link and mailing.kind is LinkKind.RECIPIENT:
            raise LinkError(LinkRefusal.LABEL, "the link of a recipient's token has no name: it is kept for all links")
        check_target(target)
        if any(letter not in PURPOSE_BY_LETTER for letter in consent):
            raise LinkError(LinkRefusal.VALUE, f"consent is written with the letters {''.join(PURPOSE_BY_LETTER)}")
        issued_s = mailing.sent_at_s or self.now_s
        days = find_days(mailing)
        token = LinkToken(
            kind=mailing.kind,
            key_id="",
            token_id="",
            reference="",
            issued_s=issued_s,
            expires_s=issued_s + max(60, round(days * 86_400)) if days else 0,
            campaign=mailing.campaign,
            message=mailing.message,
            link=link,
            identifier_kind=mailing.identifier_kind.name,
            is_pseudonym=mailing.identifier_kind.personal,
            consent=consent,
            is_test=mailing.is_test,
            space_id=mailing.space_id,
            target=target,
        )
        if len(self._facts) >= IDS_AT_ONCE:
            self._facts.clear()
        facts = self._facts[consent, link, target] = write_facts(token)
        return facts


def mint_link(keyring: Keyring, reference: str, *, now_s: int, consent: str = "", **shared: object) -> str:
    """Return one fresh token. `shared`: fields of Mailing. Raises LinkError.

    Backends that make many links keep a LinkMaker.
    """
    mailing = Mailing(**shared)  # type: ignore[arg-type]
    return LinkMaker(keyring, mailing, now_s).make(reference, consent=consent)


def find_days(mailing: Mailing) -> float:
    """Return how long the links tie a visitor; 0: for ever."""
    if mailing.kind in LASTING:
        return 0.0
    if mailing.days is not None:
        return mailing.days
    return RECIPIENT_DAYS if mailing.kind is LinkKind.RECIPIENT else MESSAGE_DAYS


def find_kinds(book: SiteBook, space_id: str) -> list[IdentifierKind]:
    """Return the kinds of identifiers that the sites of a space declare, the most important first.

    Where no site is known, as on a machine that has the secrets alone, those that every site begins with.
    """
    found: dict[str, IdentifierKind] = {}
    for site in book.sites.values():
        if not site.deleted and site.space_id == space_id:
            for kind in site.kinds:
                found.setdefault(kind.name, kind)
    return sorted(found.values(), key=lambda kind: (kind.priority, kind.name)) or list(DEFAULT_KINDS)


def check_mailing(mailing: Mailing) -> None:
    """Raise LinkError where something that all links of it share cannot be used."""
    check_label("campaign", mailing.campaign)
    check_label("message", mailing.message)
    days = find_days(mailing)
    if mailing.kind not in LASTING and not 0 < days <= MAX_DAYS:
        raise LinkError(LinkRefusal.VALUE, f"a link must live longer than 0 and at most {MAX_DAYS} days")
    if mailing.kind is LinkKind.RECIPIENT and (mailing.campaign or mailing.message or mailing.link):
        raise LinkError(
            LinkRefusal.VALUE,
            "a recipient's token is kept for all mailings: leave campaign, message and link out, and put utm_campaign "
            "into the addresses",
        )


def check_label(name: str, label: str) -> None:
    """Raise LinkError where a campaign, a message or a link cannot be called so."""
    if len(label) > MAX_LABEL_CHARS or not label.isprintable() or "@" in label:
        raise LinkError(
            LinkRefusal.LABEL, f"the {name} must have at most {MAX_LABEL_CHARS} printable characters and no @"
        )


def check_target(target: str) -> None:
    """Raise LinkError where no redirect can be written to it. Whether a site lets links lead there is not asked."""
    if target and not is_safe_target(target):
        raise LinkError(
            LinkRefusal.TARGET, "the target must be an absolute http or https address, host in lower case, no user name"
        )


def make_token_ids(count: int) -> list[str]:
    """Return fresh ids of tokens."""
    raw = secrets.token_bytes(8 * count)
    return [urlsafe_b64encode(raw[start : start + 8]).decode()[:TOKEN_ID_CHARS] for start in range(0, 8 * count, 8)]
