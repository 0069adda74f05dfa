"""`p2pwf workflow artifacts`: what a run's jobs have left for people, listed or written to a folder."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from p2pwf.cli.base import Session, anywhere
from p2pwf.cli.names import run_argument
from p2pwf.cli.progress import bar, progress_option
from p2pwf.cli.text import clean, short, size_text, table
from p2pwf.errors import NoNode, NotFound, RemoteError, StorageError, UsageError


@click.command()
@run_argument
@click.option("--download", "folder", metavar="DIR", help="Write each one to DIR/NAME.")
@click.option("--name", "names", metavar="NAME", multiple=True, help="Only this one.")
@progress_option
@anywhere
@click.pass_obj
def artifacts(session: Session, workflow_id: str, folder: str | None, names: tuple[str, ...], progress: str) -> None:
    """List the artifacts of a run; `workflow download` writes them to a folder, as --download does.

    \b
      p2pwf workflow artifacts 4x7qk2
      p2pwf workflow artifacts 4x7qk2 --name report --download out
    """
    chosen = _chosen(session, workflow_id, names)
    if folder is None:
        session.answer(chosen, _draw)
    else:
        _download(session, workflow_id, chosen, folder, progress)


@click.command()
@run_argument
@click.option("--dir", "folder", default=".", show_default=True, metavar="DIR", help="Write each one to DIR/NAME.")
@click.option("--name", "names", metavar="NAME", multiple=True, help="Only this one.")
@progress_option
@anywhere
@click.pass_obj
def download(session: Session, workflow_id: str, folder: str, names: tuple[str, ...], progress: str) -> None:
    """Download the artifacts of a run, from whichever peer has them; never over what is there.

    \b
      p2pwf workflow download 4x7qk2
      p2pwf workflow download 4x7qk2 --name report --dir out
    """
    _download(session, workflow_id, _chosen(session, workflow_id, names), folder, progress)


def _chosen(session: Session, run: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The artifacts of a run, or those that are named. Raises NotFound for a name that none has."""
    found: list[dict[str, Any]] = session.client.call("GET", "runs", run, "artifacts")
    missing = set(names) - {one["name"] for one in found}
    if missing:
        there = ", ".join(dict.fromkeys(clean(one["name"]) for one in found)) or "it has none"
        raise NotFound(f"no artifact {', '.join(sorted(missing))} in this run", f"its artifacts: {there}")
    return [one for one in found if not names or one["name"] in names]


def _download(session: Session, run: str, chosen: list[dict[str, Any]], folder: str, progress: str) -> None:
    root = Path(folder).expanduser().absolute()
    latest = {one["name"]: one for one in chosen}
    for name in latest:
        if "/" in _inside(name):
            raise RemoteError(f"an artifact whose name is no folder's: {name!r}")
        _check_free(root / name)
    made = []
    for name, one in latest.items():
        with bar(clean(name), one["size"], progress) as moved:
            _write(session.client.stream("runs", run, "artifacts", name), root / name, moved)
        made.append({**one, "path": str(root / name)})
    session.answer(made, lambda rows: _draw_written(rows, run))


def _draw(found: list[dict[str, Any]]) -> None:
    if not found:
        click.echo("no artifacts")
        return
    rows = [(clean(one["name"]), size_text(one["size"]), clean(one["job"]), str(one["attempt"])) for one in found]
    table(("NAME", "SIZE", "JOB", "ATTEMPT"), rows, flexible=0)


def _draw_written(rows: list[dict[str, Any]], run: str) -> None:
    if not rows:
        click.echo(f"{short(run)} has no artifacts")
    for one in rows:
        click.echo(f"{clean(one['path'])}  {size_text(one['size'])}")


def _check_free(target: Path) -> None:
    try:
        if not target.exists() or not any(target.iterdir()):
            return
    except OSError as error:
        raise UsageError(f"{target} is in the way: {error.strerror}", "name another folder") from error
    raise UsageError(f"{target} is not empty", "name another folder, or remove what is there")


def _write(lines: Iterator[dict[str, Any]], target: Path, moved: Callable[[int], None]) -> None:
    """Write an artifact's files below `target`, the links last, so that nothing is ever written through one."""
    links: list[tuple[Path, str]] = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        left = 0
        with ExitStack() as opened:
            file: Any = None
            for line in lines:
                if "data" in line:
                    content = b64decode(line["data"])
                    left -= len(content)
                    moved(len(content))
                    file.write(content)
                    continue
                _check_whole(left)
                opened.close()
                path = target / _inside(line["path"])
                if line["mode"] == "link":
                    links.append((path, line["target"]))
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                mode = 0o755 if line["mode"] == "program" else 0o644
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
                file, left = opened.enter_context(os.fdopen(handle, "wb")), line["size"]
            _check_whole(left)
        for path, points_to in links:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(points_to)
    except OSError as error:
        raise StorageError(
            f"cannot write {target}: {error.strerror}", "make room there, or name another folder"
        ) from error


def _check_whole(left: int) -> None:
    if left:
        raise NoNode("the node went away before the artifact was whole", "remove what was written, and try again")


def _inside(path: str) -> str:
    """A path of the node's, which has checked it: once more, since it says where this command writes."""
    if not path or any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise RemoteError(f"an artifact with a file outside of itself: {path!r}")
    return path
