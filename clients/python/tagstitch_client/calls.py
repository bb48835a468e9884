"""Calls: one event as JSON, with an id and a time of its own, frozen when it is made.

Id and time are given once, before anything is sent, and never change: whoever sends a call again sends the same bytes,
and the collector knows it again by them.
"""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

MAX_CALL_BYTES = 524_288
"""Longest call that is taken. The collector's bound on what is in it is far lower."""


class CallError(ValueError):
    """What was given makes no call. `field` names what is wrong, never its value."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def make_call(kind: str, fields: dict[str, Any]) -> tuple[str, bytes]:
    """Return message id and JSON of a call. `fields`: by their names on the wire; what is None is left out.

    Raises CallError where it cannot be written as JSON, or is too long.
    """
    now_ns = time.time_ns()
    call = {"type": kind, **{name: value for name, value in fields.items() if value is not None}}
    call["messageId"] = str(call.get("messageId") or make_id(now_ns // 1_000_000))
    call["timestamp"] = format_time(call.get("timestamp") or datetime.fromtimestamp(now_ns / 1e9, UTC))
    for name, value in call.items():
        try:
            _encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise CallError(name, f"{name} cannot be written as JSON: {error}") from None
    body = _encode(call)
    if len(body) > MAX_CALL_BYTES:
        raise CallError("", f"the call has {len(body)} bytes, at most {MAX_CALL_BYTES} are taken")
    return call["messageId"], body


def make_id(now_ms: int) -> str:
    """Return a fresh UUIDv7."""
    random = secrets.randbits(74)
    return str(UUID(int=now_ms << 80 | 7 << 76 | (random >> 62) << 64 | 2 << 62 | random & (1 << 62) - 1))


def format_time(moment: datetime | str) -> str:
    """Return a time as the wire has it, in UTC and to the millisecond. A time without a zone is this machine's.

    Raises CallError where it is no time.
    """
    if isinstance(moment, str):
        return moment
    try:
        moment = moment.astimezone(UTC)
    except (AttributeError, OverflowError, ValueError) as error:
        raise CallError("timestamp", f"timestamp is no datetime: {error}") from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _encode(value: Any) -> bytes:
    return json.dumps(value, default=_simplify, allow_nan=False, separators=(",", ":"), ensure_ascii=True).encode()


def _simplify(value: object) -> object:
    """Return what JSON can hold in place of what it cannot. Raises TypeError for everything else."""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no type of JSON")
