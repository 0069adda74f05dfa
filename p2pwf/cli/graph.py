"""`p2pwf graph`: the jobs of a workflow file and what each waits for, drawn. Needs no node."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from p2pwf.cli.base import Session, anywhere, complete_files, print_json
from p2pwf.cli.check import STDIN, judge
from p2pwf.cli.text import clean, dim, has_unicode
from p2pwf.errors import InvalidWorkflow, UsageError


@click.command()
@click.argument("file", metavar="FILE", shell_complete=complete_files)
@click.option("--dot", "form", flag_value="dot", help="As a graph for Graphviz.")
@click.option("--mermaid", "form", flag_value="mermaid", help="As a flowchart for Mermaid.")
@anywhere
@click.pass_obj
def graph(session: Session, file: str, form: str | None) -> None:
    """Draw the jobs of a workflow file and what each needs, wave by wave.

    \b
      p2pwf graph ci.yml
      p2pwf graph ci.yml --dot | dot -Tsvg > ci.svg
    """
    from p2pwf.workflow import parse
    from p2pwf.workflow.graph import waves
    from p2pwf.workflow.outline import outline

    source, findings = judge(file)
    parsed = parse(source, file if file != STDIN else "stdin")
    if parsed.workflow is None:
        if findings and findings[0].code == "unreadable":
            raise UsageError(f"{file}: {findings[0].message}", findings[0].hint)
        errors = [finding for finding in findings if finding.severity == "error"]
        message = f"{file}:{errors[0].line}:{errors[0].column}: {errors[0].message}"
        raise InvalidWorkflow(message, f"see `p2pwf check {file}`", tuple(one.to_json() for one in errors))
    jobs = outline(parsed.workflow)
    title = parsed.workflow.name or Path(file).name
    if session.json:
        print_json({"name": title, "jobs": jobs})
    elif form == "dot":
        click.echo(_dot(title, jobs))
    elif form == "mermaid":
        click.echo(_mermaid(jobs))
    else:
        levels = waves({job["id"]: job["needs"] for job in jobs})
        click.echo(_terminal(title, jobs, levels))


def _label(job: dict[str, Any]) -> str:
    legs = "" if job["legs"] == 1 else f" ×{job['legs'] or '?'}"  # noqa: RUF001 - the sign of the field
    name = clean(str(job["name"]))
    return (f"{job['id']}" if name == job["id"] else f"{job['id']} ({name})") + legs


def _terminal(title: str, jobs: list[dict[str, Any]], levels: list[list[str]]) -> str:
    """Waves from top to bottom, jobs of a wave below each other, each with the needs that it waits for."""
    by_id = {job["id"]: job for job in jobs}
    corner, tee, bar, arrow, dash = ("└", "├", "│", "←", "─") if has_unicode() else ("`", "|", "|", "<-", "-")
    lines = [clean(title)]
    labels = {job["id"]: _label(job) if has_unicode() else _label(job).replace("×", "x") for job in jobs}  # noqa: RUF001
    wide = min(40, max(len(label) for label in labels.values()))
    for number, wave in enumerate(levels, 1):
        last = number == len(levels)
        lines.append(f"{corner if last else tee}{dash} " + dim(f"wave {number}"))
        edge = " " if last else bar
        for place, job_id in enumerate(wave):
            job = by_id[job_id]
            sign = corner if place == len(wave) - 1 else tee
            line = f"{edge}  {sign}{dash} {labels[job_id]:<{wide}}"
            needs = f"  {arrow} {', '.join(job['needs'])}" if job["needs"] else ""
            when = dim(f"  if {clean(' '.join(job['if'].split()))[:60]}") if job["if"] else ""
            lines.append((line + needs + when).rstrip())
    return "\n".join(lines)


def _dot(title: str, jobs: list[dict[str, Any]]) -> str:
    lines = [f"digraph {_quoted(title)} {{", "  rankdir=LR;", "  node [shape=box];"]
    lines += [f"  {_quoted(job['id'])} [label={_quoted(_label(job))}];" for job in jobs]
    lines += [f"  {_quoted(need)} -> {_quoted(job['id'])};" for job in jobs for need in job["needs"]]
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return '"' + clean(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _mermaid(jobs: list[dict[str, Any]]) -> str:
    lines = ["flowchart LR"]
    # A node may not be called `end`, and much of what a name may hold has a meaning there.
    names = {
        job["id"]: "job_" + re.sub("[^A-Za-z0-9]", "_", job["id"]) + f"_{number}" for number, job in enumerate(jobs)
    }
    for job in jobs:
        label = re.sub('[#"<>&;`]', lambda found: f"#{ord(found[0])};", _label(job))
        lines.append(f'  {names[job["id"]]}["{label}"]')
    lines += [f"  {names[need]} --> {names[job['id']]}" for job in jobs for need in job["needs"]]
    return "\n".join(lines)
