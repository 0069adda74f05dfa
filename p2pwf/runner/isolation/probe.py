"""Probes: whether a level of isolation works on this machine, found out by running a step at it.

A program that is installed says little: namespaces, landlock and users are often forbidden to those who have them.
"""

from __future__ import annotations

import json
import os
import shlex
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import trio

from p2pwf.core.ids import Cid
from p2pwf.errors import P2pwfError
from p2pwf.isolation import Level
from p2pwf.runner.environment import Folders
from p2pwf.runner.isolation import seccomp
from p2pwf.runner.isolation.bounds import Bounds
from p2pwf.runner.isolation.confine import landlock_abi
from p2pwf.runner.isolation.keeper import Keeper, Loan
from p2pwf.runner.jobfiles import remove_tree
from p2pwf.runner.log import LogLine
from p2pwf.runner.processes import Launch, Spawner

PATIENCE_S: Final = 15.0
"""How long a probe may take; it takes some 20 ms."""
CONTAINER_S: Final = 60.0
"""The same of a container, which an engine starts in a second or so when it has nothing else to do."""
KEPT: Final = "kept apart"


@attrs.frozen(slots=True)
class Probe:
    """What came of trying a level. `text`: how it is kept, or why it is not available; `hint`: what helps."""

    level: Level
    available: bool
    text: str
    hint: str = ""


UNTRIED: Final = Probe(Level.none, True, "as the node's own user, with all that this user may do")
"""There is nothing to try about this level."""


async def probe_all(keeper: Keeper, spawner: Spawner) -> dict[Level, Probe]:
    """Try all levels but `none`, which always is."""
    await trio.to_thread.run_sync(keeper.prepare)
    found = {Level.none: UNTRIED}
    for level in (Level.process, Level.sandbox, Level.container):
        found[level] = await probe(keeper, spawner, level)
    return found


async def probe(keeper: Keeper, spawner: Spawner, level: Level) -> Probe:
    """Run a step at a level that writes to its folder and looks for what it must not see."""
    missing = _missing(keeper, level)
    if missing is not None:
        return missing
    try:
        if level is Level.container:
            with trio.fail_after(CONTAINER_S):
                said = await _try_container(keeper, spawner)
        else:
            with trio.fail_after(PATIENCE_S):
                said = await _try(keeper, spawner, level)
    except (P2pwfError, OSError, trio.TooSlowError, ExceptionGroup) as error:
        return Probe(level, False, _reason(error), _hint(level))
    if said != KEPT and level is Level.container:
        return Probe(level, False, said or "the step said nothing", _hint(level))
    if said != KEPT:
        return Probe(level, False, f"it does not hold here: {said or 'the step said nothing'}", _hint(level))
    return Probe(level, True, _how(keeper, level))


def _missing(keeper: Keeper, level: Level) -> Probe | None:
    if level is Level.container:
        if not keeper.image:
            hint = 'name one that is on this machine: isolation_image = "debian:12" in config.toml'
            return Probe(level, False, "no image is named for it", hint)
        if os.geteuid() == 0 and keeper.no_user is not None:
            return Probe(level, False, f"as root it needs users to lend, and {keeper.no_user}")
    if level is Level.sandbox and keeper.bubblewrap is None:
        return Probe(level, False, "bubblewrap is not installed", "install bubblewrap (apt-get install bubblewrap)")
    if level is Level.process and keeper.no_user is not None:
        # As the node's own user, these two are all there is between a job and the node.
        if not landlock_abi():
            return Probe(level, False, f"{keeper.no_user}, and this kernel has no landlock", "start the node as root")
        if seccomp.program(unix_sockets=False) is None:
            return Probe(level, False, f"{keeper.no_user}, and there is no filter of system calls for this machine")
    return None


def _reason(error: Exception) -> str:
    """What went wrong, in words; what is no failure of the machine is raised on."""
    while isinstance(error, ExceptionGroup):  # of the supervisor's nursery
        error = error.exceptions[0]
    if isinstance(error, P2pwfError):
        return error.message.removeprefix("the job cannot be kept apart: ")
    if isinstance(error, trio.TooSlowError):
        return "it does not come to an end here"
    if isinstance(error, OSError):
        return f"it does not work here: {error}"
    raise error


def _hint(level: Level) -> str:
    if level is Level.container:
        return "isolation_image names an image that is on this machine and has a shell; see that an engine runs it"
    if level is Level.sandbox:
        return (
            "let this user make user namespaces (sysctl kernel.unprivileged_userns_clone, AppArmor), or start as root"
        )
    return "see what the system forbids this user"


