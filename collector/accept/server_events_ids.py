"""Ids of server events: event and visitor ids that follow from what the server calls them.

A UUID is taken as it is, so that a visitor of the tag and one that a server names are the same visitor. Any other
text becomes a UUID of version 8, a hash under the instance's key: the same text gives the same id for ever, and
nobody who lacks the key can find the text. A message is one of its site, an anonymous id one of its space.

Invariant: what these functions return never changes for the same arguments. Keys of rows in the store depend on it.
"""

from __future__ import annotations

from collector.accept.validate import clean_id
from collector.event import NIL_ID
from collector.identity.identifiers import UUID, pseudonym

MESSAGE = "server message"
ANONYMOUS = "anonymous id"


def make_event_id(pseudonym_key: str, space_id: str, site_id: str, message_id: str) -> str | None:
    """Return the event id of a message id; None for the nil UUID."""
    if message_id.lower() == NIL_ID:
        return None
    return clean_id(message_id) or _format(pseudonym(pseudonym_key, space_id, MESSAGE, f"{site_id}\n{message_id}"))


def make_visitor_id(pseudonym_key: str, space_id: str, anonymous_id: str) -> str:
    """Return the visitor id of an anonymous id that names somebody."""
    return clean_id(anonymous_id) or _format(pseudonym(pseudonym_key, space_id, ANONYMOUS, anonymous_id))


def read_made_ms(event_id: str) -> int | None:
    """Return when an id was made, where it is a UUIDv7: milliseconds since 1970."""
    text = event_id.lower()
    return int(text[:8] + text[9:13], 16) if UUID.fullmatch(text) and text[14] == "7" else None


def _format(digest: str) -> str:
    variant = f"{int(digest[16], 16) & 3 | 8:x}"
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:]}"
