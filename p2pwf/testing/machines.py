"""What a simulated world is made of: machines, the jobs they run, the weather between them. Values."""

from __future__ import annotations

import attrs

from p2pwf.clock.messages import Attempt
from p2pwf.core.events import Event, SignedBlock
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.sign import Signer
from p2pwf.engine import Engine
from p2pwf.engine.inputs import Input


@attrs.define(slots=True)
class Conditions:
    """The weather. Delays in seconds; probabilities for each message."""

    delay: tuple[float, float] = (0.001, 0.02)
    loss: float = 0.0
    duplicate: float = 0.0
    crash_between: float = 0.0
    """Chance that a node crashes between two outputs of a step (only nodes that may crash)."""
    job_seconds: tuple[float, float] = (0.2, 5.0)


@attrs.define(slots=True, eq=False)
class Execution:
    """A job that a node really started, for the oracle."""

    attempt: Attempt
    peer: PeerId
    started: float
    ended: float | None = None


@attrs.define(slots=True, eq=False)
class SimNode:
    """One machine: its disk outlives its engine."""

    signer: Signer
    slots: int
    skew_wall: int = 0
    rate: float = 1.0
    """How fast its monotonic clock runs."""
    engine: Engine | None = None
    life: int = 0
    blocks: dict[Cid, SignedBlock] = attrs.field(factory=dict)
    meta: dict[str, bytes] = attrs.field(factory=dict)
    bases: dict[str, tuple[Cid, bytes]] = attrs.field(factory=dict)
    """Of the blobs, the base that was made last, and that of the checkpoint that is followed."""
    jobs: dict[Attempt, Execution] = attrs.field(factory=dict)
    next_tick: float = -1.0
    paused: bool = False
    busy: bool = False
    """It waits for its disk."""
    trusts: bool = True
    """Whether it runs what others submit."""
    gone: bool = False
    """It died for good, and its disk with it."""
    restored: bool = False
    """Its disk was lost, and an older copy of it put in its place: what it had told nobody is lost."""
    admitted_by: PeerId | None = None
    left: bool = False
    """It was removed from the network, or left it."""
    doubled: bool = False
    """It may have written two events of one number: its disk was put back by hand, or it is hostile."""
    hostile: bool = False
    full: bool = False
    """Its disk has no room: what is to be stored ends the process."""
    commit_seconds: float = 0.0
    """How long its disk takes for a commit; it handles nothing meanwhile."""
    history_days: int = 0
    held_back: list[Input] = attrs.field(factory=list)
    """What came in while it was paused or busy."""

    @property
    def honest(self) -> bool:
        """Whether it is a member that what is promised is promised to: not removed, and of one mind with itself."""
        return not (self.left or self.doubled or self.hostile)

    @property
    def stored(self) -> int:
        """Bytes of events and stubs on its disk."""
        return sum(len(signed.block) + len(signed.signature) for signed in self.blocks.values())

    @property
    def peer(self) -> PeerId:
        return self.signer.peer_id

    def policy(self, submission: Event, _labels: object = (), _job: object = None) -> str | None:
        """What it says of running a submission's jobs."""
        return None if self.trusts or submission.author == self.peer else "it runs its own runs only"
