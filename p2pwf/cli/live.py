"""The live picture of a run on a terminal: jobs, legs and steps, who runs them, how long, the last line. By rich."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from p2pwf.cli.logs import TITLE
from p2pwf.cli.names import name_of, peer_names
from p2pwf.cli.runs import FINAL, word_of
from p2pwf.cli.text import clean, colour_of, cut, has_unicode, short, sign_of, span
from p2pwf.control.client import Client
from p2pwf.errors import P2pwfError

FRAME_SECONDS = 0.1
MAX_TAILS = 16
"""Logs followed at a time, for steps and last lines: more jobs than that do not fit on a screen."""
MAX_STEPS = 6
"""Steps shown of one running job: the newest; how many are done is told of the others."""
ERROR = "##[error]"
MIN_TITLE, MAX_TITLE = 12, 40
"""Columns of a step's title."""
BESIDE_TITLE = 48
"""Columns that a peer's name, a time and some of a last line take."""
Key = tuple[str, int]


class Step:
    """A step of a running job as its log shows it, with times in ms."""

    def __init__(self, title: str, began: float) -> None:
        self.title = title
        self.began = began
        self.ended: float | None = None
        self.failed = False
        self.last = ""

    @property
    def word(self) -> str:
        """What it has come to, as far as a log tells."""
        return "failure" if self.failed else "in_progress" if self.ended is None else "success"


class Tails:
    """The steps of each running job, read from its log by a thread of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._followed: set[tuple[str, int, int]] = set()
        self._alive = 0
        self.steps: dict[Key, list[Step]] = {}

    def follow(self, run: dict[str, Any]) -> None:
        """Begin to follow the jobs that have started to run."""
        for job in run["jobs"]:
            mark = (job["job"], job["index"], job["attempt"])
            if job["status"] != "in_progress" or mark in self._followed or self._alive >= MAX_TAILS:
                continue
            self._followed.add(mark)
            self._alive += 1
            threading.Thread(target=self._read, args=(run["workflow_id"], mark[:2]), daemon=True).start()

    def _read(self, run: str, key: Key) -> None:
        steps: dict[int, Step] = {}
        self.steps[key] = []
        try:
            query = {"job": f"{key[0]}#{key[1]}", "follow": True}
            for line in self._client.stream("runs", run, "logs", query=query):
                self.take(line, steps, key)
        except P2pwfError:
            self.steps.pop(key, None)  # the picture goes on without; the watch itself reports a lost node
        finally:
            self._alive -= 1

    def take(self, line: dict[str, Any], steps: dict[int, Step], key: Key) -> None:
        """Note a line of a job's log; `steps`: those seen of it, by number."""
        number, text = line["step"], clean(line["text"]).strip()
        if number not in steps:
            if not text.startswith(TITLE):
                return  # of the job as a whole
            for step in steps.values():
                step.ended = step.ended or line["time"]
            steps[number] = Step(text.removeprefix(TITLE), line["time"])
            self.steps[key] = list(steps.values())
        elif text.startswith(ERROR):
            steps[number].failed = True
        elif line["stream"] in ("stdout", "stderr") and text:
            steps[number].last = text


