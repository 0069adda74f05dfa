"""The engine: every decision of a node, as a state machine without I/O. `handle(input, now)` gives typed outputs.

Time, randomness, the workflow language and the policy are given to it; so the same code runs under a seeded simulator,
on a virtual clock. What must be durable is an output that comes before what tells anyone of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never, cast

from p2pwf.clock.clock import Verify
from p2pwf.clock.messages import (
    Beat,
    Digest,
    Events,
    Hello,
    MessageError,
    Peers,
    Presence,
    Probe,
    Pruned,
    Stored,
    Want,
    decode_message,
)
from p2pwf.core.bodies import MAX_PLAN
from p2pwf.core.dagcbor import Value, size
from p2pwf.core.events import Event, EventError, SignedBlock, author_event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.sign import Signer, verify
from p2pwf.engine.conductor import PAUSED, Conductor
from p2pwf.engine.config import RECEIPT_WAIT, TICK, EngineConfig
from p2pwf.engine.desk import Desk, integral
from p2pwf.engine.entrance import Entrance
from p2pwf.engine.forks import Forks
from p2pwf.engine.history import History
from p2pwf.engine.inputs import (
    AddMember,
    Addresses,
    AddSchedule,
    BaseMade,
    BaseRead,
    Begin,
    CancelRun,
    Frame,
    Gossip,
    Input,
    Invite,
    JobEnded,
    JoinAsked,
    MakeCheckpoint,
    Now,
    Pause,
    PeerDown,
    PeerUp,
    Place,
    PolicyChanged,
    Prune,
    Recalled,
    RemoveMember,
    RemoveSchedule,
    Sealed,
    SetPriority,
    Stop,
    Submit,
    TakeIn,
    Tick,
    Token,
    UpdateSelf,
    WriteSetting,
)
from p2pwf.engine.intake import Intake
from p2pwf.engine.liveness import Liveness
from p2pwf.engine.membership import Membership
from p2pwf.engine.outputs import Alarm, Misbehaved, Output, Recall, Reply, WakeAt
from p2pwf.engine.recovery import Recovery
from p2pwf.engine.sealing import Sealing
from p2pwf.engine.syncer import Syncer
from p2pwf.engine.timetable import Timetable
from p2pwf.errors import NotFound, P2pwfError, Refused, UsageError
from p2pwf.runs import Run
from p2pwf.runs.plan import read_group


def found(signer: Signer, now: Now, *, nonce: bytes, name: str, private: bool, founder: Mapping[str, object]) -> Event:
    """The genesis event of a new network, whose CID is the network's id.

    `nonce`: 16 random bytes. `founder`: {name, labels, slots}. Raises EventError if a value is out of bounds.
    """
    body = {"name": name, "nonce": nonce, "private": private, "founder": founder}
    return author_event(
        signer,
        net=None,
        seq=0,
        prev=None,
        parents=(),
        lamport=1,
        time=now.wall,
        type="net.genesis",
        body=body,
    )


class Engine:
    """One node's engine. Its parts share a desk; this only hands each input to the part that it concerns."""

    def __init__(self, signer: Signer, network: Cid, config: EngineConfig, now: Now, verifier: Verify = verify) -> None:
        self.desk = Desk(signer, network, config, now, verifier)
        self.intake = Intake(self.desk)
        self.syncer = Syncer(self.desk, self.intake)
        self.liveness = Liveness(self.desk, self.syncer)
        self.membership = Membership(self.desk)
        self.sealing = Sealing(self.desk, self.liveness)
        self.conductor = Conductor(self.desk, self.liveness, self.sealing)
        self.timetable = Timetable(self.desk, self.liveness, self._write_submission)
        self.forks = Forks(self.desk, self.liveness)
        self.recovery = Recovery(self.desk, self.syncer)
        self._entrance = Entrance(self.desk)
        self.history = History(self.desk, self.syncer)
        self._submitted: dict[Cid, tuple[Token, float]] = {}
        self.misbehaved = 0
        self.bugs = 0

    def load(
        self, blocks: Iterable[SignedBlock], meta: Mapping[str, bytes], also: frozenset[PeerId] = frozenset()
    ) -> None:
        """Take in what the store holds, in topological order; once, before the first input.

        `also`: peers that a node that was restored under its old id has to hear, beside the members.
        """
        self.desk.meta.update(meta)
        self.intake.load(blocks)
        if PAUSED in meta:
            self.conductor.pause(True)
        self.recovery.load(also)
        for output in self.desk.drain():
            if isinstance(output, Recall):  # ended runs that looked otherwise at first: with the first input
                self.desk.emit(output)

    def handle(self, input: Input, now: Now) -> list[Output]:
        """Take one input; returns what the shell is to do, in order, ending with when to wake this engine."""
        self.desk.now = now
        self.liveness.step()
        try:
            self._dispatch(input)
        except P2pwfError as error:
            token = getattr(input, "token", None)
            if token is None:
                raise
            self.desk.emit(Reply(token, error=error))
        except Exception as error:
            # A frame must never take the node with it, and stored events must not do so again at every start: our bug
            # is counted and said, the frame is dropped, and what was folded before it is stored below.
            if not isinstance(input, (Frame, Gossip)):
                raise
            self.bugs += 1
            self.desk.emit(Alarm(f"a bug of ours: {error!r}", "please report it"))
        self._settle()
        outputs = self.desk.drain()
        outputs.append(WakeAt(self._wake()))
        return outputs

    def _settle(self) -> None:
        self.recovery.step()
        self.conductor.see_members()
        self.conductor.see_settings()
        if self.desk.dirty:
            dirty = list(self.desk.dirty)
            self.desk.dirty.clear()
            self.conductor.step(dirty)
        for cid, (token, deadline) in list(self._submitted.items()):
            if self.desk.now.mono >= deadline:
                self._acknowledge(cid, token, copies=1)

    def _wake(self) -> float:
        return min([self.desk.now.mono + TICK, *(deadline for _, deadline in self._submitted.values())])

    def _dispatch(self, input: Input) -> None:
        match input:
            case PeerUp() | PeerDown() | Frame() | Gossip():
                self._from_network(input)
            case Tick():
                self.syncer.tick()
                self.conductor.tick()
                self.timetable.tick()
                self.forks.tick()
                self.sealing.tick()
                self.history.tick()
                self.liveness.tick(self.conductor.held)
            case Submit() | CancelRun() | SetPriority():
                self._about_a_run(input)
            case AddSchedule() | RemoveSchedule():
                self.timetable.asked(input)
            case WriteSetting():
                self.sealing.write(input)
            case Sealed():
                self.sealing.sealed(input)
            case Place() | Pause() | PolicyChanged() | Begin() | Stop():
                self._about_work_here(input)
            case AddMember():
                self.membership.add(input)
            case RemoveMember():
                self.membership.remove(input)
            case UpdateSelf():
                self.membership.update_self(input)
            case Invite():
                self.membership.invite(input)
            case JoinAsked():
                self.membership.join(input)
            case JobEnded():
                self.conductor.work.ended(input)
            case Recalled() | TakeIn() | BaseMade() | BaseRead():
                self._from_disk(input)
            case MakeCheckpoint() | Prune():
                self.history.asked(input)
            case Addresses():
                self.liveness.set_addresses(input.addresses)
            case _:
                assert_never(input)

    def _from_disk(self, input: Recalled | TakeIn | BaseMade | BaseRead) -> None:
        match input:
            case Recalled():
                self.desk.restore(input.run, input.blocks)
                if input.token is not None:
                    self.desk.emit(Reply(input.token, {}))
            case TakeIn():
                self.desk.emit(Reply(input.token, {"new": self.intake.take_in(input.blocks)}))
                self.syncer.check()
            case BaseMade():
                self.history.made(input)
            case BaseRead():
                self.history.read(input)
            case _:
                assert_never(input)

    def _about_work_here(self, input: Place | Pause | PolicyChanged | Begin | Stop) -> None:
        answer: dict[str, object] = {}
        match input:
            case Place():
                self.conductor.place()
            case Pause():
                self.conductor.pause(input.on)
                answer = {"paused": input.on, "running_jobs": len(self.conductor.work.local)}
            case PolicyChanged():
                self.conductor.judge_anew()
            case Begin():
                begun, waiting = self.conductor.work.begin(input.run, input.leg)
                answer = {"begun": begun, "waiting": waiting}
            case Stop():
                self.conductor.hand_on()
        self.desk.emit(Reply(input.token, answer))

    def _from_network(self, input: PeerUp | PeerDown | Frame | Gossip) -> None:
        match input:
            case PeerUp():
                self.liveness.heard_from(input.peer)
                self.syncer.up(input.peer)
                self.liveness.greet(input.peer)
                self.conductor.peer_changed(input.peer)
            case PeerDown():
                self.syncer.down(input.peer)
                self.liveness.lost(input.peer)
                self.conductor.peer_changed(input.peer)
            case Frame():
                self._frame(input.peer, input.data)
            case Gossip():
                self._gossip(input.author, input.data)
            case _:
                assert_never(input)

    def _about_a_run(self, input: Submit | CancelRun | SetPriority) -> None:
        match input:
            case Submit():
                self._submit(input)
            case CancelRun():
                run = self._own_run(input.run, "cancel")
                if not run.tally.cancels:
                    self.desk.write("run.cancel", {"run": run.id}, run)
                if input.force and not run.forced:
                    self.desk.write("run.cancel", {"run": run.id}, run)
                self.desk.emit(Reply(input.token, {"workflow_id": run.id.text}))
            case SetPriority():
                run = self._own_run(input.run, "change the priority of")
                try:
                    self.desk.write("run.priority", {"run": run.id, "priority": integral(input.priority)}, run)
                except EventError as error:
                    raise UsageError(f"not a priority: {input.priority}", "1.0 is critical, 5.0 background") from error
                self.desk.emit(Reply(input.token, {"workflow_id": run.id.text}))
            case _:
                assert_never(input)

    # -- messages -----------------------------------------------------------------------------------------------

    def _frame(self, peer: PeerId, data: bytes) -> None:
        self.liveness.heard_from(peer)
        try:
            message = decode_message(data)
        except MessageError as error:
            self._misbehaved(peer, str(error))
            return
        match message:
            case Hello():
                self.liveness.told_time(peer, message.time)
                self.syncer.hello(peer, message)
            case Digest():
                self.syncer.digest(peer, message)
            case Events():
                self.syncer.events(peer, message)
            case Want():
                self.syncer.want(peer, message)
            case Stored():
                self._stored(message)
            case Beat():
                self.liveness.beat(peer, message)
            case Probe():
                self.liveness.probe(peer, message, self.conductor.holds)
            case Peers():
                self.liveness.told(peer, message)
            case Pruned():
                self.history.offered(peer, message)
            case Presence():
                self._misbehaved(peer, "a presence on a clock stream")
            case None:
                pass
            case _:
                assert_never(message)

    def _gossip(self, author: PeerId, data: bytes) -> None:
        if author == self.desk.me or not self.desk.roster.holds(author, None):
            return
        try:
            message = decode_message(data)
        except MessageError as error:
            self._misbehaved(author, str(error))
            return
        if isinstance(message, Events):
            self.intake.blocks(author, message.events)
            self.syncer.check()
        elif isinstance(message, Presence):
            self.liveness.present(author, message)
        elif message is not None:
            self._misbehaved(author, "a message on the topic that belongs on a stream")

    def _misbehaved(self, peer: PeerId, reason: str) -> None:
        self.misbehaved += 1
        self.desk.emit(Misbehaved(peer, reason))

    # -- requests -----------------------------------------------------------------------------------------------

    def _submit(self, request: Submit) -> None:
        desk = self.desk
        if not desk.standing().holds(desk.me, "submit"):
            raise Refused("this node may not submit workflows", "an admin can give it the role submit")
        key = cast("str | None", request.body["key"])
        if key is not None and key in desk.keys:
            self._acknowledge(desk.keys[key], request.token, copies=1)
            return
        self.check_room()
        event = self._write_submission(request.body)
        if self.syncer.connected:
            self._submitted[event.cid] = (request.token, desk.now.mono + RECEIPT_WAIT)
        else:
            self._acknowledge(event.cid, request.token, copies=1)

    def check_room(self) -> None:
        """Raise Overloaded unless this node takes one more submission now."""
        self._entrance.check(len(self._submitted))

    def _write_submission(self, body: Mapping[str, Value]) -> Event:
        """Write a run.submit of this node's; raises UsageError if it is out of bounds."""
        desk = self.desk
        plan = body["plan"]
        if size(plan) > MAX_PLAN:
            raise UsageError(f"the plan is over {MAX_PLAN // 1024} KiB", "split the workflow, or its matrix")
        absent = sorted(
            member.peer
            for member in desk.roster.members.values()
            if member.can("run") and self.liveness.is_absent(member.peer)
        )
        group = cast("dict[str, Value] | None", body["concurrency"])
        if group is not None:
            repository = cast(str, body["repository"])
            superseded = self.conductor.groups.to_supersede(repository, read_group(group))
            group = {**group, "supersedes": cast(Value, superseded)}
        try:
            return desk.write("run.submit", {**body, "absent": cast(Value, absent), "concurrency": group})
        except EventError as error:
            raise UsageError(f"this submission is out of bounds: {error}", "see protocols/events.md") from error

    def _stored(self, message: Stored) -> None:
        for cid in message.ids:
            if cid in self._submitted:
                self._acknowledge(cid, self._submitted[cid][0], copies=2)

    def _acknowledge(self, cid: Cid, token: Token, copies: int) -> None:
        self._submitted.pop(cid, None)
        self.desk.emit(Reply(token, {"workflow_id": cid.text, "copies": copies}))

    def _own_run(self, cid: Cid, what: str) -> Run:
        """A run that is open and that this node may steer."""
        run = self.desk.runs.get(cid)
        if run is None and cid not in self.desk.cold:
            raise NotFound(f"no run {cid.text}", "see `p2pwf workflow list`")
        if run is None or run.tally.end is not None:
            raise Refused(f"cannot {what} a run that has ended", "see `p2pwf workflow status`")
        if run.submitter != self.desk.me and not self.desk.standing().holds(self.desk.me, "admin"):
            raise Refused(f"only its submitter or an admin may {what} this run", "submit from the node that may")
        return run
