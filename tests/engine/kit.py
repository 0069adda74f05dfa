"""A few engines that hear all of each other, with a planner of one's choice: what runs where, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, cast

from p2pwf.clock.messages import Digest, Events, encode_message
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.sign import Signer
from p2pwf.engine import Engine, EngineConfig, Planner, found
from p2pwf.engine.config import LEASE, MayRun, accept_all
from p2pwf.engine.inputs import AddMember, Frame, Gossip, Input, JobEnded, Now, PeerDown, PeerUp, Submit, Tick
from p2pwf.engine.outputs import CancelJob, Output, Reply, Reseal, Send, StartJob, Store
from p2pwf.isolation import Level
from p2pwf.node.planner import WorkflowPlanner
from p2pwf.node.policing import Gatekeeper
from p2pwf.node.submission import SourceFacts, Wanted, make_body
from p2pwf.policy import Policy
from p2pwf.runs import Run
from p2pwf.testing import SimPlanner
from tests.kit import signer

WALL = 1_700_000_000_000


class Member:
    """One engine: its disk is a list; `running` and `stopped` are the attempts that it was asked to run and to stop."""

    def __init__(self, net: Net, key: Signer, slots: int) -> None:
        self.net = net
        self.key = key
        self.slots = slots
        self.disk: list[Event] = []
        self.running: dict[tuple[str, str, int], StartJob] = {}
        self.stopped: set[tuple[str, str, int]] = set()
        self.heard = 0
        self.asked_to_seal: list[Reseal] = []
        self.policy: Policy | None = None
        """What it runs for whom, from its next boot on; None: everything."""
        self.keeper: Gatekeeper | None = None
        """Who judges by it."""
        self.engine: Engine

    @property
    def peer(self) -> PeerId:
        return self.key.peer_id

    def boot(self) -> None:
        """Start from the disk; what ran is gone."""
        boot = next(self.net.boots).to_bytes(8)
        planner = self.net.planner()
        may_run: MayRun = accept_all
        keeper = self.keeper = None
        if self.policy is not None:
            assert isinstance(planner, WorkflowPlanner)
            keeper = self.keeper = Gatekeeper(self.policy, {Level.none}, self.peer, planner.flow)
            may_run = keeper.refusal
        config = EngineConfig(boot, "test", self.slots, planner, may_run)
        self.engine = Engine(self.key, self.net.genesis.cid, config, self.net.now())
        if keeper is not None:
            keeper.attach(self.engine.desk)
        self.running.clear()
        self.stopped.clear()
        self.heard = 0
        self.engine.load([event.signed for event in self.disk], {})

    def give(self, input: Input) -> list[Output]:
        outputs = self.engine.handle(input, self.net.now())
        for output in outputs:
            match output:
                case Store():
                    self.disk.extend(output.events)
                case StartJob():
                    self.running[place(output)] = output
                case Send():
                    self.net.frames.append((self.peer, output.peer, encode_message(output.message)))
                case Reseal():
                    self.asked_to_seal.append(output)
                case CancelJob():
                    self.stopped.add((output.attempt.run.text, output.attempt.job, output.attempt.leg))
                case _:
                    pass
        return outputs


class Net:
    """Members that are connected, synced and past every wait; the first of them is the only admin."""

    def __init__(self, members: int = 1, slots: int = 64, planner: Callable[[], Planner] = SimPlanner) -> None:
        self.time = 100.0
        self.planner = planner
        self.boots = count(1)
        self.frames: list[tuple[PeerId, PeerId, bytes]] = []
        key = signer(1)
        about = {"name": "one", "labels": ["linux"], "slots": slots}
        self.genesis = found(key, self.now(), nonce=b"n" * 16, name="net", private=False, founder=about)
        self.members = [Member(self, signer(number + 1), slots) for number in range(members)]
        first, *others = self.members
        first.disk.append(self.genesis)
        first.boot()
        for other in others:
            first.give(AddMember("add", other.peer, ("run", "submit"), other.peer[-4:], ("linux",), slots))
        for other in others:
            other.disk = list(first.disk)
            other.boot()
        self.connect()
        self.wait(LEASE + 1)

    def now(self) -> Now:
        return Now(self.time, WALL + int(self.time * 1000))

    def connect(self) -> None:
        """Bring all streams up, and let everyone say what it has."""
        for here in self.members:
            for there in self.members:
                if here is not there:
                    here.give(PeerUp(there.peer))
                    here.give(Frame(there.peer, encode_message(Digest(here.engine.desk.clock.dag.digest()))))

    def restart(self, member: Member) -> None:
        """A member loses its memory, comes back, and hears everyone."""
        member.boot()
        self.connect()
        self.wait(3)

    def lose(self, member: Member) -> None:
        """A member is gone for good, with what it ran."""
        self.members.remove(member)
        for other in self.members:
            other.give(PeerDown(member.peer))

    def share(self) -> None:
        """Everyone hears all that the others have stored, until there is nothing new."""
        while self.frames or any(member.heard < len(member.disk) for member in self.members):
            frames, self.frames = self.frames, []
            for sender, receiver, data in frames:
                for member in self.members:
                    if member.peer == receiver and any(other.peer == sender for other in self.members):
                        member.give(Frame(sender, data))
            for member in self.members:
                fresh, member.heard = member.disk[member.heard :], len(member.disk)
                for start in range(0, len(fresh), 200):
                    data = encode_message(Events(tuple(event.signed for event in fresh[start : start + 200])))
                    for other in self.members:
                        if other is not member:
                            other.give(Gossip(member.peer, data))

    def wait(self, seconds: float) -> None:
        """Let time pass in ticks, everyone hearing everyone."""
        self.share()
        until = self.time + seconds
        while self.time < until:
            self.time = min(until, self.time + 0.5)
            for member in self.members:
                member.give(Tick())
            self.share()

    # -- runs ---------------------------------------------------------------------------------------------------

    def submit(self, body: Mapping[str, Any], at: int = 0, share: bool = True) -> Cid:
        """Submit at one member; the run's id."""
        member = self.members[at]
        before = set(member.engine.desk.runs)
        for output in member.give(Submit("submit", body)):
            if isinstance(output, Reply) and output.error is not None:
                raise output.error
        if share:
            self.share()
        (made,) = set(member.engine.desk.runs) - before
        return made

    def submit_text(self, text: str, called: Mapping[str, str] | None = None, **wanted: Any) -> Cid:
        """Submit a workflow file, with files that it calls."""
        library = cast(Any, _Files(called or {}))
        body, _ = make_body(Wanted(text=text.encode(), source=SourceFacts(), force=True, **wanted), library)
        return self.submit(body)

    def run(self, run: Cid, at: int = 0) -> Run:
        return self.members[at].engine.desk.runs[run]

    def running(self, run: Cid | None = None) -> dict[tuple[str, int], StartJob]:
        """What runs now, anywhere: by job and leg."""
        return {
            (job, leg): start
            for member in self.members
            for (of, job, leg), start in member.running.items()
            if run is None or of == run.text
        }

    def asked_to_stop(self, run: Cid) -> set[tuple[str, int]]:
        """What of a run was asked to stop and still runs."""
        stopped = {place for member in self.members for place in member.stopped & member.running.keys()}
        return {(job, leg) for of, job, leg in stopped if of == run.text}

    def end(self, run: Cid, job: str, leg: int = 0, result: str = "success", **outputs: str) -> None:
        """One running job ends, and everyone hears of it."""
        for member in self.members:
            start = member.running.pop((run.text, job, leg), None)
            if start is not None:
                member.stopped.discard((run.text, job, leg))
                member.give(JobEnded(start.attempt, result, result, outputs))
                self.share()
                return
        raise AssertionError(f"{job} {leg} does not run")

    def results(self, run: Cid) -> dict[str, str | None]:
        """The results of a run's jobs, as everyone has them."""
        runs = [self.run(run, at) for at in range(len(self.members))]
        everyone = [{job: one.tally.result(job) for job in one.plan.jobs} for one in runs]
        assert all(one == everyone[0] for one in everyone)
        return everyone[0]


class _Files:
    """Stands for the submitter's library where the called files are texts and no action is used."""

    def __init__(self, called: Mapping[str, str]) -> None:
        self._called = dict(called)

    def for_tags(self, _tags: object) -> None:
        return

    def called(self, _workflow: object) -> dict[str, str]:
        return self._called

    def actions(self, _workflows: object) -> dict[str, object]:
        return {}


def of_workflows(members: int = 1, slots: int = 64) -> Net:
    """A network whose members read workflow files."""
    return Net(members, slots, WorkflowPlanner)


def place(start: StartJob) -> tuple[str, str, int]:
    return start.attempt.run.text, start.attempt.job, start.attempt.leg
