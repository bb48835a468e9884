"""What a web process knows of an address beside the request itself: a data centre's, many recipients', soon after."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from collector.links.clicks import Seen, is_soon
from collector.links.recipients import RecipientWindow
from collector.links.token import LinkKind, LinkToken


@dataclass(frozen=True, slots=True)
class LinkWatch:
    """The parts. `find_key`: under what an address is counted, "" for this machine. `soon_s`: 0: nothing is soon."""

    is_data_centre: Callable[[str], bool]
    recipients: RecipientWindow
    soon_s: int
    find_key: Callable[[str], Hashable]

    def look(self, seen: Seen, address: str, token: LinkToken | None, campaign: str, now_s: int) -> Seen:
        """Return what was seen, and what is known of its address and time. A recipient's token has no time of its
        own: it was made long before the mail. Pictures of mails and links are counted apart: whoever loads a picture
        has followed nothing."""
        if token is None:
            return seen._replace(is_data_centre=self.is_data_centre(address))
        mailing = f"{token.space_id}|{seen.is_picture:d}|{campaign}"
        recipient = f"{token.identifier_kind}|{token.reference}"
        return seen._replace(
            is_data_centre=self.is_data_centre(address),
            is_soon=token.kind is LinkKind.MESSAGE and is_soon(token.issued_s, now_s, self.soon_s),
            is_many=self.recipients.meet(str(self.find_key(address)), mailing, recipient),
        )
