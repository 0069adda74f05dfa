"""A workflow as values: what a checked file says, with its places. Knows nothing of how it is run.

Whatever may hold an expression stays a node (`nodes`), to be evaluated when its contexts are known; what the language
wants fixed is a plain value. Everything here is frozen and made by `parsing` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NewType

import attrs

from p2pwf.workflow.diagnostics import Place
from p2pwf.workflow.nodes import MappingNode, Node, Scalar

JobId = NewType("JobId", str)
StepId = NewType("StepId", str)
StepKind = Literal["run", "uses", "wait", "wait-all", "cancel", "parallel"]
InputType = Literal["string", "boolean", "number", "choice", "environment"]


@attrs.frozen(slots=True)
class InputSpec:
    """An input of workflow_dispatch or workflow_call. `default` is a node because a call's may be an expression."""

    name: str
    place: Place
    type: InputType = "string"
    required: bool = False
    default: Scalar | None = None
    options: tuple[str, ...] = ()
    description: str = ""


@attrs.frozen(slots=True)
class Trigger:
    """One event under `on`: its filters by key (`types`, `branches`, …), and what some events have besides."""

    event: str
    place: Place
    filters: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    inputs: tuple[InputSpec, ...] = ()
    crons: tuple[str, ...] = ()
    zones: tuple[str | None, ...] = ()
    """Of each of `crons` its timezone; None for UTC."""
    config: MappingNode | None = None


@attrs.frozen(slots=True)
class Condition:
    """An `if`: the expression's source, or with `templated` a text with `${{ }}`; and whether it asks for a status."""

    source: str
    place: Place
    templated: bool = False
    has_status: bool = False


@attrs.frozen(slots=True)
class Step:
    """One step. `id` is the given one, or one made as GitHub makes it (`__run`, `__run_2`, `__actions_checkout`)."""

    id: StepId
    place: Place
    kind: StepKind
    name: Scalar | None = None
    condition: Condition | None = None
    run: Scalar | None = None
    uses: str | None = None
    with_: Node | None = None
    env: Node | None = None
    shell: Scalar | None = None
    working_directory: Scalar | None = None
    continue_on_error: Scalar | None = None
    timeout_minutes: Scalar | None = None
    background: bool = False
    targets: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


@attrs.frozen(slots=True)
class Job:
    """One job, with steps or (`uses`) a call of a reusable workflow."""

    id: JobId
    place: Place
    name: Scalar | None = None
    needs: tuple[JobId, ...] = ()
    condition: Condition | None = None
    runs_on: Node | None = None
    strategy: Node | None = None
    env: Node | None = None
    defaults: Node | None = None
    outputs: MappingNode | None = None
    steps: tuple[Step, ...] = ()
    timeout_minutes: Scalar | None = None
    cancel_timeout_minutes: Scalar | None = None
    continue_on_error: Scalar | None = None
    container: Node | None = None
    services: Node | None = None
    environment: Node | None = None
    concurrency: Node | None = None
    permissions: Node | None = None
    snapshot: Node | None = None
    uses: str | None = None
    with_: Node | None = None
    secrets: Node | None = None
    labels: tuple[str, ...] = ()


@attrs.frozen(slots=True)
class Workflow:
    """A checked workflow file."""

    path: str
    name: str | None
    triggers: tuple[Trigger, ...]
    jobs: tuple[Job, ...]
    run_name: Scalar | None = None
    env: Node | None = None
    defaults: Node | None = None
    concurrency: Node | None = None
    permissions: Node | None = None
    labels: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def job(self, job_id: str) -> Job:
        """The job of an id; raises KeyError."""
        for job in self.jobs:
            if job.id == job_id:
                return job
        raise KeyError(job_id)

    def trigger(self, event: str) -> Trigger | None:
        """What `on` says of an event, or None if the workflow does not declare it."""
        return next((trigger for trigger in self.triggers if trigger.event == event), None)
