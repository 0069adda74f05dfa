"""`p2pwf workflow watch`: a run until its end; a live picture on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from p2pwf.cli.base import Session, anywhere, print_line
from p2pwf.cli.names import name_of, peer_names, run_argument
from p2pwf.cli.progress import QUIET, moves, progress_option
from p2pwf.cli.runs import FINAL, exit_code, word_of
from p2pwf.cli.text import clean, moment, span
from p2pwf.control.client import Client
from p2pwf.errors import NoNode


@click.command()
@run_argument
@progress_option
@anywhere
@click.pass_obj
def watch(session: Session, workflow_id: str, progress: str) -> int:
    """Follow a run until it ends; exits with 0 if it went well, with 1 if it failed or was cancelled.

    \b
      p2pwf workflow watch 4x7qk2 && echo it went well
    """
    client = session.client
    views = client.stream("runs", workflow_id, "watch")
    if session.json:
        last = _print_views(views)
    elif moves(progress, sys.stdout):
        from p2pwf.cli.live import watch_live

        last = watch_live(client, views)
    else:
        last = print_changes(client, views, progress == QUIET)
    if last.get("status") not in FINAL:
        raise NoNode("the node stopped before the run ended", "the run goes on elsewhere: start it again and watch")
    return exit_code(last)


def _print_views(views: Iterator[dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for last in views:
        print_line(last)
    return last


def print_changes(client: Client, views: Iterator[dict[str, Any]], quiet: bool = False) -> dict[str, Any]:
    """A line whenever a job has another status, owner or attempt, unless `quiet`; and one for the run."""
    names = peer_names(client)
    seen: dict[tuple[str, int], tuple[Any, ...]] = {}
    last: dict[str, Any] = {}
    for last in views:
        owners = {job["owner"] for job in last["jobs"]} - {None}
        if not owners <= names.keys():
            names |= peer_names(client)
        for job in last["jobs"]:
            key = (job["job"], job["index"])
            now = (word_of(job), job["owner"], job["attempt"])
            if seen.get(key) != now and not quiet:
                seen[key] = now
                _say(job["completed_at"] or job["started_at"], _change(job, names))
    if last:
        took = span(last["started_at"] or last["created_at"], last["completed_at"])
        _say(last["completed_at"], f"{clean(last['name'])}  {last['status'].replace('_', ' ')} in {took}")
    return last


def _say(ms: float | None, text: str) -> None:
    import time

    sys.stdout.write(f"{moment(time.time() * 1000 if ms is None else ms)}  {text}\n")
    sys.stdout.flush()


def _change(job: dict[str, Any], names: dict[str, str]) -> str:
    word = word_of(job)
    parts = [clean(job["name"]), word.replace("_", " ")]
    if job["owner"]:
        parts.append(f"on {name_of(names, job['owner'])}")
    if job["attempt"] > 1:
        parts.append(f"attempt {job['attempt']}")
    if job["completed_at"] is not None and job["started_at"] is not None:
        parts.append(f"in {span(job['started_at'], job['completed_at'])}")
    if said := job["error"] or job.get("waiting"):
        parts.append(f"({clean(said)})")
    return "  ".join(parts[:1]) + "  " + " ".join(parts[1:])
