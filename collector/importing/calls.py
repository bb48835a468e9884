"""Turns a row of a file into a call in Segment's shape, by the names of its columns.

A dot in a column's name leads into an object: `properties.price`, `context.page.url`. A mapping renames columns
first. A row without `messageId` gets one that is a digest of the row: the same row is the same event, however often
it is imported. Invariants: the call is a function of the row and the mapping alone; a call that passes `check_call`
grants analytics, so whoever writes calls down writes none that somebody refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from collector.accept.server_events_call import Call, CallConsent, CallContext, read_call
from collector.accept.server_events_ids import read_made_ms
from collector.accept.server_events_reader import read_letters
from collector.event import Rejected
from collector.importing.rows import Row
from collector.reasons import Reason

MAX_CALL_BYTES = 262_144
NOT_EVENT_FIELDS = frozenset(
    {"integrations", "sentAt", "originalTimestamp", "receivedAt", "channel", "version", "_metadata"}
)
"""Fields of Segment's exports that say nothing of the event."""
FREE_FIELDS = frozenset({"properties", "traits"})
KNOWN_FIELDS = frozenset(Call.__struct_encode_fields__)
EPOCH_MS_FROM = 100_000_000_000
"""A time that is a number: seconds since 1970 below this, milliseconds from it on (the year 5138, or 1973)."""
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")


class RowReader:
    """Makes calls of the rows of one file. `unknown`: columns that no event has a place for, by number of rows."""

    def __init__(self, mapping: Mapping[str, str], kind: str = "track", *, is_text: bool = False) -> None:
        """`mapping`: field by column; "": leave the column out. `kind`: of a row that names no type.

        `is_text`: all values are texts, as in CSV; then numbers, true, false, lists and objects are read as JSON
        where a property may be any of them.
        """
        self._mapping = mapping
        self._kind = kind
        self._is_text = is_text
        self.unknown: dict[str, int] = {}

    def make_call(self, row: Row) -> bytes | Rejected:
        """Return the call as JSON, or why the row is none."""
        if isinstance(row.values, Rejected):
            return row.values
        call: dict[str, Any] = {}
        for column, value in row.values.items():
            field = self._mapping.get(column, column)
            if not field or value is None:
                continue
            head = field.partition(".")[0]
            if head not in KNOWN_FIELDS:
                if head not in NOT_EVENT_FIELDS:
                    self.unknown[column] = self.unknown.get(column, 0) + 1
                continue
            if isinstance(value, Decimal):
                value = float(value)
            if self._is_text and (head in FREE_FIELDS or field == "context.externalIds"):
                value = _read_value(value)
            if not _put(call, field.split("."), value):
                return Rejected(Reason.SHAPE, step="decode", field=head)
        call.setdefault("type", self._kind)
        if "timestamp" in call:
            call["timestamp"] = _read_time(call["timestamp"])
        if call.get("messageId") in (None, ""):
            call["messageId"] = f"import:{hashlib.blake2b(row.text.encode(), digest_size=20).hexdigest()}"
        try:
            encoded = msgspec.json.encode(call, enc_hook=str)
        except (ValueError, OverflowError, RecursionError):
            return Rejected(Reason.DEPTH, step="decode")
        return encoded if len(encoded) <= MAX_CALL_BYTES else Rejected(Reason.SIZE, step="decode")

    def may_be_kept(self, row: Row) -> bool:
        """Whether a refused row may be written down: for rows that are no call, so that no call says it.

        Where it says something of consent that grants no analytics, or that cannot be read, it may not.
        """
        if isinstance(row.values, Rejected):
            names = {"consent", *(column for column, field in self._mapping.items() if _is_consent(field))}
            return not any(word in row.text for name in names for word in (name, json.dumps(name)[1:-1]))
        said: dict[str, Any] = {}
        for column, value in row.values.items():
            field = self._mapping.get(column, column)
            if _is_consent(field) and value is not None and not _put(said, field.split("."), value):
                return False
        context = said.get("context", {})
        if not isinstance(context, dict):
            return False
        try:
            consent = msgspec.convert(context.get("consent"), str | CallConsent | None)
        except (msgspec.ValidationError, RecursionError):
            return False
        return _grants_analytics(CallContext(consent=consent))


def read_month(call: Call) -> str | None:
    """Return the month of a call, `2026-11` in UTC; None where it does not say when."""
    time = call.timestamp
    if time is None:
        made_ms = read_made_ms(str(call.message_id or ""))
        if made_ms is None:
            return None
        time = datetime.fromtimestamp(min(made_ms, 253_402_300_799_000) / 1000, UTC)
    elif time.tzinfo is not None:
        try:
            time = time.astimezone(UTC)
        except OverflowError:
            return None
    return f"{time.year:04}-{time.month:02}"


def check_call(encoded: bytes) -> tuple[Call, str] | Rejected:
    """Return the call and its month, or why it is none: for the first look at a row, without judging it."""
    call = read_call(encoded)
    if isinstance(call, Rejected):
        return call
    if not _grants_analytics(call.context):
        return Rejected(Reason.CONSENT, step="consent", field="context.consent")
    month = read_month(call)
    if month is None:
        return Rejected(Reason.SHAPE, step="decode", field="timestamp")
    return call, month


def _grants_analytics(context: CallContext | None) -> bool:
    return context is None or "a" in read_letters(context)


def _is_consent(field: str) -> bool:
    """Whether a column of this field may say something of consent: `context` as a whole, or a part of the answer."""
    return field == "context" or f"{field}.".startswith("context.consent.")


def _put(call: dict[str, Any], path: list[str], value: Any) -> bool:
    """Put the value at the path. False: something else than an object stands on the way, or there already."""
    place = call
    for name in path[:-1]:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            return False
    held = place.get(path[-1])
    if isinstance(held, dict) and isinstance(value, dict):
        place[path[-1]] = {**value, **held}
    elif held is None:
        place[path[-1]] = dict(value) if isinstance(value, dict) else value
    else:
        return False
    return True


def _read_value(text: Any) -> Any:
    """Return what a text of CSV means: `00123` and 20 digits are texts, `9.5`, `true` and `["a"]` are not."""
    if not isinstance(text, str):
        return text
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    if text[0] in "[{":
        try:
            return msgspec.json.decode(text)
        except (ValueError, RecursionError):
            return text
    return text


def _read_time(value: Any) -> Any:
    """Return a time of any usual form as one that a call may have; what is none stays, and is refused."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value) if "." in value else int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value / 1000 if abs(value) >= EPOCH_MS_FROM else value
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            return "out of range"
    return value.strip() if isinstance(value, str) else value
