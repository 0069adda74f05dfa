"""Checkpoints and who acknowledged them: a function of the set of events, and of which are void. Pure.

A checkpoint names, by hash, what is to be left of a part of the clock; an admin writes it. Each member that finds the
same says so. Once all have that were members when it was written, and still are, it is stable: nobody needs what is not
left. To the clock both are events of unknown types, so they never change what is accepted. Source:
protocols/checkpoint.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import attrs

from p2pwf.core import forms
from p2pwf.core.events import MAX_LAMPORT, MAX_PARENTS, Event
from p2pwf.core.ids import RAW_PREFIX, Cid, PeerId
from p2pwf.roster import Roster

CHECKPOINT: Final = "clock.checkpoint"
ACK: Final = "clock.ack"
TYPES: Final = frozenset((CHECKPOINT, ACK))
_FORMS: Final[dict[str, forms.Form]] = {
    CHECKPOINT: {
        "tips": forms.list_of(forms.link, MAX_PARENTS, 1),
        "before": forms.integer(1, MAX_LAMPORT),
        "base": forms.link,
    },
    ACK: {"checkpoint": forms.link},
}


@attrs.frozen(slots=True, eq=False)
class Checkpoint:
    """`tips`: the frontier whose past it is about; `before`: runs that ended at or below this lamport number are
    pruned; `base`: the blob with what is left. `asked`: who was a member where it stands."""

    event: Event
    tips: tuple[Cid, ...]
    before: int
    base: Cid
    asked: frozenset[PeerId]


def is_checkpoint(event: Event) -> Cid | None:
    """The base that an event names if it has the form of a checkpoint, else None."""
    if event.type != CHECKPOINT or not forms.has_form(event.body, _FORMS[CHECKPOINT]):
        return None
    base = cast(Cid, event.body["base"])
    return base if base.startswith(RAW_PREFIX) else None


def read_checkpoint(event: Event, roster: Roster) -> Checkpoint | None:
    """The checkpoint that an event is, by the roster where it stands; None if it has no effect."""
    base = is_checkpoint(event)
    if base is None or not roster.holds(event.author, "admin"):
        return None
    tips = tuple(cast("list[Cid]", event.body["tips"]))
    return Checkpoint(event, tips, cast(int, event.body["before"]), base, frozenset(roster.members))


class Checkpoints:
    """All checkpoints with the acknowledgements of each."""

    def __init__(self, void: Callable[[Cid], bool]) -> None:
        self._void = void
        self._by_id: dict[Cid, Checkpoint] = {}
        self._acks: dict[Cid, dict[PeerId, Cid]] = {}

    def take(self, event: Event, roster: Roster) -> None:
        """Take in an event; `roster` is the one at its frontier."""
        checkpoint = read_checkpoint(event, roster)
        if checkpoint is not None:
            self._by_id[event.cid] = checkpoint
        elif event.type == ACK and forms.has_form(event.body, _FORMS[ACK]):
            self._acks.setdefault(cast(Cid, event.body["checkpoint"]), {}).setdefault(event.author, event.cid)

    def newest(self) -> Checkpoint | None:
        """The one of effect that is last in order."""
        found = [one for one in self._by_id.values() if not self._void(one.event.cid)]
        return max(found, key=lambda one: one.event.order, default=None)

    def missing(self, checkpoint: Checkpoint, roster: Roster) -> list[PeerId]:
        """The members that have not acknowledged it, and were members where it stands: none once it is stable."""
        acks = self._acks.get(checkpoint.event.cid, {})
        said = {peer for peer, cid in acks.items() if not self._void(cid)} | {checkpoint.event.author}
        return sorted((checkpoint.asked & roster.members.keys()) - said)

    def stable(self, roster: Roster) -> Checkpoint | None:
        """The newest one that every member has acknowledged."""
        found = [one for one in self._by_id.values() if not self._void(one.event.cid) and not self.missing(one, roster)]
        return max(found, key=lambda one: one.event.order, default=None)
