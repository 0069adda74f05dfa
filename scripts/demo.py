"""The demo behind scripts/demo: three `p2pwf up` processes, one workflow, and what a person would type to follow it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
P2PWF = (sys.executable, "-m", "p2pwf.cli.main")
NAMES = ("ada", "bob", "cyd")
WHOLE_SECONDS = 50
"""The demo ends by then, whatever happens."""
READY_SECONDS = 25
BUSY = "hint: is this machine very busy? Then try again; else please report it"
PIPE_CODE = 141
"""Whoever read along has left, as the shell and p2pwf itself report it."""
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def say(text: str) -> None:
    """A heading."""
    print(f"\n\033[1m{text}\033[0m" if COLOUR else f"\n== {text}", flush=True)


def command(folder: Path, words: Sequence[str]) -> list[str]:
    """A p2pwf command line against the node of a data folder."""
    return [*P2PWF, "--data-dir", str(folder), *words]


def show(folder: Path, *words: str) -> None:
    """Run a command as a person would, its output to the screen."""
    print(f"$ p2pwf {shlex.join(words)}", flush=True)
    subprocess.run(command(folder, words), check=True, cwd=ROOT, timeout=WHOLE_SECONDS)


def ask(folder: Path, *words: str) -> dict[str, object]:
    """Run a command for its JSON."""
    done = subprocess.run(
        command(folder, [*words, "--json"]), check=True, cwd=ROOT, timeout=WHOLE_SECONDS, capture_output=True, text=True
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


class Node:
    """One `p2pwf up` process."""

    def __init__(self, folder: Path, name: str, ticket: str | None) -> None:
        words = ["up", "--name", name, "--listen", "/ip4/127.0.0.1/tcp/0", "--slots", "2", "--trust-members", "--json"]
        if ticket is not None:
            words += ["--join", ticket]
        self.name = name
        self.folder = folder
        self.errors = folder.with_suffix(".err").open("w+")
        self.process = subprocess.Popen(
            command(folder, words),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def ready(self) -> dict[str, str]:
        """Wait for the ready line."""
        timer = threading.Timer(READY_SECONDS, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline() if self.process.stdout else ""
        finally:
            timer.cancel()
        if not line:
            self.errors.seek(0)
            raise SystemExit(f"error: the node {self.name} did not come up\n{BUSY}\n{self.errors.read()}")
        info: dict[str, str] = json.loads(line)
        return info

    def stop(self) -> None:
        """End the process, by its id, and wait for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(12)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.errors.close()


def play(base: Path, nodes: list[Node]) -> None:
    """The story."""
    say("A node founds a network; two more join it by ticket")
    first = Node(base / NAMES[0], NAMES[0], None)
    nodes.append(first)
    info = first.ready()
    print(f"{NAMES[0]} listens on {info['addrs'][0]}")
    tickets = [str(ask(first.folder, "invite")["ticket"]) for _ in NAMES[1:]]
    nodes.extend(Node(base / name, name, ticket) for name, ticket in zip(NAMES[1:], tickets, strict=True))
    joined = nodes[1:]
    for node in joined:
        node.ready()
        print(f"{node.name} joined with a ticket")
    show(first.folder, "peer", "list")

    say("A workflow is submitted at bob; every peer computes on its own who runs what")
    workflow = "examples/p2p_workflows/demo.yml"
    print(f"$ p2pwf workflow submit {workflow}")
    run = str(ask(joined[0].folder, "workflow", "submit", workflow)["workflow_id"])
    print(run)
    show(joined[1].folder, "workflow", "watch", run)

    say("Why did this peer run it? The same answer at every peer")
    show(first.folder, "explain", run, "sort (up, 1)")

    say("Logs and results, from any of the three")
    show(joined[1].folder, "workflow", "logs", run, "--job", "sort (down, 2)")
    show(first.folder, "workflow", "status", run)

    say("The Merkle clock behind it")
    show(joined[0].folder, "clock", "heads")
    show(joined[0].folder, "clock", "verify")


def main() -> int:
    """Play the story, end every node, remove what was made."""
    base = Path(tempfile.mkdtemp(prefix="p2pwf-demo-"))
    nodes: list[Node] = []
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(WHOLE_SECONDS)
    for number in ENDS:
        signal.signal(number, _told_to_end)
    try:
        play(base, nodes)
    except subprocess.CalledProcessError as error:
        if error.returncode == PIPE_CODE:
            return PIPE_CODE
        line = " ".join(error.cmd[len(command(base, [])) :])
        print(f"{error.stderr or ''}error: `p2pwf {line}` ended with {error.returncode}\n{BUSY}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CODE
    finally:
        signal.alarm(0)
        for number in ENDS:
            signal.signal(number, signal.SIG_IGN)  # what was started is ended first
        for node in reversed(nodes):
            node.stop()
        shutil.rmtree(base, ignore_errors=True)
    say("Done: the three nodes are gone, and so is what they wrote")
    return 0


def _told_to_end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _too_late(*_: object) -> None:
    raise SystemExit(f"error: the demo did not end within {WHOLE_SECONDS} s\n{BUSY}")


if __name__ == "__main__":
    sys.exit(main())
