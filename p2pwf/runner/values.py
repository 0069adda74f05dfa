"""The runner's values: what it is asked (JobRequest), where it works (RunnerEnv), what came of it (JobResult).

Plain data, so that whoever asks (a node, a one-shot command, a test) needs to know nothing of processes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

import attrs
import trio

from p2pwf.core.ids import Cid
from p2pwf.isolation import Level
from p2pwf.runner.environment import Folders
from p2pwf.runner.isolation.bounds import Bounds
from p2pwf.runner.log import LogSink
from p2pwf.runner.processes import Spawner
from p2pwf.workflow.expr import Value

if TYPE_CHECKING:
    from p2pwf.runner.isolation.keeper import Keeper

Outcome = Literal["success", "failure", "cancelled", "skipped"]
AnnotationLevel = Literal["notice", "warning", "error"]

MAX_ANNOTATIONS: Final = 50
"""Annotations kept for a job, the first ones, errors before others; the log has them all. GitHub shows as many."""
MAX_OF_STEP: Final = 10
"""Of them errors, warnings and notices of one step, each."""


@attrs.frozen(slots=True, kw_only=True)
class JobRequest:
    """One attempt of one leg of a job.

    `run` is the run id as text. `facts` describe the run: event, payload, ref, sha, repository, actor, inputs, vars,
    workflow name. `called` and `actions` are those of the submission.
    `needs` maps each needed job to {"result": …, "outputs": {…}}. `matrix` is None for a plain job.
    `legs` is how many the job has (None: worked out from `needs`). `source` is the manifest that actions/checkout
    lays out. `env` lies below the workflow's own `env`. `secrets` are the run's, of which a called workflow gets what
    its caller hands on; `own_secrets` and `own_vars` are those of the job's environment, over all others.
    """

    run: str
    job_id: str
    leg: int
    attempt: int
    workflow_text: str
    workflow_path: str
    facts: Mapping[str, Value]
    needs: Mapping[str, Mapping[str, Value]] = attrs.field(factory=dict)
    matrix: Mapping[str, Value] | None = None
    leg_name: str = ""
    legs: int | None = None
    source: Cid | None = None
    runner_name: str = "runner"
    labels: tuple[str, ...] = ()
    network: str = ""
    secrets: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    own_secrets: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    own_vars: Mapping[str, str] = attrs.field(factory=dict)
    env: Mapping[str, str] = attrs.field(factory=dict)
    called: Mapping[str, str] = attrs.field(factory=dict)
    actions: Mapping[str, PinnedAction] = attrs.field(factory=dict)


@attrs.frozen(slots=True, kw_only=True)
class PinnedAction:
    """An action as the submitter found it: its commit, and the manifest of its files."""

    sha: str
    source: Cid


@attrs.frozen(slots=True, kw_only=True)
class Stored:
    """A folder packed into the blob store: its manifest, and the bytes of its files."""

    link: Cid
    size: int


@attrs.frozen(slots=True, kw_only=True)
class Artifact:
    """What upload-artifact made: a named manifest. `job`, `attempt`: who made it."""

    name: str
    link: Cid
    size: int
    job: str = ""
    attempt: int = 1


@attrs.frozen(slots=True, kw_only=True)
class Cache:
    """What cache saved: a manifest under a key and a version (a hash over the paths)."""

    key: str
    version: str
    link: Cid
    size: int


@attrs.frozen(slots=True, kw_only=True)
class Limits:
    """Bounds and graces of one job, in seconds and bytes; the defaults are what GitHub has where it has any."""

    job_minutes: float = 360.0
    """A job without `timeout-minutes`."""
    cancel_s: float = 300.0
    """How long steps with `always()` or `cancelled()` may take once a job is cancelled or timed out."""
    interrupt_s: float = 2.5
    """From SIGINT to SIGTERM when a step is stopped. With the next, well inside the 10 s a node has to leave."""
    terminate_s: float = 2.5
    """From SIGTERM to SIGKILL."""
    linger_s: float = 2.0
    """How long an ended step's output is awaited when a process that it left behind still holds it open."""
    container_s: float = 2.0
    """Before an image is pulled once more, or a starting service looked at again; doubled each time."""
    line_bytes: int = 64 * 1024
    """A longer line is logged in pieces of this size."""
    log_bytes: int = 64 * 1024 * 1024
    """Of a job's log file; what comes after is dropped, counted, and said so."""


