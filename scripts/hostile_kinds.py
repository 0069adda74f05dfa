"""The kinds of frames that the offender of hostile.py sends; each is sent again and again until there is no way on."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle, islice
from random import Random
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import define, field, frozen
from libp2p.pubsub.pb import rpc_pb2
from libp2p.stream_muxer.yamux.yamux import TYPE_DATA, YAMUX_HEADER_FORMAT

from p2pwf.clock.messages import PROTOCOL as CLOCK
from p2pwf.clock.messages import Digest, Events, Hello, Peers, Presence, Probe, Want, encode_message
from p2pwf.core.dagcbor import encode
from p2pwf.core.events import SignedBlock, author_event
from p2pwf.core.ids import Cid, PeerId, block_cid
from p2pwf.core.sign import Signer
from p2pwf.net.blobs import PROTOCOL as BLOB
from p2pwf.net.framing import frame
from p2pwf.net.joins import PROTOCOL as JOIN
from p2pwf.net.logs import PROTOCOL as LOGS
from p2pwf.net.network import Network
from p2pwf.net.stream import WireStream
from tests.fuzz.mutations import mutated, vectors

if TYPE_CHECKING:
    from scripts.hostile import Author

MESH: Final = "/meshsub/1.1.0"
IDENTIFY: Final = "/ipfs/id/1.0.0"
PING: Final = "/ipfs/ping/1.0.0"
POOL: Final = 400
"""Different frames of a kind; they are sent in turns, so that the offender is busy sending and not making."""
BATCH: Final = 64
"""Frames written at once."""


@define(eq=False)
class Attack:
    """One offender at work on one target."""

    net: Network
    target: PeerId
    address: str
    author: Author | None
    frames: int
    chance: Random = field(factory=lambda: Random(1))
    sent: int = 0
    failures: int = 0
    error: BaseException | None = None
    first: float | None = None
    lost: float | None = None

    async def connect(self) -> None:
        """Be connected; raises if the target does not let us."""
        if not self.net._connections.of(self.target):
            await self.net.dial(self.address)

    def count(self, number: int = 1) -> None:
        """Note frames sent, and when the first one was; the time of the first loss is kept as well."""
        if self.first is None:
            self.first = trio.current_time()
            trio.lowlevel.spawn_system_task(self._watch)
        self.sent += number

    async def _watch(self) -> None:
        await self.net._connections.wait_lost(self.target)
        self.lost = trio.current_time()

    def left(self) -> int:
        return self.frames - self.sent

    async def open(self, protocol: str) -> WireStream:
        return await self.net.open_to(self.target, protocol)


Run = Callable[[Attack], Awaitable[None]]
Pool = Callable[[Attack], list[bytes]]


@frozen
class Kind:
    """A kind of attack. `offence`: it breaks a rule, so who does it must be gone soon; else it waits or is refused."""

    name: str
    member: bool
    run: Run
    offence: bool = True


def on_stream(protocol: str, pool: Pool, per_stream: int = 10_000) -> Run:
    """Write frames on a stream, and open another when so many were written or it has ended."""
    made: dict[int, Iterator[bytes]] = {}

    async def run(attack: Attack) -> None:
        frames = made.setdefault(id(attack), cycle(pool(attack)))
        stream = await attack.open(protocol)
        try:
            with trio.move_on_after(1.0):
                for _ in range(0, per_stream, BATCH):
                    batch = list(islice(frames, min(BATCH, per_stream, max(1, attack.left()))))
                    attack.count(len(batch))
                    await stream.write(b"".join(batch))
                    if attack.left() <= 0 or not stream.usable:
                        break
                await stream.finish()
                while await stream.read_some():
                    pass
        finally:
            await stream.reset()

    return run


def on_clock(pool: Pool) -> Run:
    """Write frames on the clock stream that stands."""
    made: dict[int, Iterator[bytes]] = {}

    async def run(attack: Attack) -> None:
        frames = made.setdefault(id(attack), cycle(pool(attack)))
        links = attack.net._links
        with trio.fail_after(5):
            while (link := links._links.get(attack.target)) is None:
                await trio.sleep(0.01)
        while attack.left() > 0:
            batch = b"".join(islice(frames, 16))
            attack.count(16)
            if not await link.outbox.put_wait(batch):
                return

    return run


def framed(blocks: list[bytes]) -> list[bytes]:
    return [frame(block) for block in blocks]


def noise(attack: Attack) -> list[bytes]:
    """Framed random bytes."""
    return framed([attack.chance.randbytes(attack.chance.choice((1, 9, 100, 3000))) for _ in range(POOL)])


def raw_noise(attack: Attack) -> list[bytes]:
    """Random bytes without frames."""
    return [attack.chance.randbytes(1000) for _ in range(POOL)]


def oversized(_attack: Attack) -> list[bytes]:
    """Lengths beyond every limit."""
    return [b"\xff\xff\xff\xff\x0f" + bytes(500), b"\x80\x80\x80\x08" + bytes(500), b"\xff" * 11]


def of_vectors(name: str) -> Pool:
    """Valid messages, damaged and changed."""
    return lambda attack: framed([mutated(attack.chance, vectors(name)) for _ in range(POOL)])


def cut_short(name: str) -> Pool:
    """Valid messages with a part of them missing."""

    def pool(attack: Attack) -> list[bytes]:
        blocks = [attack.chance.choice(vectors(name)) for _ in range(POOL)]
        return framed([block[: attack.chance.randint(0, len(block) - 1)] for block in blocks if block])

    return pool


def messages(make: Callable[[Attack, int], Any], number: int = POOL) -> Pool:
    """Well-formed messages of the clock stream."""
    return lambda attack: framed([encode_message(make(attack, one)) for one in range(number)])


def _network(attack: Attack) -> Cid:
    assert attack.author is not None
    return attack.author.network


def _forged(attack: Attack, number: int) -> Events:
    assert attack.author is not None
    return Events((SignedBlock(attack.author.write({"n": number}).signed.block, bytes(64)),))


def _orphans(attack: Attack, number: int) -> Events:
    """Signed by a member, on events that there are not."""
    made = []
    for one in range(20):
        event = author_event(
            Signer((1000 + number).to_bytes(32, "big")),
            net=_network(attack),
            seq=0,
            prev=None,
            parents=[block_cid(b"%d %d" % (number, one))],
            lamport=9,
            time=0,
            type="x.note",
            body={"x": "y" * 200},
        )
        made.append(event.signed)
    return Events(tuple(made))


def _notes(attack: Attack, number: int) -> Events:
    """Valid, and of no effect: no fold looks at a type that is not known."""
    assert attack.author is not None
    return Events(tuple(attack.author.write({"n": number, "x": "y" * 500}).signed for _ in range(20)))


def _void(attack: Attack, number: int) -> Events:
    """Signed and well-formed, by a member, and without the right to it: an admission by somebody who is no admin."""
    assert attack.author is not None
    attack.author.forget()
    peer = Signer((5000 + number).to_bytes(32, "big")).peer_id
    body: dict[str, object] = {"peer": peer, "roles": ["run"], "name": "x", "labels": [], "slots": 1, "tip": None}
    return Events((attack.author.write(body, "member.add").signed,))


def rpc(make: Callable[[Attack, int], rpc_pb2.RPC], number: int = POOL) -> Pool:
    return lambda attack: framed([bytes(make(attack, one).SerializeToString()) for one in range(number)])


def _topic(attack: Attack) -> str:
    return attack.net._host.pubsub.topic


def _unsigned(attack: Attack, number: int) -> rpc_pb2.RPC:
    me = attack.net._host.swarm.self_id.to_bytes()
    message = rpc_pb2.Message(
        from_id=me,
        data=b"%d" % number,
        seqno=b"%d" % number,
        topicIDs=[_topic(attack)],
        signature=b"s" * 64,
        key=b"junk",
    )
    return rpc_pb2.RPC(publish=[message] * 8)


def _stranger(attack: Attack, number: int) -> rpc_pb2.RPC:
    message = rpc_pb2.Message(from_id=b"\x12\x20" + bytes(32), data=b"%d" % number, topicIDs=[_topic(attack), "other"])
    return rpc_pb2.RPC(publish=[message] * 8)


def _control(attack: Attack, number: int) -> rpc_pb2.RPC:
    ids = [b"%d %d" % (number, one) for one in range(200)]
    return rpc_pb2.RPC(
        control=rpc_pb2.ControlMessage(
            ihave=[rpc_pb2.ControlIHave(topicID=_topic(attack), messageIDs=ids)],
            iwant=[rpc_pb2.ControlIWant(messageIDs=ids)],
            graft=[rpc_pb2.ControlGraft(topicID=_topic(attack)), rpc_pb2.ControlGraft(topicID="nowhere")],
            prune=[rpc_pb2.ControlPrune(topicID=_topic(attack))],
        )
    )


def _subscriptions(_attack: Attack, number: int) -> rpc_pb2.RPC:
    return rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=f"t{number} {n}") for n in range(50)])


def mutated_rpcs(attack: Attack) -> list[bytes]:
    whole = [bytes(make(attack, 1).SerializeToString()) for make in (_unsigned, _stranger, _control, _subscriptions)]
    return framed([mutated(attack.chance, tuple(whole)) for _ in range(POOL)])


def _signed(attack: Attack, number: int, data: bytes) -> rpc_pb2.RPC:
    """Gossip as a member signs it."""
    assert attack.author is not None
    message = rpc_pb2.Message(
        from_id=attack.net._host.swarm.self_id.to_bytes(),
        data=data,
        seqno=number.to_bytes(8, "big"),
        topicIDs=[_topic(attack)],
    )
    message.signature = attack.author.signer._key.sign(b"libp2p-pubsub:" + message.SerializeToString()).signature
    return rpc_pb2.RPC(publish=[message])


def _signed_junk(attack: Attack, number: int) -> rpc_pb2.RPC:
    return _signed(attack, number, b"junk %d" % number)


def _presence(attack: Attack, number: int) -> rpc_pb2.RPC:
    presence = Presence(number.to_bytes(16, "big"), ("/ip4/127.0.0.1/tcp/1",), "x", 0, 0)
    return _signed(attack, number, encode_message(presence))


async def open_unknown(attack: Attack) -> None:
    """Ask for protocols that there are not."""
    for _ in range(200):
        attack.count()
        try:
            await (await attack.open(f"/p2pwf/none/{attack.sent}")).reset()
        except Exception:  # noqa: BLE001 - refused, which is the answer
            attack.failures += 1
        await attack.connect()


def open_what_is_not_offered(protocol: str) -> Run:
    """Ask for a protocol of members."""

    async def run(attack: Attack) -> None:
        attack.count()
        await attack.open(protocol)
        raise AssertionError(f"a stranger was let in to {protocol}")

    return run


async def open_without_a_word(attack: Attack) -> None:
    """Streams that never say what they want."""
    for _ in range(200):
        attack.count()
        await attack.net._connections.of(attack.target)[0].conn.new_stream()


async def past_the_window(attack: Attack) -> None:
    """Yamux data beyond what was granted."""
    stream = await attack.open(PING)
    assert stream.conn is not None
    muxed: Any = stream.conn.muxed_conn
    number: int = stream._stream.muxed_stream.stream_id  # type: ignore[attr-defined]
    data = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, number, 60_000) + bytes(60_000)
    for _ in range(500):
        attack.count()
        await muxed._write_frame(data)


async def muxer_junk(attack: Attack) -> None:
    """Bytes that are no frames of the multiplexer, encrypted as they should be."""
    muxed: Any = attack.net._connections.of(attack.target)[0].muxed
    for _ in range(100):
        attack.count()
        await muxed._write_frame(attack.chance.randbytes(500))


async def tcp_junk(attack: Attack) -> None:
    """Sockets that never become a connection."""
    _, _, host, _, port, *_ = attack.address.split("/")
    for _ in range(50):
        attack.count()
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(attack.chance.randbytes(300))


async def come_and_go(attack: Attack) -> None:
    """Connections that ask for nothing."""
    await attack.connect()
    attack.count()
    await attack.net.drop(attack.target)


async def sit(attack: Attack) -> None:
    """A connection that asks for nothing, and stays."""
    attack.count()
    await attack.net._connections.wait_lost(attack.target)
    attack.sent = attack.frames


def unknown(_attack: Attack) -> list[bytes]:
    """Messages that a newer peer may send."""
    return framed([encode({"t": f"later {number}", "x": number}) for number in range(POOL)])


JOIN_VALID: Final = tuple(block for block in vectors("join"))
FOR_MEMBERS: Final = (
    ("clock", CLOCK),
    ("gossip", MESH),
    ("blob", BLOB),
    ("logs", LOGS),
    ("identify", IDENTIFY),
    ("ping", PING),
)

KINDS: Final = (
    # A stranger
    Kind("sits", False, sit),
    Kind("comes and goes", False, come_and_go, offence=False),
    Kind("tcp junk", False, tcp_junk, offence=False),
    *(Kind(f"{name} of members", False, open_what_is_not_offered(protocol)) for name, protocol in FOR_MEMBERS),
    Kind("stranger's unknown protocol", False, open_unknown),
    Kind("stranger's join random", False, on_stream(JOIN, noise, 1)),
    Kind("stranger's join raw", False, on_stream(JOIN, raw_noise, 1)),
    Kind("stranger's join oversized", False, on_stream(JOIN, oversized, 1)),
    Kind("stranger's join truncated", False, on_stream(JOIN, cut_short("join"), 1)),
    Kind("stranger's join mutated", False, on_stream(JOIN, of_vectors("join"), 1)),
    Kind("stranger's muxer junk", False, muxer_junk),
    # A member
    Kind("clock random", True, on_clock(noise)),
    Kind("clock truncated", True, on_clock(cut_short("clock"))),
    Kind("clock oversized", True, on_clock(oversized)),
    Kind("clock mutated", True, on_clock(of_vectors("clock"))),
    Kind("clock forged", True, on_clock(messages(_forged))),
    Kind("clock without the right", True, on_clock(messages(_void))),
    Kind("clock orphans", True, on_clock(messages(_orphans, 200)), offence=False),
    Kind("clock notes", True, on_clock(messages(_notes)), offence=False),
    Kind("clock later messages", True, on_clock(unknown), offence=False),
    Kind("clock digests", True, on_clock(messages(lambda _, n: Digest(n.to_bytes(32, "big")))), offence=False),
    Kind(
        "clock hellos",
        True,
        on_clock(messages(lambda a, _: Hello(_network(a), b"b" * 16, bytes(32), {}, True, "x"))),
        offence=False,
    ),
    Kind("clock wants", True, on_clock(messages(lambda a, _: Want((_network(a),) * 50))), offence=False),
    Kind("clock probes", True, on_clock(messages(lambda *_: Probe(()))), offence=False),
    Kind(
        "clock peers",
        True,
        on_clock(messages(lambda *_: Peers({PeerId(f"p{n}"): ("/x",) for n in range(50)}))),
        offence=False,
    ),
    Kind("gossip random", True, on_stream(MESH, noise)),
    Kind("gossip oversized", True, on_stream(MESH, oversized)),
    Kind("gossip mutated", True, on_stream(MESH, mutated_rpcs)),
    Kind("gossip unsigned", True, on_stream(MESH, rpc(_unsigned))),
    Kind("gossip of strangers", True, on_stream(MESH, rpc(_stranger)), offence=False),
    Kind("gossip control", True, on_stream(MESH, rpc(_control)), offence=False),
    Kind("gossip subscriptions", True, on_stream(MESH, rpc(_subscriptions)), offence=False),
    Kind("gossip signed junk", True, on_stream(MESH, rpc(_signed_junk))),
    Kind("gossip presence", True, on_stream(MESH, rpc(_presence, 2000)), offence=False),
    *(
        Kind(f"{name} {how}", True, on_stream(protocol, pool, 1 if name in ("logs", "join") else 200))
        for name, protocol in (("blob", BLOB), ("logs", LOGS), ("join", JOIN))
        for how, pool in (
            ("random", noise),
            ("raw", raw_noise),
            ("oversized", oversized),
            ("truncated", cut_short(name)),
            ("mutated", of_vectors(name)),
        )
    ),
    Kind("pings", True, on_stream(PING, raw_noise), offence=False),
    Kind("identify", True, on_stream(IDENTIFY, noise, 1), offence=False),
    Kind("unknown protocol", True, open_unknown, offence=False),
    Kind("streams without a word", True, open_without_a_word),
    Kind("past the window", True, past_the_window),
    Kind("muxer junk", True, muxer_junk),
)
