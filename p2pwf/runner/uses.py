"""The stages of a step that uses an action: native, JavaScript, in a container, or made of steps.

Source: the open runner's `ActionRunner` and its handlers. A post stage is put down before main runs, so that it runs
even if main fails; the actions inside of a composite one leave theirs to it, as one stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, assert_never

import attrs

from p2pwf.errors import UsageError
from p2pwf.runner import native
from p2pwf.runner.actions import DOCKER, Actions, Found, is_local
from p2pwf.runner.containeraction import run_container
from p2pwf.runner.environment import input_variables
from p2pwf.runner.frame import MAX_DEPTH, Fork, Frame
from p2pwf.runner.shells import find_program
from p2pwf.runner.state import JobState
from p2pwf.runner.values import Outcome
from p2pwf.workflow import Condition
from p2pwf.workflow.action import ALWAYS, CompositeRuns, DockerRuns, NodeRuns
from p2pwf.workflow.diagnostics import Place

if TYPE_CHECKING:
    from p2pwf.runner.step import StepRun

_SUCCESS: Final = Condition("success()", Place(), False, True)
_NO_NODE: Final = "install Node.js on this peer, or let a step set it up before this one"


@attrs.define(slots=True, eq=False)
class Use:
    """An action as one step uses it. `saved`: what its stages keep for later ones; `inner`: those of its own steps."""

    uses: str
    native: native.NativeAction | None = attrs.field(
        default=attrs.Factory(lambda self: native.find(self.uses), takes_self=True)
    )
    found: Found | None = None
    saved: dict[str, str] = attrs.field(factory=dict)
    inner: dict[int, Use] = attrs.field(factory=dict)
    posts: list[StepRun] = attrs.field(factory=list)
    registered: bool = False

    def condition(self, stage: Literal["pre", "post"]) -> Condition:
        """When the stage before or after the job's steps runs."""
        if self.native is not None:
            return _SUCCESS if self.native.post_condition.startswith("success") else ALWAYS
        runs = None if self.found is None else self.found.action.runs
        if isinstance(runs, (NodeRuns, DockerRuns)):
            return runs.stages.pre_if if stage == "pre" else runs.stages.post_if
        return ALWAYS

    def has(self, stage: Literal["pre", "post"]) -> bool:
        """Whether the action itself has that stage; what is inside of a composite one, it does not know."""
        if self.native is not None:
            return stage == "post" and self.native.post is not None
        runs = None if self.found is None else self.found.action.runs
        if isinstance(runs, (NodeRuns, DockerRuns)):
            return bool(runs.stages.pre if stage == "pre" else runs.stages.post)
        return False

    def of(self, index: int, uses: str) -> Use:
        """The use that the step at `index` of this composite action makes."""
        return self.inner.setdefault(index, Use(uses))


async def perform(run: StepRun) -> Outcome:
    """Do one stage of the action that a step uses. Raises P2pwfError, OSError."""
    use = run.use
    assert use is not None
    state, resolved = run.state, run.frame.resolved
    if use.native is None and use.found is None:
        use.found = await _actions(state).find(use.uses)
    if use.found is not None:
        run.github.update(action_repository=use.found.repository, action_ref=use.found.ref)
        if use.has("pre") and is_local(use.uses) and run.stage == "main":
            state.warning(run.number, f"`pre` execution is not supported for local action from '{use.uses}'")
    if use.has("post") and run.stage != "post":
        _register(run, use)
    given = await state.evaluate(resolved.step_with, run.step, run.at())
    if use.native is not None:
        return await _native(run, use, given)
    found = use.found
    assert found is not None
    inputs = await state.evaluate(found.action.with_defaults, given, resolved.scope(run.at()))
    if run.stage == "main":
        _warn(run, found, given)
    runs = found.action.runs
    if isinstance(runs, CompositeRuns):
        return await _composite(run, use, found, runs, inputs)
    _say_inputs(run, inputs)
    if isinstance(runs, NodeRuns):
        return await _node(run, found, runs, inputs)
    if isinstance(runs, DockerRuns):
        return await run_container(run, found, runs, inputs)
    assert_never(runs)


def _register(run: StepRun, use: Use) -> None:
    if not use.registered:
        use.registered = True
        run.frame.posts.append(run.nested(run.frame, run.step, "post", use))


def _warn(run: StepRun, found: Found, given: Mapping[str, str]) -> None:
    action = found.action
    for declared in action.inputs:
        if declared.deprecated and declared.name.lower() in {name.lower() for name in given}:
            message = f"Input '{declared.name}' has been deprecated with message: {declared.deprecated}"
            run.state.warning(run.number, message)
    if not found.action.path.lower().startswith(DOCKER) and (unexpected := action.unexpected(given)):
        seen, valid = ("', '".join(names) for names in (unexpected, [declared.name for declared in action.inputs]))
        message = f"Unexpected input(s) '{seen}', valid inputs are ['{valid}']"
        run.state.warning(run.number, message)


