"""Performs the engine's outputs on real parts: the network, the jobs, the watchers. Decides nothing.

The network is replaced when its host dies; everything here looks at the one that stands, and loses what is sent while
none does: gossip and streams are hints, the clock heals.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

import structlog
import trio

from p2pwf.clock.messages import MAX_FRAME, Events, Message, encode_message
from p2pwf.core.dagcbor import DagCborError, decode, encode
from p2pwf.core.events import Event, SignedBlock
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.desk import chunks
from p2pwf.engine.inputs import BaseMade, BaseRead, Recalled, Sealed
from p2pwf.engine.outputs import (
    Alarm,
    CancelJob,
    FetchBase,
    Learned,
    MakeBase,
    MembersChanged,
    Misbehaved,
    Named,
    Output,
    Publish,
    Ready,
    Recall,
    Reseal,
    RunsChanged,
    Scheduled,
    Send,
    SendEvents,
    StartJob,
)
from p2pwf.errors import InternalError, P2pwfError, TryAgain
from p2pwf.net.network import Network
from p2pwf.node.bases import Bases
from p2pwf.node.holds import Holds
from p2pwf.node.jobs import Jobs
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import Commit, EventStore

ADDRESS: Final = "address/"
BULK_READ: Final = 256
"""Events read from the store at a time while a peer is brought up to date."""
ALARMS_KEPT: Final = 32
"""What a person is shown; the log has all."""
MAX_BULK: Final = 64
"""Bulk sends waiting for one peer: more than one at a time is rare."""

log = structlog.get_logger()


class NodeShell:
    """Implements `loop.Shell`, and `jobs.Reach`. `changed` wakes whoever watches runs."""

    def __init__(self, store: EventStore, blobs: BlobStore, nursery: trio.Nursery, me: PeerId) -> None:
        self._store = store
        self._blobs = blobs
        self._nursery = nursery
        self._me = me
        self.network: Network | None = None
        self.listening = trio.Event()
        self.jobs: Jobs | None = None
        self.holds: Holds | None = None
        self.report: Callable[[Recalled | Sealed | BaseMade | BaseRead], Awaitable[None]]
        self.bases: Bases
        self.reseal: Callable[[Reseal], Sealed]
        self.is_member: Callable[[PeerId], bool] = lambda _: False
        self.farewell: Callable[[PeerId], Awaitable[list[bytes]]]
        self.ready = trio.Event()
        self.alarms: deque[str] = deque(maxlen=ALARMS_KEPT)
        self.version = 0
        self._changed = trio.Event()
        self._bulk: dict[PeerId, OrderedDict[Cid, None]] = {}
        self.addresses: dict[PeerId, tuple[str, ...]] = {}
        self.dropped = 0

    def load_addresses(self, meta: dict[str, bytes]) -> None:
        """Remember where members could be dialled before this start."""
        for name, value in meta.items():
            if name.startswith(ADDRESS):
                try:
                    found = decode(value)
                except DagCborError:
                    continue
                if isinstance(found, list):
                    self.addresses[PeerId(name.removeprefix(ADDRESS))] = tuple(str(one) for one in found)

    # -- watching -----------------------------------------------------------------------------------------------

    async def wait_changed(self, seen: int) -> int:
        """Wait until some run looks different from version `seen`; returns the version now."""
        while self.version == seen:
            await self._changed.wait()
        return self.version

    def touch(self) -> None:
        """Something that watchers show is different now."""
        self.version += 1
        event, self._changed = self._changed, trio.Event()
        event.set()

    # -- performing ---------------------------------------------------------------------------------------------

    async def perform(self, outputs: list[Output]) -> None:
        fresh: list[SignedBlock] = []
        rest: list[Output] = []
        learned: dict[PeerId, tuple[str, ...]] = {}
        for output in outputs:
            if isinstance(output, Publish) and isinstance(output.message, Events):
                fresh.extend(output.message.events)
            elif isinstance(output, Learned):
                learned[output.peer] = output.addresses
            else:
                rest.append(output)
        for chunk in chunks(fresh):
            await self._publish(Events(chunk))
        await self._learn(learned)
        for output in rest:
            await self._perform(output)

    async def _perform(self, output: Output) -> None:
        match output:
            case Publish():
                await self._publish(output.message)
            case Send():
                self._send(output.peer, output.message)
            case SendEvents():
                self._send_bulk(output.peer, output.ids)
            case StartJob():
                self._jobs().start(output)
            case CancelJob():
                self._jobs().cancel(output.attempt)
            case Named():
                if self.holds is not None:
                    self.holds.named(output)
            case Scheduled():
                self._nursery.start_soon(self._take_along, output.schedule)
            case Recall():
                self._nursery.start_soon(self._recall, output.run)
            case Reseal():
                self._nursery.start_soon(self._reseal, output)
            case MakeBase():
                self._nursery.start_soon(self._make_base, output)
            case FetchBase():
                self._nursery.start_soon(self._fetch_base, output)
            case MembersChanged():
                await self._members_changed()
            case RunsChanged():
                self.touch()
            case Misbehaved():
                self._blame(output.peer, output.reason)
            case Ready():
                self.ready.set()
            case Alarm():
                self.alarms.append(output.message)
                log.error(output.message, hint=output.hint)
            case _:
                raise TypeError(f"an output that the shell does not know: {output!r}")

    async def _make_base(self, order: MakeBase) -> None:
        await self.report(await self.bases.make(order))

    async def _fetch_base(self, order: FetchBase) -> None:
        await self.report(await self.bases.fetch(order, self.fetch_blob))

    async def _reseal(self, order: Reseal) -> None:
        await self.report(await trio.to_thread.run_sync(self.reseal, order))

    def _blame(self, peer: PeerId, reason: str) -> None:
        """Count an offence. The log gets the first of a peer and the one that bans it: it must not grow at its will."""
        if self.network is None or peer == self._me:
            return
        banned = self.network.standing(peer).banned_for is not None
        standing = self.network.strike(peer)
        if standing.offences == 1:
            log.warning("peer broke the protocol", peer=peer, reason=reason)
        if standing.banned_for is not None and not banned:
            log.warning("peer kept out for a while", peer=peer, reason=reason, seconds=round(standing.banned_for))

    async def _members_changed(self) -> None:
        if self.network is not None:
            former = [peer for peer in self.network.peers() if not self.is_member(peer)]
            self.network.members_changed({peer: await self.farewell(peer) for peer in former})
            self.want_peers()
        self.touch()

    async def _take_along(self, schedule: Event) -> None:
        """Have the source and the actions of a schedule here, as cache, before its author may be gone."""
        await self.ready.wait()
        body = cast("dict[str, Any]", schedule.body)
        for manifest in [body["source"], *(action["source"] for action in body["actions"].values())]:
            try:
                if manifest is not None:
                    await self._jobs().tree(manifest, [schedule.author])
            except P2pwfError as error:
                log.info("a schedule's source is not here", schedule=schedule.cid.text, error=error.message)

    async def _recall(self, run: Cid) -> None:
        await self.report(Recalled(None, run, await self.events_of(run)))

    async def events_of(self, run: Cid) -> tuple[SignedBlock, ...]:
        """The events of a run, from the disk."""
        found = await trio.to_thread.run_sync(self._store.by_run, run)
        return tuple(SignedBlock(event.block, event.signature) for event in found)

    def _jobs(self) -> Jobs:
        if self.jobs is None:
            raise InternalError("a job before the node is whole")
        return self.jobs

    async def _publish(self, message: Message) -> None:
        data = encode_message(message)
        if self.network is None or len(data) > MAX_FRAME:
            self.dropped += 1
            return
        try:
            await self.network.publish(data)
        except P2pwfError as error:
            self.dropped += 1
            log.info("not published", error=error.message)

    def _send(self, peer: PeerId, message: Message) -> None:
        frame = encode_message(message)
        if self.network is None or len(frame) > MAX_FRAME or not self.network.send(peer, frame):
            self.dropped += 1

    def _send_bulk(self, peer: PeerId, ids: Sequence[Cid]) -> None:
        waiting = self._bulk.get(peer)
        if waiting is not None:
            waiting.update(dict.fromkeys(ids))
            return
        self._bulk[peer] = OrderedDict.fromkeys(ids)
        self._nursery.start_soon(self._bulk_send, peer)

    async def _bulk_send(self, peer: PeerId) -> None:
        """Stream stored events to a peer in order, as fast as it takes them; one such task for each peer."""
        waiting = self._bulk[peer]
        try:
            while waiting:
                ids = [waiting.popitem(last=False)[0] for _ in range(min(BULK_READ, len(waiting)))]
                found = await trio.to_thread.run_sync(self._store.get, ids)
                # What was pruned meanwhile is no event any more: the next hello of that peer leads it to a checkpoint.
                whole = [event for event in found if event is not None and not event.pruned]
                blocks = [SignedBlock(event.block, event.signature) for event in whole]
                for chunk in chunks(blocks):
                    network = self.network
                    if network is None or not await network.send_wait(peer, encode_message(Events(chunk))):
                        self.dropped += 1
                        return
        except P2pwfError as error:
            log.info("not brought up to date", peer=peer, error=error.message)
        finally:
            del self._bulk[peer]

    async def _learn(self, learned: dict[PeerId, tuple[str, ...]]) -> None:
        """Keep the addresses that a batch brought, in one commit: one peer may tell those of hundreds."""
        new = {peer: known for peer, known in learned.items() if known and self.addresses.get(peer) != known}
        if new:
            self.addresses.update(new)
            values = {ADDRESS + peer: encode(list(known)) for peer, known in new.items()}
            await trio.to_thread.run_sync(self._store.commit, Commit((), values))
            self.want_peers()

    def want_peers(self) -> None:
        """Keep every member whose address is known connected."""
        if self.network is not None:
            self.network.want_peers(
                {
                    peer: list(addresses)
                    for peer, addresses in self.addresses.items()
                    if peer != self._me and self.is_member(peer)
                }
            )

    # -- reach, for jobs and views ------------------------------------------------------------------------------

    def connected(self) -> Sequence[PeerId]:
        """The members whose stream stands."""
        return [] if self.network is None else self.network.peers()

    async def fetch_blob(self, cid: Cid, peers: Sequence[PeerId]) -> None:
        """Get a blob from one of `peers`; raises NotFound or TryAgain."""
        if self.network is None:
            raise TryAgain("the network is not up", "try again in a moment")
        await self.network.fetch_blob(cid, peers, self._blobs)

    async def ask_to_hold(self, peer: PeerId, cids: Sequence[Cid]) -> set[Cid]:
        """Ask a member to fetch blobs from here and keep them; which ones it then holds."""
        if self.network is None:
            raise TryAgain("the network is not up", "try again in a moment")
        return await self.network.ask_to_hold(peer, cids)


class Gate:
    """Who may speak with this node. Those that it joins through are trusted until it `joined`, for the first time, and
    while it recovers."""

    def __init__(
        self, holds: Callable[[PeerId], bool], introducers: frozenset[PeerId], joined: Callable[[], bool]
    ) -> None:
        self._holds = holds
        self._introducers = introducers
        self._joined = joined

    def is_member(self, peer: PeerId) -> bool:
        return self._holds(peer) or (peer in self._introducers and not self._joined())
