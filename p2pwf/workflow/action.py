"""Actions: what an action.yml says, checked like a workflow file, and what of it is evaluated when it runs. Pure.

Source: the open runner's schema `action_yaml.json` and its `ActionManifestManager`; GitHub's metadata syntax for
actions. Unknown keys at the top (`author`, `branding`, …) are passed over, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow.build import build_condition, build_steps
from p2pwf.workflow.diagnostics import Diagnostic, Findings, Place, errors_of
from p2pwf.workflow.effort import Effort, TooComplex
from p2pwf.workflow.expr import to_string
from p2pwf.workflow.language import HASH_FILES, STEP_STATUS
from p2pwf.workflow.model import Condition, Step
from p2pwf.workflow.nodes import MappingNode, Node, Scalar, SequenceNode
from p2pwf.workflow.rules import Checker
from p2pwf.workflow.schema import Anything, Boolean, ListOf, MapOf, OneOf, Rule, Text
from p2pwf.workflow.schema import Scope as Allowed
from p2pwf.workflow.templates import Scope, evaluate_node, evaluate_string, evaluate_strings
from p2pwf.workflow.yaml import load

NODES: Final = ("node12", "node16", "node20", "node24")
USING: Final = ("composite", "docker", *NODES)
ALWAYS: Final = Condition("always()", Place(), False, True)
"""When `pre` and `post` run unless `pre-if` and `post-if` say otherwise."""

_DEFAULT: Final = Allowed(frozenset(("GITHUB", "STRATEGY", "MATRIX", "JOB", "RUNNER"))) | HASH_FILES
_INPUTS: Final = Allowed(frozenset(("INPUTS",)))
_VALUE: Final = Allowed(frozenset(("GITHUB", "STRATEGY", "MATRIX", "STEPS", "INPUTS", "JOB", "RUNNER", "ENV")))
_STEP: Final = _VALUE | HASH_FILES
_IF: Final = _STEP | STEP_STATUS
_WORD: Final = Text(non_empty=True)
_STAGE_IF: Final = Text(_IF, condition=True)

_STEP_KEYS: Final[dict[str, Rule]] = {
    "name": Text(_STEP),
    "id": _WORD,
    "if": Text(_STEP | STEP_STATUS, condition=True),
    "env": MapOf(other=Text(), scope=_STEP),
    "continue-on-error": Boolean(_STEP),
}
_STEPS: Final = ListOf(
    OneOf(
        (
            MapOf(
                {**_STEP_KEYS, "run": Text(_STEP), "working-directory": Text(_STEP), "shell": Text(_STEP)},
                required=("run", "shell"),
            ),
            MapOf({**_STEP_KEYS, "uses": _WORD, "with": MapOf(other=Text(), scope=_STEP)}, required=("uses",)),
        )
    )
)
_RUNS: Final = OneOf(
    (
        MapOf(
            {
                "using": _WORD,
                "image": _WORD,
                "entrypoint": _WORD,
                "args": ListOf(Text(_INPUTS)),
                "env": MapOf(other=Text(), scope=_INPUTS),
                "pre-entrypoint": _WORD,
                "pre-if": _STAGE_IF,
                "post-entrypoint": _WORD,
                "post-if": _STAGE_IF,
            },
            required=("using", "image"),
        ),
        MapOf(
            {"using": _WORD, "main": _WORD, "pre": _WORD, "pre-if": _STAGE_IF, "post": _WORD, "post-if": _STAGE_IF},
            required=("using", "main"),
        ),
        MapOf({"using": _WORD, "steps": _STEPS}, required=("using", "steps")),
    )
)
ACTION: Final[Rule] = MapOf(
    {
        "name": Text(),
        "description": Text(),
        "inputs": MapOf(other=MapOf({"default": Text(_DEFAULT)}, other=Anything())),
        "outputs": MapOf(other=MapOf({"description": Text(), "value": Text(_VALUE)})),
        "runs": _RUNS,
    },
    required=("runs",),
    other=Anything(),
)


@attrs.frozen(slots=True)
class ActionInput:
    """An input; `deprecated` is the message to show whoever sets it."""

    name: str
    default: Scalar | None = None
    deprecated: str | None = None


@attrs.frozen(slots=True)
class Stages:
    """What of an action runs before the job's steps and after them: a script or an entry point, and when."""

    pre: str | None = None
    pre_if: Condition = ALWAYS
    post: str | None = None
    post_if: Condition = ALWAYS


@attrs.frozen(slots=True)
class NodeRuns:
    """A JavaScript action; `using` is the Node.js that it asks for (`node20`), `main` a path in its folder."""

    using: str
    main: str
    stages: Stages


@attrs.frozen(slots=True)
class DockerRuns:
    """An action in a container; `image` is `docker://…` or the path of a Dockerfile in its folder."""

    image: str
    stages: Stages
    entrypoint: str | None = None
    args: SequenceNode | None = None
    env: MappingNode | None = None

    def arguments(self, inputs: Mapping[str, str]) -> list[str] | None:
        """The container's arguments, None if the action names none; raises InvalidWorkflow."""
        if self.args is None:
            return None
        scope = Scope({"inputs": inputs})
        return [to_string(evaluate_node(item, scope)) for item in self.args.items]

    def environment(self, inputs: Mapping[str, str]) -> dict[str, str]:
        """Variables of the container that nothing else sets; raises InvalidWorkflow."""
        return evaluate_strings(self.env, Scope({"inputs": inputs}))


@attrs.frozen(slots=True)
class CompositeRuns:
    """An action made of steps."""

    steps: tuple[Step, ...]


