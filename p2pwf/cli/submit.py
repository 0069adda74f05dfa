"""`p2pwf workflow submit`: a file and its options to the node; with --wait, its end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from p2pwf.cli.base import Session, anywhere, complete_files, print_json
from p2pwf.cli.names import complete_peers, peer_names
from p2pwf.cli.progress import PLAIN, QUIET, busy, moves, progress_option
from p2pwf.cli.runs import FINAL, draw_run, exit_code
from p2pwf.cli.text import SHORT, clean, glyph
from p2pwf.errors import NoNode, UsageError

MAX_FILE = 1024 * 1024
"""Bytes of an event or of inputs."""
MAX_LEFT_OUT = 5
"""Files named that were left out of the source; of more only the number is told."""


@click.command()
@click.argument("file", metavar="FILE", shell_complete=complete_files)
@click.option("--name", metavar="NAME", help="What to call the run.")
@click.option("--priority", type=float, default=3.0, show_default=True, metavar="N", help="1 critical … 5 background.")
@click.option("--event", metavar="NAME", help="The event that starts it, if it declares several.")
@click.option("--event-file", metavar="FILE", help="The event's payload, as JSON.")
@click.option(
    "--input", "pairs", metavar="KEY=VALUE", multiple=True, help="An input of workflow_dispatch or workflow_call."
)
@click.option("--inputs", metavar="JSON|@FILE", help="The inputs as one JSON object.")
@click.option(
    "--peer", metavar="PEER", shell_complete=complete_peers, help="Run all of its jobs on this peer, and on no other."
)
@click.option("--label", "labels", metavar="LABEL", multiple=True, help="Run its jobs on peers with this label only.")
@click.option("--source", metavar="DIR", help="What checkout gives; otherwise the repository around FILE.")
@click.option("--no-source", is_flag=True, help="Send no source along.")
@click.option("--force", is_flag=True, help="Also a workflow without a p2p-workflow tag.")
@click.option("--key", metavar="KEY", help="Start nothing if this node submitted with this key before.")
@click.option("--wait", is_flag=True, help="Wait for its end, and exit with its conclusion.")
@progress_option
@anywhere
@click.pass_obj
def submit(
    session: Session,
    file: str,
    name: str | None,
    priority: float,
    event: str | None,
    event_file: str | None,
    pairs: tuple[str, ...],
    inputs: str | None,
    peer: str | None,
    labels: tuple[str, ...],
    source: str | None,
    no_source: bool,
    force: bool,
    key: str | None,
    wait: bool,
    progress: str,
) -> int:
    """Run a workflow file on the network.

    \b
      p2pwf workflow submit ci.yml
      p2pwf workflow submit ci.yml --wait && deploy
      p2pwf workflow submit ci.yml --input level=2 --priority 1
      p2pwf workflow submit ci.yml --label gpu   only where there is one
    """
    if source is not None and no_source:
        raise UsageError("--source and --no-source exclude each other", "leave one out")
    body: dict[str, Any] = {
        "key": os.urandom(16).hex() if key is None else key,  # so that asking twice starts one run
        "file": absolute(file),
        "priority": priority,
        "inputs": _inputs(pairs, inputs),
        "no_source": no_source,
        "force": force,
    }
    if peer is not None:
        body["peer"] = peer
    if labels:
        body["labels"] = list(labels)
    if name is not None:
        body["name"] = name
    if event is not None:
        body["event"] = event
    if event_file is not None:
        body["payload"] = _json_object(_read(event_file), f"the event in {event_file}")
    if source is not None:
        body["source_dir"] = absolute(source)
    client = session.client
    with busy("packing the source", QUIET if session.json or no_source else progress):
        made = client.call("POST", "runs", body=body, again=True)
    tell_asides(made, session.json)
    if not wait:
        shown = {key: made[key] for key in ("workflow_id", "status", "copies")}
        session.answer(shown, lambda one: _draw(one, made))
        return 0
    return wait_for_end(session, made["workflow_id"], progress)


def wait_for_end(session: Session, run: str, progress: str) -> int:
    """Wait until a run has ended, showing it as `watch` does, and print it; the exit code of its conclusion."""
    try:
        return _wait(session, run, progress)
    except KeyboardInterrupt:
        # Who stops waiting has not seen the id, and may think that the run has stopped as well.
        if not session.json:
            click.echo(f"the run goes on: p2pwf workflow watch {run[-SHORT:]}, or cancel", err=True)
        raise


def _wait(session: Session, run: str, progress: str) -> int:
    client = session.client
    views = client.stream("runs", run, "watch")
    if session.json:
        last = _last(views)
        print_json(last)
        return exit_code(last)
    if moves(progress, sys.stdout):
        from p2pwf.cli.live import watch_live

        return exit_code(_ended(watch_live(client, views)))
    if progress == PLAIN:
        from p2pwf.cli.watch import print_changes

        last = _ended(print_changes(client, views))
    else:
        last = _last(views)
    draw_run(last, peer_names(client))
    return exit_code(last)


def _last(views: Iterator[dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for view in views:
        last = view
    return _ended(last)


def _ended(last: dict[str, Any]) -> dict[str, Any]:
    if last.get("status") not in FINAL:
        raise NoNode("the node stopped before the run ended", "the run goes on: see `p2pwf workflow list`")
    return last


def absolute(path: str) -> str:
    """A path as the node needs it, which has a working folder of its own."""
    return str(Path(path).expanduser().absolute())


def tell_asides(made: dict[str, Any], as_json: bool) -> None:
    """Warnings and files left out: on stderr, so that a script's stdout stays one answer."""
    if as_json:
        return
    for one in made.get("warnings", ()):
        click.echo(f"warning: line {one['line']}: {clean(one['message'])}", err=True)
    left_out = made.get("left_out", ())
    if left_out:
        more = f" and {len(left_out) - MAX_LEFT_OUT} more" if len(left_out) > MAX_LEFT_OUT else ""
        named = ", ".join(clean(one) for one in left_out[:MAX_LEFT_OUT])
        click.echo(f"left out of the source: {named}{more}", err=True)


def _draw(one: dict[str, Any], made: dict[str, Any]) -> None:
    copies = one["copies"]
    word = "copy" if copies == 1 else "copies"
    click.echo(f"{glyph(one['status'])} {clean(made['name'])}  {one['status'].replace('_', ' ')}  {copies} {word}")
    click.echo(one["workflow_id"])


def _inputs(given: tuple[str, ...], text: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if text is not None:
        content = _read(text[1:]) if text.startswith("@") else text
        found = _json_object(content, "--inputs")
    for pair in given:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"not an input: {pair!r}", "write it as --input key=value")
        found[key] = value
    return found


def _read(path: str) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise UsageError(f"{path} is larger than {MAX_FILE:,} bytes", "put large data into the source")
        return content.decode()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "give the path of a JSON file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", "give the path of a JSON file") from error


def _json_object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{what} is no JSON: {error}", """an object is wanted, such as '{"key": "value"}'"""
        ) from error
    if not isinstance(value, dict):
        raise UsageError(f"{what} is no JSON object", """an object is wanted, such as '{"key": "value"}'""")
    return value
