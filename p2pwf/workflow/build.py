"""From a checked tree to the values of `model`. Trusts that the tree passed its rule; finds nothing.

Source of the made step ids: the open runner's `IdBuilder`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from p2pwf.workflow.diagnostics import Place
from p2pwf.workflow.expr import Part, fold, has_expression, parse, split, uses_status_function
from p2pwf.workflow.model import Condition, InputSpec, InputType, Job, JobId, Step, StepId, StepKind, Trigger, Workflow
from p2pwf.workflow.nodes import MappingNode, Node, Scalar, SequenceNode
from p2pwf.workflow.tags import words_of

MAX_ID: Final = 100
"""Characters of a made step id, and the bound for a given one."""
_ANYWHERE = Place()
_ILLEGAL = re.compile(r"[^a-zA-Z0-9_-]")
_KINDS: Final[tuple[StepKind, ...]] = ("run", "uses", "wait", "wait-all", "cancel", "parallel")


def build_workflow(root: MappingNode, path: str, tags: tuple[str, ...]) -> Workflow:
    """The workflow that a tree without errors says."""
    jobs = root.get("jobs")
    entries = jobs.entries if isinstance(jobs, MappingNode) else ()
    declared = {fold(key.text): JobId(key.text) for key, _ in entries}
    name = _scalar(root.get("name"))
    return Workflow(
        path=path,
        name=name.text if name and name.text else None,
        triggers=tuple(build_triggers(root.get("on"), bool(tags))),
        jobs=tuple(_job(key, value, declared) for key, value in entries if isinstance(value, MappingNode)),
        run_name=_scalar(root.get("run-name")),
        env=root.get("env"),
        defaults=root.get("defaults"),
        concurrency=root.get("concurrency"),
        permissions=root.get("permissions"),
        labels=words_of(root.get("labels")),
        tags=tags,
    )


def _scalar(node: Node | None) -> Scalar | None:
    return node if isinstance(node, Scalar) else None


def _text(node: Node | None) -> str | None:
    return node.text if isinstance(node, Scalar) else None


def build_triggers(on: Node | None, tagged: bool) -> Iterator[Trigger]:
    """The triggers under `on`; a tagged file without any has workflow_dispatch."""
    if isinstance(on, Scalar):
        yield Trigger(on.text, on.place)
    elif isinstance(on, SequenceNode):
        items = {item.text: item for item in reversed(on.items) if isinstance(item, Scalar)}
        for item in reversed(items.values()):
            yield Trigger(item.text, item.place)
    elif isinstance(on, MappingNode):
        for key, config in on.entries:
            yield _trigger(key, config)
    elif tagged:
        yield Trigger("workflow_dispatch", _ANYWHERE)


def configured_triggers(on: Node | None) -> Iterator[Trigger]:
    """Those under `on` that say more than their name: a file may name thousands."""
    for key, config in on.entries if isinstance(on, MappingNode) else ():
        if isinstance(config, MappingNode):
            yield _trigger(key, config)


def _trigger(key: Scalar, config: Node) -> Trigger:
    if isinstance(config, SequenceNode):
        items = [item for item in config.items if isinstance(item, MappingNode)]
        crons = tuple(_text(item.get("cron")) or "" for item in items)
        return Trigger(key.text, key.place, crons=crons, zones=tuple(_text(item.get("timezone")) for item in items))
    if not isinstance(config, MappingNode):
        return Trigger(key.text, key.place)
    values = ("inputs", "secrets", "outputs")
    filters = {name.text: words_of(value) for name, value in config.entries if name.text not in values}
    inputs = config.get("inputs")
    return Trigger(
        key.text,
        key.place,
        filters,
        tuple(_input(name, spec) for name, spec in inputs.entries) if isinstance(inputs, MappingNode) else (),
        config=config,
    )


def _input(name: Scalar, spec: Node) -> InputSpec:
    if not isinstance(spec, MappingNode):
        return InputSpec(name.text, name.place)
    required = _scalar(spec.get("required"))
    return InputSpec(
        name.text,
        name.place,
        cast(InputType, _text(spec.get("type")) or "string"),
        required is not None and required.value is True,
        _scalar(spec.get("default")),
        tuple(item.text for item in _items(spec.get("options")) if isinstance(item, Scalar)),
        _text(spec.get("description")) or "",
    )


def _items(node: Node | None) -> tuple[Node, ...]:
    return node.items if isinstance(node, SequenceNode) else ()


def build_condition(node: Node | None) -> Condition | None:
    """The condition of an `if`; None for none and for a blank one."""
    if not isinstance(node, Scalar) or not node.text.strip():
        return None
    text = node.text
    if not has_expression(text):
        tree = parse(text)
        return Condition(text, node.place, False, tree is not None and uses_status_function(tree))
    segments = split(text)
    parts = [segment for segment in segments if isinstance(segment, Part)]
    trees = [tree for part in parts if (tree := parse(part.source)) is not None]
    has_status = any(uses_status_function(tree) for tree in trees)
    if len(segments) == 1:
        return Condition(parts[0].source, node.place, False, has_status)
    return Condition(text, node.place, True, has_status)


def _job(key: Scalar, body: MappingNode, declared: Mapping[str, JobId]) -> Job:
    outputs = body.get("outputs")
    return Job(
        id=JobId(key.text),
        place=key.place,
        name=_scalar(body.get("name")),
        needs=tuple(dict.fromkeys(declared[fold(need)] for need in words_of(body.get("needs")))),
        condition=build_condition(body.get("if")),
        runs_on=body.get("runs-on"),
        strategy=body.get("strategy"),
        env=body.get("env"),
        defaults=body.get("defaults"),
        outputs=outputs if isinstance(outputs, MappingNode) else None,
        steps=build_steps(body.get("steps")),
        timeout_minutes=_scalar(body.get("timeout-minutes")),
        cancel_timeout_minutes=_scalar(body.get("cancel-timeout-minutes")),
        continue_on_error=_scalar(body.get("continue-on-error")),
        container=body.get("container"),
        services=body.get("services"),
        environment=body.get("environment"),
        concurrency=body.get("concurrency"),
        permissions=body.get("permissions"),
        snapshot=body.get("snapshot"),
        uses=_text(body.get("uses")),
        with_=body.get("with"),
        secrets=body.get("secrets"),
        labels=words_of(body.get("labels")),
    )


class _Ids:
    """Step ids of one job: given ones first, then made ones that do not meet them."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, given: str) -> None:
        self._taken.add(fold(given))

    def make(self, body: MappingNode, kind: StepKind) -> StepId:
        base = _base(_text(body.get("uses")) if kind == "uses" else None, kind)
        while True:
            number = self._next[base] = self._next.get(base, 0) + 1
            suffix = "" if number == 1 else f"_{number}"
            made = base[: MAX_ID - len(suffix)] + suffix
            if fold(made) not in self._taken:
                self._taken.add(fold(made))
                return StepId(made)