Runs: TypeAlias = NodeRuns | DockerRuns | CompositeRuns


@attrs.frozen(slots=True)
class Action:
    """A checked action file. `outputs` are those with a value, which only a composite action has."""

    path: str
    name: str
    runs: Runs
    inputs: tuple[ActionInput, ...] = ()
    outputs: Mapping[str, Scalar] = attrs.field(factory=dict)

    def with_defaults(self, given: Mapping[str, str], scope: Scope) -> dict[str, str]:
        """The inputs of one use: those given, and the defaults of the others. Raises InvalidWorkflow."""
        names = {name.lower() for name in given}
        inputs = dict(given)
        for declared in self.inputs:
            if declared.name.lower() not in names:
                inputs[declared.name] = "" if declared.default is None else evaluate_string(declared.default, scope)
        return inputs

    def unexpected(self, given: Mapping[str, str]) -> list[str]:
        """The given inputs that the action does not declare; a container takes `args` and `entryPoint` besides."""
        known = {declared.name.lower() for declared in self.inputs}
        if isinstance(self.runs, DockerRuns):
            known |= {"args", "entrypoint"}
        return [name for name in given if name.lower() not in known]

    def evaluate_outputs(self, scope: Scope) -> dict[str, str]:
        """The outputs of a composite action whose steps are over; raises InvalidWorkflow."""
        return {name: evaluate_string(value, scope) for name, value in self.outputs.items()}


@attrs.frozen(slots=True)
class ParsedAction:
    """What became of an action file: the action, unless there are errors, and all diagnostics in file order."""

    path: str
    action: Action | None
    diagnostics: tuple[Diagnostic, ...]

    def require(self) -> Action:
        """The action; raises InvalidWorkflow, which carries the diagnostics and names the first error."""
        if self.action is not None:
            return self.action
        errors = errors_of(self.diagnostics)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        message = f"{self.path}:{errors[0].line}:{errors[0].column}: {errors[0].message}{more}"
        raise InvalidWorkflow(message, errors[0].hint, tuple(finding.to_json() for finding in self.diagnostics))


def parse_action(data: bytes | str, path: str = "action.yml") -> ParsedAction:
    """Parse and check one action file of at most 256 KiB of UTF-8. Never raises, whatever the input."""
    findings = Findings()
    root = load(data, findings)
    if root is None:
        hint = "an action needs at least 'runs'"
        told = (attrs.evolve(found, hint=hint) if found.code == "empty" else found for found in findings.result())
        return ParsedAction(path, None, tuple(told))
    try:
        Checker(findings, lambda *_: None, Effort()).check(root, ACTION)
    except TooComplex:
        findings.too_complex()
    using = _using(root, findings)
    if findings.failed or not isinstance(root, MappingNode):
        return ParsedAction(path, None, findings.result())
    return ParsedAction(path, _build(root, path, using), findings.result())


def _using(root: Node, findings: Findings) -> str:
    """What kind of action it is, lower-case; records an error for one that nobody knows or that lacks its part."""
    runs = root.get("runs") if isinstance(root, MappingNode) else None
    using = runs.get("using") if isinstance(runs, MappingNode) else None
    if not isinstance(runs, MappingNode) or not isinstance(using, Scalar) or not using.text:
        return ""
    kind = using.text.lower()
    part = {"composite": "steps", "docker": "image"}.get(kind, "main")
    if kind not in USING:
        hint = f"it is one of {', '.join(USING)}"
        findings.error(using.place, "using", f"'using: {using.text}' is not supported", hint)
    elif runs.get(part) is None:
        findings.error(runs.place, "missing-key", f"Required property is missing: {part}")
    return kind


def _build(root: MappingNode, path: str, using: str) -> Action:
    runs = root.get("runs")
    assert isinstance(runs, MappingNode)
    inputs, outputs = root.get("inputs"), root.get("outputs")
    values = {
        key.text: value
        for key, spec in (outputs.entries if isinstance(outputs, MappingNode) else ())
        if isinstance(spec, MappingNode) and isinstance(value := spec.get("value"), Scalar)
    }
    return Action(
        path,
        _text(root, "name") or "",
        _runs(runs, using),
        tuple(
            _input(key.text, spec)
            for key, spec in (inputs.entries if isinstance(inputs, MappingNode) else ())
            if isinstance(spec, MappingNode)
        ),
        values,
    )


def _input(name: str, spec: MappingNode) -> ActionInput:
    default = spec.get("default")
    told = (value.text for key, value in spec.entries
            if key.text.lower() == "deprecationmessage" and isinstance(value, Scalar))  # fmt: skip
    return ActionInput(name, default if isinstance(default, Scalar) else None, next(told, None))


def _text(node: MappingNode, key: str) -> str | None:
    value = node.get(key)
    return value.text if isinstance(value, Scalar) else None


def _runs(runs: MappingNode, using: str) -> Runs:
    if using == "composite":
        return CompositeRuns(build_steps(runs.get("steps")))
    suffix = "-entrypoint" if using == "docker" else ""
    stages = Stages(
        _text(runs, f"pre{suffix}"),
        build_condition(runs.get("pre-if")) or ALWAYS,
        _text(runs, f"post{suffix}"),
        build_condition(runs.get("post-if")) or ALWAYS,
    )
    if using != "docker":
        return NodeRuns(using, _text(runs, "main") or "", stages)
    args, env = runs.get("args"), runs.get("env")
    return DockerRuns(
        _text(runs, "image") or "",
        stages,
        _text(runs, "entrypoint"),
        args if isinstance(args, SequenceNode) else None,
        env if isinstance(env, MappingNode) else None,
    )
