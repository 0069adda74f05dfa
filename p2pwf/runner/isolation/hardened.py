"""What the containers of a job at level `container` are created with: bounds, no rights, and of what the workflow says
only what cannot reach out. Pure; runs no engine.

Source of the options: the command line references of docker and podman, which agree on these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from p2pwf.errors import UsageError
from p2pwf.runner.containers import Mounts, Spec
from p2pwf.runner.environment import Folders
from p2pwf.runner.isolation.bounds import SHM_BYTES, Bounds
from p2pwf.runner.isolation.plan import TEMPORARY

HOLD: Final = ("sh", "-c", "echo; while read -r _; do :; done")
"""What a job's container runs: it says that it is up, and ends with its standard input. The job's supervisor holds the
other end, so the container cannot outlive it; docker's are children of a service of the system, which nobody here can
kill any more once this program is gone."""
LOG: Final = ("--log-driver", "json-file", "--log-opt", "max-size=16m")
"""Of services, whose output is shown at the end: an engine keeps all of it on disk otherwise."""
SERVICE_RIGHTS: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
"""What the images of services need to take on a user of their own; of use inside the container only."""
ALLOWED: Final = frozenset((
    "--cpus", "--env", "--health-cmd", "--health-interval", "--health-retries", "--health-start-period",
    "--health-timeout", "--hostname", "--network-alias", "--workdir",
))  # fmt: skip
ALLOWED_FLAGS: Final = frozenset(("--no-healthcheck", "--read-only"))
SHORT: Final[Mapping[str, str]] = {"-e": "--env", "-h": "--hostname", "-w": "--workdir"}
PLAIN: Final = re.compile(r"(?:GITHUB|RUNNER|INPUT|STATE|ACTIONS)_[^=\0]*|CI|UID|EUID|PPID")
"""Names of variables that no program of this machine heeds. All others are kept from the engine's command line, which
is a program of this machine that runs as the node's user: think of LD_PRELOAD."""
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ALIAS: Final = "GITHUB_P2PWF_"


