"""Paths and queries as a configuration writes them, with places for a key or for the terms of a search. Pure.

    /customers/{key}            the key is one segment of the path, or a part of one
    /customers?mail={key}       or the value of one parameter

What is put in stays where it was put: it is percent-encoded whole, so that it begins no segment, no parameter and no
fragment. Some servers decode a path before they read it, some twice, so that what would be a way up or down for those
is put into no path at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote

MAX_VALUE_CHARS = 1_024
_PLACE = re.compile(r"\{([a-z][a-z0-9_]{0,62})\}")
_LITERAL = re.compile(r"(?:[A-Za-z0-9._~!$'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SLASHES = re.compile(r"[/\\]")
MOST_DECODED = 3


class Template(NamedTuple):
    """A path and its query, taken apart. `path` and each value of `query`: literals and, at odd places, names."""

    path: tuple[str, ...]
    query: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def names(self) -> frozenset[str]:
        """All names of places."""
        return frozenset((*self.path[1::2], *(name for _, parts in self.query for name in parts[1::2])))

    def fill(self, values: Mapping[str, str]) -> bytes:
        """Return the target of a request. A parameter whose value is not given is left out. Raises ValueError for
        what cannot stand where it would have to, and for a place in the path without a value."""
        path = "".join(_encode_segment(values, part) if place % 2 else part for place, part in enumerate(self.path))
        pairs = [
            f"{name}={''.join(_encode(values[part]) if place % 2 else part for place, part in enumerate(parts))}"
            for name, parts in self.query
            if all(part in values for part in parts[1::2])
        ]
        return (path + ("?" + "&".join(pairs) if pairs else "")).encode("ascii")


def parse_template(base_path: str, text: str) -> Template:
    """Read a path with places, beneath the path of the base URL. Raises ValueError with the reason."""
    if not text.startswith("/"):
        raise ValueError("it must begin with /")
    path, _, query = text.partition("?")
    whole = base_path.rstrip("/") + path
    parts = _split(whole)
    if "//" in whole:
        raise ValueError("an empty segment has no place in it")
    if any(_is_step(segment) for segment in whole.split("/")):
        raise ValueError("a segment of dots leads out of the path that it stands in")
    return Template(parts, tuple(_parse_parameter(pair) for pair in query.split("&")) if query else ())


def _parse_parameter(pair: str) -> tuple[str, tuple[str, ...]]:
    name, equals, value = pair.partition("=")
    if not name or not equals or "{" in name or not _LITERAL.fullmatch(name):
        raise ValueError("its query must be of the form name=value&name={key}")
    return name, _split(value)


def _split(text: str) -> tuple[str, ...]:
    parts = tuple(_PLACE.split(text))
    if not all(_LITERAL.fullmatch(part) for part in parts[::2]):
        raise ValueError("write other characters than letters, digits and -._~ as %XX, and a place as {name}")
    return parts


def _encode(value: str) -> str:
    if len(value) > MAX_VALUE_CHARS:
        raise ValueError("it is too long")
    if CONTROL.search(value):
        raise ValueError("it has control characters")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise ValueError("it has half a character") from None


def _encode_segment(values: Mapping[str, str], name: str) -> str:
    if name not in values:
        raise ValueError(f"{name} is not given")
    value = values[name]
    if not value or any(_is_step(part) for part in _SLASHES.split(_decode(value))):
        raise ValueError("it would lead to another path")
    return _encode(value)


def _decode(value: str) -> str:
    for _ in range(MOST_DECODED):
        value = unquote(value, errors="replace")
    return value


def _is_step(segment: str) -> bool:
    """Whether it is `.` or `..` to anyone: some cut parameters off (`..;x`), or white space."""
    return _decode(segment).partition(";")[0].strip() in (".", "..")
