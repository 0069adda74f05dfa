"""The only package that imports libp2p: hosts, streams, gossip, and the guards that keep a host alive among strangers.

The values live here and cost nothing to import; `open_network` is in `p2pwf.net.opened`, which loads libp2p.
"""

from __future__ import annotations

from p2pwf.net.types import (
    BlobStore,
    DuplicateIdentity,
    Frame,
    Gate,
    Gossip,
    JoinReply,
    JoinRequest,
    NetConfig,
    NetEvent,
    PartialBlob,
    PeerDown,
    PeerUp,
    Timing,
    Unlinked,
)

__all__ = [
    "BlobStore",
    "DuplicateIdentity",
    "Frame",
    "Gate",
    "Gossip",
    "JoinReply",
    "JoinRequest",
    "NetConfig",
    "NetEvent",
    "PartialBlob",
    "PeerDown",
    "PeerUp",
    "Timing",
    "Unlinked",
]
