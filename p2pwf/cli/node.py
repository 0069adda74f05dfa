"""`p2pwf status` and `p2pwf stats`: this node, for a person or a script."""

from __future__ import annotations

import time
from typing import Any

import click

from p2pwf.cli.base import Session, anywhere
from p2pwf.cli.text import clean, dim, duration, pairs, style
from p2pwf.isolation import told_labels


@click.command()
@anywhere
@click.pass_obj
def status(session: Session) -> None:
    """Show this node.

    \b
      p2pwf status --json | jq .peer_id
    """
    session.answer(session.client.call("GET", "status"), _draw_status)


def _draw_status(found: dict[str, Any]) -> None:
    slots = found["slots"]
    state = style("ready", "green") if found["ready"] else style("joining", "yellow")
    if found.get("paused"):
        state = style("paused", "yellow")
    if found.get("removed"):
        state = style("removed from its network", "red")
    rows = [
        ("name", f"{style(clean(found['name'] or '-'), bold=True)}  {state}"),
        ("peer id", found["peer_id"]),
        ("network", found["network"] + ("  (private)" if found.get("private") else "")),
        ("roles", ", ".join(found["roles"]) or "none"),
        ("labels", ", ".join(clean(one) for one in told_labels(found["labels"])) or "none"),
        ("jobs", f"{found['running_jobs']} running, {slots} slot{'' if slots == 1 else 's'}"),
        ("peers", f"{found['connected_peers']} connected, {found['peer_count']} members"),
        ("up", duration(time.time() - found["started_at"] / 1000)),
        ("version", found["version"]),
        ("control", found["control"]),
    ]
    rows += [("listens on" if not index else "", one) for index, one in enumerate(found["addrs"])]
    if found.get("frozen"):
        rows.append(("frozen", style(clean(str(found["frozen"])), "red")))
    if found.get("removed"):
        rows.append(("removed", style("it submits and runs nothing, and shows what it has", "red")))
        rows.append(("", f"an admin lets it in again: p2pwf peer add {found['peer_id']}"))
    rows += [("alarm", style(clean(str(one)), "red")) for one in found.get("alarms", ())]
    pairs(rows)


@click.command()
@anywhere
@click.pass_obj
def stats(session: Session) -> None:
    """Count runs, events and queues.

    \b
      p2pwf stats --json | jq .status_counts
    """
    session.answer(session.client.call("GET", "stats"), _draw_stats)


def _draw_stats(found: dict[str, Any]) -> None:
    parts = {name: value for name, value in found.items() if isinstance(value, dict)}
    pairs([(_words(name), _value(value)) for name, value in found.items() if name not in parts])
    for part, values in parts.items():
        click.echo(f"\n{style(_words(part), bold=True)}")
        pairs([(f"  {_words(name)}", _value(value)) for name, value in values.items()])


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{_words(str(name))} {_value(one)}" for name, one in value.items()) or dim("none")
    if isinstance(value, list):
        return ", ".join(_value(one) for one in value) or dim("none")
    return clean(str(value))
