"""Bugs to plant in what only whole nodes have: their loop, their store, their network. As `testing.mutants`."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any, Final

import trio

from p2pwf.engine.outputs import Output, Store
from p2pwf.errors import TryAgain
from p2pwf.net.dialler import Dialler
from p2pwf.net.network import Network
from p2pwf.net.types import NetEvent, PeerDown
from p2pwf.node.loop import EngineLoop, Waiting
from p2pwf.node.policing import Gatekeeper
from p2pwf.node.shell import NodeShell
from p2pwf.policy import Verdict
from p2pwf.store.events import Commit, EventStore
from p2pwf.testing.mutants import Mutant

_commit = EventStore.commit
_emit = Network._emit
_perform = EngineLoop._perform


def _all_allowed(*_: object) -> Verdict:
    return Verdict(allowed=True, reason="")


def _nothing(*_: object, **__: object) -> None:
    return None


def _no_submissions(self: EventStore, *commits: Commit) -> None:
    kept = (Commit(tuple(each for each in one.events if each.type != "run.submit"), one.meta) for one in commits)
    _commit(self, *kept)


async def _tell_first(self: EngineLoop, outputs: list[Output]) -> None:
    await _perform(self, [output for output in outputs if not isinstance(output, Store)])
    await _perform(self, [output for output in outputs if isinstance(output, Store)])


async def _only_when_told(self: EngineLoop) -> deque[Waiting]:
    return deque([await self._receive.receive()])


async def _dial_once(self: Any, peer: Any, scope: trio.CancelScope) -> None:  # noqa: ANN401 - as the method it replaces
    with scope:
        with suppress(TryAgain):
            await self.connect(peer, self.addresses(peer))
        await trio.sleep_forever()


async def _nobody_goes(self: Network, event: NetEvent) -> None:
    if not isinstance(event, PeerDown):
        await _emit(self, event)


STACK_MUTANTS: Final = (
    Mutant("submissions are told and not stored", "crash", EventStore, "commit", _no_submissions),
    Mutant("it is told before it is stored", "torn", EngineLoop, "_perform", _tell_first),
    Mutant("the loop wakes only when something comes", "crash", EngineLoop, "_next_batch", _only_when_told),
    Mutant("nobody is brought up to date", "partition", NodeShell, "_send_bulk", _nothing),
    Mutant("a lost peer is not dialled again", "partition", Dialler, "_keep", _dial_once),
    Mutant("the end of a connection is not told", "crash", Network, "_emit", _nobody_goes),
    Mutant("the policy is not asked", "wary", Gatekeeper, "verdict", _all_allowed),
)
