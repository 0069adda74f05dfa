"""A network of real nodes under one virtual clock: born by ticket, as users do it, and looked at as the oracle asks.

`history` runs a coroutine in such a world from its first to its last moment; the same seed gives the same history.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog
import trio
from trio._core import _run as trio_run
from trio.testing import MockClock

from p2pwf.core.events import SignedBlock
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.outputs import Alarm, Misbehaved, StartJob
from p2pwf.errors import P2pwfError, TryAgain
from p2pwf.testing.machines import Conditions, Execution
from p2pwf.testing.stack.computer import Computer
from p2pwf.testing.stack.lan import Host, Lan
from p2pwf.testing.stack.machine import HERE, stand_ins
from p2pwf.testing.stack.sockets import Sockets

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one: SQLite syncs often
LOUD: Final = frozenset(("error", "exception", "critical"))
"""Levels of log lines that no fault of others excuses."""
ALLOW: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
"""Trio's switch for it, which has no public name."""
BIRTH_SECONDS: Final = 30.0


class StackWorld:
    """Computers on a network. Has what the oracle asks of a world."""

    def __init__(self, seed: int, folder: Path, conditions: Conditions) -> None:
        self.seed = seed
        self.conditions = conditions
        self.random = random.Random(f"stack {seed}")
        self.lan = Lan(self.random, conditions)
        self.computers: list[Computer] = []
        self.acknowledged: dict[Cid, tuple[PeerId, int]] = {}
        self.numbers: dict[int, Cid] = {}
        """Of the submissions that were acknowledged, by their numbers in the plan."""
        self.alarms: list[tuple[PeerId, Alarm]] = []
        self.misbehaved: list[tuple[PeerId, Misbehaved]] = []
        self.unopened: list[StartJob] = []
        self.complaints: list[str] = []
        """What the nodes' logs say that they should not have to."""
        self.crashes = 0
        self.haste = 1.0
        self.pruned: dict[Cid, SignedBlock] = {}
        """None of its nodes prunes."""
        self.time = 0.0
        """The last moment, once it is over."""
        self.folder = folder
        self._nursery: trio.Nursery | None = None

    # -- as the oracle sees it ----------------------------------------------------------------------------------

    @property
    def nodes(self) -> dict[PeerId, Computer]:
        return {computer.peer: computer for computer in self.computers if computer.peer}

    @property
    def granted(self) -> dict[PeerId, frozenset[str]]:
        return {computer.peer: computer.roles for computer in self.computers if computer.peer}

    @property
    def executions(self) -> list[Execution]:
        found = [execution for computer in self.computers for execution in computer.executions]
        return sorted(found, key=lambda execution: execution.started)

    @property
    def steps(self) -> int:
        """Pieces of data that came through."""
        return self.lan.delivered

    def fingerprint(self) -> str:
        """A digest of the whole history: when how many bytes came from where to where, and what was acknowledged."""
        digest = self.lan.digest.copy()
        for cid in self.acknowledged:
            digest.update(cid)
        for one in self.executions:
            digest.update(f"{one.attempt} {one.peer} {one.started:.6f} {one.ended}".encode())
        return digest.hexdigest()

    # -- life ---------------------------------------------------------------------------------------------------

    async def found(self, count: int, admins: int, wary: frozenset[int]) -> None:
        """Boot so many computers, the first of which founds a network and lets the others in."""
        first = self.make(trusts=0 not in wary)
        self.start(first, None)
        await self.until(lambda: first.ready, BIRTH_SECONDS)
        first.roles = frozenset(("admin", "run", "submit"))
        for number in range(1, count):
            roles = ["admin", "run", "submit"] if number < admins else ["run", "submit"]
            await self.join(first, roles, trusts=number not in wary)
        await self.until(lambda: all(one.ready for one in self.computers), BIRTH_SECONDS)

    def make(self, *, trusts: bool) -> Computer:
        number = len(self.computers) + 1
        chance = random.Random(f"{self.seed} machine {number}")
        made = Computer(number, self.folder / f"n{number}", self.lan, chance, trusts=trusts)
        made.job_seconds = self.conditions.job_seconds
        self.computers.append(made)
        return made

    async def join(self, admin: Computer, roles: list[str], *, trusts: bool = True) -> Computer | None:
        """A computer more, with a ticket of `admin`; None if that one cannot make one."""
        if admin.api is None:
            return None
        try:
            ticket = await admin.api.invite(3600.0, roles)
        except P2pwfError:
            return None
        made = self.make(trusts=trusts)
        made.admitted_by = admin
        made.left = admin.left
        made.roles = frozenset(roles)
        self.start(made, ticket["ticket"])
        await self.until(lambda: bool(made.peer), BIRTH_SECONDS)
        return made

    def start(self, computer: Computer, join: str | None = None) -> None:
        """Boot a computer, unless it is up or gone."""
        if self._nursery is not None and not computer.machine.alive and not computer.gone:
            self._nursery.start_soon(computer.live, join, self.random)

    async def restart(self, computer: Computer) -> None:
        """Boot a computer that was killed, on the disk that it left."""
        if not computer.machine.alive:
            await computer.wait_ended()
        self.start(computer)

    async def crash(self, computer: Computer) -> None:
        """A computer's node is killed, or all of the machine loses power."""
        if computer.machine.alive:
            self.crashes += 1
            await computer.kill(power=self.random.random() < 0.5)

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds, for so long at most; whether it does."""
        with trio.move_on_after(seconds):
            while not holds():  # noqa: ASYNC110 - the clock is virtual, and nodes have no event for it
                await trio.sleep(0.1)
        return holds()

    def settled(self) -> bool:
        """Whether all that there are agree, and nothing is left to do."""
        there = [computer for computer in self.computers if not computer.gone]
        if not all(computer.ready or computer.left for computer in there):
            return False
        nodes = [computer.node for computer in there if computer.honest and computer.node is not None]
        digests = {node.engine.desk.clock.dag.digest() for node in nodes}
        return len(digests) == 1 and not any(node.engine.desk.active or node.jobs.running for node in nodes)

    async def run(self, play: Callable[[StackWorld], Awaitable[None]]) -> None:
        """Have `play` do what it does in this world, and end the world."""
        trio.socket.set_custom_socket_factory(Sockets(self.lan, self._host_here))
        async with trio.open_nursery() as self._nursery:
            await play(self)
            self.time = trio.current_time()
            for computer in self.computers:
                if computer.machine.alive:
                    await computer.kill(power=True)
            self._nursery.cancel_scope.cancel()

    def _host_here(self) -> Host:
        machine = HERE.get()
        if machine is None:
            raise TryAgain("a socket of no machine")
        return self.lan.host(machine.number)

    # -- what nodes log -----------------------------------------------------------------------------------------

    def heard(self, _: object, method: str, event: MutableMapping[str, Any]) -> str:
        """Take a line of a node's log: as evidence, if it is about somebody's fault."""
        machine = HERE.get()
        if machine is None or not machine.alive:
            raise structlog.DropEvent
        me = self.computers[machine.number - 1].peer
        said = str(event.pop("event"))
        if said == "peer broke the protocol":
            self.misbehaved.append((me, Misbehaved(PeerId(event["peer"]), str(event["reason"]))))
        elif "hint" in event and method == "error":
            self.alarms.append((me, Alarm(said, str(event["hint"]))))
        elif method in LOUD:
            self.complaints.append(f"n{machine.number}: {said} {dict(event)}")
        raise structlog.DropEvent


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """The order in which trio runs its tasks is the seed's."""
    before, state = getattr(trio_run, ALLOW), trio_run._r.getstate()
    setattr(trio_run, ALLOW, True)
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        setattr(trio_run, ALLOW, before)
        trio_run._r.setstate(state)


def history(seed: int, conditions: Conditions, play: Callable[[StackWorld], Awaitable[None]]) -> StackWorld:
    """Run `play` in a new world, in virtual time; returns the world as it was left."""
    folder = Path(tempfile.mkdtemp(prefix="p2pwf-stack-", dir=MEMORY if MEMORY.is_dir() else None))
    world = StackWorld(seed, folder, conditions)
    clock = MockClock(autojump_threshold=0)
    config = structlog.get_config()
    structlog.configure(processors=[world.heard], cache_logger_on_first_use=False)
    try:
        with _deterministic(seed), stand_ins(clock, world.random):
            trio.run(world.run, play, clock=clock)
    finally:
        structlog.configure(**config)
        shutil.rmtree(folder, ignore_errors=True)
    return world
