"""The title of a run: what `run-name` comes to, else what GitHub shows for the event. Knows the model and the facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from p2pwf.workflow.expr import Value
from p2pwf.workflow.facts import RunFacts
from p2pwf.workflow.model import Workflow
from p2pwf.workflow.templates import Scope, evaluate_string

MAX_TITLE: Final = 1000
"""Characters of a title; it is shown on one line."""
_BY_EVENT: Final[Mapping[str, tuple[str, str]]] = {
    "push": ("head_commit", "message"),
    "pull_request": ("pull_request", "title"),
    "pull_request_target": ("pull_request", "title"),
    "pull_request_review": ("pull_request", "title"),
    "pull_request_review_comment": ("pull_request", "title"),
    "issues": ("issue", "title"),
    "issue_comment": ("issue", "title"),
    "discussion": ("discussion", "title"),
    "discussion_comment": ("discussion", "title"),
    "release": ("release", "name"),
    "workflow_run": ("workflow_run", "display_title"),
}
"""Where the payload of an event holds what its runs are called."""


def title_of(workflow: Workflow, facts: RunFacts) -> str:
    """The title of a run, one line; raises InvalidWorkflow, with the place, where `run-name` cannot be evaluated.

    Without a `run-name`, or where it comes to nothing: the first line of the commit, the pull request's title and the
    like, as the payload has them; else the workflow's name, else its path.
    """
    if workflow.run_name is not None:
        title = " ".join(evaluate_string(workflow.run_name, Scope(facts.contexts())).split())
        if title:
            return title[:MAX_TITLE]
    value: Value = facts.payload
    for key in _BY_EVENT.get(facts.event, ()):
        value = value.get(key) if isinstance(value, Mapping) else None
    lines = value.strip().splitlines() if isinstance(value, str) else []
    return (lines[0].strip() if lines else workflow.name or facts.workflow_name or workflow.path)[:MAX_TITLE]
