"""The embedded API's clock and fold, pure: unsigned nodes of a Merkle DAG, and the workflows that follow from them.

A sibling of the network's clock (`clock`, `runs`) for peers that are mere names: the same encoding, the same logical
time, the same order, no keys. Knows no disk and no wall clock.
"""

from __future__ import annotations

from p2pwf.ledger.chain import MAX_PARENTS, Chain
from p2pwf.ledger.fold import State, plan_of_peer, plan_of_priority, plan_of_status, plan_of_submission
from p2pwf.ledger.node import BadClock, MerkleNode, make_node, read_block
from p2pwf.ledger.task import FINAL, WorkflowStatus, WorkflowTask

__all__ = [
    "FINAL",
    "MAX_PARENTS",
    "BadClock",
    "Chain",
    "MerkleNode",
    "State",
    "WorkflowStatus",
    "WorkflowTask",
    "make_node",
    "plan_of_peer",
    "plan_of_priority",
    "plan_of_status",
    "plan_of_submission",
    "read_block",
]