@lru_cache(256)
def _base(uses: str | None, kind: StepKind) -> str:
    return _ILLEGAL.sub("_", f"__{_stem(uses, kind)}")


def _stem(uses: str | None, kind: StepKind) -> str:
    if kind != "uses" or uses is None:
        return kind
    if uses.startswith("docker://"):
        return uses[len("docker://") :] or "run"
    if uses.startswith(("./", ".\\")):
        return "self"
    segments = [segment for segment in re.split(r"[/\\]", uses.split("@")[0]) if segment]
    return "/".join(segments[:2]) if len(segments) >= 2 else "run"


def build_steps(node: Node | None) -> tuple[Step, ...]:
    """The steps of a sequence of steps, ids made where none is given."""
    ids = _Ids()
    bodies = [item for item in _items(node) if isinstance(item, MappingNode)]
    for body in bodies:
        block = body.get("parallel")
        for inner in (body,) if block is None else (body, *_items(block)):
            given = _text(inner.get("id")) if isinstance(inner, MappingNode) else None
            if given:
                ids.take(given)
    return tuple(_step(body, ids) for body in bodies)


def step_kind(body: MappingNode) -> StepKind:
    """What a step does, by the key that says so."""
    return _kind({key.text for key, _ in body.entries})


def _kind(keys: Container[str]) -> StepKind:
    for kind in _KINDS:
        if kind in keys:
            return kind
    return "run"


def _step(body: MappingNode, ids: _Ids) -> Step:
    # A file may hold thousands of steps, and each has few of the keys that there are.
    part = {key.text: value for key, value in body.entries}
    kind = _kind(part)
    given = _text(part.get("id"))
    fields: dict[str, Any] = {}
    for key, value in part.items():
        if (made := _STEP.get(key)) is not None:
            fields[made[0]] = made[1](value)
    if "parallel" in part:
        fields["steps"] = tuple(_step(item, ids) for item in _items(part["parallel"]) if isinstance(item, MappingNode))
    return Step(StepId(given) if given else ids.make(body, kind), body.place, kind, **fields)


def _is_true(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is True


def _itself(node: Node) -> Node:
    return node


_STEP: Final[Mapping[str, tuple[str, Callable[[Node], object]]]] = {
    "name": ("name", _scalar),
    "if": ("condition", build_condition),
    "run": ("run", _scalar),
    "uses": ("uses", _text),
    "with": ("with_", _itself),
    "env": ("env", _itself),
    "shell": ("shell", _scalar),
    "working-directory": ("working_directory", _scalar),
    "continue-on-error": ("continue_on_error", _scalar),
    "timeout-minutes": ("timeout_minutes", _scalar),
    "background": ("background", _is_true),
    "wait": ("targets", words_of),
    "cancel": ("targets", words_of),
}
"""From a key of a step to the field of the model, and what is made of its value."""