def watch_live(client: Client, views: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Draw the run until its last view; returns that."""
    first = next(views, None)
    if first is None:
        return {}
    arrived: SimpleQueue[dict[str, Any] | BaseException | None] = SimpleQueue()
    threading.Thread(target=_pump, args=(views, arrived), daemon=True).start()
    names = peer_names(client)
    tails = Tails(client)
    run = first
    console = Console(highlight=False)
    tails.follow(run)
    # Nothing else prints while the picture stands, and what asks what stdout is must not meet a proxy.
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            live.update(picture(run, names, tails, console.width, console.height), refresh=True)
            try:
                item = arrived.get(timeout=FRAME_SECONDS)
            except Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            if item is None:
                break
            run = item
            if not {job["owner"] for job in run["jobs"]} - {None} <= names.keys():
                names |= peer_names(client)
            tails.follow(run)
        live.update(picture(run, names, tails, console.width, None), refresh=True)
    return run


def _pump(views: Iterator[dict[str, Any]], into: SimpleQueue[dict[str, Any] | BaseException | None]) -> None:
    try:
        for view in views:
            into.put(view)
    except BaseException as error:  # noqa: BLE001 - carried to the thread that draws
        into.put(error)
        return
    into.put(None)


def picture(run: dict[str, Any], names: dict[str, str], tails: Tails, width: int, height: int | None) -> Group:
    """The run as it is drawn: at most `height` lines (None: all jobs, no steps) that fit `width` columns."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(5):
        rows.add_column(no_wrap=True)
    rows.add_column(no_wrap=True, overflow="ellipsis", style="bright_black", ratio=1)
    shown = _rows(run["jobs"])
    room = len(shown) if height is None else max(3, height - 4)
    chosen = _most_urgent(shown, room)
    running = sum(job["status"] == "in_progress" for job, _ in chosen)
    # What is left of the screen is for steps; at the end, nothing of them stays.
    title = max(MIN_TITLE, min(MAX_TITLE, width - BESIDE_TITLE))
    each = 0 if height is None or not running else min(MAX_STEPS, (room - len(chosen)) // running)
    for job, label in chosen:
        steps = tails.steps.get((job["job"], job["index"]), []) if job["status"] == "in_progress" else []
        rows.add_row(*_cells(job, label, names, "" if each or not steps else steps[-1].last))
        for row in _step_rows(steps, each, title):
            rows.add_row(*row)
    parts: list[Any] = [_head(run), rows]
    if len(shown) > room:
        parts.append(Text(f"and {len(shown) - room} more", style="bright_black"))
    if run["error"] and run["status"] in FINAL:
        parts.append(Text(clean(run["error"]), style="red"))
    return Group(*parts)


def _head(run: dict[str, Any]) -> Text:
    word = run["status"]
    sign, colour = sign_of(word), colour_of(word)
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(f"{sign} ", style=colour).append(clean(run["name"]), style="bold")
    head.append("  " + word.replace("_", " "), style=colour)
    if run.get("cancel_requested") and word not in FINAL:
        head.append("  cancelling", style="yellow")
    head.append("  " + span(run["started_at"] or run["created_at"], run["completed_at"]))
    return head.append("  " + short(run["workflow_id"]), style="bright_black")


Row = tuple[dict[str, Any] | None, str]


def _rows(jobs: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    """Each job with the label it is drawn by: the legs of a matrix hang below their job's first line."""
    legs: dict[str, int] = {}
    for job in jobs:
        legs[job["job"]] = legs.get(job["job"], 0) + 1
    rows = []
    branches = ("├ ", "└ ") if has_unicode() else ("  ", "  ")
    for job in jobs:
        name = clean(job["name"])
        count = legs[job["job"]]
        if count == 1:
            rows.append((job, name))
            continue
        rows.append((job, branches[job["index"] == count - 1] + name))
    return rows


def _most_urgent(rows: list[tuple[dict[str, Any], str]], room: int) -> list[tuple[dict[str, Any], str]]:
    """As many rows as fit: what runs or failed before what waits, and that before what went well; order is kept."""
    if len(rows) <= room:
        return rows
    rank = {"failure": 0, "in_progress": 0, "cancelled": 1, "queued": 1, "pending": 2, "waiting": 3}
    order = sorted(range(len(rows)), key=lambda index: (rank.get(word_of(rows[index][0]), 4), index))
    return [rows[index] for index in sorted(order[:room])]


def _step_rows(steps: list[Step], room: int, width: int) -> Iterator[tuple[Text, ...]]:
    """The newest steps of a running job, below it; the last one with its last line."""
    if not room:
        return
    hidden = max(0, len(steps) - room)
    branches = ("├", "└") if has_unicode() else ("|", "`")
    for index, step in enumerate(steps[hidden:]):
        label = Text(f"  {branches[index == len(steps) - hidden - 1]} ", style="bright_black", overflow="ellipsis")
        if not index and hidden:
            label.append(f"+{hidden} ", style="bright_black")
        label.append(f"{sign_of(step.word)} ", style=colour_of(step.word))
        label.append(cut(step.title, width), style="" if step.ended is None else "bright_black")
        last = step.last if step.ended is None else ""
        yield Text(""), label, Text(""), Text(span(step.began, step.ended)), Text(""), Text(last)


def _cells(job: dict[str, Any], label: str, names: dict[str, str], last: str) -> tuple[Text, ...]:
    word = word_of(job)
    attempt = f"attempt {job['attempt']}" if job["attempt"] > 1 else ""
    told = last if job["status"] == "in_progress" else clean(job["error"] or job.get("waiting") or "")
    return (
        Text(sign_of(word), style=colour_of(word)),
        Text(label, style="bold" if word == "in_progress" else ""),
        Text(name_of(names, job["owner"]), style="" if job["owner"] else "bright_black"),
        Text(span(job["started_at"], job["completed_at"]) if job["started_at"] else word.replace("_", " ")),
        Text(attempt, style="yellow"),
        Text(told),
    )
