"""One leg of a job, ready to run: what a runner evaluates, each thing at its right moment. No I/O.

`resolve_job` fixes what is known when the leg starts; each method then takes a `StepScope`, the contexts that only the
runner knows at that moment (steps, job, runner, env, hashFiles, the job's status).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import attrs

from p2pwf.workflow.expr import CaseSensitive, Function, Value, fold, to_string
from p2pwf.workflow.expr.parser import MANY
from p2pwf.workflow.facts import RunFacts
from p2pwf.workflow.legs import as_declared, strategy_context
from p2pwf.workflow.model import Condition, Job, Step, Workflow
from p2pwf.workflow.nodes import MappingNode, Node, Scalar
from p2pwf.workflow.plan import Flow
from p2pwf.workflow.templates import (
    Scope,
    evaluate_boolean,
    evaluate_condition,
    evaluate_node,
    evaluate_number,
    evaluate_string,
    evaluate_strings,
)

Status = Literal["success", "failure", "cancelled"]
DEFAULT_TIMEOUT_MINUTES: Final = 360.0
"""How long a job may run unless it says otherwise, GitHub's default."""


@attrs.frozen(slots=True)
class StepScope:
    """What only the runner knows when it evaluates a part of a step.

    `steps` maps step ids to {outputs, outcome, conclusion}; `env` is all variables set so far; `status` the job's
    status so far; `hash_files` gets the patterns and returns a hex digest, or an empty string; `github` is laid over
    the github context (workspace, action, event_path, …).
    """

    steps: Mapping[str, Value] = attrs.field(factory=dict, repr=False)
    job: Mapping[str, Value] = attrs.field(factory=dict)
    runner: Mapping[str, Value] = attrs.field(factory=dict)
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    status: Status = "success"
    hash_files: Callable[[Sequence[str]], str] | None = None
    github: Mapping[str, Value] = attrs.field(factory=dict)
    action_status: Status | None = None
    """Of the composite action that the step belongs to: success() and failure() ask for it there."""


def step_status_functions(status: Status, action: Status | None = None) -> dict[str, Function]:
    """success, failure, always and cancelled as the `if` of a step sees them; `action`: as in StepScope."""
    asked = status if action is None else action
    return {
        "success": Function(lambda _: asked == "success"),
        "failure": Function(lambda _: asked == "failure"),
        "always": Function(lambda _: True),
        "cancelled": Function(lambda _: status == "cancelled"),
    }


