"""Bugs to plant in what only whole nodes have: their loop, their store, their network. As `testing.mutants`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import trio

from p2pwf.engine.liveness import Liveness
from p2pwf.net.dialler import Dialler
from p2pwf.net.yamux import GuardedYamux
from p2pwf.node import shell
from p2pwf.node.node import Gate
from p2pwf.node.policing import Gatekeeper
from p2pwf.store.events import Commit, EventStore, StoredEvent
from p2pwf.testing.mutants import Mutant

_load = EventStore.load
_commit = EventStore.commit


def _nothing(*_: object, **__: object) -> None:
    return None


def _always(*_: object) -> bool:
    return True


def _without_the_newest(self: EventStore) -> Iterator[StoredEvent]:
    yield from list(_load(self))[:-1]


def _no_submissions(self: EventStore, *commits: Commit) -> None:
    kept = (Commit(tuple(each for each in one.events if each.type != "run.submit"), one.meta) for one in commits)
    _commit(self, *kept)


async def _dial_once(self: Any, peer: Any, scope: trio.CancelScope) -> None:  # noqa: ANN401 - as the method it replaces
    with scope:
        await self.connect(peer, self.addresses(peer))
        await trio.sleep_forever()


async def _never_silent(self: GuardedYamux) -> None:
    await self.event_shutting_down.wait()


STACK_MUTANTS: Final = (
    Mutant("the newest event does not come back from the disk", "crash", EventStore, "load", _without_the_newest),
    Mutant("submissions are told and not stored", "crash", EventStore, "commit", _no_submissions),
    Mutant("a lost peer is not dialled again", "crash", Dialler, "_keep", _dial_once),
    Mutant("a silent connection is kept", "gone", GuardedYamux, "_measure_rtt_loop", _never_silent),
    Mutant("nobody is brought up to date", "partition", shell.NodeShell, "_send_bulk", _nothing),
    Mutant("addresses of those who are no members yet are forgotten", "members", Liveness, "_take_hints", _nothing),
    Mutant("the policy is not asked", "wary", Gatekeeper, "refusal", _nothing),
    Mutant("who is no member may speak", "members", Gate, "is_member", _always),
)
