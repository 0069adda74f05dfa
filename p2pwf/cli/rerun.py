"""`p2pwf workflow rerun`: an ended run once more, or what of it failed."""

from __future__ import annotations

import click

from p2pwf.cli.base import Session, anywhere
from p2pwf.cli.names import run_argument
from p2pwf.cli.progress import progress_option
from p2pwf.cli.submit import wait_for_end
from p2pwf.cli.text import glyph, short
from p2pwf.errors import UsageError


@click.command()
@run_argument
@click.option("--failed", is_flag=True, help="Only jobs that did not succeed, and those that need them.")
@click.option("--job", "jobs", metavar="JOB", multiple=True, help="Only this job, and those that need it.")
@click.option("--wait", is_flag=True, help="Wait for its end, and exit with its conclusion.")
@progress_option
@anywhere
@click.pass_obj
def rerun(session: Session, workflow_id: str, failed: bool, jobs: tuple[str, ...], wait: bool, progress: str) -> int:
    """Run an ended run again, with the source and inputs that it had.

    It is a run of its own. What --failed or --job leaves out keeps its outcome, its outputs, its artifacts and its log.

    \b
      p2pwf workflow rerun 4x7qk2 --failed
      p2pwf workflow rerun 4x7qk2 --job deploy --wait
    """
    if failed and jobs:
        raise UsageError("--failed and --job exclude each other", "leave one out")
    made = session.client.call("POST", "runs", workflow_id, "rerun", body={"failed": failed, "jobs": list(jobs)})
    if wait:
        return wait_for_end(session, made["workflow_id"], progress)
    session.answer(made, _draw)
    return 0


def _draw(made: dict[str, str]) -> None:
    word = made["status"].replace("_", " ")
    click.echo(f"{glyph(made['status'])} {word}, once more what {short(made['rerun_of'])} was")
    click.echo(made["workflow_id"])
