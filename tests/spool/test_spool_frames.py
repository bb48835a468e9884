"""Frames: what was written is found again, and among damage everything that was not hit."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.spool.frames import MAX_LINE_BYTES, OVERHEAD_BYTES, encode_frame, is_torn, scan_frames

inner = st.binary(max_size=200).filter(lambda text: b"\n" not in text)
lines = st.lists(inner.map(lambda text: b"{" + text + b"}"), min_size=1, max_size=12)
LINES = [b'{"a":%d,"text":"%b"}' % (number, b"x" * (number * 7 % 40)) for number in range(8)]
SEGMENT = b"".join(encode_frame(line) for line in LINES)


def read_lines(data: bytes) -> list[bytes]:
    return [stretch.line for stretch in scan_frames(data) if stretch.line is not None]


@given(lines)
def test_round_trip(written: list[bytes]) -> None:
    """Every line that was written is read again, in order, and nothing else."""
    assert read_lines(b"".join(encode_frame(line) for line in written)) == written


@given(st.binary(max_size=2000), lines)
def test_no_gaps(junk: bytes, written: list[bytes]) -> None:
    """Whatever the bytes, the stretches cover them all, and a frame after a newline is found behind any junk."""
    data = junk + b"\n" + b"".join(encode_frame(line) for line in written)
    stretches = list(scan_frames(data))
    assert b"".join(data[stretch.start : stretch.end] for stretch in stretches) == data
    assert read_lines(data)[-len(written) :] == written


def test_frame_of_a_known_line() -> None:
    """The format is on people's disks: it does not change unnoticed."""
    assert encode_frame(b'{"a":1}') == b'93bc922100000007 {"a":1}\n'
    assert len(b"93bc922100000007 \n") == OVERHEAD_BYTES


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"a":\n1}', b"{" + b" " * MAX_LINE_BYTES + b"}"])
def test_no_line(line: bytes) -> None:
    """What would break the framing or never fit an insert is refused before it is written."""
    with pytest.raises(ValueError, match="spool line"):
        encode_frame(line)


def test_every_flipped_bit_costs_one_frame_at_most() -> None:
    """A flipped bit never changes a line, and never costs more than the frame that it hit."""
    for bit in range(len(SEGMENT) * 8):
        data = bytearray(SEGMENT)
        data[bit // 8] ^= 1 << bit % 8
        found = read_lines(bytes(data))
        lost = [line for line in LINES if line not in found]
        assert len(lost) <= 1, f"bit {bit}"
        assert found == [line for line in LINES if line not in lost], f"bit {bit}"


def test_many_flipped_bits() -> None:
    """A thousand flips spread over a segment: what is read is what was written, in order, and most of it is there."""
    chance = random.Random(4711)
    written = [b'{"number":%d,"text":"%b"}' % (number, b"y" * chance.randrange(300)) for number in range(4000)]
    data = bytearray(b"".join(encode_frame(line) for line in written))
    for _ in range(1000):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    found = read_lines(bytes(data))
    rest = iter(written)
    assert all(line in rest for line in found)
    assert len(found) >= 3000


@pytest.mark.parametrize("cut", range(1, OVERHEAD_BYTES + len(LINES[-1])))
def test_cut_frame_is_torn(cut: int) -> None:
    """However many bytes of the last frame are missing, it is known as a write that was not completed."""
    data = SEGMENT[:-cut]
    *found, tail = scan_frames(data)
    assert [stretch.line for stretch in found] == LINES[:-1]
    assert tail.line is None
    assert is_torn(data, tail.start)


def test_zeros_are_torn_but_a_changed_frame_is_not() -> None:
    """Zeros at the end are space that was never written; a whole frame with a wrong byte was acknowledged once."""
    assert is_torn(SEGMENT + bytes(5000), len(SEGMENT))
    changed = SEGMENT[:-3] + b"~" + SEGMENT[-2:]
    assert not is_torn(changed, len(SEGMENT) - len(encode_frame(LINES[-1])))


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_junk_is_never_a_line(junk: bytes) -> None:
    """Bytes that nobody framed are damage."""
    assert read_lines(junk) == []
