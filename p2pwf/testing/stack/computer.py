"""One simulated computer with a real node on it: booted, killed, booted again on the disk that it left.

It does what `control.daemon` does for a node, but for the control socket: whoever uses it calls the node's API.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import Final

import structlog
import trio

from p2pwf.config import NodeSettings
from p2pwf.core.events import Event, SignedBlock
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine import Engine
from p2pwf.errors import P2pwfError
from p2pwf.node.api import NodeApi
from p2pwf.node.loop import first_error
from p2pwf.node.node import Node
from p2pwf.node.start import make_ready, open_node
from p2pwf.testing.machines import Execution
from p2pwf.testing.stack.lan import Lan
from p2pwf.testing.stack.machine import Machine, NoRoom, here
from p2pwf.testing.stack.runner import Runner
from p2pwf.testing.stack.sockets import address_of

PORT: Final = 4070
SLOTS: Final = 2
COMES_BACK: Final = (0.5, 5.0)
"""Seconds after which a service manager starts a node again that ended by itself."""


class Computer:
    """A machine, its folder, and the node on it. `node`: None while it is down."""

    def __init__(self, number: int, folder: Path, lan: Lan, random: Random, *, trusts: bool) -> None:
        self.number = number
        self.machine = Machine(number, random)
        self.trusts = trusts
        self.peer = PeerId("")
        """Known once it was up."""
        self.node: Node | None = None
        self.api: NodeApi | None = None
        self.ready = False
        self.gone = False
        """It died for good."""
        self.left = False
        """It was removed, or left."""
        self.restored = self.doubled = False
        self.history_days = 0
        self.faults: list[str] = []
        """How its node ended by itself, where nothing excuses that."""
        self.job_seconds = (0.2, 5.0)
        self.executions: list[Execution] = []
        self.admitted_by: Computer | None = None
        self.roles: frozenset[str] = frozenset()
        """What an admin's ticket gave it."""
        self._folder = folder
        self._lan = lan
        self._scope: trio.CancelScope | None = None
        self._ended = trio.Event()
        self._ended.set()
        self._nursery: trio.Nursery | None = None

    # -- as the oracle sees it ----------------------------------------------------------------------------------

    @property
    def honest(self) -> bool:
        return not self.left

    @property
    def engine(self) -> Engine | None:
        return None if self.node is None else self.node.engine

    @property
    def blocks(self) -> Mapping[Cid, SignedBlock]:
        """What its disk holds."""
        if self.node is None:
            return {}
        return {event.cid: SignedBlock(event.block, event.signature) for event in self.node.store.load()}

    def policy(self, submission: Event) -> str | None:
        """What it says of running a submission's jobs."""
        return None if self.trusts or submission.author == self.peer else "it runs its own runs only"

    def knows(self, other: Computer) -> bool:
        """Whether its node knows the other as a member."""
        return self.engine is not None and self.engine.desk.roster.holds(other.peer, None)

    # -- life ---------------------------------------------------------------------------------------------------

    async def live(self, join: str | None, random: Random) -> None:
        """Boot, and boot again whenever the node ends by itself; returns when the machine is killed."""
        with here(self.machine), trio.CancelScope() as self._scope:
            self._ended = trio.Event()
            try:
                self._lan.boot(self.number)
                self.machine.alive = True
                while True:
                    await self._serve(join)
                    self._lan.kill(self.number, power=False)
                    await trio.sleep(random.uniform(*COMES_BACK))
            finally:
                self.node = self.api = self._nursery = None
                self.ready = False
                self._ended.set()

    async def _serve(self, join: str | None) -> None:
        settings = NodeSettings(
            data_dir=str(self._folder),
            name=f"n{self.number}",
            listen=(f"/ip4/{address_of(self.number)}/tcp/{PORT}",),
            slots=SLOTS,
            join=join,
            trust_members=self.trusts,
        )
        try:
            await self._run(settings)
        except P2pwfError as error:
            self._note(error)
        except Exception as error:  # noqa: BLE001 - noted: the oracle asks why a node ended
            if not self.machine.alive:
                return
            known = first_error(error.exceptions) if isinstance(error, BaseExceptionGroup) else None
            self._note(known or error)
        finally:
            self.node = self.api = self._nursery = None
            self.ready = False

    def _note(self, error: Exception) -> None:
        if not isinstance(error, NoRoom):
            self.faults.append(f"the node ended by itself: {error!r}")

    async def _run(self, settings: NodeSettings) -> None:
        runner = Runner(self.executions, self.job_seconds)
        async with open_node(settings, runner.run) as node, trio.open_nursery() as nursery:
            runner.peer = self.peer = node.me
            self.node, self.api, self._nursery = node, NodeApi(node, trio.Event()), nursery
            try:
                await make_ready(node)
                self.ready = True
                await trio.sleep_forever()
            finally:
                self.api = self._nursery = None  # nobody can use it any more, while it ends

    async def wait_ended(self) -> None:
        """Wait until nothing is left of the life before."""
        await self._ended.wait()

    async def kill(self, power: bool) -> None:
        """End the node at whatever it waits for; returns once nothing of it is left. `power`: the machine as well."""
        self.machine.die()
        self._lan.kill(self.number, power)
        if self._scope is not None:
            self._scope.cancel()
        await self._ended.wait()

    def do(self, what: Callable[[NodeApi], Awaitable[object]]) -> None:
        """Use the node's API in a task that dies with it; what the API refuses is refused."""
        if self.api is not None and self._nursery is not None:
            with here(self.machine):
                self._nursery.start_soon(_do, what, self.api)


async def _do(what: Callable[[NodeApi], Awaitable[object]], api: NodeApi) -> None:
    try:
        await what(api)
    except P2pwfError as error:
        structlog.get_logger().info("refused", error=error.message)
