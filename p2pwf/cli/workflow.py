"""`p2pwf workflow`: the group, and the commands that answer at once."""

from __future__ import annotations

import json
from typing import Any

import click

from p2pwf.cli.base import LazyGroup, Session, anywhere
from p2pwf.cli.explain import REASONS
from p2pwf.cli.names import complete_peers, name_of, peer_names, run_argument
from p2pwf.cli.reports import draw_reports
from p2pwf.cli.runs import draw_run, name_of_run
from p2pwf.cli.text import clean, glyph, moment, short, span, style, table
from p2pwf.errors import UsageError

STATUSES = ("pending", "assigned", "in_progress", "completed", "failed", "cancelled")
MAX_NAMED = 3
"""Peers named for one reason why nobody runs a job; of more only the number is told."""
_HERE = "p2pwf.cli.workflow"


@click.group(
    cls=LazyGroup,
    lazy={
        "submit": ("p2pwf.cli.submit:submit", "Run a workflow file on the network."),
        "list": (f"{_HERE}:list_", "List the runs, newest first."),
        "status": (f"{_HERE}:status", "Show a run and its jobs."),
        "watch": ("p2pwf.cli.watch:watch", "Follow a run until it ends."),
        "logs": ("p2pwf.cli.logs:logs", "Print what a run's jobs wrote."),
        "artifacts": ("p2pwf.cli.artifacts:artifacts", "List what a run's jobs have left."),
        "download": ("p2pwf.cli.artifacts:download", "Download what a run's jobs have left."),
        "rerun": ("p2pwf.cli.rerun:rerun", "Run an ended run again, or what of it failed."),
        "cancel": (f"{_HERE}:cancel", "Cancel a run."),
        "update": (f"{_HERE}:update", "Change a run's priority or status."),
        "assign": (f"{_HERE}:assign", "Look again at jobs that nobody runs."),
    },
)
@anywhere
def workflow() -> None:
    """Submit, follow and cancel workflows.

    ID is a run's id, or enough of its end or beginning to be the only one.
    """


@click.command("list")
@click.option("--status", "wanted", type=click.Choice(STATUSES), help="Only those of this status.")
@click.option("--peer-id", metavar="PEER", shell_complete=complete_peers, help="Only those with a job on this peer.")
@anywhere
@click.pass_obj
def list_(session: Session, wanted: str | None, peer_id: str | None) -> None:
    """List the runs, newest first.

    \b
      p2pwf workflow list --status failed
      p2pwf workflow list --peer-id attic --json
    """
    client = session.client
    found = client.call("GET", "runs", query={"status": wanted, "peer_id": peer_id})
    names = {} if session.json or not found else peer_names(client)
    session.answer(found, lambda runs: _draw_list(runs, names))


def _draw_list(runs: list[dict[str, Any]], names: dict[str, str]) -> None:
    if not runs:
        click.echo("no runs")
        return
    table(
        ("", "ID", "NAME", "STATUS", "PEER", "SUBMITTED", "TOOK"),
        [
            (
                glyph(one["status"]),
                short(one["workflow_id"]),
                name_of_run(one),
                one["status"].replace("_", " "),
                name_of(names, one["assigned_peer"]),
                moment(one["created_at"]),
                span(one["started_at"], one["completed_at"]),
            )
            for one in runs
        ],
        flexible=2,
    )


@click.command()
@run_argument
@click.option("--report", "whole", is_flag=True, help="Show every step, annotation and summary too.")
@anywhere
@click.pass_obj
def status(session: Session, workflow_id: str, whole: bool) -> None:
    """Show a run and its jobs; of those that failed, where, and what was said about it.

    \b
      p2pwf workflow status 4x7qk2
      p2pwf workflow status 4x7qk2 --report      every step, annotation and summary
    """
    client = session.client
    found = client.call("GET", "runs", workflow_id)
    if whole or not session.json:
        told = {(one["job"], one["index"]): one["report"] for one in client.call("GET", "runs", workflow_id, "report")}
        for job in found["jobs"]:
            job["report"] = told.get((job["job"], job["index"]))
    if session.json:
        session.answer(found, lambda _: None)
        return
    draw_run(found, peer_names(client))
    draw_reports(found, whole)


