"""Starts the containers of a job before its steps and takes them down after them.

The order of things is the open runner's `ContainerOperationProvider`: a network of the job's own, the job's container,
the services, then a wait until every service that has a health check is healthy.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs
import trio

from p2pwf.errors import UsageError
from p2pwf.runner.containers import JobContainer, Mounts, Spec, create_options, job_mounts, read_path, read_ports
from p2pwf.runner.engines import Engine
from p2pwf.runner.images import pull
from p2pwf.runner.state import JobState
from p2pwf.workflow import Value

if TYPE_CHECKING:
    from p2pwf.runner.heldcontainer import Guard, Held
    from p2pwf.runner.isolation.hardened import Hardening

MAX_WAIT_S: Final = 32.0
"""Between two looks at a service that is starting."""
STOP_S: Final = 8.0
"""How long taking the containers down may take when the node has to leave: it has 10 s."""
LIFE: Final = uuid.uuid4().hex[:16]
"""Marks the containers of this process, as opposed to those of an earlier one."""
NO_NETWORK: Final = "none"
"""The network that an engine has for containers without one."""
CALM_STOP_S: Final = 60.0
"""How long it may take when nobody is in a hurry: ten seconds for each of a few that do not listen."""
_HEALTH: Final = "{{if .Config.Healthcheck}}{{print .State.Health.Status}}{{end}}"
_ENV: Final = "{{range .Config.Env}}{{println .}}{{end}}"


@attrs.define(slots=True, eq=False)
class Containers:
    """The containers of one job."""

    state: JobState
    engine: Engine
    network: str = attrs.field(factory=lambda: f"github_network_{uuid.uuid4().hex}")
    started: list[tuple[Spec, str]] = attrs.field(factory=list)
    up: bool = False
    actions: bool = False
    """Whether steps use actions, of which one at a time may run in a container beside these."""
    hardening: Hardening | None = None
    """How they are kept, at isolation level container; None at level none."""
    watching: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    guard: Guard | None = None
    """Removes what is left when this program is gone, at that level."""
    held: list[Held] = attrs.field(factory=list)
    """At that level: the job's own container, and if there are services the one whose processes theirs are among."""
    label: tuple[str, ...] = ()
    """Marks all containers of the job, at that level."""

    async def start(self, step: int, own: Spec | None, services: list[Spec]) -> None:
        """Bring all of them up and set the job context; raises UsageError."""
        state = self.state
        for spec in (*([own] if own else []), *services):
            if spec.password:
                state.masker.add(spec.password)
        if state.loan is not None:
            own, services = self._kept(step, own, services)
        await self._clean_up(step)
        if self.network != NO_NETWORK:
            state.log.say(step, "##[group]Create local container network")
            await self.engine.must(step, "no network", "network", "create", *self._labels(), self.network)
            self.up = True
            state.log.say(step, "##[endgroup]")
        state.job["container"] = {"network": self.network}
        if own is not None:
            await self._job(step, own, bool(services))
        found: dict[str, Value] = {}
        state.job["services"] = found
        for spec in services:
            container = await self._start(step, spec)
            _, ports = await self.engine.ask(step, "port", container)
            found[spec.name] = {"id": container, "network": self.network, "ports": read_ports(ports)}
        if self.hardening is not None and self.started:
            from p2pwf.runner.heldcontainer import watch_services  # noqa: PLC0415 - as above

            names = [container for _, container in self.started]
            state.readers.start_soon(_within, self.watching, watch_services, state, self.engine, step, names)
        await self._healthy(step)

    def _kept(self, step: int, own: Spec | None, services: list[Spec]) -> tuple[Spec | None, list[Spec]]:
        """The containers as they are kept apart from the machine; raises UsageError for what would not be."""
        from p2pwf.runner.heldcontainer import hardening  # noqa: PLC0415 - most containers are of level none
        from p2pwf.runner.isolation.hardened import checked  # noqa: PLC0415 - as above

        loan = self.state.loan
        assert loan is not None
        if not loan.network:
            if services:
                raise UsageError("services need a network, and this job has none", "drop network:none or the services")
            self.network = NO_NETWORK
        for spec in services:
            if spec.ports:
                self.state.warning(step, f"No port of {spec.name} is published here: reach it as {spec.name}")
        self.state.containers = 1 + len(services) + int(self.actions)
        self.hardening = hardening(self.state, self.engine, self.state.containers)
        return (None if own is None else checked(own)), [checked(spec) for spec in services]

    def _labels(self) -> tuple[str, ...]:
        return labels(self.state)

    async def _clean_up(self, step: int) -> None:
        """Remove what an earlier life of this node left: containers outlive the process that asked for them."""
        work, life = labels(self.state)[1::2]
        words = (
            "ps",
            "--all",
            "--no-trunc",
            "--filter",
            f"label={work}",
            "--format",
            '{{.ID}} {{.Label "p2pwf.life"}}',
        )
        lines = await self.engine.must(step, "no containers", *words, show=False)
        for line in lines:
            container, _, other = line.partition(" ")
            if other and f"p2pwf.life={other}" != life:
                await self.engine.ask(step, "rm", "--force", container)
        filters = ("--filter", f"label={work}", "--filter", f"label!={life}")
        await self.engine.ask(step, "network", "prune", "--force", *filters, show=False)

    async def _job(self, step: int, spec: Spec, services: bool) -> None:
        state = self.state
        if self.hardening is None:
            mounts = job_mounts(state.folders)
            await trio.Path(state.folders.temp / "_github_home").mkdir(exist_ok=True)
            container = await self._start(step, spec)
        else:
            from p2pwf.runner.isolation import hardened  # noqa: PLC0415 - as above

            mounts, _ = hardened.job_mounts(state.folders)
            container = await self._hold(step, spec, services)
        lines = await self.engine.must(step, "no container", "inspect", "--format", _ENV, container, show=False)
        state.job["container"] = {"id": container, "network": self.network}
        state.container = JobContainer(
            program=self.engine.program,
            id=container,
            path=read_path(lines),
            mounts=mounts,
            environment=self.engine.environment(),
            apart=self.hardening is not None,
        )
        state.matchers.to_host = mounts.outside
        # An expression names folders as steps have them.
        state.runner = {name: _inside(mounts, value) for name, value in state.runner.items()}
        state.github = {name: _inside(mounts, value) for name, value in state.github.items()}

    async def _hold(self, step: int, spec: Spec, services: bool) -> str:
        """Start the job's container, and what its services need, so that they end with whoever holds them."""
        from p2pwf.runner.heldcontainer import JOB_LABEL, Guard  # noqa: PLC0415 - as above

        log = self.state.log
        assert self.hardening is not None
        log.say(step, "##[group]Starting job container")
        if not spec.is_here:
            await pull(self.engine, step, spec)
        name = f"p2pwf_{uuid.uuid4().hex[:16]}"
        mark = f"{JOB_LABEL}={name}"
        self.guard, self.label = Guard(self.engine, mark, self.network), (*self._labels(), "--label", mark)
        held = self._new(name)
        await held.start_job(step, spec, self.hardening, (*self.label, "--network", self.network))
        if services:
            await self._new(f"{name}_s").start_empty(step, spec.image, self.hardening, self.label)
        log.say(step, "##[endgroup]")
        return held.name

    def _new(self, name: str) -> Held:
        from p2pwf.runner.heldcontainer import Held  # noqa: PLC0415 - as above

        held = Held(self.state, self.engine, name)
        self.held.append(held)
        return held

    async def _start(self, step: int, spec: Spec) -> str:
        log = self.state.log
        what = f"{spec.name} service container" if spec.name else "job container"
        log.say(step, f"##[group]Starting {what}")
        await pull(self.engine, step, spec)
        name = f"p2pwf_{uuid.uuid4().hex[:16]}"
        mounts = None if spec.name else job_mounts(self.state.folders)
        lines = await self._create(step, spec, name, mounts)
        if not lines:
            raise UsageError(f"no {what}: {self.engine.name} create gave no id")
        container = lines[0].strip()
        self.started.append((spec, container))
        await self.engine.must(step, f"the {what} does not start", "start", container)
        log.say(step, "##[endgroup]")
        return container

    async def _create(self, step: int, spec: Spec, name: str, mounts: Mounts | None) -> list[str]:
        what = f"no {spec.name} service container" if spec.name else "no job container"
        if self.hardening is None:
            options, variables = create_options(spec, name, self._labels(), self.network, mounts)
            return await self.engine.must(step, what, "create", *options, variables=variables)
        from p2pwf.runner.heldcontainer import variable_options  # noqa: PLC0415 - as above
        from p2pwf.runner.images import in_memory  # noqa: PLC0415 - as above

        _, outer = self.held  # they come first, and services end with the second
        kept = (*self.hardening.service_options(), "--pid", f"container:{outer.name}")
        kept += await in_memory(self.engine, step, spec.image)
        async with variable_options(self.state, {"GITHUB_ACTIONS": "true", "CI": "true", **spec.env}) as (given, own):
            options, _ = create_options(
                attrs.evolve(spec, env={}), name, self.label, self.network, None, (*kept, *given)
            )
            return await self.engine.must(step, what, "create", *options, variables=own)

    async def _healthy(self, step: int) -> None:
        log = self.state.log
        log.say(step, "##[group]Waiting for all services to be ready")
        failed: list[tuple[Spec, str]] = []
        for spec, container in self.started:
            if not spec.name:
                continue
            wait = self.state.env.limits.container_s
            while (status := await self._health(step, container)) == "starting":
                log.say(step, f"{spec.name} service is starting, waiting {wait:g} seconds before checking again.")
                await trio.sleep(wait)
                wait = min(wait * 2, MAX_WAIT_S)
            if status in ("", "healthy"):
                log.say(step, f"{spec.name} service is healthy.")
            else:
                failed.append((spec, container))
        log.say(step, "##[endgroup]")
        for spec, container in failed:
            log.say(step, f"##[group]Service container {spec.name} failed.")
            await self.engine.ask(step, "logs", "--details", container)
            log.say(step, "##[endgroup]")
            self.state.error(step, f"Failed to initialize container {spec.image}")
        if failed:
            raise UsageError("One or more containers failed to start.", "the log has what they said")

    async def _health(self, step: int, container: str) -> str:
        words = ("inspect", "--format", _HEALTH, container)
        lines = await self.engine.must(step, "no health", *words)
        if lines and lines[0].strip().lower() == "starting" and self.engine.name == "podman":
            # It has systemd look again and again, which is not everywhere.
            await self.engine.ask(step, "healthcheck", "run", container, show=False)
            lines = await self.engine.must(step, "no health", *words, show=False)
        return lines[0].strip().lower() if lines else ""

    async def stop(self, step: int) -> None:
        """Show what the services said, and take everything down. Twice is fine."""
        gone = False
        try:
            gone = await self._take_down(step)
        finally:
            for held in self.held:
                held.scope.cancel()
            self.held.clear()
            if self.guard is not None:
                (self.guard.dismiss if gone else self.guard.let_go)()
                self.guard = None

    async def _take_down(self, step: int) -> bool:
        """Whether all of it is gone."""
        gone = True
        log = self.state.log
        self.state.container = None
        self.watching.cancel()
        while self.started:
            spec, container = self.started.pop()
            if spec.name:
                log.say(step, f"Print service container logs: {spec.name}")
                await self.engine.ask(step, "logs", "--details", container)
            volumes = () if self.hardening is None else ("--volumes",)
            status, _ = await self.engine.ask(step, "rm", "--force", *volumes, container)
            gone = gone and status == 0
        for held in reversed(self.held):
            gone = await held.end(step) and gone
        if self.up:
            self.up = False
            status, _ = await self.engine.ask(step, "network", "rm", self.network)
            gone = gone and status == 0
        return gone


async def _within(scope: trio.CancelScope, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    with scope:
        await work(*arguments)


def _inside(mounts: Mounts, value: Value) -> Value:
    return mounts.inside(value) if isinstance(value, str) else value


def labels(state: JobState) -> tuple[str, ...]:
    """The options that mark a container as this node's, and as of this life of it."""
    work = sha256(str(state.env.work_root.absolute()).encode()).hexdigest()[:16]
    return "--label", f"p2pwf.work={work}", "--label", f"p2pwf.life={LIFE}"
