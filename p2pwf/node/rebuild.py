"""A node whose event database is damaged: what can be read is kept, the rest comes from the other members.

Knows which values make a node what it is, and that a node without all of its own events may not write: it would use a
number twice. So what is rebuilt is, for the engine, a node that was restored (engine/recovery.py).
"""

from __future__ import annotations

import structlog

from p2pwf.core.ids import Cid
from p2pwf.core.sign import Signer
from p2pwf.engine.recovery import RESTORED, restored_value
from p2pwf.errors import StorageError
from p2pwf.net.identity import load
from p2pwf.node.facts import IDENTITY, INTRODUCER, NETWORK, PEER
from p2pwf.store.datadir import DataDir
from p2pwf.store.disk import DamagedFile
from p2pwf.store.events import EventStore
from p2pwf.store.salvage import read_meta, salvage

log = structlog.get_logger()


def rebuild(data: DataDir, damage: DamagedFile, reaches: bool) -> None:
    """Put a database of what is left in the place of the damaged one, which is set aside.

    `reaches`: this start was told of a peer to ask. Raises `damage` itself if there is no event database, and
    StorageError if too little can be read of it, or the disk is full. Then all is as it was.
    """
    if not data.events.exists():
        raise damage
    meta = read_meta(data.events)
    peer = Signer(load(data.path / IDENTITY)).peer_id
    if NETWORK not in meta or meta.get(PEER, peer.encode()) != peer.encode():
        raise _beyond(data, damage)

    def check(found: EventStore) -> None:
        """Without its network's first event a node knows no member: then it needs somebody to ask."""
        if found.get([Cid(meta[NETWORK])]) == [None] and INTRODUCER not in meta and not reaches:
            raise _beyond(data, damage)

    count, aside = salvage(data.events, {RESTORED: restored_value(())}, check)
    log.warning(
        "the event database is damaged: what can be read is kept, the rest comes from the other members, and this node "
        "writes nothing before it has heard all of them (see `p2pwf status`)",
        damage=damage.message,
        set_aside=str(aside),
        kept=count,
    )


def _beyond(data: DataDir, damage: DamagedFile) -> StorageError:
    return StorageError(
        f"{damage.message}; too little of it can be read to find its network again",
        f"put a backup in its place, or move {data.events.name}* aside and join the network again by the address of a "
        "member, which holds its events: `p2pwf up --bootstrap MULTIADDR`",
    )
