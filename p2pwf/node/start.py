"""A node's start on its data folder, until it is ready: what is opened in which order, and closed when it ends."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
import trio

from p2pwf.config import EXTERNAL, NodeSettings
from p2pwf.engine import Engine
from p2pwf.engine import inputs as to_engine
from p2pwf.isolation import Level, labels_of
from p2pwf.node.birth import FirstStart, Identity, be_born, first_start, make_engine, own_seed
from p2pwf.node.jobs import RunJob
from p2pwf.node.node import BLOB_QUOTA, Node
from p2pwf.node.policing import Gatekeeper, read_policy
from p2pwf.node.rebuild import rebuild
from p2pwf.node.repositories import DEFAULT_URL, Repositories
from p2pwf.policy import Policy
from p2pwf.runner.isolation.keeper import Keeper
from p2pwf.runner.isolation.probe import UNTRIED, Probe, levels, probe_all
from p2pwf.runner.job import run_job
from p2pwf.runner.leftovers import sweep_leftovers
from p2pwf.runner.processes import Spawner, open_spawner
from p2pwf.store.blobs import BlobStore
from p2pwf.store.datadir import DataDir
from p2pwf.store.disk import DamagedFile
from p2pwf.store.events import EventStore

log = structlog.get_logger()


async def _levels(settings: NodeSettings, keeper: Keeper, spawner: Spawner | None) -> dict[Level, Probe]:
    """The levels of isolation, tried; nothing is, where this node runs no jobs itself."""
    if spawner is None or settings.slots == 0 or settings.executor == EXTERNAL:
        return {Level.none: UNTRIED}
    return await probe_all(keeper, spawner)


@asynccontextmanager
async def open_node(settings: NodeSettings, run: RunJob = run_job) -> AsyncIterator[Node]:
    """A node on its data folder, for the time of the block. Joins or founds its network first, if it must.

    `run`: what runs its jobs; another one than the runner itself starts its own processes, if any.

    Raises Refused, StorageError, TryAgain or UsageError, with nothing changed but what was said to be.
    """
    data = DataDir(Path(settings.data_dir))
    policy = read_policy(settings)
    made = not data.path.exists()
    async with AsyncExitStack() as stack:
        stack.enter_context(data.lock())
        spawner = await stack.enter_async_context(open_spawner()) if run is run_job else None
        keeper = Keeper(data.work, image=settings.isolation_image)
        stack.callback(keeper.close)
        with first_start(data, made=made) as start, ExitStack() as unborn:
            for root in keeper.roots:
                await trio.to_thread.run_sync(sweep_leftovers, root)
            available = await _levels(settings, keeper, spawner)
            bear = partial(_bear, settings, policy, levels(available), data, start, unborn)
            try:
                store, identity, engine, gatekeeper = await bear()
            except DamagedFile as error:
                unborn.close()
                await trio.to_thread.run_sync(rebuild, data, error, bool(settings.bootstrap))
                store, identity, engine, gatekeeper = await bear()
            stack.push(unborn.pop_all())
        blobs = BlobStore(data.blobs, BLOB_QUOTA)
        stack.callback(blobs.close)
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
            run=run,
            nursery=nursery,
            keeper=keeper,
            available=available,
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
    settings: NodeSettings,
    policy: Policy,
    available: frozenset[Level],
    data: DataDir,
    start: FirstStart,
    unborn: ExitStack,
) -> tuple[EventStore, Identity, Engine, Gatekeeper]:
    """The store, what this node is, its engine with all that the store holds, and who judges what may run here;
    `unborn` closes what it opened."""
    seed = own_seed(data)
    store = EventStore.open(data.events)
    unborn.callback(store.close)
    identity = await be_born(settings, seed, store, start, log.info, labels_of(available))
    engine, gatekeeper = await trio.to_thread.run_sync(make_engine, identity, settings, store, policy, available)
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
