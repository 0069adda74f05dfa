"""Runs `p2pwf run` for tests: in this process where that shows as much, in one of its own where a terminal or signals
are the point. Steps are real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import attrs
import pytest

from p2pwf.cli.main import run as run_line

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "p2pwf.cli.main", "run"]
ONE = "on: push\njobs:\n  j:\n    runs-on: any\n    steps:\n"


@attrs.frozen
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> list[dict[str, Any]]:
        """The objects on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    def of(self, kind: str, **fields: object) -> list[dict[str, Any]]:
        """The objects of a type, with these values."""
        return [one for one in self.told if one["type"] == kind and all(one[k] == v for k, v in fields.items())]

    @property
    def end(self) -> dict[str, Any]:
        """The last object."""
        last = self.told[-1]
        assert last["type"] == "run_finished"
        return last

    def printed(self, **fields: object) -> list[str]:
        """What steps printed, in order."""
        return [one["line"] for one in self.of("log", **fields) if one["stream"] in ("stdout", "stderr")]

    def error(self) -> str:
        """The one error on stderr, as JSON has it, no traceback beside it; stdout has only an end that says it."""
        (line,) = self.err.splitlines()
        error = json.loads(line)["error"]
        (end,) = self.told
        assert (end["type"], end["conclusion"], end["jobs"]) == ("run_finished", "failure", {})
        assert (end["error"], end["exit_code"]) == (error, self.code)
        return str(error["message"])


@attrs.define
class Here:
    """A place to run in."""

    tmp: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    root: Path = attrs.field(init=False)
    temporary: Path = attrs.field(init=False)
    cache: Path = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.root = self.tmp / "project"
        self.temporary = self.tmp / "temporary"
        self.cache = self.tmp / "cache"
        self.root.mkdir()
        self.temporary.mkdir()

    def write(self, text: str, name: str = "w.yml") -> Path:
        """A file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def steps(self, steps: str) -> Path:
        """A workflow of one job `j`, started by a push, with these steps."""
        return self.write(ONE + textwrap.indent(textwrap.dedent(steps), "      "))

    def run(self, *words: str, file: str = "w.yml", code: int | None = 0) -> Ran:
        """`p2pwf run --json` in this process."""
        return self.run_plain("--json", *words, file=file, code=code)

    def run_plain(self, *words: str, file: str = "w.yml", code: int | None = 0) -> Ran:
        """`p2pwf run` in this process, which is no terminal."""
        self.capture.readouterr()
        got = run_line(["run", file, *words])
        out, err = self.capture.readouterr()
        ran = Ran(got, out, err)
        assert code is None or got == code, ran
        assert "Traceback" not in err
        return ran

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a process of its own."""
        return {**os.environ, "PYTHONPATH": str(REPOSITORY), **more}

    def start(self, *words: str, file: str = "w.yml", **more: Any) -> subprocess.Popen[str]:
        """`p2pwf run --json` in a process, and a session, of its own."""
        return subprocess.Popen(
            [*COMMAND, file, "--json", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.root,
            env=self.environment(),
            start_new_session=True,
            **more,
        )

    def git(self, *words: str) -> str:
        """Run git in the project."""
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main")
        done = subprocess.run(["git", *who, *words], cwd=self.root, check=True, capture_output=True, text=True)
        return done.stdout.strip()
