"""One attempt of a job, from its workflow's text to its result: `run_job`.

A job that goes wrong is a result, not an exception; only two things leave `run_job` as such: TryAgain when processes
cannot be started here at all, and the cancellation of the trio scope around it, after which nothing of the job lives.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
import trio

from p2pwf.core.bodies import MAX_OUTPUTS, MAX_TEXT, outputs_size
from p2pwf.errors import InvalidWorkflow, P2pwfError, TryAgain, UsageError
from p2pwf.isolation import Level
from p2pwf.runner.checkout import layout
from p2pwf.runner.environment import (
    Folders,
    base_environment,
    github_additions,
    job_context,
    runner_context,
    standard_variables,
)
from p2pwf.runner.filecommands import FileCommands
from p2pwf.runner.frame import Frame
from p2pwf.runner.hand import Hand
from p2pwf.runner.jobfiles import remove_tree
from p2pwf.runner.leftovers import job_folder, kill_marked
from p2pwf.runner.masking import Masker
from p2pwf.runner.matchers import Matchers
from p2pwf.runner.output import Annotations, JobLog, warn
from p2pwf.runner.processes import Spawner, open_spawner
from p2pwf.runner.sequence import Sequence
from p2pwf.runner.state import JobState, text_of
from p2pwf.runner.values import JobRequest, JobResult, Outcome, RunnerEnv
from p2pwf.workflow import Own, ResolvedJob, RunFacts, expand_job, parse, resolve_job
from p2pwf.workflow.asks import DEBUG
from p2pwf.workflow.model import Workflow

if TYPE_CHECKING:
    from p2pwf.runner.isolation.keeper import Loan

PARSED_KEPT: Final = 32
"""Workflows kept parsed: the legs of one run share it."""
PARSED_HERE: Final = 4096
"""Characters of a workflow that is parsed on the event loop: in about the time that a thread takes to answer."""
_FACTS: Final = frozenset(field.name for field in attrs.fields(RunFacts))


async def run_job(request: JobRequest, env: RunnerEnv) -> JobResult:
    """Run one attempt of a leg of a job and tell how it went.

    The caller has decided that it runs (its `if`, its needs). The log is written to `env.log`, which stays open.
    Nothing of the job is left when this returns or raises: no process, no file. Raises TryAgain when processes
    cannot be started.
    """
    masker = Masker()
    for secret in (*request.secrets.values(), *request.own_secrets.values()):
        masker.add(secret)
    try:
        if masker.overflow:
            raise UsageError("the secrets are too large to be hidden in logs", "give a job fewer, or shorter ones")
        facts = _facts(request)
        workflow = await _parsed(request)
        resolved = _resolve(request, workflow, facts)
    except (P2pwfError, KeyError, IndexError) as error:
        return _failed(error, masker)
    if env.spawner is not None:
        return await _run(request, env, env.spawner, masker, facts, resolved)
    async with open_spawner() as spawner:
        return await _run(request, env, spawner, masker, facts, resolved)


def _failed(error: P2pwfError | KeyError | IndexError | OSError, masker: Masker) -> JobResult:
    message = f"the workflow has no such job or leg: {error}" if isinstance(error, LookupError) else text_of(error)
    return JobResult(outcome="failure", conclusion="failure", error=masker.mask(message)[:MAX_TEXT])


async def _parsed(request: JobRequest) -> Workflow:
    if len(request.workflow_text) <= PARSED_HERE:
        return _workflow(request.workflow_text, request.workflow_path)
    return await trio.to_thread.run_sync(_workflow, request.workflow_text, request.workflow_path)


@lru_cache(PARSED_KEPT)
def _workflow(text: str, path: str) -> Workflow:
    return parse(text, path).require()


def _facts(request: JobRequest) -> RunFacts:
    known = {name: value for name, value in request.facts.items() if name in _FACTS}
    own = {"run_id": request.run, "workflow_path": request.workflow_path, **known, "attempt": request.attempt}
    return RunFacts(**cast("dict[str, Any]", own))  # checked when it was submitted


def _resolve(request: JobRequest, workflow: Workflow, facts: RunFacts) -> ResolvedJob:
    needs = cast("Mapping[str, Mapping[str, object]]", request.needs)
    total = request.legs
    if total is None:
        total = len(expand_job(workflow, request.job_id, facts, needs, request.called))
    leg = {"name": request.leg_name or request.job_id, "matrix": request.matrix}
    return resolve_job(
        workflow,
        request.job_id,
        facts,
        needs,
        leg_index=request.leg,
        legs=[leg] * max(total, request.leg + 1),
        secrets=request.secrets,
        own=Own(request.own_secrets, request.own_vars),
        called=request.called,
    )


@attrs.frozen(slots=True)
class _Ended:
    """What the steps left to say of the job; `goes_on`: its own continue-on-error."""

    outputs: Mapping[str, str]
    error: str | None
    goes_on: bool
    killed: int


async def _run(
    request: JobRequest, env: RunnerEnv, spawner: Spawner, masker: Masker, facts: RunFacts, resolved: ResolvedJob
) -> JobResult:
    try:
        async with (
            _lent(env) as loan,
            _made(_folders(loan, request, env, facts), facts, env) as (folders, files, is_filled),
            spawner.supervise() as supervisor,
            trio.open_nursery() as readers,
        ):
            base = base_environment(os.environ) if env.base is None else env.base
            if loan is not None and env.keeper is not None:
                try:
                    await env.keeper.confine(supervisor, loan, folders)
                except P2pwfError as error:  # it is never run with less
                    return _failed(error, masker)
                base = env.keeper.base(loan, folders, base)
            hand = Hand(folders)
            debug = "true" in (facts.vars.get(DEBUG), request.own_vars.get(DEBUG), request.secrets.get(DEBUG))
            log = JobLog(env.log, masker, env.now_ms, env.limits.line_bytes, env.limits.log_bytes)
            annotations = Annotations(masker)
            runner = runner_context(folders, request.runner_name, debug)
            state = JobState(
                request=request,
                env=env,
                facts=facts,
                resolved=resolved,
                folders=folders,
                files=files,
                supervisor=supervisor,
                readers=readers,
                log=log,
                masker=masker,
                annotations=annotations,
                base=base,
                standard=standard_variables(facts, folders, resolved.job.id, runner),
                github=github_additions(folders, resolved.job.id),
                runner=runner,
                hand=hand,
                debug=debug,
                variables=dict(request.env),
                job=job_context(facts, resolved.workflow.path),
                matchers=Matchers(folders.workspace, partial(warn, log, annotations), hand),
                loan=loan,
            )
            ended = await _perform(state, env.prefill and not is_filled)
    except OSError as error:
        return _failed(error, masker)
    return _result(state, ended)  # only now: the last lines of what was killed have been read


@asynccontextmanager
async def _lent(env: RunnerEnv) -> AsyncIterator[Loan | None]:
    """What an isolated job takes; None for one that is not. Raises TryAgain."""
    if env.isolation is Level.none:
        yield None
        return
    if env.keeper is None:
        raise TryAgain(f"no jobs are kept apart here, and this one needs {env.isolation.name}")
    async with env.keeper.lend(env.isolation, env.bounds, network=env.network) as loan:
        yield loan


def _folders(loan: Loan | None, request: JobRequest, env: RunnerEnv, facts: RunFacts) -> Folders:
    root = job_folder(env.work_root, request)
    return Folders.below(root, facts.repository) if loan is None else loan.folders(root, facts.repository)


@asynccontextmanager
async def _made(folders: Folders, facts: RunFacts, env: RunnerEnv) -> AsyncIterator[tuple[Folders, FileCommands, bool]]:
    """The job's folders, and whether the source is there; gone at the end of the block, whatever is in them."""
    if folders.root.exists():  # of an earlier life of this node
        await trio.to_thread.run_sync(remove_tree, folders.root)
    ahead = env.ahead is not None and await env.ahead(folders)
    if not ahead:
        folders.make()
    try:
        if ahead and folders.apart:
            await trio.to_thread.run_sync(folders.give)
        folders.event_file.parent.mkdir()
        folders.event_file.write_text(json.dumps(facts.payload), encoding="utf-8")
        if folders.owner is not None:  # the job's to read, and nobody's to write
            os.chown(folders.event_file.parent, -1, folders.owner)
            folders.event_file.parent.chmod(0o750)
        files = FileCommands(folders.commands, folders.owner)
        try:
            yield folders, files, ahead
        finally:
            files.close()
    finally:
        if env.discard is not None:
            env.discard(folders.root)
        else:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(remove_tree, folders.root)


