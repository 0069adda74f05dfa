"""What a node is before its engine runs: its key, its network, what its disk holds. Founds or joins on first use."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import attrs
import trio
from multiaddr import Multiaddr

from p2pwf import __version__
from p2pwf.config import EXTERNAL, NodeSettings
from p2pwf.core.dagcbor import decode, encode
from p2pwf.core.events import SignedBlock
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.sign import Signer
from p2pwf.core.tickets import parse_ticket
from p2pwf.engine import Engine, EngineConfig, found
from p2pwf.engine.recovery import RESTORED, restored_value
from p2pwf.errors import P2pwfError, Refused
from p2pwf.isolation import NO_NETWORK, PREFIX, Level
from p2pwf.net.identity import load_or_create
from p2pwf.net.tcp import TcpListener
from p2pwf.node.facts import IDENTITY, INTRODUCER, NAME, NETWORK, PEER, PSK
from p2pwf.node.joining import join_network, peer_of, request_of
from p2pwf.node.loop import now, stored_event
from p2pwf.node.planner import WorkflowPlanner
from p2pwf.node.policing import Gatekeeper
from p2pwf.policy import Policy
from p2pwf.store.datadir import LOCK_NAME, DataDir
from p2pwf.store.events import Commit, EventStore


@attrs.frozen(slots=True)
class Identity:
    """A node's standing facts. `introducer`: who let it in, and where that can be dialled."""

    seed: bytes = attrs.field(repr=False)
    network: Cid
    psk: bytes | None = attrs.field(repr=False)
    introducer: PeerId | None
    addresses: tuple[str, ...]
    name: str
    labels: tuple[str, ...]
    slots: int


class FirstStart:
    """A start on a data folder without a key. `asked`: another peer was asked to admit that key, so it must stay."""

    def __init__(self) -> None:
        self.asked = False
        self.events_lost = False
        """There is a key, and no event database: what its node wrote is not known here."""


@contextmanager
def first_start(data: DataDir, *, made: bool) -> Iterator[FirstStart]:
    """Around a start, with the folder locked: a first one that fails leaves nothing behind, also not a key.

    `made`: the lock made the folder. What stays: a network that was founded or joined, and a key that some peer may
    have admitted, or may yet admit.
    """
    start = FirstStart()
    before = {path.name for path in data.path.iterdir()} - {LOCK_NAME}
    start.events_lost = IDENTITY in before and data.events.name not in before
    try:
        yield start
    except P2pwfError as error:
        if not before & {IDENTITY, data.events.name} and (isinstance(error, Refused) or not start.asked):
            _remove(data.path, before, made)
        raise


def _remove(folder: Path, keep: set[str], whole: bool) -> None:
    """Take away all but `keep`; with `whole` the folder as well, if nothing is to be kept in it."""
    if whole and not keep:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        if path.name not in keep:
            path.unlink(missing_ok=True)


def own_seed(data: DataDir) -> bytes:
    """The seed of this node's key, made on first use; raises Refused if a node was here and its key is gone."""
    path = data.path / IDENTITY
    if data.events.exists() and not path.exists():
        raise Refused(
            f"the identity {path} is missing, and {data.events.name} beside it is of the node that had it",
            "restore it from a copy; to start as another node, use another --data-dir",
        )
    return load_or_create(path)


