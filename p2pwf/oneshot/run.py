"""One workflow, run here from its file to its end: all of `p2pwf run` but its words.

Theory of operation. Half of a short run's time is imports, and much of the rest is waiting: for git, and for the
process that starts others. So the file is checked first, with little imported; then git is asked in a thread, which
then lays out the first job's folders, and that process is started; meanwhile the engine, the runner and trio are
imported.
"""

from __future__ import annotations

import gc
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from p2pwf.errors import StorageError
from p2pwf.oneshot.ahead import Ahead
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.oneshot.record import Recorded, check, record
from p2pwf.oneshot.request import Outcome, RunRequest, Tell

INTERRUPTS: Final = (signal.SIGINT,)


def run_workflow(request: RunRequest, text: bytes, tell: Tell) -> Outcome:
    """Run the workflow `text` of `request.file`; blocks until it has ended and nothing of it is left.

    `tell` is called with what happens, from this thread. Raises InvalidWorkflow with all diagnostics for a file that
    does not check, UsageError for what the request names and there is not, StorageError where the source
    cannot be read or copied; then nothing has run. Switches the collection of garbage on, once all is imported.
    """
    workflow = check(request, text)
    with _folder() as folder, ThreadPoolExecutor(1) as beside:
        blobs = FolderBlobs(folder / "blobs")
        work = folder / "work"
        work.mkdir()
        recording = beside.submit(_record, request, blobs, work, beside)
        from p2pwf.runner.processes import Spawner  # noqa: PLC0415 - see above

        spawner = Spawner()
        try:
            spawner.start()
            import trio  # noqa: PLC0415 - see above

            from p2pwf.oneshot.prepare import prepare  # noqa: PLC0415 - see above
            from p2pwf.oneshot.shell import OneShot  # noqa: PLC0415 - see above
            from p2pwf.oneshot.telling import notice  # noqa: PLC0415 - see above

            gc.freeze()  # nothing of what was imported is garbage
            gc.enable()
            recorded, ahead = recording.result()
            prepared = prepare(request, text, workflow, recorded, blobs)
            for one in prepared.warnings:
                place = {"file": str(request.file), "line": one.line, "column": one.column, "title": one.code}
                tell(notice(one.severity, one.message, **place))
            if prepared.source.left_out:
                tell(notice("notice", f"not in the job's copy of the source: {', '.join(prepared.source.left_out)}"))
            return trio.run(OneShot(request, prepared, blobs, spawner, work, ahead, tell).run)
        finally:
            spawner.close()


def _record(request: RunRequest, blobs: FolderBlobs, work: Path, thread: Executor) -> tuple[Recorded, Ahead]:
    recorded = record(request, blobs)
    ahead = Ahead(work, recorded.source, blobs, thread)
    ahead.order()
    return recorded, ahead


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
            from p2pwf.runner.jobfiles import remove_tree  # noqa: PLC0415 - see above

            remove_tree(folder)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
