"""What may happen to the engine: typed inputs. Values only.

Requests carry a `token`, any hashable; the engine answers each with exactly one `Reply` of the same token.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeAlias

import attrs

from p2pwf.clock.messages import Attempt
from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event, SignedBlock
from p2pwf.core.ids import Cid, PeerId

Token: TypeAlias = Hashable


@attrs.frozen(slots=True)
class Now:
    """The time as the shell has it: `mono` seconds of a monotonic clock (judges liveness), `wall` ms (shown only)."""

    mono: float
    wall: int


@attrs.frozen(slots=True)
class PeerUp:
    """The clock stream to a member stands, both ways."""

    peer: PeerId


@attrs.frozen(slots=True)
class PeerDown:
    peer: PeerId


@attrs.frozen(slots=True)
class Frame:
    """A frame from a member's clock stream."""

    peer: PeerId
    data: bytes


@attrs.frozen(slots=True)
class Gossip:
    """A frame from the network's topic; `author` signed it and need not be who passed it on."""

    author: PeerId
    data: bytes


@attrs.frozen(slots=True)
class Tick:
    """Time has passed; the shell gives one no later than the engine's last WakeAt asked for."""


@attrs.frozen(slots=True)
class Submit:
    """Start a run. `body`: the body of run.submit without `absent`, which the engine adds."""

    token: Token
    body: Mapping[str, Value]


@attrs.frozen(slots=True)
class CancelRun:
    """Ask for a run to be cancelled; with `force`, if it is already, jobs too whose `if` lets them go on."""

    token: Token
    run: Cid
    force: bool = False


@attrs.frozen(slots=True)
class SetPriority:
    token: Token
    run: Cid
    priority: float


@attrs.frozen(slots=True)
class AddSchedule:
    """Have a workflow submitted whenever it is due. `body`: that of schedule.add."""

    token: Token
    body: Mapping[str, Value]


@attrs.frozen(slots=True)
class RemoveSchedule:
    token: Token
    schedule: Cid


@attrs.frozen(slots=True)
class WriteSetting:
    """Set or remove a secret or a variable. `type`, `body`: of the event; a secret in it is sealed."""

    token: Token
    type: str
    body: Mapping[str, Value]


@attrs.frozen(slots=True)
class Sealed:
    """Boxes for members that lacked them, as a Reseal asked for: of each the secret, the peer, the box."""

    boxes: Sequence[tuple[Cid, PeerId, bytes]]


@attrs.frozen(slots=True)
class Place:
    """Look once more at every job that has no owner, and answer when that is done."""

    token: Token


@attrs.frozen(slots=True)
class AddMember:
    """Admit a peer (seen or not); fields that are None are taken from its pending request, or left plain."""

    token: Token
    peer: PeerId
    roles: tuple[str, ...]
    name: str | None = None
    labels: tuple[str, ...] | None = None
    slots: int | None = None


@attrs.frozen(slots=True)
class RemoveMember:
    token: Token
    peer: PeerId
    keep_runs: bool = False


@attrs.frozen(slots=True)
class UpdateSelf:
    """Record this node's own name, labels and slots, if they differ from what the roster says."""

    token: Token
    name: str
    labels: tuple[str, ...]
    slots: int


@attrs.frozen(slots=True)
class Invite:
    """Keep a ticket: `digest` is the SHA-256 of its secret, `expires` in wall ms."""

    token: Token
    digest: bytes
    roles: tuple[str, ...]
    expires: int


@attrs.frozen(slots=True)
class JoinAsked:
    """A peer asks to be admitted, with a ticket's secret or without."""

    token: Token
    peer: PeerId
    network: Cid | None
    secret: bytes | None = attrs.field(repr=False)
    name: str
    labels: tuple[str, ...]
    slots: int


@attrs.frozen(slots=True)
class JobEnded:
    """The runner is through with an attempt: its log, outputs and artifacts are held as safely as they will be."""

    attempt: Attempt
    conclusion: str
    outcome: str
    outputs: Mapping[str, str] = attrs.field(factory=dict)
    log: Cid | None = None
    report: Cid | None = None
    """Steps, annotations and summaries: see protocols/reports.md."""
    artifacts: Sequence[Mapping[str, Value]] = ()
    caches: Sequence[Mapping[str, Value]] = ()
    error: str | None = None


@attrs.frozen(slots=True)
class Recalled:
    """The events of a run, as the store has them; `token` None: the engine had asked for them by itself."""

    token: Token | None
    run: Cid
    blocks: tuple[SignedBlock, ...]


@attrs.frozen(slots=True)
class BaseMade:
    """A base that was asked for by MakeBase: its blob, what it is of, and how many stubs are in it. `base` None: not
    all that it is of is here, or it could not be held."""

    tips: tuple[Cid, ...]
    before: int
    base: Cid | None
    stubs: int


@attrs.frozen(slots=True)
class BaseRead:
    """The events in the base of a checkpoint, judged; none if it could not be had."""

    checkpoint: Event
    events: Sequence[Event]


@attrs.frozen(slots=True)
class MakeCheckpoint:
    """Write a checkpoint of runs that ended at least so many days ago."""

    token: Token
    days: float


@attrs.frozen(slots=True)
class Prune:
    """Prune what the newest stable checkpoint allows, if that was not done, and say where that stands."""

    token: Token


@attrs.frozen(slots=True)
class TakeIn:
    """Events from a file, each after what it stands on: judged as if a peer had sent them, which nobody has."""

    token: Token
    blocks: tuple[SignedBlock, ...]


@attrs.frozen(slots=True)
class Pause:
    """Start no more jobs here (`on`), or go on; what runs goes on in any case. Kept over restarts."""

    token: Token
    on: bool


@attrs.frozen(slots=True)
class PolicyChanged:
    """What `EngineConfig.policy` says is another thing now: what has not started here is judged anew."""

    token: Token


@attrs.frozen(slots=True)
class Begin:
    """A client takes on what is ready of a run on this node, which starts nothing by itself; `leg`: only that."""

    token: Token
    run: Cid
    leg: tuple[str, int] | None


@attrs.frozen(slots=True)
class Addresses:
    """Where this node can be dialled now: multiaddrs with its peer id."""

    addresses: tuple[str, ...]


@attrs.frozen(slots=True)
class Stop:
    """The node is about to stop: hand on what it owns."""

    token: Token


Input: TypeAlias = (
    PeerUp
    | PeerDown
    | Frame
    | Gossip
    | Tick
    | Submit
    | CancelRun
    | SetPriority
    | AddSchedule
    | RemoveSchedule
    | WriteSetting
    | Sealed
    | Place
    | AddMember
    | RemoveMember
    | UpdateSelf
    | Invite
    | JoinAsked
    | JobEnded
    | Recalled
    | TakeIn
    | BaseMade
    | BaseRead
    | MakeCheckpoint
    | Prune
    | Pause
    | PolicyChanged
    | Begin
    | Addresses
    | Stop
)