@click.command()
@run_argument
@click.option("--force", is_flag=True, help="Also jobs whose `if` is always() or cancelled().")
@anywhere
@click.pass_obj
def cancel(session: Session, workflow_id: str, force: bool) -> None:
    """Cancel a run: its running jobs are stopped, the others do not start.

    Jobs whose `if` is true of a cancelled run, such as always(), run to their end, as on GitHub, unless forced.

    \b
      p2pwf workflow cancel 4x7qk2
    """
    made = session.client.call("POST", "runs", workflow_id, "cancel", body={"force": force})
    session.answer(made, lambda one: click.echo(f"cancelling {one['workflow_id']}"))


@click.command()
@run_argument
@click.argument("wanted", metavar="[STATUS]", required=False, type=click.Choice(STATUSES))
@click.option("--priority", type=float, metavar="N", help="1 is critical, 3 normal, 5 background.")
@click.option("--result", metavar="JSON", help="Of completed jobs: an object, whose entries are outputs.")
@click.option("--error", metavar="MESSAGE", help="Of failed jobs: why.")
@click.option("--job", metavar="JOB", help="Only this job: its id, a leg's name, or job#index.")
@anywhere
@click.pass_obj
def update(
    session: Session,
    workflow_id: str,
    wanted: str | None,
    priority: float | None,
    result: str | None,
    error: str | None,
    job: str | None,
) -> None:
    """Change a run's priority, or its status to cancelled: the peers that run its jobs record the rest.

    On a node that leaves its jobs to clients (`p2pwf up --executor external`), in_progress takes on what of a run waits
    there, completed and failed say what became of it.

    \b
      p2pwf workflow update 4x7qk2 --priority 1
      p2pwf workflow update 4x7qk2 in_progress
      p2pwf workflow update 4x7qk2 completed --result '{"rows": 4211}'
    """
    body: dict[str, Any] = {"status": wanted, "priority": priority, "error": error, "job": job}
    if result is not None:
        try:
            body["result"] = json.loads(result)
        except ValueError as problem:
            raise UsageError(f"--result is no JSON: {problem}", """write it as '{"answer": 42}'""") from problem
    client = session.client
    sent = {name: value for name, value in body.items() if value is not None}
    made = client.call("PATCH", "runs", workflow_id, body=sent)
    names = {} if session.json else peer_names(client)
    session.answer(made, lambda run: draw_run(run, names))


@click.command()
@anywhere
@click.pass_obj
def assign(session: Session) -> None:
    """Look again at every job that nobody runs, and say what was decided: who runs it now, or why nobody does.

    \b
      p2pwf workflow assign
    """
    client = session.client
    found = client.call("POST", "assign")
    names = {} if session.json or not found else peer_names(client)
    session.answer(found, lambda jobs: _draw_assigned(jobs, names))


def _draw_assigned(jobs: list[dict[str, Any]], names: dict[str, str]) -> None:
    if not jobs:
        click.echo("every job has a peer")
        return
    rows = [
        (
            short(one["workflow_id"]),
            clean(one["name"]),
            name_of(names, one["owner"]) if one["owner"] else style("nobody", "yellow"),
            "-" if one["distance"] is None else str(one["distance"]),
            "" if one["owner"] else _why_nobody(one["passed_over"], names),
        )
        for one in jobs
    ]
    table(("RUN", "JOB", "PEER", "DISTANCE", ""), rows, flexible=4)


def _why_nobody(passed_over: list[dict[str, Any]], names: dict[str, str]) -> str:
    """Who could not take a job, and why: by reason, so that it stays one line in a large network."""
    peers: dict[str, list[str]] = {}
    for one in passed_over:
        peers.setdefault(one["reason"], []).append(name_of(names, one["peer_id"]))
    told = []
    for reason, who in peers.items():
        more = f" and {len(who) - MAX_NAMED} more" if len(who) > MAX_NAMED else ""
        told.append(f"{', '.join(who[:MAX_NAMED])}{more}: {REASONS.get(reason, reason)}")
    return "; ".join(told) or "no member runs jobs"
