"""Revocations: which tagged links tie nobody any more, though they are signed and not over.

A revocation names a token, a campaign, a key, a customer, a time of issue, or several of these, which then all have to
hold. It is a versioned row that operators write and every web process polls; one that was lifted stays in the table.
A customer is named by the own person id of the reference, so that no reference stands in the table in clear.

Thousands of single tokens and customers are looked up, not gone through: what a click costs does not grow with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collector.links.token import LinkToken


class Revocation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One revocation. Times of issue in seconds since 1970, `to` not included; 0: no bound.

    `lifted`: it is no longer in force. `customer_key`: own person id of the reference.
    """

    revocation_id: str
    space_id: str
    token_id: str = ""
    campaign: str = ""
    message: str = ""
    key_id: str = ""
    customer_key: str = ""
    issued_from_s: int = 0
    issued_to_s: int = 0
    reason: str = ""
    actor: str = ""
    revoked_at_ms: int = 0
    lifted: bool = False
    version: int = 0

    def is_empty(self) -> bool:
        """Whether it would revoke every link of the space."""
        said = (self.token_id, self.campaign, self.message, self.key_id, self.customer_key)
        return not any(said) and not self.issued_from_s and not self.issued_to_s

    def means(self, token: LinkToken, customer_key: str) -> bool:
        """Whether the token is one of those that it names. `customer_key`: own person id of the token's reference."""
        return (
            self.space_id == token.space_id
            and self.token_id in ("", token.token_id)
            and self.campaign in ("", token.campaign)
            and self.message in ("", token.message)
            and self.key_id in ("", token.key_id)
            and self.customer_key in ("", customer_key)
            and self.issued_from_s <= token.issued_s
            and (not self.issued_to_s or token.issued_s < self.issued_to_s)
        )


class RevocationBook:
    """The revocations in force, filed so that a token is judged by those alone that may mean it."""

    def __init__(self, revocations: Iterable[Revocation] = ()) -> None:
        """File what is in force."""
        self._by_token: dict[str, tuple[Revocation, ...]] = {}
        self._by_customer: dict[str, tuple[Revocation, ...]] = {}
        self._by_campaign: dict[str, tuple[Revocation, ...]] = {}
        self.count = 0
        for each in revocations:
            if each.lifted or each.is_empty():
                continue
            self.count += 1
            # The rarest of what it names. What names none of these is filed with those of no campaign.
            if each.token_id:
                filed, name = self._by_token, each.token_id
            elif each.customer_key:
                filed, name = self._by_customer, each.customer_key
            else:
                filed, name = self._by_campaign, each.campaign
            filed[name] = (*filed.get(name, ()), each)

    def find(self, token: LinkToken, customer_key: str) -> Revocation | None:
        """Return a revocation that means the token, or None."""
        if not self.count:
            return None
        places = [
            (self._by_token, token.token_id),
            (self._by_customer, customer_key),
            (self._by_campaign, token.campaign),
        ]
        if token.campaign:
            places.append((self._by_campaign, ""))
        for filed, name in places:
            for each in filed.get(name, ()):
                if each.means(token, customer_key):
                    return each
        return None
