"""`p2pwf clock export` and `import`: a network's events in one file, from one node to another without a connection."""

from __future__ import annotations

import os
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pwf.cli.base import Session, anywhere
from p2pwf.cli.text import size_text
from p2pwf.errors import NoNode, NotFound, StorageError, UsageError
from p2pwf.places import data_dir

if TYPE_CHECKING:
    from p2pwf.core.events import SignedBlock
    from p2pwf.core.ids import Cid


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--blobs", metavar="RUN", multiple=True, help="Also what this run has on this disk: source, logs, files.")
@anywhere
@click.pass_obj
def export(session: Session, file: str, blobs: tuple[str, ...]) -> None:
    """Write the clock into one file, whether the node runs or not.

    FILE is a CAR, which IPLD tools can read; it must not exist yet, and is there once it is whole. It holds every event
    this node knows, so whoever reads it knows workflows, outputs and members; it does not hold the node's key.

    \b
      p2pwf clock export attic.car
      p2pwf clock export attic.car --blobs bafyreib2c
    """
    from p2pwf.node.portable import export as write

    folder = data_dir(session.given)
    path = Path(file).expanduser().absolute()
    if path.is_symlink() or path.exists():
        raise UsageError(f"{path} exists already", "name another file, or move that one away")
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with _events(session, folder) as (network, events):
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as out:
                made = write(out, network, events, blobs, folder, made_at=time.time_ns() // 1_000_000)
                out.flush()
                os.fsync(out.fileno())
        aside.rename(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}", "make room there, or name another file") from error
    finally:
        with suppress(OSError):
            aside.unlink()
    told = {
        "file": str(path),
        "network": made.network.text,
        "events": made.events,
        "blobs": made.blobs,
        "left_out": made.left_out,
        "bytes": made.bytes,
    }
    session.answer(told, _draw_export)


def _draw_export(told: dict[str, Any]) -> None:
    click.echo(f"{told['file']}: {told['events']:,} events, {told['blobs']:,} blobs, {size_text(told['bytes'])}")
    if told["left_out"]:
        click.echo(f"left out: {told['left_out']:,} blobs that are not whole on this disk", err=True)


@contextmanager
def _events(session: Session, folder: Path) -> Iterator[tuple[Cid, Iterator[SignedBlock]]]:
    """The network and the events of a node: asked of it, or read from its disk if it does not run."""
    from p2pwf.core.events import SignedBlock
    from p2pwf.core.ids import parse_cid
    from p2pwf.node.portable import network_of
    from p2pwf.store.datadir import DataDir
    from p2pwf.store.events import EventStore

    client = session.client
    try:
        network = parse_cid(client.call("GET", "status")["network"])
    except NoNode:
        data = DataDir(folder)
        if not data.events.exists():
            raise NotFound(
                f"no node has worked in {folder}", "name its data folder: --data-dir DIR, or P2P_DATA_DIR"
            ) from None
        with data.lock(), closing(EventStore.open(data.events)) as store:
            found = (SignedBlock(event.block, event.signature) for event in store.load())
            yield network_of(store, folder), found
        return
    lines = client.stream("clock", "log", query={"raw": True})
    yield network, (SignedBlock(b64decode(one["block"]), b64decode(one["signature"])) for one in lines)


@click.command("import")
@click.argument("file", metavar="FILE")
@anywhere
@click.pass_obj
def import_(session: Session, file: str) -> None:
    """Take the events of such a file in, whether the node runs or not.

    All of it is checked before anything is kept, by the same rules as what a peer sends; what is known already is
    passed over. The file must be of this node's network. A node that runs tells its peers what is new to them.

    \b
      p2pwf clock import attic.car
    """
    path = Path(file).expanduser().absolute()
    try:
        told = session.client.call("POST", "clock", "import", body={"file": str(path)})
    except NoNode:
        from p2pwf.node.taking import facts, take_offline

        told = facts(take_offline(path, data_dir(session.given)))
    session.answer(told, _draw_import)


def _draw_import(told: dict[str, Any]) -> None:
    click.echo(f"{told['new']:,} of {told['events']:,} events are new here, {told['blobs']:,} blobs")
