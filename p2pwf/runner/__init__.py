"""Runs one job on this machine: processes, step files, commands, masks, logs. Knows nothing of the network.

    async with open_spawner() as spawner:                  # one for all jobs of a node
        with closing(FileLog(path)) as log:
            result = await run_job(JobRequest(…), RunnerEnv(work_root=…, log=log, spawner=spawner, …))

`log.follow()` streams the lines while the job runs; `sweep_leftovers(work_root)` cleans up after a killed node.

A name is imported when it is asked for: who only reads a source, or a job's log, need not wait for the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pwf.runner.job import run_job
    from p2pwf.runner.leftovers import Swept, job_folder, sweep_leftovers
    from p2pwf.runner.log import FileLog, LogLine, LogSink, read_log
    from p2pwf.runner.processes import Spawner, open_spawner
    from p2pwf.runner.values import (
        Annotation,
        Artifact,
        Cache,
        JobRequest,
        JobResult,
        Limits,
        PinnedAction,
        RunnerEnv,
        StepResult,
        Stored,
    )

__all__ = [
    "Annotation",
    "Artifact",
    "Cache",
    "FileLog",
    "JobRequest",
    "JobResult",
    "Limits",
    "LogLine",
    "LogSink",
    "PinnedAction",
    "RunnerEnv",
    "Spawner",
    "StepResult",
    "Stored",
    "Swept",
    "job_folder",
    "open_spawner",
    "read_log",
    "run_job",
    "sweep_leftovers",
]

_ELSEWHERE = {
    "run_job": "job",
    **dict.fromkeys(("Swept", "job_folder", "sweep_leftovers"), "leftovers"),
    **dict.fromkeys(("FileLog", "LogLine", "LogSink", "read_log"), "log"),
    **dict.fromkeys(("Spawner", "open_spawner"), "processes"),
}
"""Where a name is from that is not one of `values`."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ELSEWHERE.get(name, 'values')}"), name)
