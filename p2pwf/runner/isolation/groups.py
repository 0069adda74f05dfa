"""Control groups: bounds on the memory and the number of processes of a whole job, where this process may make them.

Both versions: a hierarchy for each controller (v1), or one for all (v2). Source: the kernel's documentation of cgroups.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from p2pwf.runner.isolation.bounds import Bounds

PREFIX: Final = "p2pwf-"
REMOVAL_S: Final = 2.0
"""How long the kernel may take to let go of a group whose processes are dead; it takes some ms."""


@attrs.frozen(slots=True)
class Place:
    """A folder in which groups can be made, and the controllers they get there."""

    folder: Path
    controllers: frozenset[str]
    unified: bool


@attrs.frozen(slots=True)
class Group:
    """The groups of one job: one folder for each hierarchy."""

    folders: tuple[Path, ...]
    controllers: frozenset[str]

    def out_of_memory(self) -> int:
        """How many processes the kernel has killed because the job reached its bound."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with suppress(OSError, ValueError):
                    for line in (folder / name).read_text().splitlines():
                        word, _, count = line.partition(" ")
                        if word == "oom_kill":
                            return int(count)
        return 0

    def out_of_processes(self) -> int:
        """How often a process could not be started because the job reached its bound."""
        for folder in self.folders:
            with suppress(OSError, ValueError):
                for line in (folder / "pids.events").read_text().splitlines():
                    word, _, count = line.partition(" ")
                    if word == "max":
                        return int(count)
        return 0


def find_places() -> tuple[Place, ...]:
    """Where groups can be made that bound memory or processes; tried, not guessed."""
    found: list[Place] = []
    for folder, wanted, unified in _candidates():
        covered = frozenset().union(*(place.controllers for place in found))
        if wanted <= covered and not unified:
            continue
        place = _try(folder, wanted, unified)
        if place is not None and (not place.controllers <= covered or (unified and not place.controllers)):
            found.append(place)
    return tuple(found)


@contextmanager
def make_group(places: tuple[Place, ...], name: str, bounds: Bounds) -> Iterator[Group]:
    """The groups of one job for the time of the block. Its processes have to be dead at the end of it."""
    folders: list[Path] = []
    controllers: set[str] = set()
    try:
        for place in places:
            folder = place.folder / (PREFIX + name)
            with suppress(OSError):
                folder.mkdir(exist_ok=True)
                folders.append(folder)
                controllers |= _bound(folder, place, bounds)
        yield Group(tuple(folders), frozenset(controllers))
    finally:
        for folder in folders:
            _remove(folder)


def sweep(places: tuple[Place, ...], mark: str) -> None:
    """Remove the groups of jobs whose names begin with `mark` and that nothing lives in: an earlier life left them."""
    for place in places:
        for folder in place.folder.glob(f"{PREFIX}{mark}*"):
            with suppress(OSError):
                folder.rmdir()


def _candidates() -> Iterator[tuple[Path, frozenset[str], bool]]:
    own: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own[controllers] = path
    mounts: list[tuple[str, str, str]] = []
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            kind, _, options = after.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                mounts.append((kind, before.split(" ")[4], options))
    both = frozenset(("memory", "pids"))
    for kind, place, options in mounts:
        if kind == "cgroup2":
            yield Path(place) / own.get("", "/").lstrip("/"), both, True
            yield Path(place), both, True
            continue
        for controller in sorted(both & set(options.split(","))):
            path = next((path for names, path in own.items() if controller in names.split(",")), "/")
            yield Path(place) / path.lstrip("/"), frozenset((controller,)), False


def _try(folder: Path, wanted: frozenset[str], unified: bool) -> Place | None:
    if not os.access(folder, os.W_OK):
        return None
    if unified:
        for controller in wanted:
            with suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")
    probe = folder / f"{PREFIX}probe-{os.getpid()}"
    try:
        probe.mkdir()
    except OSError:
        return None
    try:
        place = Place(folder, wanted, unified)
        if not os.access(probe / "cgroup.procs", os.W_OK):
            return None
        has = _bound(probe, place, Bounds())
        if not has and not (unified and (probe / "cgroup.kill").exists()):
            return None
        return attrs.evolve(place, controllers=frozenset(has))
    finally:
        _remove(probe)


def _bound(folder: Path, place: Place, bounds: Bounds) -> set[str]:
    """Write the bounds; which controllers took them."""
    done: set[str] = set()
    files: dict[str, tuple[tuple[str, int], ...]] = {"pids": (("pids.max", bounds.processes),)}
    if place.unified:
        files["memory"] = (("memory.max", bounds.memory), ("memory.swap.max", 0))
    else:
        files["memory"] = (("memory.limit_in_bytes", bounds.memory), ("memory.memsw.limit_in_bytes", bounds.memory))
    for controller in place.controllers:
        for index, (name, bound) in enumerate(files[controller]):
            with suppress(OSError):
                if index and not (folder / name).exists():
                    continue  # swap is not counted here
                (folder / name).write_text(str(bound))
                done.add(controller)
    return done


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + REMOVAL_S
    while folder.exists():
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                return  # the next start of a node tries again
            time.sleep(0.005)
