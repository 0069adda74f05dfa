"""Frames on a byte stream: an unsigned varint of the length, then that many bytes. No I/O, no libp2p.

A length beyond the limit is refused as soon as it is read, before a byte of the body is kept.
Source of the varint: the multiformats unsigned-varint specification (minimal encoding, here of at most 5 bytes).
"""

from __future__ import annotations

from p2pwf.errors import RemoteError

MAX_LENGTH_BYTES = 5
"""A frame's length fits 32 bits; a longer varint is a mistake or an attack."""


class BrokenFrame(RemoteError):
    """What no version of any peer sends: a frame of a length that cannot be, or one that is not of its codec at all."""


def encode_length(length: int) -> bytes:
    """`length` as an unsigned varint."""
    if not 0 <= length < 1 << 32:
        raise ValueError("a frame's length fits 32 bits")
    out = bytearray()
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out)


def frame(data: bytes) -> bytes:
    """`data` with its length before it."""
    return encode_length(len(data)) + data


class FrameDecoder:
    """Frames out of a stream of bytes that comes in any pieces.

    `feed` bytes, then call `next_frame` with the limit that holds at this point of the protocol until it gives None.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        self._buffer += data

    def next_frame(self, limit: int) -> bytes | None:
        """The next whole frame, or None until more is fed; raises BrokenFrame for one over `limit` bytes."""
        head = self._length(limit)
        if head is None:
            return None
        start, length = head
        if len(self._buffer) < start + length:
            return None
        data = bytes(memoryview(self._buffer)[start : start + length])
        del self._buffer[: start + length]
        return data

    def take(self, limit: int) -> bytes:
        """Up to `limit` bytes as they are: where a protocol goes on with a body that has no frames."""
        data = bytes(memoryview(self._buffer)[:limit])
        del self._buffer[: len(data)]
        return data

    @property
    def pending(self) -> int:
        """Bytes fed and not given out yet; 0 means that the stream stands between two frames."""
        return len(self._buffer)

    def _length(self, limit: int) -> tuple[int, int] | None:
        value = 0
        for index, byte in enumerate(self._buffer[:MAX_LENGTH_BYTES]):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if byte == 0 and index > 0:
                    raise BrokenFrame("a frame's length is not minimally encoded")
                if value > limit:
                    raise BrokenFrame(f"a frame of {value} bytes, the limit is {limit}")
                return index + 1, value
        if len(self._buffer) >= MAX_LENGTH_BYTES:
            raise BrokenFrame("a frame's length is longer than 5 bytes")
        return None
