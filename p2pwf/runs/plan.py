"""A run's plan as values: jobs, legs, needs, waves, from the body of a submission. Knows no events and no peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs

from p2pwf.core.dagcbor import Value


@attrs.frozen(slots=True)
class Group:
    """A concurrency group. `queue`: `single`, of those that wait only the newest stays; `max`, all do."""

    name: str
    cancel_in_progress: bool
    queue: str


@attrs.frozen(slots=True)
class Leg:
    """One instance of a job. `matrix` is None for a plain job; `labels` are what `runs-on` asks for."""

    name: str
    matrix: Mapping[str, Value] | None
    labels: tuple[str, ...]
    continue_on_error: bool
    concurrency: Group | None = None


@attrs.frozen(slots=True)
class PlannedJob:
    """One job. `legs` is None where they depend on what other jobs give: then a job.expand names them.

    `depth`: 0 without needs, else one more than the deepest need. `max_parallel`: 0 = no bound.
    """

    id: str
    needs: tuple[str, ...]
    depth: int
    legs: tuple[Leg, ...] | None
    fail_fast: bool
    max_parallel: int


@attrs.frozen(slots=True)
class Plan:
    """The jobs of a run by id, in declared order. `grouped`: some leg is, or may come to be, in a concurrency group."""

    jobs: Mapping[str, PlannedJob]
    grouped: bool = False

    def ancestors(self, job: str) -> list[str]:
        """All jobs that a job needs, directly or not, in declared order. Cost: linear in the plan."""
        above: set[str] = set()
        stack = [job]
        while stack:
            for need in self.jobs[stack.pop()].needs:
                if need not in above:
                    above.add(need)
                    stack.append(need)
        return [name for name in self.jobs if name in above]

    def waves(self) -> list[list[tuple[str, int]]]:
        """The static legs, (job id, leg index), grouped by depth; in a wave in declared order, then by index."""
        waves: dict[int, list[tuple[str, int]]] = {}
        for job in self.jobs.values():
            if job.legs is not None:
                waves.setdefault(job.depth, []).extend((job.id, index) for index in range(len(job.legs)))
        return [waves[depth] for depth in sorted(waves)]


def read_group(value: Mapping[str, Value]) -> Group:
    """A group from a body that has passed its form."""
    return Group(cast(str, value["group"]), cast(bool, value["cancel_in_progress"]), cast(str, value["queue"]))


def read_legs(value: Value) -> tuple[Leg, ...]:
    """Legs from a body that has passed its form."""
    return tuple(
        Leg(
            name=cast(str, leg["name"]),
            matrix=cast("Mapping[str, Value] | None", leg["matrix"]),
            labels=tuple(cast("list[str]", leg["labels"])),
            continue_on_error=cast(bool, leg["continue_on_error"]),
            concurrency=None
            if leg["concurrency"] is None
            else read_group(cast("dict[str, Value]", leg["concurrency"])),
        )
        for leg in cast("list[dict[str, Value]]", value)
    )


def read_plan(value: Value) -> Plan:
    """The plan in the body of a submission that has passed its form: needs are known and there is no cycle."""
    jobs = cast("dict[str, list[dict[str, Value]]]", value)["jobs"]
    records = {cast(str, job["id"]): job for job in jobs}
    needs = {name: tuple(cast("list[str]", record["needs"])) for name, record in records.items()}
    depth: dict[str, int] = {}
    for name in _by_needs(needs):
        depth[name] = 1 + max((depth[need] for need in needs[name]), default=-1)
    jobs_by_id = {
        name: PlannedJob(
            id=name,
            needs=needs[name],
            depth=depth[name],
            legs=None if record["legs"] is None else read_legs(record["legs"]),
            fail_fast=cast(bool, record["fail_fast"]),
            max_parallel=cast(int, record["max_parallel"]),
        )
        for name, record in records.items()
    }
    grouped = any(job.legs is None or any(leg.concurrency for leg in job.legs) for job in jobs_by_id.values())
    return Plan(jobs_by_id, grouped)


def _by_needs(needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The job ids so that each comes after those it needs (depth first, without recursion)."""
    done: dict[str, None] = {}
    for root in needs:
        stack = [root]
        while stack:
            name = stack[-1]
            waiting = () if name in done else [need for need in dict.fromkeys(needs[name]) if need not in done]
            if waiting:
                stack.extend(waiting)
            else:
                done[stack.pop()] = None
    return list(done)
