"""A node under attack: real processes on loopback, one honest member, and a peer that breaks every rule it can.

    PYTHONPATH=. python scripts/hostile.py [--frames N] [--seconds S] [--only NAME,…]

The node is `p2pwf up` in a process of its own, the honest member another process; it writes an event 20 times a second
and asks for it back, so what it measures is how long its events take to be accepted and stored. The offender sends up
to N frames of each kind (`hostile_kinds.py`), as an outsider or a member, each kind under an identity of its own, and
stops when it is kept out or S seconds have passed. Prints one JSON line: of each kind what was sent, how much of it got
through in a second, after how many seconds the offender's connection was closed, the honest latencies, the growth of
the node's memory, what the node counted, and a verdict:

    gone               its connection was closed within 2 s of the first frame
    within the rules   it breaks no rule and is only much: it is let wait, and what it gets through shows that
    NOT GONE           it breaks a rule, and was still there

Ends with 1 if a promise was not kept, by any kind: the node lives and met no bug of ours, honest events pass within 1 s
at p99, memory grows by no more than 50 MB, and who breaks a rule is gone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import trio

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from p2pwf.clock.messages import Events, Want, decode_message, encode_message  # noqa: E402 - from this checkout
from p2pwf.control.client import Client  # noqa: E402
from p2pwf.core.events import Event, author_event  # noqa: E402
from p2pwf.core.ids import Cid, PeerId, block_cid, parse_cid  # noqa: E402
from p2pwf.core.sign import Signer  # noqa: E402
from p2pwf.errors import P2pwfError  # noqa: E402
from p2pwf.net.network import Network  # noqa: E402
from p2pwf.net.opened import open_network  # noqa: E402
from p2pwf.net.types import Frame, NetConfig, PeerUp, Timing  # noqa: E402
from scripts.hostile_frames import Attack  # noqa: E402
from scripts.hostile_kinds import KINDS, Kind  # noqa: E402

MAX_P99: Final = 1.0
MAX_GROWTH: Final = 50.0
MAX_GONE: Final = 2.0
READY_SECONDS: Final = 60
EVERY: Final = 0.05
"""Seconds between two honest events."""
LOST: Final = 20.0
"""Seconds after which an honest event counts as not passed."""
BANNED_LOOKS: Final = 5
"""Connections tried in vain before an offender takes it that it is kept out."""
COUNTED: Final = (
    *(
        "frame_let_wait",
        "banned",
        "banned_address",
        "connection_banned",
        "connection_banned_address",
        "stranger_closed",
    ),
    *("strike_flood", "strike_protocol", "strike_clock", "strike_gossip_frame", "strike_gossip_message"),
    *("strike_reported", "strike_too_many_streams", "strike_window", "stream_refused", "negotiation_failed"),
    *("frame_let_wait", "gossip_over_rate", "gossip_control_over_rate", "gossip_from_no_member", "handshake_failed"),
)
"""What the node counts that says how it met an attack."""


dial = trio.open_tcp_stream
source = "127.0.0.1"
"""The address that connections are made from: each kind has one of its own, since addresses are banned."""


async def dial_from_source(host: str, port: int) -> trio.SocketStream:
    return await dial(host, port, local_address=source)


class Everyone:
    """An offender's, and the measuring member's, own gate."""

    def is_member(self, peer: PeerId) -> bool:
        return True


def config(network: str) -> NetConfig:
    timing = Timing(stranger_idle=30.0, retry_first=0.05)
    return NetConfig(listen=["/ip4/127.0.0.1/tcp/0"], topic=f"p2pwf/2/{network}", boot=os.urandom(16), timing=timing)


class Author:
    """Writes events of its own in a network that it knows only the admission of."""

    def __init__(self, seed: bytes, network: Cid, admission: dict[str, Any]) -> None:
        self.signer = Signer(seed)
        self.network = network
        self._first = parse_cid(admission["cid"])
        self._lamport = int(admission["lamport"])
        self._last: Event | None = None

    def forget(self) -> None:
        """Write the next event as if it were the first."""
        self._last = None

    def write(self, body: dict[str, object], kind: str = "x.note") -> Event:
        last = self._last
        self._last = author_event(
            self.signer,
            net=self.network,
            seq=0 if last is None else last.seq + 1,
            prev=None if last is None else last.cid,
            parents=[self._first if last is None else last.cid],
            lamport=1 + (self._lamport if last is None else last.lamport),
            time=1,
            type=kind,
            body=body,
        )
        return self._last


class Target:
    """The node."""

    def __init__(self, folder: Path) -> None:
        self.client = Client(folder)
        words = ["up", "--json", "--data-dir", str(folder), "--listen", "/ip4/127.0.0.1/tcp/0", "--name", "target"]
        self._errors = folder.with_suffix(".err").open("w")
        line = [sys.executable, "-m", "p2pwf.cli.main", *words]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=self._errors, cwd=ROOT, text=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        if not ready:
            raise SystemExit(f"the node did not come up:\n{folder.with_suffix('.err').read_text()}")
        info = json.loads(ready)
        self.peer = PeerId(info["peer_id"])
        self.network = parse_cid(info["network"])
        self.address = next(one for one in info["addrs"] if one.startswith("/ip4/127."))

    def admit(self, seed: bytes) -> dict[str, Any]:
        """Make the peer of a seed a member; the event that does."""
        peer = Signer(seed).peer_id
        self.client.call("POST", "peers", body={"peer_id": peer, "roles": ["run", "submit"]})
        lines = self.client.stream("clock", "log")
        found = [line for line in lines if line["type"] == "member.add" and line["body"]["peer"] == peer]
        return cast("dict[str, Any]", found[-1])

    def counts(self) -> dict[str, int]:
        """What the network of the node has counted."""
        return cast("dict[str, int]", self.client.call("GET", "stats")["net"]["counts"])

    def memory(self) -> float:
        """Resident memory, in MB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self._errors.close()
            if self.process.stdout is not None:
                self.process.stdout.close()


