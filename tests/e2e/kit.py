"""Real nodes as a user runs them: `p2pwf up` processes on loopback, spoken to with the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

COMMAND = (sys.executable, "-m", "p2pwf.cli.main")
PATIENCE = 90
"""Seconds after which a step of a test counts as hung: far beyond what it takes on a busy machine."""


def p2pwf(
    *words: str, data: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    line = [*COMMAND, *(["--data-dir", str(data)] if data else []), *words]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, env=env, check=False
    )


class Node:
    """One node process. `folder` outlives it."""

    def __init__(self, folder: Path, *options: str, listen: str = "/ip4/127.0.0.1/tcp/0") -> None:
        self.folder = folder
        self.options = (*options, "--listen", listen, "--name", folder.name)
        self.process: subprocess.Popen[str] | None = None
        self.info: dict[str, Any] = {}

    def start(self, *more: str) -> Self:
        """Start the process, without waiting for it."""
        line = [*COMMAND, "up", "--json", "--data-dir", str(self.folder), *self.options, *more]
        with self.folder.with_suffix(".err").open("a") as errors:
            self.process = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        return self

    def ready(self) -> Self:
        """Wait for the ready line."""
        assert self.process is not None
        assert self.process.stdout is not None
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        assert line, f"{self.folder.name} did not come up:\n{self.errors()}"
        self.info = json.loads(line)
        return self

    def errors(self) -> str:
        return self.folder.with_suffix(".err").read_text()

    def ask(self, *words: str) -> Any:
        """The JSON that a command gives; the command must succeed."""
        done = p2pwf(*words, "--json", data=self.folder)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def lines(self, *words: str) -> list[Any]:
        """The JSON values that a command gives, one a line; the command must succeed."""
        done = p2pwf(*words, "--json", data=self.folder)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def ticket(self, *words: str) -> str:
        return str(self.ask("invite", *words)["ticket"])

    def submit(self, file: Path, *words: str) -> str:
        return str(self.ask("workflow", "submit", str(file), *words)["workflow_id"])

    def status(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("workflow", "status", run)
        return found

    def wait_for(self, run: str, holds: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
        """Follow a run until something holds of it (default: that it is final); its status then.

        It may have been submitted to another node, from which this one has still to hear of it.
        """
        until = time.monotonic() + PATIENCE
        while p2pwf("workflow", "status", run, "--json", data=self.folder).returncode == 4:
            assert time.monotonic() < until, f"{run} is not known within {PATIENCE} s\n{self.errors()}"
        line = [*COMMAND, "workflow", "watch", run, "--json", "--data-dir", str(self.folder)]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as watching:
            timer = threading.Timer(PATIENCE, watching.kill)
            timer.start()
            assert watching.stdout is not None
            last: dict[str, Any] = {}
            for text in watching.stdout:
                last = json.loads(text)
                if holds is not None and holds(last):
                    watching.kill()
                    break
            timer.cancel()
        if holds is not None:
            assert holds(last), f"not within {PATIENCE} s: {last}\n{self.errors()}"
        else:
            assert last.get("status") in ("completed", "failed", "cancelled"), f"{last}\n{self.errors()}"
        return last

    def kill(self) -> None:
        """SIGKILL: the power goes."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._close()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        finally:
            self._close()

    def ended(self) -> int:
        """Wait until the process ends by itself; the exit code."""
        assert self.process is not None
        try:
            return self.process.wait(PATIENCE)
        finally:
            self._close()

    def _close(self) -> None:
        assert self.process is not None
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self._close()


@contextmanager
def three_nodes(base: Path, *options: str) -> Iterator[list[Node]]:
    """Three nodes that are ready and know each other."""
    first = Node(base / "one", "--slots", "2", "--trust-members", *options)
    others = [Node(base / name, "--slots", "2", "--trust-members") for name in ("two", "three")]
    with first, others[0], others[1]:
        first.start().ready()
        for other, ticket in zip(others, [first.ticket(), first.ticket()], strict=True):
            other.start("--join", ticket)
        for other in others:
            other.ready()
        yield [first, *others]


def workflow(folder: Path, text: str, name: str = "work.yml") -> Path:
    """A workflow file in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path
