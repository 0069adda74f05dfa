"""What a one-shot run is asked, and what it tells while it runs. Light: values and one type.

What is told are dicts, one JSON object each, `{"type": …}` first. Of a job's: `job` (its id), `leg` (index), `name` (as
shown), `matrix` (map or null); of a step's also `step` (number from 1; 0 is the job itself).

    job_started    job leg name matrix
    step_started   job leg matrix step name
    log            job leg matrix step line stream: stdout, stderr, command (a group, an annotation) or system (ours)
    annotation     job leg matrix step level message title file line end_line column end_column; `job` null: of the file
    step_finished  job leg matrix step id name conclusion outcome seconds summary
    job_finished   job leg name matrix conclusion outcome outputs error seconds
    run_finished   name title conclusion jobs: {id: joint result} outputs artifacts: [{name, path, size}] seconds
                   exit_code error: {code, message, hint} or null; of a file that does not check with its diagnostics

`outputs` of a run are those of a file that is run as a called one (`--event workflow_call`). Secrets are masked in
all of them. The last one is always `run_finished`, also where nothing could be run: then `error` says why, `title` and
`seconds` are null, and there are no jobs. A job or step that is skipped is told as finished only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs

from p2pwf.isolation import Level

SIGNALLED: Final = 128
"""An exit code for a signal, as shells have it."""
Told: TypeAlias = dict[str, Any]
Tell: TypeAlias = Callable[[Told], None]


@attrs.frozen(slots=True, kw_only=True, eq=False)
class RunRequest:
    """`job`: only that one and what it needs. `payload`: the event's; None: one is made from the source.

    `source`: the tree to run on; None: the repository around `file`. `artifacts`: where they go; None: below the
    user's cache folder. `slots`: jobs at a time.
    """

    file: Path
    job: str | None = None
    event: str | None = None
    payload: Mapping[str, Any] | None = None
    inputs: Mapping[str, str] = attrs.field(factory=dict)
    secrets: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    vars: Mapping[str, str] = attrs.field(factory=dict)
    env: Mapping[str, str] = attrs.field(factory=dict)
    source: Path | None = None
    artifacts: Path | None = None
    slots: int = 1
    isolation: Level = Level.none
    """How far apart jobs are kept, at least: one that asks for more by a label gets more."""
    isolation_image: str | None = None
    """What jobs without a container of their own run in at level container."""


@attrs.frozen(slots=True, eq=False)
class Outcome:
    """How a run ended. `interrupted`: the number of the first signal that came, if one did."""

    conclusion: str
    interrupted: int | None

    @property
    def exit_code(self) -> int:
        """0 for a success, 1 for anything else, 128 and the signal's number where one ended it."""
        if self.interrupted is not None:
            return SIGNALLED + self.interrupted
        return 0 if self.conclusion == "success" else 1


def not_run(name: str, exit_code: int, error: Mapping[str, Any]) -> Told:
    """The end of a run that did not come to one of its own."""
    nothing: Told = {"conclusion": "failure", "jobs": {}, "outputs": {}, "artifacts": [], "seconds": None}
    return {
        "type": "run_finished", "name": name, "title": None, **nothing, "exit_code": exit_code, "error": dict(error)
    }  # fmt: skip
