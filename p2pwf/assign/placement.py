"""Placement of a wave: jobs that become ready together spread over peers. Knows nothing of labels, roles or liveness.

Each task goes to the candidate with the smallest (load // slots, load, distance, tie-break), where load counts the
tasks of this wave placed so far. Candidates of one (load // slots, load) form a level; only the lowest level is ever
searched, so a wave costs one nearest-peer question a task.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from attrs import frozen

from p2pwf.assign.hashes import BadDigest
from p2pwf.assign.table import PeerTable
from p2pwf.core.ids import PeerId

Level: TypeAlias = tuple[int, int]


@frozen
class Candidate:
    """A peer that may run a task: its id and how many jobs it runs at a time (0: none, so it is passed over)."""

    peer_id: PeerId
    slots: int


class _Levels:
    """The candidates of some tasks of a wave, by level."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates  # keeps the object alive, whose identity is our name
        self._slots = {candidate.peer_id: candidate.slots for candidate in candidates}
        if len(self._slots) != len(candidates):
            raise BadDigest("a peer is named twice among the candidates")
        able = [peer for peer, slots in self._slots.items() if slots > 0]
        self._tables: dict[Level, PeerTable[PeerId]] = {(0, 0): PeerTable(able)} if able else {}
        self._level: dict[PeerId, Level] = dict.fromkeys(able, (0, 0))
        self._seen = 0

    def owner(self, point: bytes) -> PeerId | None:
        return self._tables[min(self._tables)].owner(point)[0] if self._tables else None

    def follow(self, placed: list[PeerId], loads: dict[PeerId, int]) -> None:
        """Lift those to whom something was placed since the last call."""
        for peer in placed[self._seen :]:
            before = self._level.get(peer)
            level = (loads[peer] // self._slots[peer], loads[peer]) if before else None
            if before is None or level is None or level == before:
                continue
            table = self._tables[before]
            table.discard(peer)
            if not len(table):
                del self._tables[before]
            self._tables.setdefault(level, PeerTable()).add(peer)
            self._level[peer] = level
        self._seen = len(placed)


class Placement:
    """One wave being placed: call `place` for each of its tasks, in declared order, legs in expansion order.

    Tasks may have different candidates (their labels differ), while the load is one for the whole wave.
    """

    def __init__(self) -> None:
        self._placed: list[PeerId] = []
        self._loads: dict[PeerId, int] = {}
        self._levels: dict[int, _Levels] = {}

    def place(self, point: bytes, candidates: Sequence[Candidate]) -> PeerId | None:
        """The owner of the task with this `combined` hash; None if no candidate has a slot.

        Give legs of one job the same, unchanged `candidates` object: what is known of it is then used again. Raises
        BadDigest if a peer is named twice.
        """
        levels = self._levels.get(id(candidates))
        if levels is None:
            levels = self._levels[id(candidates)] = _Levels(candidates)
        levels.follow(self._placed, self._loads)
        owner = levels.owner(point)
        if owner is not None:
            self._loads[owner] = self._loads.get(owner, 0) + 1
            self._placed.append(owner)
        return owner


def place_wave(points: Iterable[bytes], candidates: Sequence[Candidate]) -> list[PeerId | None]:
    """The owner of each task of a wave whose tasks (their `combined` hashes) all have the same candidates."""
    placement = Placement()
    return [placement.place(point, candidates) for point in points]
