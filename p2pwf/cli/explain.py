"""`p2pwf explain`: why a job runs where it runs."""

from __future__ import annotations

from typing import Any

import click

from p2pwf.cli.base import Session, anywhere
from p2pwf.cli.names import peer_names, run_argument
from p2pwf.cli.text import clean, dim, pairs, short, style, table

REASONS = {
    None: "",
    "slots": "no slot free",
    "labels": "lacks a label",
    "absent": "was absent",
    "policy": "its policy refuses",
    "attempted": "had an attempt",
}


@click.command()
@run_argument
@click.argument("job", metavar="JOB")
@anywhere
@click.pass_obj
def explain(session: Session, workflow_id: str, job: str) -> None:
    """Show why a job runs where it runs.

    JOB is a job's id, a leg's name such as `m (1)`, or job#index.

    \b
      p2pwf explain 4x7qk2 build
      p2pwf explain 4x7qk2 'test (3.12)'
    """
    client = session.client
    found = client.call("GET", "runs", workflow_id, "explain", query={"job": job})
    names = {} if session.json else peer_names(client)
    session.answer(found, lambda one: _draw(one, names))


def _draw(found: dict[str, Any], names: dict[str, str]) -> None:
    matrix = found["matrix"]
    leg = f"  {', '.join(f'{key}={value}' for key, value in matrix.items())}" if matrix else ""
    pairs(
        [
            ("job", style(clean(found["job"]), bold=True) + clean(leg)),
            ("attempt", str(found["attempt"])),
            ("clock head", found["clock_head"]),
            ("task", found["task"]),
            ("combined", found["combined"]),
        ]
    )
    click.echo()
    rows = []
    for one in found["candidates"]:
        owner = one["peer_id"] == found["owner"]
        reason = REASONS.get(one["passed_over"], str(one["passed_over"]))
        rows.append(
            (
                "-" if one["order"] is None else str(one["order"]),
                "-" if one["distance"] is None else str(one["distance"]),
                style(names.get(one["peer_id"], "-"), "green" if owner else None, bold=owner),
                short(one["peer_id"]),
                ", but ".join(filter(None, ("owner", reason))) if owner else reason,
            )
        )
    table(("ORDER", "DISTANCE", "NAME", "PEER", ""), rows, flexible=4)
    if found.get("waiting"):
        click.echo(style(f"waits: {clean(found['waiting'])}", "yellow"))
    if found["owner"] is None:
        click.echo(dim("nobody runs it yet"))
