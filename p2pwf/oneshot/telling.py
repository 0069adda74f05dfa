"""What the user is told of a run: as `request` says, in order, each thing once, masked. No engine, no I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import attrs

from p2pwf.engine.outputs import StartJob
from p2pwf.oneshot.request import Outcome, Tell, Told
from p2pwf.runner.log import LogLine
from p2pwf.runner.masking import Masker
from p2pwf.runner.values import Annotation, StepResult
from p2pwf.runs import Run
from p2pwf.runs.run import Key
from p2pwf.runs.tally import conclusion
from p2pwf.runs.view import keys_of


def now_ms() -> int:
    """The wall clock, in ms since 1970."""
    return time.time_ns() // 1_000_000


class JobTeller:
    """What a running job says, as told to the user. Implements `runner.LogSink` and `runner.values.Progress`."""

    def __init__(self, about: Told, tell: Tell) -> None:
        self._about = about
        self._tell = tell
        self._told: set[Annotation] = set()

    def _say(self, kind: str, step: int, **more: object) -> None:
        self._tell({"type": kind, **self._about, "step": step, **more})

    def write(self, line: LogLine) -> None:
        """A line of the log."""
        self._say("log", line.step, line=line.text, stream=line.stream)

    def flush(self) -> None:
        """Lines are told one by one."""

    def step_started(self, number: int, name: str) -> None:
        """A step begins."""
        self._say("step_started", number, name=name)

    def step_finished(self, result: StepResult, annotations: Sequence[Annotation]) -> None:
        """A step has ended."""
        self.annotate(annotations)
        self._say(
            "step_finished",
            result.number,
            id=None if result.id.startswith("__") else result.id or None,  # made ones are nobody's
            name=result.name,
            conclusion=result.conclusion,
            outcome=result.outcome,
            seconds=seconds(result.started_ms, result.completed_ms),
            summary=result.summary,
        )

    def annotate(self, annotations: Sequence[Annotation]) -> None:
        """Tell those annotations that were not told yet."""
        for one in annotations:
            if one not in self._told:
                self._told.add(one)
                self._say("annotation", **attrs.asdict(one))


class RunTeller:
    """Tells of one run. `gone` is called when nobody listens any more; `failed` is why."""

    def __init__(self, tell: Tell, secrets: Iterable[str], gone: Callable[[], None]) -> None:
        self._tell = tell
        self._gone = gone
        self._masker = Masker()
        self._masked = False
        for secret in secrets:
            self._masker.add(secret)
            self._masked = True
        self._finished: set[Key | str] = set()
        self._started: dict[Key, int] = {}
        self._begun = now_ms()
        self.failed: Exception | None = None

    @property
    def jobs(self) -> int:
        """How many legs have started."""
        return len(self._started)

    def tell(self, told: Told) -> None:
        """Tell something; log lines are masked already, what may hold a user's text besides is masked here."""
        if told["type"] != "log" and self._masked:
            told = cast(Told, masked(told, self._masker.mask))
        if self.failed is None:
            try:
                self._tell(told)
            except Exception as error:  # noqa: BLE001 - raised again at the end
                # Whoever listens is gone, a pipe's reader perhaps: nobody wants to know how it goes on.
                self.failed = error
                self._gone()

    def warn(self, message: str) -> None:
        """Tell a warning of the run's own."""
        self.tell(notice("warning", message))

    def started(self, order: StartJob) -> JobTeller:
        """A job begins; what tells of it."""
        key = (order.attempt.job, order.attempt.leg)
        self._started[key] = now_ms()
        about = {"job": key[0], "leg": key[1], "matrix": order.matrix}
        self.tell({"type": "job_started", **about, "name": order.leg_name})
        return JobTeller(about, self.tell)

    def finished(self, run: Run) -> None:
        """Tell of the legs that have an outcome since the last time, and of jobs that came to none."""
        for key in keys_of(run):
            finish = run.tally.finish(key)
            if finish is None or key in self._finished:
                continue
            self._finished.add(key)
            leg = run.tally.leg_of(key)
            self._job(
                key,
                leg.name,
                leg.matrix,
                conclusion=conclusion(finish),
                outcome=finish.body.get("outcome"),
                outputs=finish.body.get("outputs", {}),
                error=finish.body.get("error"),
            )
        for job, expand in run.tally.expands.items():
            word = expand.body["conclusion"]
            if word is not None and job not in self._finished:
                self._finished.add(job)
                self._job((job, 0), job, None, conclusion=word, outcome=word, outputs={}, error=expand.body["error"])

    def _job(self, key: Key, name: str, matrix: object, **how: object) -> None:
        took = seconds(self._started.get(key), now_ms())
        about = {"job": key[0], "leg": key[1], "name": name, "matrix": matrix}
        self.tell({"type": "job_finished", **about, **how, "seconds": took})

    def ended(
        self, run: Run, called: Mapping[str, str], outcome: Outcome, outputs: dict[str, str], artifacts: list[Told]
    ) -> None:
        """The run is over. `called`: its `name` and `title`."""
        jobs = {job: run.tally.result(job) or "cancelled" for job in run.plan.jobs}
        self.tell(
            {
                "type": "run_finished",
                **called,
                "conclusion": outcome.conclusion,
                "jobs": jobs,
                "outputs": outputs,
                "artifacts": artifacts,
                "seconds": seconds(self._begun, now_ms()),
                "exit_code": outcome.exit_code,
                "error": None,
            }
        )


def notice(level: str, message: str, **where: object) -> Told:
    """An annotation of no job."""
    about: Told = {"job": None, "leg": None, "matrix": None, "step": None}
    place: Told = {"title": "", "file": "", "line": None, "end_line": None, "column": None, "end_column": None}
    return {"type": "annotation", **about, "level": level, "message": message, **place, **where}


def masked(value: object, mask: Callable[[str], str]) -> object:
    """A JSON-able value with all its texts masked."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {name: masked(item, mask) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, mask) for item in value]
    return value


def seconds(start_ms: int | None, end_ms: int | None) -> float | None:
    """From one time to another one, both in ms; None where one of them is not known."""
    return None if start_ms is None or end_ms is None else max(0, end_ms - start_ms) / 1000
