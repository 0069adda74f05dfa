"""`workflow watch` on a terminal, and the parts of a log that a person asks for."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console

from p2pwf.cli.live import Tails, picture
from p2pwf.control.client import Client
from p2pwf.requests import SubmitRequest
from tests.cli.test_commands import cli, submitted
from tests.control.kit import ME, START, MemoryApi, node

ESCAPES = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")
COMMAND = [sys.executable, "-m", "p2pwf.cli.main"]


def on_terminal(folder: Path, sent: bytearray, *words: str, columns: int = 100) -> int:
    """The exit code; `sent` grows by all that the terminal is sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    settings = {**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"}
    for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "CI"):
        settings.pop(name, None)
    line = [*COMMAND, *words, "--data-dir", str(folder)]
    with subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, env=settings) as process:
        os.close(theirs)
        while True:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # what Linux says of a terminal that nobody has open
                break
            sent += data
        os.close(ours)
        return process.wait(60)


def write(api: MemoryApi) -> None:
    """The log of a job that is in its second step."""
    api.log("Job build, attempt 1", stream="system", step=0)
    api.log("##[group]Fetch", stream="system")
    api.log("fetched all")
    api.log("##[group]Compile \x1b[2Jit", stream="system", step=2)
    api.log("unit 7 of 9", step=2)


def running(run: dict[str, Any]) -> None:
    run.update(status="in_progress", started_at=START)
    run["jobs"][0].update(status="in_progress", started_at=START)


