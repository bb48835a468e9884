"""Step `decode`: bytes to an Envelope, or the reason why not.

The bounds on bytes and depth are checked here, before and while decoding; those on what the fields hold are checked
in `validate`. Nothing of the body survives a refusal, and a field's path is named, never its value.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from collector.event import Beacon, Context, Envelope, Rejected
from collector.reasons import Reason

MAX_DEPTH = 16
"""Deepest nesting of a body, the body itself counted as 1."""

_Form = TypeVar("_Form")
_DECODER = msgspec.json.Decoder(Envelope)
_BRACKETS = b"[]{}"
_NOT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_PATH = re.compile(r"at `\$\.?([\w.\[\]]{0,80})")


def decode(beacon: Beacon, context: Context) -> Beacon | Rejected:
    """Fill in the envelope."""
    answer = read_json(_DECODER, beacon.body)
    if isinstance(answer, Rejected):
        return answer
    beacon.envelope = answer
    return beacon


def read_json(decoder: msgspec.json.Decoder[_Form], body: bytes) -> _Form | Rejected:
    """Return what the body holds, or why not. Never raises."""
    if is_too_deep(body):
        return Rejected(Reason.DEPTH)
    if b"\\u" in body:
        body = mend_surrogates(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        return Rejected(Reason.SHAPE, field=find_path(error))
    except RecursionError:
        return Rejected(Reason.DEPTH)
    except UnicodeDecodeError:
        return Rejected(Reason.ENCODING)
    except ValueError:  # msgspec.DecodeError is one
        return Rejected(Reason.SYNTAX)


def find_path(error: msgspec.ValidationError) -> str:
    """Return the path of the field that has the wrong type: names that we know, never keys of the sender's."""
    path = _PATH.search(str(error))
    return path.group(1) if path else ""


def mend_surrogates(body: bytes) -> bytes:
    """Put U+FFFD in place of each half of a surrogate pair that stands alone, as cutting a text leaves it.

    Scripts may hold such texts, and JSON.stringify writes the half as `\\ud83d`; in UTF-8 there is no such character,
    and one cut title would cost the whole beacon.
    """
    return _ESCAPES.sub(lambda found: b"\\ufffd" if found.lastgroup == "half" else found.group(), body)


def is_too_deep(body: bytes) -> bool:
    """Whether the body nests far too deep to be worth decoding.

    Brackets alone, taken away pair by pair from the inside, are gone after a few rounds in every honest body. Where
    they are not, because of depth or of brackets inside strings, a slower reading that knows strings decides. What is
    only a little too deep, or hides it behind brackets in strings, is found by `validate`; the decoder itself stops
    at the interpreter's own bound.
    """
    brackets = body.translate(None, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return False
        rest = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(rest) == len(brackets):
            break  # nor will the next rounds find a pair: a megabyte of them would take time
        brackets = rest
    if not brackets:
        return False
    opened = bytearray()
    for token in _TOKENS.finditer(body):
        first = token.group()[0]
        if first in b"[{":
            opened.append(first)
            if len(opened) > MAX_DEPTH:
                return True
        elif first in b"]}" and (not opened or opened.pop() != first - 2):
            return False  # no JSON: the decoder stops there as well
    return False