def own_labels(extra: tuple[str, ...], isolation: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What every node offers by itself (system and architecture, in GitHub's words, and how far apart it can keep
    jobs) and what its user adds, who cannot claim the last."""
    systems = {"linux": "linux", "darwin": "macos", "win32": "windows"}
    machines = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm"}
    own = {
        systems.get(sys.platform, sys.platform),
        machines.get(platform.machine().lower(), platform.machine().lower()),
    }
    added = {label.lower() for label in extra}
    claimed = {label for label in added if label.startswith(PREFIX) or label == NO_NETWORK}
    return tuple(sorted(own | (added - claimed) | set(isolation)))


async def be_born(
    settings: NodeSettings,
    seed: bytes,
    store: EventStore,
    start: FirstStart,
    tell: Callable[[str], None],
    isolation: tuple[str, ...] = (),
) -> Identity:
    """The network that this data folder belongs to; on first use it is founded, or joined, and recorded.

    `isolation`: the labels of the levels that work here.

    Raises Refused if the folder belongs to another network or another key, or joining was refused; TryAgain
    if the addresses to listen on are taken, before a network is founded or a ticket is used.
    """
    meta = store.meta_all()
    labels = own_labels(settings.labels, isolation)
    slots = settings.slots if settings.slots is not None else (os.cpu_count() or 1)
    name = settings.name or (meta[NAME].decode() if NAME in meta else platform.node() or "node")
    ticket = parse_ticket(settings.join) if settings.join else None
    if NETWORK in meta:
        network = Cid(meta[NETWORK])
        _check_key(settings, seed, meta)
        if PEER not in meta:  # a folder made before this was kept
            await trio.to_thread.run_sync(store.commit, Commit((), {PEER: Signer(seed).peer_id.encode()}))
        if ticket is not None and ticket.network != network:
            raise Refused(
                f"{settings.data_dir} belongs to the network {network.text}, the ticket is for another",
                "use another --data-dir for another network",
            )
        introducer, addresses = _introducer(meta)
        return Identity(seed, network, meta.get(PSK), introducer, addresses, name, labels, slots)
    await _try_listen(settings.listen)
    if ticket is None and not settings.bootstrap:
        return await _found(settings, seed, store, Offer(name, labels, slots))
    psk = ticket.psk if ticket else None
    targets = ticket.addresses if ticket else tuple(settings.bootstrap)
    start.asked = True
    joined = await join_network(seed, request_of(ticket, name, labels, slots), targets, psk, tell)
    values: dict[str, bytes | None] = {
        NETWORK: bytes(joined.network),
        INTRODUCER: encode([joined.introducer, list(joined.addresses)]),
        NAME: name.encode(),
        PEER: Signer(seed).peer_id.encode(),
        PSK: psk,
        RESTORED: restored_value(()) if start.events_lost else None,
    }
    await trio.to_thread.run_sync(store.commit, Commit((), values))
    return Identity(seed, joined.network, psk, joined.introducer, joined.addresses, name, labels, slots)


def _check_key(settings: NodeSettings, seed: bytes, meta: dict[str, bytes]) -> None:
    """Raise Refused if the folder's events are those of a node with another key."""
    peer, owner = Signer(seed).peer_id, meta.get(PEER)
    if owner is not None and owner != peer.encode():
        raise Refused(
            f"{Path(settings.data_dir) / IDENTITY} is the key of {peer}, "
            f"and the events beside it are those of {owner.decode()}",
            "put that node's own key back; to start as another node, use another --data-dir (nothing was changed)",
        )


async def _try_listen(addresses: tuple[str, ...]) -> None:
    """Bind each of the addresses, and let it go again; raises TryAgain."""
    for address in addresses:
        listener = TcpListener(lambda stream: stream.close())
        try:
            await listener.listen(Multiaddr(address))
        finally:
            await listener.close()


@attrs.frozen(slots=True)
class Offer:
    """What a node says of itself to others."""

    name: str
    labels: tuple[str, ...]
    slots: int


async def _found(settings: NodeSettings, seed: bytes, store: EventStore, offer: Offer) -> Identity:
    founder = {"name": offer.name, "labels": list(offer.labels), "slots": offer.slots}
    genesis = found(
        Signer(seed),
        now(),
        nonce=os.urandom(16),
        name=f"{offer.name}'s network",
        private=settings.private,
        founder=founder,
    )
    psk = os.urandom(32) if settings.private else None
    values: dict[str, bytes | None] = {
        NETWORK: bytes(genesis.cid),
        NAME: offer.name.encode(),
        PEER: genesis.author.encode(),
        PSK: psk,
    }
    await trio.to_thread.run_sync(store.commit, Commit((stored_event(genesis),), values))
    return Identity(seed, genesis.cid, psk, None, (), offer.name, offer.labels, offer.slots)


def _introducer(meta: dict[str, bytes]) -> tuple[PeerId | None, tuple[str, ...]]:
    if INTRODUCER not in meta:
        return None, ()
    peer, addresses = cast("tuple[str, list[str]]", decode(meta[INTRODUCER]))
    return PeerId(peer), tuple(addresses)


def make_engine(
    identity: Identity, settings: NodeSettings, store: EventStore, policy: Policy, available: Collection[Level]
) -> tuple[Engine, Gatekeeper]:
    """The engine, with all that the store holds, and who judges for it what may run here. A node that was restored
    under its old id has to hear whom it was told to dial, too: its backup may not know of them."""
    signer = Signer(identity.seed)
    planner = WorkflowPlanner()
    gatekeeper = Gatekeeper(policy, available, signer.peer_id, planner.flow)
    config = EngineConfig(
        boot=os.urandom(16),
        version=__version__,
        slots=identity.slots,
        planner=planner,
        policy=gatekeeper.refusal,
        external=settings.executor == EXTERNAL,
        history_days=settings.history_days,
    )
    engine = Engine(signer, identity.network, config, now())
    gatekeeper.attach(engine.desk)
    blocks = (SignedBlock(event.block, event.signature) for event in store.load())
    engine.load(blocks, store.meta_all(), frozenset(peer_of(address) for address in settings.bootstrap))
    return engine, gatekeeper


def introducers(identity: Identity, settings: NodeSettings) -> dict[PeerId, tuple[str, ...]]:
    """Whom to dial first: who let this node in, and the bootstrap addresses given."""
    found: dict[PeerId, tuple[str, ...]] = {}
    if identity.introducer is not None:
        found[identity.introducer] = identity.addresses
    for address in (*settings.bootstrap, *(parse_ticket(settings.join).addresses if settings.join else ())):
        peer = peer_of(address)
        found[peer] = (*found.get(peer, ()), address)
    return found
