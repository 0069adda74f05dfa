"""What a call must fit: names, types and defaults of inputs, secrets. Knows one job and the file that it calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from p2pwf.errors import InvalidWorkflow, UsageError
from p2pwf.workflow.expr import Value, fold, to_string
from p2pwf.workflow.expr.tree import Constant, Index, Name
from p2pwf.workflow.expr.tree import Node as Tree
from p2pwf.workflow.expr.tree import walk as walk_tree
from p2pwf.workflow.model import InputSpec, Job, Workflow
from p2pwf.workflow.nodes import MappingNode, Node, Scalar
from p2pwf.workflow.templates import Scope, evaluate_scalar, failure
from p2pwf.workflow.triggers import given_inputs, missing_input, typed_input

CALL: Final = "workflow_call"
INHERIT: Final = "inherit"


def depends_on_outcomes(tree: Tree, open_inputs: frozenset[str]) -> bool:
    """Whether an expression has its value only once other jobs have ended; `open_inputs`: folded, those that do."""
    named = 0
    for part in walk_tree(tree):
        if isinstance(part, Name) and part.key == "NEEDS":
            return True
        named += isinstance(part, Name) and part.key == "INPUTS"
        if isinstance(part, Index) and isinstance(part.target, Name) and part.target.key == "INPUTS":
            key = part.key.value if isinstance(part.key, Constant) else None
            if isinstance(key, str):
                named -= 1
                if fold(key) in open_inputs:
                    return True
    return named > 0 and bool(open_inputs)  # inputs as a whole, or by a key that is worked out


def entries(node: Node | None) -> tuple[tuple[Scalar, Node], ...]:
    """The entries of a mapping; none of anything else."""
    return node.entries if isinstance(node, MappingNode) else ()


def secret_specs(workflow: Workflow) -> dict[str, bool]:
    """The secrets that a file declares, and whether each is required."""
    trigger = workflow.trigger(CALL)
    declared = trigger.config.get("secrets") if trigger is not None and trigger.config is not None else None
    specs: dict[str, bool] = {}
    for name, spec in entries(declared):
        required = spec.get("required") if isinstance(spec, MappingNode) else None
        specs[name.text] = isinstance(required, Scalar) and required.value is True
    return specs


def wrong_names(job: Job, inputs: tuple[InputSpec, ...], secrets: Mapping[str, bool]) -> Iterator[InvalidWorkflow]:
    """What a call does not give though the file asks for it, and what it gives besides."""
    known = {fold(spec.name) for spec in inputs}
    given = {fold(name.text) for name, _ in entries(job.with_)}
    for spec in inputs:
        if spec.required and fold(spec.name) not in given:
            message = f"Input {spec.name} is required, but not provided while calling."
            yield failure(job.place, "call-input", message, f"give it under `with` of the job '{job.id}'")
    for name, _ in entries(job.with_):
        if fold(name.text) not in known:
            message = f"Invalid input, {name.text} is not defined in the referenced workflow."
            yield failure(name.place, "call-input", message, f"inputs: {', '.join(spec.name for spec in inputs)}")
    if isinstance(job.secrets, Scalar) and job.secrets.text == INHERIT:
        return
    passed = {fold(name.text) for name, _ in entries(job.secrets)}
    for secret, required in secrets.items():
        if required and fold(secret) not in passed:
            message = f"Secret {secret} is required, but not provided while calling."
            yield failure(job.place, "call-secret", message, f"pass it, or `secrets: {INHERIT}`")
    allowed = {fold(secret) for secret in secrets}
    for name, _ in entries(job.secrets):
        if fold(name.text) not in allowed:
            message = f"Invalid secret, {name.text} is not defined in the referenced workflow."
            yield failure(name.place, "call-secret", message, f"secrets: {', '.join(secrets)}")


def no_group(job: Job, what: str, node: Node | None) -> InvalidWorkflow:
    """The error of a call whose concurrency group a plan cannot say."""
    hint = "this release cannot: give the groups to the jobs of the called workflow"
    place = job.place if node is None else node.place
    return failure(place, "unsupported", f"The job '{job.id}', which calls a workflow, has {what}", hint)


def typed(spec: InputSpec, node: Scalar, scope: Scope) -> Value:
    """A given value as the input's type; raises InvalidWorkflow. Only a string takes scalars of other types."""
    value = evaluate_scalar(node, scope)
    collection = isinstance(value, (Mapping, list, tuple))
    fits = {
        "boolean": isinstance(value, bool),
        "number": isinstance(value, (int, float)) and not isinstance(value, bool),
    }.get(spec.type, not collection)
    if not fits:
        shown = "" if collection else to_string(value)
        message = f"Unexpected value '{shown}' for the input '{spec.name}'"
        raise failure(node.place, "call-input", message, f"the called workflow takes a {spec.type}")
    return to_string(value) if spec.type == "string" else value


def default_of(spec: InputSpec, scope: Scope) -> Value:
    """The value of an input that is not given; raises InvalidWorkflow."""
    if spec.default is not None:
        return typed(spec, spec.default, scope)
    return {"boolean": False, "number": 0}.get(spec.type, "")


def call_inputs(workflow: Workflow, given: Mapping[str, object], contexts: Mapping[str, Value]) -> dict[str, Value]:
    """The inputs of a file that a user calls by hand, typed, defaults filled in; `contexts`: those of the defaults.

    `given` maps names (in any case) to strings, or to values that already have their type. Raises UsageError for what
    does not fit, InvalidWorkflow for a default that cannot be evaluated.
    """
    trigger = workflow.trigger(CALL)
    specs = trigger.inputs if trigger else ()
    inputs: dict[str, Value] = {}
    for spec, value in zip(specs, given_inputs(specs, given), strict=True):
        if value is None and spec.required:
            raise missing_input(spec)
        inputs[spec.name] = default_of(spec, Scope(contexts)) if value is None else typed_input(spec, value)
    return inputs


def in_order(workflow: Workflow, inputs: Mapping[str, Value]) -> dict[str, Value]:
    """The inputs of a run in the order in which its file declares them: an event has sorted them."""
    specs = [fold(spec.name) for trigger in workflow.triggers for spec in trigger.inputs]
    place = {name: number for number, name in enumerate(specs)}
    return dict(sorted(inputs.items(), key=lambda item: place.get(fold(item[0]), len(place))))


def check_secrets(workflow: Workflow, given: Iterable[str]) -> None:
    """Whether a user who calls a file by hand gives all secrets that it requires; raises UsageError."""
    known = {fold(name) for name in given}
    for name, required in secret_specs(workflow).items():
        if required and fold(name) not in known:
            raise UsageError(f"the secret '{name}' is required", f"give it with --secret {name}=VALUE")
