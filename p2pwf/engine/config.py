"""What a node's engine is told at its birth, and the times it lives by. Values and one protocol only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

import attrs

from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event
from p2pwf.runs.plan import Leg
from p2pwf.runs.settings import Asks

BEAT: Final = 2.0
"""Seconds between an owner's beats."""
LEASE: Final = 6.0
"""Seconds of silence after which attempt 1 is taken over: two beats may be lost. Doubles with each attempt."""
STAGGER: Final = 2.0
"""Seconds that each next candidate waits longer: time for the first one's event to arrive."""
PROBE_LEAD: Final = 2.0
"""Seconds before a takeover that the owner is asked once more, so a mere difference of views takes nothing over."""
WATCHERS: Final = 3
"""Candidates that an owner beats to, beside the submitter."""
DIGEST_EVERY: Final = 5.0
"""Seconds between the digests sent to each connected peer: what gossip lost is healed within about that."""
MAX_ROUNDS: Final = 8
"""Hellos and digests of one peer that are looked at in DIGEST_EVERY seconds: each may cost a walk and an answer of a
megabyte. Correct peers send three or so; what is dropped, the next digest makes good."""
PRESENCE_EVERY: Final = 10.0
"""Seconds between presences; in larger networks a twentieth of a second for each member, so gossip carries them."""
PRESENCE_LASTS: Final = 3.0
"""Presence intervals after which a member that is not connected is not held alive."""
GREETING: Final = 0.5
"""Seconds after a peer connected until presence is gossiped anew: time for the gossip mesh to take it in."""
GRACE: Final = 10.0
"""Seconds for which a member that this node has never heard is not called absent: one presence interval."""
RECEIPT_WAIT: Final = 0.25
"""Seconds that a submission waits for one other peer's receipt before it is acknowledged with one copy."""
WAKE_GAP: Final = 3.0
"""Seconds between two ticks after which this node slept or was stopped: it trusts nothing it believed before."""
STUMBLE: Final = 1.0
"""Seconds between two inputs, two ticks' time, after which this node stood still: what it was told meanwhile waits to
be read, so that time is nobody's silence."""
RESUME_WAIT: Final = 1.5
"""Seconds after its first sync that a node that started or woke still writes nothing: a tick, and a slow round trip."""
SETTLE: Final = 1.0
"""Seconds that what is in a concurrency group is ready before it starts or is dropped: twice what an event takes to
arrive, so that of two that are ready at once all peers let the same one go first."""
TICK: Final = 0.5
"""Seconds between ticks: the grain of everything above."""
MAX_WANT: Final = 512
"""Events asked for at a time."""
MAX_TICKETS: Final = 1024
MAX_REQUESTS: Final = 64
"""Join requests waiting for an admin; the oldest make room."""


@attrs.frozen(slots=True)
class Beside:
    """The legs of a call's matrix: of each the ids of its jobs; `index` is the leg of the job that was asked for."""

    legs: tuple[tuple[str, ...], ...]
    index: int
    fail_fast: bool
    max_parallel: int


class Planner(Protocol):
    """The workflow language as the engine needs it: pure, and never part of the fold.

    `needs` maps each directly needed job to {"result": str, "outputs": {str: str}}.
    """

    def should_run(
        self,
        submission: Event,
        job: str,
        needs: Mapping[str, Mapping[str, Any]],
        ancestors: Mapping[str, str],
        cancelled: bool,
    ) -> bool:
        """Whether the job's `if` holds; raises P2pwfError if it cannot be evaluated. `ancestors`: the results of all
        jobs that it needs, directly or not."""

    def expand(self, submission: Event, job: str, needs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Value]]:
        """The legs of a job whose matrix or labels depend on needs; raises P2pwfError if there are none."""

    def strategy(self, submission: Event, job: str, needs: Mapping[str, Mapping[str, Any]]) -> tuple[bool, int] | None:
        """fail-fast and max-parallel of a job where they depend on needs, else None; raises P2pwfError."""

    def finish(
        self, submission: Event, job: str, needs: Mapping[str, Mapping[str, Any]]
    ) -> tuple[str, Mapping[str, str]] | None:
        """Conclusion and outputs of a job that runs nothing, but stands for those it called; None for any other.

        `needs` is in the order in which they ended. Raises P2pwfError if the outputs cannot be evaluated.
        """

    def next_tick(self, schedule: Event, after: int) -> tuple[int, Value] | None:
        """When a schedule is due next, strictly after a time, both in seconds since 1970, and which of its crons says
        so; None if it never is."""

    def scheduled(self, schedule: Event, tick: int, cron: Value) -> Mapping[str, Value]:
        """The body of the run.submit of a tick, without `absent`; raises P2pwfError if the workflow fails with it."""

    def beside(self, submission: Event, job: str) -> Sequence[Beside]:
        """The matrices of calls that a job is part of, from the outside in; raises P2pwfError."""

    def asks(
        self, submission: Event, job: str, needs: Mapping[str, Mapping[str, Any]], leg: Leg, index: int, total: int
    ) -> Asks:
        """The environment of one leg, number `index` of `total`, of a job whose needs have concluded, and the secrets
        that it names; raises P2pwfError if they cannot be told."""


MayRun: TypeAlias = "Callable[[Event, Iterable[str], str | None], str | None]"
"""Says why this node runs nothing of a run.submit or schedule.add, or with labels and job not that job; None if it
does."""


def accept_all(_submission: Event, _labels: Iterable[str], _job: str | None) -> str | None:
    """The policy that refuses nothing."""
    return None


@attrs.frozen(slots=True)
class EngineConfig:
    """`boot`: 8 random bytes, new at each start. `policy` gives the reason to refuse a submission's job, or None.

    `external`: nothing starts here by itself, see Begin. `slots`: jobs run at a time. `history_days`: an admin's node
    writes a checkpoint each day, of runs that ended so long ago; 0: never.
    """

    boot: bytes
    version: str
    slots: int
    planner: Planner
    policy: MayRun = accept_all
    external: bool = False
    lease: float = LEASE
    history_days: int = 0
