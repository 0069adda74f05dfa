"""Networks of whole nodes on a virtual clock: real libp2p, real SQLite, simulated sockets. See `scripts/sim --full`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from p2pwf.testing.level import nodes
from p2pwf.testing.machines import Conditions
from p2pwf.testing.mutants import Mutant, hunt
from p2pwf.testing.shapes import SHAPES
from p2pwf.testing.stack.lan import Lan
from p2pwf.testing.stack.mutants import STACK_MUTANTS
from p2pwf.testing.stack.player import StackPlayer
from p2pwf.testing.stack.scenarios import STACK
from p2pwf.testing.stack.shapes import WORKFLOWS
from p2pwf.testing.stack.sockets import Sockets, address_of

QUICK = (("crash", 3), ("storm", 3))
"""Of three nodes each, about a second."""
BY_NAME = {mutant.name: mutant for mutant in STACK_MUTANTS}


@pytest.mark.parametrize(("name", "seed"), QUICK)
def test_whole_nodes_violate_no_invariant(name: str, seed: int) -> None:
    level = nodes()
    world, violations = level.play(level.draw(name, seed))
    assert not violations, f"replay: scripts/sim --full --scenario {name} --seed {seed}\n{violations[:3]}"
    assert world.steps > 300  # they did talk


def test_a_seed_gives_the_same_history_of_whole_nodes_in_a_process_with_other_hashes() -> None:
    code = (
        "from p2pwf.testing.level import nodes\n"
        "level = nodes()\n"
        "print(level.play(level.draw('crash', 6))[0].fingerprint())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
        )
        for salt in ("1", "2")
    ]
    said = {process.communicate(timeout=120)[0] for process in processes}
    assert len(said) == 1
    assert len(said.pop()) > 32


def test_a_bug_that_is_planted_in_a_whole_node_is_caught() -> None:
    found = hunt(BY_NAME["the policy is not asked"], 1, nodes())
    assert found == (0, "I8")


@pytest.mark.parametrize("mutant", STACK_MUTANTS, ids=str)
@pytest.mark.long
def test_every_bug_that_is_planted_in_whole_nodes_is_caught(mutant: Mutant) -> None:
    assert hunt(mutant, 100, nodes()) is not None


def test_whole_nodes_are_given_the_runs_that_engines_are_given() -> None:
    assert set(WORKFLOWS) == set(SHAPES)


@pytest.mark.parametrize("name", STACK)
def test_every_action_that_is_drawn_for_whole_nodes_can_be_performed(name: str) -> None:
    level = nodes()
    kinds = {action.kind for seed in range(20) for action in level.draw(name, seed).actions}
    assert all(hasattr(StackPlayer, f"_{kind}") for kind in kinds)


# -- the wires ------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Talk:
    """A connection of host 1 to host 2, and what was noted of it, and when (seconds from its beginning)."""

    lan: Lan
    client: trio.SocketStream
    server: trio.SocketStream
    start: float = attrs.field(factory=trio.current_time)
    noted: list[tuple[float, object]] = attrs.field(factory=list)

    def note(self, what: object) -> None:
        self.noted.append((trio.current_time() - self.start, what))


def talk(scenario: Callable[[Talk], Awaitable[None]]) -> list[tuple[float, object]]:
    """What a scenario notes, in virtual time."""
    lan = Lan(random.Random(1), Conditions(delay=(0.01, 0.01)))
    here = [2]

    async def run() -> list[tuple[float, object]]:
        trio.socket.set_custom_socket_factory(Sockets(lan, lambda: lan.host(here[0])))
        (listener,) = await trio.open_tcp_listeners(7, host=address_of(2))
        here[0] = 1
        client = await trio.open_tcp_stream(address_of(2), 7)
        made = Talk(lan, client, await listener.accept())
        await scenario(made)
        return made.noted

    return trio.run(run, clock=MockClock(autojump_threshold=0))


def test_what_a_partition_holds_back_comes_once_it_has_healed() -> None:
    async def scenario(one: Talk) -> None:
        one.lan.block([(1, 2)])
        await one.client.send_all(b"late")
        await one.server.send_all(b"the other way")
        one.note(await one.client.receive_some())
        with trio.move_on_after(30):
            one.note(await one.server.receive_some())
        one.lan.block(())
        one.note(await one.server.receive_some())

    (first, early), (second, late) = talk(scenario)
    assert (early, late) == (b"the other way", b"late")
    assert first == pytest.approx(0.01)
    assert 30 < second < 35


def test_a_machine_without_power_says_nothing_and_resets_once_it_is_back() -> None:
    async def scenario(one: Talk) -> None:
        one.lan.kill(2, power=True)
        await one.client.send_all(b"is anyone there")
        with trio.move_on_after(100) as waited:
            await one.client.receive_some()
        one.note(waited.cancelled_caught)
        one.lan.boot(2)
        with pytest.raises(trio.BrokenResourceError):
            await one.client.receive_some()
        one.note("reset")

    (_, silent), (when, _) = talk(scenario)
    assert silent
    assert 100 < when < 101


def test_a_process_that_is_killed_resets_its_connections_at_once() -> None:
    async def scenario(one: Talk) -> None:
        one.lan.kill(2, power=False)
        with pytest.raises(trio.BrokenResourceError):
            await one.client.receive_some()
        one.note("reset")
        with pytest.raises(OSError, match="7"):
            await trio.open_tcp_stream(address_of(2), 7)
        one.note("refused")

    (reset, _), (refused, _) = talk(scenario)
    assert reset == pytest.approx(0.01)
    assert refused == pytest.approx(0.03)
