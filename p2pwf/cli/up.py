"""`p2pwf up`: from flags, environment and file to a node's settings; then this process becomes the node."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from p2pwf.cli.base import Session, anywhere
from p2pwf.cli.progress import progress_option
from p2pwf.errors import UsageError

SETTINGS_ENV = "P2PWF_SETTINGS"
MAX_SLOTS = 1024
"""Jobs at a time on one machine; more is a slip of the hand."""


@click.command()
@click.option("--name", metavar="NAME", help="What people call this node (or P2P_PEER_ID).")
@click.option("--listen", metavar="MADDR", multiple=True, help="Listen here, e.g. /ip4/0.0.0.0/tcp/4001.")
@click.option("--announce", metavar="MADDR", multiple=True, help="Tell others to dial this address.")
@click.option("--bootstrap", metavar="MADDR", multiple=True, help="Join over this peer: its address with /p2p/….")
@click.option("--join", metavar="TICKET", help="Join with a ticket of `p2pwf invite`.")
@click.option("--label", "labels", metavar="LABEL", multiple=True, help="Offer this label to runs-on.")
@click.option("--slots", metavar="N", type=click.IntRange(0, MAX_SLOTS), help="Run N jobs at a time; 0: none.")
@click.option("--private", is_flag=True, help="A new network with a shared key of its own.")
@click.option("--trust-members", is_flag=True, help="Run all jobs as this user, without isolation.")
@click.option("--executor", type=click.Choice(("native", "external")), help="Who runs its jobs: it, or a client.")
@click.option("--actions", metavar="DIR", help="Find actions of other repositories here (or P2PWF_ACTIONS).")
@click.option("--actions-url", metavar="URL", help="Fetch actions from here instead of https://github.com.")
@click.option("--mdns", is_flag=True, help="Find peers on the local network.")
@progress_option
@anywhere
@click.pass_obj
def up(session: Session, /, **flags: Any) -> None:  # noqa: ANN401 - click gives each of its own type
    """Run this machine's node, in the foreground.

    It makes its identity on first use, and a network of its own unless it is told to join one. Prints its ready line
    once it is a member and has caught up. Ctrl-C or SIGTERM stops it.

    \b
      p2pwf up                                found a network, or go on in one
      p2pwf up --join p2pwf1urrw4zlu…         join with a ticket
      p2pwf up --label gpu --slots 4          offer what this machine has
      p2pwf up --slots 0                      submit from here, run nothing
    """
    from p2pwf.cli.settings import check, check_folder
    from p2pwf.config import data_dir, node_settings

    if flags["private"] and (flags["join"] or flags["bootstrap"]):
        raise UsageError(
            "--private is for a new network", "a ticket brings the key of the network that it is for: leave it out"
        )
    folder = data_dir(session.given)
    check_folder(folder)
    settings = node_settings(folder, {**flags, "json_output": session.json})
    check(settings)
    environment = {**os.environ, SETTINGS_ENV: settings.to_json()}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "p2pwf.control.daemon"], environment)  # noqa: S606 - no shell wanted