async def _perform(state: JobState, fill: bool) -> _Ended:
    error: str | None = None
    outputs: dict[str, str] = {}
    goes_on = False
    failed: P2pwfError | OSError | None = None
    state.log.say(0, *_opening(state))
    try:
        if fill and state.request.source is not None:
            await layout(state.request.source, state.env.fetch_blob, state.folders.workspace, hand=state.hand)
        state.variables.update(state.resolved.env(state.github))
        goes_on = state.resolved.continue_on_error()
        minutes = state.resolved.timeout_minutes()
        if state.loan is not None:
            minutes = min(minutes or math.inf, state.loan.bounds.minutes)
        async with trio.open_nursery() as watch:
            watch.start_soon(_watch, state, minutes)
            if state.loan is not None:
                watch.start_soon(_watch_disk, state, state.loan)
            sequence = Sequence(state)
            try:
                await sequence.run()
                if not state.exhausted:
                    outputs = await _outputs(state, sequence.frame)
            except (P2pwfError, OSError) as reason:
                failed = reason
            watch.cancel_scope.cancel()
        if state.exhausted:
            raise UsageError(state.exhausted)
        if failed is not None:
            raise failed
    except (P2pwfError, OSError) as reason:
        error = text_of(reason)
        state.error(0, error)
    if state.loan is not None:
        from p2pwf.runner.isolation.watch import explain  # noqa: PLC0415 - as above

        for refused in explain(state.loan.group, state.loan.bounds):
            state.error(0, refused)
    killed = await state.supervisor.kill_everything()
    if state.supervisor.lost:
        killed += await trio.to_thread.run_sync(kill_marked, state.folders.root)
    if killed:
        state.log.say(0, f"Ended {killed} processes that steps had left behind")
    # All writers are dead, so their pipes end; one that hangs in the kernel is not waited for.
    state.readers.cancel_scope.deadline = trio.current_time() + state.env.limits.linger_s
    return _Ended(outputs, error, goes_on, killed)


