"""What the steps of a running job share: contexts as they grow, variables, paths, status, and the tools to run with.

One JobState per attempt, changed by the steps in turn (and by the job's watch, which may cancel). No I/O of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

import attrs
import trio

from p2pwf.runner.environment import Folders
from p2pwf.runner.filecommands import FileCommands
from p2pwf.runner.masking import Masker
from p2pwf.runner.output import Annotations, JobLog
from p2pwf.runner.processes import Supervisor
from p2pwf.runner.values import Annotation, JobRequest, RunnerEnv, StepResult
from p2pwf.workflow import ResolvedJob, RunFacts, Status, Step, StepScope, Value

P = ParamSpec("P")
T = TypeVar("T")


@attrs.define(slots=True, kw_only=True)
class JobState:
    """See the module. `slow`: expressions of this job may read many files, so they are evaluated in a thread."""

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
    hash_files: Callable[[Sequence[str]], str]
    slow: bool
    debug: bool
    variables: dict[str, str]
    paths: list[str] = attrs.field(factory=list)
    steps: dict[str, Value] = attrs.field(factory=dict)
    results: list[StepResult] = attrs.field(factory=list)
    status: Status = "success"
    given_up: bool = False
    """The time for steps after a cancellation is over: nothing starts any more."""
    current: Callable[[bool], None] | None = None
    """Tells the running step of a cancellation; True: of the end of its grace."""
    timed_out: bool = False

    def scope(self, github: Mapping[str, Value], step_env: Mapping[str, str] | None = None) -> StepScope:
        """What an expression sees now; `github` is laid over the job's own additions."""
        return StepScope(
            steps=self.steps,
            job={"status": self.status},
            runner=self.runner,
            env={**self.variables, **(step_env or {})},
            status=self.status,
            hash_files=self.hash_files,
            github={**self.github, **github},
        )

    async def evaluate(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the resolved job; off the event loop if it may take long."""
        if self.slow:
            return await trio.to_thread.run_sync(lambda: function(*args, **kwargs))
        return function(*args, **kwargs)

    def error(self, step: int, message: str, title: str = "") -> None:
        """Log an error of the runner's own and keep it as annotation."""
        self.log.say(step, *(f"##[error]{line}" for line in message.splitlines() or [""]))
        self.annotations.add(Annotation(level="error", message=message, step=step, title=title))

    def end_step(self, step: Step, result: StepResult, outputs: Mapping[str, str]) -> None:
        """Record how a step ended, and what follows for the job."""
        self.results.append(result)
        if self.env.progress is not None:
            own = [one for one in self.annotations.kept if one.step == result.number]
            self.env.progress.step_finished(result, own)
        if not step.id.startswith("__"):  # made ids cannot be asked for
            self.steps[step.id] = {
                "outputs": dict(outputs),
                "outcome": result.outcome,
                "conclusion": result.conclusion,
            }
        if result.conclusion == "cancelled":
            self.status = "cancelled"
        elif result.conclusion == "failure" and self.status == "success":
            self.status = "failure"