def _say_inputs(run: StepRun, inputs: Mapping[str, str]) -> None:
    if run.stage == "post":
        run.state.log.say(run.number, "Post job cleanup.")
        return
    shown = [f"  {name}: {value}" for name, value in inputs.items() if value]
    run.state.log.say(run.number, f"##[group]{run.name}", *(("with:", *shown) if shown else ()), "##[endgroup]")


async def _native(run: StepRun, use: Use, given: Mapping[str, str]) -> Outcome:
    action, state = use.native, run.state
    assert action is not None
    _say_inputs(run, given)
    world = run.frame.world
    if isinstance(world, Fork):  # what it sets is not for others to see before somebody waits for it
        state = attrs.evolve(state, variables=world.variables, paths=world.paths)
    inputs = {name.lower(): value for name, value in given.items()}
    context = native.NativeContext(state, run.number, inputs, use.saved)
    if run.stage == "main":
        run.outputs.update(await action.main(context))
    elif action.post is not None:
        await action.post(context)
    return "success"


async def _node(run: StepRun, found: Found, runs: NodeRuns, inputs: Mapping[str, str]) -> Outcome:
    state, use = run.state, run.use
    assert use is not None
    script = {"pre": runs.stages.pre, "main": runs.main, "post": runs.stages.post}[run.stage] or ""
    target = found.folder / script
    if not target.is_file():
        raise UsageError(f"the action '{use.uses}' has no file {script}", f"its action file names it for '{run.stage}'")
    files = run.make_files()
    variables = run.variables(files, input_variables(inputs, use.saved))
    variables.pop("NODE_ICU_DATA", None)
    if state.container is not None:
        arguments = ("node", state.container.mounts.inside(str(target)))
    else:
        program = find_program("node", variables["PATH"])
        if program is None:
            raise UsageError(f"the action '{use.uses}' needs Node.js, and there is no `node` on PATH", _NO_NODE)
        arguments = (program, str(target))
    launch = run.launch(arguments, variables, state.folders.workspace)
    return await run.program(launch, files, lambda: None, quiet=True)


async def _composite(run: StepRun, use: Use, found: Found, runs: CompositeRuns, inputs: Mapping[str, str]) -> Outcome:
    frame = run.frame
    refuse_depth(use, frame.depth)
    if run.stage == "post":
        return await _posts(run, use)
    inner = Frame(
        state=run.state,
        resolved=frame.resolved.inside_action(inputs),
        world=frame.world,
        number=run.number,
        overrides={**frame.overrides, **run.env},
        github={**frame.github, **run.github, "action_path": _path(run, found.folder)},
        depth=frame.depth + 1,
        around=(*frame.around, run.scope),
        posts=use.posts,
    )
    _say_inputs(run, inputs)
    try:
        for index, step in enumerate(runs.steps):
            below = None if step.uses is None else use.of(index, step.uses)
            if run.stage == "pre" and (below is None or not await has_stage(run.state, below, "pre", inner.depth)):
                continue
            child = run.nested(inner, step, run.stage, below)
            await child.run()
            run.add_summary(child.summary)
            if child.broken:
                break
    finally:
        if use.posts:
            _register(run, use)
    if run.stage == "main":
        scope = inner.resolved.scope(inner.scope({}, {}))
        run.outputs.update(await run.state.evaluate(found.action.evaluate_outputs, scope))
    return inner.status


def _path(run: StepRun, folder: Path) -> str:
    container = run.state.container
    return str(folder) if container is None else container.mounts.inside(str(folder))


async def _posts(run: StepRun, use: Use) -> Outcome:
    """What the actions of a composite one left to do, the last first."""
    outcome: Outcome = "success"
    for post in reversed(use.posts):
        post.frame.around, post.frame.world = (run.scope,), run.frame.world
        await post.run()
        run.add_summary(post.summary)
        if post.conclusion in ("failure", "cancelled"):
            outcome = post.conclusion
    return outcome


def _actions(state: JobState) -> Actions:
    if state.actions is None:
        state.actions = Actions(state.request, state.folders, state.env.fetch_blob)
    return state.actions


async def has_stage(state: JobState, use: Use, stage: Literal["pre"], depth: int = 0) -> bool:
    """Whether an action that is no local one has something to do before the job's steps, or one inside of it has.

    `depth`: composite actions around it. Raises what finding it raises: that is the time to learn that an action
    cannot be had.
    """
    if use.native is not None or is_local(use.uses):
        return False
    if use.found is None:
        use.found = await _actions(state).find(use.uses)
    runs = use.found.action.runs
    if not isinstance(runs, CompositeRuns):
        return use.has(stage)
    refuse_depth(use, depth)
    found = False
    for index, step in enumerate(runs.steps):
        if step.uses is not None:
            found = await has_stage(state, use.of(index, step.uses), stage, depth + 1) or found
    return found


def refuse_depth(use: Use, depth: int) -> None:
    """Raise UsageError for a composite action that stands in too many others."""
    if depth >= MAX_DEPTH:
        raise UsageError(f"Composite action depth exceeded max depth {MAX_DEPTH}", f"at '{use.uses}'")