async def test_a_terminal_shows_the_steps_of_running_jobs_and_in_the_end_the_jobs() -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        write(api)
        running(api.runs[run])
        sent = bytearray()
        codes: list[int] = []

        async def look() -> None:
            words = ("workflow", "watch", run)
            codes.append(await trio.to_thread.run_sync(partial(on_terminal, folder, sent, *words)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            with trio.fail_after(60):
                while b"unit 7 of 9" not in sent:
                    await trio.sleep(0.01)
            api.end(run, "failure")
        assert codes == [1]
        text = sent.decode().replace("\r", "")
        plain = ESCAPES.sub("", text)
        assert re.search(r"├ ✓ Fetch", plain)
        assert re.search(r"└ ● Compile it +.*unit 7 of 9", plain)
        assert "\x1b[2J" not in text
        final = plain[plain.rindex("failed") :]
        assert "Compile" not in final
        assert "build" in final


def drawn(steps: int, jobs: int, width: int, height: int) -> list[str]:
    """The picture of a run of so many running jobs, each with so many steps, line by line."""
    tails = Tails(Client(Path("nowhere")))
    run = {
        "workflow_id": "bafyrun", "name": "a run", "status": "in_progress", "started_at": START, "created_at": START,
        "completed_at": START + 1000, "error": None, "cancel_requested": False,
        "jobs": [
            {"job": "j", "index": index, "name": f"job number {index}", "status": "in_progress", "conclusion": None,
             "owner": ME, "attempt": 1, "started_at": START, "completed_at": None, "error": None}
            for index in range(jobs)
        ],
    }  # fmt: skip
    for index in range(jobs):
        seen: dict[int, Any] = {}
        for step in range(steps):
            line = {
                "step": step,
                "stream": "system",
                "time": START + step,
                "text": f"##[group]A step called number {step}",
            }
            tails.take(line, seen, ("j", index))
            tails.take({**line, "stream": "stdout", "text": "x" * 300}, seen, ("j", index))
    output = StringIO()
    console = Console(
        file=output, width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False
    )
    console.print(picture(run, {ME: "attic"}, tails, width, height))
    return output.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize(("steps", "jobs"), [(0, 1), (1, 1), (30, 1), (3, 4), (30, 18), (2, 100)])
def test_the_picture_fits_the_terminal(steps: int, jobs: int, width: int) -> None:
    lines = drawn(steps, jobs, width, 24)
    assert len(lines) <= 24
    assert all(len(line) <= width for line in lines)
    assert "a run" in lines[0]
    if steps == 30 and jobs == 1:
        assert "+24" in lines[2]
        assert f"number {steps - 1}"[:4] in lines[7] or "…" in lines[7]
    if jobs == 100:
        assert lines[-1] == "and 80 more"


async def test_one_step_is_picked_by_its_number_or_name() -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        write(api)
        for word in ("1", "Fetch"):
            found = await cli(folder, "workflow", "logs", run, "--step", word)
            assert found == (0, "build  ##[group]Fetch\nbuild  fetched all\n", "")
        code, _, err = await cli(folder, "workflow", "logs", run, "--step", "Deploy")
        assert code == 4
        assert "no step 'Deploy'" in err
        assert "hint: there are 1 Fetch, 2 Compile it" in err


async def test_only_what_failed_is_picked() -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        write(api)
        assert await cli(folder, "workflow", "logs", run, "--failed") == (0, "", "")
        steps = [{"number": 1, "conclusion": "success"}, {"number": 2, "conclusion": "failure"}]
        api.told = {"steps": steps, "annotations": [], "summaries": []}
        api.end(run, "failure")
        code, out, _ = await cli(folder, "workflow", "logs", run, "--failed")
        assert (code, out.splitlines()) == (0, ["build  ##[group]Compile it", "build  unit 7 of 9"])
        assert (await cli(folder, "workflow", "logs", run, "--failed", "--job", "m"))[1] == ""
        code, _, err = await cli(folder, "workflow", "logs", run, "--failed", "--job", "ghost")
        assert (code, err) == (4, "error: no job 'ghost' in this run\nhint: its jobs: build, m\n")
        api.told = {"steps": [], "annotations": [], "summaries": []}
        _, out, _ = await cli(folder, "workflow", "logs", run, "--failed", "--json")
        assert len(out.splitlines()) == 5, "what no step made fail is shown whole"
        for more in (["-f"], ["--step", "1"]):
            assert (await cli(folder, "workflow", "logs", run, "--failed", *more))[0] == 2


async def test_who_waits_for_a_large_source_is_told_what_for() -> None:
    sent = bytearray()

    class Slow(MemoryApi):
        """Takes a source for as long as it is not seen that somebody waits."""

        waits = True

        async def submit(self, request: SubmitRequest) -> dict[str, Any]:
            with trio.fail_after(60):
                while self.waits and b"packing the source" not in sent:
                    await trio.sleep(0.01)
            return await super().submit(request)

    api = Slow()
    async with node(api) as (_, folder):
        file = folder / "w.yml"
        file.write_text("jobs:\n")
        words = ("workflow", "submit", str(file))
        assert await trio.to_thread.run_sync(partial(on_terminal, folder, sent, *words)) == 0
        assert b"\r\x1b[K" in sent
        api.waits = False
        code, out, err = await cli(folder, *words, "--progress", "plain")
        assert (code, err.splitlines()[:2]) == (0, ["packing the source …", "packing the source: done"])
        assert "packing" not in out
        for more in (("--no-source", "--progress", "plain"), ("--json", "--progress", "plain"), ()):
            assert "packing" not in str(await cli(folder, *words, *more))


async def test_how_far_it_is_is_shown_as_it_is_asked_for() -> None:
    async with node() as (api, folder):
        api.left = {"figures": b"x" * 5000}
        run = await submitted(folder)
        api.end(run, "success")
        sent = bytearray()
        words = ("workflow", "download", run, "--dir", str(folder / "moving"))
        assert await trio.to_thread.run_sync(partial(on_terminal, folder, sent, *words)) == 0
        assert b"100%" in sent
        for mode, says in (("plain", "figures …\nfigures: done\n"), ("quiet", "")):
            more = ("--dir", str(folder / mode), "--progress", mode)
            code, out, err = await cli(folder, "workflow", "download", run, *more)
            assert (code, err) == (0, says)
            assert "figures" in out
        lines = (await cli(folder, "workflow", "watch", run, "--progress", "plain"))[1].splitlines()
        assert len(lines) == 4
        assert (await cli(folder, "workflow", "watch", run, "--progress", "quiet"))[1].splitlines() == lines[-1:]
        for mode in ("plain", "quiet", "auto"):
            sent = bytearray()
            look = partial(on_terminal, folder, sent, "workflow", "watch", run, "--progress", mode)
            assert await trio.to_thread.run_sync(look) == 0
            assert (b"\x1b[?25l" in sent) == (mode == "auto"), "a picture hides the cursor"
