"""`p2pwf workflow logs`: what a run's jobs wrote."""

from __future__ import annotations

import sys
from typing import Any

import click

from p2pwf.cli.base import Session, anywhere, print_line
from p2pwf.cli.names import run_argument
from p2pwf.cli.text import clean, clean_log, cut, dim, style, width

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
MAX_NAME = 24
"""Columns of a job's name before its lines."""


@click.command()
@run_argument
@click.option("--job", metavar="JOB", help="Only this job: its id, a leg's name, or job#index.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the jobs have ended.")
@anywhere
@click.pass_obj
def logs(session: Session, workflow_id: str, job: str | None, follow: bool) -> None:
    """Print what a run's jobs wrote, job by job."""
    client = session.client
    lines = client.stream("runs", workflow_id, "logs", query={"job": job, "follow": follow})
    if session.json:
        for line in lines:
            print_line(line)
        return
    printer = LinePrinter(0)
    if job is None:
        run = client.call("GET", "runs", workflow_id)
        names = [clean(one["name"]) for one in run["jobs"]]
        if len(names) > 1:
            printer = LinePrinter(min(MAX_NAME, max(width(name) for name in names)))
    for line in lines:
        printer.show(line)


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
