"""The frames of `/p2pwf/clock/2.0.0` and of the gossip topic: values, and their DAG-CBOR encoding both ways.

One frame is one map with a `t` that says what it is. A frame of a kind that is not known here is passed over (a newer
peer may send it); a frame that is malformed is the remote's fault. Source: protocols/clock.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, cast

import attrs

from p2pwf.core.bodies import MAX_ATTEMPTS, MAX_LEGS, MAX_NAME
from p2pwf.core.dagcbor import DagCborError, Value, decode, encode
from p2pwf.core.events import MAX_SEQ, MAX_TIME, SignedBlock
from p2pwf.core.ids import Cid, PeerId
from p2pwf.core.sign import SIGNATURE_LENGTH

PROTOCOL: Final = "/p2pwf/clock/2.0.0"
TAG_LENGTH: Final = 8
"""Bytes of an event's digest that name it in a frontier: a hint, so 64 bits are plenty."""
MAX_FRAME: Final = 1_000_000
"""Bytes of one frame: what one GossipSub message carries at most, so any frame fits either way."""
MAX_TIPS: Final = 16
MAX_AUTHORS: Final = 16_384
MAX_IDS: Final = 4096
MAX_HELD: Final = 4096
MAX_ADDRESSES: Final = 16
MAX_PEERS: Final = 512
"""Members whose addresses are told at a time: more than anyone keeps connections to."""


class MessageError(ValueError):
    """A frame that no honest peer sends."""


@attrs.frozen(slots=True)
class Hello:
    """What a peer has: the digest of its sorted heads and, of each author, seq and tag of the chain's tips.

    `reply` asks the other side for its own hello. `boot` is new each time a node starts. `time`: its wall clock, in ms,
    if it says so.
    """

    network: Cid
    boot: bytes
    digest: bytes
    frontier: Mapping[PeerId, tuple[tuple[int, bytes], ...]]
    reply: bool
    version: str
    capabilities: tuple[str, ...] = ()
    time: int | None = None


@attrs.frozen(slots=True)
class Digest:
    """The digest of the sorted heads alone: on a timer, and equal nearly always."""

    digest: bytes


@attrs.frozen(slots=True)
class Events:
    """Events, in topological order."""

    events: tuple[SignedBlock, ...]


@attrs.frozen(slots=True)
class Want:
    """Ask for events by id."""

    ids: tuple[Cid, ...]


@attrs.frozen(slots=True)
class Stored:
    """A receipt: these submissions are durable at the sender."""

    ids: tuple[Cid, ...]


@attrs.frozen(slots=True)
class Attempt:
    """One attempt at one job instance: the unit of ownership."""

    run: Cid
    job: str
    leg: int
    number: int


@attrs.frozen(slots=True)
class Beat:
    """The sender lives and holds these attempts."""

    held: tuple[Attempt, ...]


@attrs.frozen(slots=True)
class Probe:
    """Ask for a beat now: the sender is about to judge these attempts silent."""

    asked: tuple[Attempt, ...]


@attrs.frozen(slots=True)
class Presence:
    """Gossip: the author is up. `addresses` as multiaddrs; `load` jobs running; `slots` in all."""

    boot: bytes
    addresses: tuple[str, ...]
    version: str
    load: int
    slots: int


@attrs.frozen(slots=True)
class Peers:
    """Where other members can be dialled, as they said themselves: told to a peer that has just connected."""

    addresses: Mapping[PeerId, tuple[str, ...]]


@attrs.frozen(slots=True)
class Pruned:
    """What the receiver lacks is not whole here any more: it can start from the base of this checkpoint."""

    checkpoint: SignedBlock


Message: TypeAlias = Hello | Digest | Events | Want | Stored | Beat | Probe | Presence | Peers | Pruned


def encode_message(message: Message) -> bytes:
    """The frame of a message."""
    return encode(_to_map(message))


def _to_map(message: Message) -> Mapping[str, object]:
    match message:
        case Hello():
            lines = {peer: [list(tip) for tip in tips] for peer, tips in message.frontier.items()}
            return {
                "t": "hello",
                "net": message.network,
                "boot": message.boot,
                "digest": message.digest,
                "frontier": lines,
                "reply": message.reply,
                "version": message.version,
                "caps": message.capabilities,
                **({} if message.time is None else {"time": message.time}),
            }
        case Digest():
            return {"t": "digest", "digest": message.digest}
        case Events():
            signatures = b"".join(signed.signature for signed in message.events)
            return {"t": "events", "blocks": [signed.block for signed in message.events], "sigs": signatures}
        case Want():
            return {"t": "want", "ids": message.ids}
        case Stored():
            return {"t": "stored", "ids": message.ids}
        case Beat():
            return {"t": "beat", "held": _attempts_out(message.held)}
        case Probe():
            return {"t": "probe", "asked": _attempts_out(message.asked)}
        case Peers():
            return {"t": "peers", "peers": message.addresses}
        case Pruned():
            return {"t": "pruned", "block": message.checkpoint.block, "sig": message.checkpoint.signature}
        case Presence():
            return {
                "t": "presence",
                "boot": message.boot,
                "addrs": message.addresses,
                "version": message.version,
                "load": message.load,
                "slots": message.slots,
            }


