"""An Ethernet switch in user space: a TAP device in a network namespace for each port; it delays, loses and cuts off.

For machines without netem. Needs root, Linux, `ip` and /dev/net/tun. Knows nothing of what the frames carry.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

TUN: Final = Path("/dev/net/tun")
TUNSETIFF: Final = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
MTU: Final = 1600
"""Bytes read of one frame: the header and 1,500."""
QUEUE: Final = 20_000
"""Frames on their way; more are dropped, and counted: a switch has so much memory."""
LONGEST: Final = 0.2
"""Seconds that it sleeps at most, so that it ends soon."""
IP: Final = shutil.which("ip") or "/sbin/ip"
SUBNET: Final = "10.77.0"


class NoSwitch(Exception):
    """This machine or this user cannot have one."""


def _ip(*words: str) -> None:
    done = subprocess.run([IP, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoSwitch(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Switch:
    """A switch with `ports` namespaces on it, for the time of the block. Raises NoSwitch.

    `delay`: seconds that a frame takes one way, a tenth more or less at random. `loss`: the chance that it is lost.
    """

    def __init__(self, ports: int, *, delay: float, loss: float, seed: int) -> None:
        self.hosts = [f"{SUBNET}.{port + 1}" for port in range(ports)]
        self.dropped = self.lost = self.passed = 0
        self._names = [f"p2pwf-{os.getpid()}-{port}" for port in range(ports)]
        self._made: list[str] = []
        self._delay = delay
        self._loss = loss
        self._random = random.Random(seed)
        self._taps: list[int] = []
        self._ports: dict[bytes, int] = {}
        self._cells: Mapping[int, int] = {}
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def prefix(self, port: int) -> Sequence[str]:
        """The words before a command that is to run in the namespace of a port."""
        return (IP, "netns", "exec", self._names[port])

    def split(self, cells: Mapping[int, int]) -> None:
        """From now on only ports of one cell reach each other; what is on its way arrives."""
        self._cells = dict(cells)

    def heal(self) -> None:
        self._cells = {}

    def __enter__(self) -> Self:
        if os.geteuid() != 0 or not TUN.exists():
            raise NoSwitch(f"network namespaces need root, and {TUN}")
        try:
            for port, name in enumerate(self._names):
                self._plug(port, name)
        except (OSError, NoSwitch) as error:
            self._unplug()
            raise NoSwitch(str(error)) from error
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._unplug()

    def _plug(self, port: int, name: str) -> None:
        _ip("netns", "add", name)
        self._made.append(name)
        tap = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        self._taps.append(tap)
        device = f"p{os.getpid()}t{port}"
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TAP | IFF_NO_PI))
        _ip("link", "set", device, "netns", name)
        within = ("-n", name)
        _ip(*within, "link", "set", "lo", "up")
        _ip(*within, "addr", "add", f"{self.hosts[port]}/24", "dev", device)
        _ip(*within, "link", "set", device, "up")

    def _unplug(self) -> None:
        for tap in self._taps:
            os.close(tap)
        for name in self._made:
            with suppress(NoSwitch):
                _ip("netns", "del", name)

    def _run(self) -> None:
        while not self._over.is_set():
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _, _, port, frame = heapq.heappop(self._waiting)
                with suppress(OSError):  # the namespace is going away
                    os.write(self._taps[port], frame)
            next_one = self._waiting[0][0] - now if self._waiting else LONGEST
            readable, _, _ = select.select(self._taps, [], [], max(0.0, min(LONGEST, next_one)))
            for tap in readable:
                with suppress(BlockingIOError):
                    self._take(self._taps.index(tap), os.read(tap, MTU))

    def _take(self, port: int, frame: bytes) -> None:
        self._ports[frame[6:12]] = port
        known = self._ports.get(frame[:6])
        for to in range(len(self._taps)) if known is None else (known,):
            if to == port or self._cells.get(port) != self._cells.get(to):
                continue
            if self._random.random() < self._loss:
                self.lost += 1
            elif len(self._waiting) >= QUEUE:
                self.dropped += 1
            else:
                self.passed += 1
                arrival = time.monotonic() + self._delay * self._random.uniform(0.9, 1.1)
                heapq.heappush(self._waiting, (arrival, self.passed, to, frame))
