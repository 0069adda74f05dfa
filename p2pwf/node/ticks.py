"""Schedules as submissions: the body of a schedule from a file, and from a schedule that of a tick's run. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from p2pwf.core.bodies import MAX_CRONS
from p2pwf.core.events import Event
from p2pwf.errors import UsageError
from p2pwf.node.actions import Library
from p2pwf.node.submission import SourceFacts, Wanted, make_body
from p2pwf.runs.schedules import CARRIED
from p2pwf.workflow import Diagnostic, Workflow, parse

SCHEDULE: Final = "schedule"


def schedule_body(wanted: Wanted, library: Library) -> tuple[dict[str, Any], tuple[Diagnostic, ...]]:
    """The body of schedule.add, and the warnings of the check; raises what `make_body` raises, and UsageError for a
    workflow without a schedule.

    The workflow is planned once, so that what fails does so now and not at night.
    """
    workflow = parse(wanted.text, wanted.source.workflow_path).require()
    trigger = next((one for one in workflow.triggers if one.event == SCHEDULE), None)
    if trigger is None or not trigger.crons:
        hint = "add `on: schedule: - cron: '30 5 * * *'`"
        raise UsageError(f"{wanted.source.workflow_path} has no schedule", hint)
    crons = [{"cron": cron, "timezone": zone} for cron, zone in zip(trigger.crons, trigger.zones, strict=True)]
    if len(crons) > MAX_CRONS:
        raise UsageError(f"{len(crons)} crons, the bound is {MAX_CRONS}", "put some into a workflow of their own")
    payload = {"schedule": crons[0]["cron"]}
    body, diagnostics = make_body(attrs.evolve(wanted, event=SCHEDULE, payload=payload), library)
    return {"name": body["name"], "crons": crons, "priority": body["priority"], **_carried(body)}, diagnostics


def tick_body(schedule: Event, tick: int, cron: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the run.submit of a schedule's tick, without `absent`; raises P2pwfError if it cannot be planned."""
    planned: Any = schedule.body
    source = SourceFacts(
        manifest=planned["source"],
        ref=planned["ref"],
        sha=planned["sha"],
        repository=planned["repository"],
        actor=planned["actor"],
        workflow_path=planned["path"],
    )
    wanted = Wanted(
        text=planned["workflow"].encode(),
        source=source,
        name=planned["name"],
        priority=planned["priority"],
        event=SCHEDULE,
        payload={"schedule": cron["cron"]},
        vars=planned["vars"],
        pins=planned["pins"],
        force=True,  # whoever added it said so
    )
    body, _ = make_body(wanted, Recorded(planned["called"], planned["actions"]))
    said = {"schedule": schedule.cid, "tick": tick, "cron": dict(cron)}
    return {**body, **_carried(planned), "schedule": said}


def _carried(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in CARRIED}


@attrs.frozen(slots=True)
class Recorded:
    """What a workflow calls and uses, as it was found when its schedule was added."""

    _called: Mapping[str, str]
    _actions: Mapping[str, Any]

    def for_tags(self, tags: Iterable[str]) -> None:
        """Nothing more is fetched, whatever the tags say."""

    def called(self, _workflow: Workflow) -> Mapping[str, str]:
        return self._called

    def actions(self, _workflows: Iterable[Workflow]) -> Mapping[str, Any]:
        return self._actions
