"""One node of a Merkle clock: its form, its block, its hash. Knows nothing of the other nodes.

A node's block is DAG-CBOR of {v, peer, time, clock, parents, data}, its hash the SHA-256 of that block in hex; so its
CID is known too, and any IPLD tool can walk from node to node. Nodes are not signed: their peers are any names, and a
hash tells only that nobody changed what it names. Source: protocols/embedded.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from math import isfinite
from typing import Any, Final, cast

import attrs

from p2pwf.core.dagcbor import MAX_BLOCK, MAX_DEPTH, DagCborError, Value, decode, encode
from p2pwf.core.ids import DAG_CBOR_PREFIX, Cid
from p2pwf.errors import UsageError

VERSION: Final = 1
HASH_CHARS: Final = 64
"""Of a SHA-256 digest in hex."""
_FIELDS: Final = frozenset(("v", "peer", "time", "clock", "parents", "data"))


class BadClock(UsageError, ValueError):
    """A node or a clock that has not the form of one, or does not verify. Nothing was changed."""


@attrs.frozen(slots=True)
class MerkleNode:
    """One event. `timestamp`: its author's wall clock, in seconds; `logical_clock`: one more than its highest parent's.

    `parents`: the hashes of the heads that its author knew, the highest first. `hash` is what the node is told to have;
    `is_genuine` says whether it has it.
    """

    timestamp: float
    peer_id: str
    data: dict[str, Any]
    parents: tuple[str, ...]
    logical_clock: int
    hash: str

    @property
    def parent_hash(self) -> str | None:
        """The highest of the nodes that this one stands on; None for the first of a clock."""
        return self.parents[0] if self.parents else None

    @property
    def order(self) -> tuple[int, str]:
        """(logical clock, hash): the one order that everybody who holds the same nodes agrees on."""
        return self.logical_clock, self.hash

    def block(self) -> bytes:
        """The bytes that the hash is over. Raises BadClock if the node holds what no node can."""
        return _block(self.peer_id, self.data, self.parents, self.logical_clock, self.timestamp)

    def calculate_hash(self) -> str:
        """SHA-256 over the block, in hex. Raises BadClock if the node holds what no node can."""
        return sha256(self.block()).hexdigest()

    def is_genuine(self) -> bool:
        """Whether the hash is that of the content."""
        try:
            return self.calculate_hash() == self.hash
        except BadClock:
            return False

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values of their own: {timestamp, peer_id, data, parent_hash, parents, hash, logical_clock}."""
        return {
            "timestamp": self.timestamp,
            "peer_id": self.peer_id,
            "data": plain(self.data),
            "parent_hash": self.parent_hash,
            "parents": list(self.parents),
            "hash": self.hash,
            "logical_clock": self.logical_clock,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> MerkleNode:
        """The node that `to_dict` wrote, not verified: see `is_genuine`. Raises BadClock for what is no node at all."""
        try:
            first, told = value["parent_hash"], value.get("parents")
            parents = ([] if first is None else [first]) if told is None else told
            node = cls(
                timestamp=float(value["timestamp"]),
                peer_id=value["peer_id"],
                data=cast("dict[str, Any]", plain(value["data"])),
                parents=tuple(parents),
                logical_clock=value["logical_clock"],
                hash=value["hash"],
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadClock(f"not a node of a clock: {error}", "give what to_dict made") from error
        texts = (node.peer_id, node.hash, *node.parents)
        if not all(type(text) is str for text in texts) or type(node.logical_clock) is not int:
            raise BadClock("not a node of a clock: a value of the wrong kind", "give what to_dict made")
        if type(node.data) is not dict or node.parent_hash != first:
            raise BadClock(
                "not a node of a clock: data or parent_hash is not what it must be", "give what to_dict made"
            )
        return node


def make_node(
    peer_id: str, data: Mapping[str, Any], parents: tuple[str, ...], logical_clock: int, timestamp: float
) -> MerkleNode:
    """A node with a copy of `data` and its hash. Raises BadClock for data that JSON cannot hold, NaN among it."""
    if not isinstance(data, Mapping):
        raise BadClock(f"the data of a node is a dict, not {type(data).__name__}", 'such as {"event": "started"}')
    own = cast("dict[str, Any]", plain(data))
    block = _block(peer_id, own, parents, logical_clock, timestamp)
    return MerkleNode(timestamp, peer_id, own, parents, logical_clock, sha256(block).hexdigest())


def read_block(block: bytes) -> MerkleNode:
    """The node in a block. Raises BadClock for anything that is none."""
    try:
        value = decode(block)
    except DagCborError as error:
        raise BadClock(f"not a node of a clock: {error}") from error
    if type(value) is not dict or value.keys() != _FIELDS or type(value["v"]) is not int or value["v"] != VERSION:
        raise BadClock("not a node of a clock")
    peer, data, time, clock, links = (value[name] for name in ("peer", "data", "time", "clock", "parents"))
    if type(peer) is not str or type(data) is not dict or type(time) is not float or type(clock) is not int:
        raise BadClock("not a node of a clock")
    if type(links) is not list or not all(type(link) is Cid and link.startswith(DAG_CBOR_PREFIX) for link in links):
        raise BadClock("not a node of a clock")
    parents = tuple(cast(Cid, link)[-32:].hex() for link in links)
    own = cast("dict[str, Any]", plain(data))  # a block may hold links and bytes, JSON may not
    return MerkleNode(time, peer, own, parents, clock, sha256(block).hexdigest())


def cid_of(hash: str) -> Cid:
    """The CID of the node with this hash. Raises BadClock if it is no SHA-256 digest in hex."""
    try:
        digest = bytes.fromhex(hash) if len(hash) == HASH_CHARS else b""
    except ValueError:
        digest = b""
    if digest.hex() != hash:
        raise BadClock(f"not a hash of a node: {hash[:80]!r}")
    return Cid(DAG_CBOR_PREFIX + digest)


def plain(value: object, depth: int = 0) -> Value:
    """A copy of a JSON value, tuples as lists. Raises BadClock for what JSON does not hold, or what nests too deep."""
    if depth > MAX_DEPTH:
        raise BadClock(f"nested deeper than {MAX_DEPTH}", "put less into one value")
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not isfinite(value):
            raise BadClock(f"{value} is no JSON value", "NaN and infinities have none: use None")
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise BadClock("a key that is not text", "JSON has text keys only")
        return {key: plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    raise BadClock(f"{type(value).__name__} is no JSON value", "use text, numbers, truth values, lists and dicts")


def _block(peer: str, data: Mapping[str, Any], parents: tuple[str, ...], clock: int, time: float) -> bytes:
    links = [cid_of(parent) for parent in parents]
    try:
        block = encode({"v": VERSION, "peer": peer, "time": time, "clock": clock, "parents": links, "data": data})
    except DagCborError as error:
        raise BadClock(f"a node cannot hold this: {error}", "use plain JSON values") from error
    if len(block) > MAX_BLOCK:
        raise BadClock(f"a node of {len(block):,} bytes, the bound is {MAX_BLOCK:,}", "put large data into a file")
    return block
