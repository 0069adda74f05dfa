"""A one-shot run as lines: what is told (p2pwf.oneshot.request) in blocks, one for each job. Plain strings; no rich.

Jobs run side by side, their lines never mix: the oldest running job is shown as it goes, the others wait for its end.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from typing import IO, Any

from p2pwf.cli.text import clean, clean_log, colour_of, dim, duration, glyph, has_unicode, style, table

Told = dict[str, Any]
Key = tuple[str, int]
TAIL = 20
"""Lines shown of a failing step where output is not shown as it comes."""
HELD = 1024 * 1024
"""Bytes of a waiting job's lines held in memory; the rest waits in a file that has no name."""
STEP = "  "
LINE = "    "
COLOURS = {"error": "red", "warning": "yellow", "notice": "cyan", "debug": "bright_black"}


def can_draw() -> bool:
    """Whether stdout is a terminal on which lines can be redrawn."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def key_of(told: Told) -> Key:
    """Which leg of which job something is about."""
    return told["job"], told["leg"]


class LogText:
    """From one step's log lines to lines for people: no headers, groups and annotations in words."""

    def __init__(self) -> None:
        self._header = False
        self._inside = 0

    def lines(self, told: Told) -> Iterator[str]:
        """What to show of a line: nothing, or one line without an end."""
        text = told["line"]
        if told["stream"] in ("stdout", "stderr"):
            yield "  " * self._inside + clean_log(text)
            return
        own = told["stream"] == "system"
        if text.startswith("##[group]"):
            if own:
                self._header = True  # the script and its variables: the file has them
            else:
                yield "  " * self._inside + style(clean(text.removeprefix("##[group]")), bold=True)
                self._inside += 1
        elif text.startswith("##[endgroup]"):
            if own:
                self._header = False
            else:
                self._inside = max(0, self._inside - 1)
        elif text.startswith("##[") and not self._header:
            word, _, rest = text.removeprefix("##[").partition("]")
            yield style(f"{word}: ", COLOURS.get(word)) + clean(rest)
        elif (not own and not self._header) or (told["step"] != 0 and not self._header):
            yield dim(clean(text))


def job_line(told: Told) -> str:
    """The last line of a job: how it went, and how long it took."""
    word = told["conclusion"]
    parts = [f"{glyph(word)} {style(clean(told['name']), bold=True)}", style(word, colour_of(word))]
    if told["seconds"] is not None:
        parts.append(dim(duration(told["seconds"])))
    if told.get("outcome") == "failure" and word == "success":
        parts.append(style("failed, and may", "yellow"))
    return "  ".join(parts)


def step_line(told: Told) -> str:
    """How a step went, in one line."""
    failed_softly = told["outcome"] == "failure" and told["conclusion"] == "success"
    line = f"{STEP}{glyph(told['outcome'])} {clean(told['name'])}"
    if told["outcome"] == "skipped":
        return dim(f"{STEP}{glyph('skipped')} {clean(told['name'])}")
    if told["seconds"] is not None:
        line += "  " + dim(duration(told["seconds"]))
    return line + (style("  failed, the job goes on", "yellow") if failed_softly else "")


def annotation_line(told: Told) -> str:
    """An annotation in one line, with the place it names."""
    place = ""
    if told["file"]:
        place = clean(told["file"]) + "".join(f":{told[part]}" for part in ("line", "column") if told[part]) + ": "
    title = f"{clean(told['title'])}: " if told["title"] and told["job"] is not None else ""
    return style(f"{told['level']}: ", COLOURS[told["level"]]) + place + title + clean(told["message"])


class Summary:
    """Gathers what the end of a run says."""

    def __init__(self) -> None:
        self._jobs: list[Told] = []
        self._counts: dict[str, int] = {}

    def take(self, told: Told) -> None:
        """See something that is told."""
        if told["type"] == "job_finished":
            self._jobs.append(told)
        elif told["type"] == "annotation":
            self._counts[told["level"]] = self._counts.get(told["level"], 0) + 1

    def draw(self, told: Told) -> None:
        """Print the end of a run."""
        word = told["conclusion"]
        head = [f"{glyph(word)} {style(clean(told['title']), bold=True)}", style(word, colour_of(word))]
        head.append(f"in {duration(told['seconds'])}")
        head += [
            style(f"{count} {level if count == 1 else level + 's'}", COLOURS[level])
            for level in ("error", "warning")
            if (count := self._counts.get(level))
        ]
        if told["name"] != told["title"]:
            head.append(dim(clean(told["name"])))
        print("\n" + "  ".join(head))
        if len(self._jobs) > 1:
            rows = [
                (glyph(job["conclusion"]), clean(job["name"]), job["conclusion"], dim(duration(job["seconds"])))
                for job in self._jobs
            ]
            table(("", "", "", ""), rows, flexible=1, indent=STEP)
        for name, value in told["outputs"].items():
            print(f"{STEP}output {style(clean(name), bold=True)}  {clean(value)}")
        for artifact in told["artifacts"]:
            print(f"{STEP}artifact {style(clean(artifact['name']), bold=True)}  {dim(clean(artifact['path']))}")


