"""The Client: what a program calls. Its calls return at once and never raise; a thread sends them in batches.

`send_now` is for those who must know: it returns once the collector has answered.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
import weakref
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tagstitch_client.calls import CallError, format_time, make_call
from tagstitch_client.delivery import Delivery, OnError, Pace, Problem, Receipt, find_delay_s, join_batch, judge_answer
from tagstitch_client.links import Link, make_links
from tagstitch_client.transport import Transport, read_address

AGENT = "tagstitch-client-python/0.1.0"

Id = str | int
Fields = Mapping[str, Any]
Time = datetime | str

_deliveries: weakref.WeakSet[Delivery] = weakref.WeakSet()
EXIT_PATIENCE_S = 10.0


class Client:
    """Sends events to one collector. Safe for threads, and for programs that fork."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        site: str = "",
        on_error: OnError | None = None,
        max_queue: int = 10_000,
        batch_size: int = 100,
        interval_s: float = 0.5,
        timeout_s: float = 10.0,
        retry_base_s: float = 0.5,
        allow_http: bool = False,
    ) -> None:
        """Nothing is sent yet.

        `url`: the collector's address. `key`: a key with scope track, identify-server where customers are named,
        merge for aliases, and links for links.
        `site`: for a key that is bound to none. `on_error`: hears of each call that is not kept, in whatever
        thread finds out; without it the log does. `max_queue`: most calls that wait; more are not taken. A batch is
        sent once it has `batch_size` calls (1–500) or is `interval_s` old. Raises ValueError where one of these makes
        no sense.
        """
        address = read_address(url, allow_http=allow_http)
        if not key or not key.isascii() or not key.isprintable():
            raise ValueError("key must be the text that `tagstitch key create` printed")
        if not 1 <= batch_size <= 500 or max_queue < 1 or interval_s < 0 or timeout_s <= 0 or retry_base_s <= 0:
            raise ValueError("batch_size lies in 1–500, max_queue from 1, times are not negative")
        self._site = site
        self._address, self._key, self._timeout_s = address, key, timeout_s
        self._pace = Pace(max_queue, batch_size, interval_s, retry_base_s)
        self._delivery = Delivery(self._make_transport, self._pace, on_error)
        _deliveries.add(self._delivery)

    def track(
        self,
        event: str,
        *,
        user_id: Id | None = None,
        anonymous_id: Id | None = None,
        properties: Fields | None = None,
        context: Fields | None = None,
        timestamp: Time | None = None,
        message_id: str | None = None,
    ) -> str:
        """Note that something happened. Return the message id, or "" where the call could not be queued."""
        fields = {"event": event, "properties": properties}
        return self._queue("track", fields, user_id, anonymous_id, context, timestamp, message_id)

    def identify(
        self,
        user_id: Id,
        *,
        anonymous_id: Id | None = None,
        traits: Fields | None = None,
        context: Fields | None = None,
        timestamp: Time | None = None,
        message_id: str | None = None,
    ) -> str:
        """Say which customer a visitor is. Returns as `track` does."""
        return self._queue("identify", {"traits": traits}, user_id, anonymous_id, context, timestamp, message_id)

    def page(
        self,
        name: str | None = None,
        *,
        user_id: Id | None = None,
        anonymous_id: Id | None = None,
        properties: Fields | None = None,
        context: Fields | None = None,
        timestamp: Time | None = None,
        message_id: str | None = None,
    ) -> str:
        """Note that a page was seen; `properties` has its url, referrer and title. Returns as `track` does."""
        fields = {"name": name, "properties": properties}
        return self._queue("page", fields, user_id, anonymous_id, context, timestamp, message_id)

    def group(
        self,
        group_id: Id,
        *,
        user_id: Id | None = None,
        anonymous_id: Id | None = None,
        traits: Fields | None = None,
        context: Fields | None = None,
        timestamp: Time | None = None,
        message_id: str | None = None,
    ) -> str:
        """Say to which group somebody belongs. Returns as `track` does."""
        fields = {"groupId": group_id, "traits": traits}
        return self._queue("group", fields, user_id, anonymous_id, context, timestamp, message_id)

    def alias(
        self,
        previous_id: Id,
        user_id: Id,
        *,
        context: Fields | None = None,
        timestamp: Time | None = None,
        message_id: str | None = None,
    ) -> str:
        """Say that two customer numbers are one person's; needs a key with scope merge. Returns as `track` does."""
        return self._queue("alias", {"previousId": previous_id}, user_id, None, context, timestamp, message_id)

    def send_now(self, kind: str, fields: Fields, *, timeout_s: float = 10.0) -> Receipt:
        """Send one call past the queue and wait for the answer, sending it again where needed until `timeout_s`.

        `kind`: track, identify, page, screen, group or alias. `fields`: by their names on the wire, such as `userId`.
        Never raises. Without a definite answer `is_stored` is False and the reason `unavailable`: the call may be
        stored all the same, and may be sent again with the receipt's message id and the same `timestamp`.
        """
        try:
            message_id, call = make_call(kind, self._add_site(dict(fields)))
        except CallError as error:
            return Receipt(False, "", (Problem("call", error.field, str(error), dict(fields)),))
        give_up_at = time.monotonic() + timeout_s
        attempt = 0
        with contextlib.closing(self._make_transport()) as transport:
            while True:
                answer = transport.post(join_batch([call]))
                if not answer.is_retryable:
                    problems = tuple(judge_answer(answer, [call]))
                    return Receipt(all(problem.is_kept for problem in problems), message_id, problems)
                delay_s = find_delay_s(attempt, answer.retry_after_s, self._pace.retry_base_s)
                attempt += 1
                if time.monotonic() + delay_s > give_up_at:
                    message = answer.problem or f"The collector answered {answer.status}."
                    return Receipt(False, message_id, (Problem("unavailable", "", message, dict(fields)),))
                time.sleep(delay_s)

    def make_links(
        self,
        recipients: Sequence[Id | Fields],
        *,
        url: str = "",
        campaign: str = "",
        message: str = "",
        link: str = "",
        timeout_s: float = 30.0,
        **more: Any,
    ) -> list[Link]:
        """Have tagged links made, one for each recipient, in order; needs a key with scope links.

        `recipients`: references, or mappings with `reference`, `consent`, `link` and `url`. `more`: further fields of
        the request by their names: kind, type, days, consent, sent_at, test, sealed, redirect. A reference that cannot
        be used is a Link with `error` in its place. Raises LinksError where there are no links at all.
        """
        if isinstance(recipients, str | Mapping):
            raise TypeError("recipients must be a list, also of one")
        given = {"url": url, "campaign": campaign, "message": message, "link": link, **more}
        shared = {
            name: format_time(value) if isinstance(value, datetime) else value
            for name, value in given.items()
            if value not in ("", None)
        }
        give_up_at = time.monotonic() + timeout_s
        with contextlib.closing(self._make_transport()) as transport:
            return make_links(
                transport, recipients, shared, give_up_at=give_up_at, retry_base_s=self._pace.retry_base_s
            )

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Send what is queued now. True where all of it has been settled in time: stored, or told to `on_error`."""
        return self._delivery.flush(timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Send what is queued, for so long, and stop. Returns as `flush` does. Happens by itself when Python exits."""
        return self._delivery.close(timeout_s)

    def __enter__(self) -> Client:
        """Return the client, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_transport(self) -> Transport:
        return Transport(self._address, self._key, timeout_s=self._timeout_s, agent=AGENT)

    def _queue(
        self,
        kind: str,
        fields: dict[str, Any],
        user_id: Id | None,
        anonymous_id: Id | None,
        context: Fields | None,
        timestamp: Time | None,
        message_id: str | None,
    ) -> str:
        fields |= {"userId": user_id, "anonymousId": anonymous_id, "context": context}
        fields |= {"timestamp": timestamp, "messageId": message_id}
        try:
            made_id, call = make_call(kind, self._add_site(fields))
            return made_id if self._delivery.put(call) else ""
        except CallError as error:
            self._delivery.report([Problem("call", error.field, str(error), {"type": kind, **fields})])
        except Exception as error:  # no event is worth a customer's order
            self._delivery.report([Problem("call", "", repr(error), {"type": kind, **fields})])
        return ""

    def _add_site(self, fields: dict[str, Any]) -> dict[str, Any]:
        if self._site:
            context = fields.get("context")
            if context is None or isinstance(context, Mapping):
                fields["context"] = {"siteId": self._site, **(context or {})}
        return fields


@atexit.register
def _close_all() -> None:
    for delivery in list(_deliveries):
        delivery.close(EXIT_PATIENCE_S)


def _restart_all() -> None:
    for delivery in list(_deliveries):
        delivery.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
