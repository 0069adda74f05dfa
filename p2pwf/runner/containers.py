"""The job's own container and its service containers: from what the workflow says to what steps run in. No I/O.

Source: GitHub's documentation of `container` and `services`, and the open runner's `ContainerInfo`,
`ContainerOperationProvider` and `StepHost`: which folders stand where inside, and how a step gets in.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from p2pwf.errors import UsageError
from p2pwf.runner.engines import is_read_by_engines
from p2pwf.runner.environment import Folders
from p2pwf.runner.processes import Launch
from p2pwf.workflow import Value
from p2pwf.workflow.expr import to_string

SOCKET: Final = Path("/var/run/docker.sock")


@attrs.frozen(slots=True, kw_only=True)
class Spec:
    """A container as the workflow wants it. `name`: of a service; empty for the job's own container."""

    image: str
    name: str = ""
    options: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    username: str = ""
    password: str = attrs.field(default="", repr=False)
    entrypoint: str = ""
    command: tuple[str, ...] = ()
    is_here: bool = False
    """The node's own choice, which is on the machine: never pulled."""

    @property
    def registry(self) -> str:
        """The registry of the image as its credentials are kept under: Docker Hub's has a long name."""
        first, slash, rest = self.image.partition("/")
        if slash and ("/" in rest or "." in first or ":" in first):
            return first
        return "https://index.docker.io/v1/"


def read_spec(value: Value, name: str = "") -> Spec | None:
    """A container from its evaluated description; None where it names no image. Raises UsageError."""
    if not isinstance(value, Mapping):
        image = to_string(value)
        return Spec(image=image_name(image), name=name) if image else None
    image = to_string(value.get("image"))
    if not image:
        return None
    credentials = value.get("credentials")
    known = credentials if isinstance(credentials, Mapping) else {}
    env = value.get("env")
    return Spec(
        image=image_name(image),
        name=name,
        options=_words(value.get("options"), "options"),
        env={key: to_string(item) for key, item in env.items()} if isinstance(env, Mapping) else {},
        ports=_list(value.get("ports")),
        volumes=_list(value.get("volumes")),
        username=to_string(known.get("username")),
        password=to_string(known.get("password")),
        entrypoint=to_string(value.get("entrypoint")),
        command=_words(value.get("command"), "command"),
    )


def image_name(image: str) -> str:
    """The name of an image, with or without `docker://` before it; raises UsageError for what would be an option."""
    image = image[len("docker://") :] if image.lower().startswith("docker://") else image
    if image.startswith("-"):
        raise UsageError(f"not the name of an image: {image[:80]}", "an image is named like ubuntu:24.04")
    return image


def _list(value: Value) -> tuple[str, ...]:
    return tuple(map(to_string, value)) if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _words(value: Value, what: str) -> tuple[str, ...]:
    text = to_string(value)
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"the {what} of a container cannot be split into words: {error}", text[:200]) from error


@attrs.frozen(slots=True)
class Mounts:
    """Folders of this machine and where they stand inside, the innermost first."""

    pairs: tuple[tuple[str, str], ...]

    def inside(self, path: str) -> str:
        """A path of this machine as the container has it; any other text as it is."""
        return _translate(path, self.pairs)

    def outside(self, path: str) -> str:
        """A path in the container as this machine has it; any other text as it is, such as a path of this machine."""
        if any(path == here or path.startswith(here + "/") for here, _ in self.pairs):
            return path
        return _translate(path, ((there, here) for here, there in self.pairs))

    def options(self) -> Iterator[str]:
        """The options that mount the folders."""
        for here, there in reversed(self.pairs):
            yield from ("-v", f"{here}:{there}")


def _translate(path: str, pairs: Sequence[tuple[str, str]] | Iterator[tuple[str, str]]) -> str:
    for begin, instead in pairs:
        if path == begin or path.startswith(begin + "/"):
            return instead + path[len(begin) :]
    return path


def job_mounts(folders: Folders) -> Mounts:
    """The folders of a job in its own container."""
    return Mounts(
        (
            (str(folders.temp / "_github_home"), "/github/home"),
            (str(folders.event_file.parent), "/github/workflow"),
            (str(folders.tools), "/__t"),
            (str(folders.root), "/__w"),
        )
    )


