"""Where a step stands: among the job's own steps, or among those of a composite action. Contexts only, no I/O.

A frame has its own steps context, inputs and status; the variables and paths that steps set are a `World`, which all
frames of the foreground share. A background step works in a fork of it, joined when somebody has waited for the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import attrs
import trio

from p2pwf.runner.state import JobState
from p2pwf.runner.values import Outcome
from p2pwf.workflow import ResolvedJob, Status, StepScope, Value

if TYPE_CHECKING:
    from p2pwf.runner.step import StepRun

Stage = Literal["pre", "main", "post"]
MAX_DEPTH: Final = 10
"""Composite actions within each other, as on GitHub."""


@attrs.define(slots=True)
class World:
    """What GITHUB_ENV and GITHUB_PATH have set so far; the folder added last is searched first."""

    variables: dict[str, str]
    paths: list[str]

    def add_path(self, folder: str) -> None:
        """Put a folder at the end, once."""
        if folder in self.paths:
            self.paths.remove(folder)
        self.paths.append(folder)

    def fork(self) -> Fork:
        """A world of its own that begins like this one."""
        return Fork(dict(self.variables), list(self.paths), dict(self.variables), list(self.paths))


@attrs.define(slots=True)
class Fork(World):
    """A world apart, with what it was when it began."""

    _variables_before: dict[str, str]
    _paths_before: list[str]

    def join(self, into: World) -> None:
        """Set in another world what has changed in this one."""
        into.variables.update(
            {name: value for name, value in self.variables.items() if self._variables_before.get(name) != value}
        )
        same = 0
        for before, now in zip(self._paths_before, self.paths, strict=False):
            if before != now:
                break
            same += 1
        for folder in self.paths[same:]:
            into.add_path(folder)


@attrs.define(slots=True, kw_only=True)
class Frame:
    """See the module.

    `number`: of the job's step whose lines these are, 0 for the job's own frame. `overrides`: the `env` of the steps
    that the composite action stands in. `github`: laid over the github context. `status`: of the composite action.
    `around`: the scopes of the steps that it stands in.
    `posts`: what its actions leave to do after the job, in order.
    """

    state: JobState
    resolved: ResolvedJob
    world: World = attrs.field(repr=False)
    number: int = 0
    steps: dict[str, Value] = attrs.field(factory=dict, repr=False)
    overrides: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    github: Mapping[str, Value] = attrs.field(factory=dict)
    status: Status = "success"
    depth: int = 0
    around: tuple[trio.CancelScope, ...] = ()
    posts: list[StepRun] = attrs.field(factory=list)

    def scope(
        self,
        github: Mapping[str, Value],
        step_env: Mapping[str, str],
        *,
        by_job: bool = False,
        status: Status | None = None,
    ) -> StepScope:
        """What an expression of a step sees now; `github` is laid over the frame's.

        `by_job`: success() and failure() ask for the job, as those of pre and post steps do everywhere.
        `status`: the job's, if it were another one.
        """
        state = self.state
        status = status or state.status
        return StepScope(
            steps=self.steps,
            job={**state.job, "status": status},
            runner=state.runner,
            env={**self.world.variables, **self.overrides, **step_env},
            status=status,
            hash_files=state.hash_files,
            github={**state.github, **self.github, **github},
            action_status=None if by_job or not self.depth else self.status,
        )

    def keep(self, step_id: str, outcome: Outcome, conclusion: Outcome, outputs: Mapping[str, str]) -> None:
        """Put a step that has ended into the steps context; made ids cannot be asked for."""
        if not step_id.startswith("__"):
            self.steps[step_id] = {"outputs": dict(outputs), "outcome": outcome, "conclusion": conclusion}

    def count(self, conclusion: Outcome) -> None:
        """Let a step's conclusion count for the job, or for the composite action."""
        if self.depth:
            if conclusion in ("failure", "cancelled") and self.status != "failure":
                self.status = "failure" if conclusion == "failure" else "cancelled"
        elif conclusion == "cancelled":
            self.state.status = "cancelled"
        elif conclusion == "failure" and self.state.status == "success":
            self.state.status = "failure"
