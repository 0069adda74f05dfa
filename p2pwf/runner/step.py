"""One step, from its `if` to its conclusion. The order of things is the open runner's `StepsRunner`.

A failing step is a value, not an exception: whatever goes wrong in evaluating or starting it is an annotation and the
outcome `failure`. Only the end of what is around it (a cancelled trio scope) passes through. The same class runs the
steps of a job and those of a composite action, and the stages before and after that actions have.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import trio

from p2pwf.errors import P2pwfError, UsageError
from p2pwf.runner.environment import step_variables
from p2pwf.runner.filecommands import MAX_BYTES, StepFiles
from p2pwf.runner.frame import Frame, Stage
from p2pwf.runner.output import StepOutput
from p2pwf.runner.processes import Launch
from p2pwf.runner.program import Ended, run_program
from p2pwf.runner.shells import command_line, container_command, script_text, shell_of
from p2pwf.runner.state import JobState, text_of
from p2pwf.runner.values import Outcome, StepResult
from p2pwf.workflow import BLOCKED, Condition, Step, StepFileError, StepScope, Value, parse_pairs, parse_paths

if TYPE_CHECKING:
    from p2pwf.runner.uses import Use

MAX_SUMMARIES: Final = 20
"""Step summaries kept of a job, as on GitHub; each is at most a step file long."""
INSECURE: Final = "ACTIONS_ALLOW_UNSECURE_COMMANDS"


class StepRun:
    """One step, run once; `use` is the action that it uses, shared by its stages."""

    def __init__(self, frame: Frame, step: Step, number: int, stage: Stage = "main", use: Use | None = None) -> None:
        self.frame = frame
        self.step = step
        self.number = number
        self.stage: Stage = stage
        self.state: JobState = frame.state
        self.use = use if use is not None or step.uses is None else _use(step.uses)
        self.env: dict[str, str] = {}
        self.github: dict[str, Value] = {}
        if not frame.depth:
            self.github = {"action": step.id, "action_repository": "", "action_ref": ""}
        self.outputs: dict[str, str] = {}
        self.summary = ""
        self.outcome: Outcome = "skipped"
        self.conclusion: Outcome = "skipped"
        self.broken = False
        """Whether it could not even be told if it is to run."""
        self.scope = trio.CancelScope()
        self._told = False
        self._wanted = False
        self._name = _plain_name(step)
        self._goes_on = False
        self._started: int | None = None

    async def run(self) -> None:
        """Run the step, or skip it, and record how it went."""
        if await self.begins():
            await self.perform()
        self.finish()
        self.count()

    async def begins(self) -> bool:
        """Whether the step is to run; a failure to find out is its outcome."""
        state, resolved = self.state, self.frame.resolved
        try:
            if self.step.env is not None:
                self.env = await state.evaluate(resolved.step_env, self.step, self.at())
            return not state.given_up and await state.evaluate(resolved.holds, self._condition, self._asked())
        except (P2pwfError, OSError) as error:
            self.broken = True
            self._started = state.env.now_ms()
            self.explain(error)
            self.outcome = "failure"
            return False

    async def perform(self) -> None:
        """Run the step."""
        self._started = self._started or self.state.env.now_ms()
        try:
            self.outcome = await self._perform()
        except (P2pwfError, OSError) as error:
            self.explain(error)
            self.outcome = "failure"
        if self.outcome == "failure":
            await self._ask_to_go_on()

    async def _ask_to_go_on(self) -> None:
        """Whether the job goes on though this step has failed: asked only then."""
        try:
            self._goes_on = await self.state.evaluate(self.frame.resolved.step_continue_on_error, self.step, self.at())
        except P2pwfError as error:
            self.explain(error)

    def finish(self) -> None:
        """Record how the step went."""
        state = self.state
        self.conclusion = "success" if self.outcome == "failure" and self._goes_on else self.outcome
        if self.frame.depth:
            return
        result = StepResult(
            number=self.number,
            id=self.step.id if self.stage == "main" else "",
            name=state.masker.mask(self._shown()),
            outcome=self.outcome,
            conclusion=self.conclusion,
            started_ms=self._started,
            completed_ms=None if self._started is None else state.env.now_ms(),
            summary=self.summary,
        )
        state.record(result)

    def _shown(self) -> str:
        return self._name if self.stage == "main" else f"{self.stage.title()} {self._name}"

    def count(self) -> None:
        """Let those after it see how it went, and the job or the action around it."""
        if self.stage == "main":
            self.frame.keep(self.step.id, self.outcome, self.conclusion, self.outputs)
        self.frame.count(self.conclusion)

    def at(self) -> StepScope:
        """What the expressions of the step see now."""
        return self.frame.scope(self.github, self.env)

    @property
    def name(self) -> str:
        """The name as it shows, evaluated once the step runs."""
        return self._name

    @property
    def _condition(self) -> Condition | None:
        return self.step.condition if self.stage == "main" or self.use is None else self.use.condition(self.stage)

    def _asked(self, status: Literal["cancelled"] | None = None) -> StepScope:
        return self.frame.scope(self.github, self.env, by_job=self.stage != "main", status=status)

    def explain(self, error: P2pwfError | OSError) -> None:
        """Say what went wrong."""
        self.state.error(self.number, text_of(error))

    async def _perform(self) -> Outcome:
        state, step, resolved = self.state, self.step, self.frame.resolved
        at = self.at()
        try:
            self._name = await state.evaluate(resolved.step_name, step, at)
        except P2pwfError as error:  # it shows as it is written, and runs
            state.warning(self.number, text_of(error))
        if not self.frame.depth:
            state.began(self.number, self._shown())
        try:
            minutes = await state.evaluate(resolved.step_timeout_minutes, step, at)
        except P2pwfError as error:  # it runs without
            self.explain(error)
            minutes = None
        if step.uses is None:
            return await self._bounded(self._script, minutes)
        from p2pwf.runner.uses import perform  # noqa: PLC0415 - a step that is a script does not wait for it

        return await self._bounded(lambda: perform(self), minutes)

    async def _bounded(self, work: Callable[[], Awaitable[Outcome]], minutes: float | None) -> Outcome:
        """Do `work` until the step's time is over, or the job is cancelled and the step not meant to go on then."""
        state, scope = self.state, self.scope
        if minutes is not None and minutes > 0:
            scope.deadline = trio.current_time() + minutes * 60
        hear = self.hear
        state.running.add(hear)
        outcome: Outcome = "failure"
        try:
            with scope:
                outcome = await work()
        finally:
            state.running.discard(hear)
            scope.deadline = math.inf
        if scope.cancelled_caught:
            await trio.lowlevel.checkpoint_if_cancelled()  # what is around is over as well, and says so itself
            if self._told:
                message = "The operation was canceled."
                if self._wanted:
                    state.log.say(self.number, message)
                else:
                    state.error(self.number, message)
                return "cancelled"
            state.error(self.number, f"The action '{self._name}' has timed out after {minutes:g} minutes.")
            return "failure"
        return outcome

    def hear(self, final: bool) -> None:
        """The job is cancelled; `final`: so is the time that was left to steps which go on then."""
        if final or not self._goes_on_cancelled():
            self.stop()

    def stop(self, *, wanted: bool = False) -> None:
        """End the step as a cancelled one; `wanted`: the workflow says so, which is no error."""
        self._told = True
        self._wanted = self._wanted or wanted
        self.scope.cancel()

    def stopping(self) -> bool:
        """Whether this step is being ended, or one that it belongs to: not the whole node."""
        return any(scope.cancel_called for scope in (self.scope, *self.frame.around))

    def _goes_on_cancelled(self) -> bool:
        try:
            return self.frame.resolved.holds(self._condition, self._asked("cancelled"))
        except P2pwfError:
            return False

    async def _script(self) -> Outcome:
        state, step, resolved = self.state, self.step, self.frame.resolved
        files = self.make_files()
        self.github.update(action_repository="", action_ref="")
        at = self.at()
        text = await state.evaluate(resolved.step_script, step, at)
        shell = shell_of(await state.evaluate(resolved.step_shell, step, at))
        below = await state.evaluate(resolved.step_working_directory, step, at)  # relative to the workspace, or not
        folder = state.folders.workspace / (below or "")
        if state.container is not None:
            folder = state.folders.workspace / state.container.mounts.outside(below or "")
        elif not folder.is_dir():
            raise UsageError(f"the working directory is not there: {folder}", "does a step before this one make it?")
        variables = self.variables(files)
        script = files.script(shell.suffix, script_text(shell, text))
        if state.container is not None:
            arguments = container_command(shell, state.container.mounts.inside(str(script)))
        else:
            arguments = command_line(shell, script, variables["PATH"])
        shown = {**self.frame.world.variables, **self.frame.overrides, **self.env}
        header = (
            f"##[group]{self._name}",
            *text.rstrip("\r\n").splitlines(),
            f"shell: {' '.join((arguments[0], *shell.template.split()[1:]))}",
            *(("env:", *(f"  {name}: {value}" for name, value in shown.items())) if shown else ()),
            "##[endgroup]",
        )
        launch = self.launch(arguments, variables, folder)
        return await self.program(launch, files, lambda: state.log.say(self.number, *header))

    def make_files(self) -> StepFiles:
        """Fresh files for the step, which the github context then names."""
        files = self.state.files.make(self.state.key())
        self.github.update({name[len("GITHUB_") :].lower(): path for name, path in files.paths.items()})
        return files

    def variables(self, files: StepFiles, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of the step's program; `more` lies over what the workflow says."""
        state, frame = self.state, self.frame
        github = {**frame.github, **self.github}
        own = {
            f"GITHUB_{name.upper()}": str(github.get(name, ""))
            for name in ("action", "action_repository", "action_ref")
        }
        if "action_path" in github:
            own["GITHUB_ACTION_PATH"] = str(github["action_path"])
        said = {**frame.world.variables, **frame.overrides, **self.env, **(more or {})}
        if state.container is not None:
            return step_variables({}, said, state.standard, {**own, **files.paths}, ())
        return step_variables(state.base, said, state.standard, {**own, **files.paths}, frame.world.paths)

    def launch(self, arguments: tuple[str, ...], variables: Mapping[str, str], folder: Path) -> Launch:
        """The program to start: in the job's container, if it has one."""
        state = self.state
        if state.container is None:
            if state.loan is not None and state.loan.contained:
                raise UsageError("the container that keeps the job apart is not up", "the log says why")
            return Launch(arguments, variables, folder)
        return state.container.launch(arguments, variables, folder, self.frame.world.paths, state.folders.root)

    async def program(
        self, launch: Launch, files: StepFiles, started: Callable[[], None], *, quiet: bool = False
    ) -> Outcome:
        """Run the step's program and take in what it left; `quiet`: a failing one has said itself why."""
        state = self.state
        said = {**self.frame.world.variables, **self.frame.overrides, **self.env}
        output = StepOutput(
            self.number,
            state.log,
            state.masker,
            state.annotations,
            state.matchers,
            debug=state.debug,
            insecure=said.get(INSECURE, "").lower() == "true",
            line=state.env.limits.line_bytes,
        )
        ended: Ended | None = None
        good = True
        try:
            ended = await run_program(
                state.supervisor,
                state.readers,
                state.env.limits,
                launch,
                output,
                started=started,
                polite=self.stopping,
            )
        finally:
            output.over = True
            if ended is not None or self.stopping():
                good = self._take_files(output, files)
            if ended is not None and ended.alone:
                files.left_clean()
        if ended.status != 0:
            message = f"Process completed with exit code {ended.status}."
            if quiet:
                state.log.say(self.number, message)
            else:
                state.error(self.number, message)
            return "failure"
        return "success" if good and output.refused is None else "failure"

    def _take_files(self, output: StepOutput, files: StepFiles) -> bool:
        """Take in what the step wrote to its files and said by commands; whether all of it could be read."""
        world = self.frame.world
        world.variables.update(output.variables)
        for folder in output.paths:
            world.add_path(folder)
        self.outputs.update(output.outputs)
        if self.use is not None:
            self.use.saved.update(output.state)
        good = True
        for take in (self._take_env, self._take_path, self._take_outputs, self._take_state, self._take_summary):
            try:
                take(files)
            except StepFileError as error:
                self.explain(error)
                good = False
        return good

    @staticmethod
    def _printable(files: StepFiles, variable: str) -> str:
        text = files.read(variable)
        if "\0" in text:
            raise StepFileError(f"{variable} holds a NUL", "no variable of a process can")
        return text

    def _take_env(self, files: StepFiles) -> None:
        for name, value in parse_pairs(self._printable(files, "GITHUB_ENV"), "GITHUB_ENV"):
            if name.upper() in BLOCKED:
                self.state.error(self.number, f"Can't store {name} output parameter using '$GITHUB_ENV' command.")
            else:
                self.frame.world.variables[name] = value

    def _take_path(self, files: StepFiles) -> None:
        for folder in parse_paths(self._printable(files, "GITHUB_PATH")):
            self.frame.world.add_path(folder)

    def _take_outputs(self, files: StepFiles) -> None:
        self.outputs.update(parse_pairs(files.read("GITHUB_OUTPUT"), "GITHUB_OUTPUT"))

    def _take_state(self, files: StepFiles) -> None:
        pairs = parse_pairs(self._printable(files, "GITHUB_STATE"), "GITHUB_STATE")
        if self.use is not None:
            self.use.saved.update(pairs)

    def _take_summary(self, files: StepFiles) -> None:
        state = self.state
        try:
            text = files.read("GITHUB_STEP_SUMMARY")
        except StepFileError as error:
            self.explain(error)  # a summary that is lost does not fail the step
            return
        if text and sum(1 for result in state.results if result.summary) < MAX_SUMMARIES:
            self.add_summary(state.masker.mask(text))

    def add_summary(self, text: str) -> None:
        """Put a summary after what the step has; those of the steps of an action are the action's."""
        self.summary = (self.summary + text)[:MAX_BYTES]

    def nested(self, frame: Frame, step: Step, stage: Stage = "main", use: Use | None = None) -> StepRun:
        """A step of the composite action that this one uses."""
        return StepRun(frame, step, self.number, stage, use)


def _use(uses: str) -> Use:
    from p2pwf.runner.uses import Use  # noqa: PLC0415 - as above

    return Use(uses)


def _plain_name(step: Step) -> str:
    """The name of a step whose expressions are not evaluated, because it is skipped."""
    if step.name is not None and step.name.text:
        return step.name.text
    script = step.run.text.strip().split("\n", 1)[0].strip() if step.run is not None else ""
    return f"Run {step.uses or script or step.kind}"
