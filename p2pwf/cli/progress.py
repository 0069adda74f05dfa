"""How a command shows how far it is: a picture that moves, lines, or nothing. stdout stays the result's."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
AUTO, PLAIN, QUIET = "auto", "plain", "quiet"
BUSY_SECONDS = 0.5
"""A wait that is shorter is none to a person."""


def progress_option(command: F) -> F:
    """Give a command `--progress`; it gets the word as `progress`."""
    about = "auto: what moves, on a terminal; plain: lines; quiet: the result alone."
    return click.option("--progress", type=click.Choice((AUTO, PLAIN, QUIET)), default=AUTO, help=about)(command)


def moves(progress: str, output: Any) -> bool:  # noqa: ANN401 - a text file
    """Whether to draw what moves on an output: a terminal that can, and nobody wants it otherwise."""
    return progress == AUTO and bool(output.isatty()) and os.environ.get("TERM") != "dumb"


@contextmanager
def bar(label: str, total: int, progress: str = AUTO) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; gives what is to be told of steps or bytes. Plain: a line at the beginning and at the end."""
    if moves(progress, sys.stderr):
        with click.progressbar(length=max(total, 1), label=label, file=sys.stderr) as drawn:
            yield drawn.update
        return
    if progress == PLAIN:
        click.echo(f"{label} …", err=True)
    yield lambda _: None
    if progress == PLAIN:
        click.echo(f"{label}: done", err=True)


@contextmanager
def busy(label: str, progress: str) -> Iterator[None]:
    """Say on stderr what is being waited for, where nobody knows how long: on a terminal once BUSY_SECONDS have passed,
    and not any more afterwards. Plain: a line at the beginning and at the end."""
    if not moves(progress, sys.stderr):
        with bar(label, 0, progress):
            yield
        return
    from threading import Timer  # few commands wait

    shown = []

    def show() -> None:
        shown.append(True)
        click.echo(f"{label} …", err=True, nl=False)

    timer = Timer(BUSY_SECONDS, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if shown:
            click.echo("\r\x1b[K", err=True, nl=False)
