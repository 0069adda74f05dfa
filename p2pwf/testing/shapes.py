"""The runs that simulated networks are given, by name: bodies of submissions. Values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from p2pwf.core.dagcbor import Value
from p2pwf.testing.planner import in_group, make_submission

PLAIN: Final[Mapping[str, dict[str, Value]]] = {
    "one": make_submission({"one": []}),
    "chain": make_submission({"build": [], "test": ["build"], "ship": ["test"]}, {"test": 4}),
    "parallel": make_submission({"a": [], "b": [], "c": ["a", "b"]}, {"a": 3, "b": 2}, max_parallel=2),
    "dynamic": make_submission(
        {"find": [], "each": ["find"], "sum": ["each"]}, {"each": None}, payload={"legs": {"each": 3}}
    ),
    "failing": make_submission(
        {"bad": [], "after": ["bad"], "always": ["bad"]}, payload={"fail": ["bad"], "if": {"always": "always"}}
    ),
}
_ALWAYS: Final[dict[str, Value]] = {"if": {"b": "always", "each": "always"}, "legs": {"each": 3}}
NOWHERE: Final[Mapping[str, dict[str, Value]]] = {
    "nowhere": make_submission({"a": []}, labels={"a": ["nowhere"]}),
    "nowhere then always": make_submission({"a": [], "b": ["a"]}, {"a": 3}, labels={"a": ["nowhere"]}, payload=_ALWAYS),
    "always dynamic": make_submission({"a": [], "b": ["a"], "each": ["a"]}, {"each": None}, payload=_ALWAYS),
}
"""Runs that may find nobody."""
_DEPLOY: Final = {"deploy": in_group("Deploy")}
GROUPED: Final[Mapping[str, dict[str, Value]]] = {
    "ci": make_submission({"one": []}, group=in_group("ci")),
    "ci, two waves": make_submission({"a": [], "b": [], "c": ["a", "b"]}, group=in_group("CI")),
    "ci, cancels": make_submission({"a": [], "b": ["a"]}, group=in_group("ci", cancel_in_progress=True)),
    "ci, queues": make_submission({"a": [], "b": ["a"]}, {"b": 2}, group=in_group("ci", queue="max")),
    "deploys": make_submission({"build": [], "deploy": ["build"]}, job_groups=_DEPLOY),
    "ci, deploys": make_submission({"deploy": []}, {"deploy": 3}, job_groups=_DEPLOY, group=in_group("ci")),
    "deploys, cancels": make_submission(
        {"deploy": [], "end": ["deploy"]}, job_groups={"deploy": in_group("deploy", cancel_in_progress=True)}
    ),
    "deploys, queues": make_submission({"deploy": []}, job_groups={"deploy": in_group("deploy", queue="max")}),
}
"""Runs of one group, that waits or cancels, and runs with a job in another."""
SHAPES: Final = {**PLAIN, **NOWHERE, **GROUPED}
