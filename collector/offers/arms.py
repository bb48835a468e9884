"""Who is held out of an offer: a keyed hash of space, person and offer, so that nobody decides it and nothing keeps it.

The same person is in the same arm on every device and page, for as long as they bear the same person id. In a merge the
person that gives way takes the arm of the one that stays; where the merge is undone, both have their old arms. With a
larger share whoever was held out still is. Offers draw for themselves: who is held out of one is not so of another.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from collector.identity.identifiers import derive_space_secret
from collector.keyring import Keyring

PURPOSE = "tagstitch.offers"


class Draw:
    """Draws for the offers of one space."""

    def __init__(self, keyring: Keyring, space_id: str) -> None:
        self._secret = derive_space_secret(keyring.pseudonym_key, space_id).encode()

    def is_held_out(self, person_id: str, offer: str, share: float) -> bool:
        """Whether a person is of the share, 0 to 1, that an offer is held out from."""
        digest = hmac.new(self._secret, f"{PURPOSE}\n{offer}\n{person_id}".encode(), sha256).digest()
        # 53 bits are what a float holds: below 1, however the dice fall.
        return (int.from_bytes(digest[:8], "big") >> 11) / 2**53 < share
