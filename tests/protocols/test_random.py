"""Random histories: the package and the reference that is written from the pages come to the same."""

from __future__ import annotations

import random

import pytest

from p2pwf.clock import Accepted, Clock
from p2pwf.clock.sync import frontier, lacking
from p2pwf.core.bodies import ROLES
from p2pwf.core.events import Event
from p2pwf.runs.view import keys_of
from scripts.core_vectors.bodies import about, job, leg
from scripts.core_vectors.scene import Author, Scene
from scripts.core_vectors.story import Story, dynamic, fold, matrix
from tests.protocols.kit import Reader
from tests.protocols.reference import Fold, Roster, View, World

NAMES = ("ann", "bob", "cat", "dan", "eve")


def roles(chance: random.Random) -> list[str]:
    return chance.choice([[], [], ["admin"], ["run", "submit"], ["run"]])


def act(chance: random.Random, scene: Scene) -> Event | None:
    """Something that one of the authors, or a second holder of its key, might write on what it knows."""
    author = scene.author(chance.choice(NAMES), chance.choice(["", "", "", " twice"]))
    other = scene.author(chance.choice(NAMES))
    if not author.known:
        return None
    kind = chance.choice(["rename", "add", "add", "remove", "remove", "fork"])
    if kind == "rename":
        return scene.rename(author, chance.choice(["x", "y", "z"]))
    if kind == "remove":
        return scene.remove(author, other, *roles(chance))
    if kind == "add":
        tips = [event for event in author.known.values() if event.author == other.peer]
        given = roles(chance) or list(ROLES)
        return scene.add(author, other, *given, tip=max(tips, key=lambda event: event.seq, default=None))
    for left in author.known.values():
        for right in author.known.values():
            if (left.author, left.seq) == (right.author, right.seq) and left.cid < right.cid:
                return scene.fork(author, left, right)
    return None


def drop(scene: Scene, event: Event) -> None:
    """Unwrite an event that nobody would accept."""
    del scene.events[event.cid]
    for one in scene.authors.values():
        one.known.pop(event.cid, None)


def history(seed: int, length: int = 26) -> tuple[Scene, list[Event]]:
    """Membership events of a network in which much goes wrong, and those of them that are refused."""
    chance = random.Random(seed)
    scene = Scene()
    for name in NAMES[1:]:
        scene.add(scene.author("ann"), scene.author(name), *(ROLES if name != "eve" else ("run",)))
    people = [scene.author(name, copy) for name in NAMES for copy in ("", " twice")]
    scene.share(*people)
    clock = Clock(scene.genesis.cid)
    for event in sorted(scene.events.values(), key=lambda event: event.order):
        assert isinstance(clock.accept(event), Accepted)
    refused = []
    for _ in range(length):
        made = act(chance, scene)
        if made is not None and made.cid not in clock.dag and not isinstance(clock.accept(made), Accepted):
            refused.append(made)
            drop(scene, made)
        known: list[Author] = chance.sample(people, 2)
        if chance.random() < 0.3:
            scene.show(known[0].known.values(), known[1])
    return scene, refused


@pytest.mark.parametrize("seed", range(40))
def test_a_random_history_gives_the_same_members(seed: int) -> None:
    scene, refused = history(seed)
    events = list(scene.events.values())
    world = World(events)
    reference = Roster(world, events)
    random.Random(seed).shuffle(events)
    reader = Reader(scene.genesis.cid.text)
    reader.learn(events)
    assert reader.refused == {}
    roster = reader.clock.roster
    members = {
        peer: {
            "roles": sorted(member.roles),
            "name": member.name,
            "labels": list(member.labels),
            "slots": member.slots,
        }
        for peer, member in roster.members.items()
    }
    assert members == reference.members()
    effective = {(cut.peer, cut.event.cid) for cuts in roster.cuts.values() for cut in cuts}
    assert effective == {(peer, cut.cid) for peer, _, cut in reference.cuts}
    for event in events:
        assert reader.clock.dag[event.cid].void == reference.leaves_void(event)
    for event in refused:
        assert reader.take(event) in {"role", "tip", "fork", "limit"}


