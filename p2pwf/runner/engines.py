"""The command line of a container engine, docker or podman: which one answers, and running its commands.

Every command is a process of the job, so it ends with the job; its output goes to the log, as on GitHub.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import trio

from p2pwf.errors import UsageError
from p2pwf.isolation import Level
from p2pwf.runner.log import Stream
from p2pwf.runner.processes import Launch
from p2pwf.runner.program import run_program
from p2pwf.runner.shells import find_program
from p2pwf.runner.state import JobState

ENGINES: Final[Mapping[str, tuple[str, ...]]] = {
    "docker": ("version", "--format", "{{.Server.Version}}"),
    "podman": ("info", "--format", "{{.Version.Version}}"),
}
"""Engines in the order in which they are tried, and the command that only one that works answers."""
PROBE_S: Final = 20.0
"""How long an engine may take to answer at all."""
MAX_OUTPUT: Final = 1024 * 1024
"""Bytes of a command's output that are kept for the runner; the log has it all."""
KEPT_PREFIXES: Final = ("DOCKER_", "CONTAINER_", "CONTAINERS_")
KEPT: Final = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")
"""Variables of this program that tell an engine's command line where its engine is."""
FOR_NETWORKS: Final = ("/usr/sbin", "/sbin")
"""Where podman finds what it makes networks with, which ordinary users seldom have on their PATH."""
HINT: Final = "start Docker or Podman on this peer, or give the job labels of one that has it"


@attrs.define(slots=True, eq=False)
class _Capture:
    """Keeps the output of a command, and passes it on line by line."""

    state: JobState
    step: int
    show: bool
    kept: dict[Stream, bytearray] = attrs.field(factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})
    rest: dict[Stream, bytes] = attrs.field(factory=lambda: {"stdout": b"", "stderr": b""})

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take a chunk; an empty one is the stream's end."""
        kept = self.kept[stream]
        kept += data[: max(0, MAX_OUTPUT - len(kept))]
        *lines, self.rest[stream] = (self.rest[stream] + data).split(b"\n")
        if not data and self.rest[stream]:
            lines.append(self.rest[stream])
        if self.show and lines:
            self.state.log.stamp()
            for line in lines:
                self.state.log.write(self.step, stream, line.decode("utf-8", "replace").rstrip("\r"))
            self.state.log.flush()

    def lines(self, stream: Stream) -> list[str]:
        """The lines of a stream that hold anything."""
        return [line for line in self.kept[stream].decode("utf-8", "replace").splitlines() if line.strip()]


@attrs.frozen(slots=True)
class Engine:
    """A container engine that answers: the name and the path of its program."""

    state: JobState
    name: str
    program: str

    def environment(self) -> dict[str, str]:
        """The variables that its command line needs."""
        return engine_environment(self.state.base)

    async def ask(
        self, step: int, *arguments: str, show: bool = True, variables: Mapping[str, str] | None = None
    ) -> tuple[int, list[str]]:
        """Run a command; its exit status and the lines of its standard output. `show`: all of it goes to the log.
        `variables`: over those that its command line needs."""
        environment = {**self.environment(), **(variables or {})}
        status, out, _ = await _run(self.state, step, (self.program, *arguments), environment, show)
        return status, out

    async def must(
        self, step: int, what: str, *arguments: str, show: bool = True, variables: Mapping[str, str] | None = None
    ) -> list[str]:
        """Run a command that has to succeed; the lines of its standard output. Raises UsageError."""
        status, out = await self.ask(step, *arguments, show=show, variables=variables)
        if status:
            raise UsageError(f"{what}: {self.name} {arguments[0]} failed with exit code {status}", "see the log above")
        return out


def is_read_by_engines(name: str) -> bool:
    """Whether a command line of an engine, or the system that starts it, reads a variable of this name."""
    return name.startswith((*KEPT_PREFIXES, "LD_", "XDG_")) or name in ("PATH", "HOME", "TMPDIR")


def engine_environment(base: Mapping[str, str]) -> dict[str, str]:
    """What the command line of an engine gets: what steps start from, and where the engine is."""
    own = {name: value for name, value in os.environ.items() if name.startswith(KEPT_PREFIXES) or name in KEPT}
    path = [folder for folder in (*base.get("PATH", "").split(":"), *FOR_NETWORKS) if folder]
    return {**base, "PATH": ":".join(dict.fromkeys(path)), **own}


async def find_engine(state: JobState, step: int, what: str) -> Engine:
    """The engine of this machine; raises UsageError, which names `what` needs it, where none answers."""
    if state.loan is not None and state.loan.level < Level.container:
        level = state.loan.level.name
        hint = (
            "submit it from this node, whose own jobs may run at isolation none, or let labels choose a container peer"
        )
        raise UsageError(f"{what} needs a container engine, which no job at isolation {level} reaches", hint)
    silent: list[str] = []
    for name, probe in ENGINES.items():
        program = find_program(name, state.base.get("PATH", ""))
        if program is None:
            continue
        with trio.move_on_after(PROBE_S) as patience:
            status, out, errors = await _run(state, step, (program, *probe), engine_environment(state.base), show=False)
            if status == 0 and out:
                return Engine(state, name, program)
            silent.append(f"{name} does not work here: {(errors or out or [f'exit code {status}'])[-1][:300]}")
        if patience.cancelled_caught:
            silent.append(f"{name} does not answer")
    reason = "; ".join(silent) or "neither docker nor podman is installed on this peer"
    raise UsageError(f"{what} needs a container engine, and {reason}", HINT)


async def _run(
    state: JobState, step: int, arguments: Sequence[str], environment: Mapping[str, str], show: bool
) -> tuple[int, list[str], list[str]]:
    capture = _Capture(state, step, show)
    if show:
        state.log.write(step, "command", f"##[command]{' '.join(arguments)}")
    launch = Launch(tuple(arguments), environment, state.folders.root)
    ended = await run_program(state.supervisor, state.readers, state.env.limits, launch, capture)
    return ended.status, capture.lines("stdout"), capture.lines("stderr")
