"""The public Merkle clock: the ledger's chain, stamped with this machine's time. Knows no disk."""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any

from p2pwf.ledger import Chain, MerkleNode


class MerkleClock(Chain):
    """A Merkle clock in memory. `peer_id`: any text, the author of what is appended here.

    `append`, `get_head`, `head_hash`, `logical_clock`, `nodes`, `verify_chain`, `merge`, `prune`, `to_dict` and
    `from_dict`; of what is wrong they raise `BadClock`, a ValueError. Not for use from several threads at once.
    """

    def append(self, data: Mapping[str, Any]) -> MerkleNode:
        """Put a new node on top of all heads; it holds a copy of `data` (JSON values, about 1 MB at most).

        Raises BadClock for data that JSON cannot hold: NaN, sets, keys that are not text.
        """
        node = self.make(data, time())
        self._put([node])
        return node
