"""Runs the `console` blocks of a page as their reader would, and holds what they show against what comes.

A line `you@attic:~$ p2pwf …` is run as the machine attic, which is a data folder of its own; `p2pwf up` goes on. What
follows is what it should print: `…` stands for anything in a line, a line of it alone for any lines. Spaces are
as good as one. Words such as RUN stand for the last run's id, `p2pwf1…` for the last ticket.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from tests.e2e.kit import COMMAND, PATIENCE

PROMPT = re.compile(r"\w+@(\w+):~\$ (.*)")
RUN_ID = re.compile(r"\bbafyrei[a-z2-7]{52}\b")
TICKET = re.compile(r"^p2pwf1\w{50,}$", re.MULTILINE)
LOOPBACK = ("--listen", "/ip4/127.0.0.1/tcp/0")


@attrs.frozen
class Step:
    """One command of one machine, and the lines that it should print."""

    machine: str
    words: list[str]
    shows: list[str]

    @property
    def fails(self) -> bool:
        return any(line.startswith("error:") for line in self.shows)


def steps(page: str) -> Iterator[Step]:
    """The commands of a page's console blocks, in order."""
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        current: Step | None = None
        for line in block.splitlines():
            prompt = PROMPT.fullmatch(line)
            if prompt:
                if current is not None:
                    yield current
                current = Step(prompt[1], shlex.split(prompt[2], comments=True), [])
            else:
                assert current is not None, line
                current.shows.append(line)
        if current is not None:
            yield current


def shown(expected: list[str], text: str) -> bool:
    """Whether a text is what a page says."""
    if not expected:
        return True
    pattern = "\n".join(_line(line) for line in expected).replace("\0\n", r"(?:.*\n)*").replace("\0", r"(?:.*\n?)*")
    return re.fullmatch(pattern, "\n".join(" ".join(line.split()) for line in text.strip().splitlines())) is not None


def _line(line: str) -> str:
    parts = [re.escape(" ".join(part.split(" "))) for part in " ".join(line.split()).split("…")]
    return "\0" if line.strip() == "…" else ".*".join(parts)


class Machines:
    """The machines of a page: as many as its commands name."""

    def __init__(self, root: Path, cwd: Path, run_words: tuple[str, ...] = ("RUN",)) -> None:
        self._root = root
        self._cwd = cwd
        self._run_words = run_words
        self._nodes: list[subprocess.Popen[str]] = []
        self._run = self._ticket = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for node in self._nodes:
            node.terminate()
        for node in self._nodes:
            node.communicate(timeout=PATIENCE)

    def do(self, step: Step) -> str:
        """Run a command; what it printed, if that is what the page says. `p2pwf up` goes on."""
        words = [self._filled(word) for word in step.words]
        assert words[0] == "p2pwf", words
        environment = {**os.environ, "P2P_DATA_DIR": str(self._root / step.machine), "NO_COLOR": "1", "COLUMNS": "120"}
        environment.pop("P2P_PEER_ID", None)
        if words[1] == "up":
            text = self._up(step.machine, words[1:], environment)
            self._compare(step, words, text, text)
            return text
        done = subprocess.run(
            [*COMMAND, *words[1:]], cwd=self._cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == step.fails, (words, done)
        self._compare(step, words, done.stdout, done.stdout + done.stderr)
        for found in RUN_ID.findall(done.stdout) if words[1:3] == ["workflow", "submit"] else ():
            self._run = found
        ticket = TICKET.search(done.stdout)
        self._ticket = ticket[0] if ticket else self._ticket
        return done.stdout

    def _compare(self, step: Step, words: list[str], *texts: str) -> None:
        wanted = "\n".join(step.shows)
        assert any(shown(step.shows, text) for text in texts), (
            f"{words}\n--- the page says\n{wanted}\n--- it printed\n{texts[-1]}"
        )

    def _filled(self, word: str) -> str:
        if word in self._run_words:
            return self._run
        return self._ticket if word.startswith("p2pwf1") else word

    def _up(self, machine: str, words: list[str], environment: Mapping[str, str]) -> str:
        with (self._root / f"{machine}.err").open("w") as errors:
            node = subprocess.Popen(
                [*COMMAND, *words, *LOOPBACK], cwd=self._cwd, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        self._nodes.append(node)
        assert node.stdout is not None
        lines = []
        for line in node.stdout:
            lines.append(line)
            if line == "ready\n":
                break
        assert lines[-1:] == ["ready\n"], (self._root / f"{machine}.err").read_text()
        return "".join(lines)


def python(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a block of Python as a script."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
