"""T35 and kin: whatever a step starts is dead when the job is over, however either of them ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import attrs
import pytest
import trio

from p2pwf.runner import reaper, run_job, sweep_leftovers
from p2pwf.runner.processes import Launch, open_spawner
from p2pwf.runner.reaper import Table
from tests.runner.kit import Bench, alive, make_request, workflow

ROOT = Path(__file__).parents[2]
REAPER = Path(reaper.__file__).read_text()
PATIENCE_S = 20.0

# Each leaves a process with `mark` among its arguments and tells of it on standard output.
DAEMONS = {
    "background": "sleep 1000 {mark} & echo up",
    "new session": "setsid sleep 1000 {mark} & echo up",
    "double fork": "(setsid bash -c 'sleep 1000 {mark} & disown' &) ; echo up",
    "no environment": "env -i setsid -f bash -c 'exec -a x sleep 1000 {mark}' && echo up",
    "deaf to signals": "setsid bash -c 'trap \"\" INT TERM HUP; while :; do :; done' {mark} & echo up",
}


@pytest.fixture
def mark() -> str:
    return f"2{uuid.uuid4().int % 10**12}"  # a number: sleep adds its arguments up


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another process does; fails only if it never comes."""
    with trio.fail_after(PATIENCE_S):
        while not condition():
            await trio.sleep(0.01)


