"""The stages of an action that runs in a container of its own: its image, its arguments, its folders.

Source: the open runner's `ContainerActionHandler`.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, cast

import trio

from p2pwf.errors import UsageError
from p2pwf.runner.actions import DOCKER, Found
from p2pwf.runner.containers import Spec, action_mounts, image_name, socket_options
from p2pwf.runner.engines import Engine, find_engine
from p2pwf.runner.environment import input_variables
from p2pwf.runner.heldcontainer import JOB_LABEL, hardening, variable_options
from p2pwf.runner.images import in_memory, pull
from p2pwf.runner.isolation import hardened
from p2pwf.runner.processes import Launch
from p2pwf.runner.services import labels
from p2pwf.runner.values import Outcome
from p2pwf.workflow.action import DockerRuns

if TYPE_CHECKING:
    from p2pwf.runner.step import StepRun

_HOST_ONLY: Final = frozenset(
    ("PATH", "LANG", "LANGUAGE", "LOGNAME", "SHELL", "USER", "TZ", "SSL_CERT_DIR", "SSL_CERT_FILE")
)
"""Variables of this machine that mean nothing inside."""


async def run_container(run: StepRun, found: Found, runs: DockerRuns, inputs: Mapping[str, str]) -> Outcome:
    """Run one stage; raises P2pwfError, OSError."""
    state, use = run.state, run.use
    assert use is not None
    engine = await find_engine(state, run.number, f"the action '{use.uses}'")
    image = await _image(run, engine, found, runs)
    given = {name.lower(): value for name, value in inputs.items()}
    entry = {
        "pre": runs.stages.pre,
        "main": runs.entrypoint or given.get("entrypoint"),
        "post": runs.stages.post,
    }[run.stage]
    arguments = runs.arguments(inputs)
    if arguments is None:
        arguments = _split(given.get("args", ""))
    files = run.make_files()
    own = {name: value for name, value in runs.environment(inputs).items() if name not in run.env}
    variables = run.variables(files, {**own, **input_variables(inputs, use.saved)})
    kept = state.loan is not None
    if kept:
        mounts, binds = hardened.action_mounts(state.folders)
    else:
        mounts = action_mounts(state.folders)
        binds = [*socket_options(), *mounts.options()]
        await trio.Path(state.folders.temp / "_github_home").mkdir(exist_ok=True)
    variables["HOME"] = "/github/home"
    own_container = state.container
    if own_container is not None:
        variables = {name: own_container.mounts.outside(value) for name, value in variables.items()}
    inside = {name: mounts.inside(value) for name, value in variables.items() if name not in _HOST_ONLY}
    inside.setdefault("CI", "true")
    name = f"p2pwf_{uuid.uuid4().hex[:16]}"
    network = cast("Mapping[str, object]", state.job.get("container") or {}).get("network")
    async with _given(run, engine, image, binds, inside) as (options, environment):
        words = (
            *(engine.program, "run", "--name", name, *labels(state), "--workdir", "/github/workspace", "--rm"),
            *options,
            *(("--entrypoint", entry) if entry else ()),
            *(("--network", str(network)) if network else ()),
            *binds,
            image,
            *arguments,
        )
        state.log.write(run.number, "command", f"##[command]{shlex.join(words)}")
        launch = Launch(words, {**engine.environment(), **environment}, state.folders.root)
        try:
            return await run.program(launch, files, lambda: None, quiet=True)
        except trio.Cancelled:
            with trio.CancelScope(shield=True), trio.move_on_after(state.env.limits.terminate_s):
                # The program is gone, but what it asked the engine to run may not be.
                await engine.ask(run.number, "rm", "--force", name, show=False)
            raise


@asynccontextmanager
async def _given(
    run: StepRun, engine: Engine, image: str, binds: Sequence[str], variables: Mapping[str, str]
) -> AsyncIterator[tuple[tuple[str, ...], Mapping[str, str]]]:
    """Options that give the container its variables, and at isolation level container keep it apart; and what the
    command's own environment has to have for them. One at a time there: each has all of the job's bounds."""
    state = run.state
    if state.loan is None:
        yield tuple(word for name in variables for word in ("-e", name)), variables
        return
    if state.container is None:
        raise UsageError("the container that keeps the job apart is not up", "the log says why")
    kept = hardening(state, engine, state.containers)
    async with state.one_action, variable_options(state, variables) as (options, environment):
        instead = await in_memory(engine, run.number, image, binds)
        with_job = ("--pid", f"container:{state.container.id}", "--label", f"{JOB_LABEL}={state.container.id}")
        yield (*kept.job_options(), *with_job, *instead, *options), environment


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the arguments of a container cannot be split into words: {error}", text[:200]) from error


async def _image(run: StepRun, engine: Engine, found: Found, runs: DockerRuns) -> str:
    """The image that the action runs in, pulled or built once for a job."""
    state = run.state
    if runs.image.lower().startswith(DOCKER):
        image = image_name(runs.image)
        if image not in state.images:
            await pull(engine, run.number, Spec(image=image))
            state.images[image] = image
        return image
    if state.loan is not None:
        raise UsageError(
            f"the action '{run.step.uses}' has its image built, which is not done at isolation container",
            "an action with a finished image (docker://…) can run here; or a peer whose policy says isolation none",
        )
    file = found.folder / runs.image
    if str(file) not in state.images:
        if not file.is_file():
            raise UsageError(f"the action '{run.step.uses}' has no file {runs.image}", "its action file names it")
        image = f"p2pwf:{uuid.uuid4().hex}"
        state.log.say(run.number, "##[group]Building docker image")
        words = ("build", "-t", image, "-f", str(file), str(file.parent))
        await engine.must(run.number, "the action's image cannot be built", *words)
        state.log.say(run.number, "##[endgroup]")
        state.images[str(file)] = image
    return state.images[str(file)]
