"""The variables a step sees: a small choice of the machine's, the standard ones, then what the workflow says.

Nothing else of the node's own environment reaches a step: it may hold secrets. Source of the order: the open runner's
`ActionRunner` and `Handler`: the workflow's `env`, the job's, what earlier steps wrote to GITHUB_ENV, the step's own;
GITHUB_* and RUNNER_* are laid over all of them, CI only where nobody set it.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from p2pwf.errors import UsageError
from p2pwf.runner.jobfiles import below
from p2pwf.workflow import RunFacts, Value

KEPT: Final = ("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ", "USER")
KEPT_PREFIX: Final = "LC_"
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
JOB_MARK: Final = "P2PWF_JOB"
"""In the environment of every process of a job, with the job's folder: what a crashed node left is known by it."""
_OS: Final = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}
_ARCH: Final = {"x86_64": "X64", "amd64": "X64", "aarch64": "ARM64", "arm64": "ARM64", "i686": "X86", "armv7l": "ARM"}
_MARKS: Final = frozenset((JOB_MARK, "P2PWF_STEP"))


def base_environment(machine: Mapping[str, str]) -> dict[str, str]:
    """What a job keeps of this process's environment."""
    kept = {name: value for name, value in machine.items() if name in KEPT or name.startswith(KEPT_PREFIX)}
    kept.setdefault("PATH", DEFAULT_PATH)
    kept.setdefault("LANG", "C.UTF-8")
    return kept


@attrs.frozen(slots=True)
class Folders:
    """The folders of one job, all below `root`, which is the job's alone and goes with it.

    `commands` holds the files that steps write for the runner; `temp` is RUNNER_TEMP. `actions` holds the actions that
    the job uses, `source` the source of the run for those of them that are local: neither is there before it is needed.

    `apart`: the job is isolated. Then the root stays the node's, and a job can neither rename nor replace what stands
    in it; `given` are the folders in it that it may write to. `owner`: the user and group of an isolated job, if that
    is not the node's own. `fixed`: what stands above the workspace stays the node's too: an engine mounts what it finds
    at a path, and follows links there.
    """

    root: Path
    workspace: Path
    temp: Path
    commands: Path
    tools: Path
    apart: bool = False
    owner: int | None = None
    fixed: bool = False

    @classmethod
    def below(
        cls, root: Path, repository: str, *, apart: bool = False, owner: int | None = None, fixed: bool = False
    ) -> Folders:
        """The folders of a job at `root`; the workspace is called after the repository, as on GitHub."""
        name = repository.rpartition("/")[2]
        # A repository's name comes from a submission: it may not lead out of the folder.
        # Nor to what stands there already.
        plain = name not in ("", ".", "..") and "\0" not in name and name[0] != "_" and len(name.encode()) <= 100
        name = name if plain else "workspace"
        temp = root / "_temp"
        return cls(root, root / name / name, temp, temp / "_runner_file_commands", root / "_tool", apart, owner, fixed)

    def make(self) -> None:
        """Create them, for their owner only; raises OSError, also if `root` is there already."""
        self.root.mkdir(mode=0o700)
        for folder in (self.workspace, self.commands, self.tools):
            folder.mkdir(parents=True)
        if self.apart:
            self.give()

    def give(self) -> None:
        """Make what is there, and what an isolated job has beside it, that job's; nothing of it may run yet."""
        for folder in self.given:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            if self.owner is not None:
                _give(folder, self.owner)
        self.root.chmod(0o711)
        if self.fixed:
            self.workspace.parent.chmod(0o711)

    @property
    def given(self) -> tuple[Path, ...]:
        """What an isolated job may write to, each in a folder that is the node's."""
        workspace = self.workspace if self.fixed else self.workspace.parent
        return (workspace, self.temp, self.tools, self.actions, self.source, self.home, self.scratch)

    @property
    def home(self) -> Path:
        """HOME of an isolated job."""
        return self.root / "_home"

    @property
    def scratch(self) -> Path:
        """What an isolated job has for /tmp."""
        return self.root / "_tmp"

    @property
    def actions(self) -> Path:
        """The folder of the actions from other repositories."""
        return self.root / "_actions"

    @property
    def source(self) -> Path:
        """The folder of the run's source, where local actions are found before a checkout."""
        return self.root / "_source"

    @property
    def event_file(self) -> Path:
        """GITHUB_EVENT_PATH."""
        return self.root / "_github_workflow" / "event.json"


