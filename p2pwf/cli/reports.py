"""What the steps of a run's jobs came to, drawn for people: of a failed job the step, annotations, summaries."""

from __future__ import annotations

from typing import Any

import click

from p2pwf.cli.text import clean, colour_of, dim, glyph, span, style, table

MAX_TOLD = 10
"""Annotations shown of a run, unless all are asked for."""
COLOURS = {"error": "red", "warning": "yellow", "notice": "blue"}


def draw_reports(run: dict[str, Any], whole: bool) -> None:
    """Print what a person looks for in a run that has ended; `whole`: all that its reports have."""
    jobs = [job for job in run["jobs"] if job.get("report")]
    if whole:
        for job in jobs:
            _draw_steps(job)
    else:
        failed = [(job, step) for job in jobs for step in job["report"]["steps"] if step.get("conclusion") == "failure"]
        if failed:
            click.echo(f"\n{dim('FAILED STEPS')}")
            for job, step in failed:
                name = clean(str(step.get("name")))
                click.echo(f"{glyph('failure')} {clean(job['name'])}  {name}  {dim('see its log with --job')}")
    _draw_annotations(jobs, whole)
    if whole:
        for job in jobs:
            _draw_summaries(job)


def _draw_steps(job: dict[str, Any]) -> None:
    click.echo(f"\n{dim('STEPS OF')} {clean(job['name'])}")
    rows = []
    for step in job["report"]["steps"]:
        word = str(step.get("conclusion"))
        took = span(_number(step.get("started_ms")), _number(step.get("completed_ms")))
        rows.append(
            (glyph(word), str(step.get("number")), clean(str(step.get("name"))), style(word, colour_of(word)), took)
        )
    table(("", "STEP", "NAME", "CONCLUSION", "TOOK"), rows, flexible=2)


def _draw_annotations(jobs: list[dict[str, Any]], whole: bool) -> None:
    every = [(job, one) for job in jobs for one in job["report"]["annotations"]]
    every.sort(
        key=lambda pair: list(COLOURS).index(pair[1]["level"]) if pair[1].get("level") in COLOURS else len(COLOURS)
    )
    shown = every if whole else every[:MAX_TOLD]
    if shown:
        click.echo(f"\n{dim('ANNOTATIONS')}")
    for job, one in shown:
        level = str(one.get("level"))
        where = clean(str(one.get("file") or ""))
        if where and one.get("line") is not None:
            where += f":{_number(one['line']) or 0:g}"
        said = "  ".join(clean(text) for text in (str(one.get("title") or ""), str(one.get("message") or "")) if text)
        head = f"{style(clean(level), COLOURS.get(level))}  {clean(job['name'])}"
        click.echo("  ".join(part for part in (head, where, said) if part))
    if len(every) > len(shown):
        click.echo(dim(f"and {len(every) - len(shown)} more: see --report"))


def _draw_summaries(job: dict[str, Any]) -> None:
    for step in job["report"]["steps"]:
        summary = step.get("summary")
        if isinstance(summary, str) and summary.strip():
            click.echo(f"\n{dim('SUMMARY OF')} {clean(job['name'])}, {clean(str(step.get('name')))}")
            for line in summary.splitlines():
                click.echo(clean(line))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
