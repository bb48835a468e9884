"""What a tagged link counts as: its token judged by signature, time and what was taken back. Pure.

The first of these that holds:

    unfilled      no token stands where one should: the sender's merge tag was not replaced, or was empty
    forged        no token of ours; also one of another space, which the page's judge says
    test          of a test mail
    revoked       taken back by the operator
    early         opened before it was to be sent
    expired       its time is over, or its key's
    unconfirmed   valid, and no human signal yet
    confirmed     valid, with a human signal, and evidence was made of it
    bot           valid, and followed by a robot

Kinds that last are never revoked, early or expired.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple, Protocol
from urllib.parse import unquote

from collector.identity.identifiers import find_own_person_id
from collector.keyring import Keyring
from collector.links.token import LASTING, LinkProblem, LinkToken, read_link
from collector.privacy.tombstones import NONE, Tombstones

MAX_UNFILLED_CHARS = 256

# What mailing systems write merge tags with, whole: `*|LT|*`, `{{ lt }}`, `{{a.${lt}}}`, `{% … %}`, `{lt}`, `${lt}`,
# `#{lt}`, `%%LT%%`, `%recipient.lt%`, `[LT]`, `[[lt]]`, `<%= lt %>`, `<<lt>>`, `##LT##`, `-lt-`.
_MERGE_TAG = re.compile(
    r"\*\|[^|]*\|\*|[$#@]?\{[^{}]*\}|\{\{.*\}\}|\{%[^%]*%\}|%%?[\w .:=-]+%%?|\[\[?[^\[\]]*\]\]?"
    r"|<<?%?[^<>]*%?>>?|##[^#]*##|-[A-Za-z_][A-Za-z0-9_]{0,40}-"
)
_NOTHING = frozenset(("", "undefined", "null", "none", "nil", "nan", "false", "lt", "link_token", "token", "tagstitch"))


class LinkStatus(StrEnum):
    """What a link counts as, see the module's head."""

    NONE = ""
    UNFILLED = "unfilled"
    FORGED = "forged"
    TEST = "test"
    REVOKED = "revoked"
    EARLY = "early"
    EXPIRED = "expired"
    UNCONFIRMED = "unconfirmed"
    CONFIRMED = "confirmed"
    BOT = "bot"


class Revocations(Protocol):
    """What was taken back, see `links.revocations`."""

    def find(self, token: LinkToken, customer_key: str) -> object | None:
        """Return what means the token, or None."""


class Judged(NamedTuple):
    """A status, and of a verified token what it says. `customer_key`: own person id of its reference."""

    status: LinkStatus
    token: LinkToken | None = None
    customer_key: str = ""


def judge_link(
    keyring: Keyring,
    text: str,
    revocations: Revocations,
    now_s: int,
    parameter: str = "lt",
    tombstones: Tombstones = NONE,
) -> Judged:
    """Judge what stands where a token should. `parameter`: the name of the address's parameter. Never raises.

    A link that was made before its recipient was erased counts as revoked: it ties nobody to who they are since.
    """
    answer = read_link(keyring, text, now_s)
    token = answer.token if isinstance(answer, LinkProblem) else answer
    if token is None:
        return Judged(LinkStatus.UNFILLED if is_unfilled(text, parameter) else LinkStatus.FORGED)
    key, erased_ms = find_own_person_id(
        keyring.pseudonym_key, token.space_id, token.identifier_kind, token.reference, tombstones
    )
    if token.kind not in LASTING and token.issued_s * 1000 < erased_ms:
        return Judged(LinkStatus.REVOKED, token, key)
    return Judged(_find_status(answer, token, revocations, key), token, key)


def is_unfilled(text: str, parameter: str = "lt") -> bool:
    """Whether a merge tag stands there as the sender wrote it, or the word that a program writes for nothing."""
    if len(text) > MAX_UNFILLED_CHARS:
        return False
    plain = unquote(unquote(text)).replace("+", " ").strip()
    return plain.lower() in _NOTHING or plain.lower() == parameter.lower() or _MERGE_TAG.fullmatch(plain) is not None


def _find_status(
    answer: LinkToken | LinkProblem, token: LinkToken, revocations: Revocations, customer_key: str
) -> LinkStatus:
    if token.is_test:
        return LinkStatus.TEST
    if token.kind not in LASTING and revocations.find(token, customer_key) is not None:
        return LinkStatus.REVOKED
    return LinkStatus(answer.reason) if isinstance(answer, LinkProblem) else LinkStatus.UNCONFIRMED
