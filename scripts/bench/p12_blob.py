"""P12: a blob of 64 MiB between two nodes, beside a bare libp2p stream that carries as much, in one run.

    python scripts/bench/p12_blob.py [--rounds N]

Ours is the blob protocol between two processes with a node's store at both ends: hashed by the sender, hashed, synced
and kept by the receiver. The bare stream is the unchanged library between two further processes: one stream, written
and read in pieces of 1 MiB, checked by nobody. Rounds alternate, so that a busy machine slows both. MB/s, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import trio
from libp2p import new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr

from p2pwf.core.ids import PeerId, parse_cid
from p2pwf.net import NetConfig
from p2pwf.net.network import Network
from p2pwf.net.opened import open_network
from p2pwf.store.blobs import BlobStore

SIZE = 64 << 20
PIECE = 1 << 20
ROUNDS = 5
BARE = TProtocol("/bench/bare/1.0.0")
ANY_PORT = "/ip4/127.0.0.1/tcp/0"
QUOTA = 1 << 40


class Everyone:
    """A gate that lets everyone in: what is measured is the transfer."""

    def is_member(self, peer: PeerId) -> bool:
        """Yes."""
        return bool(peer)


def config() -> NetConfig:
    """A host on loopback, on any port."""
    return NetConfig(listen=[ANY_PORT], topic="bench", boot=os.urandom(16))


async def take_events(net: Network) -> None:
    """Take the events as a node does."""
    async for _ in net.events:
        pass


async def serve_ours(folder: Path) -> None:
    """The sending node: says its address and the CID, then serves until its input ends."""
    store = BlobStore(folder, QUOTA)
    cid = store.put_bytes(random.Random(1).randbytes(SIZE))
    async with open_network(config(), os.urandom(32), Everyone()) as net, trio.open_nursery() as nursery:
        net.serve_blobs(store)
        nursery.start_soon(take_events, net)
        print(net.addresses()[0], cid.text, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()
    store.close()


async def fetch_ours(folder: Path, address: str, cid: str) -> None:
    """The receiving node: for each line of its input, fetches the blob into a new store and says the seconds."""
    async with open_network(config(), os.urandom(32), Everyone()) as net, trio.open_nursery() as nursery:
        nursery.start_soon(take_events, net)
        source = await net.dial(address)
        while await trio.to_thread.run_sync(sys.stdin.readline):
            with tempfile.TemporaryDirectory(dir=folder) as name:
                store = BlobStore(Path(name), QUOTA)
                start = time.perf_counter()
                await net.fetch_blob(parse_cid(cid), [source], store)
                print(time.perf_counter() - start, flush=True)
                store.close()
        nursery.cancel_scope.cancel()


def bare_host() -> IHost:
    """A host of the library as it is, with Noise and Yamux."""
    key = create_new_key_pair(os.urandom(32))
    return new_host(
        key_pair=key,
        sec_opt={NOISE: Transport(key, noise_privkey=create_noise_key().private_key)},
        muxer_opt={TProtocol(YAMUX): Yamux},
        connection_config=ConnectionConfig(min_connections=0, low_watermark=0),
    )


async def serve_bare() -> None:
    """The sending end of the bare stream."""
    host = bare_host()
    piece = random.Random(1).randbytes(PIECE)

    async def send(stream: INetStream) -> None:
        await stream.read(1)
        for _ in range(SIZE // PIECE):
            await stream.write(piece)
        await stream.close()

    host.set_stream_handler(BARE, send)
    async with host.run(listen_addrs=[Multiaddr(ANY_PORT)]):
        print(host.get_addrs()[0], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        await host.close()


async def fetch_bare(address: str) -> None:
    """The receiving end of the bare stream."""
    host = bare_host()
    info = info_from_p2p_addr(Multiaddr(address))
    async with host.run(listen_addrs=[]):
        await host.connect(info)
        while await trio.to_thread.run_sync(sys.stdin.readline):
            start = time.perf_counter()
            stream = await host.new_stream(info.peer_id, [BARE])
            await stream.write(b"x")
            got = 0
            try:
                while got < SIZE:
                    got += len(await stream.read(PIECE))
            except StreamEOF:
                sys.exit("the bare stream ended early")
            print(time.perf_counter() - start, flush=True)
            await stream.close()
        await host.close()


def start(*role: str) -> subprocess.Popen[str]:
    """This script in one of its roles, as a process of its own."""
    return subprocess.Popen([sys.executable, __file__, *role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(process: subprocess.Popen[str], text: str = "") -> str:
    """Send a line if there is one to send; the next line of the answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    if text:
        process.stdin.write(text)
        process.stdin.flush()
    return process.stdout.readline().strip()


def compare(rounds: int) -> None:
    """Run both, print the one line."""
    with tempfile.TemporaryDirectory() as folder:
        processes = [start("serve-ours", f"{folder}/source"), start("serve-bare")]
        try:
            address, cid = say(processes[0]).split()
            processes.append(start("fetch-ours", folder, address, cid))
            processes.append(start("fetch-bare", say(processes[1])))
            ours, bare = processes[2:]
            for process in (ours, bare):
                say(process, "warm up\n")
            seconds: list[tuple[float, float]] = []
            for _ in range(rounds):
                seconds.append((float(say(ours, "go\n")), float(say(bare, "go\n"))))  # noqa: PERF401 - in turns
        finally:
            for process in processes:
                process.terminate()
                process.wait()
    mine, reference = (SIZE / 1e6 / median(column) for column in zip(*seconds, strict=True))
    print(
        json.dumps(
            {
                "name": "P12 blob of 64 MiB",
                "ours": round(mine, 1),
                "reference": round(reference, 1),
                "ratio": round(mine / reference, 2),
                "unit": "MB/s",
                "n": rounds,
            }
        )
    )


def main() -> None:
    """Parse the command line: without a role, compare."""
    parser = argparse.ArgumentParser(description="blob of 64 MiB beside a bare stream")
    parser.add_argument("role", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    match arguments.role:
        case []:
            compare(arguments.rounds)
        case ["serve-ours", folder]:
            trio.run(serve_ours, Path(folder))
        case ["fetch-ours", folder, address, cid]:
            trio.run(fetch_ours, Path(folder), address, cid)
        case ["serve-bare"]:
            trio.run(serve_bare)
        case ["fetch-bare", address]:
            trio.run(fetch_bare, address)


if __name__ == "__main__":
    main()
