"""One node from start to stop: the data folder's lock, the engine's loop, the network, jobs and the control socket.

Everything lives in one nursery; leaving it ends everything. The network host is supervised: if it dies, another is
opened on the same address, and the engine sees no more than its peers go and come.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from p2pwf.config import NodeSettings
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.tickets import parse_ticket
from p2pwf.engine import Engine
from p2pwf.engine import inputs as to_engine
from p2pwf.errors import InternalError, NotFound, Refused, StorageError
from p2pwf.isolation import Level
from p2pwf.net.network import Network
from p2pwf.net.opened import open_network
from p2pwf.net.types import (
    DuplicateIdentity,
    Frame,
    Gossip,
    JoinReply,
    JoinRequest,
    NetConfig,
    PeerDown,
    PeerUp,
    Unlinked,
)
from p2pwf.node.bases import Bases
from p2pwf.node.birth import Identity, introducers
from p2pwf.node.holds import Holds
from p2pwf.node.jobs import Jobs, RunJob
from p2pwf.node.joining import peer_of
from p2pwf.node.loop import EngineLoop, now
from p2pwf.node.opening import reseal
from p2pwf.node.policing import Gatekeeper
from p2pwf.node.repositories import Repositories
from p2pwf.node.shell import Gate, NodeShell
from p2pwf.node.sources import keep_scheduled
from p2pwf.node.standing import Standing, is_removed, was_member
from p2pwf.runner.isolation.keeper import Keeper
from p2pwf.runner.isolation.probe import Probe
from p2pwf.runner.log import FileLog
from p2pwf.runner.processes import Spawner
from p2pwf.store.blobs import BlobStore
from p2pwf.store.events import Commit, EventStore

DEFAULT_LISTEN: Final = ("/ip4/0.0.0.0/tcp/4070", "/ip6/::/tcp/4070")
LISTEN: Final = "listen"
BLOB_QUOTA: Final = 20 * 1024**3
"""Bytes of blobs kept beyond what runs pin: a setting once somebody needs another."""
STOP_SECONDS: Final = 7.0
"""How long jobs may take to end when the node is stopped: with the rest it is gone within ten seconds."""
REOPEN_SECONDS: Final = 1.0
COLLECT_SECONDS: Final = 600.0

log = structlog.get_logger()


class Node:
    """A running node: what its control API works on."""

    def __init__(
        self,
        *,
        settings: NodeSettings,
        identity: Identity,
        engine: Engine,
        gatekeeper: Gatekeeper,
        store: EventStore,
        blobs: BlobStore,
        work: Path,
        spawner: Spawner | None,
        run: RunJob,
        nursery: trio.Nursery,
        repositories: Repositories,
        keeper: Keeper,
        available: Mapping[Level, Probe],
    ) -> None:
        self.settings = settings
        self.repositories = repositories
        """Where the actions and workflows of other repositories are found at submission."""
        self.identity = identity
        self.engine = engine
        self.gatekeeper = gatekeeper
        self.store = store
        self.blobs = blobs
        self.started = now()
        self.preparing = 0
        """Submissions that are being read and checked."""
        self.available = available
        """What came of trying each level of isolation at the start."""
        self.shell = NodeShell(store, blobs, nursery, engine.desk.me)
        self.loop = EngineLoop(engine, store, self.shell)
        self.jobs = Jobs(
            work=work,
            blobs=blobs,
            reach=self.shell,
            report=self.loop.put,
            nursery=nursery,
            spawner=spawner,
            identity=identity,
            peer=engine.desk.me,
            engine=engine,
            gatekeeper=gatekeeper,
            recall=self.recall,
            keeper=keeper,
            external=engine.desk.config.external,
            run=run,
        )
        self.holds = Holds(blobs, BLOB_QUOTA, self.shell.fetch_blob)
        self.shell.jobs, self.shell.holds = self.jobs, self.holds
        self.shell.report = self.loop.put
        self.shell.bases = Bases(store, blobs, identity.network, engine.desk.me)
        self.shell.reseal = partial(reseal, identity.seed)
        self.shell.load_addresses(engine.desk.meta)
        through = introducers(identity, settings)
        self.shell.addresses.update({peer: addrs for peer, addrs in through.items() if addrs})
        self.gate = Gate(
            lambda peer: engine.desk.roster.holds(peer, None),
            frozenset(through),
            lambda: was_member(engine) and not engine.desk.recovering,
        )
        self.shell.is_member = self.gate.is_member
        self.standing = Standing(engine, self.loop, store, nursery=nursery, request_for=self._request_for)
        self.shell.farewell = self.standing.farewell

    @property
    def me(self) -> PeerId:
        return self.engine.desk.me

    @property
    def network(self) -> Network | None:
        return self.shell.network

    # -- the network --------------------------------------------------------------------------------------------

    async def keep_network(self) -> None:
        """Have a network host for ever."""
        gate = self.gate
        while True:
            listen = await self._listen()
            config = NetConfig(
                listen=listen,
                topic=f"p2pwf/2/{self.identity.network.text}",
                boot=self.engine.desk.config.boot,
                announce=tuple(self.settings.announce),
                psk=self.identity.psk,
                mdns=self.settings.mdns,
            )
            try:
                async with open_network(config, self.identity.seed, gate) as net:
                    await self._serve(net)
            except InternalError:
                log.exception("the network host died and is opened again")
            finally:
                self.shell.network = None
            await trio.sleep(REOPEN_SECONDS)

    async def _listen(self) -> tuple[str, ...]:
        """Where to listen: as told, or on the default port; a port that was any (0, or the default taken) stays what
        it was last time if it is free, so that tickets and other peers' notes of this node stay true."""
        asked = tuple(self.settings.listen)
        kept = self.engine.desk.meta.get(LISTEN)
        wanted, _, port = kept.decode().partition("\n") if kept else ("", "", "")
        if port and wanted.split() == list(asked or DEFAULT_LISTEN):
            again = _with_port(asked or DEFAULT_LISTEN, port)
            if await _is_free(again):
                return again
        if asked or await _is_free(DEFAULT_LISTEN):
            return asked or DEFAULT_LISTEN
        return _with_port(DEFAULT_LISTEN, "0", of_any=False)

    async def _serve(self, net: Network) -> None:
        net.serve_blobs(self.blobs)
        net.serve_hold(self.holds.take)
        net.serve_logs(self._serve_log)
        net.serve_join(self._join, self.standing.past)
        self.shell.network = net
        self.shell.listening.set()
        await self._keep_port(net)
        self.shell.want_peers()
        await self.loop.put(to_engine.Addresses(tuple(net.addresses())))
        async for event in net.events:
            match event:
                case PeerUp():
                    await self.loop.put(to_engine.PeerUp(event.peer))
                case PeerDown():
                    await self.loop.put(to_engine.PeerDown(event.peer))
                case Frame():
                    await self.loop.put(to_engine.Frame(event.peer, event.data), event.handled)
                case Gossip():
                    await self.loop.put(to_engine.Gossip(event.author, event.data), event.handled)
                case Unlinked():
                    self.standing.unlinked(net, event.peer)
                case DuplicateIdentity():
                    self.shell.alarms.append(f"two nodes run with the key of {event.peer}")
                    log.error("two nodes run with one key", peer=event.peer, hint="give each a data folder of its own")

    async def _keep_port(self, net: Network) -> None:
        """Remember the port, if it was the system's choice."""
        asked = tuple(self.settings.listen) or DEFAULT_LISTEN
        ports = [parts[4] for parts in (address.split("/") for address in net.addresses()) if parts[3] == "tcp"]
        if not ports or (self.settings.listen and not any(address.endswith("/tcp/0") for address in asked)):
            return
        kept = f"{' '.join(asked)}\n{ports[0]}".encode()
        if self.engine.desk.meta.get(LISTEN) != kept:
            self.engine.desk.meta[LISTEN] = kept
            await trio.to_thread.run_sync(self.store.commit, Commit((), {LISTEN: kept}))

    async def recall(self, run: Cid) -> None:
        """Hold an ended run whole in memory again, if it is not."""
        if run in self.engine.desk.pruned:
            raise Refused(
                f"the run {run.text} was pruned: `workflow list` shows what is left of it",
                "an archive made before that has the rest: `p2pwf clock export`",
            )
        if run in self.engine.desk.cold:
            blocks = await self.shell.events_of(run)
            await self.loop.ask(partial(to_engine.Recalled, run=run, blocks=blocks))

    def _request_for(self, peer: PeerId) -> JoinRequest:
        """The question to a member that may not know this node; its issuer is shown the ticket that was given."""
        identity, join = self.identity, self.settings.join
        ticket = parse_ticket(join) if join else None
        secret = ticket.secret if ticket and peer in {peer_of(address) for address in ticket.addresses} else None
        return JoinRequest(identity.network, secret, identity.name, identity.labels, identity.slots)

    async def _join(self, peer: PeerId, request: JoinRequest) -> JoinReply:
        if is_removed(self.engine):
            return JoinReply("refused", None, "this peer is no member of its network any more")
        answer = await self.loop.ask(
            lambda token: to_engine.JoinAsked(
                token, peer, request.network, request.secret, request.name, tuple(request.labels), request.slots
            )
        )
        return JoinReply(answer["status"], answer["network"], answer["reason"])

    async def _serve_log(self, run: Cid, job: str, leg: int, attempt: int, first: int) -> AsyncIterator[bytes]:
        for known, running in self.jobs.running.items():
            if (known.run, known.job, known.leg, known.number) == (run, job, leg, attempt):
                return _chunks(running.log, first)
        raise NotFound("that attempt does not run here")

    # -- life ---------------------------------------------------------------------------------------------------

    async def collect_garbage(self) -> None:
        """Now and then, let go of blobs that nothing pins and that are over the quota."""
        while True:
            await trio.sleep(COLLECT_SECONDS)
            try:
                await trio.to_thread.run_sync(keep_scheduled, self.engine, self.blobs)
                await trio.to_thread.run_sync(self.blobs.collect, now().wall)
            except StorageError as error:
                log.warning("blobs not collected", error=error.message)

    async def stop(self) -> None:
        """Hand on what this node owns, let its jobs end, and leave."""
        with trio.move_on_after(STOP_SECONDS):
            await self.loop.ask(to_engine.Stop)
            await self.jobs.wait_idle()


async def _chunks(file_log: FileLog, first: int) -> AsyncIterator[bytes]:
    async for line in file_log.follow(first):
        yield line.to_json().encode("utf-8", "replace") + b"\n"


def _with_port(addresses: tuple[str, ...], port: str, *, of_any: bool = True) -> tuple[str, ...]:
    """The addresses with this port: those of the default, or with `of_any` those that ask for any port."""
    every = addresses is DEFAULT_LISTEN or not of_any
    return tuple(
        f"{address.rsplit('/', 1)[0]}/{port}" if every or address.endswith("/tcp/0") else address
        for address in addresses
    )


async def _is_free(addresses: tuple[str, ...]) -> bool:
    """Whether the TCP ports of these addresses can be bound now."""
    for address in addresses:
        parts = address.split("/")
        if len(parts) != 5 or parts[3] != "tcp" or parts[4] == "0":
            continue
        _, family, host, _, port = parts
        six = family == "ip6"
        with trio.socket.socket(trio.socket.AF_INET6 if six else trio.socket.AF_INET) as probe:
            try:
                if six:
                    probe.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 1)
                probe.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
                await probe.bind((host, int(port)))
            except OSError:
                return False
    return True
