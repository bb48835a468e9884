"""Decoding never raises and never lets anything through that could not be written."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.accept.decode import MAX_DEPTH, is_too_deep
from collector.accept.pipeline import Accepted, accept
from collector.event import LandingRow
from tests.edge_examples import make_body, make_context, make_event, read_line, take

GOOD = msgspec.json.encode(
    make_body(make_event(p={"a": [1, {"b": "c"}]}, k=[{"k": "customer", "v": "4711"}]), f={"v": 1, "s": {"math": "1"}})
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    max_leaves=40,
)


def _check(body: bytes) -> None:
    answer = accept(body, make_context())
    line = read_line(answer)
    row = msgspec.json.decode(line, type=LandingRow)
    assert b"\n" not in line
    if isinstance(answer, Accepted):
        for event in row.events:
            assert isinstance(json.loads(event.props), dict)
    else:
        assert row.events == []
        assert row.rejected


@given(st.binary(max_size=400))
def test_any_bytes_get_an_answer(body: bytes) -> None:
    """No sequence of bytes breaks the pipeline."""
    _check(body)


@given(_JSON)
def test_any_json_gets_an_answer(value: Any) -> None:
    """No JSON document breaks the pipeline."""
    _check(json.dumps(value).encode())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(max_size=20), _JSON, max_size=8))
def test_any_properties_can_be_written(props: dict[str, Any]) -> None:
    """Whatever a site puts into properties is either refused or stands in the line as a JSON object."""
    _check(json.dumps(make_body(make_event(p=props))).encode())


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(make_body(lt="x", hs="x", c="a", rf="x", l="x", z="x", w="x", b=1, o=1, h="h", r="r"))),
    _JSON,
)
def test_any_value_in_any_field_gets_an_answer(field: str, value: Any) -> None:
    """No field can be given a value that breaks the pipeline."""
    _check(json.dumps({**make_body(), field: value}).encode())


@given(st.sampled_from(["i", "n", "t", "u", "r", "h", "p", "k", "q"]), _JSON)
def test_any_value_in_any_event_field_gets_an_answer(field: str, value: Any) -> None:
    """No field of an event can be given a value that breaks the pipeline."""
    _check(json.dumps(make_body({**make_event(), field: value})).encode())


@settings(max_examples=300)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=4), st.integers(0, 4))
def test_a_damaged_beacon_gets_an_answer(position: int, damage: bytes, cut: int) -> None:
    """A beacon with bytes replaced, put in or taken out anywhere gets an answer."""
    _check(GOOD[:position] + damage + GOOD[position + cut :])


@given(st.integers(1, 60), st.booleans())
def test_honest_depth_passes_and_far_too_deep_does_not(depth: int, is_list: bool) -> None:
    """The quick look never refuses what is within the bound, and always what is at twice the bound or more."""
    opening, closing = (b"[", b"]") if is_list else (b'{"a":', b"}")
    body = opening * depth + b"1" + closing * depth
    if depth <= MAX_DEPTH:
        assert not is_too_deep(body)
    if depth > 2 * MAX_DEPTH:
        assert is_too_deep(body)


@given(st.text(alphabet='[]{}"\\a ', max_size=200))
def test_brackets_in_strings_are_no_depth(text: str) -> None:
    """A string full of brackets is refused by no bound on depth."""
    assert not is_too_deep(json.dumps({"a": text}).encode())


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\uDE00 cut", "\ufffd cut"),
        (rb"whole \ud83d\ude00", "whole \U0001f600"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (rb"no escape \\ud83d", "no escape \\ud83d"),
        (rb"quote \"\ud83d\"", 'quote "\ufffd"'),
        (rb"\u00e9", "\u00e9"),
    ],
)
def test_half_a_surrogate_pair_costs_one_character(title: bytes, kept: str) -> None:
    """A text that was cut in the middle of a character does not cost the beacon."""
    body = msgspec.json.encode(make_body(make_event(), h="TITLE")).replace(b"TITLE", title)
    _, row = take(body)
    assert row.events[0].title == kept
