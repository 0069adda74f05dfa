"""`p2pwf service`: this machine's node as a systemd service, of this user or of the system."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from p2pwf.cli.base import LazyGroup, Session, anywhere
from p2pwf.cli.text import pairs
from p2pwf.errors import NotFound, Refused, StorageError, TryAgain, UsageError
from p2pwf.places import ROOT_DATA_DIR, data_dir

_HERE = "p2pwf.cli.service"
ANSWER_SECONDS = 60
"""For one systemctl; it never waits for the node itself."""
BOOTED = Path("/run/systemd/system")
"""There if systemd runs this machine: sd_booted(3)."""


def _which(command: Any) -> Any:  # noqa: ANN401 - click's own
    system = click.option(
        "--system", "system", flag_value=True, type=bool, help="A service of the machine (needs root)."
    )
    return click.option("--user", "system", flag_value=False, type=bool, help="A service of this user.")(
        system(command)
    )


@click.group(
    cls=LazyGroup,
    lazy={
        "install": (f"{_HERE}:install", "Write the unit, and start the node whenever the machine starts."),
        "uninstall": (f"{_HERE}:uninstall", "Stop the service, and remove its unit."),
        "show": (f"{_HERE}:show", "Show the unit, and whether it runs."),
    },
)
@anywhere
def service() -> None:
    """Have systemd run this machine's node.

    As root it is a service of the system, under a user of its own; otherwise one of this user.
    """


@click.command()
@_which
@click.option("--now", is_flag=True, help="Start it now, too.")
@click.argument("options", metavar="[-- UP_OPTIONS…]", nargs=-1, type=click.UNPROCESSED)
@anywhere
@click.pass_obj
def install(session: Session, system: bool | None, now: bool, options: tuple[str, ...]) -> None:
    """Write the unit, and start the node whenever the machine starts.

    What stands behind -- are options of `p2pwf up`. systemd takes the node for started once it is ready, and starts
    it again if it fails. Join a network first, with `p2pwf up --join TICKET`: a ticket is nothing for a unit.

    \b
      p2pwf service install --now
      sudo p2pwf service install --system --now -- --name attic --trust-members
    """
    from p2pwf.cli.unit import MARK, check_reach, unit_path, unit_text

    system = _system(system)
    folder = data_dir(session.given) if session.given or not system else Path(ROOT_DATA_DIR)
    _check_options(folder, options)
    path, text = unit_path(system), unit_text(system, folder, options)
    if system:
        _require_root()
        for place in (Path(sys.executable), Path(sys.executable).resolve(), Path(__file__).resolve().parent):
            check_reach(place)
    try:
        if path.exists() and not path.read_text("utf-8", "replace").startswith(MARK):
            raise Refused(f"{path} is there already, and was not written by p2pwf", "move it away first")
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.new")
        aside.write_text(text)
        aside.chmod(0o644)
        aside.rename(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}", "look at its folder") from error
    told: dict[str, Any] = {"unit": str(path), "data_dir": str(folder), "enabled": False, "started": False}
    commands = [("daemon-reload",), ("enable", path.name)]
    if now:
        commands.append(("restart", "--no-block", path.name))
    if not _is_there():
        told["todo"] = [_line(system, *words) for words in commands]
        session.answer(told, _draw_installed)
        return
    for words in commands:
        _systemctl(system, *words)
    session.answer({**told, "enabled": True, "started": now}, _draw_installed)


def _draw_installed(told: dict[str, Any]) -> None:
    click.echo(f"wrote {told['unit']}")
    if "todo" in told:
        click.echo("systemd does not run here. Where it does:")
        for line in told["todo"]:
            click.echo(f"  {line}")
        return
    click.echo("it starts with the machine" + (", and is starting now" if told["started"] else "; now: --now"))
    if "/user/" in told["unit"]:
        click.echo("without a login of yours only after: loginctl enable-linger")


@click.command()
@_which
@anywhere
@click.pass_obj
def uninstall(session: Session, system: bool | None) -> None:
    """Stop the service, and remove its unit; the data folder stays.

    \b
      p2pwf service uninstall
    """
    from p2pwf.cli.unit import unit_path

    system = _system(system)
    path = unit_path(system)
    _read(path)
    if system:
        _require_root()
    there = _is_there()
    if there:
        _systemctl(system, "disable", "--now", path.name)
    try:
        path.unlink()
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror}", "look at its folder") from error
    if there:
        _systemctl(system, "daemon-reload")
    session.answer({"unit": str(path), "removed": True}, lambda told: click.echo(f"removed {told['unit']}"))


@click.command()
@_which
@anywhere
@click.pass_obj
def show(session: Session, system: bool | None) -> None:
    """Show the unit, and whether it runs.

    \b
      p2pwf service show
    """
    from p2pwf.cli.unit import unit_path

    system = _system(system)
    path = unit_path(system)
    told: dict[str, Any] = {"unit": str(path), "text": _read(path), "enabled": None, "active": None}
    if _is_there():
        told["enabled"] = _ask(system, "is-enabled", path.name)
        told["active"] = _ask(system, "is-active", path.name)
    session.answer(told, _draw_shown)


def _draw_shown(told: dict[str, Any]) -> None:
    pairs([(name, told[name] or "systemd does not say") for name in ("unit", "enabled", "active")])
    click.echo(f"\n{told['text']}", nl=False)


def _system(given: bool | None) -> bool:
    return os.geteuid() == 0 if given is None else given


def _require_root() -> None:
    if os.geteuid() != 0:
        raise Refused("only root installs services of the system", "use sudo, or --user")


def _check_options(folder: Path, options: tuple[str, ...]) -> None:
    """Raise UsageError for what `p2pwf up` would refuse, or what must not stand in a unit, which all users may read."""
    from p2pwf.cli.settings import check
    from p2pwf.cli.up import up
    from p2pwf.config import node_settings

    inner = Session()
    # Without the defaults that the environment gives here: the service has another.
    given = up.make_context("p2pwf up", list(options), obj=inner).params
    if inner.given is not None:
        raise UsageError("--data-dir belongs before the --", "p2pwf service install --data-dir DIR -- …")
    if given.get("join"):
        raise UsageError(
            "a ticket is good once, and all users could read it in the unit",
            f"join first: p2pwf up --data-dir {folder} --join TICKET; stop it, and install then",
        )
    check(node_settings(Path("/nonexistent"), given, {}))


def _read(path: Path) -> str:
    from p2pwf.cli.unit import MARK

    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        raise NotFound(f"no service is installed: there is no {path}", "`p2pwf service install` makes one") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", "look at its folder") from error
    if not text.startswith(MARK):
        raise Refused(f"{path} was not written by p2pwf", "see `systemctl cat p2pwf`")
    return text


def _is_there() -> bool:
    """Whether there is a systemd to talk to."""
    from shutil import which

    return which("systemctl") is not None and BOOTED.is_dir()


def _line(system: bool, *words: str) -> str:
    return " ".join(("systemctl", *(() if system else ("--user",)), *words))


def _run(system: bool, *words: str) -> subprocess.CompletedProcess[str]:
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(
            _line(system, *words).split(), capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )
    raise TryAgain(f"`{_line(system, *words)}` does not answer", "run it yourself")


def _systemctl(system: bool, *words: str) -> None:
    done = _run(system, *words)
    if done.returncode != 0:
        why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise TryAgain(f"`{_line(system, *words)}` failed: {why}", "mend that, and run this command again")


def _ask(system: bool, *words: str) -> str:
    return _run(system, *words).stdout.strip() or "unknown"
