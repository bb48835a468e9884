"""Tagged links, made by the collector: some of them a request, asked again until there is a definite answer.

Unlike calls, whoever asks for links waits for them and must know where there are none. Asked twice, the collector
makes other tokens: those that got lost are nobody's, and only the records of mintings count both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tagstitch_client.delivery import find_delay_s
from tagstitch_client.transport import Answer, Transport

PATH = "/v1/links"
RECIPIENTS_AT_ONCE = 1_000
"""The collector takes ten thousand; an answer with long addresses must stay within what we read."""


@dataclass(frozen=True)
class Link:
    """One link, or why there is none: `error` is the collector's word, `field` what is meant.

    `url` is empty where no url was given: then the token is all.
    """

    token: str = ""
    url: str = ""
    error: str = ""
    field: str = ""
    message: str = ""

    @property
    def is_made(self) -> bool:
        """Whether there is one."""
        return bool(self.token)


class LinksError(Exception):
    """No links: the request is wrong as a whole, the key may not do it, or the collector did not answer in time.

    `reason`: the collector's word, or `unavailable`.
    """

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


def make_links(
    transport: Transport,
    recipients: Sequence[Any],
    shared: Mapping[str, Any],
    *,
    give_up_at: float,
    retry_base_s: float,
) -> list[Link]:
    """Return a link for each recipient, in order. `give_up_at`: as `time.monotonic` tells it. Raises LinksError."""
    asked = [dict(one) if isinstance(one, Mapping) else {"reference": str(one)} for one in recipients]
    found: list[Link] = []
    for first in range(0, len(asked), RECIPIENTS_AT_ONCE):
        part = asked[first : first + RECIPIENTS_AT_ONCE]
        try:
            body = json.dumps({**shared, "recipients": part}, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise LinksError("argument", "", f"this cannot be written as JSON: {error}") from None
        answer = _ask(transport, body, give_up_at, retry_base_s)
        made = answer.text.get("links")
        if answer.status != 200 or not isinstance(made, list) or len(made) != len(part):
            raise _explain(answer)
        found += [_read(one) for one in made]
    return found


def _ask(transport: Transport, body: bytes, give_up_at: float, retry_base_s: float) -> Answer:
    attempt = 0
    while True:
        answer = transport.post(body, PATH)
        if not (answer.status in (0, 408, 429) or answer.status >= 500):
            return answer
        delay_s = find_delay_s(attempt, answer.retry_after_s, retry_base_s)
        attempt += 1
        if time.monotonic() + delay_s > give_up_at:
            raise LinksError("unavailable", "", answer.problem or f"The collector answered {answer.status}.")
        time.sleep(delay_s)


def _explain(answer: Answer) -> LinksError:
    words = {name: str(answer.text.get(name) or "") for name in ("error", "field", "message")}
    message = words["message"] or f"The collector answered {answer.status}, and not with links."
    return LinksError(words["error"] or "unavailable", words["field"], message)


def _read(one: Any) -> Link:
    said = one if isinstance(one, dict) else {}
    link = Link(**{name: str(said.get(name) or "") for name in ("token", "url", "error", "field", "message")})
    return link if link.token or link.error else Link(error="unavailable", message="The collector's answer is no link.")
