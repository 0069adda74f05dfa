"""Round trips to a connected peer, on a stream of libp2p's ping, asked for and answered. Knows nothing of why.

Source: the libp2p ping specification: 32 random bytes, which come back as they are.
"""

from __future__ import annotations

from secrets import token_bytes
from typing import Final

import trio

from p2pwf.errors import RemoteError
from p2pwf.net.conduct import Allowances, Conduct
from p2pwf.net.stream import WireStream

PROTOCOL: Final = "/ipfs/ping/1.0.0"
LENGTH: Final = 32
IDLE: Final = 15.0
"""Seconds that a stream is held for the next round trip."""
RATE: Final = 20.0
BURST: Final = 100.0
"""Round trips of one peer: who measures asks once a second. Beyond, it waits."""


class Pings:
    """Answers round trips."""

    def __init__(self, conduct: Conduct) -> None:
        self._conduct = conduct
        self._asked = Allowances(RATE, BURST)

    async def serve(self, stream: WireStream) -> None:
        """Send back what comes on a stream, 32 bytes at a time, until it ends or is idle for long."""
        while True:
            payload = b""
            with trio.move_on_after(IDLE):
                while len(payload) < LENGTH and (more := await stream.read_some(LENGTH - len(payload))):
                    payload += more
            if len(payload) < LENGTH:
                return
            await self._conduct.pace(stream.peer, self._asked)
            await stream.write(payload)


async def round_trip(stream: WireStream, seconds: float) -> float:
    """Seconds that a peer takes to send 32 bytes back; closes the stream.

    Raises RemoteError if other bytes come, or none within `seconds`.
    """
    payload, echo = token_bytes(LENGTH), b""
    try:
        with trio.fail_after(seconds):
            began = trio.current_time()
            await stream.write(payload)
            while len(echo) < LENGTH:
                more = await stream.read_some(LENGTH - len(echo))
                if not more:
                    raise RemoteError(f"{stream.peer} ended a ping before it had answered")
                echo += more
            took = trio.current_time() - began
    except trio.TooSlowError:
        raise RemoteError(f"{stream.peer} did not answer within {seconds:g} s") from None
    finally:
        await stream.close()
    if echo != payload:
        raise RemoteError(f"{stream.peer} answered a ping with other bytes")
    return took
