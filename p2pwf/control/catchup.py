"""How far a starting node has caught up with its network, for who looks on. Decides nothing, and knows no node.

A bar on a terminal, lines where they were asked for; a service manager is told in any case.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import click
import trio

from p2pwf.control.notify import ServiceManager

AUTO: Final = "auto"
PLAIN: Final = "plain"
LOOK_SECONDS: Final = 0.2
"""Between two looks. A start that takes no longer shows nothing on a terminal."""
LINE_SECONDS: Final = 5.0
"""Between two lines, and between two words to the manager."""


async def show_catching_up(
    progress: Callable[[], tuple[int, int]], ready: trio.Event, how: str, manager: ServiceManager
) -> None:
    """Show, until `ready`, what `progress` gives: (events that are here, events that there are), (0, 0) if unknown.

    `how`: auto, plain or quiet, as in `p2pwf up --progress`.
    """
    moves = how == AUTO and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    said = -LINE_SECONDS
    last = (0, 0)
    with ExitStack() as stack:
        bar = None
        while not ready.is_set():
            with trio.move_on_after(LOOK_SECONDS):
                await ready.wait()
            here, total = progress()
            if total == 0 or (here, total) == last:
                continue
            last = (here, total)
            if moves:
                if bar is None:
                    bar = stack.enter_context(click.progressbar(length=total, label="catching up", file=sys.stderr))
                bar.length = max(total, here)
                bar.update(here - bar.pos)
            if trio.current_time() - said >= LINE_SECONDS:
                said = trio.current_time()
                manager.starting(f"catching up with the network: {here:,} of {total:,} events")
                if how == PLAIN:
                    click.echo(f"catching up: {here:,} of {total:,} events", err=True)
        if bar is not None:
            bar.update((bar.length or 0) - bar.pos)
    if how == PLAIN:
        click.echo("catching up: done", err=True)
