"""What a process sees of its machine: clocks, threads, randomness, all of them the simulation's within `stand_ins`.

Whose code runs is known by a context variable, which trio hands on to every task that a node starts. What goes to a
thread is done inline, at one moment of virtual time, before or after a wait that stands for the disk; so it is stored
whole or not at all. A machine that has died does no more work, whatever its tasks still try on their way out.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import attrs
import trio
from trio.testing import MockClock

from p2pwf.errors import StorageError
from p2pwf.testing.sim import EPOCH

DISK_SECONDS: Final = (0.0001, 0.004)
"""Seconds for a piece of work in a thread on a healthy machine: a commit on a solid-state disk takes about one ms."""
WRITES: Final = frozenset(("commit", "put_file", "put_bytes", "put_open", "append", "pin_all"))
"""The work that a full disk refuses, by the names of the store's methods."""


class NoRoom(StorageError):
    """What a full disk of the simulation says."""


@attrs.define(eq=False)
class Machine:
    """One computer: what of it a process can notice."""

    number: int
    random: random.Random
    alive: bool = False
    skew_ms: int = 0
    """How far its wall clock is off."""
    rate: float = 1.0
    """How fast its monotonic clock runs."""
    full: bool = False
    slowness: float = 0.0
    """Seconds that its disk takes at most, beside what it always takes."""
    _waits: dict[int, trio.CancelScope] = attrs.field(factory=dict)
    _count: int = 0

    def die(self) -> None:
        """From now on nothing of it does any work; what waits for the disk waits no more."""
        self.alive = False
        for scope in self._waits.values():
            scope.cancel()

    async def work(self, job: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401 - as trio.to_thread has it
        """Do a piece of blocking work, as `trio.to_thread.run_sync` does; like that, not to be cancelled."""
        await trio.lowlevel.checkpoint_if_cancelled()
        first = self.random.random() < 0.5
        done = job(*args) if first and self._may(job) else None
        await self._wait(self.random.uniform(*DISK_SECONDS) + self.random.uniform(0, self.slowness))
        if not self.alive:
            await trio.lowlevel.checkpoint()
            raise OSError(errno.EIO, "this machine is off")
        return done if first else job(*args) if self._may(job) else None

    def _may(self, job: Callable[..., Any]) -> bool:
        """Whether the work can be done now; raises what a disk says."""
        if not self.alive:
            raise OSError(errno.EIO, "this machine is off")
        if self.full and getattr(job, "__name__", "") in WRITES:
            raise NoRoom("no room to write", "it has room again in a while")
        return True

    async def _wait(self, seconds: float) -> None:
        self._count += 1
        number = self._count
        with trio.CancelScope(shield=True) as scope:
            self._waits[number] = scope
            try:
                await trio.sleep(seconds)
            finally:
                del self._waits[number]


HERE: ContextVar[Machine | None] = ContextVar("HERE", default=None)
"""The machine whose code runs; None: the simulation's own."""


@contextmanager
def here(machine: Machine) -> Iterator[None]:
    """What the block does, and every task that it starts, is that machine's."""
    token = HERE.set(machine)
    try:
        yield
    finally:
        HERE.reset(token)


@contextmanager
def stand_ins(clock: MockClock, chance: random.Random) -> Iterator[None]:
    """Within the block the process has the simulation's clocks, threads and randomness in place of its own."""

    def monotonic() -> float:
        machine = HERE.get()
        return clock.current_time() * (1.0 if machine is None else machine.rate)

    def time_ns() -> int:
        machine = HERE.get()
        return (EPOCH + (0 if machine is None else machine.skew_ms)) * 1_000_000 + int(clock.current_time() * 1e9)

    def urandom(size: int) -> bytes:
        machine = HERE.get()
        return (chance if machine is None else machine.random).randbytes(size)

    async def run_sync(job: Callable[..., Any], *args: object, **_: object) -> Any:  # noqa: ANN401 - as trio has it
        machine = HERE.get()
        if machine is None:
            await trio.lowlevel.checkpoint()
            return job(*args)
        return await machine.work(job, *args)

    replaced: list[tuple[Any, str, object]] = [
        (time, "monotonic", monotonic),
        (time, "perf_counter", monotonic),
        (time, "time_ns", time_ns),
        (time, "time", lambda: time_ns() / 1e9),
        (os, "urandom", urandom),
        (trio.to_thread, "run_sync", run_sync),
    ]
    genuine = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    state = random.getstate()
    for owner, name, stand_in in replaced:
        setattr(owner, name, stand_in)
    random.seed(chance.random())  # libp2p draws from the process's own generator
    try:
        yield
    finally:
        for owner, name, real in genuine:
            setattr(owner, name, real)
        random.setstate(state)
