"""Events from others: parsed, accepted, or set to wait for their links; and what is asked for meanwhile.

Nothing is done because an event arrived; everything follows from what the folds say once it is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pwf.clock import Accepted, Invalid, Missing, Pending
from p2pwf.clock.messages import Stored, Want
from p2pwf.core.events import Event, EventError, LaterEvent, SignedBlock, parse
from p2pwf.core.ids import Cid, PeerId, block_cid
from p2pwf.engine.base import read_block
from p2pwf.engine.config import MAX_WANT
from p2pwf.engine.desk import Desk
from p2pwf.engine.outputs import Misbehaved, Send
from p2pwf.errors import Refused

MAX_REFUSED = 32
"""Of one message: who sends that many is about to be banned, and each may have cost a check of a signature."""


class Intake:
    """Takes blocks in from peers. `duplicates`, `accepted`, `invalid` count what came of them, `later` those of later
    versions: nobody is blamed for passing them on, and nothing is done with them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.pending = Pending()
        self._round = 0
        self.accepted = 0
        self.duplicates = 0
        self.invalid = 0
        self.later = 0

    def load(self, blocks: Iterable[SignedBlock]) -> None:
        """Take in what this node's own store holds, in topological order; signatures were checked before."""
        for signed in blocks:
            event = read_block(signed, self._desk.network)
            result = self._desk.clock.accept(event, trusted=True)
            if isinstance(result, Accepted):
                self._desk.take(event, result, store=False)

    def take_in(self, blocks: Iterable[SignedBlock]) -> int:
        """Take in blocks that nobody sent, each after what it stands on; returns how many were new.

        Raises Refused at the first that is not accepted: what came before it stays."""
        before = self.accepted
        for signed in blocks:
            cid = block_cid(signed.block)
            if cid not in self._desk.clock.dag:
                self._settle(self._desk.me, parse(signed))
                if cid not in self._desk.clock.dag:
                    raise Refused(f"event {cid} is not accepted here", "see `p2pwf clock verify`")
        return self.accepted - before

    def blocks(self, source: PeerId, blocks: Iterable[SignedBlock]) -> None:
        """Take in blocks that `source` sent, whoever wrote them."""
        receipts: dict[PeerId, list[Cid]] = {}
        refused = self.invalid
        for signed in blocks:
            if self.invalid - refused >= MAX_REFUSED:
                break
            cid = block_cid(signed.block)
            if cid in self._desk.clock.dag or cid in self.pending:
                self.duplicates += 1
                if cid in self.pending:
                    self.pending.again(cid, source)
                node = self._desk.clock.dag.get(cid)
                if node is not None and node.run == cid and node.author == source:
                    receipts.setdefault(source, []).append(cid)
                continue
            try:
                event = parse(signed)
            except LaterEvent:
                self.later += 1
                continue
            except EventError as error:
                self._refuse(source, cid, str(error))
                continue
            for submission in self._settle(source, event):
                receipts.setdefault(submission.author, []).append(submission.cid)
        for author, ids in receipts.items():
            self._desk.emit(Send(author, Stored(tuple(ids))))
        self._ask(source)

    def _settle(self, source: PeerId, event: Event) -> list[Event]:
        """Accept an event and all that waited for it; returns the submissions among them."""
        submissions = []
        ready: list[tuple[Event, PeerId | None]] = [(event, source)]
        while ready:
            current, sender = ready.pop()
            if current.cid in self._desk.clock.dag:
                continue
            result = self._desk.clock.accept(current, trusted=current is not event)
            if isinstance(result, Missing):
                # Only what its author signed may wait: a forged copy must not take the place of the true one.
                if self._desk.clock.is_signed(current):
                    self.pending.add(current, result.links, sender, self._desk.now.mono)
                else:
                    self._refuse(source, current.cid, "a signature that is not the author's")
            elif isinstance(result, Invalid):
                self._refuse(sender or source, current.cid, result.reason)
            else:
                self.accepted += 1
                self._desk.take(current, result)
                if current.author == self._desk.me and not self._desk.recovering:
                    self._desk.freeze(
                        "another node writes with this node's key, or this data folder was restored from an old copy",
                        "stop one of the two; a restored node needs a peer id of its own",
                    )
                if current.type == "run.submit":
                    submissions.append(current)
                ready.extend(self.pending.arrived(current.cid))
        return submissions

    def _refuse(self, source: PeerId, cid: Cid, reason: str) -> None:
        self.invalid += 1 + self.pending.refused(cid)
        self._desk.emit(Misbehaved(source, reason))

    def _ask(self, source: PeerId) -> None:
        """Ask `source` for what is missing of what it sent."""
        self._want(source, self.pending.ask(self._desk.now.mono, MAX_WANT, source))

    def _want(self, peer: PeerId, ids: tuple[Cid, ...]) -> None:
        if ids:
            self._desk.emit(Send(peer, Want(ids)))

    def ask_again(self, peers: Sequence[PeerId]) -> None:
        """Ask connected peers for what is still missing, each time another one first; let go of what waits too long."""
        self.pending.expire(self._desk.now.mono)
        self._round += 1
        for number in range(len(peers)):
            peer = peers[(number + self._round) % len(peers)]
            self._want(peer, self.pending.ask_in_turns(self._desk.now.mono, MAX_WANT))