class Block:
    """The lines of one job that waits to be shown."""

    def __init__(self) -> None:
        self.texts: dict[int, LogText] = {}  # by step: those in the background speak while others do
        self.held: IO[str] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - gone with the block
            HELD, "w+", encoding="utf-8", newline="\n"
        )
        self.ended = False


class GroupedView:
    """For files and pipes: every line, job by job."""

    def __init__(self) -> None:
        self._blocks: dict[Key, Block] = {}
        self._shown: Key | None = None
        self._summary = Summary()

    def close(self) -> None:
        """Show what still waits."""
        for key in list(self._blocks):
            self._show(key)
            self._blocks.pop(key).held.close()

    def tell(self, told: Told) -> None:
        """Show something, or hold it until it is its job's turn."""
        self._summary.take(told)
        if told["type"] == "run_finished":
            self.close()
            self._summary.draw(told)
            sys.stdout.flush()
            return
        if told["job"] is None:
            print(annotation_line(told), file=sys.stderr)
            return
        key = key_of(told)
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = Block()
        if self._shown is None:
            self._shown = key
        self._add(key, block, told)
        if told["type"] == "job_finished":
            block.ended = True
            if key == self._shown:
                self._go_on()
        if key == self._shown:
            sys.stdout.flush()

    def _add(self, key: Key, block: Block, told: Told) -> None:
        into = sys.stdout if key == self._shown else block.held
        kind = told["type"]
        if kind == "job_started":
            into.write(style(clean(told["name"]), bold=True) + "\n")
        elif kind == "step_started":
            into.write(f"{STEP}{clean(told['name'])}\n")
        elif kind == "log":
            text = block.texts.setdefault(told["step"], LogText())
            into.writelines(f"{LINE}{line}\n" for line in text.lines(told))
        elif kind == "step_finished":
            block.texts.pop(told["step"], None)
            into.write(step_line(told) + "\n")
        elif kind == "job_finished":
            if told["error"]:
                into.write(LINE + style("error: ", "red") + clean(told["error"]) + "\n")
            into.write(job_line(told) + "\n")

    def _go_on(self) -> None:
        """The job that was shown has ended: show those that ended meanwhile, then the oldest that runs."""
        if self._shown is not None:
            self._blocks.pop(self._shown).held.close()
        self._shown = None
        for key in [key for key, block in self._blocks.items() if block.ended]:
            self._show(key)
            self._blocks.pop(key).held.close()
        for key in self._blocks:
            self._shown = key
            self._show(key)
            break
        sys.stdout.flush()

    def _show(self, key: Key) -> None:
        held = self._blocks[key].held
        held.seek(0)
        while chunk := held.read(HELD):
            sys.stdout.write(chunk)
        held.seek(0)
        held.truncate()


class StepPicture:
    """A step that runs: the last lines that it wrote, and what it raised."""

    def __init__(self) -> None:
        self.text = LogText()
        self.tail: deque[str] = deque(maxlen=TAIL)
        self.said: list[str] = []


class JobPicture:
    """One job as a terminal shows it: while it runs a line, then a block."""

    def __init__(self, told: Told, started: float) -> None:
        self.name = clean(told["name"])
        self.started = started
        self.step = ""
        self.last = ""
        self.lines: list[str] = []
        self._steps: dict[int, StepPicture] = {}

    def take(self, told: Told) -> None:
        """See something of this job."""
        kind = told["type"]
        step = self._steps.setdefault(told["step"], StepPicture())
        if kind == "step_started":
            self.step = clean(told["name"])
        elif kind == "log":
            for line in step.text.lines(told):
                step.tail.append(line)
                if told["stream"] in ("stdout", "stderr") and line.strip():
                    self.last = clean(line).strip()
        elif kind == "annotation":
            step.said.append(LINE + annotation_line(told))
        elif kind == "step_finished":
            self.lines.append(step_line(told))
            if told["outcome"] == "failure":
                self.lines += [f"{LINE}{dim('│' if has_unicode() else '|')} {line}".rstrip() for line in step.tail]
            else:
                self.lines += step.said
            del self._steps[told["step"]]
            self.step = self.last = ""

    def block(self, told: Told) -> Iterator[str]:
        """The lines of the ended job: how it went, its steps, the last lines of those that failed."""
        yield job_line(told)
        yield from self.lines
        said = [line for step in self._steps.values() for line in step.said]
        yield from said
        if told["error"] and not any(clean(told["error"]) in line for line in said):
            yield LINE + style("error: ", "red") + clean(told["error"])
