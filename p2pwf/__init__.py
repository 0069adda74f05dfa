"""p2pwf: GitHub Actions workflow files run peer to peer, with no server and no GitHub API.

    from p2pwf import P2PWorkflowCoordinator       # workflows and peers on this machine, no node, no network
    from p2pwf import connect, connect_async       # the same methods over a running node; for trio
    from p2pwf import MerkleClock, FibonacciHeap, WorkflowPriorityQueue, WorkflowStatus, WorkflowTask
    from p2pwf import hamming_distance, select_task_owner, create_task_hash
    from p2pwf.mcp import P2PWorkflowTools         # the ten tools as plain methods

Importing the package costs nothing: what is named here is imported when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pwf.assign import create_task_hash, hamming_distance, select_task_owner
    from p2pwf.client.blocking import Client, connect
    from p2pwf.client.nursery import AsyncClient, connect_async
    from p2pwf.embedded.coordinator import P2PWorkflowCoordinator
    from p2pwf.embedded.merkle import MerkleClock
    from p2pwf.errors import P2pwfError
    from p2pwf.ledger import MerkleNode, WorkflowStatus, WorkflowTask
    from p2pwf.queue import FibonacciHeap, WorkflowPriorityQueue

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Client",
    "FibonacciHeap",
    "MerkleClock",
    "MerkleNode",
    "P2PWorkflowCoordinator",
    "P2pwfError",
    "WorkflowPriorityQueue",
    "WorkflowStatus",
    "WorkflowTask",
    "__version__",
    "connect",
    "connect_async",
    "create_task_hash",
    "hamming_distance",
    "select_task_owner",
]

_HOMES = {
    "AsyncClient": "p2pwf.client.nursery",
    "Client": "p2pwf.client.blocking",
    "FibonacciHeap": "p2pwf.queue",
    "MerkleClock": "p2pwf.embedded.merkle",
    "MerkleNode": "p2pwf.ledger",
    "P2PWorkflowCoordinator": "p2pwf.embedded.coordinator",
    "P2pwfError": "p2pwf.errors",
    "WorkflowPriorityQueue": "p2pwf.queue",
    "WorkflowStatus": "p2pwf.ledger",
    "WorkflowTask": "p2pwf.ledger",
    "connect": "p2pwf.client.blocking",
    "connect_async": "p2pwf.client.nursery",
    "create_task_hash": "p2pwf.assign",
    "hamming_distance": "p2pwf.assign",
    "select_task_owner": "p2pwf.assign",
}
"""Where each public name lives."""


if not TYPE_CHECKING:  # a type checker knows the names from above, and a misspelt one is an error to it

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'p2pwf' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(home), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