@attrs.frozen(slots=True)
class Hardening:
    """How the containers of one job are kept. `user`: of its processes, and their group; `keeps_user`: the engine is
    podman of an ordinary user, whose number is to be the same inside; `hard`: the most of an rlimit that this machine
    gives; `profile`: a file with the filter of their system calls, if there is one; `count`: containers that share the
    bounds."""

    bounds: Bounds
    user: tuple[int, int]
    keeps_user: bool
    hard: Mapping[str, int]
    profile: str | None = None
    count: int = 1

    def options(self) -> Iterator[str]:
        """Of every container."""
        memory = str(self.bounds.memory // self.count)
        yield from ("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--stop-signal", "SIGKILL")
        yield from ("--memory", memory, "--memory-swap", memory)
        yield from ("--pids-limit", str(max(1, self.bounds.processes // self.count)))
        for name, bound in self._limits():
            least = min(bound, self.hard.get(name, bound))
            yield from ("--ulimit", f"{name}={least}:{least}")
        yield from ("--shm-size", str(min(SHM_BYTES, self.bounds.memory // self.count)))

    def job_options(self) -> Iterator[str]:
        """Of the job's own container and those of actions: nobody's rights, and nowhere to write but the mounts. What
        they print the runner reads; an engine would keep it on disk as well, where nobody counts it."""
        yield from self.options()
        yield from ("--log-driver", "none")
        user, group = self.user
        yield from ("--user", f"{user}:{group}", "--read-only")
        if self.profile is not None:
            yield from ("--security-opt", f"seccomp={self.profile}")
        if self.keeps_user:
            yield from ("--userns", "keep-id")

    def service_options(self) -> Iterator[str]:
        """Of a service, which is as its image wants it, but for rights to reach out."""
        yield from self.options()
        for right in SERVICE_RIGHTS:
            yield from ("--cap-add", right)
        yield from LOG

    def _limits(self) -> Iterator[tuple[str, int]]:
        yield "nofile", self.bounds.open_files
        yield "nproc", self.bounds.processes
        yield "fsize", self.bounds.file
        yield "core", 0


def job_mounts(folders: Folders) -> tuple[Mounts, list[str]]:
    """The folders of a job in its own container, and the options that mount them: each of the job's own, no other."""
    inside = {
        folders.home: "/github/home",
        folders.tools: "/__t",
        folders.scratch: TEMPORARY[0],
    }
    named = [(str(folder), inside.get(folder, f"/__w/{folder.relative_to(folders.root)}")) for folder in folders.given]
    pairs = ((str(folders.event_file.parent), "/github/workflow"), *named, (str(folders.scratch), TEMPORARY[1]))
    return Mounts(pairs), _binds(folders, pairs)


def action_mounts(folders: Folders) -> tuple[Mounts, list[str]]:
    """The same for the container of an action. Each stands in a folder of the node's: where a job can put a link in
    its place, the engine mounts what that leads to. So the folder of commands comes with the one that it is in."""
    pairs = (
        (str(folders.workspace), "/github/workspace"),
        (str(folders.event_file.parent), "/github/workflow"),
        (str(folders.home), "/github/home"),
        (str(folders.temp), "/github/runner_temp"),
        *((str(folders.scratch), place) for place in TEMPORARY),
    )
    return Mounts(pairs), _binds(folders, pairs)


def _binds(folders: Folders, pairs: Sequence[tuple[str, str]]) -> list[str]:
    words: list[str] = []
    for here, there in pairs:
        if "," in here:
            raise UsageError("containers cannot mount a folder with a comma in its name", f"it is {here}")
        readonly = ",readonly" if here == str(folders.event_file.parent) else ""
        words += ["--mount", f"type=bind,source={here},target={there}{readonly}"]
    return words


def checked(spec: Spec) -> Spec:
    """A container as the workflow describes it, with options that keep it in; raises UsageError for any other."""
    what = f"the service {spec.name}" if spec.name else "the job's container"
    if spec.volumes:
        raise UsageError(
            f"{what} has volumes, and at isolation container nothing of the machine is mounted",
            "the workspace is there without that; a service keeps its files inside",
        )
    env: dict[str, str] = dict(spec.env)
    return attrs.evolve(spec, options=tuple(_allowed(spec.options, what, env)), env=env, ports=())


def _allowed(options: Sequence[str], what: str, env: dict[str, str]) -> Iterator[str]:
    """The options that may stay; variables among them go to `env`, as a command line is for everybody to see."""
    words = iter(options)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--") and len(word) > 2 and word[:2] in SHORT:  # -eNAME=value
            name, equals, value = word[:2], "=", word[2:]
        name = SHORT.get(name, name)
        if name in ALLOWED_FLAGS and not equals:
            yield name
            continue
        if name not in ALLOWED:
            raise UsageError(
                f"{what} has the option {name[:80]}, which is not allowed at isolation container",
                f"allowed are {', '.join(sorted((*ALLOWED, *ALLOWED_FLAGS)))}; or a peer that keeps this job at none",
            )
        if not equals:
            value = next(words, "")
        if name != "--env":
            yield f"{name}={value}"
            continue
        variable, equals, value = value.partition("=")
        if not equals:
            raise UsageError(f"{what} takes the variable {variable[:80]} of the machine", "give it a value: NAME=value")
        env[variable] = value


def plain_and_other(variables: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Variables that the engine's command line may see by their names, and all others."""
    plain = {name: value for name, value in variables.items() if PLAIN.fullmatch(name)}
    return plain, {name: value for name, value in variables.items() if name not in plain}


def aliased(variables: Mapping[str, str], arguments: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables under names that only mean something inside, and the command that gives them their own and goes on.

    Raises UsageError for a name that no shell can give.
    """
    plain, other = plain_and_other(variables)
    if not other:
        return plain, tuple(arguments)
    for name in other:
        if not NAME.fullmatch(name):
            raise UsageError(f"no shell can set the variable {name[:80]!r}", "name it with letters, digits and _")
    aliases = {f"{ALIAS}{index}": name for index, name in enumerate(other)}
    told = " ".join(f'{name}="${alias}"' for alias, name in aliases.items())
    script = f'export {told}; unset {" ".join(aliases)}; exec "$@"'
    values = {alias: other[name] for alias, name in aliases.items()}
    return {**plain, **values}, ("sh", "-c", script, "sh", *arguments)


def variable_file(variables: Mapping[str, str]) -> str:
    """The text of a file for `--env-file`; raises UsageError for what cannot be told by one."""
    lines = []
    for name, value in variables.items():
        if not NAME.fullmatch(name) or "\n" in value or "\r" in value:
            raise UsageError(
                f"the variable {name[:80]!r} cannot be handed to a container at isolation container",
                "its name is to have letters, digits and _, and its value one line; inputs of actions may have more",
            )
        lines.append(f"{name}={value}\n")
    return "".join(lines)
