"""A node that was restored under its old id: it writes nothing until it cannot fork its own chain any more.

Its backup may be older than what it last wrote, and a second event with a number that was used up is a fork. What it
wrote and told anyone of is held by some member. So it listens first, to every member that it knows of and those it
comes to know of while it listens, until it has all that each of them had. One of them may have an event of it waiting
for a link that another one has, and takes it in later: so, from then on, each of them has to have been found equal
once. Whatever waited has its links by then, and has come in. Only then it goes on, from the newest event of its own.
What was told to nobody is lost with the old disk, unless that runs again.
"""

from __future__ import annotations

from typing import Final, cast

from p2pwf.core.dagcbor import decode, encode
from p2pwf.core.ids import PeerId
from p2pwf.engine.desk import Desk
from p2pwf.engine.syncer import Syncer

RESTORED: Final = "restored"
"""The value of this node's own that says so, until it has heard everyone: the members that are not waited for."""
NAMED: Final = 5
"""Members named in the reason; of more, the number."""


def restored_value(without: tuple[str, ...]) -> bytes:
    """What RESTORED holds; `without`: peer ids of members that are gone for good."""
    return encode(sorted(without))


class Recovery:
    """`active` until every member has been heard; then never again."""

    def __init__(self, desk: Desk, syncer: Syncer) -> None:
        self._desk = desk
        self._syncer = syncer
        self._without: frozenset[str] = frozenset()
        self._also: frozenset[PeerId] = frozenset()
        self._all_heard = False

    def load(self, also: frozenset[PeerId]) -> None:
        """After the store is loaded: whether this node recovers. `also`: peers to be heard, members or not."""
        value = self._desk.meta.get(RESTORED)
        if value is not None:
            self._desk.recovering = True
            self._without = frozenset(cast("list[str]", decode(value)))
            self._also = also
            self.step()

    def _waits_for(self) -> list[PeerId]:
        """The peers that have to be heard still, or once more, in order."""
        known = (self._also | self._desk.roster.members.keys()) - self._without - {self._desk.me}
        missing = known - self._syncer.synced
        if missing:
            self._all_heard = False
        elif not self._all_heard:
            self._all_heard = True
            self._syncer.compare()
        return sorted(missing or known - self._syncer.equal)

    def step(self) -> None:
        """See whether all have been heard: then this node may write, and stays so."""
        desk = self._desk
        if not desk.recovering:
            return
        missing = self._waits_for()
        if missing:
            members = desk.roster.members
            named = [members[peer].name if peer in members else peer for peer in missing[:NAMED]]
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            desk.frozen = (
                f"restored under its old id, this node writes nothing before it has heard {', '.join(named)}{more}"
            )
        else:
            desk.recovering = False
            desk.frozen = None
            desk.set_meta(RESTORED, None)
            desk.dirty.update(dict.fromkeys(desk.active))  # what it owns was passed over until now
