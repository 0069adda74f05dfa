"""Which peer runs which job: minimum Hamming distance, placement of a wave. Knows nothing of members or labels.

The rules, with their test vectors, are in protocols/assignment.md.
"""

from __future__ import annotations

from p2pwf.assign.hashes import (
    BadDigest,
    clock_head,
    combined,
    create_task_hash,
    distance,
    hamming_distance,
    peer_hash,
    task_hash,
    tie_break,
)
from p2pwf.assign.placement import Candidate, Placement, place_wave
from p2pwf.assign.table import PeerTable, order, select_task_owner

__all__ = [
    "BadDigest",
    "Candidate",
    "PeerTable",
    "Placement",
    "clock_head",
    "combined",
    "create_task_hash",
    "distance",
    "hamming_distance",
    "order",
    "peer_hash",
    "place_wave",
    "select_task_owner",
    "task_hash",
    "tie_break",
]