def _how(keeper: Keeper, level: Level) -> str:
    user = "as a user of its own" if keeper.no_user is None else "as the node's own user"
    if level is Level.container:
        return f"{user}, in a container of {keeper.image}"
    what = "in namespaces of its own" if level is Level.sandbox else "with the files of the job only"
    if level is Level.process and not landlock_abi():
        what = "with all files that everybody may read"
    counted = sorted(frozenset().union(*(place.controllers for place in keeper.places)))
    return f"{user}, {what}, {' and '.join(counted) if counted else 'nothing'} counted by control groups"


async def _try(keeper: Keeper, spawner: Spawner, level: Level) -> str:
    work = keeper.root(level)
    made = not work.exists()
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = work / f"probe-{uuid.uuid4().hex[:12]}"
    other = place.with_name(f"{place.name}-other")
    async with keeper.lend(level, Bounds(), network=True) as loan:
        folders = loan.folders(place, "probe/probe")
        try:
            await trio.to_thread.run_sync(_lay_out, folders, other)
            async with spawner.supervise() as supervisor:
                await keeper.confine(supervisor, loan, folders)
                script = _script(level, loan, folders.workspace, other)
                variables = keeper.base(loan, folders, {})
                process = await supervisor.start(Launch(("/bin/sh", "-c", script), variables, folders.workspace))
                said = await _read(process.stdout) + await _read(process.stderr)
                await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(remove_tree, place)
                await trio.to_thread.run_sync(remove_tree, other)
                if made:
                    work.rmdir()
    return said.strip()


async def _try_container(keeper: Keeper, spawner: Spawner) -> str:
    """Run a whole job: all that such jobs take (an engine, the image, a network, mounts) is tried by that."""
    from p2pwf.runner.job import run_job  # noqa: PLC0415 - it loads this package when a job is to be kept apart
    from p2pwf.runner.values import JobRequest, RunnerEnv  # noqa: PLC0415 - as above

    work = keeper.root(Level.container)
    made = not work.exists()
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = _Said()
    user = os.getuid() if keeper.no_user is not None else "$(stat -c %u .)"
    script = f'[ "$(id -u)" = {user} ] && [ "$(id -u)" != 0 ] && echo x > x && ! echo x > /x && echo {KEPT}'
    text = f"on: push\njobs:\n  probe:\n    runs-on: x\n    steps:\n      - run: {json.dumps(script)}\n"
    request = JobRequest(
        run=f"probe-{uuid.uuid4().hex[:12]}",
        job_id="probe",
        leg=0,
        attempt=1,
        workflow_text=text,
        workflow_path=".github/workflows/probe.yml",
        facts={},
    )
    env = RunnerEnv(
        work_root=work,
        log=said,
        fetch_blob=_no_blob,
        spawner=spawner,
        isolation=Level.container,
        keeper=keeper,
        now_ms=lambda: int(time.time() * 1000),
    )
    try:
        result = await run_job(request, env)
    finally:
        if made:
            with suppress(OSError):
                work.rmdir()
    if result.outcome == "success" and KEPT in said.printed:
        return KEPT
    told = [one.message for one in result.annotations if one.level == "error"]
    return (told or said.printed or [result.error or ""])[0]


@attrs.define(slots=True)
class _Said:
    """A log that keeps what steps print."""

    printed: list[str] = attrs.field(factory=list)

    def write(self, line: LogLine) -> None:
        if line.stream in ("stdout", "stderr"):
            self.printed.append(line.text)

    def flush(self) -> None:
        pass


async def _no_blob(cid: Cid) -> Path:
    raise FileNotFoundError(cid.text)


def _lay_out(folders: Folders, other: Path) -> None:
    folders.make()
    folders.event_file.parent.mkdir()
    other.mkdir(mode=0o700)
    (other / "file").write_text("of another job")


def _script(level: Level, loan: Loan, workspace: Path, other: Path) -> str:
    """A script that prints KEPT, or what does not hold."""
    user = os.getuid() if loan.user is None else loan.user
    lines = [
        f'[ "$(id -u)" = {user} ] || {{ echo "the step runs as user $(id -u)"; exit; }}',
        f"echo x > {shlex.quote(str(workspace))}/x || {{ echo 'it cannot write to its folder'; exit; }}",
        f"! cat {shlex.quote(str(other))}/file >/dev/null 2>&1 || {{ echo 'it sees the files of other jobs'; exit; }}",
    ]
    if level is Level.sandbox:
        lines.append("[ $(ls -d /proc/[0-9]* | wc -l) -lt 9 ] || { echo 'it sees processes of others'; exit; }")
    return "\n".join([*lines, f"echo {KEPT}"])


async def _read(stream: trio.lowlevel.FdStream) -> str:
    async with stream:
        return b"".join([chunk async for chunk in stream]).decode("utf-8", "replace")


def levels(found: Mapping[Level, Probe]) -> frozenset[Level]:
    """The levels that work."""
    return frozenset(level for level, one in found.items() if one.available)
