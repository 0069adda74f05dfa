"""The nodes of a Merkle clock and how they stand on each other: append, verify, merge, prune. Knows no time.

Theory of operation (Merkle-CRDTs, Sanjuán, Pöyhtäri, Teixeira and Psaras, 2020). A clock is a set of nodes that name
their parents by hash; merging is the union of two sets, so it does not matter who merges whom, how often, in which
order. A new node stands on all heads, so that what diverged comes together again; the head is the last node in the
order of (logical clock, hash), the same for all who hold the same nodes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Self

from p2pwf.ledger.node import BadClock, MerkleNode, make_node

MAX_PARENTS: Final = 16
"""As of the network's events; of more heads the highest are taken, and the next node takes the others."""
MAX_CLOCK: Final = 2**53
"""As of the network's events: every JSON reader holds it exactly. Only a lie about pruned nodes comes near it."""


class Chain:
    """The nodes of one clock. `peer_id`: the author of what is appended here, any text.

    Not for use from several threads at once.
    """

    def __init__(self, peer_id: str) -> None:
        """Raises BadClock if `peer_id` is no text that UTF-8 can hold."""
        if not _is_unicode(peer_id):
            raise BadClock(f"a peer id is a text, not {peer_id!r}", "any name will do")
        self.peer_id = peer_id
        self._nodes: list[MerkleNode] = []  # by (logical clock, hash)
        self._by_hash: dict[str, MerkleNode] = {}
        self._covered: set[str] = set()
        """What some node stands on: the others are the heads."""
        self._pruned: dict[str, int] = {}
        """Of nodes that were dropped, and that others stand on, the logical clock."""
        self._torn = False
        """Whether it was read from what told another head, or another height, than its nodes have."""
        self._heads: list[MerkleNode] = []

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, hash: object) -> bool:
        return hash in self._by_hash

    @property
    def nodes(self) -> tuple[MerkleNode, ...]:
        """All nodes, each after its parents."""
        return tuple(self._nodes)

    def since(self, index: int) -> Iterator[MerkleNode]:
        """The nodes from a place in the order on."""
        return iter(self._nodes[index:])

    @property
    def is_pruned(self) -> bool:
        """Whether some of what is here stands on nodes that were dropped."""
        return bool(self._pruned)

    @property
    def head_hash(self) -> str | None:
        """The hash of the head; None while there is no node."""
        return self._nodes[-1].hash if self._nodes else None

    @property
    def logical_clock(self) -> int:
        """The height: the logical clock of the head, 0 while there is no node."""
        return self._nodes[-1].logical_clock if self._nodes else 0

    def get_head(self) -> MerkleNode | None:
        """The last node in the order of (logical clock, hash); None while there is no node."""
        return self._nodes[-1] if self._nodes else None

    def heads(self) -> list[MerkleNode]:
        """The nodes that no other stands on, the highest first: one, or more after a merge."""
        return sorted(self._heads, key=lambda node: node.order, reverse=True)

    def make(self, data: Mapping[str, Any], timestamp: float) -> MerkleNode:
        """The node that would come next, on top of all heads. Raises BadClock for data that JSON cannot hold."""
        parents = tuple(node.hash for node in self.heads()[:MAX_PARENTS])
        return make_node(self.peer_id, data, parents, self.logical_clock + 1, timestamp)

    def add(self, node: MerkleNode) -> bool:
        """Take in one node whose parents are here. False if it is here already; BadClock if it does not verify."""
        if node.hash in self._by_hash:
            return False
        if fault := self._fault(node):
            raise BadClock(f"node {node.hash[:16]} was refused: {fault}")
        self._put([node])
        return True

    def verify_chain(self) -> bool:
        """Whether every node has its hash, stands on nodes that are here and has the logical clock that follows.

        What stands on pruned nodes is held against the logical clock that was kept of them. Cost: linear.
        """
        return not self._torn and not any(self._fault(node) for node in self._nodes)

    def merge(self, other: Chain) -> int:
        """Take in what another clock has and this one has not; the number of nodes that were new.

        Raises BadClock if the other does not verify, or contradicts this one: then nothing was changed. The other is
        left as it is, and the two share nothing that can change.
        """
        if other is self:
            return 0
        if not other.verify_chain():
            raise BadClock("the other clock does not verify: it was forged or damaged", "nothing of it was taken")
        for known, told in ((self, other), (other, self)):
            for hash, clock in told._pruned.items():
                if known._clock_of(hash) not in (None, clock):
                    raise BadClock("the other clock contradicts this one about what it pruned")
        dropped = self._below_pruned(other)
        new = [_copy(node) for node in other._nodes if node.hash not in self._by_hash and node.hash not in dropped]
        self._put(new)
        self._pruned = {
            hash: clock for hash, clock in {**other._pruned, **self._pruned}.items() if hash not in self._by_hash
        }
        return len(new)

    def prune(self, keep: int = 1000) -> int:
        """Forget all but the newest `keep` nodes (1 or more) and the heads; the number of nodes that were dropped.

        What is left still verifies, and a merge does not bring back what was dropped. Raises BadClock for `keep` < 1.
        """
        if type(keep) is not int or keep < 1:
            raise BadClock(f"cannot keep {keep!r} nodes", "keep 1 or more")
        heads = {node.hash for node in self._heads}
        cut = max(len(self._nodes) - keep, 0)
        kept = [node for node in self._nodes[:cut] if node.hash in heads] + self._nodes[cut:]
        stays = {node.hash for node in kept}
        bases = {parent for node in kept for parent in node.parents if parent not in stays}
        pruned = {hash: clock for hash in bases if (clock := self._clock_of(hash)) is not None}
        count = len(self._nodes) - len(kept)
        self._replace(kept)
        self._pruned = pruned
        return count

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values of their own: {peer_id, head_hash, logical_clock, nodes, pruned: {hash: logical clock}}."""
        return {
            "peer_id": self.peer_id,
            "head_hash": self.head_hash,
            "logical_clock": self.logical_clock,
            "nodes": [node.to_dict() for node in self._nodes],
            "pruned": dict(self._pruned),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The clock that `to_dict` wrote, not verified: see `verify_chain`. Raises BadClock for what is no clock."""
        try:
            chain = cls(value["peer_id"])
            nodes = [MerkleNode.from_dict(node) for node in value["nodes"]]
            pruned = dict(value.get("pruned") or {})
            told = value["head_hash"], value["logical_clock"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadClock(f"not a clock: {error}", "give what to_dict made") from error
        if not all(type(hash) is str and type(clock) is int for hash, clock in pruned.items()):
            raise BadClock("not a clock: what it says of pruned nodes has not the form", "give what to_dict made")
        if len({node.hash for node in nodes}) != len(nodes):
            raise BadClock("not a clock: one node is there twice", "give what to_dict made")
        chain._replace(sorted(nodes, key=lambda node: node.order))
        chain._pruned = pruned
        chain._torn = told != (chain.head_hash, chain.logical_clock)
        return chain

    def _clock_of(self, hash: str) -> int | None:
        node = self._by_hash.get(hash)
        return self._pruned.get(hash) if node is None else node.logical_clock

    def _fault(self, node: MerkleNode) -> str | None:
        """Why a node cannot be here, in words; None if it can."""
        if not node.is_genuine():
            return "its hash is not that of its content"
        if len(node.parents) > MAX_PARENTS or len(set(node.parents)) != len(node.parents):
            return "its parents are too many, or one is there twice"
        highest = 0
        for parent in node.parents:
            clock = self._clock_of(parent)
            if clock is None:
                return "it stands on a node that is not here"
            highest = max(highest, clock)
        if node.logical_clock > MAX_CLOCK:
            return "its logical clock is out of bounds"
        return None if node.logical_clock == highest + 1 else "its logical clock does not follow from its parents"

    def _below_pruned(self, other: Chain) -> set[str]:
        """Of another clock's nodes those that were dropped here."""
        found: set[str] = set()
        stack = [hash for hash in self._pruned if hash in other._by_hash]
        while stack:
            hash = stack.pop()
            if hash not in found:
                found.add(hash)
                stack.extend(parent for parent in other._by_hash[hash].parents if parent in other._by_hash)
        return found

    def _put(self, new: list[MerkleNode]) -> None:
        if not new:
            return
        if len(new) == 1:
            nodes = self._nodes
            at = len(nodes) if not nodes or nodes[-1].order < new[0].order else _place(nodes, new[0])
            nodes.insert(at, new[0])
        else:
            self._nodes = sorted([*self._nodes, *new], key=lambda node: node.order)
        self._index(new)

    def _index(self, new: Iterable[MerkleNode]) -> None:
        new = list(new)
        for node in new:
            self._by_hash[node.hash] = node
            self._covered.update(node.parents)
        self._heads = [node for node in (*self._heads, *new) if node.hash not in self._covered]

    def _replace(self, nodes: list[MerkleNode]) -> None:
        self._nodes, self._by_hash, self._covered, self._heads = nodes, {}, set(), []
        self._index(nodes)


def _place(nodes: list[MerkleNode], node: MerkleNode) -> int:
    return bisect_left(nodes, node.order, key=lambda one: one.order)


def _copy(node: MerkleNode) -> MerkleNode:
    """A node whose data is its own: what a caller does to the one must not change the other."""
    return MerkleNode.from_dict(node.to_dict())


def _is_unicode(text: object) -> bool:
    try:
        return isinstance(text, str) and len(text.encode()) >= 0
    except UnicodeEncodeError:
        return False
