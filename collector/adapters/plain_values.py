"""What drivers of databases and plugins give, as plain values, of which a field's type can be made. Pure."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any

import msgspec

from collector.adapters.contract import FieldType
from collector.adapters.values import UNFIT

_WRITTEN = (
    *(uuid.UUID, timedelta, time, IPv4Address, IPv6Address),
    *(IPv4Interface, IPv6Interface, IPv4Network, IPv6Network),
)


_encode = msgspec.json.Encoder(enc_hook=str, decimal_format="number").encode


def read_key(value: Any) -> str:
    """Return a key as text; "" for what is none. Blanks behind it are a column's width."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, str):
        return value.rstrip(" ")
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return str(int(value))
    return str(value) if isinstance(value, int | uuid.UUID) else ""


def read_value(value: Any, kind: FieldType, *, is_text_json: bool = False) -> Any:
    """Return a value as JSON could say it, and dates; None for none, UNFIT for what cannot be said. `is_text_json`: the
    driver leaves JSON as text."""
    if value is None or isinstance(value, bool) or (type(value) is str and kind != "json"):
        return value  # nearly all of them
    if isinstance(value, memoryview | bytearray):
        value = bytes(value)
    if isinstance(value, bytes):
        if kind == "boolean" and len(value) == 1 and value in (b"\0", b"\1"):
            return value == b"\1"  # BIT(1)
        try:
            value = value.decode()
        except UnicodeError:
            return UNFIT
    if isinstance(value, _WRITTEN):
        return str(value)
    if kind != "json":
        return value
    return _read_json(value, is_text_json)


def _read_json(value: Any, is_text: bool) -> Any:
    if isinstance(value, str):
        if not is_text:
            return value
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return UNFIT
    if isinstance(value, date | datetime):
        return value.isoformat()
    try:
        return msgspec.json.decode(_encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return UNFIT
