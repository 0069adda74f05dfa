"""Healing: hellos, digests, what each side lacks; and when this node counts as synced. See protocols/clock.md."""

from __future__ import annotations

from p2pwf.clock.messages import Digest, Events, Hello, Pruned, Want
from p2pwf.clock.sync import Frontier, frontier, lacking, tag
from p2pwf.core.ids import PeerId
from p2pwf.engine.config import DIGEST_EVERY, MAX_ROUNDS
from p2pwf.engine.desk import Desk
from p2pwf.engine.intake import Intake
from p2pwf.engine.outputs import Alarm, Misbehaved, Ready, Send, SendEvents
from p2pwf.runs.checkpoints import Checkpoint


class Syncer:
    """One conversation with each connected peer.

    `synced_at`: when this node last had all that some peer had. `ready`: it is a member, and has synced with one since
    it started, or waited a lease for one: a node whose peers are all down must still take submissions.
    """

    def __init__(self, desk: Desk, intake: Intake) -> None:
        self._desk = desk
        self._intake = intake
        self._goals: dict[PeerId, Frontier] = {}
        self._boots: dict[PeerId, bytes] = {}
        self._next_digest = 0.0
        self._rounds: dict[PeerId, int] = {}
        """Of each peer, the hellos and digests since `_rounds_since`."""
        self._rounds_since = desk.now.mono
        self.dropped = 0
        """Hellos and digests beyond MAX_ROUNDS."""
        self.connected: dict[PeerId, None] = {}
        self.synced: set[PeerId] = set()
        """Peers of which this node has had, at some moment since it started, all that they had."""
        self.equal: set[PeerId] = set()
        """Peers that had, at some moment since `compare`, just what this node has."""
        self._started = desk.now.mono
        self.synced_at: float | None = None
        self.ready = False
        self.base: Checkpoint | None = None
        """The checkpoint that this node has followed."""

    def up(self, peer: PeerId) -> None:
        """A stream stands: the peer with the smaller id speaks first."""
        self.connected[peer] = None
        if self._desk.me < peer:
            self._hello(peer, reply=True)

    def down(self, peer: PeerId) -> None:
        self.connected.pop(peer, None)
        self._goals.pop(peer, None)

    def compare(self) -> None:
        """Find out anew which peers have just what this node has: asked at once, and by every digest from now on."""
        self.equal.clear()
        for peer in self.connected:
            self._hello(peer, reply=True)

    def _hello(self, peer: PeerId, reply: bool) -> None:
        dag = self._desk.clock.dag
        self._desk.emit(
            Send(
                peer,
                Hello(
                    network=self._desk.network,
                    boot=self._desk.config.boot,
                    digest=dag.digest(),
                    frontier=frontier(dag),
                    reply=reply,
                    version=self._desk.config.version,
                    time=self._desk.now.wall,
                ),
            )
        )

    def hello(self, peer: PeerId, message: Hello) -> None:
        if message.network != self._desk.network:
            self._desk.emit(Misbehaved(peer, "it belongs to another network"))
            return
        if peer == self._desk.me and message.boot != self._desk.config.boot:
            self._desk.emit(Alarm("another node runs with this node's key", "give each node a data folder of its own"))
        if not self._has_turn(peer):
            return
        same = message.digest == self._desk.clock.dag.digest()
        if message.reply:
            self._hello(peer, reply=False)
        if not same:
            missing = lacking(self._desk.clock.dag, message.frontier)
            if any(node.pruned for node in missing):
                self._offer(peer)
            elif missing:
                self._desk.emit(SendEvents(peer, tuple(node.cid for node in missing)))
        else:
            self.equal.add(peer)
        self._goals[peer] = {} if same else message.frontier
        self.check()

    def _offer(self, peer: PeerId) -> None:
        """A peer lacks what is not whole here: it can start from the checkpoint that this node has followed."""
        if self.base is not None:
            self._desk.emit(Send(peer, Pruned(self.base.event.signed)))

    def _has_turn(self, peer: PeerId) -> bool:
        """Whether a peer may begin one more round of sync; counts it."""
        now = self._desk.now.mono
        if now - self._rounds_since >= DIGEST_EVERY:
            self._rounds.clear()
            self._rounds_since = now
        self._rounds[peer] = rounds = self._rounds.get(peer, 0) + 1
        self.dropped += rounds > MAX_ROUNDS
        return rounds <= MAX_ROUNDS

    def digest(self, peer: PeerId, message: Digest) -> None:
        if not self._has_turn(peer):
            return
        if message.digest != self._desk.clock.dag.digest():
            self._hello(peer, reply=True)
        else:
            self.equal.add(peer)
            self._goals[peer] = {}
            self.check()

    def events(self, peer: PeerId, message: Events) -> None:
        self._intake.blocks(peer, message.events)
        self.check()

    def want(self, peer: PeerId, message: Want) -> None:
        dag = self._desk.clock.dag
        known = tuple(cid for cid in message.ids if (node := dag.get(cid)) is not None and not node.pruned)
        if known:
            ordered = sorted(known, key=lambda cid: self._desk.clock.dag[cid].order)
            self._desk.emit(SendEvents(peer, tuple(ordered)))

    def check(self) -> None:
        """See whether this node now has all that some peer said it had."""
        dag = self._desk.clock.dag
        for peer, goal in list(self._goals.items()):
            if all(
                any(tag(node) == mark for node in dag.at(author, seq))
                for author, tips in goal.items()
                for seq, mark in tips
            ):
                del self._goals[peer]
                self.synced.add(peer)
                self.synced_at = self._desk.now.mono
        if not self.ready and not self._desk.recovering and self._desk.roster.holds(self._desk.me, None):
            alone = len(self._desk.roster.members) == 1
            waited = self._desk.now.mono - self._started >= self._desk.config.lease
            if alone or waited or self.synced_at is not None:
                self.ready = True
                self._desk.emit(Ready())

    def progress(self) -> tuple[int, int]:
        """Of the events that a peer says it has, of all such peers the one with most: how many are here, and how many
        there are. (0, 0) if this node lacks nothing that it knows of. For people to look at."""
        dag = self._desk.clock.dag
        found = []
        for goal in self._goals.values():
            theirs = {author: 1 + max((seq for seq, _ in tips), default=-1) for author, tips in goal.items()}
            here = sum(min(dag.length(author), count) for author, count in theirs.items())
            found.append((here, sum(theirs.values())))
        return max(found, key=lambda one: one[1], default=(0, 0))

    def tick(self) -> None:
        now = self._desk.now.mono
        if now >= self._next_digest:
            self._next_digest = now + DIGEST_EVERY
            message = Digest(self._desk.clock.dag.digest())
            for peer in self.connected:
                self._desk.emit(Send(peer, message))
            self._intake.ask_again(list(self.connected))
        self.check()
