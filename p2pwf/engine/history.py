"""Checkpoints here: when one is written, acknowledged and followed, and starting from one. See protocols/checkpoint.md.

What is left is worked out from the store, by the shell, in the same way for whoever writes a checkpoint and whoever
acknowledges it; both only compare a hash. Following one and starting from one are the same step: what of its base is
not known is taken in, and what is pruned in it and whole here is pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from p2pwf.clock import Accepted
from p2pwf.clock.messages import Pruned
from p2pwf.core.events import MAX_PARENTS, EventError, parse
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.base import covers
from p2pwf.engine.desk import Desk
from p2pwf.engine.inputs import BaseMade, BaseRead, MakeCheckpoint, Prune, Token
from p2pwf.engine.outputs import Alarm, FetchBase, MakeBase, Misbehaved, Reply, RunsChanged
from p2pwf.engine.syncer import Syncer
from p2pwf.errors import P2pwfError, Refused, TryAgain
from p2pwf.runs.checkpoints import ACK, CHECKPOINT, Checkpoint, is_checkpoint

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at what checkpoints there are: nothing about them is urgent."""
DAY_MS: Final = 24 * 3600 * 1000
CHECKPOINT_EVERY_MS: Final = DAY_MS
"""Of checkpoints that write themselves: each makes every member read its whole history once."""


@attrs.define(slots=True)
class _Wish:
    """A checkpoint that is to be written, and who waits for it."""

    tips: tuple[Cid, ...]
    token: Token | None


