"""A Merkle clock whose nodes are on disk before anybody hears of them, and that several processes write together.

Knows a store of nodes; must not know what the nodes say.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from p2pwf.embedded.merkle import MerkleClock
from p2pwf.embedded.store import FILE_NAME, NodeStore
from p2pwf.errors import Refused
from p2pwf.ledger import BadClock, Chain, MerkleNode
from p2pwf.store.disk import damaged


class DurableClock(MerkleClock):
    """The clock of one (folder, peer id). Any thread may append and merge; what came from other processes shows after
    `refresh`, which every write begins with."""

    def __init__(self, folder: Path, peer_id: str) -> None:
        """Open, or begin, the clock. Raises what `NodeStore` does, and StorageError if its nodes do not verify."""
        super().__init__(peer_id)
        self.generation = 0
        """Rises whenever nodes were put elsewhere than at the end: who follows the nodes has to begin anew."""
        self.turn = threading.RLock()
        """Held by whoever reads or writes here, for as long as it does."""
        self._folder = folder
        self._store = NodeStore(folder, peer_id)
        self._end = weakref.finalize(self, self._store.close)
        try:
            self.refresh()
        except BaseException:
            self._end()
            raise

    def refresh(self) -> None:
        """Take in what others have written. Raises StorageError for nodes that do not verify."""
        with self.turn:
            for node in self._store.news():
                try:
                    self.add(node)
                except BadClock as error:
                    raise damaged(self._folder / FILE_NAME, error.message) from error

    @contextmanager
    def writing(self) -> Iterator[Callable[[Mapping[str, Any]], MerkleNode]]:
        """Read the tip and write on it as one: gives the function that appends.

        What was appended is on disk once the block is left; or, if it is left by an error, none of it. Raises
        StorageError if it cannot be kept.
        """
        with self.turn:
            count = len(self)
            try:
                with self._store.transaction():
                    self.refresh()
                    count = len(self)
                    yield self._write
            except BaseException:
                if len(self) != count:
                    self._forget()
                raise

    def append(self, data: Mapping[str, Any]) -> MerkleNode:
        """As MerkleClock's; on disk when it returns. Raises BadClock, and StorageError if it cannot be kept."""
        with self.writing() as write:
            return write(data)

    def merge(self, other: Chain) -> int:
        """As MerkleClock's; on disk when it returns. Raises BadClock, and StorageError if it cannot be kept.

        A clock that was pruned is refused: the workflows follow from the whole of it.
        """
        if other is self:
            return 0
        if other.is_pruned:
            raise BadClock("the other clock was pruned: workflows cannot follow from a part", "merge the whole clock")
        with self.writing():
            known = set(self._by_hash)
            count = super().merge(other)
            for node in self._nodes:
                if node.hash not in known:
                    self._store.put(node)
            return count

    def prune(self, keep: int = 1000) -> int:
        """Refused: the workflows follow from these nodes. Prune a copy: `MerkleClock.from_dict(clock.to_dict())`."""
        raise Refused(
            "the workflows of a coordinator follow from its clock, so it is kept whole",
            "prune a copy: MerkleClock.from_dict(clock.to_dict())",
        )

    def close(self) -> None:
        """Let the folder go; calling it twice is fine."""
        with self.turn:
            self._end()

    def _write(self, data: Mapping[str, Any]) -> MerkleNode:
        node = super().append(data)
        self._store.put(node)
        return node

    def _put(self, new: list[MerkleNode]) -> None:
        if new and self._nodes and min(node.order for node in new) < self._nodes[-1].order:
            self.generation += 1
        super()._put(new)

    def _forget(self) -> None:
        """Drop everything, to be read again: what was appended last was not kept."""
        self._replace([])
        self._store.rewind()
        self.generation += 1
