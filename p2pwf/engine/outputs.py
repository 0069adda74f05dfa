"""What the engine asks of its shell: typed outputs, performed in order. Values only.

A `Store` comes before whatever tells anyone of what it stores; the shell must not go on to the next output before the
store is durable. That order is all there is to the promise that nothing acknowledged is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from p2pwf.clock.messages import Attempt, Message
from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.inputs import Token
from p2pwf.errors import P2pwfError


@attrs.frozen(slots=True)
class Store:
    """Make these durable, all or nothing. `meta`: small values of this node by name; None deletes. `stubs`: events that
    are held, of which only this is to be left."""

    events: tuple[Event, ...]
    meta: Mapping[str, bytes | None] = attrs.field(factory=dict)
    stubs: tuple[Event, ...] = ()


@attrs.frozen(slots=True)
class Publish:
    """Broadcast a message on the network's topic."""

    message: Message


@attrs.frozen(slots=True)
class Send:
    """Put a message on a member's clock stream. Loss is normal: a later digest heals it."""

    peer: PeerId
    message: Message


@attrs.frozen(slots=True)
class SendEvents:
    """Stream stored events to a member, in this order, in chunks, with backpressure."""

    peer: PeerId
    ids: tuple[Cid, ...]


@attrs.frozen(slots=True)
class StartJob:
    """Run an attempt; `needs`: of each needed job {result, outputs}. Its start is durable already."""

    attempt: Attempt
    submission: Event
    matrix: Mapping[str, Value] | None
    leg_name: str
    needs: Mapping[str, Mapping[str, object]]
    labels: tuple[str, ...] = ()
    """What the leg's `runs-on` asks for."""


@attrs.frozen(slots=True)
class CancelJob:
    """Stop a running attempt; its end is reported as any other."""

    attempt: Attempt
    reason: str


@attrs.frozen(slots=True)
class Recall:
    """Give the events of this run, which is on disk only, as a Recalled."""

    run: Cid


@attrs.frozen(slots=True)
class MakeBase:
    """Make the base of the past of `tips`, hold it as a blob, and give it as a BaseMade. `before`: the checkpoint's; or
    None, and what this node's clock had reached at `horizon`, in wall ms. `least`: no lower than that."""

    tips: tuple[Cid, ...]
    before: int | None
    horizon: int
    least: int


@attrs.frozen(slots=True)
class FetchBase:
    """Get the base of a checkpoint, from `peer` if it is not here, and give what is in it as a BaseRead."""

    peer: PeerId | None
    checkpoint: Event
    base: Cid


@attrs.frozen(slots=True)
class Named:
    """Another peer has recorded the outcome of a job that names these blobs, the latter being manifests of more."""

    author: PeerId
    blobs: tuple[Cid, ...]
    manifests: tuple[Cid, ...]


@attrs.frozen(slots=True)
class Scheduled:
    """Another member has added a schedule whose ticks this node may submit and run: it should have what they need."""

    schedule: Event


@attrs.frozen(slots=True)
class Reseal:
    """Seal these secrets to these peers as well, and give the boxes as a Sealed: of each secret its secret.set, what is
    sealed to this node, and the peers."""

    secrets: tuple[tuple[Event, tuple[bytes, ...], tuple[PeerId, ...]], ...]


@attrs.frozen(slots=True)
class Reply:
    """The answer to a request: a JSON-able result, or the error that refused it."""

    token: Token
    result: Any = None
    error: P2pwfError | None = None


@attrs.frozen(slots=True)
class MembersChanged:
    """The roster is another: the gate must know."""


@attrs.frozen(slots=True)
class RunsChanged:
    """These runs may look different now."""

    runs: tuple[Cid, ...]


@attrs.frozen(slots=True)
class Learned:
    """Where a member can be dialled."""

    peer: PeerId
    addresses: tuple[str, ...]


@attrs.frozen(slots=True)
class Misbehaved:
    """A peer broke the protocol: count it against it."""

    peer: PeerId
    reason: str


@attrs.frozen(slots=True)
class Ready:
    """This node is a member and has all that its first peer had."""


@attrs.frozen(slots=True)
class Alarm:
    """Something a person must know: two nodes with one key, an own event that this node does not know."""

    message: str
    hint: str


@attrs.frozen(slots=True)
class WakeAt:
    """Give a Tick at this monotonic time, or before."""

    mono: float


Output: TypeAlias = (
    Store
    | Publish
    | Send
    | SendEvents
    | StartJob
    | CancelJob
    | Recall
    | MakeBase
    | FetchBase
    | Named
    | Scheduled
    | Reseal
    | Reply
    | MembersChanged
    | RunsChanged
    | Learned
    | Misbehaved
    | Ready
    | Alarm
    | WakeAt
)
