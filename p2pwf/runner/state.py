"""What the steps of a running job share: contexts as they grow, variables, paths, status, and the tools to run with.

One JobState per attempt, changed by the steps in turn (and by the job's watch, which may cancel). No I/O of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import attrs
import trio

from p2pwf.errors import P2pwfError
from p2pwf.runner.environment import Folders
from p2pwf.runner.filecommands import FileCommands
from p2pwf.runner.hand import Hand
from p2pwf.runner.hashfiles import hash_files
from p2pwf.runner.masking import Masker
from p2pwf.runner.matchers import Matchers
from p2pwf.runner.output import Annotations, JobLog, warn
from p2pwf.runner.processes import Supervisor
from p2pwf.runner.values import Annotation, Artifact, Cache, JobRequest, RunnerEnv, StepResult
from p2pwf.workflow import ResolvedJob, RunFacts, Status, Value

if TYPE_CHECKING:
    from p2pwf.runner.actions import Actions
    from p2pwf.runner.containers import JobContainer
    from p2pwf.runner.isolation.keeper import Loan

P = ParamSpec("P")
T = TypeVar("T")


def text_of(error: P2pwfError | OSError) -> str:
    """What an error says, with its hint, in one line."""
    if isinstance(error, P2pwfError):
        return error.message if error.hint is None else f"{error.message} ({error.hint})"
    return f"{error.strerror or error}{': ' + str(error.filename) if error.filename else ''}"


class _ReadsFiles(Exception):
    """An expression is to be evaluated in a thread."""


@attrs.define(slots=True, kw_only=True, repr=False)  # it has the secrets
class JobState:
    """See the module."""

    request: JobRequest
    env: RunnerEnv
    facts: RunFacts
    resolved: ResolvedJob
    folders: Folders
    files: FileCommands
    supervisor: Supervisor
    readers: trio.Nursery
    log: JobLog
    masker: Masker
    annotations: Annotations
    base: Mapping[str, str]
    standard: Mapping[str, str]
    github: Mapping[str, Value]
    runner: Mapping[str, Value]
    hand: Hand
    debug: bool
    variables: dict[str, str]
    paths: list[str] = attrs.field(factory=list)
    job: dict[str, Value] = attrs.field(factory=dict)
    """The job context, but for its status: container and services."""
    results: list[StepResult] = attrs.field(factory=list)
    artifacts: list[Artifact] = attrs.field(factory=list)
    caches: list[Cache] = attrs.field(factory=list)
    status: Status = "success"
    given_up: bool = False
    """The time for steps after a cancellation is over: nothing starts any more."""
    exhausted: str = ""
    """Why the runner has ended the job: it takes more than it may."""
    running: set[Callable[[bool], None]] = attrs.field(factory=set)
    """Tell the running steps of a cancellation; True: of the end of its grace."""
    matchers: Matchers
    actions: Actions | None = None
    """None until a step uses one."""
    images: dict[str, str] = attrs.field(factory=dict)
    """Images of actions that this job has pulled or built, by what names them."""
    container: JobContainer | None = None
    loan: Loan | None = None
    """What keeps the job apart; None: nothing does."""
    containers: int = 1
    """How many share the job's bounds, where it is kept apart in containers."""
    one_action: trio.Lock = attrs.field(factory=trio.Lock)
    """Held while an action runs in a container of its own, where the job is kept apart."""
    keys: int = 0

    def key(self) -> str:
        """A word that no other step of the job has, for its files."""
        self.keys += 1
        return str(self.keys)

    async def evaluate(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the resolved job; off the event loop if it reads files."""
        try:
            return function(*args, **kwargs)
        except _ReadsFiles:
            return await trio.to_thread.run_sync(lambda: function(*args, **kwargs))

    def hash_files(self, patterns: Sequence[str]) -> str:
        """What the function hashFiles of expressions does; only off the event loop."""
        with suppress(RuntimeError):
            trio.lowlevel.current_task()
            raise _ReadsFiles
        return self.hand.do(hash_files, self.folders.workspace, patterns, lambda: self.hand.stopped)

    def error(self, step: int, message: str, title: str = "") -> None:
        """Log an error of the runner's own and keep it as annotation."""
        self.log.say(step, *(f"##[error]{line}" for line in message.splitlines() or [""]))
        self.annotations.add(Annotation(level="error", message=message, step=step, title=title))

    def warning(self, step: int, message: str) -> None:
        """Log a warning of the runner's own and keep it as annotation."""
        warn(self.log, self.annotations, step, message)

    def exhaust(self, reason: str) -> None:
        """End the job at once: it takes more than it may."""
        self.exhausted, self.given_up = reason, True
        self.hand.stop()
        for hear in list(self.running):
            hear(True)

    def began(self, number: int, name: str) -> None:
        """A step begins: tell who looks on."""
        if self.env.progress is not None:
            self.env.progress.step_started(number, self.masker.mask(name))

    def record(self, result: StepResult) -> None:
        """Keep how a step went, and tell who looks on."""
        self.results.append(result)
        if self.env.progress is not None:
            own = [one for one in self.annotations.kept if one.step == result.number]
            self.env.progress.step_finished(result, own)
