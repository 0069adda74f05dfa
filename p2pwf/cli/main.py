"""The entry point of `p2pwf`: the tree of commands, and from every outcome to its exit code."""

from __future__ import annotations

import os
import sys

import click

from p2pwf import __version__
from p2pwf.cli.base import PIPE_CODE, LazyGroup, Session, anywhere, say_error, silence, usage_of
from p2pwf.errors import InternalError, P2pwfError

COMPLETION_ENV = "_P2PWF_COMPLETE"
"""Set by the shell's completion script; click answers it."""
COMMANDS = {
    "up": ("p2pwf.cli.up:up", "Run this machine's node, in the foreground."),
    "status": ("p2pwf.cli.node:status", "Show this node."),
    "stats": ("p2pwf.cli.node:stats", "Count runs, events and queues."),
    "invite": ("p2pwf.cli.peers:invite", "Make a ticket that lets one machine join."),
    "peer": ("p2pwf.cli.peers:peer", "List, admit and remove peers."),
    "workflow": ("p2pwf.cli.workflow:workflow", "Submit, follow and cancel workflows."),
    "explain": ("p2pwf.cli.explain:explain", "Show why a job runs where it runs."),
    "clock": ("p2pwf.cli.clock:clock", "Look at the Merkle clock."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "obj": None},
)
@click.version_option(__version__, message="p2pwf %(version)s")
@anywhere
@click.pass_context
def cli(context: click.Context) -> None:
    """Run GitHub Actions workflow files on your own machines, peer to peer."""
    context.ensure_object(Session)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code. Tells every error as one line and a hint."""
    as_json = "--json" in arguments
    try:
        # Not cli.main(): that answers a broken pipe with the code of a failed run.
        with cli.make_context("p2pwf", list(arguments)) as context:
            code = cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return say_error(usage_of(error), as_json)
    except P2pwfError as error:
        return say_error(error, as_json)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        silence()
        return PIPE_CODE
    except Exception as error:  # noqa: BLE001 - told, with its place
        return say_error(_bug(error), as_json)
    return code if isinstance(code, int) else 0


def _bug(error: Exception) -> InternalError:
    """What we did not foresee, with the place in our code: enough for a report, less than a traceback."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = " ".join(str(error).split())
    return InternalError(f"{type(error).__name__}: {text}", f"this is a bug of ours at {place}: please report it")


def main() -> None:
    """The console script."""
    if COMPLETION_ENV in os.environ:
        cli.main(prog_name="p2pwf")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