@pytest.mark.parametrize("kind", DAEMONS)
async def test_t35_a_daemon_outlives_its_step_but_not_the_job(bench: Bench, mark: str, kind: str) -> None:
    script = DAEMONS[kind].format(mark=mark).replace("'", "''")
    ran = await bench.run(f"- run: '{script}'\n- run: cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
    assert ran.outcomes() == ["success", "success"]
    assert mark in ran.text(2), "it was alive in the next step"
    assert alive(mark) == []
    assert ran.result.killed >= 1


@pytest.mark.parametrize("kind", ["double fork", "no environment", "deaf to signals"])
async def test_t35_a_step_timeout_takes_the_whole_tree_and_fails_the_step(bench: Bench, mark: str, kind: str) -> None:
    script = DAEMONS[kind].format(mark=mark).replace("'", "''")
    ran = await bench.run(
        f"""
        - {{run: '{script}; sleep 1000 {mark}', timeout-minutes: 0.008}}
        - if: always()
          run: cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '
        """
    )
    assert "up" in ran.text(1)
    assert mark not in ran.text(2)
    assert ran.outcomes() == ["failure", "success"]
    assert "has timed out after 0.008 minutes" in ran.result.annotations[0].message
    assert ran.result.outcome == "failure"
    assert alive(mark) == []


async def test_a_step_timeout_spares_what_earlier_steps_left(bench: Bench, mark: str) -> None:
    ran = await bench.run(
        f"""
        - run: setsid -f sleep 1000 {mark}; env -i setsid -f sleep 1000 {mark}
        - {{run: sleep 1000, timeout-minutes: 0.004, continue-on-error: true}}
        - run: pgrep -c -f "^sleep 1000 {mark}"
        """
    )
    assert ran.text(3) == "2"
    assert alive(mark) == []


async def test_a_job_timeout_cancels_the_job_and_always_still_runs(bench: Bench, mark: str) -> None:
    ran = await bench.run(
        f"""
        - run: sleep 1000 {mark}
        - run: echo never
        - {{if: always(), run: echo always}}
        - {{if: cancelled(), run: echo cancelled}}
        - {{if: failure(), run: echo never}}
        """,
        job="timeout-minutes: 0.005",
    )
    assert ran.result.outcome == "cancelled"
    assert ran.outcomes() == ["cancelled", "skipped", "success", "success", "skipped"]
    assert ran.text() == "always\ncancelled"
    assert "maximum execution time of 0.005 minutes" in ran.result.annotations[0].message
    assert alive(mark) == []


async def run_cancelled(bench: Bench, steps: str, mark: str, *, soft: bool) -> tuple[list[str], float]:
    """Start a job, cancel it once `mark` is alive; the outcomes (soft only) and how long the end took."""
    event = trio.Event()
    outcomes: list[str] = []
    started = 0.0
    with closing(bench.new_log()) as log:
        async with trio.open_nursery() as nursery:

            async def job() -> None:
                env = bench.env(log, cancel=event if soft else None)
                outcomes.extend(step.outcome for step in (await run_job(make_request(workflow(steps)), env)).steps)

            nursery.start_soon(job)
            await until(lambda: alive(mark))
            started = time.monotonic()
            if soft:
                event.set()
            else:
                nursery.cancel_scope.cancel()
    return outcomes, time.monotonic() - started


@pytest.mark.parametrize("kind", ["background", "double fork", "deaf to signals"])
async def test_t35_cancelling_the_scope_leaves_no_process(bench: Bench, mark: str, kind: str) -> None:
    steps = f"- run: |\n    {DAEMONS[kind].format(mark=mark)}\n    sleep 1000 {mark}"
    await run_cancelled(bench, steps, mark, soft=False)
    assert alive(mark) == []
    assert list((bench.root / "work").iterdir()) == []


async def test_cancelling_asks_first_so_that_a_trap_can_clean_up(bench: Bench, mark: str) -> None:
    steps = f"- run: |\n    trap 'echo tidy; exit 1' INT\n    sleep 1000 {mark}\n- {{if: always(), run: 'true'}}"
    outcomes, _ = await run_cancelled(bench, steps, mark, soft=True)
    assert outcomes == ["cancelled", "success"]
    assert alive(mark) == []


async def test_a_step_that_runs_always_is_not_stopped_by_a_cancellation(
    bench: Bench, mark: str, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    steps = f"- {{if: always(), run: 'sleep 1000 {mark} & read x < {fifo}; echo $x'}}\n- run: 'true'"
    event = trio.Event()
    with closing(bench.new_log()) as log:
        async with trio.open_nursery() as nursery:

            async def release() -> None:
                await until(lambda: alive(mark))
                event.set()
                await until(lambda: "was cancelled" in log.path.read_text())
                await trio.Path(fifo).write_text("went on\n")

            nursery.start_soon(release)
            result = await run_job(make_request(workflow(steps)), bench.env(log, cancel=event))
    assert [step.outcome for step in result.steps] == ["success", "skipped"]
    assert result.outcome == "cancelled"


async def test_a_fork_bomb_is_ended_with_its_job(bench: Bench, mark: str) -> None:
    """T34, in small: every process replaces itself by two, in sessions of their own, up to some dozens at a time."""
    bomb = f"b() {{ [ $1 -gt 4 ] && exec sleep 1000 {mark}; b $(($1+1)) & b $(($1+1)) & wait; }}; b 0"
    ran = await bench.run(f"- {{timeout-minutes: 0.008, run: '{bomb}'}}")
    assert ran.outcomes() == ["failure"]
    assert alive(mark) == []


async def test_a_process_that_hands_over_and_over_is_caught(bench: Bench, mark: str, tmp_path: Path) -> None:
    """Each process of the chain starts the next, in a session of its own, and ends: no look sees it twice."""
    hop = tmp_path / "hop"
    hop.write_text('[ "$1" -gt 3000 ] || setsid -f bash "$0" $(($1 + 1)) $2\n')
    ran = await bench.run(f"- run: bash {hop} 0 {mark}")
    assert ran.result.killed > 0
    assert not any(alive(mark) for _ in range(20))


async def test_t35_a_killed_supervisor_takes_its_processes_along_and_fails_the_step(bench: Bench, mark: str) -> None:
    script = f"setsid -f sleep 1000 {mark}; kill -9 $PPID; sleep 1000 {mark}"
    with trio.fail_after(PATIENCE_S):
        ran = await bench.run(f"- run: {script}\n- run: echo never")
    assert ran.outcomes() == ["failure", "skipped"]
    assert alive(mark) == []


async def test_a_killed_spawner_is_started_anew(bench: Bench) -> None:
    ran = await bench.run("- run: ps -o ppid= -p $PPID")
    os.kill(int(ran.text()), signal.SIGKILL)
    ran = await bench.run("- run: echo again")
    assert ran.text() == "again"


NODE = """
import sys, trio
from pathlib import Path
from p2pwf.runner import FileLog, RunnerEnv, run_job
from tests.runner.kit import make_request, no_blob, now_ms, workflow

async def main():
    root = Path(sys.argv[1])
    env = RunnerEnv(work_root=root / "work", log=FileLog(root / "log"), fetch_blob=no_blob, now_ms=now_ms)
    await run_job(make_request(workflow(sys.argv[2])), env)

trio.run(main)
"""


def start_node(root: Path, steps: str) -> subprocess.Popen[bytes]:
    """A process of its own that runs a job, as a node would."""
    (root / "work").mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", NODE, str(root), textwrap.dedent(steps)], cwd=ROOT)


@pytest.mark.parametrize("kind", ["double fork", "no environment"])
async def test_t35_nothing_survives_the_sigkill_of_the_node(tmp_path: Path, mark: str, kind: str) -> None:
    script = f"{DAEMONS[kind].format(mark=mark)}\n    sleep 1000 {mark}"
    node = start_node(tmp_path, f"- run: |\n    {script}")
    try:
        await until(lambda: len(alive(mark)) >= 2)
    finally:
        node.kill()
        await trio.to_thread.run_sync(node.wait)
    await until(lambda: not alive(mark))


async def test_t35_without_the_care_for_orphans_a_daemon_outlives_its_job(
    bench: Bench, mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = tmp_path / "reaper.py"
    careless.write_text(REAPER.replace("_prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)", "pass"))
    monkeypatch.setattr(reaper, "__file__", str(careless))
    script = DAEMONS["double fork"].format(mark=mark).replace("'", "''")
    async with open_spawner() as spawner:
        ran = await attrs.evolve(bench, spawner=spawner).run(f"- run: '{script}'")
    left = alive(mark)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert ran.outcomes() == ["success"]
    assert left


async def test_the_sweep_finds_what_outlived_node_and_supervisors(tmp_path: Path, mark: str) -> None:
    node = start_node(tmp_path, f"- run: setsid -f sleep 1000 {mark}; sleep 1000 {mark}")
    try:
        await until(lambda: len(alive(mark)) >= 2)
        table = Table()
        tree = table.below([node.pid])
        keep = set(alive(mark))
        for pid in tree - keep - {node.pid}:  # spawner, supervisor and the step's shell, before they can react
            os.kill(pid, signal.SIGSTOP)
        for pid in tree - keep:
            os.kill(pid, signal.SIGKILL)
    finally:
        with suppress(ProcessLookupError):
            node.kill()
        await trio.to_thread.run_sync(node.wait)
    assert set(alive(mark)) == keep
    assert list((tmp_path / "work").iterdir()) != []
    swept = sweep_leftovers(tmp_path / "work")
    assert swept.processes == len(keep)
    assert swept.folders == 1
    assert alive(mark) == []
    assert list((tmp_path / "work").iterdir()) == []


async def test_the_sweep_of_a_node_that_never_was_does_nothing(tmp_path: Path) -> None:
    swept = sweep_leftovers(tmp_path / "none")
    assert (swept.processes, swept.folders) == (0, 0)
    assert not (tmp_path / "none").exists()


async def test_no_descriptor_of_the_node_reaches_a_step(bench: Bench) -> None:
    ran = await bench.run("- run: ls -l /proc/self/fd | awk 'NR>1 {print $9}' | tr '\\n' ' '")
    assert set(ran.text().split()) <= {"0", "1", "2", "3"}  # 3 is the folder that ls reads


async def test_a_program_that_cannot_be_executed_ends_with_126(bench: Bench, tmp_path: Path) -> None:
    async with bench.spawner.supervise() as supervisor:
        process = await supervisor.start(Launch((str(tmp_path / "none"),), {}, tmp_path))
        assert await process.wait() == 126
        assert b"cannot run" in await process.stderr.receive_some(1000)
        await process.stdout.aclose()
        await process.stderr.aclose()
