"""What everyone with the run role may write, and one does: the legs of jobs that depend on others, a run's end."""

from __future__ import annotations

from collections.abc import Callable

from p2pwf.core.bodies import MAX_TEXT
from p2pwf.core.events import EventError
from p2pwf.engine.attention import Attention
from p2pwf.engine.config import STAGGER, TICK
from p2pwf.engine.desk import Desk, finish_ids, needs_context
from p2pwf.engine.judge import Judge
from p2pwf.engine.liveness import Liveness
from p2pwf.errors import P2pwfError
from p2pwf.runs import PlannedJob, Run
from p2pwf.runs.run import end_list


class Shared:
    """`look_within` asks for the run at hand to be looked at again within so many seconds."""

    def __init__(
        self,
        desk: Desk,
        liveness: Liveness,
        judge: Judge,
        attention: Attention,
        look_within: Callable[[float], None],
    ) -> None:
        self._desk = desk
        self._liveness = liveness
        self._judge = judge
        self._look_within = look_within
        self._attention = attention

    def _turn(self, run: Run, job: str) -> bool:
        """Whether it is this node's turn to write what everyone with the run role may write, about a job or, with "",
        the whole run: the first live one in order at once, each next one STAGGER later."""
        self._look_within(TICK)
        live = [peer for peer in run.placement.everyone(job, 0, self._desk.standing()) if self._liveness.is_alive(peer)]
        if self._liveness.suspended or self._desk.me not in live:
            return False
        since = self._attention.since(run, f"\0turn {job}", self._desk.now.mono)
        return self._desk.now.mono - since >= live.index(self._desk.me) * STAGGER

    def expand(self, run: Run, job: PlannedJob, cancelled: bool, dropped: bool) -> None:
        """Work out the legs of a job that depend on other jobs, if those have concluded and it is our turn."""
        if any(run.tally.result(need) is None for need in job.needs):
            return
        if not self._turn(run, job.id):
            return
        legs: list[dict[str, object]] = []
        concluded, error = None, None
        try:
            if not dropped and self._judge.should_run(run, job, cancelled):
                needs = needs_context(run, job.needs)
                legs = list(self._desk.config.planner.expand(run.submission, job.id, needs))  # type: ignore[arg-type]
            else:
                concluded = "cancelled" if cancelled else "skipped"
        except P2pwfError as failure:
            concluded, error = "failure", failure.message[:MAX_TEXT]
        body = {
            "run": run.id,
            "job": job.id,
            "uses": finish_ids(run, job.needs),
            "legs": legs,
            "conclusion": concluded,
            "error": error,
        }
        try:
            self._desk.write("job.expand", body, run)
        except EventError as failure:
            error = f"its legs are out of bounds: {failure}"[:MAX_TEXT]
            self._desk.write("job.expand", {**body, "legs": [], "conclusion": "failure", "error": error}, run)

    def end(self, run: Run) -> None:
        """Write the run's end with the last outcome; if its author does not, the next in order does after a lease."""
        concluded = run.tally.conclusion()
        if concluded is None or run.tally.end is not None:
            return
        finishes = end_list(run.tally)
        last = max((entry for cid in finishes if (entry := run.known(cid))), key=lambda entry: entry.order)
        if last.author != self._desk.me:
            since = self._attention.since(run, "\0end", self._desk.now.mono)
            waited = self._desk.now.mono - since
            self._look_within(TICK)
            if waited < self._desk.config.lease or not self._turn(run, ""):
                return
        elif self._liveness.suspended:
            self._look_within(TICK)
            return
        self._desk.write("run.end", {"run": run.id, "conclusion": concluded, "finishes": finishes}, run)