def _give(folder: Path, owner: int) -> None:
    os.chown(folder, owner, owner)
    for entry in below(folder):
        os.chown(entry.path, owner, owner, follow_symlinks=False)


def runner_context(folders: Folders, name: str, debug: bool) -> dict[str, Value]:
    """The `runner` context."""
    context: dict[str, Value] = {
        "name": name,
        "os": _OS.get(sys.platform, "Linux"),
        "arch": _ARCH.get(platform.machine().lower(), "X64"),
        "temp": str(folders.temp),
        "tool_cache": str(folders.tools),
        "workspace": str(folders.workspace.parent),
        "environment": "self-hosted",
    }
    if debug:
        context["debug"] = "1"
    return context


def github_additions(folders: Folders, job_id: str) -> dict[str, Value]:
    """What only the runner knows of the `github` context, beside what changes with every step."""
    return {"workspace": str(folders.workspace), "event_path": str(folders.event_file), "job": job_id, "token": ""}


def job_context(facts: RunFacts, workflow: str) -> dict[str, Value]:
    """The `job` context as it begins: the file that the job stands in; status, container and services come later.

    `workflow`: the file's path in the source, or `owner/repo/path@ref`: then the commit is not known here.
    """
    name, remote, ref = workflow.partition("@")
    if remote and workflow != facts.workflow_path:
        owner, repository, path = name.split("/", 2)
        home, commit = f"{owner}/{repository}", ""
    else:
        home, path, ref, commit = facts.repository, workflow, facts.ref, facts.sha
    return {
        "workflow_ref": f"{home}/{path}@{ref}",
        "workflow_sha": commit,
        "workflow_repository": home,
        "workflow_file_path": path,
    }


def standard_variables(facts: RunFacts, folders: Folders, job_id: str, runner: Mapping[str, Value]) -> dict[str, str]:
    """The variables that no workflow can change: GITHUB_*, RUNNER_* and the mark of the job's processes."""
    variables = facts.environment()
    variables["GITHUB_EVENT_PATH"] = str(folders.event_file)
    variables["GITHUB_JOB"] = job_id
    variables["GITHUB_WORKSPACE"] = str(folders.workspace)
    variables.update({f"RUNNER_{name.upper()}": str(value) for name, value in runner.items()})
    variables[JOB_MARK] = str(folders.root)
    return variables


def input_variables(inputs: Mapping[str, str], state: Mapping[str, str]) -> dict[str, str]:
    """The variables in which an action finds its inputs and what its earlier stages saved."""
    return {
        **{f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in inputs.items()},
        **{f"STATE_{name}": value for name, value in state.items()},
    }


def step_variables(
    base: Mapping[str, str],
    workflow: Mapping[str, str],
    standard: Mapping[str, str],
    step: Mapping[str, str],
    paths: Sequence[str],
) -> dict[str, str]:
    """The whole environment of a step.

    `workflow`: env of workflow, job, GITHUB_ENV and step, merged; `step`: the variables of its files and its id;
    `paths`: folders from GITHUB_PATH, in the order they came: the last is searched first.
    Raises UsageError for a name or a value that no process can be given.
    """
    for name, value in workflow.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise UsageError(f"not a variable for a process: {name[:80]!r}", "names may hold no '=', neither a NUL")
    own = {name: value for name, value in workflow.items() if name not in _MARKS}
    variables = {**base, **standard, **own, **{k: v for k, v in standard.items() if k != "CI"}, **step}
    if paths:
        variables["PATH"] = ":".join((*reversed(paths), variables["PATH"]))
    return variables
