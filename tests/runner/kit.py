"""Runs jobs for the tests of the runner: real bash, real processes, one spawner for all jobs of a test."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import trio

from p2pwf.core.ids import Cid, blob_cid
from p2pwf.runner import (
    FileLog,
    JobRequest,
    JobResult,
    Limits,
    LogLine,
    PinnedAction,
    RunnerEnv,
    Spawner,
    read_log,
    run_job,
)
from p2pwf.runner.manifest import FILE, PROGRAM, SourceFile, build
from p2pwf.runner.reaper import Table
from p2pwf.workflow import Value

FAST = Limits(linger_s=0.05, interrupt_s=0.2, terminate_s=0.2, container_s=0.01)
"""Graces so short that a test of what ignores them does not wait; none of the others comes near them."""


@attrs.frozen
class Ran:
    """A job that has run: its result and its log."""

    result: JobResult
    lines: tuple[LogLine, ...]
    root: Path

    def text(self, step: int | None = None) -> str:
        """What steps printed, without the runner's own lines."""
        return "\n".join(
            line.text for line in self.lines if line.stream in ("stdout", "stderr") and step in (None, line.step)
        )

    def said(self) -> list[str]:
        """The runner's own lines and shown commands."""
        return [line.text for line in self.lines if line.stream in ("system", "command")]

    def messages(self) -> list[str]:
        """The messages of all annotations."""
        return [annotation.message for annotation in self.result.annotations]

    def outcomes(self) -> list[str]:
        """Each step's outcome."""
        return [step.outcome for step in self.result.steps]


async def no_blob(cid: Cid) -> Path:
    """Where there are no blobs."""
    raise FileNotFoundError(cid.text)


def now_ms() -> int:
    return int(time.time() * 1000)


def workflow(steps: str, job: str = "", top: str = "") -> str:
    """A workflow of one job `j` with these steps; `job` and `top` are more keys of the job and of the file."""
    return (
        f"on: push\n{textwrap.dedent(top)}\njobs:\n  j:\n    runs-on: linux\n"
        + textwrap.indent(textwrap.dedent(job), "    ")
        + "\n    steps:\n"
        + textwrap.indent(textwrap.dedent(steps), "      ")
    )


@attrs.define
class Bench:
    """A place to run jobs in."""

    root: Path
    spawner: Spawner
    count: int = 0

    def env(self, log: FileLog, limits: Limits = FAST, cancel: trio.Event | None = None) -> RunnerEnv:
        return RunnerEnv(
            work_root=self.root / "work",
            log=log,
            fetch_blob=self.fetch,
            spawner=self.spawner,
            now_ms=now_ms,
            limits=limits,
            cancel=cancel,
        )

    def pack(self, files: Mapping[str, str]) -> Cid:
        """The manifest of some files, which jobs of this bench can fetch; names that end in .sh are programs."""
        found = []
        for path, text in files.items():
            content = textwrap.dedent(text).encode()
            mode = PROGRAM if path.endswith(".sh") else FILE
            found.append(SourceFile(path, mode, len(content), self._keep(content)))
        return self._keep(build(found))

    def _keep(self, content: bytes) -> Cid:
        cid = blob_cid(content)
        folder = self.root / "blobs"
        folder.mkdir(exist_ok=True)
        (folder / cid.text).write_bytes(content)
        return cid

    async def fetch(self, cid: Cid) -> Path:
        """The file of a blob."""
        path = self.root / "blobs" / cid.text
        return path if path.is_file() else await no_blob(cid)

    def pin(self, files: Mapping[str, str]) -> PinnedAction:
        """An action as a submitter pins it."""
        return PinnedAction(sha="c" * 40, source=self.pack(files))

    def new_log(self) -> FileLog:
        self.count += 1
        return FileLog(self.root / f"log-{self.count}.ndjson")

    async def run(
        self,
        steps: str,
        *,
        job: str = "",
        top: str = "",
        limits: Limits = FAST,
        cancel: trio.Event | None = None,
        facts: Mapping[str, Value] | None = None,
        secrets: Mapping[str, str] | None = None,
        source: Mapping[str, str] | None = None,
        actions: Mapping[str, Mapping[str, str]] | None = None,
        base: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Ran:
        """Run one job of these steps; `source` and `actions`: files of the run and of each pinned action."""
        asked = make_request(workflow(steps, job, top), facts=facts or {}, secrets=secrets or {})
        if source is not None:
            asked = attrs.evolve(asked, source=self.pack(source))
        pinned = {uses: self.pin(files) for uses, files in (actions or {}).items()}
        asked = attrs.evolve(asked, actions=pinned)
        with closing(self.new_log()) as log:
            env = attrs.evolve(self.env(log, limits, cancel), base=base)
            result = await run_job(attrs.evolve(asked, **request), env)
        return Ran(result, tuple(read_log(log.path)), self.root)


def make_request(
    text: str, facts: Mapping[str, Value] | None = None, secrets: Mapping[str, str] | None = None
) -> JobRequest:
    return JobRequest(
        run="bafyreitestrun",
        job_id="j",
        leg=0,
        attempt=1,
        workflow_text=text,
        workflow_path=".github/workflows/test.yml",
        facts=facts or {},
        secrets=secrets or {},
    )


def alive(marker: str) -> list[int]:
    """The living processes that have `marker` as one of their arguments."""
    found = []
    for pid in Table().alive:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in arguments:
            found.append(pid)
    return found