@attrs.frozen(slots=True, kw_only=True)
class RunnerEnv:
    """Where a job runs and what it may use.

    `work_root`: the node's own folder for jobs. `fetch_blob`: the local path of a blob, fetched if need be.
    `spawner`: shared by a node's jobs; without one the job starts its own. `cancel`: set it to cancel the job as GitHub
    does: the current step is stopped, steps with `always()` or `cancelled()` still run. (Cancelling the trio scope
    around `run_job` ends everything at once.) `store_folder` packs a folder as a source manifest into the
    node's blobs. `artifacts` tells those of the run that this node knows of now. `find_cache` takes keys, most wanted
    first (the first is to match whole, the others as prefixes), and a version.
    `base`: the variables a step starts from; None takes a small choice
    of this process's. `now_ms`: the wall clock.
    """

    work_root: Path
    log: LogSink
    fetch_blob: Callable[[Cid], Awaitable[Path]]
    spawner: Spawner | None = None
    store_folder: Callable[[Path, frozenset[str] | None], Awaitable[Stored]] | None = None
    """The second argument: paths below the folder to take, relative with `/`; None: all."""
    artifacts: Callable[[], Awaitable[tuple[Artifact, ...]]] | None = None
    find_cache: Callable[[tuple[str, ...], str], Awaitable[Cache | None]] | None = None
    cancel: trio.Event | None = None
    base: Mapping[str, str] | None = None
    prefill: bool = False
    """Whether the source lies in the workspace before the first step; on the network it comes by checkout."""
    ahead: Callable[[Folders], Awaitable[bool]] | None = None
    """Puts the job's folders where they belong if they were made ahead, then with the source in the workspace if it is
    to be there; whether it did. None: the runner makes them."""
    progress: Progress | None = None
    discard: Callable[[Path], None] | None = None
    """Takes the job's folder at the job's end, to remove it; None: the runner does so before it returns."""
    limits: Limits = Limits()
    isolation: Level = Level.none
    """How far apart the job is kept; more than `none` needs a `keeper` on whose machine a probe of that level ran."""
    network: bool = True
    """Whether an isolated job has the machine's network; without, it has a loopback of its own and nothing else."""
    bounds: Bounds = attrs.field(factory=Bounds)
    """Of an isolated job."""
    keeper: Keeper | None = None
    now_ms: Callable[[], int]


@attrs.frozen(slots=True, kw_only=True)
class Annotation:
    """A notice, warning or error that a step raised, with the place it names, if any."""

    level: AnnotationLevel
    message: str
    step: int
    title: str = ""
    file: str = ""
    line: int | None = None
    end_line: int | None = None
    column: int | None = None
    end_column: int | None = None


@attrs.frozen(slots=True, kw_only=True)
class StepResult:
    """How a step went. `outcome` is before `continue-on-error`, `conclusion` after it. Times in ms, None if skipped."""

    number: int
    id: str
    name: str
    outcome: Outcome
    conclusion: Outcome
    started_ms: int | None = None
    completed_ms: int | None = None
    summary: str = ""


@attrs.frozen(slots=True, kw_only=True)
class JobResult:
    """How a job went. `outcome` is before the job's `continue-on-error`, `conclusion` after it.

    `error` says, in one line, why a job failed for a reason that is no step's (bad expression, outputs too large, …).
    `dropped_log_bytes` counts what the log's bound cut off, about; `killed` the processes that steps left behind.
    """

    outcome: Outcome
    conclusion: Outcome
    outputs: Mapping[str, str] = attrs.field(factory=dict)
    steps: tuple[StepResult, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    caches: tuple[Cache, ...] = ()
    error: str | None = None
    dropped_log_bytes: int = 0
    killed: int = 0


class Progress(Protocol):
    """Is told of the steps of one job as they begin and end; what it is given is masked."""

    def step_started(self, number: int, name: str) -> None:
        """A step begins; one that is skipped does not."""

    def step_finished(self, result: StepResult, annotations: Sequence[Annotation]) -> None:
        """A step has ended, or was skipped; with the annotations of it that are kept."""
