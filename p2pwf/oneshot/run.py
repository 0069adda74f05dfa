"""One workflow, run here from its file to its end: all of `p2pwf run` but its words."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from p2pwf.errors import StorageError
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.oneshot.prepare import check, prepare
from p2pwf.oneshot.request import RunRequest, Tell
from p2pwf.oneshot.shell import OneShot, Outcome, notice
from p2pwf.runner.leftovers import remove_tree
from p2pwf.runner.processes import Spawner

INTERRUPTS: Final = (signal.SIGINT,)


def run_workflow(request: RunRequest, text: bytes, tell: Tell) -> Outcome:
    """Run the workflow `text` of `request.file`; blocks until it has ended and nothing of it is left.

    `tell` is called with what happens, from this thread. Raises InvalidWorkflow with all diagnostics for a file that
    does not check, UsageError for what the request names and there is not, StorageError where the source
    cannot be read or copied; then nothing has run.
    """
    workflow = check(request, text)
    with _folder() as folder:
        spawner = Spawner()
        try:
            spawner.start()  # it gets ready while the source is read
            blobs = FolderBlobs(folder / "blobs")
            prepared = prepare(request, text, workflow, blobs)
            for one in prepared.warnings:
                place = {"file": str(request.file), "line": one.line, "column": one.column, "title": one.code}
                tell(notice(one.severity, one.message, **place))
            if prepared.source.left_out:
                tell(notice("notice", f"not in the job's copy of the source: {', '.join(prepared.source.left_out)}"))
            work = folder / "work"
            work.mkdir()
            return trio.run(OneShot(request, prepared, blobs, spawner, work, tell).run)
        finally:
            spawner.close()


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for all that the run needs; gone after it, also if a Ctrl-C comes while it is made or removed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        try:
            folder = Path(tempfile.mkdtemp(prefix="p2pwf-")).resolve()
        except OSError as error:
            raise StorageError(f"no temporary folder: {error.strerror}", "see to TMPDIR, or make room there") from error
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
            yield folder
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
            remove_tree(folder)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
