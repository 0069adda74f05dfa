"""One run in a small network: a short way to write its events, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from p2pwf.clock import Accepted, Clock
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.runs import Run
from scripts.core_vectors.bodies import about, finish, job, leg, submission
from scripts.core_vectors.scene import Author, Scene, admitted


def fold(scene: Scene, run: Cid, among: Iterable[Event] | None = None) -> tuple[Clock, Run]:
    """A clock of events (all of a scene, unless given), and one run as they have it."""
    clock = Clock(scene.genesis.cid)
    folded: Run | None = None
    for event in sorted(scene.events.values() if among is None else among, key=lambda event: event.order):
        accepted = clock.accept(event)
        assert isinstance(accepted, Accepted), (event.type, accepted)
        roster = clock.roster_at(accepted.node.frontier)
        if event.cid == run:
            folded = Run(event, roster)
        elif event.run == run and folded is not None:
            folded.add(event, roster, accepted.node.void)
        if folded is not None and any(node.run == run for node in accepted.revoided):
            folded.revoid(lambda cid: clock.dag[cid].void)
    assert folded is not None
    return clock, folded


@attrs.define
class Story:
    """A run in a small network whose members all know everything, unless a case says otherwise."""

    scene: Scene
    people: list[Author]
    run: Event

    @classmethod
    def of(cls, *jobs: dict[str, object], size: int = 3, by: int = 0, **changes: object) -> Story:
        """A network of `size` in which member `by` has submitted a plan."""
        scene, people = admitted(size)
        return cls.within(scene, people, *jobs, by=by, **changes)

    @classmethod
    def within(
        cls, scene: Scene, people: list[Author], *jobs: dict[str, object], by: int = 0, **changes: object
    ) -> Story:
        """A submission in a network that is there."""
        run = scene.write(people[by], "run.submit", submission(*jobs, **changes))
        story = cls(scene, people, run)
        story.share()
        return story

    def share(self) -> None:
        """Let everyone learn everything."""
        self.scene.share(*self.people)

    def state(self, of: Author | None = None) -> Run:
        """The run as the events that one author knows have it, or all events."""
        return fold(self.scene, self.run.cid, None if of is None else of.known.values())[1]

    def called(self, peer: PeerId | None) -> Author:
        """The author with a peer id."""
        return next(one for one in self.people if one.peer == peer)

    def order(self, job_id: str = "a", index: int = 0) -> list[Author]:
        """The members that may run a leg, in order."""
        state = self.state()
        return [self.called(peer) for peer in state.order((job_id, index), state.roster)]

    def owner(self, job_id: str = "a", index: int = 0) -> Author:
        """Who owns the newest attempt of a leg."""
        return self.called(self.state().owner((job_id, index)))

    def write(self, by: Author, kind: str, body: Mapping[str, object], **changes: object) -> Event:
        """An event about the run, which everyone learns unless `shared` is False."""
        shared = changes.pop("shared", True)
        event = self.scene.write(by, kind, body, run=self.run.cid, **changes)
        if shared:
            self.share()
        return event

    def start(
        self,
        by: Author,
        job_id: str = "a",
        index: int = 0,
        attempt: int = 1,
        uses: Sequence[Cid] = (),
        **options: object,
    ) -> Event:
        """A start."""
        body = {**about(self.run.cid, job_id, index, attempt), "uses": list(uses)}
        return self.write(by, "job.start", body, **options)

    def finish(
        self,
        by: Author,
        job_id: str = "a",
        index: int = 0,
        attempt: int = 1,
        conclusion: str = "success",
        uses: Sequence[Cid] = (),
        outputs: Mapping[str, str] | None = None,
        **options: object,
    ) -> Event:
        """A finish."""
        end = {"conclusion": conclusion, "outcome": conclusion, "uses": list(uses), "outputs": dict(outputs or {})}
        body = finish(self.run.cid, job_id, leg=index, attempt=attempt, **end)
        return self.write(by, "job.finish", body, **options)

    def move(self, by: Author, to: Author, attempt: int, *absent: Author, **options: object) -> Event:
        """A reassignment of job a."""
        away = sorted(one.peer for one in absent)
        body = {**about(self.run.cid, "a", 0, attempt), "owner": to.peer, "absent": away, "reason": "silent"}
        return self.write(by, "job.reassign", body, **options)

    def expand(
        self,
        by: Author,
        legs: list[dict[str, object]],
        concluded: str | None = None,
        uses: Sequence[Cid] = (),
        **options: object,
    ) -> Event:
        """An expansion of job m."""
        body = {"run": self.run.cid, "job": "m", "uses": list(uses), "legs": legs}
        return self.write(by, "job.expand", {**body, "conclusion": concluded, "error": None}, **options)

    def end(self, by: Author, conclusion: str, finishes: Sequence[Event], **options: object) -> Event:
        """An end."""
        body = {"run": self.run.cid, "conclusion": conclusion, "finishes": [event.cid for event in finishes]}
        return self.write(by, "run.end", body, **options)


def matrix(count: int, **options: object) -> dict[str, object]:
    """A job m of several legs."""
    return job("m", legs=[leg(f"m ({index})", None, {"index": index}) for index in range(count)], **options)


def dynamic(*needs: str) -> dict[str, object]:
    """A job m whose legs are not known yet."""
    return {**job("m", *needs), "legs": None}
