"""Real nodes for scripts/chaos and scripts/overload: `p2pwf up` processes, on loopback or each in a namespace.

Spoken to by the control API. Knows nothing of what is done to them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from p2pwf.control.client import Client
from p2pwf.errors import P2pwfError

ROOT: Final = Path(__file__).resolve().parent.parent
COMMAND: Final = (sys.executable, "-m", "p2pwf.cli.main")
PATIENCE: Final = 120.0
"""Seconds after which anything that is waited for counts as hung."""
LOOK: Final = 0.05
"""Seconds between two looks at what is waited for."""
LOOPBACK: Final = "127.0.0.1"


class Hung(Exception):
    """What was waited for did not come."""


def wait_until(
    what: str, holds: Callable[..., object], *args: object, seconds: float = PATIENCE, look: float = LOOK
) -> float:
    """Seconds until `holds(*args)` is true; a node that does not answer yet counts as false. Raises Hung."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        with suppress(P2pwfError):
            if holds(*args):
                return time.monotonic() - began
        time.sleep(look)
    raise Hung(f"{what}: not within {seconds:g} s")


class Node:
    """One node. Its folder outlives its process; `prefix` are words before its command line."""

    def __init__(
        self, folder: Path, host: str = LOOPBACK, prefix: Sequence[str] = (), options: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.client = Client(folder)
        self.peer = ""
        listen = f"/ip4/{host}/tcp/0"
        words = ["up", "--json", "--data-dir", str(folder), "--listen", listen, "--name", folder.name]
        self._line = [*prefix, *COMMAND, *words, "--slots", "2", "--trust-members", *options]
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """Of the node itself: `ip netns exec` becomes it."""
        assert self._process is not None
        return self._process.pid

    @property
    def up(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, *more: str) -> Self:
        """Start the process and wait for its ready line. Raises Hung."""
        with self.folder.with_suffix(".err").open("a") as errors:
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            self._process = process = subprocess.Popen(
                [*self._line, *more],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=env,
            )
        assert process.stdout is not None
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise Hung(f"{self.folder.name} did not come up:\n{self.errors()[-2000:]}")
        self.peer = json.loads(line)["peer_id"]
        return self

    def errors(self) -> str:
        """What it said on stderr, in all of its lives."""
        return self.folder.with_suffix(".err").read_text()

    def ask(self, *parts: str) -> Any:  # noqa: ANN401 - JSON
        """The answer to a GET; raises what the node raised, or NoNode."""
        return self.client.call("GET", *parts)

    def submit(self, file: Path, **more: object) -> str:
        """Submit a workflow file; the run's id."""
        body = {"file": str(file), "no_source": True, **more}
        return str(self.client.call("POST", "runs", body=body)["workflow_id"])

    def cancel(self, run: str) -> bool:
        """Cancel a run that it submitted; raises what the node raised."""
        self.client.call("POST", "runs", run, "cancel", body={"force": True})
        return True

    def is_final(self, run: str) -> bool:
        return self.ask("runs", run)["status"] in ("completed", "failed", "cancelled")

    def has_ended_all(self) -> bool:
        """Whether it knows of no run that is open."""
        counts = self.ask("stats")["status_counts"]
        return not any(counts[word] for word in ("pending", "assigned", "in_progress"))

    def memory(self, field: str = "VmRSS") -> float:
        """Resident memory, in MB; `VmHWM` is the most there ever was."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        return 0.0

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> float:
        """SIGKILL; when, on the monotonic clock."""
        assert self._process is not None
        when = time.monotonic()
        self._process.kill()
        self._process.wait()
        self._close()
        return when

    def wait(self, seconds: float) -> int | None:
        """Wait until it ends by itself; its exit code, None if it does not."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End it, gently if it goes."""
        if self._process is None:
            return
        if self.up:
            with suppress(ProcessLookupError):
                self.signal(signal.SIGCONT)
                self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()


class Cluster:
    """Nodes of one network, the first of which founded it; all are ended with the block."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)

    def __enter__(self) -> Self:
        try:
            first, *others = self.nodes
            first.start()
            for node in others:
                node.start("--join", str(first.client.call("POST", "invites", body={})["ticket"]))
            wait_until("all connected", self.is_linked)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        threads = [threading.Thread(target=node.stop) for node in self.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def live(self) -> list[Node]:
        return [node for node in self.nodes if node.up]

    def of(self, peer: str) -> Node:
        return next(node for node in self.nodes if node.peer == peer)

    def is_linked(self) -> bool:
        """Whether every live node is connected to every other one."""
        others = len(self.live()) - 1
        return all(node.ask("stats")["connected_peers"] >= others for node in self.live())

    def heads_are_equal(self) -> bool:
        """Whether all live nodes have the same heads."""
        heads = {json.dumps(sorted(head["cid"] for head in node.ask("clock", "heads"))) for node in self.live()}
        return len(heads) == 1


def figures(values: Sequence[float], digits: int = 2) -> dict[str, Any]:
    """{n, p50, p99, max} of what was measured; p99 of fewer than a hundred is the largest."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0, "p50": None, "p99": None, "max": None}
    count = len(ordered)
    return {
        "n": count,
        "p50": round(ordered[(count - 1) // 2], digits),
        "p99": round(ordered[min(count - 1, -(-count * 99 // 100) - 1)], digits),
        "max": round(ordered[-1], digits),
    }


def say(what: str) -> None:
    """How it goes, for who watches."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {what}\n")


def end_nodes_at_sigterm() -> None:
    """Whoever ends this process ends its nodes as well."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def load() -> list[float]:
    """The load averages of this machine."""
    return [round(one, 1) for one in os.getloadavg()]
