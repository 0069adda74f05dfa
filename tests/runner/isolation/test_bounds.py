"""T34, T36, T37: what one job may take of a machine, at each level."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import pytest
import trio

from p2pwf.runner.isolation import groups, plan, watch
from p2pwf.runner.isolation.bounds import Bounds
from tests.runner.isolation.conftest import Apart
from tests.runner.kit import Bench

MIB = 1 << 20
FORKS = """
- run: |
    /usr/bin/python3 -c '
    import os, subprocess
    started = 0
    try:
        while started < 150:
            subprocess.Popen(["/bin/sleep", "100"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            started += 1
    except OSError as error:
        print(error.strerror, flush=True)
    print("started", started, flush=True)
    os._exit(0)'
"""
EATS = """- run: /usr/bin/python3 -c 'x = bytearray(400 << 20); print("had", len(x))'"""
FILLS = "- run: head -c 48M /dev/zero > a; sleep 2; head -c 48M /dev/zero > b; sleep 30; echo filled"
MANY = "- run: mkdir d; for n in $(seq 400); do echo > d/$n; done; sleep 30; echo filled"
UNNAMED = "- run: exec 3> a; rm a; head -c 96M /dev/zero >&3; sleep 30; echo filled"
DEEP = """- run: |
    /usr/bin/python3 -c '
    import os
    for _ in range(3000):
        os.mkdir("d"); os.chdir("d")
    os.open("file", os.O_CREAT)'
    sleep 30; echo filled"""


def without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> dict[str, int]:
        return {}

    monkeypatch.setattr(plan, "_limits", nothing)
    monkeypatch.setattr(groups, "_bound", lambda *_: set())


async def test_t34_a_fork_bomb_gets_no_further_than_its_bound(bench: Bench, apart: Apart) -> None:
    apart.bounds = Bounds(processes=40)
    ran = await bench.run(FORKS)
    assert "started 150" not in ran.text()
    assert "Resource temporarily unavailable" in ran.text()
    assert any("reached its bound of 40 processes" in one for one in ran.messages()) or not apart.keeper.places


async def test_t34_a_fork_bomb_goes_on_without_the_guard(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.bounds = Bounds(processes=40)
    without_limits(monkeypatch)
    assert "started 150" in (await bench.run(FORKS)).text()


async def test_t36_a_job_that_eats_memory_is_ended_and_not_the_machine(bench: Bench, apart: Apart) -> None:
    apart.bounds = Bounds(memory=100 * MIB)
    ran = await bench.run(EATS)
    assert f"had {400 * MIB}" not in ran.text()
    assert ran.result.outcome == "failure"


async def test_t36_memory_is_eaten_without_the_guard(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.bounds = Bounds(memory=100 * MIB)
    without_limits(monkeypatch)
    assert f"had {400 * MIB}" in (await bench.run(EATS)).text()


@pytest.mark.parametrize(
    ("steps", "bounds", "said"),
    [
        (FILLS, Bounds(disk=64 * MIB), "has filled its folder"),
        (MANY, Bounds(files=300), "over 300 files"),
        (UNNAMED, Bounds(disk=64 * MIB), "has filled its folder"),
        (DEEP, Bounds(), "nested deeper than the system's paths"),
    ],
    ids=["bytes", "files", "bytes without a name", "depth"],
)
async def test_t37_a_job_that_fills_the_disk_is_ended_with_a_word(
    bench: Bench, apart: Apart, steps: str, bounds: Bounds, said: str
) -> None:
    apart.bounds = bounds
    ran = await bench.run(steps)
    assert "filled" not in ran.text()
    assert ran.result.outcome == "failure"
    assert said in (ran.result.error or "")


async def test_t37_a_disk_is_filled_without_the_guard(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.bounds = Bounds(files=300)
    monkeypatch.setattr(watch, "measure", lambda *_: watch.Seen())
    ran = await bench.run(MANY.replace("sleep 30", "sleep 1"))
    assert "filled" in ran.text()


async def test_t37_a_disk_is_filled_by_files_without_a_name_without_the_guard(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.bounds = Bounds(disk=64 * MIB)
    monkeypatch.setattr(watch, "unnamed", lambda *_: 0)
    ran = await bench.run(UNNAMED.replace("sleep 30", "sleep 1"))
    assert "filled" in ran.text()


@pytest.mark.parametrize(("taken", "least"), [(0, 1.5), (2 * MIB, 0.0)], ids=["little", "much"])
async def test_t37_jobs_end_before_the_disk_is_full_those_that_take_much_first(
    bench: Bench, apart: Apart, taken: int, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "room", lambda _: (10, MIB))
    began = trio.current_time()
    ran = await bench.run(f"- run: head -c {taken} /dev/zero > a; sleep 30; echo on")
    assert "The disk that jobs lie on is full but for 0 MiB" in (ran.result.error or "")
    assert trio.current_time() - began > least


@pytest.mark.parametrize(
    ("seen", "left", "taken", "spared", "said"),
    [
        (watch.Seen(), 1000, 0, True, None),
        (watch.Seen(total=101), 1000, 0, True, "filled its folder"),
        (watch.Seen(entries=11), 1000, 0, True, "over 10 files"),
        (watch.Seen(deep=True), 1000, 0, True, "nested deeper"),
        (watch.Seen(hidden=True), 1000, 100, True, None),
        (watch.Seen(hidden=True), 1000, 101, True, "cannot be looked into"),
        (watch.Seen(), 1000, 101, True, None),
        (watch.Seen(total=50), 49, 0, True, None),
        (watch.Seen(total=51), 49, 0, True, "full but for"),
        (watch.Seen(hidden=True), 49, 0, True, "full but for"),
        (watch.Seen(), 49, 0, False, "full but for"),
    ],
)
def test_t37_why_a_job_has_to_end(seen: watch.Seen, left: int, taken: int, spared: bool, said: str | None) -> None:
    told = watch.complaint(seen, Bounds(disk=100, files=10), left, 50, taken=taken, spared=spared)
    assert (told is None) if said is None else said in (told or "")


def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    plain = os.scandir

    def refused(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "closed to its own user")
        return plain(path)

    monkeypatch.setattr("p2pwf.runner.isolation.watch.os.scandir", refused)
    assert watch.measure(tmp_path, Bounds()).hidden


async def test_t37_no_file_is_larger_than_its_bound(bench: Bench, apart: Apart) -> None:
    apart.bounds = Bounds(file=MIB)
    ran = await bench.run("- run: head -c 2M /dev/zero > a || true; ls -l a | cut -d' ' -f5")
    assert str(MIB) in ran.text()


async def test_a_job_ends_when_its_bound_of_time_is_over(bench: Bench, apart: Apart) -> None:
    apart.bounds = Bounds(minutes=0.01)
    ran = await bench.run("- run: sleep 100", job="timeout-minutes: 100000")
    assert ran.result.outcome == "cancelled"
    assert any("maximum execution time of 0.01 minutes" in one for one in ran.messages())


def test_what_a_folder_takes_is_counted_as_the_disk_does(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "sparse").touch()
    with (folder / "sparse").open("r+b") as file:
        file.truncate(1 << 40)
    (folder / "real").write_bytes(b"x" * MIB)
    (folder / "again").hardlink_to(folder / "real")
    (folder / "circle").symlink_to(folder)
    seen = watch.measure(folder, Bounds())
    assert MIB <= seen.total < 2 * MIB
    assert seen.entries == 4


def shared() -> str:
    """All that lies in shared memory, by name and by number."""
    return "\n".join((*map(str, Path(plan.SHARED_MEMORY).iterdir()), Path("/proc/sysvipc/shm").read_text()))


async def test_what_a_job_shares_with_itself_goes_with_it(bench: Bench, apart: Apart) -> None:
    """Folders in shared memory, and what has a number in place of a name."""
    mark = f"p2pwf-{uuid.uuid4().hex}"
    ran = await bench.run(
        f"""
        - run: |
            mkdir -p /dev/shm/{mark}/sub && echo x > /dev/shm/{mark}/sub/file
            /usr/bin/python3 -c 'import ctypes; print(ctypes.CDLL(None).shmget(0, 314159, 0o600))'
        """
    )
    if os.getuid() == 0:
        assert ran.result.outcome == "success"
    assert mark not in shared()
    assert "314159" not in shared()
