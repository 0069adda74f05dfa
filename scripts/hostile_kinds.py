"""The kinds of frames that the offender of hostile.py sends; each is sent again and again until there is no way on."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle, islice
from typing import Any, Final

import trio
from attrs import frozen
from libp2p.stream_muxer.yamux.yamux import TYPE_DATA, YAMUX_HEADER_FORMAT

from p2pwf.clock.messages import PROTOCOL as CLOCK
from p2pwf.clock.messages import Digest, Hello, Peers, Probe, Want
from p2pwf.core.ids import PeerId
from p2pwf.net.blobs import PROTOCOL as BLOB
from p2pwf.net.joins import PROTOCOL as JOIN
from p2pwf.net.logs import PROTOCOL as LOGS
from scripts.hostile_frames import (
    BATCH,
    IDENTIFY,
    MESH,
    PING,
    Attack,
    Pool,
    control,
    cut_short,
    forged,
    messages,
    mutated_rpcs,
    network_of,
    noise,
    notes,
    of_a_stranger,
    of_vectors,
    orphans,
    oversized,
    presence_of,
    raw_noise,
    rpc,
    signed_junk,
    subscriptions,
    unknown,
    unsigned,
    without_the_right,
)

Run = Callable[[Attack], Awaitable[None]]


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
                    await trio.lowlevel.checkpoint()  # the target may have ended it by now
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
        with trio.fail_after(1):
            while (link := links._links.get(attack.target)) is None:
                await trio.sleep(0.01)
        while attack.left() > 0:
            batch = b"".join(islice(frames, 16))
            attack.count(16)
            if not await link.outbox.put_wait(batch):
                return

    return run


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
    Kind("clock forged", True, on_clock(messages(forged))),
    Kind("clock without the right", True, on_clock(messages(without_the_right))),
    Kind("clock orphans", True, on_clock(messages(orphans, 200)), offence=False),
    Kind("clock notes", True, on_clock(messages(notes)), offence=False),
    Kind("clock later messages", True, on_clock(unknown), offence=False),
    Kind("clock digests", True, on_clock(messages(lambda _, n: Digest(n.to_bytes(32, "big")))), offence=False),
    Kind(
        "clock hellos",
        True,
        on_clock(messages(lambda a, _: Hello(network_of(a), b"b" * 16, bytes(32), {}, True, "x"))),
        offence=False,
    ),
    Kind("clock wants", True, on_clock(messages(lambda a, _: Want((network_of(a),) * 50))), offence=False),
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
    Kind("gossip unsigned", True, on_stream(MESH, rpc(unsigned))),
    Kind("gossip of strangers", True, on_stream(MESH, rpc(of_a_stranger)), offence=False),
    Kind("gossip control", True, on_stream(MESH, rpc(control)), offence=False),
    Kind("gossip subscriptions", True, on_stream(MESH, rpc(subscriptions)), offence=False),
    Kind("gossip signed junk", True, on_stream(MESH, rpc(signed_junk))),
    Kind("gossip presence", True, on_stream(MESH, rpc(presence_of, 2000)), offence=False),
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
