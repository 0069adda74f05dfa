"""A run drawn for people: its head, its jobs, and what its end means for an exit code."""

from __future__ import annotations

from typing import Any

import click

from p2pwf.cli.names import name_of
from p2pwf.cli.text import clean, colour_of, cut, dim, glyph, moment, pairs, short, span, style, table

FINAL = ("completed", "failed", "cancelled")


def exit_code(run: dict[str, Any]) -> int:
    """0 for a run that ended well, 1 for one that failed or was cancelled."""
    return 0 if run["status"] == "completed" else 1


def word_of(job: dict[str, Any]) -> str:
    """What a job is now, in one word: its conclusion, or its status until it has one."""
    return str(job["conclusion"] or job["status"])


def name_of_run(run: dict[str, Any]) -> str:
    """What a run is called: by its run-name, or its workflow's name."""
    return clean(run.get("title") or run["name"])


def title(run: dict[str, Any]) -> str:
    """The run in one line."""
    word = run["status"]
    parts = [
        f"{glyph(word)} {style(name_of_run(run), bold=True)}",
        style(word.replace("_", " "), colour_of(word)),
        span(run["started_at"], run["completed_at"]),
        dim(short(run["workflow_id"])),
    ]
    if run.get("cancel_requested") and word not in FINAL:
        parts.insert(2, style("cancelling", "yellow"))
    return "  ".join(parts)


def draw_run(run: dict[str, Any], names: dict[str, str]) -> None:
    """Print a run with its jobs."""
    click.echo(title(run))
    rows = [
        ("id", run["workflow_id"]),
        ("submitted", f"{moment(run['created_at'])} by {name_of(names, run['submitted_by'])}"),
        ("priority", f"{run['priority']:g}"),
    ]
    if run["tags"]:
        rows.append(("tags", ", ".join(clean(one) for one in run["tags"])))
    if run["error"]:
        rows.append(("error", style(clean(run["error"]), "red")))
    pairs(rows)
    click.echo()
    table(
        ("", "JOB", "STATUS", "PEER", "TOOK", "ATTEMPT"),
        [
            (
                glyph(word_of(job)),
                clean(job["name"]),
                word_of(job).replace("_", " "),
                name_of(names, job["owner"]),
                span(job["started_at"], job["completed_at"]),
                str(job["attempt"]) if job["attempt"] else "-",
            )
            for job in run["jobs"]
        ],
        flexible=1,
    )
    for job in run["jobs"]:
        if job.get("waiting"):
            click.echo(style(f"{clean(job['name'])} waits: {clean(job['waiting'])}", "yellow"))
    _draw_outputs(run)


SHOWN_OUTPUT = 200
"""Columns of an output that a person is shown; `--json` has all of it."""


def _draw_outputs(run: dict[str, Any]) -> None:
    lines = [
        (f"{clean(job['name'])}.{clean(name)}", cut(clean(str(value)), SHOWN_OUTPUT))
        for job in run["jobs"]
        for name, value in job["outputs"].items()
    ]
    if lines:
        click.echo(f"\n{dim('OUTPUTS')}")
        pairs(lines)
