from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.errors import RemoteError
from p2pwf.net.framing import FrameDecoder, encode_length, frame


@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_out_as_they_went_in_however_they_are_cut(frames: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(frame(data) for data in frames)
    decoder = FrameDecoder()
    got = []
    at = 0
    for number in range(len(wire) + 1):
        size = cuts[number % len(cuts)]
        decoder.feed(wire[at : at + size])
        at += size
        while (data := decoder.next_frame(300)) is not None:
            got.append(data)
        if at >= len(wire):
            break
    assert got == frames
    assert decoder.pending == 0


@given(st.integers(0, 2**32 - 1))
def test_a_length_is_a_minimal_varint(length: int) -> None:
    encoded = encode_length(length)
    assert sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(encoded)) == length
    assert len(encoded) == max(1, -(-length.bit_length() // 7))


@pytest.mark.parametrize(
    "wire",
    [b"\x65", b"\x80\x00", b"\xff\xff\xff\xff\xff", b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x80\x01"],
    ids=["over the limit", "not minimal", "too long", "4 GiB", "six bytes"],
)
def test_a_bad_length_is_refused_before_the_body(wire: bytes) -> None:
    decoder = FrameDecoder()
    decoder.feed(wire)
    with pytest.raises(RemoteError):
        decoder.next_frame(100)


@given(st.binary(max_size=100))
def test_any_bytes_give_frames_within_the_limit_or_a_refusal(wire: bytes) -> None:
    decoder = FrameDecoder()
    decoder.feed(wire)
    try:
        while (data := decoder.next_frame(50)) is not None:
            assert len(data) <= 50
    except RemoteError:
        pass


def test_a_raw_body_follows_a_frame() -> None:
    decoder = FrameDecoder()
    decoder.feed(frame(b"head") + b"body")
    assert decoder.next_frame(10) == b"head"
    assert decoder.take(3) == b"bod"
    assert decoder.take(3) == b"y"
    assert decoder.take(3) == b""
