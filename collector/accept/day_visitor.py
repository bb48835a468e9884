"""The visitor of a day: who a browser is until midnight (UTC), where nothing may be written to or read from it.

A keyed hash of site, address and user agent, under a salt that exists for this day only (sites.day_salt). The same
browser is the same visitor all day; tomorrow it is another, and nobody can tell that it was one. Two people behind one
address with the same browser are one visitor. The id is a UUID of version 8: no id that a tag makes looks like it, and
the visitor cookie is never signed for it.
"""

from __future__ import annotations

from hashlib import blake2b

from collector.event import NIL_ID, Context


def find_day_visitor(site_id: str, context: Context) -> str:
    """Return the visitor id of the day; the nil id where there is no salt."""
    if not context.day_salt:
        return NIL_ID
    text = f"{site_id}|{context.address}|{context.user_agent}".encode("utf-8", "surrogatepass")
    digest = bytearray(blake2b(text, digest_size=16, key=context.day_salt, person=b"tagstitch.dayvis").digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text_id = digest.hex()
    return f"{text_id[:8]}-{text_id[8:12]}-{text_id[12:16]}-{text_id[16:20]}-{text_id[20:]}"
