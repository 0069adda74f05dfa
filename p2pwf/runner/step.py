"""One step of a job, from its `if` to its conclusion. The order of things is the open runner's `StepsRunner`.

A failing step is a value, not an exception: whatever goes wrong in evaluating or starting it is an annotation and the
outcome `failure`. Only the end of the whole job (a cancelled trio scope) passes through.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

import attrs
import trio

from p2pwf.errors import P2pwfError, UsageError
from p2pwf.runner import native
from p2pwf.runner.environment import step_variables
from p2pwf.runner.log import Stream
from p2pwf.runner.output import StepOutput
from p2pwf.runner.processes import Launch, Process
from p2pwf.runner.shells import command_line, script_text, shell_of
from p2pwf.runner.state import JobState
from p2pwf.runner.values import Outcome, StepResult
from p2pwf.workflow import BLOCKED, Step, StepFileError, StepScope, Value, parse_pairs, parse_paths

READ_SIZE: Final = 1 << 14
"""One read of output: what is done with it at a stretch, line by line, keeps the event loop for milliseconds only."""
MAX_SUMMARIES: Final = 20
"""Step summaries kept of a job, as on GitHub; each is at most a step file long."""
INSECURE: Final = "ACTIONS_ALLOW_UNSECURE_COMMANDS"
Ended = Literal["done", "timeout", "cancelled"]


@attrs.frozen(slots=True)
class _Plan:
    """A `run` step with everything evaluated."""

    launch: Launch
    header: tuple[str, ...]


class StepRun:
    """One step, run once."""

    def __init__(self, state: JobState, number: int, step: Step) -> None:
        self._state = state
        self._number = number
        self._step = step
        self._key = f"{number}"
        self._name = _plain_name(step)
        self._github: Mapping[str, Value] = {"action": step.id, "action_repository": "", "action_ref": ""}
        self._outputs: dict[str, str] = {}
        self._summary = ""

    async def run(self) -> None:
        """Run the step, or skip it, and record how it went."""
        state = self._state
        started: int | None = None
        goes_on = False
        try:
            if state.given_up or not await state.evaluate(state.resolved.step_runs, self._step, self._scope()):
                outcome: Outcome = "skipped"
            else:
                started = state.env.now_ms()
                outcome, goes_on = await self._perform()
        except (P2pwfError, OSError) as error:
            started = started or state.env.now_ms()
            self._explain(error)
            outcome = "failure"
        conclusion: Outcome = "success" if outcome == "failure" and goes_on else outcome
        ended = None if started is None else state.env.now_ms()
        result = StepResult(
            number=self._number,
            id=self._step.id,
            name=state.masker.mask(self._name),
            outcome=outcome,
            conclusion=conclusion,
            started_ms=started,
            completed_ms=ended,
            summary=self._summary,
        )
        state.end_step(self._step, result, self._outputs)

    def _scope(self, step_env: Mapping[str, str] | None = None) -> StepScope:
        return self._state.scope(self._github, step_env)

    def _explain(self, error: P2pwfError | OSError) -> None:
        if isinstance(error, P2pwfError):
            message = error.message if error.hint is None else f"{error.message} ({error.hint})"
        else:
            message = f"{error.strerror or error}{': ' + str(error.filename) if error.filename else ''}"
        self._state.error(self._number, message)

    async def _perform(self) -> tuple[Outcome, bool]:
        """The outcome, and whether the job goes on after a failure."""
        state, step, resolved = self._state, self._step, self._state.resolved
        step_env = await state.evaluate(resolved.step_env, step, self._scope())
        at = self._scope(step_env)
        self._name = await state.evaluate(resolved.step_name, step, at)
        if state.env.progress is not None:
            state.env.progress.step_started(self._number, state.masker.mask(self._name))
        goes_on = await state.evaluate(resolved.step_continue_on_error, step, at)
        try:
            minutes = await state.evaluate(resolved.step_timeout_minutes, step, at)
            files = state.files.make(self._key)
            self._github = {**self._github, **{name[len("GITHUB_") :].lower(): path for name, path in files.items()}}
            output = StepOutput(
                self._number,
                state.log,
                state.masker,
                state.annotations,
                debug=state.debug,
                insecure={**state.variables, **step_env}.get(INSECURE, "").lower() == "true",
                line=state.env.limits.line_bytes,
            )
            variables = self._variables(step_env, files)
            if step.uses is not None:
                outcome = await self._use(step_env, minutes)
            else:
                plan = await self._plan(variables, step_env)
                outcome = await self._program(plan, output, minutes)
            output.over = True
            if not self._take_files(output) or output.refused is not None:
                outcome = "failure" if outcome == "success" else outcome
        except (P2pwfError, OSError) as error:
            self._explain(error)
            outcome = "failure"
        return outcome, goes_on

    def _variables(self, step_env: Mapping[str, str], files: Mapping[str, str]) -> dict[str, str]:
        state = self._state
        own = {"GITHUB_ACTION": self._step.id, "GITHUB_ACTION_REPOSITORY": "", "GITHUB_ACTION_REF": "", **files}
        return step_variables(state.base, {**state.variables, **step_env}, state.standard, own, state.paths)

    async def _plan(self, variables: Mapping[str, str], step_env: Mapping[str, str]) -> _Plan:
        state, step, resolved = self._state, self._step, self._state.resolved
        at = self._scope(step_env)
        text = await state.evaluate(resolved.step_script, step, at)
        shell = shell_of(await state.evaluate(resolved.step_shell, step, at))
        below = await state.evaluate(resolved.step_working_directory, step, at)  # relative to the workspace, or not
        folder = state.folders.workspace / (below or "")
        if not folder.is_dir():
            raise UsageError(f"the working directory is not there: {folder}", "does a step before this one make it?")
        script = state.files.script(self._key, shell.suffix, script_text(shell, text))
        arguments = command_line(shell, script, variables["PATH"])
        shown = {**state.variables, **step_env}
        header = (
            f"##[group]{self._name}",
            *text.rstrip("\r\n").splitlines(),
            f"shell: {' '.join((arguments[0], *shell.template.split()[1:]))}",
            *(("env:", *(f"  {name}: {value}" for name, value in shown.items())) if shown else ()),
            "##[endgroup]",
        )
        return _Plan(Launch(arguments, variables, folder), header)

    async def _use(self, step_env: Mapping[str, str], minutes: float | None) -> Outcome:
        state = self._state
        inputs = await state.evaluate(state.resolved.step_with, self._step, self._scope(step_env))
        state.log.say(self._number, f"##[group]{self._name}", *(f"{k}: {v}" for k, v in inputs.items()), "##[endgroup]")

        async def work() -> None:
            self._outputs.update(await native.perform(state, self._number, self._step.uses or "", inputs))

        return self._outcome(await self._bounded(work, minutes), 0, minutes)

    async def _program(self, plan: _Plan, output: StepOutput, minutes: float | None) -> Outcome:
        state = self._state
        try:
            process = await state.supervisor.start(plan.launch)
        finally:
            state.log.say(self._number, *plan.header)  # written while the step is starting
        ends = (trio.Event(), trio.Event())
        state.readers.start_soon(_pump, "stdout", process.stdout, output, ends[0])
        state.readers.start_soon(_pump, "stderr", process.stderr, output, ends[1])
        status = 0

        async def work() -> None:
            nonlocal status
            status = await process.wait()
            if process.alone:
                state.files.left_clean()
            # Its own children may still be writing; one that stays for longer is read on, but not waited for.
            with trio.move_on_after(state.env.limits.linger_s):
                for end in ends:
                    await end.wait()

        try:
            ended = await self._bounded(work, minutes)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._stop(process, (signal.SIGTERM,))
            raise
        if ended != "done":
            await self._stop(process, (signal.SIGINT, signal.SIGTERM))
            with trio.move_on_after(state.env.limits.linger_s):
                for end in ends:
                    await end.wait()
        return self._outcome(ended, status, minutes)

    async def _bounded(self, work: Callable[[], Awaitable[None]], minutes: float | None) -> Ended:
        """Do `work` until the step's time is over, or the job is cancelled and the step not meant to go on then."""
        state = self._state
        scope = trio.CancelScope()
        ended: Ended = "timeout"

        def tell(final: bool) -> None:
            if final or not self._goes_on_cancelled():
                scope.cancel()

        state.current = tell
        seconds = minutes * 60 if minutes is not None and minutes > 0 else math.inf
        try:
            with scope, trio.move_on_after(seconds):
                await work()
                ended = "done"
        finally:
            state.current = None
        return "cancelled" if scope.cancelled_caught else ended

    def _goes_on_cancelled(self) -> bool:
        try:
            return self._state.resolved.step_runs(self._step, attrs.evolve(self._scope(), status="cancelled"))
        except P2pwfError:
            return False

    def _outcome(self, ended: Ended, status: int, minutes: float | None) -> Outcome:
        if ended == "cancelled":
            self._state.error(self._number, "The operation was canceled.")
            return "cancelled"
        if ended == "timeout":
            self._state.error(self._number, f"The action '{self._name}' has timed out after {minutes:g} minutes.")
            return "failure"
        if status != 0:
            self._state.error(self._number, f"Process completed with exit code {status}.")
            return "failure"
        return "success"

    async def _stop(self, process: Process, signals: tuple[signal.Signals, ...]) -> None:
        """End a step: it is asked first, then everything it started is killed. Bounded in time."""
        limits = self._state.env.limits
        supervisor = self._state.supervisor
        for number in signals:
            await supervisor.signal(process, number)
            grace = limits.interrupt_s if number is signal.SIGINT else limits.terminate_s
            with trio.move_on_after(grace):
                await process.wait()
                break
        await supervisor.kill(process)

    def _take_files(self, output: StepOutput) -> bool:
        """Take in what the step wrote to its files and said by commands; whether all of it could be read."""
        state = self._state
        state.variables.update(output.variables)
        state.paths.extend(output.paths)
        self._outputs.update(output.outputs)
        good = True
        for take in (self._take_env, self._take_path, self._take_outputs, self._take_state, self._take_summary):
            try:
                take()
            except StepFileError as error:
                self._explain(error)
                good = False
        return good

    def _read(self, variable: str) -> str:
        return self._state.files.read(variable)

    def _printable(self, variable: str) -> str:
        text = self._read(variable)
        if "\0" in text:
            raise StepFileError(f"{variable} holds a NUL", "no variable of a process can")
        return text

    def _take_env(self) -> None:
        for name, value in parse_pairs(self._printable("GITHUB_ENV"), "GITHUB_ENV"):
            if name.upper() in BLOCKED:
                self._state.error(self._number, f"Can't store {name} output parameter using '$GITHUB_ENV' command.")
            else:
                self._state.variables[name] = value

    def _take_path(self) -> None:
        for folder in parse_paths(self._printable("GITHUB_PATH")):
            if folder in self._state.paths:
                self._state.paths.remove(folder)
            self._state.paths.append(folder)

    def _take_outputs(self) -> None:
        self._outputs.update(parse_pairs(self._read("GITHUB_OUTPUT"), "GITHUB_OUTPUT"))

    def _take_state(self) -> None:
        parse_pairs(self._read("GITHUB_STATE"), "GITHUB_STATE")

    def _take_summary(self) -> None:
        state = self._state
        try:
            text = self._read("GITHUB_STEP_SUMMARY")
        except StepFileError as error:
            self._explain(error)  # a summary that is lost does not fail the step
            return
        if text and sum(1 for result in state.results if result.summary) < MAX_SUMMARIES:
            self._summary = state.masker.mask(text)


def _plain_name(step: Step) -> str:
    """The name of a step whose expressions are not evaluated, because it is skipped."""
    if step.name is not None and step.name.text:
        return step.name.text
    script = step.run.text.strip().split("\n", 1)[0].strip() if step.run is not None else ""
    return f"Run {step.uses or script or step.kind}"


async def _pump(stream: Stream, pipe: trio.lowlevel.FdStream, output: StepOutput, end: trio.Event) -> None:
    """Read one of a step's pipes until all its writers are gone."""
    async with pipe:
        while data := await pipe.receive_some(READ_SIZE):
            output.feed(stream, data)
    output.feed(stream, b"")
    end.set()