@attrs.frozen(slots=True)
class ResolvedJob:
    """One leg of a job with the contexts that are known when it starts. Every method may raise InvalidWorkflow."""

    workflow: Workflow
    job: Job
    name: str
    matrix: Mapping[str, Value] | None
    index: int
    total: int
    contexts: Mapping[str, Value] = attrs.field(repr=False)
    """github, inputs, vars, needs, strategy, matrix and secrets."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps, in order."""
        return self.job.steps

    def scope(self, at: StepScope) -> Scope:
        """All contexts and functions of a step at some moment, the status functions left out."""
        github = self.contexts["github"]
        laid = {**github, **at.github} if isinstance(github, Mapping) else at.github
        contexts: dict[str, Value] = {
            **self.contexts,
            "github": laid,
            "steps": at.steps,
            "job": at.job,
            "runner": at.runner,
            "env": CaseSensitive(at.env),
        }
        functions: dict[str, Function] = {}
        if at.hash_files is not None:
            hash_files = at.hash_files
            functions["hashFiles"] = Function(lambda patterns: hash_files(list(map(to_string, patterns))), 1, MANY)
        return Scope(contexts, functions)

    def env(self, github: Mapping[str, Value] | None = None) -> dict[str, str]:
        """The environment of workflow and job, the job's over the workflow's."""
        base = self.contexts["github"]
        contexts = dict(self.contexts)
        if github and isinstance(base, Mapping):
            contexts["github"] = {**base, **github}
        scope = Scope(contexts)
        return {**evaluate_strings(self.workflow.env, scope), **evaluate_strings(self.job.env, scope)}

    def timeout_minutes(self) -> float:
        """How long the job may run, in minutes; fractions count."""
        if self.job.timeout_minutes is None:
            return DEFAULT_TIMEOUT_MINUTES
        return evaluate_number(self.job.timeout_minutes, Scope(self.contexts))

    def cancel_timeout_minutes(self) -> float | None:
        """How long steps may go on after a cancellation, in minutes; None is no word about it."""
        node = self.job.cancel_timeout_minutes
        return None if node is None else evaluate_number(node, Scope(self.contexts))

    def continue_on_error(self) -> bool:
        """Whether the run stays green when this leg fails."""
        node = self.job.continue_on_error
        return node is not None and evaluate_boolean(node, Scope(self.contexts))

    def outputs(self, at: StepScope) -> dict[str, str]:
        """The outputs of the job, once its steps are over."""
        return evaluate_strings(self.job.outputs, self.scope(at))

    def step_runs(self, step: Step, at: StepScope) -> bool:
        """Whether a step is to run: its `if`, with success() implied where it asks for no status."""
        return self.holds(step.condition, at)

    def holds(self, condition: Condition | None, at: StepScope) -> bool:
        """Whether a condition holds, as the `if` of a step; None is success()."""
        scope = self.scope(at)
        functions = {**scope.functions, **step_status_functions(at.status, at.action_status)}
        return evaluate_condition(condition, Scope(scope.contexts, functions))

    def inside_action(self, inputs: Mapping[str, str]) -> ResolvedJob:
        """What the steps of a composite action are evaluated with: its inputs, none of the job's defaults and needs."""
        known = {name: self.contexts[name] for name in ("github", "strategy", "matrix")}
        return attrs.evolve(
            self,
            workflow=attrs.evolve(self.workflow, env=None, defaults=None),
            job=attrs.evolve(self.job, env=None, defaults=None),
            contexts={**known, "inputs": inputs},
        )

    def container(self, at: StepScope) -> Value:
        """The job's `container`, evaluated: null, an image, or a mapping."""
        return None if self.job.container is None else evaluate_node(self.job.container, self.scope(at))

    def services(self, at: StepScope) -> Value:
        """The job's `services`, evaluated: null, or a mapping of names."""
        return None if self.job.services is None else evaluate_node(self.job.services, self.scope(at))

    def environment(self, at: StepScope) -> tuple[str, str]:
        """The name and the URL of the job's `environment`, empty where there is none."""
        node = self.job.environment
        if node is None:
            return "", ""
        parts = (node.get("name"), node.get("url")) if isinstance(node, MappingNode) else (node, None)
        name, url = (evaluate_string(part, self.scope(at)) if isinstance(part, Scalar) else "" for part in parts)
        return name, url

    def step_name(self, step: Step, at: StepScope) -> str:
        """The name shown for a step: its own, else `Run …` as GitHub words it."""
        if step.name is not None and step.name.text:
            name = evaluate_string(step.name, self.scope(at))
            if name:
                return name
        if step.kind == "run" and step.run is not None:
            script = evaluate_string(step.run, self.scope(at)).strip()
            return "Run " + script.split("\n", 1)[0].strip()
        return f"Run {step.uses}" if step.uses else step.kind

    def step_env(self, step: Step, at: StepScope) -> dict[str, str]:
        """The `env` of a step itself; it lies over all others."""
        return evaluate_strings(step.env, self.scope(at))

    def step_script(self, step: Step, at: StepScope) -> str:
        """The script of a `run` step."""
        return "" if step.run is None else evaluate_string(step.run, self.scope(at))

    def step_with(self, step: Step, at: StepScope) -> dict[str, str]:
        """The inputs of a `uses` step."""
        return evaluate_strings(step.with_, self.scope(at))

    def step_shell(self, step: Step, at: StepScope) -> str | None:
        """The shell of a step: its own, the job's default, the workflow's, or None."""
        if step.shell is not None:
            return evaluate_string(step.shell, self.scope(at))
        return self._default("shell", at)

    def step_working_directory(self, step: Step, at: StepScope) -> str | None:
        """The working directory of a step: its own, the job's default, the workflow's, or None."""
        if step.working_directory is not None:
            return evaluate_string(step.working_directory, self.scope(at)) or None
        return self._default("working-directory", at)

    def step_timeout_minutes(self, step: Step, at: StepScope) -> float | None:
        """How long a step may run, in minutes; None and 0 are no bound of its own."""
        if step.timeout_minutes is None:
            return None
        return evaluate_number(step.timeout_minutes, self.scope(at)) or None

    def step_continue_on_error(self, step: Step, at: StepScope) -> bool:
        """Whether the job goes on when the step fails."""
        return step.continue_on_error is not None and evaluate_boolean(step.continue_on_error, self.scope(at))

    def _default(self, key: str, at: StepScope) -> str | None:
        for node in (self.job.defaults, self.workflow.defaults):
            value = _run_default(node, key)
            if value is not None:
                return evaluate_string(value, self.scope(at)) or None
        return None


