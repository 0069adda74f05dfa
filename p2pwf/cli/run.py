"""`p2pwf run`: a workflow on this machine, without a node. Reads the options; `p2pwf.oneshot` does the rest."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from p2pwf.cli.base import Session, anywhere, bug_of, complete_files, error_json, print_line
from p2pwf.errors import InvalidWorkflow, P2pwfError, UsageError
from p2pwf.isolation import Level
from p2pwf.undumped import undumped

CHECK_FAILED = 2


@click.command()
@click.argument("file", metavar="FILE", shell_complete=complete_files)
@click.option("--job", metavar="JOB", help="Only this job, and what it needs.")
@click.option("--event", metavar="NAME", help="The event: push if declared, else the only one declared.")
@click.option("--event-file", metavar="FILE", help="The event's payload, as JSON.")
@click.option(
    "--input", "inputs", metavar="KEY=VALUE", multiple=True, help="An input of workflow_dispatch or workflow_call."
)
@click.option(
    "--secret", "secrets", metavar="NAME|KEY=VALUE", multiple=True, help="A secret; NAME: from the environment."
)
@click.option("--secret-file", metavar="FILE", help="Secrets, KEY=VALUE a line.")
@click.option("--var", "variables", metavar="KEY=VALUE", multiple=True, help="A value of the vars context.")
@click.option("--env", "env", metavar="KEY=VALUE", multiple=True, help="A variable, below those of the workflow.")
@click.option("--env-file", metavar="FILE", help="Variables, KEY=VALUE a line.")
@click.option("--source", metavar="DIR", help="The tree to run on; otherwise the repository around FILE.")
@click.option("--artifacts", metavar="DIR", help="Where artifacts go; otherwise below the user's cache folder.")
@click.option(
    "--isolation",
    metavar="LEVEL",
    default=Level.none.name,
    show_default=True,
    help="How far apart jobs are kept: none, process, sandbox or container.",
)
@click.option(
    "--isolation-image",
    metavar="IMAGE",
    help="What jobs without a container of their own run in at isolation container; it has to be on this machine.",
)
@anywhere
@click.pass_obj
def run(
    session: Session,
    file: str,
    job: str | None,
    event: str | None,
    event_file: str | None,
    inputs: tuple[str, ...],
    secrets: tuple[str, ...],
    secret_file: str | None,
    variables: tuple[str, ...],
    env: tuple[str, ...],
    env_file: str | None,
    source: str | None,
    artifacts: str | None,
    isolation: str,
    isolation_image: str | None,
) -> int:
    """Run a workflow file here, without a node; the user's own tree is never touched.

    A file that others call (--event workflow_call, if that is not all that it declares) runs as if somebody's workflow
    had called it: inputs and required secrets are checked, and its outputs shown.

    \b
      p2pwf run ci.yml
      p2pwf run ci.yml --job test --input level=2
      p2pwf run ci.yml --secret TOKEN --json     TOKEN from the environment
    """
    with _ending(session.json, file):
        if isolation not in Level.__members__:
            raise UsageError(f"no isolation level {isolation!r} here", f"one of {', '.join(Level.__members__)}")
        path = Path(file)
        given: dict[str, Any] = {
            "inputs": _pairs("--input", inputs),
            "vars": _pairs("--var", variables),
            "env": {**_variables("--env-file", env_file), **_pairs("--env", env)},
            "secrets": {**_variables("--secret-file", secret_file), **_secrets(secrets)},
            "payload": None if event_file is None else _payload(event_file),
            "source": None if source is None else Path(source),
            "artifacts": None if artifacts is None else Path(artifacts).absolute(),
            "isolation": Level[isolation],
            "isolation_image": isolation_image,
        }
        _check_names(given)
        if given["secrets"]:
            undumped()
        gc.disable()  # until all is imported: looking for garbage takes a tenth of that time, and finds none
        try:
            return _run(session, path, {"job": job, "event": event, **given})
        finally:
            gc.enable()


@contextmanager
def _ending(as_json: bool, file: str) -> Iterator[None]:
    """Let JSON end with `run_finished` whatever happens: an error is told there, and goes on to stderr as any does."""
    known: P2pwfError
    try:
        yield
    except P2pwfError as error:
        known = error
    except (click.ClickException, click.exceptions.Exit, OSError):
        raise  # of the command line, or nobody reads what we print
    except Exception as error:  # noqa: BLE001 - told, with its place
        known = bug_of(error)
    else:
        return
    if as_json:
        from p2pwf.oneshot.request import not_run

        print_line(not_run(file, known.exit_code, error_json(known)))
    raise known


def _run(session: Session, path: Path, given: Mapping[str, Any]) -> int:
    from p2pwf.oneshot.record import read_workflow
    from p2pwf.oneshot.request import RunRequest
    from p2pwf.oneshot.run import run_workflow

    text = read_workflow(path)
    request = RunRequest(file=path, slots=os.cpu_count() or 1, **given)
    tell, close = _view(session.json)
    try:
        ended = run_workflow(request, text, tell)
    except InvalidWorkflow as error:
        close()
        error.hint = error.hint or "mend the file, then run it again"
        if session.json or not error.diagnostics:
            raise
        _draw(error, str(path), text)
        return CHECK_FAILED
    finally:
        close()
    return ended.exit_code


def _view(as_json: bool) -> tuple[Callable[[dict[str, Any]], None], Callable[[], None]]:
    """What shows the run, and what ends the showing (any number of times)."""
    if as_json:
        return print_line, lambda: None
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a program may print what this terminal has no sign for
    from p2pwf.cli.runview import GroupedView, can_draw

    if can_draw():
        from p2pwf.cli.runlive import LiveView

        live = LiveView()
        return live.tell, live.close
    view = GroupedView()
    return view.tell, view.close


def _draw(error: InvalidWorkflow, file: str, text: bytes) -> None:
    """Print all that is wrong with the file, each with its place, a caret and a hint, and how much that is."""
    from p2pwf.workflow import Diagnostic
    from p2pwf.workflow.diagnostics import render

    found = [Diagnostic(**one) for one in error.diagnostics]  # type: ignore[arg-type]
    for lines in render(found, file, text.decode("utf-8", "replace")):
        click.echo("\n".join(lines), err=True)
    errors = sum(one.severity == "error" for one in found)
    click.echo(f"{file} does not check: {errors} {'error' if errors == 1 else 'errors'}; nothing was run", err=True)


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {_shown(option, one)}: not of the form KEY=VALUE", f"say {option} name=value")
        found[name] = value
    return found


def _shown(option: str, text: str) -> str:
    """What was given, unless it may hold a secret."""
    return "…" if option == "--secret" else repr(text[:80])


def _secrets(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        if "=" in one:
            found.update(_pairs("--secret", (one,)))
        elif one in os.environ:
            found[one] = os.environ[one]
        else:
            hint = f"export {one}=…, or give it with --secret {one}=VALUE or --secret-file"
            raise UsageError(f"the secret {one[:80]!r} is not set in the environment", hint)
    return found


def _variables(option: str, file: str | None) -> dict[str, str]:
    if file is None:
        return {}
    from p2pwf.oneshot.dotenv import MAX_FILE, parse_dotenv

    data = _read(option, file, MAX_FILE)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{file}:{line}: not UTF-8", "save the file as UTF-8") from None
    return parse_dotenv(text, file)


def _payload(file: str) -> Mapping[str, Any]:
    from p2pwf.core.bodies import MAX_PAYLOAD

    try:
        value = json.loads(_read("--event-file", file, MAX_PAYLOAD))
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UsageError(f"{file}{line}: the event is not JSON: {error}", 'it is one object: {"ref": …}') from None
    if not isinstance(value, dict):
        raise UsageError(f"{file}: the event is no object", 'it is one object: {"ref": …}')
    return value


def _read(option: str, file: str, limit: int) -> bytes:
    try:
        with open(file, "rb") as stream:  # noqa: PTH123 - a pipe such as <(…) is fine
            data = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{option}: cannot read {file!r}: {reason}") from None
    if len(data) > limit:
        raise UsageError(f"{option}: {file} has over {limit // 1024} KiB", "give less")
    return data


def _check_names(given: Mapping[str, Any]) -> None:
    """Raise UsageError for a name that no variable or secret can have."""
    if not any(given[kind] for kind in ("vars", "env", "secrets")):
        return
    from p2pwf.oneshot.dotenv import NAME

    for kind in ("vars", "env", "secrets"):
        for name, value in given[kind].items():
            if not NAME.fullmatch(name):
                raise UsageError(f"not a name for --{kind.rstrip('s')}: {name[:80]!r}", "letters, digits and _")
            if "\0" in value:
                raise UsageError(f"the value of {name} holds a NUL", "no variable of a process can")
