"""The logs of runs, for who asks: of a running job as it writes, from its owner; of an ended one from its blob."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Final

import trio

from p2pwf.core.ids import Cid, PeerId
from p2pwf.errors import P2pwfError
from p2pwf.node.loglines import LogLines, lines_in
from p2pwf.node.node import Node
from p2pwf.runs import Run
from p2pwf.runs.run import Key
from p2pwf.runs.view import find_legs, keys_of

FOLLOW_SECONDS: Final = 1.0
"""Between two looks for a log that has not begun, or whose peer could not be reached."""


class LogReader:
    """Reads the logs that a node has or can fetch."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def lines(self, run: Run, job: str | None, follow: bool) -> AsyncGenerator[dict[str, Any], None]:
        """Log lines {job, name, attempt, time, step, stream, text}, job by job; with `follow` until each has ended.

        `job`: only what `find_legs` finds. Raises what that raises, and NotFound or TryAgain for a log that nobody
        gives.
        """
        done: set[Key] = set()
        while True:
            keys = keys_of(run) if job is None else find_legs(run, job)
            waiting = [key for key in keys if key not in done]
            for key in waiting:
                if self._has_log(run, key) or not follow:
                    async for line in self._leg_log(run, key, follow):
                        yield line
                    done.add(key)
                    break
            else:
                if not follow or run.tally.end is not None or (job is not None and keys):
                    return
                with trio.move_on_after(FOLLOW_SECONDS):
                    await self._node.shell.wait_changed(self._node.shell.version)

    def _has_log(self, run: Run, key: Key) -> bool:
        leg = run.tally.leg(key)
        return run.tally.finish(key) is not None or leg.attempt in leg.starts

    async def _leg_log(self, run: Run, key: Key, follow: bool) -> AsyncGenerator[dict[str, Any], None]:
        """One leg's log: as it is written while it runs, from whoever runs it; else from the blob that is left."""
        name = key[0] if (leg := run.leg(key)) is None else leg.name
        attempt = seen = 0
        """Of which attempt how many lines were given: another one has a log of its own."""
        while run.tally.finish(key) is None:
            state = run.tally.leg(key)
            owner = run.owner(key)
            if state.attempt != attempt:
                attempt, seen = state.attempt, 0
            if attempt in state.starts and owner is not None:
                about = {"job": key[0], "name": name, "attempt": attempt}
                with suppress(P2pwfError):  # its peer cannot be reached: another attempt may follow, or its outcome
                    async with aclosing(self._live(run.id, key, attempt, owner, seen, follow)) as lines:
                        async for line in lines:
                            seen += 1
                            yield {**about, **line}
            if not follow or run.tally.end is not None:
                return
            if run.tally.finish(key) is None:
                with trio.move_on_after(FOLLOW_SECONDS):
                    await self._node.shell.wait_changed(self._node.shell.version)
        finish = run.tally.finish(key)
        cid = None if finish is None else finish.body.get("log")
        if finish is None or not isinstance(cid, Cid):
            return
        about = {"job": key[0], "name": name, "attempt": finish.attempt}
        path = await self._node.jobs.blob(cid, [finish.author, run.submitter])
        async with aclosing(lines_in(path, seen if finish.attempt == attempt else 0)) as lines:
            async for line in lines:
                yield {**about, **line}

    async def _live(
        self, run: Cid, key: Key, attempt: int, owner: PeerId, first: int, follow: bool
    ) -> AsyncGenerator[dict[str, Any], None]:

        node = self._node
        for known, running in node.jobs.running.items():
            if (known.run, known.job, known.leg, known.number) == (run, *key, attempt):
                if not follow:
                    async with aclosing(lines_in(running.log.path, first)) as lines:
                        async for line in lines:
                            yield line
                    return
                async for one in running.log.follow(first):
                    yield {"time": one.time_ms, "step": one.step, "stream": one.stream, "text": one.text}
                return
        if owner == node.me or node.network is None:
            return
        deadline = float("inf") if follow else trio.current_time() + FOLLOW_SECONDS
        remote = node.network.follow_log(owner, run, *key, attempt, first_line=first)
        async with aclosing(remote) as chunks:
            read = LogLines()
            while True:
                with trio.move_on_at(deadline) as scope:
                    try:
                        chunk = await anext(chunks)
                    except StopAsyncIteration:
                        return
                if scope.cancelled_caught:
                    return
                for line in read.feed(chunk):
                    yield line
