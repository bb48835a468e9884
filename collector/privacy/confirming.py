"""Confirmation links: how somebody proves who they are where no sign-in does, to see what is held about them.

    asked for   on the page, by an e-mail address or a customer number; or by an officer
    sent        by the organisation's own mailer, to the address that it holds: it fetches the link by command or API
    opened      once, within `privacy_link_hours`; the request then names nobody any more

Whoever asks is told the same whether anybody of that name is known or not. A link is made only by an identifier that
a sign-in or the organisation's own systems have tied to the person: what a page has merely claimed opens nothing.
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from collector.errors import PrivacyError, PrivacyReason, RepairError
from collector.identity.names import PERSON_KIND, find_identifier
from collector.privacy import requests
from collector.privacy.desk import PrivacyDesk
from collector.privacy.page_tokens import Confirmation, write_confirmation
from collector.privacy.requests import Asked, DataRequest
from collector.privacy.subjects import find_main_key
from collector.privacy.takeaway import list_identifiers

MADE = "link made"
PROVEN = 3
"""The least level of an identifier by which a link may be asked for: a sign-in, see identity."""
MOST_OPEN = 1_000
"""Of one space: who asks for more on end gets no more written down, so that nobody can fill the store by that."""


class MadeLink(msgspec.Struct, frozen=True):
    """A link, and whom it may be sent to: KIND=VALUE, what was asked by first."""

    url: str
    send_to: tuple[str, ...]
    request_id: str
    until_ms: int


def ask_for_link(desk: PrivacyDesk, name: str, page: str) -> DataRequest | None:
    """Write down that somebody wants a link; None where it may not be sent, or is on its way. `name`: as
    `find_identifier` takes it; `page`: address that the link leads to. Raises StoreError."""
    try:
        named = find_identifier(desk.client, desk.keyring, desk.space_id, name)
        subjects = desk.find_subjects([name])
    except (RepairError, PrivacyError):
        return None
    is_person = name.startswith(f"{PERSON_KIND}=")
    held = [item for subject in subjects for item in subject.held]
    if not any((is_person or item.key == named.key) and not item.is_visitor and item.level >= PROVEN for item in held):
        return None
    waiting = [
        one
        for one in desk.list_requests((requests.OPEN, requests.RUNNING), MOST_OPEN)
        if one.kind == requests.LINK and one.subjects
    ]
    if len(waiting) >= MOST_OPEN or any(one.state == requests.OPEN and name in one.asked.names for one in waiting):
        return None
    return desk.ask(requests.LINK, Asked((name,), {"page": page}))


def make_link(desk: PrivacyDesk, request_id: str) -> MadeLink:
    """Return the link of a request, to be sent to whom it names. Raises PrivacyError, RepairError, StoreError."""
    request = desk.read(request_id)
    if request.kind != requests.LINK or request.state not in (requests.OPEN, requests.RUNNING):
        raise PrivacyError(PrivacyReason.CONFLICT, f"this request is {request.state} and of kind {request.kind}")
    asked = request.asked
    known = list_identifiers(desk.client, desk.keyring, desk.space_id, desk.find_subjects(asked.names))
    proven = [
        f"{one['kind']}={one['value']}"
        for one in known
        if one["kind"] != "visitor" and one["value"] and one["level"] >= PROVEN and not one["shared_with_others"]
    ]
    by_name = [name for name in asked.names if not name.startswith(f"{PERSON_KIND}=")]
    desk.change(request, state=requests.RUNNING, step=MADE)
    token = write_confirmation(desk.keyring, Confirmation(desk.space_id, request.request_id))
    url = asked.values["page"]
    return MadeLink(
        f"{url}{'&' if '?' in url else '?'}{urlencode({'t': token})}",
        tuple(dict.fromkeys([*by_name, *proven])),
        request.request_id,
        desk.now_ms() + int(desk.config.privacy_link_hours * 3_600_000),
    )


def is_open(desk: PrivacyDesk, request_id: str) -> bool:
    """Whether a link can still be opened. Raises StoreError."""
    try:
        return desk.read(request_id).state == requests.RUNNING
    except PrivacyError:
        return False


def open_link(desk: PrivacyDesk, request_id: str) -> str:
    """Return the own person id of whom a link is for; "" where it was opened before. Raises StoreError."""
    try:
        request = desk.read(request_id)
        if request.kind != requests.LINK or request.state != requests.RUNNING:
            return ""
        subjects = desk.find_subjects(request.asked.names)
    except (PrivacyError, RepairError):
        return ""
    desk.close(request, state=requests.DONE, step="opened")
    return find_main_key(subjects[0])


def close_old(desk: PrivacyDesk) -> int:
    """Close the requests whose links nobody has opened in time, and return how many. Raises StoreError."""
    before_ms = desk.now_ms() - int(desk.config.privacy_link_hours * 3_600_000)
    old = [
        one
        for one in desk.list_requests((requests.RUNNING,), requests.MAX_LISTED)
        if one.kind == requests.LINK and one.changed_at_ms < before_ms
    ]
    for one in old:
        desk.close(one, state=requests.REFUSED, reason="the link was not opened in time")
    return len(old)
