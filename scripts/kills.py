"""Kill jobs in every way, at every level of isolation, and look for what is left of them: scripts/kills [--jobs N].

Each job starts processes that try to stay: daemons without parents, without the step's environment or session, one that
is deaf to signals, one that hands over to a fresh copy of itself again and again. Then it ends, or is ended: see WAYS.
One JSON line of figures; exit code 1 if a process is alive PATIENCE_S after its job, or the runner of it, is gone.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from p2pwf.isolation import Level  # noqa: E402 - after the path
from p2pwf.runner import RunnerEnv, open_spawner, run_job  # noqa: E402 - as above
from p2pwf.runner.isolation.bounds import Bounds  # noqa: E402 - as above
from p2pwf.runner.isolation.keeper import Keeper  # noqa: E402 - as above
from p2pwf.runner.isolation.probe import levels, probe_all  # noqa: E402 - as above
from p2pwf.runner.jobfiles import remove_tree  # noqa: E402 - as above
from p2pwf.runner.processes import Spawner  # noqa: E402 - as above
from p2pwf.runner.reaper import children_of  # noqa: E402 - as above
from tests.runner.isolation import image  # noqa: E402 - as above
from tests.runner.kit import Bench, alive, make_request, workflow  # noqa: E402 - as above

STAYS: Final = """\
sleep 1000 {mark} &
(setsid bash -c 'sleep 1000 {mark} & disown' &)
(env -i setsid /bin/bash -c 'exec -a x sleep 1000 {mark}' &)
setsid bash -c 'trap "" INT TERM HUP; while :; do sleep 1; done' {mark} &
setsid bash -c 'relay() {{ sleep 0.01; (relay "$1" &); }}; relay {mark}' {mark} &
"""
ENDS: Final = {
    "ends": "sleep 0.2",
    "fails": "sleep 0.2; exit 3",
    "step timeout": "sleep 1000",
    "fills the disk": "sleep 0.2; head -c 3M /dev/zero > filled; sleep 1000",
}
BESIDES: Final = (
    "job timeout", "cancelled", "given up", "supervisor killed", "spawner killed", "runner killed", "runner terminated",
)  # fmt: skip
WAYS: Final = (*ENDS, *BESIDES)
BATCH: Final = 5
"""Jobs of one runner at a time."""
SETTLED_S: Final = 0.3
"""How long a job has had when it is ended from outside."""
PATIENCE_S: Final = 5.0


def body(way: str, mark: str) -> str:
    """The steps of a job."""
    script = STAYS.format(mark=mark) + "touch up\n" + ENDS.get(way, "sleep 1000")
    limit = "  timeout-minutes: 0.01\n" if way == "step timeout" else ""
    return "- run: |\n" + "".join(f"    {line}\n" for line in script.splitlines()) + limit


async def play(level: Level, way: str, folder: Path, mark: str, jobs: int) -> None:
    """Run a batch of jobs and end them; returns when the runner believes that nothing of them is left."""
    keeper = Keeper(folder / "work", image=image.NAME)
    await trio.to_thread.run_sync(keeper.prepare)
    async with open_spawner() as spawner, trio.open_nursery() as nursery:
        for number in range(jobs):
            bench = Bench(folder / str(number), spawner)
            bench.root.mkdir()
            nursery.start_soon(one, bench, keeper, level, way, mark)
    keeper.close()


async def one(bench: Bench, keeper: Keeper, level: Level, way: str, mark: str) -> None:
    """One job and its end."""
    root = keeper.root(level) / bench.root.parent.name / bench.root.name
    root.mkdir(mode=0o711, parents=True)
    cancel = trio.Event()
    bounds = Bounds(disk=2 << 20) if way == "fills the disk" else Bounds()
    with closing(bench.new_log()) as log, trio.CancelScope() as scope:
        env = attrs.evolve(bench.env(log, cancel=cancel), work_root=root, bounds=bounds)
        if level > Level.none:
            env = attrs.evolve(env, isolation=level, keeper=keeper)
        job = "timeout-minutes: 0.015" if way == "job timeout" else ""
        request = make_request(workflow(body(way, mark), job))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end, way, root, partial(stop, way, env, cancel, scope))
            try:
                await run_job(request, env)
            finally:
                nursery.cancel_scope.cancel()


async def end(way: str, root: Path, act: Callable[[], None]) -> None:
    """Wait until all of the job is up, and act if this way is from outside."""
    if way in ENDS or way == "job timeout":
        return
    while not await trio.to_thread.run_sync(is_up, root):
        await trio.sleep(0.02)
    await trio.sleep(SETTLED_S)
    act()


def is_up(root: Path) -> bool:
    """Whether a job below `root` has said that its processes are there."""
    try:
        return any(root.glob("*/*/*/up"))
    except FileNotFoundError:
        return False  # it is being made, or taken down


def stop(way: str, env: RunnerEnv, cancel: trio.Event, scope: trio.CancelScope) -> None:
    """End a job from outside; runners are ended by who started them."""
    assert isinstance(env.spawner, Spawner)
    if way == "cancelled":
        cancel.set()
    elif way == "given up":
        scope.cancel()
    elif way in ("supervisor killed", "spawner killed"):
        for spawner in children_of(os.getpid()):
            for pid in children_of(spawner) if way == "supervisor killed" else (spawner,):
                with suppress(ProcessLookupError):  # another job of the batch was first
                    os.kill(pid, signal.SIGKILL)
        if way == "spawner killed":
            cancel.set()  # jobs outlive it, and end as ever
    else:
        sys.stdout.write("up\n")
        sys.stdout.flush()


def batch(level: str, way: str, folder: Path, jobs: int, user: int | None) -> tuple[int, float, str]:
    """One runner with its jobs, in a process of its own: processes left, seconds until none was, what it said."""
    mark = f"3{uuid.uuid4().int % 10**12}"
    folder.mkdir(mode=0o755)
    if user is not None:
        os.chown(folder, user, user)
    command = [sys.executable, __file__, "--play", level, way, str(folder), mark, "--jobs", str(jobs)]
    runner = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, user=user, group=user, text=True,
        extra_groups=None if user is None else [],
        env={**os.environ, "PYTHONPATH": ":".join([str(ROOT), *sys.path]), "HOME": str(folder)},
    )  # fmt: skip
    assert runner.stdout is not None
    assert runner.stderr is not None
    said = ""
    try:
        if way in ("runner killed", "runner terminated"):
            for _ in range(jobs):
                runner.stdout.readline()
            if len(alive(mark)) < jobs:
                said = "the jobs did not come up"
            runner.send_signal(signal.SIGKILL if way == "runner killed" else signal.SIGTERM)
        elif runner.wait(timeout=120):
            said = runner.stderr.read()
    finally:
        runner.kill()
        runner.communicate()
    began = time.monotonic()
    while (left := alive(mark)) and time.monotonic() - began < PATIENCE_S:
        time.sleep(0.01)
    took = time.monotonic() - began
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    for root in Keeper(folder / "work").roots:  # what a node does when it is started again
        remove_tree(root)
    return len(left), took, said.strip()[-300:]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/kills", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--user", type=int, help="start the runners as this user; else as the one of this program")
    parser.add_argument("--play", nargs=4, metavar=("LEVEL", "WAY", "FOLDER", "MARK"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.play:
        level, way, folder, mark = given.play
        trio.run(play, Level[level], way, Path(folder), mark, given.jobs)
        return 0
    began, done, left, slowest = time.monotonic(), 0, 0, 0.0
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="p2pwf-") as place:
        Path(place).chmod(0o755)
        image.settings(Path(place))
        image.why_no_engine()  # makes the image, where that can be
        here = trio.run(available, Path(place))
        turns = [(level, way) for level in here for way in WAYS if (level, way) != ("none", "fills the disk")]
        while done < given.jobs:
            level, way = turns[(done // BATCH) % len(turns)]
            jobs = min(BATCH, given.jobs - done)
            survivors, took, said = batch(level, way, Path(place) / str(done), jobs, given.user)
            left, slowest, done = left + survivors, max(slowest, took), done + jobs
            if survivors or said:
                failures.append(f"{level}, {way}: {survivors} left. {said}")
    figures = {
        "jobs": done, "levels": here, "ways": len(WAYS), "user": os.getuid() if given.user is None else given.user,
        "survivors": left, "slowest_gone_s": round(slowest, 2), "failures": failures[:5],
        "seconds": round(time.monotonic() - began),
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")
    return 1 if left or failures else 0


async def available(place: Path) -> list[str]:
    """The names of the levels that work here."""
    async with open_spawner() as spawner:
        keeper = Keeper(place / "probe", image=image.NAME)
        found = levels(await probe_all(keeper, spawner))
        keeper.close()
    return [level.name for level in sorted(found)]


if __name__ == "__main__":
    sys.exit(main())
