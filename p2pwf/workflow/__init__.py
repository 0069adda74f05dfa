"""The workflow language, pure: no I/O, no clock, no randomness.

    parsed = parse(data, "ci.yml")                 # any bytes -> Parsed: .workflow or None, .diagnostics
    workflow = parsed.require()                    # or raises InvalidWorkflow, which carries the diagnostics
    refused = unsupported(workflow)                # what this release's runner cannot do
    event = choose_event(workflow)                 # workflow_dispatch, else the only one declared
    is_triggered(workflow, facts, changed_paths)   # whether what happened passes the filters under `on`
    title_of(workflow, facts)                      # what run-name comes to
    next_ticks("30 5 * * MON", now)                # of a schedule
    inputs = dispatch_inputs(workflow, {"level": "2"})
    facts = RunFacts(event=event, inputs=inputs, payload={"inputs": payload_inputs(inputs)}, …)
    flow = Flow(workflow, facts, called)           # with the texts of the workflows that it calls; or one by one:
    plan = build_plan(workflow, facts)             # plain data, fit for an event
    should_run(workflow, "test", facts, needs, ancestors, cancelled=False)
    legs = expand_job(workflow, "test", facts, needs)            # for a job whose legs the plan leaves open
    job = resolve_job(workflow, "test", facts, needs, legs=legs, leg_index=0, secrets={})
    job.env(); job.step_runs(step, scope); job.step_script(step, scope); job.outputs(scope)

`needs` is everywhere {job id: {"result": "success|failure|cancelled|skipped", "outputs": {name: value}}}.
"""

from __future__ import annotations

from p2pwf.workflow.callrules import CALL, call_inputs, check_secrets
from p2pwf.workflow.calls import calls_of
from p2pwf.workflow.commands import COMMANDS, Command, CommandReader, parse_command
from p2pwf.workflow.cron import cron_fault, next_ticks
from p2pwf.workflow.diagnostics import Diagnostic, Place
from p2pwf.workflow.expr import ExpressionError, Function, Value, evaluate, interpolate
from p2pwf.workflow.facts import RunFacts
from p2pwf.workflow.filters import is_triggered, passes, selects
from p2pwf.workflow.model import Condition, InputSpec, Job, JobId, Step, StepId, Trigger, Workflow
from p2pwf.workflow.parsing import Parsed, parse
from p2pwf.workflow.plan import (
    Finish,
    Flow,
    Plain,
    Strategy,
    build_plan,
    expand_job,
    is_dynamic,
    job_continue_on_error,
    job_strategy,
    run_group,
    should_run,
)
from p2pwf.workflow.refusals import unsupported
from p2pwf.workflow.resolve import Own, ResolvedJob, Status, StepScope, resolve_job
from p2pwf.workflow.stepfiles import BLOCKED, StepFileError, parse_pairs, parse_paths
from p2pwf.workflow.tags import TAGS, tags_in
from p2pwf.workflow.title import title_of
from p2pwf.workflow.triggers import DISPATCH, choose_event, declared_events, dispatch_inputs, payload_inputs

__all__ = [
    "BLOCKED",
    "CALL",
    "COMMANDS",
    "DISPATCH",
    "TAGS",
    "Command",
    "CommandReader",
    "Condition",
    "Diagnostic",
    "ExpressionError",
    "Finish",
    "Flow",
    "Function",
    "InputSpec",
    "Job",
    "JobId",
    "Own",
    "Parsed",
    "Place",
    "Plain",
    "ResolvedJob",
    "RunFacts",
    "Status",
    "Step",
    "StepFileError",
    "StepId",
    "StepScope",
    "Strategy",
    "Trigger",
    "Value",
    "Workflow",
    "build_plan",
    "call_inputs",
    "calls_of",
    "check_secrets",
    "choose_event",
    "cron_fault",
    "declared_events",
    "dispatch_inputs",
    "evaluate",
    "expand_job",
    "interpolate",
    "is_dynamic",
    "is_triggered",
    "job_continue_on_error",
    "job_strategy",
    "next_ticks",
    "parse",
    "parse_command",
    "parse_pairs",
    "parse_paths",
    "passes",
    "payload_inputs",
    "resolve_job",
    "run_group",
    "selects",
    "should_run",
    "tags_in",
    "title_of",
    "unsupported",
]
