"""Following a log over real hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import trio

from p2pwf.core.ids import PeerId, RunId, block_cid
from p2pwf.errors import NotFound, RemoteError, TryAgain
from p2pwf.net.network import Network
from tests.net.kit import count, networks, peer, until

RUN: RunId = block_cid(b"a submission")


class Log:
    """A log that grows while it is read."""

    def __init__(self) -> None:
        self.send, self._receive = trio.open_memory_channel[bytes](100)
        self.asked: list[tuple[object, ...]] = []
        self.ended = trio.Event()

    async def serve(self, run: RunId, job: str, leg: int, attempt: int, first: int) -> AsyncIterator[bytes]:
        self.asked.append((run, job, leg, attempt, first))
        if job != "build":
            raise NotFound("no such log")
        return self._lines()

    async def _lines(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._receive:
                yield chunk
        finally:
            self.ended.set()


async def read(net: Network, who: str, job: str = "build") -> bytes:
    got = b""
    async with aclosing(net.follow_log(PeerId(who), RUN, job, 2, 1, first_line=7)) as chunks:
        async for chunk in chunks:
            got += chunk
    return got


async def test_lines_arrive_as_they_are_written_until_the_log_is_complete() -> None:
    log = Log()
    async with networks(1, 2) as (net, other):
        net.serve_logs(log.serve)
        async with aclosing(other.follow_log(net.peer_id, RUN, "build", 2, 1, first_line=7)) as chunks:
            for number in range(3):
                log.send.send_nowait(b"line %d\n" % number)
                assert await anext(chunks) == b"line %d\n" % number
            log.send.close()
            with pytest.raises(StopAsyncIteration):
                await anext(chunks)
        assert log.asked == [(RUN, "build", 2, 1, 7)]


async def test_a_large_chunk_arrives_whole() -> None:
    log = Log()
    async with networks(1, 2) as (net, other):
        net.serve_logs(log.serve)
        log.send.send_nowait(b"x" * 2_500_000)
        log.send.close()
        assert await read(other, net.peer_id) == b"x" * 2_500_000


async def test_an_unknown_log_is_not_found() -> None:
    log = Log()
    async with networks(1, 2) as (net, other):
        net.serve_logs(log.serve)
        with pytest.raises(NotFound):
            await read(other, net.peer_id, "another")
        with pytest.raises(NotFound):
            await read(net, other.peer_id)


async def test_a_follower_that_stops_ends_the_work_at_the_source() -> None:
    log = Log()
    async with networks(1, 2) as (net, other):
        net.serve_logs(log.serve)
        log.send.send_nowait(b"line\n")
        async with aclosing(other.follow_log(net.peer_id, RUN, "build", 2, 1)) as chunks:
            assert await anext(chunks) == b"line\n"
        with trio.fail_after(20):
            await log.ended.wait()


async def test_a_log_comes_through_a_member_that_knows_both() -> None:
    log = Log()
    async with networks(1, 2, 3) as (_hub, source, follower):
        source.serve_logs(log.serve)
        log.send.send_nowait(b"line\n")
        log.send.close()
        assert await read(follower, source.peer_id) == b"line\n"
        with pytest.raises(NotFound):
            await read(follower, source.peer_id, "another")
        with pytest.raises(TryAgain):
            await read(follower, peer(9))


async def test_a_log_that_is_cut_is_not_taken_for_complete() -> None:
    log = Log()
    async with networks(1, 2) as (net, other):
        net.serve_logs(log.serve)
        log.send.send_nowait(b"line\n")
        async with aclosing(other.follow_log(net.peer_id, RUN, "build", 2, 1)) as chunks:
            assert await anext(chunks) == b"line\n"
            await net.drop(other.peer_id)
            with pytest.raises(RemoteError, match=r"log|broke"):
                await anext(chunks)


async def test_a_malformed_request_is_an_offence() -> None:
    async with networks(1, 2) as (net, other):
        stream = await other.open_to(net.peer_id, "/p2pwf/logs/1.0.0")
        await stream.write_frame(b"\xa1\x61v\x01")
        await until(lambda: count(net, "strike_protocol") == 1)


async def test_a_source_whose_log_fails_ends_that_stream_only() -> None:
    async def broken(*_: object) -> AsyncIterator[bytes]:
        raise ZeroDivisionError

    async with networks(1, 2) as (net, other):
        net.serve_logs(broken)
        with pytest.raises(RemoteError):
            await read(other, net.peer_id)
        assert count(net, "handler_raised") == 1
        assert other.send(net.peer_id, b"still here")