def p99_of(latencies: Iterable[float], percent: int = 99) -> float:
    """That percentile in seconds, an event that was lost counting as LOST; 0.0 if there are none."""
    ordered = sorted(LOST if one < 0 else one for one in latencies)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


async def honest(seed: bytes, network: str, admission: dict[str, Any], address: str) -> None:
    """The honest member, in a process of its own: prints a latency for each event, -1 for one that did not pass."""
    author = Author(seed, parse_cid(network), admission)
    waiting: dict[Cid, trio.Event] = {}
    linked = trio.Event()

    async def listen(net: Network) -> None:
        async for event in net.events:
            if isinstance(event, PeerUp):
                linked.set()
            elif isinstance(event, Frame):
                event.handled()
                message = decode_message(event.data)
                if isinstance(message, Events):
                    for signed in message.events:
                        for cid in [cid for cid in waiting if cid.endswith(_digest(signed.block))]:
                            waiting.pop(cid).set()

    async with open_network(config(network), seed, Everyone()) as net, trio.open_nursery() as nursery:
        nursery.start_soon(listen, net)
        nursery.start_soon(_end_with_stdin, nursery)
        target = PeerId(address.rsplit("/", 1)[1])
        net.want_peers({target: [address]})
        await linked.wait()
        while True:
            event = author.write({"n": 1})
            asked = waiting[event.cid] = trio.Event()
            began = trio.current_time()
            await net.send_wait(target, encode_message(Events((event.signed,))))
            await net.send_wait(target, encode_message(Want((event.cid,))))
            with trio.move_on_after(LOST):
                await asked.wait()
            print(json.dumps(trio.current_time() - began if asked.is_set() else -1), flush=True)
            await trio.sleep(EVERY)


def _digest(block: bytes) -> bytes:
    return bytes(block_cid(block))


async def _end_with_stdin(nursery: trio.Nursery) -> None:
    await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    nursery.cancel_scope.cancel()


async def offend(target: Target, kind: Kind, number: int, frames: int, seconds: float) -> dict[str, Any]:
    """Carry out one kind of attack; what came of it."""
    global source  # noqa: PLW0603 - one offender at a time
    source = f"127.0.1.{number}"
    seed = number.to_bytes(32, "big")
    admission = await trio.to_thread.run_sync(target.admit, seed) if kind.member else None
    author = Author(seed, target.network, admission) if admission else None
    vain = strangers = 0
    async with open_network(config(target.network.text), seed, Everyone()) as net, trio.open_nursery() as nursery:
        nursery.start_soon(_drain, net)
        attack = Attack(net, target.peer, target.address, author, frames)
        began = trio.current_time()
        with trio.move_on_after(seconds):
            while attack.sent < frames and vain < BANNED_LOOKS:
                before = attack.sent
                try:
                    await attack.connect()
                    await kind.run(attack)
                except (P2pwfError, OSError, Exception) as error:  # noqa: BLE001 - whatever being thrown out looks like
                    attack.failures += 1
                    attack.error = error
                vain = 0 if attack.sent > before else vain + 1
                strangers += isinstance(attack.error, AssertionError)
                await trio.sleep(0.01)
        took = trio.current_time() - began
        with trio.move_on_after(2 * MAX_GONE):
            while attack.first is not None and attack.lost is None:
                await trio.sleep(0.02)  # what was queued here is still on its way
        gone = None if attack.lost is None or attack.first is None else round(attack.lost - attack.first, 2)
        nursery.cancel_scope.cancel()
    is_gone = gone is not None and gone <= MAX_GONE
    verdict = "gone" if is_gone else "NOT GONE" if kind.offence else "within the rules"
    return {
        "kind": kind.name,
        "as": "member" if kind.member else "outsider",
        "verdict": "LET IN" if strangers else verdict,
        "gone_after": gone,
        "kept_out": vain >= BANNED_LOOKS,
        "sent": attack.sent,
        "seconds": round(took, 1),
        "per_second": round(attack.sent / max(took, 0.01)),
    }


