"""The blob protocol: content by its CID, in ranges, resumed, relayed by one hop. Knows no meaning of any blob.

A stream carries requests one after the other; see protocols/blob.md. The disk is touched in threads only, one chunk
ahead of the network, so that neither waits for the other and a reader never stalls for as long as a writer forgives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

import trio
from attrs import evolve

from p2pwf.core.ids import Cid, PeerId
from p2pwf.errors import NotFound, P2pwfError, RemoteError, StorageError, TryAgain
from p2pwf.net import blob_messages as messages
from p2pwf.net.blob_messages import MAX_HELD, MAX_MESSAGE, Fetch, Held, Hold, Refusal, Sending
from p2pwf.net.conduct import Allowances, Conduct
from p2pwf.net.counters import Counters
from p2pwf.net.requests import SERVER_IDLE, Open, Requester
from p2pwf.net.stream import StreamBroken, WireStream
from p2pwf.net.types import BlobStore, HoldHandler, PartialBlob, Timing

PROTOCOL = "/p2pwf/blob/1.0.0"
CHUNK = 1 << 20
"""Bytes read from disk and written to a stream at a time."""
DISK_BATCH = 1 << 19
"""Bytes received before they are handed to the disk: one thread switch for them all."""
BATCH_SECONDS = 120.0
"""For one batch: 4 KiB/s. Who sends a byte now and then must not keep a job from its source for ever."""
AHEAD = 4
"""Chunks between disk and network."""
MAX_RELAYS = 8
"""Blobs passed through for others at a time: it is a favour, and costs this host its bandwidth twice."""
RELAYS_TRIED = 3
REQUEST_RATE, REQUEST_BURST = 2000.0, 10_000.0
"""Requests of one peer: more than one asks for in turns, on all its streams together. Beyond, it waits."""
HOLD_DEADLINE = 3600.0
"""Seconds that a peer may take to fetch what it is asked to hold; the caller may well be less patient."""


class Blobs:
    """Serves blobs to members and fetches them."""

    def __init__(
        self,
        *,
        timing: Timing,
        counters: Counters,
        conduct: Conduct,
        open_stream: Open,
        connect: Callable[[PeerId], Awaitable[bool]],
        linked: Callable[[], Sequence[PeerId]],
    ) -> None:
        self._timing = timing
        self._counters = counters
        self._conduct = conduct
        self._requests = Requester(PROTOCOL, open_stream)
        self._connect = connect
        self._linked = linked
        self._store: BlobStore | None = None
        self._hold: HoldHandler | None = None
        self._relays = 0
        self._asked = Allowances(REQUEST_RATE, REQUEST_BURST)
        self._fetching: dict[Cid, trio.Event] = {}

    def serve_from(self, store: BlobStore) -> None:
        """Serve the blobs of `store` from now on."""
        self._store = store

    def serve_hold(self, handler: HoldHandler) -> None:
        """Ask `handler` when a member wants blobs held here."""
        self._hold = handler

    # Fetching

    async def fetch(self, cid: Cid, peers: Sequence[PeerId], into: BlobStore) -> None:
        """Get `cid` from one of `peers` into a store; see Network.fetch_blob."""
        while (under_way := self._fetching.get(cid)) is not None:
            await under_way.wait()
        self._fetching[cid] = done = trio.Event()
        try:
            if await trio.to_thread.run_sync(into.size, cid) is None:
                await self._fetch_from_any(cid, peers, into)
        finally:
            del self._fetching[cid]
            done.set()

    async def _fetch_from_any(self, cid: Cid, peers: Sequence[PeerId], into: BlobStore) -> None:
        failures: list[P2pwfError] = []
        for peer in peers:
            if await self._connect(peer) and await self._fetched(cid, peer, None, into, failures):
                return
        for peer in peers:
            relays = [each for each in self._linked() if each != peer]
            for relay in relays[:RELAYS_TRIED] if peer not in self._linked() else ():
                if await self._fetched(cid, relay, peer, into, failures):
                    return
        if failures and all(isinstance(failure, NotFound) for failure in failures):
            raise NotFound(f"no peer that was asked holds {cid}")
        why = failures[-1].message if failures else "no peer could be reached"
        raise TryAgain(f"cannot fetch {cid}: {why}")

    async def _fetched(
        self, cid: Cid, peer: PeerId, via: PeerId | None, into: BlobStore, failures: list[P2pwfError]
    ) -> bool:
        try:
            await self._fetch_from(cid, peer, via, into)
        except StorageError:
            raise  # our own disk: another peer would not help
        except (NotFound, TryAgain, StreamBroken) as failure:
            failures.append(failure)
        except RemoteError as failure:
            failures.append(failure)
            if via is None:
                self._conduct.strike(peer, "blob")
        else:
            return True
        return False

    async def _fetch_from(self, cid: Cid, peer: PeerId, via: PeerId | None, into: BlobStore) -> None:
        partial = await trio.to_thread.run_sync(into.partial, cid)
        try:
            request = messages.encode(Fetch(cid, partial.offset, via=via))
            deadline = self._timing.request + (self._timing.dial if via else 0.0)
            async with self._requests.ask(peer, request, MAX_MESSAGE, deadline) as (head, stream):
                sending = _expect_sending(messages.decode_fetch_answer(head), cid, peer)
                await self._receive(stream, partial, sending.size - partial.offset)
            await trio.to_thread.run_sync(partial.finish)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial.close)

    async def _receive(self, stream: WireStream, partial: PartialBlob, left: int) -> None:
        """Read `left` bytes off the stream while a thread puts those before them on the disk."""
        failure: P2pwfError | None = None
        send, receive = trio.open_memory_channel[bytes](AHEAD)

        async def keep() -> None:
            nonlocal failure
            try:
                async for chunk in receive:
                    await trio.to_thread.run_sync(partial.append, chunk)
            except P2pwfError as error:
                failure = error
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep)
            async with send:
                try:
                    while left > 0:
                        chunk = await self._read_batch(stream, left)
                        left -= len(chunk)
                        await send.send(chunk)
                except RemoteError as error:
                    failure = error  # what came before it is kept, for the next attempt
        if failure is not None:
            raise failure

    async def _read_batch(self, stream: WireStream, left: int) -> bytes:
        batch = bytearray()
        wanted = min(left, DISK_BATCH)
        slowest = trio.current_time() + BATCH_SECONDS
        while len(batch) < wanted:
            data = b""
            try:
                with trio.move_on_at(min(slowest, trio.current_time() + self._timing.stall)):
                    data = await stream.read_some(left - len(batch))
            except StreamBroken:
                if not batch:
                    raise
            if not data:
                if batch and trio.current_time() < slowest:
                    return bytes(batch)
                raise StreamBroken(f"{stream.peer} stopped sending")
            batch += data
        return bytes(batch)

    async def ask_to_hold(self, peer: PeerId, cids: Sequence[Cid]) -> set[Cid]:
        """Ask `peer` to fetch blobs from us and keep them; see Network.ask_to_hold."""
        held: set[Cid] = set()
        for start in range(0, len(cids), MAX_HELD):
            asked = list(cids[start : start + MAX_HELD])
            request = messages.encode(Hold(asked))
            async with self._requests.ask(peer, request, MAX_MESSAGE, HOLD_DEADLINE) as (answer, _):
                held |= set(messages.decode_held(answer).cids) & set(asked)
        return held

    # Serving

    async def serve(self, stream: WireStream) -> None:
        """Answer the requests of one stream until it ends or is idle for long."""
        while True:
            request = None
            with trio.move_on_after(SERVER_IDLE):
                request = await stream.read_frame(MAX_MESSAGE)
            if request is None:
                return
            await self._conduct.pace(stream.peer, self._asked)
            match messages.decode_request(request):
                case Hold(cids):
                    await self._answer_hold(stream, cids)
                case Fetch() as fetch:
                    await self._answer_fetch(stream, fetch)

    async def _answer_fetch(self, stream: WireStream, fetch: Fetch) -> None:
        store, cid = self._store, fetch.cid
        size = await trio.to_thread.run_sync(store.size, cid) if store is not None else None
        if store is None or size is None:
            if fetch.via is None:
                await _refuse(stream, messages.ABSENT)
            else:
                await self._relay(stream, fetch, fetch.via)
            return
        if fetch.offset > size:
            await _refuse(stream, messages.RANGE)
            return
        end = _end_of(fetch, size)
        try:
            first = await trio.to_thread.run_sync(store.read_range, cid, fetch.offset, min(CHUNK, end - fetch.offset))
        except (NotFound, StorageError):
            self._counters.count("blob_unreadable")
            await _refuse(stream, messages.ABSENT)
            return
        await stream.write_frame(messages.encode(Sending(fetch.offset, size)))
        await self._send(stream, store, cid, first, offset=fetch.offset, end=end)

    async def _send(
        self, stream: WireStream, store: BlobStore, cid: Cid, first: bytes, *, offset: int, end: int
    ) -> None:
        """Write the range [offset, end), of which `first` is read already, while a thread reads ahead."""
        failure: Exception | None = None
        send, receive = trio.open_memory_channel[bytes](AHEAD)

        async def read_ahead() -> None:
            nonlocal failure
            async with send:
                at = offset + len(first)
                try:
                    while at < end:
                        chunk = await trio.to_thread.run_sync(store.read_range, cid, at, min(CHUNK, end - at))
                        if not chunk:
                            raise StorageError(f"blob {cid} became shorter while it was read")  # noqa: TRY301
                        at += len(chunk)
                        await send.send(chunk)
                except (NotFound, StorageError) as error:
                    failure = error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_ahead)
            try:
                if first:
                    await stream.write(first)
                async for chunk in receive:
                    await stream.write(chunk)
            except RemoteError as error:
                failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            self._counters.count("blob_send_failed")
            raise StreamBroken(f"sending {cid} failed") from failure
        self._counters.count("blob_bytes_sent", end - offset)

    async def _relay(self, stream: WireStream, fetch: Fetch, source: PeerId) -> None:
        """Pass a blob of `source` through, without keeping it; one hop, so the request onwards names no relay."""
        if source not in self._linked():
            self._counters.count("blob_relay_refused")
            await _refuse(stream, messages.UNREACHABLE)
            return
        if self._relays >= MAX_RELAYS:
            self._counters.count("blob_relay_refused")
            await _refuse(stream, messages.BUSY)
            return
        self._relays += 1
        answered = False
        onwards = messages.encode(evolve(fetch, via=None))
        try:
            async with self._requests.ask(source, onwards, MAX_MESSAGE, self._timing.request) as (head, body):
                answer = messages.decode_fetch_answer(head)
                answered = True
                await stream.write_frame(messages.encode(answer))
                if isinstance(answer, Sending):
                    await self._pass_on(body, stream, max(0, _end_of(fetch, answer.size) - fetch.offset))
        except (TryAgain, RemoteError) as error:
            # Whatever the source did, or failed to do, is not the asker's fault.
            self._counters.count("blob_relay_failed")
            if answered:
                raise StreamBroken(f"relaying {fetch.cid} failed") from error
            await _refuse(stream, messages.UNREACHABLE)
        finally:
            self._relays -= 1

    async def _pass_on(self, source: WireStream, stream: WireStream, left: int) -> None:
        self._counters.count("blob_bytes_relayed", left)
        while left > 0:
            chunk = await self._read_batch(source, left)
            left -= len(chunk)
            await stream.write(chunk)

    async def _answer_hold(self, stream: WireStream, cids: tuple[Cid, ...]) -> None:
        held: Collection[Cid] = () if self._hold is None else await self._hold(stream.peer, cids)
        await stream.write_frame(messages.encode(Held(set(held) & set(cids))))


async def _refuse(stream: WireStream, status: str) -> None:
    await stream.write_frame(messages.encode(Refusal(status)))


def _end_of(fetch: Fetch, size: int) -> int:
    return size if fetch.length is None else min(size, fetch.offset + fetch.length)


def _expect_sending(answer: Sending | Refusal, cid: Cid, peer: PeerId) -> Sending:
    match answer:
        case Sending():
            return answer
        case Refusal(messages.ABSENT):
            raise NotFound(f"{peer} does not hold {cid}")
        case Refusal(status):
            raise TryAgain(f"{peer} cannot send {cid} now: {status}")