class History:
    """One at a time: a base that is made or read, for whatever end."""

    def __init__(self, desk: Desk, syncer: Syncer) -> None:
        self._desk = desk
        self._syncer = syncer
        self._next_look = 0.0
        self._busy = False
        self._wish: _Wish | None = None
        self._unlike: set[Cid] = set()
        self._start: Cid | None = None
        """The checkpoint that this node is about to start from."""
        self._told = False

    @property
    def applied(self) -> Checkpoint | None:
        """The checkpoint that this node has followed since it started: the one it offers."""
        return self._syncer.base

    # -- requests -----------------------------------------------------------------------------------------------

    def asked(self, request: MakeCheckpoint | Prune) -> None:
        """Do what a user asks for; raises what `make` raises."""
        if isinstance(request, MakeCheckpoint):
            self.make(request)
        else:
            self.prune(request)

    def make(self, request: MakeCheckpoint) -> None:
        """Begin a checkpoint, as a user asks; raises Refused or TryAgain."""
        desk = self._desk
        if not desk.standing().holds(desk.me, "admin"):
            raise Refused("only an admin may write a checkpoint", "ask an admin: `p2pwf peer list` shows the roles")
        if self._busy or not self._syncer.ready:
            raise TryAgain("this node is not ready for a checkpoint", "try again in a moment")
        self._begin(int(request.days * DAY_MS), request.token)

    def prune(self, request: Prune) -> None:
        """Say where the newest checkpoint stands, and look at once whether it can be followed."""
        self._next_look = 0.0
        self.tick()
        self._desk.emit(Reply(request.token, self.facts()))

    def facts(self) -> dict[str, object]:
        """{checkpoint, applied, missing: [peer id], pruned_runs}: the newest checkpoint, the one followed, who has not
        acknowledged the newest."""
        desk = self._desk
        newest = desk.checkpoints.newest()
        return {
            "checkpoint": None if newest is None else newest.event.cid.text,
            "applied": None if self.applied is None else self.applied.event.cid.text,
            "missing": [] if newest is None else desk.checkpoints.missing(newest, desk.roster),
            "pruned_runs": len(desk.pruned),
        }

    def _begin(self, age: int, token: Token | None) -> None:
        desk = self._desk
        heads = desk.clock.dag.heads()
        if len(heads) > MAX_PARENTS:
            raise TryAgain(f"the clock has {len(heads)} ends", "try again once its members have heard each other")
        newest, tips = desk.checkpoints.newest(), tuple(node.cid for node in heads)
        before = None if age else max(node.lamport for node in heads)
        self._busy, self._wish = True, _Wish(tips, token)
        desk.emit(MakeBase(tips, before, max(0, desk.now.wall - age), 1 if newest is None else newest.before))

    # -- time ---------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Do the next thing that is to be done about checkpoints, one at a time."""
        desk = self._desk
        if desk.now.mono < self._next_look or self._busy:
            return
        self._next_look = desk.now.mono + LOOK_EVERY
        if desk.frozen is not None or not self._syncer.ready or not desk.roster.holds(desk.me, None):
            return
        stable, newest = desk.checkpoints.stable(desk.roster), desk.checkpoints.newest()
        if stable is not None and stable is not self.applied:
            self._busy = True
            desk.emit(FetchBase(None, stable.event, stable.base))
        elif newest is not None and self._is_due(newest):
            self._busy = True
            desk.emit(MakeBase(newest.tips, newest.before, 0, 0))
        elif self._is_time(newest):
            self._begin(desk.config.history_days * DAY_MS, None)

    def _is_due(self, checkpoint: Checkpoint) -> bool:
        """Whether this node is to acknowledge a checkpoint."""
        desk = self._desk
        asked = desk.me in desk.checkpoints.missing(checkpoint, desk.roster)
        return asked and checkpoint.event.cid not in self._unlike and covers(checkpoint, desk.clock)

    def _is_time(self, newest: Checkpoint | None) -> bool:
        desk = self._desk
        if not desk.config.history_days or not desk.standing().holds(desk.me, "admin"):
            return False
        if len(desk.clock.dag.heads()) > MAX_PARENTS or (not desk.cold and not desk.runs):
            return False
        return newest is None or desk.now.wall - newest.event.time >= CHECKPOINT_EVERY_MS

    # -- bases --------------------------------------------------------------------------------------------------

    def made(self, input: BaseMade) -> None:
        """A base was made: the checkpoint that it is for is written, or acknowledged, or followed."""
        self._busy = False
        desk, wish = self._desk, self._wish
        if wish is not None and wish.tips == input.tips:
            self._wish = None
            self._write(wish, input)
            return
        for checkpoint in (desk.checkpoints.newest(), desk.checkpoints.stable(desk.roster)):
            if checkpoint is None or (checkpoint.tips, checkpoint.before) != (input.tips, input.before):
                continue
            if input.base == checkpoint.base:
                if self._is_due(checkpoint) and desk.frozen is None:
                    desk.write(ACK, {"checkpoint": checkpoint.event.cid})
                self._next_look = 0.0
            elif input.base is not None and checkpoint.event.cid not in self._unlike:
                self._unlike.add(checkpoint.event.cid)
                desk.emit(
                    Alarm(
                        f"the checkpoint {checkpoint.event.cid.text} is not what this node finds, so nothing is pruned",
                        "an admin writes another: `p2pwf clock checkpoint`; please report it if that is so again",
                    )
                )
            return

    def _write(self, wish: _Wish, input: BaseMade) -> None:
        desk = self._desk
        answer: Mapping[str, object] = {}
        error: P2pwfError | None = None
        if input.base is None:
            error = TryAgain("the checkpoint could not be made", "try again; the node's log says more")
        elif desk.frozen is not None:
            error = Refused(desk.frozen, "see `p2pwf status`")
        else:
            body = {"tips": sorted(wish.tips), "before": input.before, "base": input.base}
            try:
                made = desk.write(CHECKPOINT, body)
            except P2pwfError as refused:  # while the base was made, it may have ceased to be an admin
                error = refused
            else:
                answer = {**self.facts(), "checkpoint": made.cid.text, "stubs": input.stubs}
        if wish.token is not None:
            desk.emit(Reply(wish.token, dict(answer)) if error is None else Reply(wish.token, error=error))

    def offered(self, peer: PeerId, message: Pruned) -> None:
        """A peer has not whole any more what this node lacks: start from its checkpoint, if this node just started."""
        desk = self._desk
        try:
            event = parse(message.checkpoint)
        except EventError as error:
            desk.emit(Misbehaved(peer, str(error)))
            return
        base = is_checkpoint(event)
        tips = event.body.get("tips") if base is not None else None
        if isinstance(tips, list) and all(tip in desk.clock.dag for tip in tips):
            return  # what was lacking has come from elsewhere
        if base is None or event.net != desk.network or not desk.clock.is_signed(event):
            desk.emit(Misbehaved(peer, "a checkpoint that is none"))
        elif self._syncer.synced_at is not None:
            # A peer that has been heard once is believed no base: what it says is judged event by event.
            if not self._told:
                self._told = True
                desk.emit(
                    Alarm(
                        "this node lacks events that its network has pruned",
                        "start it again: it then starts from the newest checkpoint, and keeps what it has",
                    )
                )
        elif not self._busy:
            self._busy, self._start = True, event.cid
            desk.emit(FetchBase(peer, event, base))

    def read(self, input: BaseRead) -> None:
        """What a base holds is known: follow it, if all have acknowledged it or this node starts from it."""
        self._busy = False
        desk, cid = self._desk, input.checkpoint.cid
        starting, self._start = self._start == cid, None
        stable = desk.checkpoints.stable(desk.roster)
        follows = stable is not None and stable.event.cid == cid
        if not input.events:
            if follows and stable is not None and covers(stable, desk.clock):
                self._busy = True  # its blob went: it can be made again
                desk.emit(MakeBase(stable.tips, stable.before, 0, 0))
            return
        if not (follows or (starting and self._syncer.synced_at is None)):
            return
        for event in input.events:
            node = desk.clock.dag.get(event.cid)
            if node is None:
                result = desk.clock.accept(event, trusted=True)
                if not isinstance(result, Accepted):
                    desk.emit(Alarm(f"event {event.cid} of a base is not accepted", "please report it"))
                    return
                desk.take(event, result)
            elif event.pruned and not node.pruned:
                node.pruned = True
                desk.prune(event)
        if follows:
            self._syncer.base = stable
        desk.emit(RunsChanged(()))
        self._syncer.check()
