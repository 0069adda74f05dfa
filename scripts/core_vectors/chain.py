"""A small network in which every type of event occurs."""

from __future__ import annotations

from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, blob_cid
from scripts.core_vectors.bodies import about, carried, finish, job, leg, schedule, submission
from scripts.core_vectors.scene import Scene, seed
from scripts.core_vectors.secrets import box, key_of, secret


class Chain:
    """`named`: its events in the order of writing, which is topological, each with what it is there for."""

    def __init__(self) -> None:
        self.scene = Scene()
        self.named: list[tuple[str, Event]] = [("the founder alone", self.scene.genesis)]
        ann, bob, cat, dan = (self.scene.author(name) for name in ("ann", "bob", "cat", "dan"))
        self.people = ann, bob, cat, dan
        self._members()
        self.run = self._run_events()
        self._cuts()

    def _keep(self, name: str, event: Event) -> Event:
        self.named.append((name, event))
        self.scene.share(*self.people)
        return event

    def _members(self) -> None:
        ann, bob, cat, dan = self.people
        scene = self.scene
        self._keep("a peer is admitted", scene.add(ann, bob, labels=("gpu", "linux")))
        self._keep("an admin is admitted", scene.add(ann, cat, "admin", "run", "submit", slots=0))
        self._keep("two hundred and fifty-six characters are more bytes", scene.rename(bob, "ü" * 256))
        self._keep("admitted by another admin", scene.add(cat, dan, "run"))
        self._keep("the wall clock decides nothing", scene.rename(dan, "dan", time=0))
        left, right = scene.rename(bob, "left"), scene.rename(cat, "right")
        self.named += [("written at the same time", left), ("as the one before", right)]
        self._keep("two parents", self._joined(left, right))

    def _joined(self, left: Event, right: Event) -> Event:
        self.scene.share(*self.people)
        joined = self.scene.rename(self.people[0], "ann")
        assert joined.parents == tuple(sorted((left.cid, right.cid)))
        return joined

    def _run_events(self) -> Cid:
        ann, bob, _, _ = self.people
        write = self.scene.write
        matrix = [leg(f"test ({size})", ["linux"], {"size": size, "ratio": 0.5}) for size in (1, 2)]
        plan = (
            job("build"),
            job("test", "build", legs=matrix, fail_fast=False, max_parallel=1),
            job("later", "test") | {"legs": None},
        )
        full = submission(
            *plan,
            payload={"ref": "refs/heads/main", "deep": [{"commits": [1, None, True, 1.5]}]},
            inputs={"level": "high"},
            vars={"COLOUR": "blue"},
            tags=["nightly", "slow"],
            priority=0.5,
            source=blob_cid(b"manifest"),
            absent=[self.people[3].peer],
            key="once",
        )
        run = self._keep("a submission", write(ann, "run.submit", full)).cid
        self._keep("a submission that says little", write(bob, "run.submit", submission(job("only"), priority=3)))
        self._keep("a start", write(bob, "job.start", {**about(run), "uses": []}, run=run))
        self._keep("a refusal", write(bob, "job.refuse", {**about(run), "reason": "not here"}, run=run))
        moved = {**about(run, attempt=2), "owner": ann.peer, "absent": [bob.peer], "reason": "silent"}
        self._keep("a reassignment", write(ann, "job.reassign", moved, run=run))
        done = finish(run, attempt=2, outputs={"": "", "version": "1.0 β"}, log=blob_cid(b"log"), error="late")
        ended = self._keep("a finish", write(ann, "job.finish", done, run=run))
        legs = [leg("later (x)", ["linux", "self-hosted"], {"x": ["a", {"b": None}]})]
        expand = {"run": run, "job": "later", "uses": [ended.cid], "legs": legs, "conclusion": None, "error": None}
        self._keep("an expansion", write(bob, "job.expand", expand, run=run))
        nothing = {**expand, "legs": [], "conclusion": "failure", "error": "the matrix has no values"}
        self._keep("an expansion that concludes its job", write(bob, "job.expand", nothing, run=run))
        self._keep("a lost job", write(bob, "job.lost", about(run, attempt=8), run=run))
        self._keep("a priority", write(ann, "run.priority", {"run": run, "priority": -1.0}, run=run))
        self._keep("a cancellation", write(ann, "run.cancel", {"run": run}, run=run))
        self._keep("a note", write(bob, "run.note", {"run": run}, run=run))
        end = {"run": run, "conclusion": "success", "finishes": [ended.cid]}
        self._keep("an end that breaks rules of the fold", write(bob, "run.end", end, run=run))
        again = [carried("build", ended.cid, bob.peer, outputs={"size": "2"}, log=blob_cid(b"log"))]
        rerun = submission(
            *plan, rerun={"run": run, "attempt": 2, "expands": [], "carries": again}, pins=["gpu", "peer:bob"]
        )
        self._keep("a rerun that carries an outcome over", write(ann, "run.submit", rerun))
        nightly = self._keep("a schedule", write(bob, "schedule.add", schedule())).cid
        tick = {"schedule": nightly, "tick": 1_700_005_800, "cron": {"cron": "30 5 * * 1-5", "timezone": None}}
        self._keep("a tick of it", write(ann, "run.submit", submission(job("only"), event="schedule", schedule=tick)))
        self._keep("the end of a schedule", write(bob, "schedule.remove", {"schedule": nightly}))
        self._settings()
        self._keep("a type that nobody knows", write(bob, "later.idea", {"any": [1, {"thing": b"\x01"}]}))
        return run

    def _settings(self) -> None:
        ann, bob, cat, dan = self.people
        write, network = self.scene.write, self.scene.genesis.cid
        token = secret(network, "TOKEN", [ann.peer, bob.peer])
        known = self._keep("a secret", write(ann, "secret.set", token)).cid
        narrow = secret(network, "TOKEN", [cat.peer], environment="production")
        narrow["submitters"] = sorted([ann.peer, cat.peer])
        self._keep("one of an environment, for few", write(cat, "secret.set", narrow))
        more = [{"secret": known, "peer": dan.peer, "box": box(key_of("TOKEN"), dan.peer, seed("TOKEN for dan"))}]
        self._keep("a box for one more", write(cat, "secret.seal", {"boxes": more}))
        self._keep("the end of a secret", write(ann, "secret.remove", {"name": "TOKEN", "environment": None}))
        region = {"name": "REGION", "environment": None}
        self._keep("a variable", write(ann, "var.set", {**region, "value": "büro-β\n"}))
        self._keep("the end of a variable", write(ann, "var.remove", region))

    def _cuts(self) -> None:
        ann, bob, cat, dan = self.people
        scene = self.scene
        copy = scene.author("dan", " twice")
        copy.known.update(dan.known)
        one, other = scene.rename(dan, "one"), scene.rename(copy, "other")
        self.named += [("one half of a fork", one), ("the other half", other)]
        scene.show([other], *self.people)
        self._keep("the proof of the fork", scene.fork(bob, one, other))
        self._keep("a role is taken", scene.remove(ann, cat, "admin"))
        self.gone = self._keep("a member leaves by itself", scene.remove(bob, bob, keep_runs=True))
        self._keep("and is let in again, to go on from where it was", scene.add(ann, bob, tip=self.gone))
        self._keep("it goes on", scene.rename(bob, "back"))
