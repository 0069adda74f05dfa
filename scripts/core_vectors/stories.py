"""The cases of the vectors of runs.

What is expected is written by hand beside each case, as far as it does not follow from hashes; the implementation has
to agree before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from p2pwf.core.events import Event
from p2pwf.runs.run import Key
from scripts.core_vectors.bodies import about, carried, expanded, job, leg
from scripts.core_vectors.scene import Author, admitted
from scripts.core_vectors.story import Story, dynamic, matrix

A = ("a", 0)
B = ("b", 0)


@attrs.frozen
class Case:
    """`idle`: events of the run without effect. `outcomes`: of legs, by hand. `owners`: of newest attempts, by hand."""

    title: str
    story: Story
    status: str
    idle: Sequence[Event] = ()
    outcomes: Mapping[Key, Event] = attrs.field(factory=dict)
    owners: Mapping[Key, Author | None] = attrs.field(factory=dict)
    results: Mapping[str, str | None] = attrs.field(factory=dict)
    end: Event | None = None
    cancelled: bool = False


def placement_cases() -> Iterator[Case]:
    """Who owns what before anything has happened."""
    yield Case(
        "a wave of eight legs on five peers, and a job after it", Story.of(matrix(8), job("b", "m"), size=5), "assigned"
    )
    wide = job("a", legs=[leg("a", ["gpu", "linux"])]), job("b", legs=[leg("b", ["ubuntu-latest"])])
    scene, people = admitted(4)
    scene.write(people[1], "member.update", {"name": "bob", "labels": ["gpu", "linux"], "slots": 1})
    scene.write(people[2], "member.update", {"name": "cat", "labels": ["gpu", "macos"], "slots": 1})
    scene.write(people[3], "member.update", {"name": "dan", "labels": ["gpu", "linux"], "slots": 0})
    scene.share(*people)
    story = Story.within(scene, people, *wide, job("c", legs=[leg("c", ["macos-14", "self-hosted"])]))
    yield Case("labels and slots say who may", story, "assigned", owners={A: people[1], ("c", 0): people[2]})
    scene, people = admitted(4)
    false = ["linux", f"peer:{people[1].peer.lower()}"]
    scene.write(people[2], "member.update", {"name": "cat", "labels": false, "slots": 1})
    scene.share(*people)
    named = job("a", legs=[leg("a", [f"peer:{people[1].peer.lower()}"])])
    story = Story.within(scene, people, named, job("b", legs=[leg("b", ["linux", f"peer:{people[2].peer.lower()}"])]))
    yield Case("a label names one peer alone", story, "assigned", owners={A: people[1], B: people[2]})
    story = Story.of(job("a", legs=[leg("a", ["windows-latest"])]))
    yield Case("nobody fits", story, "pending", owners={A: None})
    scene, people = admitted(3)
    first = Story.within(scene, people, job("a")).owner()
    story = Story.within(scene, people, job("a"), absent=sorted(one.peer for one in people if one is not first))
    yield Case("absent members are passed over", story, "assigned", owners={A: first})
    story = Story.of(job("a"), size=1, absent=[Story.of(job("a"), size=1).people[0].peer])
    yield Case("unless nobody else is left", story, "assigned", owners={A: story.people[0]})


def life_cases() -> Iterator[Case]:
    """From the first start to the end."""
    story = Story.of(job("a"), job("b", "a"))
    story.start(story.owner())
    yield Case("started", story, "in_progress")
    story = Story.of(job("a"), job("b", "a"))
    one = story.finish(story.owner(), outputs={"version": "1"})
    story.start(story.owner("b"), "b", uses=[one.cid])
    two = story.finish(story.owner("b"), "b")
    outcomes = {A: one, B: two}
    yield Case("all jobs have finished, nobody has said so", story, "in_progress", (), outcomes)
    end = story.end(story.owner("b"), "success", [one, two])
    yield Case("and somebody has", story, "completed", (), outcomes, {}, {"a": "success", "b": "success"}, end)

    story = Story.of(job("a"), job("b", "a"))
    one = story.finish(story.owner(), conclusion="failure")
    two = story.finish(story.owner("b"), "b", conclusion="skipped", uses=[one.cid])
    early = story.end(story.people[0], "success", [one, two])
    short = story.end(story.people[0], "failure", [one])
    turned = story.end(story.people[0], "failure", [two, one])
    end = story.end(story.people[1], "failure", [one, two])
    again = story.end(story.people[2], "failure", [one, two])
    title = "an end has to name every outcome and the conclusion, and the first is enough"
    idle = [early, short, turned, again]
    yield Case(title, story, "failed", idle, {A: one, B: two}, {}, {"a": "failure", "b": "skipped"}, end)

    story = Story.of(job("a"))
    one = story.finish(story.owner(), conclusion="skipped")
    ends = [story.end(by, "success", [one], shared=False) for by in story.people]
    first = min(ends, key=lambda event: event.order)
    yield Case("of ends written at once the lowest counts", story, "completed", (), {A: one}, end=first)

    story = Story.of(job("a"))
    owner, thief = story.order()[0], story.order()[1]
    others = [one for one in story.people if one is not thief]
    moved = story.move(thief, thief, 2, *others, shared=False)
    stolen = story.finish(thief, attempt=2, shared=False)
    early = story.end(thief, "success", [stolen], shared=False)
    for _ in range(4):
        story.scene.rename(owner, "busy")
    one = story.finish(owner, conclusion="failure", shared=False)
    end = story.end(owner, "failure", [one], shared=False)
    story.share()
    assert moved.order < early.order < end.order
    title = "of several ends the one counts that names the outcomes as they are"
    yield Case(title, story, "failed", (), {A: one}, {}, {"a": "failure"}, end)


def owner_cases() -> Iterator[Case]:
    """Whose word counts."""
    story = Story.of(job("a"))
    other = next(one for one in story.people if one is not story.owner())
    started, finished = story.start(other), story.finish(other)
    yield Case("only the owner starts and finishes", story, "assigned", [started, finished], owners={A: story.owner()})

    story = Story.of(job("a"))
    story.start(story.owner())
    idle = [story.start(story.owner()), story.start(story.owner(), attempt=2), story.start(story.owner(), index=1)]
    idle.append(story.start(story.owner(), job_id="nothing"))
    one = story.finish(story.owner())
    idle += [story.finish(story.owner(), conclusion="failure"), story.start(story.owner())]
    title = "an attempt starts once and ends once; what is no attempt does neither"
    yield Case(title, story, "in_progress", idle, {A: one})

    story = Story.of(job("a"))
    owner = story.owner()
    aside = story.finish(owner, after=[story.scene.genesis.cid])
    other_run = story.scene.write(owner, "run.submit", story.run.body)
    beside = story.finish(owner, after=[other_run.cid])
    through = story.finish(owner, after=[aside.cid, beside.cid])
    yield Case("what does not stand on the submission has no effect", story, "assigned", [aside, beside, through])

    story = Story.of(job("a"), job("b", "a"))
    unknown = story.start(story.owner("b"), "b", uses=[story.run.cid])
    one = story.finish(story.owner(), shared=False)
    other = next((who for who in story.people if who is not story.owner()), story.people[0])
    assert one.cid not in other.known
    aside = story.expand(other, [leg("m")], uses=[])
    unseen = story.start(story.owner("b"), "b", uses=[one.cid], after=[story.run.cid])
    yield Case("uses are outcomes in the event's own past", story, "in_progress", [unknown, aside, unseen], {A: one})


def takeover_cases() -> Iterator[Case]:
    """Attempts after the first."""
    story = Story.of(job("a"), size=4)
    first, second, third, _ = story.order()
    story.start(first)
    moved = story.move(second, second, 2, first)
    late = story.finish(first, attempt=1)
    story.start(second, attempt=2)
    assert moved.body["owner"] == second.peer
    yield Case(
        "the next in order takes over; the old owner, who knows, is late", story, "in_progress", [late], {}, {A: second}
    )
    one = story.finish(second, attempt=2)
    yield Case("and finishes", story, "in_progress", [late], {A: one}, {A: second})

    story = Story.of(job("a"), job("b", "a"), size=4)
    first, second, third, _ = story.order()
    old = story.finish(first, shared=False)
    story.move(second, second, 2, first, shared=False)
    new = story.finish(second, attempt=2, conclusion="failure", shared=False)
    story.share()
    yield Case("of two outcomes the lower attempt counts", story, "in_progress", (), {A: old})
    owner = story.owner("b")
    story.start(owner, "b", uses=[new.cid])
    yield Case("unless a start has named the other", story, "in_progress", (), {A: new}, {}, {"a": "failure"})

    story = Story.of(job("a"), size=4)
    first, second, third, _ = story.order()
    idle = [
        story.move(second, third, 2, first),  # the second is not absent
        story.move(second, second, 3, first),  # attempt 2 is next
        story.move(second, second, 1, first),  # attempt 1 has an owner
        story.move(third, first, 2),  # it has had an attempt, others have not
    ]
    story.move(third, third, 2, first, second)
    yield Case("a reassignment names whom the order names", story, "assigned", idle, {}, {A: third})

    story = Story.of(job("a"), size=4)
    first, second, third, _ = story.order()
    left = story.move(second, second, 2, first, shared=False)
    right = story.move(third, third, 2, first, second, shared=False)
    story.share()
    winner = second if left.order < right.order else third
    yield Case("of two reassignments the lower counts", story, "assigned", (), {}, {A: winner})

    story = Story.of(job("a"))
    first, second, third = story.order()
    story.start(first)
    story.move(first, first, 2)
    yield Case("an owner may go on with its own interrupted attempt", story, "in_progress", (), {}, {A: first})

    yield from _refusal_cases()


def _refusal_cases() -> Iterator[Case]:
    story = Story.of(job("a"))
    first, second, third = story.order()
    story.write(first, "job.refuse", {**about(story.run.cid, "a"), "reason": "not here"})
    other = story.write(third, "job.refuse", {**about(story.run.cid, "a"), "reason": "nor here"})
    back = story.move(third, first, 2)
    story.move(third, second, 2)
    yield Case("who has refused gets no further attempt", story, "assigned", [other, back], {}, {A: second})

    scene, people = admitted(2)
    story = Story.within(scene, people, job("a", legs=[leg("a", ["gpu"])]))
    new = scene.author("cat")
    scene.add(people[0], new, labels=("gpu", "linux"))
    story.people.append(new)
    story.share()
    unfit = story.move(people[0], people[0], 1)
    before = story.write(new, "job.start", {**about(story.run.cid, "a"), "uses": []})
    story.move(new, new, 1)
    story.start(new)
    title = "a job without an owner waits for a member that fits"
    yield Case(title, story, "in_progress", [unfit, before], {}, {A: new})

    scene, people = admitted(3)
    story = Story.within(scene, people, job("a", legs=[leg("a", ["gpu"])]), by=1)
    soon = story.move(people[2], people[2], 1)
    story.write(people[1], "run.cancel", {"run": story.run.cid})
    other = story.move(people[2], people[0], 1)
    story.move(people[2], people[2], 1)
    run_it = story.start(people[2])
    done = story.finish(people[2], conclusion="success")
    one = story.finish(people[2], conclusion="cancelled")
    title = "what nobody fits is ended by anyone, once it is cancelled, and only that"
    idle, outcomes = [soon, other, run_it, done], {A: one}
    yield Case(title, story, "in_progress", idle, outcomes, {A: people[2]}, {"a": "cancelled"}, cancelled=True)

    for keep in (False, True):
        scene, people = admitted(3)
        story = Story.within(scene, people, job("a", legs=[leg("a", ["gpu"])]), by=1)
        scene.remove(people[0], people[1], keep_runs=keep)
        gone = story.people.pop(1)
        story.share()
        taken = story.move(people[1], people[1], 1)
        story.people.append(gone)
        title = f"its submitter is removed, {'but its runs are kept' if keep else 'and with it whoever could run it'}"
        expected = {A: None} if keep else {A: people[1]}
        yield Case(
            title, story, "pending" if keep else "assigned", [taken] if keep else [], {}, expected, cancelled=not keep
        )

    story = Story.of(job("a"), size=2)
    left, right = story.order()
    early = story.write(right, "job.lost", about(story.run.cid, "a", 0, 1))
    for attempt in range(2, 9):
        holder, taker = (left, right) if attempt % 2 == 0 else (right, left)
        story.move(taker, taker, attempt, holder)
    lost = story.write(right, "job.lost", about(story.run.cid, "a", 0, 8))
    end = story.end(right, "failure", [lost])
    title = "after eight attempts it is lost"
    yield Case(title, story, "failed", [early], {A: lost}, {}, {"a": "failure"}, end)


def matrix_cases() -> Iterator[Case]:
    """Jobs of several legs, and legs that become known late."""
    for words in (
        ("success", "failure", "cancelled"),
        ("success", "cancelled", "skipped"),
        ("success", "skipped", "skipped"),
    ):
        story = Story.of(matrix(3))
        legs = {
            ("m", index): story.finish(story.owner("m", index), "m", index, conclusion=word)
            for index, word in enumerate(words)
        }
        joint = "failure" if "failure" in words else "cancelled" if "cancelled" in words else "success"
        yield Case(f"legs that end as {', '.join(words)}", story, "in_progress", (), legs, {}, {"m": joint})

    story = Story.of(matrix(3))
    given = ({"v": "one", "w": "kept"}, {"v": "", "w": ""}, {"v": "three"})
    legs = {}
    for index in (2, 0, 1):
        legs["m", index] = story.finish(story.owner("m", index), "m", index, outputs=given[index])
    yield Case("the last leg to write a value gives it", story, "in_progress", (), legs, {}, {"m": "success"})

    story = Story.of(job("a"), dynamic("a"), job("b", "m"))
    one = story.finish(story.owner())
    none = story.expand(story.people[0], [], uses=[one.cid])
    both = story.expand(story.people[0], [leg("m")], "skipped", uses=[one.cid])
    fixed = story.write(
        story.people[0],
        "job.expand",
        {"run": story.run.cid, "job": "a", "uses": [], "legs": [leg("a")], "conclusion": None, "error": None},
    )
    early = story.start(story.people[0], "m")
    story.expand(story.people[1], [leg(f"m ({index})", None, {"index": index}) for index in range(2)], uses=[one.cid])
    late = story.expand(story.people[2], [leg("m")], uses=[one.cid])
    two = story.finish(story.owner("m"), "m", 0)
    three = story.finish(story.owner("m", 1), "m", 1)
    idle = [none, both, fixed, early, late]
    outcomes = {A: one, ("m", 0): two, ("m", 1): three}
    yield Case("legs that depend on outputs", story, "in_progress", idle, outcomes, {}, {"m": "success", "b": None})

    story = Story.of(job("a"), dynamic("a"))
    one = story.finish(story.owner(), conclusion="failure")
    concluded = story.expand(story.people[2], [], "skipped", uses=[one.cid])
    end = story.end(story.people[2], "failure", [one, concluded])
    yield Case("an expansion may conclude its job", story, "failed", (), {A: one}, {}, {"m": "skipped"}, end)

    story = Story.of(job("a"), dynamic("a"))
    one = story.finish(story.owner())
    left = story.expand(story.people[1], [leg("m left")], uses=[one.cid], shared=False)
    right = story.expand(story.people[2], [leg("m right")], uses=[one.cid], shared=False)
    assert left.lamport == right.lamport
    yield Case("of two expansions the lower counts", story, "in_progress", (), {A: one})

    story = Story.of(job("a"), dynamic("a"))
    one = story.finish(story.owner())
    aside = story.scene.write(
        story.people[2],
        "job.expand",
        {"run": story.run.cid, "job": "m", "uses": [one.cid], "legs": [], "conclusion": "skipped", "error": None},
        run=story.run.cid,
    )
    story.scene.rename(story.people[0], "later")
    kept = story.expand(story.people[0], [leg("m")], uses=[one.cid], shared=False)
    assert aside.order < kept.order
    owner = story.called(story.state(story.people[0]).owner(("m", 0)))
    story.scene.show([kept], owner)
    story.start(owner, "m", uses=[one.cid])
    title = "unless something has started on the higher one"
    yield Case(title, story, "in_progress", (), {A: one}, {}, {"m": None})


def steering_cases() -> Iterator[Case]:
    """Cancellations, priorities, cuts."""
    story = Story.of(job("a"), by=1)
    idle = [story.write(story.people[2], "run.cancel", {"run": story.run.cid})]
    idle.append(story.write(story.people[2], "run.priority", {"run": story.run.cid, "priority": 1}))
    yield Case("who is neither submitter nor admin steers nothing", story, "assigned", idle)
    story.write(story.people[1], "run.priority", {"run": story.run.cid, "priority": 1.5}, shared=False)
    story.write(story.people[0], "run.priority", {"run": story.run.cid, "priority": 9}, shared=False)
    story.share()
    story.write(story.people[1], "run.note", {"run": story.run.cid})
    yield Case("of two priorities the higher lamport and id counts", story, "assigned", idle)
    story.write(story.people[0], "run.cancel", {"run": story.run.cid})
    yield Case("an admin cancels", story, "assigned", idle, cancelled=True)
    ended = story.finish(story.owner(), conclusion="cancelled")
    end = story.end(story.owner(), "cancelled", [ended])
    yield Case(
        "and its owner ends it", story, "cancelled", idle, {A: ended}, {}, {"a": "cancelled"}, end, cancelled=True
    )

    story = Story.of(job("a"), by=1)
    cut = story.scene.remove(story.people[0], story.people[1])
    story.scene.show([cut], *story.people)
    yield Case("a submitter is removed, and its runs with it", story, "assigned", cancelled=True)

    story = Story.of(job("a"), by=1)
    cut = story.scene.remove(story.people[0], story.people[1], keep_runs=True)
    story.scene.show([cut], *story.people)
    yield Case("or without them", story, "assigned")

    scene, people = admitted(3)
    story = Story(scene, people, scene.write(people[1], "run.submit", {**Story.of(job("a")).run.body}))
    scene.remove(people[0], people[1], keep_runs=True)
    story.share()
    yield Case("a submission aside of the removal is void, and cancelled", story, "assigned", cancelled=True)

    yield from _cut_owner_cases()


def _cut_owner_cases() -> Iterator[Case]:
    size = 4
    story = Story.of(job("a"), size=size)
    while story.order()[0] is story.people[0]:  # the founder cannot go
        size += 1
        story = Story.of(job("a"), size=size)
    first, second = story.order()[:2]
    story.start(first)
    aside = story.finish(first, shared=False)
    cut = story.scene.remove(story.people[0], first)
    others = [one for one in story.people if one is not first]
    story.scene.show([cut], *others)
    story.people.remove(first)
    last = story.move(second, second, 2)
    story.people.append(first)
    story.share()
    assert last.cid in second.known
    title = "an owner is removed: what it did aside is void, and the next goes on at once"
    yield Case(title, story, "in_progress", [aside], {}, {A: second})


def rerun_cases() -> Iterator[Case]:
    """Runs that carry over what others have come to."""
    first = Story.of(job("a"), job("b", "a"), job("c", "b"))
    one = first.finish(first.owner(), outputs={"version": "1"})
    two = first.finish(first.owner("b"), "b", conclusion="failure", uses=[one.cid])
    old = carried("a", one.cid, one.author, outputs={"version": "1"})
    lost = carried("z", two.cid, two.author), carried("a", two.cid, two.author), carried("b", one.cid, one.author)
    rest = [*lost, carried("b", two.cid, two.author, index=1)]
    rerun = {
        "run": first.run.cid,
        "attempt": 2,
        "expands": [expanded("b", one.cid, one.author, [leg("b")])],
        "carries": [old, *rest],
    }
    plan = job("a"), job("b", "a"), job("c", "b")
    story = Story.within(first.scene, first.people, *plan, rerun=rerun)
    assert story.order()
    again = story.start(story.order()[0])
    title = "an outcome that is carried over stands, the first of each leg and id, of legs that there are"
    yield Case(title, story, "assigned", [again], {A: one}, {}, {"a": "success", "b": None})

    story = Story.within(first.scene, first.people, *plan, rerun={**rerun, "expands": [], "carries": [old]})
    story.start(story.owner("b"), "b", uses=[one.cid])
    unknown = story.finish(story.owner("b"), "b", uses=[two.cid])
    new = story.finish(story.owner("b"), "b", uses=[one.cid])
    last = story.finish(story.owner("c"), "c", uses=[new.cid])
    end = story.end(story.owner("c"), "success", [one, new, last])
    outcomes = {A: one, B: new, ("c", 0): last}
    results = {"a": "success", "b": "success", "c": "success"}
    yield Case("and is named by what follows", story, "completed", [unknown], outcomes, {}, results, end)

    first = Story.of(job("a"), dynamic("a"), dynamic("m") | {"id": "n"})
    one, legs = first.finish(first.owner()), [leg("m (1)"), leg("m (2)")]
    named = first.expand(first.owner(), legs, uses=[one.cid])
    two = first.finish(first.owner("m", 1), "m", 1)
    twice = [expanded("m", named.cid, named.author, legs), expanded("m", one.cid, one.author, [leg("x")])]
    wrong = [expanded("n", two.cid, two.author, []), expanded("n", named.cid, named.author, legs)]
    expands = [*twice, *wrong, expanded("n", first.run.cid, one.author, [], conclusion="skipped")]
    over = [carried("a", one.cid, one.author), carried("m", two.cid, two.author, index=1)]
    rerun = {
        "run": first.run.cid,
        "attempt": 2,
        "expands": expands,
        "carries": [*over, carried("m", one.cid, one.author)],
    }
    story = Story.within(first.scene, first.people, job("a"), dynamic("a"), dynamic("m") | {"id": "n"}, rerun=rerun)
    late = story.expand(story.people[0], legs, uses=[one.cid])
    story.start(story.owner("m"), "m", uses=[one.cid])
    three = story.finish(story.owner("m"), "m")
    outcomes = {A: one, ("m", 0): three, ("m", 1): two}
    results = {"a": "success", "m": "success", "n": "skipped"}
    yield Case("so is an expansion", story, "in_progress", [late], outcomes, {}, results)


def all_cases() -> Iterator[Case]:
    """All of them."""
    for cases in (placement_cases, life_cases, owner_cases, takeover_cases, matrix_cases, steering_cases, rerun_cases):
        yield from cases()
