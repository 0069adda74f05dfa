"""What a peer can send, as targets: each takes any bytes and fails only if a promise about bad input is broken.

The promise: a value, or the one error that the decoder names; what is read is canonical, so that it is written again as
the same bytes; and no frame brings the engine to a bug.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable
from itertools import count
from typing import Final

from google.protobuf.message import DecodeError
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2

from p2pwf.clock.messages import Events, MessageError, decode_message, encode_message
from p2pwf.core.dagcbor import DagCborError, Value, decode, encode
from p2pwf.core.events import EventError, SignedBlock, parse
from p2pwf.core.ids import DAG_CBOR_PREFIX, Cid, block_cid
from p2pwf.core.sign import Signer, verify
from p2pwf.core.tickets import parse_ticket
from p2pwf.engine import Engine, EngineConfig, found
from p2pwf.engine.inputs import AddMember, Frame, Gossip, Input, Now, PeerUp, Tick
from p2pwf.engine.outputs import Alarm
from p2pwf.errors import RemoteError, UsageError
from p2pwf.net import blob_messages, joins, links, logs
from p2pwf.net.framing import FrameDecoder, frame
from p2pwf.net.gossip import message_id
from p2pwf.net.guards import require_signature
from p2pwf.net.swarm import peer_text
from p2pwf.node.planner import WorkflowPlanner
from p2pwf.runner.manifest import parse as parse_manifest
from tests.fuzz import content_targets, transport_targets
from tests.fuzz.mutations import vectors

NOTHING: Final = bytes(64)
LIMIT: Final = 1_000_000
INPUTS_OF_ONE_ENGINE: Final = 2000
"""Then a new one, so that what an input found is near what led to it."""


def codec(data: bytes) -> None:
    """Any block."""
    try:
        value = decode(data)
    except DagCborError:
        return
    assert encode(value) == data


def event(data: bytes) -> None:
    """A block as an event, with a signature that is none."""
    try:
        found = parse(SignedBlock(data, NOTHING))
    except EventError:
        return
    assert encode(decode(data)) == data
    assert found.cid == block_cid(data)
    assert not verify(found.author, data, NOTHING)


def clock_frame(data: bytes) -> None:
    """A frame of the clock stream, or the data of a gossip message."""
    try:
        message = decode_message(data)
    except MessageError:
        return
    assert encode(decode(data, LIMIT)) == data
    assert message is None or decode_message(encode_message(message)) == message


def gossip_frame(data: bytes) -> None:
    """A frame of the gossip stream: what of it is judged message by message may raise, and is counted there."""
    rpc = rpc_pb2.RPC()
    try:
        rpc.ParseFromString(data)
    except DecodeError:
        return
    for message in rpc.publish:
        assert len(message_id(message)) == 32
        if len(message.from_id) <= 64:
            peer_text(ID(message.from_id))
        signed = False
        try:
            signed = require_signature(message)
        except Exception:  # noqa: BLE001 - the library's parsers of keys raise all kinds; the caller takes them all
            signed = True
        assert signed


def _message(*readers: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        for read in readers:
            try:
                read(data)
            except RemoteError:
                continue
            assert encode(decode(data)) == data

    return target


def opening(data: bytes) -> None:
    """How a clock stream begins."""
    _message(links.decode_opening)(data)


def framing(data: bytes) -> None:
    """Frames out of any bytes, cut anywhere."""
    cut = data[0] + 1 if data else 1
    decoder, taken, given = FrameDecoder(), bytearray(), data[1:]
    try:
        for start in range(0, len(given), cut):
            decoder.feed(given[start : start + cut])
            while (one := decoder.next_frame(1000)) is not None:
                taken += frame(one)
    except RemoteError:
        return
    assert given.startswith(taken)
    assert len(taken) + decoder.pending == len(given)


def ticket(data: bytes) -> None:
    """What is pasted as a ticket: as text, and as the map in one."""
    for text in (data.decode("latin-1"), "p2pwf1" + b32encode(data).decode().rstrip("=").lower()):
        try:
            read = parse_ticket(text)
        except UsageError as error:
            assert "\n" not in error.message  # noqa: PT017 - raising is as good as returning here
        else:
            assert parse_ticket(read.to_text()) == read


def manifest(data: bytes) -> None:
    """The tree of a source, which comes as a blob."""
    try:
        read = parse_manifest(data)
    except RemoteError:
        return
    assert encode(decode(data)) == data
    assert not any(file.path.startswith("/") or ".." in file.path.split("/") for file in read.files)


class _Bench:
    """An engine with a member beside it, who sends all that is tried."""

    def __init__(self) -> None:
        self._times = count(1)
        key, self.member = Signer(b"\1" * 32), Signer(b"\2" * 32)
        founder = {"name": "one", "labels": ["linux"], "slots": 2}
        genesis = found(key, self._now(), nonce=b"n" * 16, name="fuzz", private=False, founder=founder)
        config = EngineConfig(b"boot" * 2, "fuzz", 2, WorkflowPlanner())
        self.network = genesis.cid
        self.engine = Engine(key, genesis.cid, config, self._now())
        self.engine.load([genesis.signed], {})
        self._take(AddMember("a", self.member.peer_id, ("run", "submit"), "two", ("linux",), 2))
        self._take(PeerUp(self.member.peer_id))
        self._take(Tick())
        self.left = INPUTS_OF_ONE_ENGINE
        self.run: Cid | None = None

    def _now(self) -> Now:
        number = next(self._times)
        return Now(number * 0.01, 1_700_000_000_000 + number * 10)

    def _take(self, given: Input) -> None:
        for output in self.engine.handle(given, self._now()):
            if isinstance(output, Alarm) and "bug" in output.message:
                _benches.clear()
                raise AssertionError(output.message)

    def give(self, data: bytes) -> None:
        """The data as a frame and as gossip."""
        self.left -= 1
        for one in (Frame(self.member.peer_id, data), Gossip(self.member.peer_id, data)):
            self._take(one)
        if self.left % 50 == 0:
            self._take(Tick())

    def write(self, value: dict[str, Value]) -> None:
        """The map as the next event of the member, well linked and signed: its type, time and body are tried."""
        dag = self.engine.desk.clock.dag
        tips = dag.tips(self.member.peer_id)
        tip = tips[-1] if tips else None
        head = max(dag, key=lambda node: node.order) if tip is None else tip
        fields = {
            **{name: self._known(one) for name, one in value.items()},
            "net": self.network,
            "author": self.member.peer_id,
            "seq": 0 if tip is None else tip.seq + 1,
            "prev": None if tip is None else tip.cid,
            "parents": [head.cid],
            "lamport": head.lamport + 1,
        }
        if value.get("after") and self.run is not None and self.run in dag:
            fields["after"] = [self.run]
            fields["parents"] = sorted({head.cid, self.run})
            fields["lamport"] = 1 + max(head.lamport, dag[self.run].lamport)
        block = encode(fields)
        signed = SignedBlock(block, self.member.sign(block))
        self.give(encode_message(Events((signed,))))
        cid = block_cid(block)
        if value.get("type") == "run.submit" and cid in dag:
            self.run = cid

    def _known(self, value: object) -> object:
        """Links to events lead to the run that there is."""
        if isinstance(value, Cid) and value.startswith(DAG_CBOR_PREFIX):
            return self.run or self.network
        if isinstance(value, list):
            return [self._known(one) for one in value]
        return {name: self._known(one) for name, one in value.items()} if isinstance(value, dict) else value


_benches: list[_Bench] = []


def _bench() -> _Bench:
    if not _benches or not _benches[0].left:
        _benches[:] = [_Bench()]
    return _benches[0]


def engine(data: bytes) -> None:
    """A frame, and the same as gossip, to an engine: whatever it says, it meets no bug of ours."""
    _bench().give(data)


def signed_event(data: bytes) -> None:
    """A block as the next event of a member: whatever its body says, the folds meet no bug of ours."""
    try:
        value = decode(data)
        if isinstance(value, dict):
            _bench().write(value)
    except DagCborError:
        return


CONTENTS: Final = ("log", "report", "cache_index", "sealed", "ledger_node")

PEER_TARGETS: Final[dict[str, tuple[Callable[[bytes], None], str]]] = {
    "codec": (codec, "events"),
    "event": (event, "events"),
    "signed_event": (signed_event, "events"),
    "clock_frame": (clock_frame, "clock"),
    "engine": (engine, "clock"),
    "gossip_frame": (gossip_frame, "gossip"),
    "opening": (opening, "transport"),
    "framing": (framing, "transport"),
    "blob": (
        _message(blob_messages.decode_request, blob_messages.decode_fetch_answer, blob_messages.decode_held),
        "blob",
    ),
    "logs": (_message(logs.decode_request, logs.decode_head), "logs"),
    "join": (_message(joins.decode_request, joins.decode_reply), "join"),
    "ticket": (ticket, "tickets"),
    "presence": (clock_frame, "presence"),
    "manifest": (manifest, "source"),
    "unpack": (content_targets.unpack, "source"),
    "log": (content_targets.log, "log"),
    "report": (content_targets.report, "report"),
    "cache_index": (content_targets.cache_index, "cache_index"),
    "sealed": (content_targets.sealed, "sealed"),
    "ledger_node": (content_targets.ledger_node, "ledger_node"),
    **{name: (check, name) for name, check in transport_targets.TRANSPORT_TARGETS.items()},
}
"""Each target with what its inputs are made of: vectors, or what `corpus` makes."""


def corpus(name: str) -> tuple[bytes, ...]:
    """What the inputs of a target are made of."""
    if name in transport_targets.CORPORA:
        return transport_targets.CORPORA[name]
    if name in CONTENTS:
        return content_targets.contents(name)
    if name == "presence":
        return tuple(block for block in vectors("clock") if b"presence" in block)
    if name != "gossip":
        return vectors(name)
    key = Signer(b"\3" * 32)
    sender = ID.from_base58(key.peer_id).to_bytes()
    message = rpc_pb2.Message(from_id=sender, data=vectors("clock")[0], seqno=b"1" * 8, topicIDs=["t"])
    message.signature = key._key.sign(b"libp2p-pubsub:" + message.SerializeToString()).signature
    control = rpc_pb2.ControlMessage(
        ihave=[rpc_pb2.ControlIHave(topicID="t", messageIDs=[b"1" * 32])],
        iwant=[rpc_pb2.ControlIWant(messageIDs=[b"1" * 32])],
        graft=[rpc_pb2.ControlGraft(topicID="t")],
        prune=[rpc_pb2.ControlPrune(topicID="t")],
    )
    topics = [rpc_pb2.RPC.SubOpts(subscribe=True, topicid="t")]
    rpcs = (rpc_pb2.RPC(publish=[message]), rpc_pb2.RPC(control=control), rpc_pb2.RPC(subscriptions=topics))
    return tuple(bytes(rpc.SerializeToString()) for rpc in rpcs)
