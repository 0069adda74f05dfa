"""The entry point of `p2pwf`: the tree of commands, and from every outcome to its exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from typing import Final, TextIO

import click

from p2pwf import __version__
from p2pwf.cli.base import PIPE_CODE, LazyGroup, Session, anywhere, bug_of, say_error, silence, usage_of
from p2pwf.errors import P2pwfError, StorageError

COMPLETION_ENV = "_P2PWF_COMPLETE"
"""Set by the shell's completion script; click answers it."""
COMMANDS = {
    "run": ("p2pwf.cli.run:run", "Run a workflow file here, without a node."),
    "up": ("p2pwf.cli.up:up", "Run this machine's node, in the foreground."),
    "status": ("p2pwf.cli.node:status", "Show this node."),
    "stats": ("p2pwf.cli.node:stats", "Count runs, events and queues."),
    "invite": ("p2pwf.cli.peers:invite", "Make a ticket that lets one machine join."),
    "node": ("p2pwf.cli.drain:node", "Pause this node, drain it, let it go on."),
    "service": ("p2pwf.cli.service:service", "Have systemd run this machine's node."),
    "leave": ("p2pwf.cli.drain:leave", "Leave the network for good."),
    "peer": ("p2pwf.cli.peers:peer", "List, admit, remove and ping peers."),
    "workflow": ("p2pwf.cli.workflow:workflow", "Submit, follow and cancel workflows."),
    "schedule": ("p2pwf.cli.schedule:schedule", "Run workflows by the clock."),
    "secret": ("p2pwf.cli.secret:secret", "Set values that jobs get and nobody sees."),
    "variable": ("p2pwf.cli.variable:variable", "Set plain values for workflows."),
    "backup": ("p2pwf.cli.backup:backup", "Write this node's data folder into one file."),
    "restore": ("p2pwf.cli.backup:restore", "Make a data folder from a backup."),
    "check": ("p2pwf.cli.check:check", "Check workflow files."),
    "graph": ("p2pwf.cli.graph:graph", "Draw the jobs of a workflow file."),
    "expr": ("p2pwf.cli.expr:expr", "Evaluate an expression."),
    "explain": ("p2pwf.cli.explain:explain", "Show why a job runs where it runs."),
    "clock": ("p2pwf.cli.clock:clock", "Look at the Merkle clock, write it into a file, take one in."),
    "doctor": ("p2pwf.cli.doctor:doctor", "Look for what may go wrong, and say what to do."),
    "config": ("p2pwf.cli.config:config", "Show this node's settings, and where they come from."),
    "policy": ("p2pwf.cli.policy:policy", "Show what this machine runs for whom."),
    "completion": ("p2pwf.cli.help:completion", "Teach a shell to complete commands."),
    "help": ("p2pwf.cli.help:help_", "Show the help of a command, or of all."),
    "mcp": ("p2pwf.cli.mcp:mcp", "Serve the tools for assistants (MCP)."),
}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing fails with where there is no more room, or a disk is broken."""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    aliases={"var": "variable"},
    context_settings={"help_option_names": ["-h", "--help"], "obj": None},
)
@click.version_option(__version__, message="p2pwf %(version)s")
@anywhere
@click.pass_context
def cli(context: click.Context) -> None:
    """Run GitHub Actions workflow files on your own machines, peer to peer."""
    context.ensure_object(Session)


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. Tells every error as one line and a hint."""
    as_json = "--json" in arguments
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
    except click.ClickException as error:
        return say_error(usage_of(error), as_json)
    except P2pwfError as error:
        return say_error(error, as_json)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        silence()
        return PIPE_CODE
    except OSError as error:
        if error.errno not in FULL:
            return say_error(bug_of(error), as_json)
        silence()
        return say_error(StorageError(f"the output cannot be written: {error.strerror}", "make room there"), as_json)
    except Exception as error:  # noqa: BLE001 - told, with its place
        return say_error(bug_of(error), as_json)
    return code


def _invoke(arguments: list[str]) -> int:
    """Run one command; returns the exit code that it asks for."""
    try:
        # Not cli.main(): that answers a broken pipe with the code of a failed run.
        with cli.make_context("p2pwf", list(arguments)) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return code if isinstance(code, int) else 0


def _nowhere() -> TextIO:
    return open(os.devnull, "w")  # noqa: PTH123 - it stays open, and pathlib is no help


AGAIN_S: Final = 0.002
"""How long a dropped interrupt waits: longer than the callback takes to return, and nobody notices."""


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """An interrupt that comes while Python runs a callback whose exceptions it drops (of a weak reference) would be
    lost: it comes again as soon as that has returned. Where trio runs, interrupts are its own."""
    if lost.exc_type is KeyboardInterrupt and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
    else:
        sys.__unraisablehook__(lost)


def main() -> None:
    """The console script."""
    # A shell can start us with either of them closed (>&-): what we say then goes nowhere, which is what was asked.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    if COMPLETION_ENV in os.environ:
        cli.main(prog_name="p2pwf")
    sys.unraisablehook = _unraisable
    code = run(sys.argv[1:])
    # Nothing is left to do, and to take the interpreter apart would cost a short command an eighth of its time.
    for output in (sys.stdout, sys.stderr):
        with suppress(OSError):
            output.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
