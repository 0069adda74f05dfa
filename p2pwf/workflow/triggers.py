"""Which event starts a run, and the inputs it starts with. Knows the model; filters on branches and paths are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from p2pwf.errors import UsageError
from p2pwf.workflow.expr import Value, fold, to_string
from p2pwf.workflow.expr.values import parse_number
from p2pwf.workflow.model import InputSpec, Workflow

DISPATCH = "workflow_dispatch"


def declared_events(workflow: Workflow) -> tuple[str, ...]:
    """The events under `on`, in declared order."""
    return tuple(dict.fromkeys(trigger.event for trigger in workflow.triggers))


def choose_event(workflow: Workflow, wanted: str | None = None, preferred: str = DISPATCH) -> str:
    """The event of a run: the wanted one; else the preferred one if declared, else the only one declared.

    Raises UsageError, listing what is declared, if there is no telling, or the wanted one is not declared.
    """
    events = declared_events(workflow)
    listed = ", ".join(events)
    if wanted is not None:
        if wanted in events:
            return wanted
        raise UsageError(f"the workflow does not declare the event '{wanted}'", f"declared: {listed}")
    if preferred in events:
        return preferred
    if len(events) == 1:
        return events[0]
    raise UsageError("the workflow declares several events", f"choose one with --event: {listed}")


def dispatch_inputs(workflow: Workflow, given: Mapping[str, object]) -> dict[str, Value]:
    """The typed inputs of a workflow_dispatch, defaults filled in.

    `given` maps names (in any case) to strings, or to values that already have their type. Raises UsageError for an
    unknown name, a missing required input, a value that is not of its type, or one that is no option.
    """
    trigger = workflow.trigger(DISPATCH)
    specs = trigger.inputs if trigger else ()
    inputs: dict[str, Value] = {}
    for spec, value in zip(specs, given_inputs(specs, given), strict=True):
        if value is None and spec.required and spec.default is None:
            raise missing_input(spec)
        inputs[spec.name] = typed_input(spec, spec.default.text if value is None and spec.default else value)
    return inputs


def given_inputs(specs: Sequence[InputSpec], given: Mapping[str, object]) -> list[object]:
    """What is given for each of some declared inputs, None for nothing; raises UsageError for an unknown name.

    Where a number or a boolean is wanted, an empty string is nothing.
    """
    values = {fold(name): value for name, value in given.items()}
    known = {fold(spec.name) for spec in specs}
    for name in given:
        if fold(name) not in known:
            listed = ", ".join(spec.name for spec in specs)
            raise UsageError(f"unknown input '{name}'", f"inputs: {listed}" if listed else "the workflow declares none")
    found = [values.get(fold(spec.name)) for spec in specs]
    return [
        None if value == "" and spec.type in ("boolean", "number") else value
        for spec, value in zip(specs, found, strict=True)
    ]


def missing_input(spec: InputSpec) -> UsageError:
    """The error of an input that must be given and is not."""
    return UsageError(f"the input '{spec.name}' is required", f"give it with --input {spec.name}=VALUE")


def typed_input(spec: InputSpec, value: object) -> Value:
    """A value that was given, a string or one of the right type already, as the input's type; raises UsageError."""
    if value is not None and not isinstance(value, (str, bool, int, float)):
        raise UsageError(f"the input '{spec.name}' must be a {spec.type}, not a collection")
    if spec.type == "boolean":
        text = "false" if value is None else to_string(value)
        if text not in ("true", "false"):
            raise UsageError(f"the input '{spec.name}' must be true or false, not '{text}'")
        return text == "true"
    if spec.type == "number":
        if value is None:
            return 0
        number = parse_number(value) if isinstance(value, str) else float(value)
        if isinstance(value, bool) or not math.isfinite(number):
            raise UsageError(f"the input '{spec.name}' must be a number, not '{to_string(value)}'")
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    text = to_string(value)
    if spec.type == "choice" and spec.options:
        if value is None:
            return spec.options[0]
        if text not in spec.options:
            raise UsageError(f"the input '{spec.name}' cannot be '{text}'", f"options: {', '.join(spec.options)}")
    return text


def payload_inputs(inputs: Mapping[str, Value]) -> dict[str, Value]:
    """The inputs as `github.event.inputs` holds them: strings."""
    return {name: to_string(value) for name, value in inputs.items()}
