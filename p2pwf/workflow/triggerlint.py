"""What a schema cannot say of `on`: filters that exclude each other or match nothing, inputs, schedules."""

from __future__ import annotations

import re
from typing import Final

from p2pwf.workflow.build import configured_triggers
from p2pwf.workflow.cron import cron_fault, never_due
from p2pwf.workflow.diagnostics import Findings
from p2pwf.workflow.effort import PATTERN, SCHEDULE, Effort
from p2pwf.workflow.events import EXCLUSIVE_FILTERS
from p2pwf.workflow.expr import has_expression
from p2pwf.workflow.filters import pattern_fault
from p2pwf.workflow.model import InputSpec, Trigger
from p2pwf.workflow.nodes import MappingNode, Node, Scalar, SequenceNode, scalars

IDENTIFIER: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]*", re.ASCII)
"""How inputs, jobs and steps may be called."""

MAX_INPUTS: Final = 25
"""Inputs of workflow_dispatch, GitHub's bound."""


def check_triggers(on: Node | None, findings: Findings, effort: Effort) -> None:
    """Look at what stands under `on`; raises TooComplex."""
    for trigger in configured_triggers(on):
        for pair in EXCLUSIVE_FILTERS:
            if all(name in trigger.filters for name in pair):
                message = f"You may only define one of '{pair[0]}' and '{pair[1]}' for a single event"
                findings.error(trigger, "exclusive-filters", message, "use '!' patterns in the first")
            for name in pair:
                _patterns(trigger, name, findings, effort)
        if trigger.event == "workflow_dispatch" and len(trigger.inputs) > MAX_INPUTS:
            message = f"You may define up to {MAX_INPUTS} inputs for a workflow_dispatch event"
            findings.error(trigger.inputs[MAX_INPUTS].place, "too-many-inputs", message)
        for spec in trigger.inputs:
            _input(spec, findings)
    schedule = on.get("schedule") if isinstance(on, MappingNode) else None
    for item in schedule.items if isinstance(schedule, SequenceNode) else ():
        cron = item.get("cron") if isinstance(item, MappingNode) else None
        if isinstance(cron, Scalar) and cron.text:
            effort.spend(SCHEDULE)
            fault = cron_fault(cron.text)
            if fault:
                hint = "five fields: minute hour day-of-month month day-of-week, in UTC"
                findings.error(cron, "cron", f"Invalid cron expression '{cron.text}': {fault}", hint)
            elif never_due(cron.text):
                findings.warning(cron, "cron-never", f"The schedule '{cron.text}' is never due")


def _patterns(trigger: Trigger, name: str, findings: Findings, effort: Effort) -> None:
    patterns = trigger.filters.get(name, ())
    node = trigger.config.get(name) if trigger.config else None
    for item in scalars(node):
        effort.spend(PATTERN * (2 + len(item.text)))
        fault = pattern_fault(item.text) if not has_expression(item.text) else None
        if fault:
            message = f"The pattern '{item.text}' matches nothing: {fault}"
            findings.warning(item, "filter-pattern", message, "put a \\ before what has no meaning")
    if node is not None and patterns and all(pattern.startswith("!") for pattern in patterns):
        hint = f"begin with a pattern of what is wanted, such as '**', or use {name.removesuffix('-ignore')}-ignore"
        message = f"'{name}' only takes out, so it never matches"
        findings.warning(node, "filter-pattern", message, hint)


def _input(spec: InputSpec, findings: Findings) -> None:
    name, kind, default, options = spec.name, spec.type, spec.default, spec.options
    if not IDENTIFIER.fullmatch(name):
        hint = "an input's name starts with a letter or '_' and holds letters, digits, '-' and '_'"
        findings.error(spec, "input-name", f"The input name '{name}' is invalid", hint)
    if kind == "choice" and not options:
        findings.error(spec, "input-options", f"The choice input '{name}' has no options")
    if default is None or has_expression(default.text):
        return
    fits = {
        "choice": not options or default.text in options,
        "boolean": isinstance(default.value, bool) or default.text in ("true", "false"),
        "number": isinstance(default.value, float),
    }.get(kind, True)
    if not fits:
        listed = f"options: {', '.join(options)}" if kind == "choice" else None
        message = f"The default '{default.text}' of the input '{name}' is not a {kind}"
        findings.error(default, "input-default", message, listed)