@pytest.mark.parametrize("seed", range(40))
def test_who_has_the_same_heads_has_the_same_members(seed: int) -> None:
    scene, _ = history(seed)
    whole = Reader(scene.genesis.cid.text)
    whole.learn(scene.events.values())
    below = {node.cid for node in whole.clock.dag.heads()}
    for event in sorted(scene.events.values(), key=lambda event: event.order, reverse=True):
        if event.cid in below:
            below.update(event.links())
    told = Reader(scene.genesis.cid.text)
    told.learn([event for event in scene.events.values() if event.cid in below])
    assert told.clock.dag.digest() == whole.clock.dag.digest()
    assert dict(told.clock.roster.members) == dict(whole.clock.roster.members)
    for node in told.clock.dag:
        assert node.void == whole.clock.dag[node.cid].void
    assert lacking(whole.clock.dag, frontier(told.clock.dag)) == []


def step(chance: random.Random, story: Story) -> None:
    """Something that a member might write about the run, rightly or wrongly."""
    author, other = chance.choice(story.people), chance.choice(story.people)
    name = chance.choice(["a", "a", "m", "d"])
    index, attempt = chance.randrange(2), chance.choice([1, 1, 2, 3])
    state = story.state(author)
    tally = state.tally
    if chance.random() < 0.7 and state.leg((name, index)) is not None:  # mostly, what would be right
        attempt = tally.leg((name, index)).attempt
        owner = state.owner((name, index))
        author = next((one for one in story.people if one.peer == owner and story.run.cid in one.known), author)
    uses = [cid for cid, entry in state.events.items() if entry.type == "job.finish" and chance.random() < 0.3]
    match chance.choice(["start", "finish", "finish", "move", "move", "refuse", "expand", "cancel", "end"]):
        case "start":
            story.start(author, name, index, attempt, uses, shared=False)
        case "finish":
            word = chance.choice(["success", "failure", "skipped"])
            story.finish(author, name, index, attempt, word, uses, {"k": word}, shared=False)
        case "move":
            number = state.tally.leg(("a", 0)).attempt + 1
            story.move(author, other, min(number, 8), *chance.sample(story.people, 2), shared=False)
        case "refuse":
            body = {**about(story.run.cid, name, index, attempt), "reason": ""}
            story.write(author, "job.refuse", body, shared=False)
        case "expand":
            body = {"run": story.run.cid, "job": "d", "uses": [], "legs": [leg("d (0)"), leg("d (1)")]}
            story.write(author, "job.expand", {**body, "conclusion": None, "error": None}, shared=False)
        case "cancel":
            story.write(author, "run.cancel", {"run": story.run.cid}, shared=False)
        case _:
            concluded = tally.conclusion()
            finishes = [event.cid for job_id in state.plan.jobs for event in tally.finishes(job_id) or ()]
            body = {"run": story.run.cid, "conclusion": concluded or "success", "finishes": finishes}
            story.write(author, "run.end", body, shared=False)


@pytest.mark.parametrize("seed", range(25))
def test_a_random_run_comes_to_the_same(seed: int) -> None:
    chance = random.Random(seed)
    story = Story.of(job("a"), matrix(2), {**dynamic("a"), "id": "d"}, size=4)
    for _ in range(30):
        step(chance, story)
        if chance.random() < 0.4:
            one, two = chance.sample(story.people, 2)
            story.scene.show(one.known.values(), two)
    clock, run = fold(story.scene, story.run.cid)
    reference = Fold(World(story.scene.events.values()), story.run.cid)
    view = View(reference, story.scene.events)
    assert {cid for cid, entry in run.events.items() if entry.counts} == reference.counting
    for key in keys_of(run):
        outcome = run.tally.finish(key)
        expected = view.outcome(*key)
        assert (outcome.cid if outcome else None) == (expected.cid if expected else None)
        assert run.owner(key) == view.owner(*key, view.newest(*key))
    assert {name: run.tally.result(name) for name in run.plan.jobs} == {
        name: view.result(name) for name in run.plan.jobs
    }
    end = view.end()
    assert (run.tally.end.cid if run.tally.end else None) == (end.cid if end else None)
    assert len(clock.dag) == len(story.scene.events)