def action_mounts(folders: Folders) -> Mounts:
    """The folders of a job in the container of an action."""
    return Mounts(
        (
            (str(folders.workspace), "/github/workspace"),
            (str(folders.commands), "/github/file_commands"),
            (str(folders.event_file.parent), "/github/workflow"),
            (str(folders.temp / "_github_home"), "/github/home"),
            (str(folders.temp), "/github/runner_temp"),
        )
    )


def socket_options() -> tuple[str, ...]:
    """The engine's own socket, which containers of GitHub's find too; nothing where there is none."""
    return ("-v", f"{SOCKET}:{SOCKET}") if SOCKET.exists() else ()


def create_options(
    spec: Spec, name: str, labels: Sequence[str], network: str, mounts: Mounts | None, kept: Sequence[str] = ()
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The arguments of `create` for a container, and variables for that command; `mounts` for the job's own one, which
    waits for steps. `kept`: options that keep it apart, over those of the workflow. The values of variables go over the
    command's environment, so no list of processes shows them; but for those that it would take for its own."""
    arguments = ["--name", name, *labels, "--network", network]
    if spec.name:
        arguments += ["--network-alias", spec.name]
    for port in spec.ports:
        arguments += ["-p", port]
    arguments += (*spec.options, *kept)
    env = {"GITHUB_ACTIONS": "true", "CI": "true", **spec.env}
    if mounts is not None:
        env["HOME"] = "/github/home"
    over = {key: value for key, value in env.items() if not is_read_by_engines(key)}
    for key, value in env.items():
        arguments += ["-e", key if key in over else f"{key}={value}"]
    for volume in spec.volumes:
        arguments += ["-v", volume]
    if mounts is None:
        return (*arguments, *_entry(spec.entrypoint), spec.image, *spec.command), over
    inside = (*mounts.options(), *socket_options(), "--workdir", "/__w", *_entry("tail"))
    return (*arguments, *inside, spec.image, "-f", "/dev/null"), over


def _entry(program: str) -> tuple[str, ...]:
    return ("--entrypoint", program) if program else ()


@attrs.frozen(slots=True, kw_only=True)
class JobContainer:
    """The job's own container, up and waiting for steps. `path`: the PATH that its image has. `apart`: it keeps the job
    from this machine."""

    program: str
    id: str
    path: str
    mounts: Mounts
    environment: Mapping[str, str]
    apart: bool = False

    def launch(
        self, arguments: Sequence[str], variables: Mapping[str, str], folder: Path, paths: Sequence[str], root: Path
    ) -> Launch:
        """The program that runs another one in the container; values go over its environment, so no list shows them."""
        inside = {name: self.mounts.inside(value) for name, value in variables.items()}
        if self.apart:
            from p2pwf.runner.isolation.hardened import aliased  # noqa: PLC0415 - others are not kept apart

            inside, arguments = aliased(inside, arguments)
        options = [word for name in inside for word in ("-e", name)]
        if paths:
            before = (self.mounts.inside(path) for path in reversed(paths))
            options += ["-e", f"PATH={':'.join((*before, *([self.path] if self.path else [])))}"]
        words = (self.program, "exec", "-i", "--workdir", self.mounts.inside(str(folder)), *options, self.id)
        return Launch((*words, *arguments), {**self.environment, **inside}, root)


def read_ports(lines: Sequence[str]) -> dict[str, str]:
    """Ports by the container's port, from what `port` prints: `6379/tcp -> 0.0.0.0:32768`."""
    ports: dict[str, str] = {}
    for line in lines:
        inner, arrow, outer = line.strip().partition(" -> ")
        number, host = inner.partition("/")[0], outer.rpartition(":")[2]
        if arrow and number.isdigit() and host.isdigit():
            ports.setdefault(number, host)
    return ports


def read_path(lines: Sequence[str]) -> str:
    """The PATH among the variables of an image, one `NAME=value` a line."""
    return next((line[len("PATH=") :] for line in lines if line.startswith("PATH=")), "")
