"""From what a user submits to the body of run.submit: parse, choose the event, type the inputs, plan.

No I/O of its own: what the workflow calls and uses is found by the `Library` that it is given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from p2pwf.core.bodies import MAX_NAME, MAX_PAYLOAD, MAX_WORKFLOW, outputs_size
from p2pwf.core.ids import Cid
from p2pwf.engine.desk import integral
from p2pwf.errors import InvalidWorkflow, Refused, UsageError
from p2pwf.runner.source import Origin, Source
from p2pwf.workflow import (
    CALL,
    DISPATCH,
    Diagnostic,
    Flow,
    RunFacts,
    Value,
    Workflow,
    call_inputs,
    choose_event,
    dispatch_inputs,
    parse,
    payload_inputs,
    run_group,
    title_of,
    unsupported,
)
from p2pwf.workflow.asks import unset_secrets, variables_of

ROOM: Final = 16
"""Bytes of a variable in an event beside its name and its value, at most."""

MAX_PINS: Final = 32
"""Labels that a user asks for beside those of the jobs: as many as a peer that joins may offer."""


@attrs.frozen(slots=True, kw_only=True)
class SourceFacts:
    """What the source says of itself: its manifest, and the facts of its repository."""

    manifest: Cid | None = None
    ref: str = "refs/heads/main"
    sha: str = "0" * 40
    repository: str = "local/workflow"
    actor: str = "local"
    workflow_path: str = "workflow.yml"

    @classmethod
    def of(cls, source: Source | Origin) -> SourceFacts:
        """The facts of a tree; it has a manifest once it is recorded."""
        return cls(
            manifest=source.manifest if isinstance(source, Source) else None,
            ref=source.ref,
            sha=source.sha,
            repository=source.repository,
            actor=source.actor,
            workflow_path=source.rel_workflow_path,
        )


@attrs.frozen(slots=True, kw_only=True)
class Wanted:
    """What the user asked for. `payload`: the event's, or None to make one. `force`: also an untagged workflow. `pins`:
    labels that each job's peer must have beside those that it asks for.

    `vars`: what the `vars` context holds; the body keeps those that the files name. `secrets`: (environment, name) of
    those that are set, None where nobody knows: a file that names others gets a warning. The id and the number of a run
    are known only once it is submitted: until then `run_id` stands for the one, which must be unlike that of any other
    run, and `run_number` is a guess.
    """

    text: bytes
    source: SourceFacts
    name: str | None = None
    priority: float = 3.0
    event: str | None = None
    payload: Mapping[str, Any] | None = None
    inputs: Mapping[str, Any] = attrs.field(factory=dict)
    key: str | None = None
    force: bool = False
    vars: Mapping[str, str] = attrs.field(factory=dict)
    secrets: Collection[tuple[str | None, str]] | None = None
    pins: Sequence[str] = ()
    run_id: str = "0"
    run_number: int = 1


class Finds(Protocol):
    """What finds the workflows that a workflow calls and the actions that it uses; see actions.Library."""

    def for_tags(self, tags: Iterable[str]) -> None: ...

    def called(self, workflow: Workflow) -> Mapping[str, str]: ...

    def actions(self, workflows: Iterable[Workflow]) -> Mapping[str, Any]: ...


def _check_words(wanted: Wanted) -> None:
    """Raises UsageError for labels, a key and a name that no event can hold."""
    for what, words in (("label", wanted.pins), ("key", () if wanted.key is None else (wanted.key,))):
        for word in words:
            if not 0 < len(word) <= MAX_NAME or not word.isprintable():
                hint = f"a {what} is a line of text of at most {MAX_NAME} characters"
                raise UsageError(f"not a {what}: {word[:40]!r}", hint)
    try:
        (wanted.name or "").encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"not a name: {(wanted.name or '')[:40]!r}", "a name is UTF-8") from error
    if len(wanted.pins) > MAX_PINS:
        raise UsageError(f"{len(wanted.pins)} labels", f"give at most {MAX_PINS}")


def make_body(wanted: Wanted, library: Finds | None = None) -> tuple[dict[str, Any], tuple[Diagnostic, ...]]:
    """The body of run.submit (without `absent`), and the warnings of the check.

    `library` finds the workflows that it calls and the actions that it uses; without one there are none.
    A file of the event workflow_call is run as if a workflow that somebody started by hand had called it.
    Raises InvalidWorkflow (with all diagnostics) for a file that does not check or that this release cannot run,
    UsageError for an event or input that the workflow does not declare, and for labels or a key of no use, Refused for
    an untagged file without force;
    and NotFound, TryAgain or UsageError, with the step's or job's name, for an action or workflow that cannot be had.
    """
    source = wanted.source
    _check_words(wanted)
    if len(wanted.text) > MAX_WORKFLOW:
        size = f"{len(wanted.text):,} bytes, the bound is {MAX_WORKFLOW:,}"
        raise InvalidWorkflow(
            f"{source.workflow_path}: the file is too large: {size}", "move scripts into files of the source"
        )
    parsed = parse(wanted.text, source.workflow_path)
    workflow = parsed.require()
    _refuse_unsupported(workflow)
    if not workflow.tags and not wanted.force:
        raise Refused(
            f"{source.workflow_path} has no p2p-workflow or offline-workflow tag",
            "add `labels: p2p-workflow` to it, or submit it with --force",
        )
    if not (wanted.priority == wanted.priority and abs(wanted.priority) < float("inf")):
        raise UsageError(f"not a priority: {wanted.priority}", "1.0 is critical, 3.0 normal, 5.0 background")
    chosen = choose_event(workflow, wanted.event)
    event = DISPATCH if chosen == CALL else chosen  # a called file sees its caller's event: here somebody's hand
    payload = dict(wanted.payload) if wanted.payload is not None else {}
    name = (wanted.name or workflow.name or source.workflow_path)[:MAX_NAME]
    facts = RunFacts(
        event=event,
        payload=payload,
        ref=source.ref,
        sha=source.sha,
        repository=source.repository,
        actor=source.actor,
        vars=wanted.vars,
        workflow_name=workflow.name or source.workflow_path,
        workflow_path=source.workflow_path,
        run_id=wanted.run_id,
        run_number=wanted.run_number,
    )
    inputs = _inputs(workflow, chosen, wanted, facts)
    if chosen == DISPATCH:
        payload.setdefault("inputs", payload_inputs(inputs))
    facts = attrs.evolve(facts, inputs=inputs, payload=payload)
    if library is not None:
        library.for_tags(workflow.tags)
    called = {} if library is None else library.called(workflow)
    flow = Flow(workflow, facts, called)
    for inner in flow.layout.files.values():
        _refuse_unsupported(inner)
    called = {key: called[key] for key in flow.layout.files}
    if (total := outputs_size(called)) > MAX_WORKFLOW:
        size = f"{total:,} bytes together, the bound is {MAX_WORKFLOW:,}"
        message = f"{source.workflow_path}: the {len(called)} workflows that it calls are too large: {size}"
        raise InvalidWorkflow(message, "move scripts into files of the source")
    plan: Any = flow.plan()
    group = run_group(workflow, facts)
    actions = {} if library is None else library.actions((workflow, *flow.layout.files.values()))
    pins = sorted({pin.lower() for pin in wanted.pins})
    jobs: list[Any] = [
        {**job, "legs": None if job["legs"] is None else normal_legs(job["legs"], pins)} for job in plan["jobs"]
    ]
    body: dict[str, Any] = {
        "name": name,
        "title": title_of(workflow, facts),
        "workflow": wanted.text.decode("utf-8"),
        "path": source.workflow_path,
        "plan": {"jobs": jobs},
        "event": event,
        "payload": payload,
        "ref": source.ref,
        "sha": source.sha,
        "repository": source.repository,
        "actor": source.actor,
        "inputs": dict(inputs),
        "vars": _used(wanted.vars, flow),
        "tags": sorted(workflow.tags),
        "priority": integral(wanted.priority),
        "source": source.manifest,
        "called": called,
        "actions": actions,
        "concurrency": None if group is None else {**group, "supersedes": []},
        "pins": pins,
        "rerun": None,
        "schedule": None,
        "key": wanted.key,
    }
    lacking = () if wanted.secrets is None else unset_secrets(flow, wanted.secrets)
    return body, (*parsed.diagnostics, *lacking)


def _used(known: Mapping[str, str], flow: Flow) -> dict[str, str]:
    """The variables that a run's files name; raises UsageError for more than an event holds."""
    names = variables_of(flow) if known else frozenset()
    used = {name: value for name, value in known.items() if names is None or name.upper() in names}
    if outputs_size(used) > MAX_PAYLOAD - ROOM * len(used):
        size = f"{outputs_size(used):,} bytes, the bound is {MAX_PAYLOAD:,}"
        raise UsageError(f"the variables that the workflow names are too large: {size}", "name them one by one")
    return used


def _refuse_unsupported(workflow: Workflow) -> None:
    refused = unsupported(workflow)
    if refused:
        first = refused[0]
        raise InvalidWorkflow(
            f"{workflow.path}:{first.line}:{first.column}: {first.message}",
            first.hint,
            tuple(one.to_json() for one in refused),
        )


def _inputs(workflow: Workflow, event: str, wanted: Wanted, facts: RunFacts) -> dict[str, Value]:
    if event == DISPATCH:
        return dispatch_inputs(workflow, wanted.inputs)
    if event == CALL:
        return call_inputs(workflow, wanted.inputs, facts.contexts())
    if wanted.inputs:
        declared = any(trigger.event == DISPATCH for trigger in workflow.triggers)
        hint = f"add --event {DISPATCH}" if declared else f"declare `on: {DISPATCH}` with inputs"
        raise UsageError(f"the event {event} takes no inputs", hint)
    return {}


def normal_legs(legs: Sequence[Mapping[str, Any]], pins: Sequence[str]) -> list[dict[str, Any]]:
    """Legs as events hold them: with the labels that the submission adds, sorted, each once."""
    return [{**leg, "labels": sorted({*leg["labels"], *pins})} for leg in legs]
