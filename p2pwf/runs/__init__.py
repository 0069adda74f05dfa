"""The fold: from the events of a run to its jobs, attempts, owners, outcomes and end. Pure; reads no YAML."""

from p2pwf.runs.plan import Group, Leg, Plan, PlannedJob
from p2pwf.runs.run import Run
from p2pwf.runs.tally import LegState, RunEvent, Tally

__all__ = ["Group", "Leg", "LegState", "Plan", "PlannedJob", "Run", "RunEvent", "Tally"]