def decode_message(frame: bytes) -> Message | None:
    """The message in a frame, None for a kind not known here; raises MessageError for a malformed one."""
    try:
        value = decode(frame, MAX_FRAME)
    except DagCborError as error:
        raise MessageError(str(error)) from error
    kind = value.get("t") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str):
        raise MessageError("a frame that is not a map with a t")
    reader = _READERS.get(kind)
    if reader is None:
        return None
    try:
        return reader(value)
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"a malformed {kind[:32]} frame: {error}") from error


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _bytes(value: Value, low: int, high: int) -> bytes:
    _require(type(value) is bytes and low <= len(value) <= high, "bytes of another length")
    return cast(bytes, value)


def _text(value: Value) -> str:
    _require(type(value) is str and len(value) <= MAX_NAME, "no text, or too long")
    return cast(str, value)


def _number(value: Value, high: int) -> int:
    _require(type(value) is int and 0 <= value <= high, "no number, or out of bounds")
    return cast(int, value)


def _list(value: Value, limit: int) -> list[Value]:
    _require(type(value) is list and len(value) <= limit, "no list, or too long")
    return cast("list[Value]", value)


def _ids(value: Value) -> tuple[Cid, ...]:
    items = _list(value, MAX_IDS)
    _require(all(type(item) is Cid for item in items), "not ids")
    return tuple(cast("list[Cid]", items))


def _attempts_out(attempts: tuple[Attempt, ...]) -> list[list[object]]:
    return [[attempt.run, attempt.job, attempt.leg, attempt.number] for attempt in attempts]


def _attempts(value: Value) -> tuple[Attempt, ...]:
    found = []
    for item in _list(value, MAX_HELD):
        run, job, leg, number = _list(item, 4)
        _require(type(run) is Cid, "no run id")
        found.append(Attempt(cast(Cid, run), _text(job), _number(leg, MAX_LEGS), _number(number, MAX_ATTEMPTS)))
    return tuple(found)


def _hello(value: Mapping[str, Value]) -> Hello:
    network, lines = value["net"], value["frontier"]
    _require(type(network) is Cid and type(lines) is dict and len(lines) <= MAX_AUTHORS, "network or frontier")
    frontier = {}
    for peer, tips in cast("dict[str, Value]", lines).items():
        pairs = []
        for tip in _list(tips, MAX_TIPS):
            seq, tag = _list(tip, 2)
            pairs.append((_number(seq, MAX_SEQ), _bytes(tag, TAG_LENGTH, TAG_LENGTH)))
        frontier[PeerId(_text(peer))] = tuple(pairs)
    _require(type(value["reply"]) is bool, "reply")
    return Hello(
        network=cast(Cid, network),
        boot=_bytes(value["boot"], 8, 32),
        digest=_bytes(value["digest"], 32, 32),
        frontier=frontier,
        reply=cast(bool, value["reply"]),
        version=_text(value["version"]),
        capabilities=tuple(_text(item) for item in _list(value["caps"], 64)),
        time=_number(value["time"], MAX_TIME) if "time" in value else None,
    )


def _events(value: Mapping[str, Value]) -> Events:
    blocks = [_bytes(block, 1, MAX_FRAME) for block in _list(value["blocks"], MAX_IDS)]
    length = len(blocks) * SIGNATURE_LENGTH
    signatures = _bytes(value["sigs"], length, length)
    starts = range(0, length, SIGNATURE_LENGTH)
    return Events(
        tuple(
            SignedBlock(block, signatures[start : start + SIGNATURE_LENGTH])
            for block, start in zip(blocks, starts, strict=True)
        )
    )


def _presence(value: Mapping[str, Value]) -> Presence:
    return Presence(
        boot=_bytes(value["boot"], 8, 32),
        addresses=tuple(_text(item) for item in _list(value["addrs"], MAX_ADDRESSES)),
        version=_text(value["version"]),
        load=_number(value["load"], 2**16),
        slots=_number(value["slots"], 2**16),
    )


def _peers(value: Mapping[str, Value]) -> Peers:
    lines = value["peers"]
    _require(type(lines) is dict and len(lines) <= MAX_PEERS, "no map of peers, or too large")
    return Peers(
        {
            PeerId(_text(peer)): tuple(_text(item) for item in _list(addresses, MAX_ADDRESSES))
            for peer, addresses in cast("dict[str, Value]", lines).items()
        }
    )


_READERS: Final[Mapping[str, Callable[[Mapping[str, Value]], Message]]] = {
    "hello": _hello,
    "digest": lambda value: Digest(_bytes(value["digest"], 32, 32)),
    "events": _events,
    "want": lambda value: Want(_ids(value["ids"])),
    "stored": lambda value: Stored(_ids(value["ids"])),
    "beat": lambda value: Beat(_attempts(value["held"])),
    "probe": lambda value: Probe(_attempts(value["asked"])),
    "presence": _presence,
    "peers": _peers,
    "pruned": lambda value: Pruned(
        SignedBlock(_bytes(value["block"], 1, MAX_FRAME), _bytes(value["sig"], SIGNATURE_LENGTH, SIGNATURE_LENGTH))
    ),
}
