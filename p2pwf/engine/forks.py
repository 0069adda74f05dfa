"""Equivocation: a member that wrote two events of one seq is cut by a proof, which the first live member writes."""

from __future__ import annotations

from p2pwf.clock import Node
from p2pwf.core.ids import PeerId
from p2pwf.engine.config import STAGGER
from p2pwf.engine.desk import Desk
from p2pwf.engine.liveness import Liveness
from p2pwf.errors import Refused


class Forks:
    """Looks for forks that nobody has proven yet. `_since`: when one was first seen here."""

    def __init__(self, desk: Desk, liveness: Liveness) -> None:
        self._desk = desk
        self._liveness = liveness
        self._since: dict[PeerId, float] = {}
        self.refused = 0

    def tick(self) -> None:
        """Write a proof if one is due and it is our turn: the first live member at once, the k-th after k waits."""
        desk = self._desk
        if desk.frozen is not None or self._liveness.suspended or not desk.roster.holds(desk.me, None):
            return
        for author in list(desk.clock.dag.forked()):
            if not desk.roster.holds(author, None):
                continue
            pair = desk.clock.fork_of(author)
            if pair is None:
                continue
            live = sorted(peer for peer in desk.roster.members if peer != author and self._liveness.is_alive(peer))
            since = self._since.setdefault(author, desk.now.mono)
            if desk.me not in live or desk.now.mono - since < live.index(desk.me) * STAGGER:
                continue
            self._write(pair)

    def _write(self, pair: tuple[Node, Node]) -> None:
        first, second = sorted(node.cid for node in pair)
        try:
            self._desk.write("member.fork", {"first": first, "second": second})
        except Refused:
            self.refused += 1
