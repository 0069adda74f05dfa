"""`p2pwf workflow logs`: what a run's jobs wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from p2pwf.cli.base import Session, anywhere, print_line
from p2pwf.cli.names import run_argument
from p2pwf.cli.text import clean, clean_log, cut, dim, style, width
from p2pwf.control.client import Client
from p2pwf.errors import NotFound, UsageError

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
MAX_NAME = 24
"""Columns of a job's name before its lines."""


TITLE = "##[group]"
"""Before the title of a step, in its first line."""


@click.command()
@run_argument
@click.option("--job", metavar="JOB", help="Only this job: its id, or of one leg the name or job#index.")
@click.option("--step", metavar="STEP", help="Only this step, by its number or its name.")
@click.option("--failed", is_flag=True, help="Only the steps that failed, of the jobs that did.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the jobs have ended.")
@anywhere
@click.pass_obj
def logs(session: Session, workflow_id: str, job: str | None, step: str | None, failed: bool, follow: bool) -> None:
    """Print what a run's jobs wrote, job by job; of ended runs and of peers that are gone, too.

    \b
      p2pwf workflow logs 4x7qk2 --failed
      p2pwf workflow logs 4x7qk2 --job 'test (3.12)' --step 2
      p2pwf workflow logs 4x7qk2 --job build -f
    """
    if failed and (follow or step is not None):
        raise UsageError("--failed takes neither --step nor --follow", "it shows the failed steps of jobs that ended")
    client = session.client
    if failed:
        lines = _of_failed(client, workflow_id, job)
    else:
        lines = client.stream("runs", workflow_id, "logs", query={"job": job, "follow": follow})
    if step is not None:
        lines = _of_step(lines, step)
    if session.json:
        for line in lines:
            print_line(line)
        return
    jobs = client.call("GET", "runs", workflow_id)["jobs"]
    names = [clean(one["name"]) for one in jobs if job is None or job in _names(one)]
    printer = LinePrinter(min(MAX_NAME, max(width(name) for name in names)) if len(names) > 1 else 0)
    for line in lines:
        printer.show(line)


def _of_step(lines: Iterator[dict[str, Any]], wanted: str) -> Iterator[dict[str, Any]]:
    """The lines of one step of each job, by its number or title. Raises NotFound at the end if there was none."""
    titles: dict[tuple[str, Any], str] = {}
    for line in lines:
        key = (line["name"], line["step"])
        if key not in titles:
            titles[key] = line["text"].removeprefix(TITLE) if line["text"].startswith(TITLE) else ""
        if wanted in (str(line["step"]), titles[key]):
            yield line
    if not any(wanted in (str(number), title) for (_, number), title in titles.items()):
        known = ", ".join(dict.fromkeys(f"{number} {clean(title)}" for (_, number), title in titles.items() if title))
        raise NotFound(f"no step {wanted!r} in these logs", f"there are {known}" if known else "no step has run yet")


def _names(job: dict[str, Any]) -> tuple[str, str, str]:
    """What --job may call a job of a run; by its id all its legs are meant."""
    return job["job"], job["name"], f"{job['job']}#{job['index']}"


def _of_failed(client: Client, run: str, job: str | None) -> Iterator[dict[str, Any]]:
    """The lines of the failed steps of a run's failed jobs; of a job that no step made fail, all of them."""
    jobs = client.call("GET", "runs", run)["jobs"]
    reports = {(one["job"], one["index"]): one["report"] for one in client.call("GET", "runs", run, "report")}
    wanted = [one for one in jobs if job is None or job in _names(one)]
    if not wanted:
        known = ", ".join(dict.fromkeys(clean(one["job"]) for one in jobs))
        raise NotFound(f"no job {job!r} in this run", f"its jobs: {known}")
    for one in wanted:
        if one["conclusion"] != "failure":
            continue
        report = reports.get((one["job"], one["index"])) or {"steps": []}
        steps = {step.get("number") for step in report["steps"] if step.get("conclusion") == "failure"}
        for line in client.stream("runs", run, "logs", query={"job": f"{one['job']}#{one['index']}"}):
            if not steps or line["step"] in steps:
                yield line


class LinePrinter:
    """Prints log lines; with a column for the job's name where there are several."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._colours: dict[str, str] = {}

    def show(self, line: dict[str, Any]) -> None:
        """Print one line, at once."""
        text = clean_log(line["text"])
        if line["stream"] in ("command", "system"):
            text = dim(text)
        sys.stdout.write(self._prefix(clean(line["name"])) + text + "\n")
        sys.stdout.flush()

    def _prefix(self, name: str) -> str:
        if not self._columns:
            return ""
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        shown = cut(name, self._columns)
        return style(shown + " " * (self._columns - width(shown)), colour) + "  "