def _result(state: JobState, ended: _Ended) -> JobResult:
    error = ended.error
    if state.log.broken is not None and error is None:
        error = f"the log cannot be written: {state.log.broken.strerror} (is the disk full?)"
    cancelled = state.status == "cancelled" and not state.exhausted
    outcome: Outcome = "cancelled" if cancelled else "failure" if error else state.status
    return JobResult(
        outcome=outcome,
        conclusion="success" if outcome == "failure" and ended.goes_on else outcome,
        outputs={} if error else ended.outputs,
        steps=tuple(sorted(state.results, key=lambda result: result.number)),  # those of the background end late
        annotations=tuple(state.annotations.kept),
        artifacts=tuple(state.artifacts),
        caches=tuple(state.caches),
        error=None if error is None else state.masker.mask(error)[:MAX_TEXT],
        dropped_log_bytes=state.log.dropped,
        killed=ended.killed,
    )


def _opening(state: JobState) -> tuple[str, ...]:
    request = state.request
    return (
        f"Job {state.resolved.name}, attempt {request.attempt}, on {request.runner_name}",
        f"Run {request.run} of {state.facts.repository} at {state.facts.ref}",
        *(() if state.loan is None else (state.loan.told,)),
    )


async def _watch(state: JobState, minutes: float) -> None:
    """Cancel the job when asked or when its time is over, and end it when the time for clean-up is over as well.

    No work of the runner's for it goes on after this, however it ends.
    """
    try:
        await _watch_time(state, minutes)
    finally:
        state.hand.stop()


async def _watch_time(state: JobState, minutes: float) -> None:
    with trio.move_on_after(minutes * 60 if minutes > 0 else math.inf) as time:
        if state.env.cancel is None:
            await trio.sleep_forever()
        else:
            await state.env.cancel.wait()
    overtime = f"The job has exceeded the maximum execution time of {minutes:g} minutes."
    state.error(0, overtime if time.cancelled_caught else "The run was cancelled.")
    state.status = "cancelled"
    for hear in list(state.running):
        hear(False)
    await trio.sleep(_grace(state))
    state.given_up = True
    for hear in list(state.running):
        hear(True)


async def _watch_disk(state: JobState, loan: Loan) -> None:
    """End the job at once when it takes more of the disk than it may."""
    from p2pwf.runner.isolation.watch import watch_disk  # noqa: PLC0415 - jobs that are not kept apart need it not

    try:
        await watch_disk(state.folders.root, loan.bounds, state.exhaust, loan.user, loan.group)
    except OSError as error:
        state.exhaust(f"The disk that the job lies on does not answer: {error.strerror or error}.")


def _grace(state: JobState) -> float:
    """Seconds for steps that go on after a cancellation."""
    minutes = state.resolved.cancel_timeout_minutes()
    return state.env.limits.cancel_s if minutes is None else minutes * 60


async def _outputs(state: JobState, frame: Frame) -> dict[str, str]:
    """The job's outputs; raises InvalidWorkflow if they cannot be evaluated or are too large."""
    at = frame.scope({}, {})
    environment, url = await state.evaluate(state.resolved.environment, at)
    if url:
        state.log.say(0, f"The URL of the environment {environment} is {url}")
    evaluated = await state.evaluate(state.resolved.outputs, at)
    outputs: dict[str, str] = {}
    for name, value in evaluated.items():
        if state.masker.mask(value) != value:
            state.warning(0, f"Skip output '{name}' since it may contain secret.")
        elif value:
            # Half a surrogate pair (JSON can spell one) is no text that could travel.
            outputs[name] = value.encode("utf-8", "replace").decode()
    size = outputs_size(outputs)
    if size > MAX_OUTPUTS:
        raise InvalidWorkflow(
            f"the outputs of the job are {size} bytes, the bound is {MAX_OUTPUTS}",
            "pass large results on as files, and only their names as outputs",
        )
    return outputs
