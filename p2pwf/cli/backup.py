"""`p2pwf backup` and `p2pwf restore`: a node's data folder in one file, and back, without a fork of its chain."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pwf.cli.base import Session, anywhere, print_json
from p2pwf.cli.progress import bar, progress_option
from p2pwf.cli.text import moment, short, size_text
from p2pwf.errors import NoNode, StorageError, UsageError
from p2pwf.places import data_dir

if TYPE_CHECKING:
    from p2pwf.node.backup import Backed
    from p2pwf.node.restore import Restored

STDOUT = "-"


@click.command()
@click.argument("file", metavar="FILE|-")
@click.option("--no-blobs", is_flag=True, help="Leave out logs, sources and artifacts: other peers may have them.")
@progress_option
@anywhere
@click.pass_obj
def backup(session: Session, file: str, no_blobs: bool, progress: str) -> None:
    """Write this node's data folder into one file, whether the node runs or not.

    The file holds the node's key, and what its jobs said: keep it as you keep a password. FILE must not exist yet; it
    is there once it is whole. `p2pwf restore` reads it.

    \b
      p2pwf backup attic-$(date +%F).p2pwf
      p2pwf backup - | age -r KEY > attic.p2pwf.age
    """
    folder = data_dir(session.given)
    if file == STDOUT:
        if sys.stdout.isatty():
            raise UsageError("a backup is nothing for a terminal", "name a file, or a pipe: p2pwf backup - | …")
        made = _write(session, folder, sys.stdout.buffer, Path(tempfile.gettempdir()), not no_blobs, progress)
        _tell_backup(session, made, "stdout", err=True)
        return
    path = Path(file).expanduser().absolute()
    if path.is_symlink() or path.exists():
        raise UsageError(f"{path} exists already", "name another file, or move that one away")
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
            made = _write(session, folder, out, path.parent, not no_blobs, progress)
            out.flush()
            os.fsync(out.fileno())
        aside.rename(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}", "make room there, or name another file") from error
    finally:
        with suppress(OSError):
            aside.unlink()
    _tell_backup(session, made, str(path))


def _write(
    session: Session,
    folder: Path,
    out: Any,  # noqa: ANN401 - a file
    near: Path,
    blobs: bool,
    progress: str,
) -> Backed:
    from p2pwf.node.backup import Backup

    try:
        session.client.call("GET", "info")
        running = True
    except NoNode:
        running = False
    with tempfile.TemporaryDirectory(prefix=".p2pwf-backup-", dir=near) as scratch:
        work = Backup(folder, Path(scratch), running=running, blobs=blobs)
        with bar("backing up", work.total, progress) as moved:
            made = work.write(out, moved)
        out.flush()
        return made


def _tell_backup(session: Session, made: Backed, path: str, err: bool = False) -> None:
    told = {
        "file": path,
        "peer_id": made.peer,
        "network": made.network.text,
        "events": made.events,
        "blobs": made.blobs,
        "left_out": made.left_out,
        "bytes": made.bytes,
    }
    if session.json:
        if not err:  # else stdout is the backup itself
            print_json(told)
        return
    click.echo(f"{path}: {made.events} events, {made.blobs} blobs, {size_text(made.bytes)}", err=err)
    if made.left_out:
        click.echo(f"left out: {made.left_out} blobs that are damaged or went meanwhile", err=True)


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--same-identity", "same", flag_value="same", help="Keep the peer id: the old node is gone for good.")
@click.option("--new-identity", "same", flag_value="new", help="Take a new peer id, though the old one was sole admin.")
@click.option("--without", metavar="ID", multiple=True, help="With --same-identity: a member that never comes back.")
@progress_option
@anywhere
@click.pass_obj
def restore(session: Session, file: str, same: str | None, without: tuple[str, ...], progress: str) -> None:
    """Make a data folder from a backup, as a new peer that an admin has to admit.

    It must not be there yet, or be empty. All of the backup is checked before anything is written. The old peer stays
    a member until an admin removes it.

    A backup may be older than what its node wrote last, and writing on from it would fork that node's chain. So a
    restored node is another peer; with --same-identity it writes nothing until it has heard every member it knows of.

    \b
      p2pwf restore attic.p2pwf --data-dir /srv/attic
      p2pwf restore attic.p2pwf --same-identity
    """
    if without and same != "same":
        raise UsageError("--without is for --same-identity", "a new peer waits for nobody: leave it out")
    from p2pwf.node.restore import check_backup, open_backup
    from p2pwf.node.restore import restore as put

    folder = data_dir(session.given)
    with open_backup(Path(file).expanduser().absolute()) as opened:
        # How much is inside is known once it was read: what moves is the place in the file.
        with bar("checking", os.fstat(opened.fileno()).st_size, progress) as moved:
            contents = check_backup(opened, _follow(opened, moved))
        size = sum(one.size for one in contents.files.values())
        with bar("restoring", size, progress) as moved:
            made = put(
                opened,
                contents,
                folder,
                same=None if same is None else same == "same",
                without=without,
                progress=moved,
            )
    _tell_restored(session, made, folder)


def _follow(file: Any, moved: Callable[[int], None]) -> Callable[[int], None]:  # noqa: ANN401 - a file
    """Tell of how far a file was read, whatever came out of it."""
    seen = 0

    def progress(_: int) -> None:
        nonlocal seen
        place = file.tell()
        moved(place - seen)
        seen = place

    return progress


def _tell_restored(session: Session, made: Restored, folder: Path) -> None:
    same = made.peer == made.former
    if session.json:
        print_json(
            {
                "data_dir": str(folder),
                "peer_id": made.peer,
                "former_peer_id": made.former,
                "same_identity": same,
                "network": made.network,
                "events": made.events,
                "blobs": made.blobs,
                "made_at": made.made_at,
                "waits_for": list(made.others) if same else [],
            }
        )
        return
    click.echo(f"{folder}: {made.events} events, {made.blobs} blobs, as of {moment(made.made_at)}")
    click.echo(f"peer id   {made.peer}")
    up = f"p2pwf up --data-dir {folder}"
    if not same:
        click.echo(f"formerly  {made.former}")
        roles = f" --roles {','.join(made.roles)}" if made.roles else ""
        click.echo(f"\nnow: {up}\nan admin lets it in, and the old one go:")
        click.echo(f"  p2pwf peer add {made.peer}{roles}\n  p2pwf peer remove {made.former}")
        return
    click.echo(f"\nnow: {up}\nThe old node must never run again: two with one key fork their chain.")
    if made.others:
        click.echo(
            f"This one writes nothing before it has heard {len(made.others)} members; `p2pwf status` names them."
        )
        click.echo("For one that is gone for good: restore again with --without ID.")
    else:
        click.echo(f"This backup knows no other member. If one joined {short(made.former)} since, start it with")
        click.echo(f"  {up} --bootstrap ADDRESS     (of that one, as its `p2pwf status` shows it)")