def _run_default(defaults: Node | None, key: str) -> Scalar | None:
    run = defaults.get("run") if isinstance(defaults, MappingNode) else None
    value = run.get(key) if isinstance(run, MappingNode) else None
    return value if isinstance(value, Scalar) else None


@attrs.frozen(slots=True)
class Own:
    """What the environment of a job has."""

    secrets: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    vars: Mapping[str, str] = attrs.field(factory=dict)


def _over(base: Value, values: Mapping[str, str]) -> Value:
    """Values over others; of two names that differ in case only, the one above stays."""
    below = base if isinstance(base, Mapping) else {}
    taken = set(map(fold, values))
    return {**{name: value for name, value in below.items() if fold(name) not in taken}, **values}


def resolve_job(
    workflow: Workflow,
    job_id: str,
    facts: RunFacts,
    needs: Mapping[str, Mapping[str, object]],
    *,
    leg_index: int = 0,
    legs: Sequence[Mapping[str, object]] | None = None,
    secrets: Mapping[str, str] | None = None,
    own: Own | None = None,
    called: Mapping[str, str] | None = None,
) -> ResolvedJob:
    """One leg of a job, ready to run; of a called job (`call/build`) with the inputs and secrets that its caller gives.

    `own`: the secrets and variables of its environment, which steps see over all others; what decides about legs does
    not see them, as on GitHub.

    `legs` are the job's legs as the plan or its expansion recorded them; without them they are computed from `needs`,
    the outcomes of all jobs that it needs by the plan. `called`: the texts of the called workflows, see `calls`.
    Raises InvalidWorkflow where that fails, KeyError for an unknown job, IndexError for an unknown leg.
    """
    flow = Flow(workflow, facts, called)
    planned = flow.job(job_id)
    recorded: Sequence[Mapping[str, object]] = flow.expand(job_id, needs) if legs is None else legs
    leg = recorded[leg_index]
    known = leg.get("matrix")
    scope = flow.layout.scope(planned.frame, planned.job, needs)
    matrix = as_declared(planned.job, scope, leg_index, known if isinstance(known, Mapping) else None)
    strategy = flow.strategy(job_id, needs)
    contexts: dict[str, Value] = {
        **scope.contexts,
        "matrix": matrix,
        "strategy": strategy_context(strategy, leg_index, len(recorded)),
        "secrets": flow.layout.secrets(planned.frame, needs, secrets or {}),
    }
    for name, values in (("secrets", own.secrets), ("vars", own.vars)) if own is not None else ():
        contexts[name] = _over(contexts[name], values)
    return ResolvedJob(
        workflow=planned.frame.workflow,
        job=planned.job,
        name=str(leg.get("name", job_id)),
        matrix=matrix,
        index=leg_index,
        total=len(recorded),
        contexts=contexts,
    )
