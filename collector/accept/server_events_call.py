"""Calls: what a server says, in the shape of Segment's HTTP tracking API. Bytes to a Call, or the reason why not.

Only what we have a place for is a field here; everything else of a call is left unread, as `integrations` is. Fields
are named as on the wire (camelCase) when a refusal names them. The bounds on bytes and depth are those of a beacon
(see `decode`), the bounds on what the fields hold are checked where a call is read (see `server_events_statement`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from collector.accept.decode import find_path, read_json
from collector.event import Rejected
from collector.reasons import Reason

TRACK, PAGE, SCREEN, GROUP = "track", "page", "screen", "group"
IDENTIFY, ALIAS = "identify", "alias"
TYPES = (TRACK, IDENTIFY, PAGE, SCREEN, GROUP, ALIAS)

MAX_CALLS = 500


class CallPage(msgspec.Struct):
    """The page on which it happened. Its path is that of the address."""

    url: str | None = None
    referrer: str | None = None
    title: str | None = None


class CallCampaign(msgspec.Struct):
    """The campaign that led here, by the words of utm parameters."""

    name: str | None = None
    source: str | None = None
    medium: str | None = None
    term: str | None = None
    content: str | None = None
    id: str | None = None


class ExternalId(msgspec.Struct):
    """A further identifier of the customer. `type`: a kind that the site declares."""

    id: str | int
    type: str


class CallConsent(msgspec.Struct, rename="camel"):
    """What somebody has answered, by category."""

    category_preferences: dict[str, bool]


class CallContext(msgspec.Struct, rename="camel"):
    """The circumstances of a call. `site_id`: for keys that are bound to no site. `actor`, `verification`: who at the
    organisation says so, and how they have made sure who it is; see `server_events_agent`."""

    ip: str | None = None
    user_agent: str | None = None
    locale: str | None = None
    timezone: str | None = None
    page: CallPage | None = None
    campaign: CallCampaign | None = None
    external_ids: list[ExternalId] | None = None
    consent: str | CallConsent | None = None
    site_id: str | None = None
    actor: str | None = None
    verification: str | None = None


class Call(msgspec.Struct, rename="camel"):
    """One call. What is null is as if it were not there. Ids may be integers: many a server has no other."""

    type: str = ""
    message_id: str | int | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    previous_id: str | int | None = None
    group_id: str | int | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: CallContext | None = None
    timestamp: datetime | None = None

    @property
    def joins_customers(self) -> bool:
        """Whether it is an alias of two customers. One without a previous id, or with the anonymous id for it, ties the
        visitor, as Segment's libraries say it: an identify by another name."""
        previous = "" if self.previous_id is None else str(self.previous_id)
        anonymous = "" if self.anonymous_id is None else str(self.anonymous_id)
        return self.type == ALIAS and not (anonymous and previous in ("", anonymous))


class _Batch(msgspec.Struct):
    batch: list[msgspec.Raw]
    context: CallContext | None = None


_CALLS = msgspec.json.Decoder(Call)
_BATCHES = msgspec.json.Decoder(_Batch)


def read_call(raw: bytes | Mapping[str, Any], kind: str = "") -> Call | Rejected:
    """Return the call that JSON bytes or a mapping of JSON's values stand for, or why not. Never raises.

    `kind`: the type that it must have, where the address says so.
    """
    call = _decode(raw) if isinstance(raw, bytes) else _convert(raw)
    if isinstance(call, Rejected):
        return msgspec.structs.replace(call, step="decode")
    if kind:
        if call.type not in ("", kind):
            return Rejected(Reason.SHAPE, step="decode", field="type")
        call.type = kind
    return call


def read_batch(body: bytes, max_calls: int = MAX_CALLS) -> list[Call | Rejected] | Rejected:
    """Return the calls of a batch, each for itself the reason why it is none, or why the body is no batch.

    The batch's own context stands in for what a call's context does not say. Never raises.
    """
    batch = read_json(_BATCHES, body)
    if isinstance(batch, Rejected):
        return msgspec.structs.replace(batch, step="decode")
    if not 1 <= len(batch.batch) <= max_calls:
        return Rejected(Reason.COUNT, step="decode", field="batch")
    calls = [read_call(bytes(raw)) for raw in batch.batch]
    if batch.context is not None:
        for call in calls:
            if isinstance(call, Call):
                call.context = _fill(call.context, batch.context)
    return calls


def _decode(raw: bytes) -> Call | Rejected:
    return read_json(_CALLS, raw)


def _convert(values: Mapping[str, Any]) -> Call | Rejected:
    try:
        return msgspec.convert(dict(values), Call)
    except msgspec.ValidationError as error:
        return Rejected(Reason.SHAPE, field=find_path(error))
    except RecursionError:
        return Rejected(Reason.DEPTH)


def _fill(own: CallContext | None, shared: CallContext) -> CallContext:
    if own is None:
        return shared
    said = {name: getattr(own, name) for name in own.__struct_fields__}
    return msgspec.structs.replace(shared, **{name: value for name, value in said.items() if value is not None})
