"""One node from start to stop: the data folder's lock, the engine's loop, the network, jobs and the control socket.

Everything lives in one nursery; leaving it ends everything. The network host is supervised: if it dies, another is
opened on the same address, and the engine sees no more than its peers go and come.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
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
from p2pwf.net.network import Network, open_network
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
from p2pwf.node.birth import FirstStart, Identity, be_born, first_start, introducers, make_engine, own_seed
from p2pwf.node.holds import Holds
from p2pwf.node.jobs import Jobs
from p2pwf.node.joining import peer_of
from p2pwf.node.loop import EngineLoop, now
from p2pwf.node.opening import reseal
from p2pwf.node.policing import Gatekeeper, available_levels, read_policy
from p2pwf.node.rebuild import rebuild
from p2pwf.node.repositories import DEFAULT_URL, Repositories
from p2pwf.node.shell import Gate, NodeShell
from p2pwf.node.sources import keep_scheduled
from p2pwf.node.standing import Standing, is_removed, was_member
from p2pwf.policy import Policy
from p2pwf.runner.leftovers import sweep_leftovers
from p2pwf.runner.log import FileLog
from p2pwf.runner.processes import Spawner, open_spawner
from p2pwf.store.blobs import BlobStore
from p2pwf.store.datadir import DataDir
from p2pwf.store.disk import DamagedFile
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
        spawner: Spawner,
        nursery: trio.Nursery,
        repositories: Repositories,
    ) -> None:
        self.settings = settings
        self.repositories = repositories
        """Where the actions and workflows of other repositories are found at submission."""
        self.identity = identity
        self.engine = engine
        self.store = store
        self.blobs = blobs
        self.started = now()
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
            external=engine.desk.config.external,
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


@asynccontextmanager
async def open_node(settings: NodeSettings) -> AsyncIterator[Node]:
    """A node on its data folder, for the time of the block. Joins or founds its network first, if it must.

    Raises Refused, StorageError, TryAgain or UsageError, with nothing changed but what was said to be.
    """
    data = DataDir(Path(settings.data_dir))
    policy = read_policy(settings)
    made = not data.path.exists()
    async with AsyncExitStack() as stack:
        stack.enter_context(data.lock())
        with first_start(data, made=made) as start, ExitStack() as unborn:
            try:
                store, identity, engine, gatekeeper = await _bear(settings, policy, data, start, unborn)
            except DamagedFile as error:
                unborn.close()
                await trio.to_thread.run_sync(rebuild, data, error, bool(settings.bootstrap))
                store, identity, engine, gatekeeper = await _bear(settings, policy, data, start, unborn)
            stack.push(unborn.pop_all())
        blobs = BlobStore(data.blobs, BLOB_QUOTA)
        stack.callback(blobs.close)
        await trio.to_thread.run_sync(sweep_leftovers, data.work)
        spawner = await stack.enter_async_context(open_spawner())
        nursery = await stack.enter_async_context(trio.open_nursery())
        node = Node(
            settings=settings,
            identity=identity,
            engine=engine,
            gatekeeper=gatekeeper,
            store=store,
            blobs=blobs,
            work=data.work,
            spawner=spawner,
            nursery=nursery,
            repositories=Repositories(
                cache=data.path / "actions",
                mirror=None if settings.actions is None else Path(settings.actions),
                url=settings.actions_url or DEFAULT_URL,
            ),
        )
        nursery.start_soon(node.loop.run)
        nursery.start_soon(node.keep_network)
        nursery.start_soon(node.collect_garbage)
        nursery.start_soon(node.holds.keep)
        try:
            yield node
        finally:
            nursery.cancel_scope.cancel()


async def _bear(
    settings: NodeSettings, policy: Policy, data: DataDir, start: FirstStart, unborn: ExitStack
) -> tuple[EventStore, Identity, Engine, Gatekeeper]:
    """The store, what this node is, its engine with all that the store holds, and who judges what may run here;
    `unborn` closes what it opened."""
    seed = own_seed(data)
    store = EventStore.open(data.events)
    unborn.callback(store.close)
    identity = await be_born(settings, seed, store, start, log.info)
    engine, gatekeeper = await trio.to_thread.run_sync(
        make_engine, identity, settings, store, policy, available_levels()
    )
    return store, identity, engine, gatekeeper


async def wait_for_signal(stop: trio.Event) -> None:
    """Set `stop` at the first SIGTERM or SIGINT; a second one ends the process at once."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            if stop.is_set():
                raise KeyboardInterrupt
            stop.set()


async def make_ready(node: Node) -> None:
    """Wait until the node is a member and synced, then record what it offers, if that is new."""
    await node.shell.ready.wait()
    await offer(node)
    await node.shell.listening.wait()


async def offer(node: Node) -> None:
    """Record what the node offers, if the members know it otherwise; who was let in by id alone is known by nothing."""
    identity = node.identity
    await node.loop.ask(partial(to_engine.UpdateSelf, name=identity.name, labels=identity.labels, slots=identity.slots))
