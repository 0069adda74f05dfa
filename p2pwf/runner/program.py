"""Runs one program of a step: starts it, reads it, ends it with everything that it started. Knows no workflow."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import attrs
import trio

from p2pwf.runner.log import Stream
from p2pwf.runner.processes import Launch, Process, Supervisor
from p2pwf.runner.values import Limits

READ_SIZE: Final = 1 << 14
"""One read of output: what is done with it at a stretch, line by line, keeps the event loop for milliseconds only."""
BYTES_A_SECOND: Final = 16 << 20
BURST: Final = 64 << 20
"""Of each stream, once it has had a burst: a tenth of what this process can take in, so that one job that prints for
ever leaves the rest of the node its time. What prints more waits, as it would for a slow terminal."""
POLITE: Final = (signal.SIGINT, signal.SIGTERM)
HASTY: Final = (signal.SIGTERM,)
"""What a program is told before it is killed: as GitHub does it, and where the node itself has to leave."""


class Sink(Protocol):
    """Where the output of a program goes; an empty chunk is a stream's end."""

    def feed(self, stream: Stream, data: bytes) -> None: ...


@attrs.frozen(slots=True)
class Ended:
    """How a program ended; `alone`: no process of the job was left then."""

    status: int
    alone: bool


async def run_program(
    supervisor: Supervisor,
    readers: trio.Nursery,
    limits: Limits,
    launch: Launch,
    output: Sink,
    *,
    started: Callable[[], None] | None = None,
    polite: Callable[[], bool] = lambda: False,
) -> Ended:
    """Run a program to its end; raises TryAgain if it cannot be started.

    When the trio scope around is cancelled, the program is told to end, and then it and all that it started are
    killed before this lets go: with the two signals that GitHub sends if `polite` says so, else with one.
    `started` is called while the program gets going.
    """
    try:
        process = await supervisor.start(launch)
    finally:
        if started is not None:
            started()
    ends = (trio.Event(), trio.Event())
    readers.start_soon(_pump, "stdout", process.stdout, output, ends[0])
    readers.start_soon(_pump, "stderr", process.stderr, output, ends[1])
    try:
        status = await process.wait()
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            gently = polite()
            await _stop(supervisor, limits, process, POLITE if gently else HASTY)
            if gently:
                await _linger(limits, ends)
        raise
    await _linger(limits, ends)
    return Ended(status, process.alone)


async def _linger(limits: Limits, ends: Sequence[trio.Event]) -> None:
    # Its own children may still be writing; one that stays for longer is read on, but not waited for.
    with trio.move_on_after(limits.linger_s):
        for end in ends:
            await end.wait()


async def _stop(supervisor: Supervisor, limits: Limits, process: Process, signals: Sequence[signal.Signals]) -> None:
    """End a program: it is asked first, then everything it started is killed. Bounded in time."""
    for number in signals:
        await supervisor.signal(process, number)
        grace = limits.interrupt_s if number is signal.SIGINT else limits.terminate_s
        with trio.move_on_after(grace):
            await process.wait()
            break
    await supervisor.kill(process)


async def _pump(stream: Stream, pipe: trio.lowlevel.FdStream, output: Sink, end: trio.Event) -> None:
    """Read one of a program's pipes until all its writers are gone, no faster than is sensible: then they wait."""
    ahead, since = 0.0, trio.current_time()
    async with pipe:
        while data := await pipe.receive_some(READ_SIZE):
            output.feed(stream, data)
            now = trio.current_time()
            ahead, since = max(0.0, ahead - (now - since) * BYTES_A_SECOND) + len(data), now
            if ahead > BURST:
                await trio.sleep((ahead - BURST) / BYTES_A_SECOND)
    output.feed(stream, b"")
    end.set()
