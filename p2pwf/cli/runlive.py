"""A one-shot run on a terminal: a line for each running job with a spinner, blocks above for those that ended.

rich is imported by the thread that draws, once a run has lasted DELAY_SECONDS: a short one needs no picture.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from p2pwf.cli.runview import JobPicture, Key, Summary, Told, annotation_line, job_line, key_of
from p2pwf.cli.text import duration, has_unicode

if TYPE_CHECKING:
    from rich.live import Live

DELAY_SECONDS = 0.2
FRAME_SECONDS = 0.1
FRAMES = ("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\")


class LiveView:
    """For terminals: calm while all goes well, the last lines of a step that fails, a summary."""

    def __init__(self) -> None:
        self._jobs: dict[Key, JobPicture] = {}
        self._summary = Summary()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._live: Live | None = None
        self._thread: threading.Thread | None = None
        self._began = time.monotonic()

    def close(self) -> None:
        """Take the picture away; what was printed stays."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def tell(self, told: Told) -> None:
        """Take in something, and print what is complete."""
        with self._lock:
            self._take(told)
        if told["type"] == "run_finished":
            self.close()
            self._summary.draw(told)
            sys.stdout.flush()
        elif self._thread is None and not self._over.is_set():
            self._thread = threading.Thread(target=self._draw, daemon=True)
            self._thread.start()

    def _take(self, told: Told) -> None:
        self._summary.take(told)
        kind = told["type"]
        if kind == "run_finished":
            return
        if told["job"] is None:
            self._print(annotation_line(told))
        elif kind == "job_started":
            self._jobs[key_of(told)] = JobPicture(told, time.monotonic())
        elif kind == "job_finished":
            picture = self._jobs.pop(key_of(told), None)
            for line in [job_line(told)] if picture is None else picture.block(told):
                self._print(line)
        else:
            self._jobs[key_of(told)].take(told)

    def _print(self, line: str) -> None:
        if self._live is None:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            return
        from rich.text import Text

        self._live.console.print(Text.from_ansi(line), soft_wrap=True)

    def _draw(self) -> None:
        if self._over.wait(DELAY_SECONDS):
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(highlight=False)
        # Its own output passes by rich: what asks what stdout is must not meet a proxy.
        live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)
        with self._lock:
            live.start()
            self._live = live
        try:
            while not self._over.wait(FRAME_SECONDS):
                with self._lock:
                    live.update(self._picture(console.height), refresh=True)
        finally:
            with self._lock:
                self._live = None
                live.update("", refresh=True)
                live.stop()

    def _picture(self, height: int) -> Any:  # noqa: ANN401 - rich's renderables have no common type
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        frames = FRAMES[0] if has_unicode() else FRAMES[1]
        sign = frames[int((now - self._began) / FRAME_SECONDS) % len(frames)]
        rows = Table.grid(padding=(0, 2, 0, 0), expand=True)
        rows.add_column(no_wrap=True)
        rows.add_column(no_wrap=True, overflow="ellipsis", max_width=40)
        rows.add_column(no_wrap=True)
        rows.add_column(no_wrap=True, overflow="ellipsis", max_width=40)
        rows.add_column(no_wrap=True, overflow="ellipsis", style="bright_black", ratio=1)
        room = max(1, height - 3)
        for job in list(self._jobs.values())[:room]:
            rows.add_row(
                Text(sign, style="cyan"),
                Text(job.name, style="bold"),
                Text(duration(now - job.started)),
                Text(job.step),
                Text(job.last),
            )
        if len(self._jobs) > room:
            return Group(rows, Text(f"and {len(self._jobs) - room} more", style="bright_black"))
        return rows
