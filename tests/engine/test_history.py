"""Checkpoints on whole simulated networks: what ended goes on all of them, and nobody is left behind in silence."""

from __future__ import annotations

from typing import Any

from p2pwf.core.ids import Cid
from p2pwf.engine.inputs import AddMember, MakeCheckpoint, RemoveMember
from p2pwf.testing.machines import SimNode
from p2pwf.testing.shapes import PLAIN
from p2pwf.testing.sim import World


def ran(world: World, count: int, first: int = 0) -> list[Cid]:
    """So many runs, submitted at the nodes in turn, that have ended."""
    nodes = [node for node in world.nodes.values() if node.engine is not None and not node.left]
    for number in range(first, first + count):
        world.submit(nodes[number % len(nodes)], PLAIN["chain"], number)
        world.run(world.time + 2)
    world.run(world.time + 120, stop=world.settled)
    assert world.settled()
    made = [world.submitted(number) for number in range(first, first + count)]
    assert None not in made
    return [run for run in made if run is not None]


def checkpoint(world: World, node: SimNode, token: object, days: float = 0.0) -> Any:
    world.give(node, MakeCheckpoint(token, days))
    world.run(world.time + 3)
    reply = world.replies[token]
    assert reply.error is None, reply.error
    return reply.result


def pruned(node: SimNode) -> set[Cid]:
    assert node.engine is not None
    return set(node.engine.desk.pruned)


def rows(node: SimNode) -> dict[str, Any]:
    assert node.engine is not None
    desk = node.engine.desk
    return {run.text: desk.cold.row(run) for run in desk.pruned}


def same(world: World) -> bool:
    engines = [node.engine for node in world.nodes.values() if node.engine is not None]
    return len({engine.desk.clock.dag.digest() for engine in engines}) == 1


def test_what_ended_before_a_checkpoint_goes_once_all_members_have_said_so_and_rows_stay() -> None:
    world = World(1, 3)
    world.run(5)
    runs = ran(world, 6)
    before = {peer: node.stored for peer, node in world.nodes.items()}
    first, second, third = world.nodes.values()
    world.crash(third)
    told = checkpoint(world, first, "check")
    assert told["stubs"] > 0
    world.run(world.time + 30)
    assert first.engine is not None
    assert first.engine.history.facts()["missing"] == [third.peer]
    assert not pruned(first) | pruned(second)  # one is away
    world.restart(third)
    world.run(world.time + 60)
    assert pruned(first) == pruned(second) == pruned(third) == set(runs)
    assert rows(first) == rows(second) == rows(third)
    assert {row["status"] for row in rows(first).values()} == {"completed"}
    for peer, node in world.nodes.items():
        assert node.stored < before[peer] * 0.8
    # What follows goes on as ever, on a network that was pruned and started again.
    for node in (first, second, third):
        world.crash(node)
        world.restart(node)
    world.run(world.time + 30)
    assert pruned(first) == set(runs)
    more = ran(world, 3, 100)
    assert same(world)
    assert set(more).isdisjoint(pruned(first))
    assert not world.misbehaved


def test_who_joins_later_starts_from_the_checkpoint() -> None:
    world = World(2, 3)
    world.run(5)
    runs = ran(world, 5)
    first = next(iter(world.nodes.values()))
    checkpoint(world, first, "check")
    world.run(world.time + 40)
    assert pruned(first) == set(runs)
    joined = world.join(first)
    assert joined is not None
    world.run(world.time + 40)
    assert joined.engine is not None
    assert pruned(joined) == set(runs)
    assert rows(joined) == rows(first)
    assert same(world)
    assert joined.engine.desk.roster.members.keys() == first.engine.desk.roster.members.keys()  # type: ignore[union-attr]
    ran(world, 4, 200)
    assert same(world)
    checkpoint(world, first, "again")
    world.run(world.time + 40)
    assert len(pruned(joined)) == len(pruned(first)) == 9
    assert not world.misbehaved
    assert not world.alarms


def test_who_was_away_is_removed_and_starts_from_the_checkpoint_when_it_is_let_in_again() -> None:
    world = World(3, 3)
    world.run(5)
    runs = ran(world, 3)
    first, _, away = world.nodes.values()
    world.crash(away)
    runs += _while_away(world, 3)
    checkpoint(world, first, "check")
    world.run(world.time + 30)
    assert not pruned(first)
    world.give(first, RemoveMember("remove", away.peer))
    world.run(world.time + 30)
    assert pruned(first) == set(runs)
    world.give(first, AddMember("add", away.peer, ("run", "submit")))
    away.left = False
    world.restart(away)
    world.run(world.time + 60)
    assert away.engine is not None
    assert same(world)
    assert pruned(away) == set(runs)
    assert rows(away) == rows(first)


def _while_away(world: World, count: int) -> list[Cid]:
    node = next(iter(world.nodes.values()))
    for number in range(50, 50 + count):
        world.submit(node, PLAIN["one"], number)
        world.run(world.time + 40)
    return [run for number in range(50, 50 + count) if (run := world.submitted(number)) is not None]