async def _drain(net: Network) -> None:
    async for event in net.events:
        if isinstance(event, Frame):
            event.handled()


async def attack_all(folder: Path, frames: int, seconds: float, only: Iterable[str]) -> dict[str, Any]:
    trio.open_tcp_stream = dial_from_source
    target = await trio.to_thread.run_sync(Target, folder / "target")
    seed = bytes([250]) * 32
    admission = await trio.to_thread.run_sync(target.admit, seed)
    words = ["--honest", seed.hex(), target.network.text, json.dumps(admission), target.address]
    latencies: list[float] = []
    results: list[dict[str, Any]] = []
    peaks: list[float] = [0.0]
    before = 0.0

    async def measure(measuring: trio.Process) -> None:
        rest = b""
        assert measuring.stdout is not None
        async for chunk in measuring.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            latencies.extend(json.loads(line) for line in lines)

    async def weigh() -> None:
        while True:
            peaks[-1] = max(peaks[-1], target.memory())
            await trio.sleep(0.2)

    line = [sys.executable, str(Path(__file__)), *words]
    try:
        async with trio.open_nursery() as nursery:
            measuring = await trio.lowlevel.open_process(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            nursery.start_soon(measure, measuring)
            with trio.fail_after(READY_SECONDS):
                while len(latencies) < 20:
                    await trio.sleep(0.05)
            calm, before = sorted(latencies)[len(latencies) // 2], target.memory()
            latencies.clear()
            nursery.start_soon(weigh)
            for number, kind in enumerate(KINDS, 1):
                if not only or kind.name in only:
                    count, counted = len(latencies), await trio.to_thread.run_sync(target.counts)
                    peaks.append(target.memory())
                    result = await offend(target, kind, number, frames, seconds)
                    now = await trio.to_thread.run_sync(target.counts)
                    result |= {
                        "honest_p99": round(p99_of(latencies[count:]), 3),
                        "honest_max": round(p99_of(latencies[count:], 100), 3),
                        "mb": round(peaks[-1] - before, 1),
                        "counted": {name: now[name] - counted.get(name, 0) for name in COUNTED if name in now},
                    }
                    result["counted"] = {name: value for name, value in result["counted"].items() if value}
                    result["ok"] = (
                        result["verdict"] in ("gone", "within the rules")
                        and result["honest_p99"] <= MAX_P99
                        and result["mb"] <= MAX_GROWTH
                    )
                    results.append(result)
                    print(json.dumps(result), file=sys.stderr, flush=True)
            status = await trio.to_thread.run_sync(target.client.call, "GET", "status")
            counts = await trio.to_thread.run_sync(target.counts)
            rows = await trio.to_thread.run_sync(target.client.call, "GET", "peers")
            with suppress(OSError, trio.BrokenResourceError):
                assert measuring.stdin is not None
                await measuring.stdin.aclose()
            with trio.move_on_after(5):
                await measuring.wait()
            if measuring.returncode is None:
                measuring.kill()
            nursery.cancel_scope.cancel()
        alive = target.process.poll() is None
    finally:
        code = await trio.to_thread.run_sync(target.stop)
    bugs = {
        name: counts[name]
        for name in ("handler_raised", "connection_crashed", "gossip_heartbeat_failed")
        if name in counts
    }
    report = {
        "alive": alive and code == 0,
        "alarms": status["alarms"],
        "bugs": bugs,
        "honest_events": len(latencies),
        "honest_lost": sum(one < 0 for one in latencies),
        "honest_median_calm": round(calm, 4),
        "honest_p99": round(p99_of(latencies), 3),
        "honest_max": round(p99_of(latencies, 100), 3),
        "memory_mb": round(before, 1),
        "memory_growth_mb": round(max(peaks) - before, 1),
        "banned_shown": sum(row["offences"] > 0 for row in rows),
        "sent": sum(one["sent"] for one in results),
        "gone": sum(one["verdict"] == "gone" for one in results),
        "within_the_rules": [one["kind"] for one in results if one["verdict"] == "within the rules"],
        "slowest_gone": max((one["gone_after"] for one in results if one["verdict"] == "gone"), default=None),
        "kinds": results,
    }
    report["ok"] = bool(report["alive"] and not status["alarms"] and not bugs and all(one["ok"] for one in results))
    return report


def main() -> None:
    """Attack, and print what came of it."""
    if sys.argv[1:2] == ["--honest"]:
        seed, network, admission, address = sys.argv[2:6]
        trio.run(honest, bytes.fromhex(seed), network, json.loads(admission), address)
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=100_000, help="of each kind")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each kind at the most")
    parser.add_argument("--only", default="", help="kinds, separated by commas")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p2pwf-hostile-") as folder:
        only = [name for name in asked.only.split(",") if name]
        report = trio.run(attack_all, Path(folder), asked.frames, asked.seconds, only)
    print(json.dumps(report))
    raise SystemExit(0 if report["ok"] else 1)


if __name__ == "__main__":
    main()
