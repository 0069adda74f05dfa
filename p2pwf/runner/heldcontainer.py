"""The containers of a job at isolation level `container` run while this program and the job's supervisor hold them.

`docker run` stays in the foreground with a standard input that nothing is ever written to. When whoever holds that
ends, however it ends, the input ends, with it the container's first process, and with this all others in its process
namespace. Actions share that of the job's own container. Services, which may be who they like inside, share that of
another one, in which nothing is: from a process that one may look into, its files can be reached (/proc/1/root), and
the job's are on this machine's disk. An image may bring a shell that does not heed the end of its input, so there is a
guard as well: a process outside of the job's that waits for the same end and has the engine remove what is left.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Final

import attrs
import trio

from p2pwf.errors import P2pwfError, UsageError
from p2pwf.runner.containers import Spec
from p2pwf.runner.engines import Engine
from p2pwf.runner.images import in_memory
from p2pwf.runner.isolation import seccomp
from p2pwf.runner.isolation.hardened import HOLD, Hardening, job_mounts, plain_and_other, variable_file
from p2pwf.runner.log import Stream
from p2pwf.runner.processes import Launch
from p2pwf.runner.program import run_program
from p2pwf.runner.state import JobState

HOLDER: Final = ("/bin/sh", "-c", 'sleep 2147483647 | { "$@"; kill 0; }', "sh")
"""Runs a program with a standard input that stays open as long as this lives, without a byte in it; ends with it."""
GUARD: Final = """\
read -r _
for id in $("$1" ps --all --quiet --filter "label=$2"); do "$1" rm --force --volumes "$id"; done
[ "$3" = none ] || "$1" network rm "$3"
"""
"""Waits for the end of its input, then removes the containers of a job and their network."""
JOB_LABEL: Final = "p2pwf.job"
UP_S: Final = 120.0
"""How long a container may take to start, its image being here."""
KEPT_BYTES: Final = 4096
EMPTY_BYTES: Final = 64 << 20
"""Of memory for a container that holds nothing but a shell: engines want some MiB at least."""
SIZE_S: Final = 5.0
"""Between two looks at what services have written."""


def hardening(state: JobState, engine: Engine, count: int) -> Hardening:
    """How the containers of a job are kept; `count` of them share its bounds."""
    loan = state.loan
    assert loan is not None
    own = loan.user is None
    user = (os.getuid(), os.getgid()) if loan.user is None else (loan.user, loan.user)
    names = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC, "fsize": resource.RLIMIT_FSIZE}
    most = {name: resource.getrlimit(number)[1] for name, number in names.items()}
    hard = {name: bound for name, bound in most.items() if bound != resource.RLIM_INFINITY}
    return Hardening(loan.bounds, user, own and engine.name == "podman", hard, _profile(state), count)


def _profile(state: JobState) -> str | None:
    """The file of the filter of system calls, written once for a job: where no job sees it."""
    path = state.folders.root / "_seccomp.json"
    text = seccomp.profile()
    if text is None:
        return None
    if not path.exists():
        path.write_text(text)
        path.chmod(0o600)
    return str(path)


@asynccontextmanager
async def variable_options(
    state: JobState, variables: Mapping[str, str]
) -> AsyncIterator[tuple[tuple[str, ...], dict[str, str]]]:
    """Options that give a container its variables, and what the command's own environment has to have for them.

    What the command might heed itself goes over a file, which is gone after the block and which no job can see.
    """
    plain, other = plain_and_other(variables)
    options = [word for name in plain for word in ("-e", name)]
    handle, path = tempfile.mkstemp(prefix="_env-", dir=state.folders.root)  # private, and mounted nowhere
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(variable_file(other))
        yield (*options, "--env-file", path), plain
    finally:
        os.unlink(path)  # noqa: PTH108 - nothing that blocks for long


async def watch_services(state: JobState, engine: Engine, step: int, services: Sequence[str]) -> None:
    """End the job when its services have written more inside than a job may take of the disk; until cancelled."""
    loan = state.loan
    assert loan is not None
    words = ("inspect", "--size", "--type", "container", "--format", "{{.SizeRw}}")
    while True:
        await trio.sleep(SIZE_S)
        written = 0
        for container in services:
            try:
                _, lines = await engine.ask(step, *words, container, show=False)
            except P2pwfError:
                return None  # the job is at its end
            written += int(lines[0]) if lines and lines[0].strip().isdigit() else 0
        if written > loan.bounds.disk:
            told = f"{written >> 20} MiB, the bound is {loan.bounds.disk >> 20} MiB"
            return state.exhaust(f"The services of the job have filled the disk: {told}.")


@attrs.define(slots=True, eq=False)
class _Said:
    """What the foreground command prints: the first line of its output says that the container is up."""

    up: trio.Event = attrs.field(factory=trio.Event)
    errors: bytes = b""

    def feed(self, stream: Stream, data: bytes) -> None:
        if stream == "stdout" and data:
            self.up.set()
        elif stream == "stderr":
            self.errors = (self.errors + data)[:KEPT_BYTES]


class Guard:
    """Removes the containers that are marked as a job's, and their network, when this program is gone. It is up with
    the call."""

    _left: ClassVar[list[subprocess.Popen[bytes]]] = []
    """Those that were let go and whose end nobody has seen yet."""

    def __init__(self, engine: Engine, label: str, network: str) -> None:
        Guard._left = [process for process in Guard._left if process.poll() is None]
        self._process = subprocess.Popen(
            ("/bin/sh", "-c", GUARD, "sh", engine.program, label, network),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=engine.environment(),
            cwd="/",
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Nothing is left for it."""
        self._process.kill()
        with self._process:  # it closes the input and waits
            pass

    def let_go(self) -> None:
        """Leave the rest to it: it has begun when this returns."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        Guard._left.append(self._process)


@attrs.define(slots=True, eq=False)
class Held:
    """A container that runs while it is held. `end` takes it down."""

    state: JobState
    engine: Engine
    name: str
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)
    said: _Said = attrs.field(factory=_Said)
    failed: str = ""

    async def start_job(self, step: int, spec: Spec, hardened: Hardening, more: Sequence[str]) -> None:
        """Start the job's own, and wait until it is up; `more`: its labels and network. Raises UsageError."""
        _, binds = job_mounts(self.state.folders)
        instead = await in_memory(self.engine, step, spec.image, binds)
        variables = {"GITHUB_ACTIONS": "true", "CI": "true", **spec.env, "HOME": "/github/home"}
        async with variable_options(self.state, variables) as (options, environment):
            words = (*more, *spec.options, *hardened.job_options(), *binds, *instead, *options, "--workdir", "/__w")
            await self._start(step, spec.image, words, environment)

    async def start_empty(self, step: int, image: str, hardened: Hardening, labels: Sequence[str]) -> None:
        """Start one in which nothing is but the process that waits for its end, the same way."""
        alone = attrs.evolve(hardened, count=1, bounds=attrs.evolve(hardened.bounds, memory=EMPTY_BYTES, processes=16))
        words = (*labels, "--network", "none", *alone.job_options(), *await in_memory(self.engine, step, image))
        await self._start(step, image, words, {})

    async def _start(self, step: int, image: str, options: Sequence[str], environment: Mapping[str, str]) -> None:
        words = (
            *(self.engine.program, "run", "--interactive", "--rm", "--pull", "never", "--name", self.name),
            *(*options, "--entrypoint", HOLD[0], image, *HOLD[1:]),
        )
        self.state.log.write(step, "command", f"##[command]{' '.join(words)}")
        launch = Launch((*HOLDER, *words), {**self.engine.environment(), **environment}, self.state.folders.root)
        self.state.readers.start_soon(self._hold, launch)
        with trio.move_on_after(UP_S):
            await self._up_or_ended()
        if not self.said.up.is_set():
            lines = self.said.errors.decode("utf-8", "replace").strip().splitlines()
            reason = self.failed or (lines[-1] if lines else f"it was not up after {UP_S:g} s")
            raise UsageError(f"the job container does not start: {reason[:500]}")

    async def _up_or_ended(self) -> None:
        async with trio.open_nursery() as either:

            async def first(event: trio.Event) -> None:
                await event.wait()
                either.cancel_scope.cancel()

            either.start_soon(first, self.said.up)
            either.start_soon(first, self.ended)

    async def _hold(self, launch: Launch) -> None:
        state = self.state
        try:
            with self.scope:
                await run_program(state.supervisor, state.readers, state.env.limits, launch, self.said)
        except P2pwfError as error:
            self.failed = error.message
        finally:
            self.ended.set()

    async def end(self, step: int) -> bool:
        """Take it down, whatever runs in it; whether it is gone."""
        status, _ = await self.engine.ask(step, "rm", "--force", "--volumes", self.name)
        self.scope.cancel()
        return status == 0
