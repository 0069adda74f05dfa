"""Round trips to a connected peer, on a stream of libp2p's ping. Knows who was asked, and nothing of why.

Source: the libp2p ping specification: 32 random bytes, which come back as they are.
"""

from __future__ import annotations

from secrets import token_bytes
from typing import Final

import trio

from p2pwf.errors import RemoteError
from p2pwf.net.stream import WireStream

PROTOCOL: Final = "/ipfs/ping/1.0.0"
LENGTH: Final = 32


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
