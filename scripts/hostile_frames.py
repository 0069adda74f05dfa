"""What the offender of hostile.py sends: frames of every protocol, broken and whole, made once and sent in turns."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import define, field
from libp2p.pubsub.pb import rpc_pb2

from p2pwf.clock.messages import Events, Presence, encode_message
from p2pwf.core.dagcbor import encode
from p2pwf.core.events import SignedBlock, author_event
from p2pwf.core.ids import Cid, PeerId, block_cid
from p2pwf.core.sign import Signer
from p2pwf.net.framing import frame
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


Pool = Callable[[Attack], list[bytes]]


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


def network_of(attack: Attack) -> Cid:
    assert attack.author is not None
    return attack.author.network


def forged(attack: Attack, number: int) -> Events:
    assert attack.author is not None
    return Events((SignedBlock(attack.author.write({"n": number}).signed.block, bytes(64)),))


def orphans(attack: Attack, number: int) -> Events:
    """Signed by a member, on events that there are not."""
    made = []
    for one in range(20):
        event = author_event(
            Signer((1000 + number).to_bytes(32, "big")),
            net=network_of(attack),
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


def notes(attack: Attack, number: int) -> Events:
    """Valid, and of no effect: no fold looks at a type that is not known."""
    assert attack.author is not None
    return Events(tuple(attack.author.write({"n": number, "x": "y" * 500}).signed for _ in range(20)))


def without_the_right(attack: Attack, number: int) -> Events:
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


def unsigned(attack: Attack, number: int) -> rpc_pb2.RPC:
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


def of_a_stranger(attack: Attack, number: int) -> rpc_pb2.RPC:
    message = rpc_pb2.Message(from_id=b"\x12\x20" + bytes(32), data=b"%d" % number, topicIDs=[_topic(attack), "other"])
    return rpc_pb2.RPC(publish=[message] * 8)


def control(attack: Attack, number: int) -> rpc_pb2.RPC:
    ids = [b"%d %d" % (number, one) for one in range(200)]
    return rpc_pb2.RPC(
        control=rpc_pb2.ControlMessage(
            ihave=[rpc_pb2.ControlIHave(topicID=_topic(attack), messageIDs=ids)],
            iwant=[rpc_pb2.ControlIWant(messageIDs=ids)],
            graft=[rpc_pb2.ControlGraft(topicID=_topic(attack)), rpc_pb2.ControlGraft(topicID="nowhere")],
            prune=[rpc_pb2.ControlPrune(topicID=_topic(attack))],
        )
    )


def subscriptions(_attack: Attack, number: int) -> rpc_pb2.RPC:
    return rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=f"t{number} {n}") for n in range(50)])


def mutated_rpcs(attack: Attack) -> list[bytes]:
    whole = [bytes(make(attack, 1).SerializeToString()) for make in (unsigned, of_a_stranger, control, subscriptions)]
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


def signed_junk(attack: Attack, number: int) -> rpc_pb2.RPC:
    return _signed(attack, number, b"junk %d" % number)


def presence_of(attack: Attack, number: int) -> rpc_pb2.RPC:
    presence = Presence(number.to_bytes(16, "big"), ("/ip4/127.0.0.1/tcp/1",), "x", 0, 0)
    return _signed(attack, number, encode_message(presence))


def unknown(_attack: Attack) -> list[bytes]:
    """Messages that a newer peer may send."""
    return framed([encode({"t": f"later {number}", "x": number}) for number in range(POOL)])
