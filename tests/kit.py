"""Writers of events for tests of the pure parts: each has a clock of its own and learns only what it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations

from p2pwf.clock import Accepted, Clock, Invalid, Missing, Pending
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.sign import Signer
from p2pwf.engine import EngineConfig, found
from p2pwf.engine.desk import Desk
from p2pwf.engine.inputs import Now
from p2pwf.engine.outputs import Store
from p2pwf.runs import Run
from p2pwf.testing import SimPlanner, make_submission
from p2pwf.testing.sim import verify_once

NOW = Now(0.0, 1_700_000_000_000)


def signer(number: int) -> Signer:
    return Signer(bytes([number]) * 32)


class Writer:
    """One author: writes on what it knows, learns events in any causally closed order."""

    def __init__(self, number: int, network: Cid | None = None) -> None:
        self.signer = signer(number)
        self.events: list[Event] = []
        genesis = None
        if network is None:
            founder = {"name": f"w{number}", "labels": ["linux"], "slots": 2}
            genesis = found(self.signer, NOW, nonce=b"\x01" * 16, name="test", private=False, founder=founder)
            network = genesis.cid
        config = EngineConfig(boot=b"b" * 8, version="test", slots=2, planner=SimPlanner())
        self.desk = Desk(self.signer, network, config, NOW, verify_once)
        if genesis is not None:
            self.learn(genesis)

    @property
    def peer(self) -> PeerId:
        return self.signer.peer_id

    def learn(self, *events: Event) -> None:
        """Take in events whose links are known; those known already are passed over."""
        for event in events:
            if event.cid in self.desk.clock.dag:
                continue
            accepted = self.desk.clock.accept(event)
            assert isinstance(accepted, Accepted), accepted
            self.desk.take(event, accepted)
            self.events.append(event)

    def write(self, kind: str, body: dict[str, object], run: Run | None = None) -> Event:
        """Write an event, and the notes that join what it stands on, if there are too many heads."""
        self.desk.drain()
        event = self.desk.write(kind, body, run, must_count=False)
        (stored,) = [output for output in self.desk.drain() if isinstance(output, Store)]
        self.events.extend(stored.events)
        return event

    def add(self, peer: PeerId, *roles: str, slots: int = 2, labels: Sequence[str] = ("linux",)) -> Event:
        tips = self.desk.clock.dag.tips(peer)
        return self.write(
            "member.add",
            {
                "peer": peer,
                "roles": sorted(roles or ("run", "submit")),
                "name": peer[-4:],
                "labels": list(labels),
                "slots": slots,
                "tip": tips[-1].cid if tips else None,
            },
        )

    def remove(self, peer: PeerId, *roles: str) -> Event:
        wanted = sorted(roles or ("admin", "run", "submit"))
        return self.write("member.remove", {"peer": peer, "roles": wanted, "keep_runs": False})

    def rename(self, name: str) -> Event:
        """An event of a plain member."""
        return self.write("member.update", {"name": name, "labels": ["linux"], "slots": 2})

    def submit(self, jobs: dict[str, list[str]], **options: object) -> Run:
        event = self.write("run.submit", {**make_submission(jobs, **options), "absent": []})  # type: ignore[arg-type]
        return self.desk.runs[event.cid]

    def run(self, run: Run) -> Run:
        """This writer's own view of a run."""
        return self.desk.runs[run.id]


def share(*writers: Writer) -> None:
    """Let every writer learn what any of them knows."""
    everything = {event.cid: event for writer in writers for event in writer.events}
    for writer in writers:
        writer.learn(*sorted(everything.values(), key=lambda event: event.order))


def network(size: int) -> list[Writer]:
    """A founder (admin) and members with the roles run and submit, who all know everything."""
    first = Writer(1)
    others = [Writer(number, first.desk.network) for number in range(2, size + 1)]
    for other in others:
        first.add(other.peer)
    share(first, *others)
    return [first, *others]


def settle(clock: Clock, pending: Pending, events: Iterable[Event]) -> dict[Cid, str]:
    """Give events to a clock in any order, as a node does; returns the ids that were refused, and why."""
    refused = {}
    for arriving in events:
        ready = [arriving]
        while ready:
            event = ready.pop()
            result = clock.accept(event)
            if isinstance(result, Missing):
                pending.add(event, result.links)
            elif isinstance(result, Invalid):
                refused[event.cid] = result.reason
                pending.refused(event.cid)
            else:
                ready.extend(waiter for waiter, _ in pending.arrived(event.cid))
    return refused


def arrivals(events: Sequence[Event]) -> Iterator[tuple[Event, ...]]:
    """Every order in which a small set of events can arrive."""
    return permutations(events)


def roster_of(clock: Clock) -> object:
    """What a clock's roster says, as comparable values."""
    members = {
        peer: (sorted(member.roles), member.name, member.labels, member.slots)
        for peer, member in clock.roster.members.items()
    }
    cuts = {
        peer: sorted((sorted(cut.roles), cut.event.cid.text) for cut in cuts)
        for peer, cuts in clock.roster.cuts.items()
    }
    void = sorted(node.cid.text for node in clock.dag if node.void)
    return members, cuts, void, clock.dag.digest()
