"""Bodies of lookups and searches that are sent by POST, as a configuration writes them, with places. Pure.

    body = { filter = { mail = "{key}" }, fields = ["name", "city"] }

A place is a whole value and never a part of one: so a key cannot become a piece of somebody's query language, and as
JSON it cannot leave its place either.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from collector.adapters.rest_template import CONTROL, MAX_VALUE_CHARS

MAX_DEPTH = 10
_PLACE = re.compile(r"\{([a-z][a-z0-9_]{0,62})\}")
_GONE = object()


class BodyTemplate(NamedTuple):
    """A JSON object in which some values are places. `names`: all of them."""

    content: Mapping[str, Any]
    names: frozenset[str]

    def fill(self, values: Mapping[str, str | int]) -> bytes:
        """Return the body. What has the place of a value that is not given is left out. Raises ValueError for what
        cannot stand in it."""
        for value in values.values():
            if isinstance(value, str) and len(value) > MAX_VALUE_CHARS:
                raise ValueError("it is too long")
            if isinstance(value, str) and CONTROL.search(value):
                raise ValueError("it has control characters")
        try:
            return msgspec.json.encode(_fill(self.content, values))
        except UnicodeEncodeError:
            raise ValueError("it has half a character") from None


def parse_body(content: Mapping[str, Any], reserved: Collection[str]) -> BodyTemplate:
    """Read a body with places. `reserved`: names that are always places. Raises ValueError with the reason."""
    texts = list(_list_texts(content, 0))
    names = frozenset(found[1] for text in texts if (found := _PLACE.fullmatch(text)))
    for text in texts:
        if not _PLACE.fullmatch(text) and (parts := names.union(reserved).intersection(_PLACE.findall(text))):
            raise ValueError(f"the place {{{min(parts)}}} must be a whole value, and not a part of a text")
    return BodyTemplate(content, names)


def _list_texts(value: Any, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise ValueError(f"it is deeper than {MAX_DEPTH}")
    match value:
        case str():
            yield value
        case dict():
            for name, one in value.items():
                if _PLACE.fullmatch(name):
                    raise ValueError("a place is a value, and never a name")
                yield from _list_texts(one, depth + 1)
        case list():
            for one in value:
                yield from _list_texts(one, depth + 1)
        case int() | float():
            pass
        case _:
            raise ValueError("it has texts, numbers, true and false, lists and tables, and nothing else")


def _fill(value: Any, values: Mapping[str, str | int]) -> Any:
    if isinstance(value, str):
        found = _PLACE.fullmatch(value)
        return values.get(found[1], _GONE) if found else value
    if isinstance(value, dict):
        filled = ((name, _fill(one, values)) for name, one in value.items())
        return {name: one for name, one in filled if one is not _GONE}
    if isinstance(value, list):
        return [one for one in (_fill(item, values) for item in value) if one is not _GONE]
    return value
