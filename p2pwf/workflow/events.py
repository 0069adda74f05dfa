"""The events a workflow can be triggered by, and what each may be filtered by. A table, and the rules made from it.

Source: the published workflow schema (`on` and its events) and GitHub's documentation of events.
"""

from __future__ import annotations

from typing import Final

from p2pwf.workflow.schema import Boolean, ListOf, MapOf, Null, Number, OneOf, Rule, Scope, Text

_WORDS: Final = OneOf((Text(non_empty=True), ListOf(Text(non_empty=True))))
_BRANCHES: Final = ("branches", "branches-ignore")
_PATHS: Final = ("paths", "paths-ignore")
_TAGS: Final = ("tags", "tags-ignore")
_LOCKS: Final = "locked unlocked "
_LABELS: Final = "assigned unassigned labeled unlabeled opened edited closed reopened milestoned demilestoned "
_PULL_TYPES: Final = (
    _LABELS + _LOCKS + "synchronize converted_to_draft enqueued dequeued ready_for_review review_requested "
    "review_request_removed auto_merge_enabled auto_merge_disabled stacked"
)
_ISSUE_TYPES: Final = _LABELS + _LOCKS + "deleted transferred pinned unpinned field_added field_removed typed untyped"
_DISCUSSION_TYPES: Final = (
    "created edited deleted transferred pinned unpinned labeled unlabeled "
    + _LOCKS
    + "category_changed answered unanswered"
)
_COMMENT_TYPES: Final = "created edited deleted"

_EVENTS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    # event: (activity types, other filters)
    "branch_protection_rule": ("created edited deleted", ()),
    "check_run": ("completed created rerequested requested_action", ()),
    "check_suite": ("completed", ()),
    "create": ("", ()),
    "delete": ("", ()),
    "deployment": ("", ()),
    "deployment_status": ("", ()),
    "discussion": (_DISCUSSION_TYPES, ()),
    "discussion_comment": (_COMMENT_TYPES, ()),
    "fork": ("", ()),
    "gollum": ("", ()),
    "image_version": ("created ready deleted", ("names", "versions")),
    "issue_comment": (_COMMENT_TYPES, ()),
    "issues": (_ISSUE_TYPES, ()),
    "label": ("created edited deleted", ()),
    "merge_group": ("checks_requested", _BRANCHES),
    "milestone": ("created closed opened edited deleted", ()),
    "page_build": ("", ()),
    "project": ("created closed reopened edited deleted", ()),
    "project_card": ("created moved converted edited deleted", ()),
    "project_column": ("created updated moved deleted", ()),
    "public": ("", ()),
    "pull_request": (_PULL_TYPES, _BRANCHES + _PATHS),
    "pull_request_comment": (_COMMENT_TYPES, ()),
    "pull_request_review": ("submitted edited dismissed", ()),
    "pull_request_review_comment": (_COMMENT_TYPES, ()),
    "pull_request_target": (_PULL_TYPES, _BRANCHES + _PATHS),
    "push": ("", _BRANCHES + _TAGS + _PATHS),
    "registry_package": ("published updated", ()),
    "release": ("published unpublished created edited deleted prereleased released", ()),
    "status": ("", ()),
    "watch": ("started", ()),
    "workflow_run": ("requested completed in_progress", ("workflows", *_BRANCHES)),
}

INPUT_TYPES: Final = ("string", "boolean", "number", "environment", "choice")
"""Types of an input of workflow_dispatch; workflow_call knows the first three."""

EXCLUSIVE_FILTERS: Final = (_BRANCHES, _TAGS, _PATHS)
"""Pairs of filters of which an event may have one."""


def _event_rule(types: str, filters: tuple[str, ...]) -> Rule:
    keys: dict[str, Rule] = dict.fromkeys(filters, _WORDS)
    if types:
        kinds = Text(values=tuple(types.split()))
        keys["types"] = OneOf((kinds, ListOf(kinds)))
    return OneOf((Null(), MapOf(keys))) if keys else Null()


_ANY_SCALAR: Final = OneOf((Text(), Boolean(), Number()))
_DISPATCH_INPUT: Final = MapOf(
    {
        "description": Text(),
        "type": Text(values=INPUT_TYPES),
        "required": Boolean(),
        "default": _ANY_SCALAR,
        "options": ListOf(Text()),
    }
)
_DISPATCH_INPUTS: Final = OneOf((Null(), MapOf(other=OneOf((Null(), _DISPATCH_INPUT)))))
_CALL_SCOPE: Final = Scope(frozenset(("GITHUB", "INPUTS", "VARS")))
_CALL_INPUT: Final = MapOf(
    {
        "description": Text(),
        "type": Text(values=INPUT_TYPES[:3]),
        "required": Boolean(),
        "default": OneOf((Text(), Boolean(), Number()), _CALL_SCOPE),
    },
    required=("type",),
)
_CALL: Final = MapOf(
    {
        "inputs": MapOf(other=_CALL_INPUT),
        "secrets": MapOf(other=OneOf((Null(), MapOf({"description": Text(), "required": Boolean()})))),
        "outputs": MapOf(
            other=MapOf(
                {"description": Text(), "value": Text(_CALL_SCOPE | Scope(frozenset(("JOBS",))))}, required=("value",)
            )
        ),
    }
)
_CRON: Final = MapOf({"cron": Text(non_empty=True), "timezone": Text(non_empty=True)}, required=("cron",))

EVENT_RULES: Final[dict[str, Rule]] = {
    **{name: _event_rule(types, filters) for name, (types, filters) in _EVENTS.items()},
    "repository_dispatch": OneOf((Null(), MapOf({"types": ListOf(Text(non_empty=True))}))),
    "schedule": ListOf(_CRON),
    "workflow_call": OneOf((Null(), _CALL)),
    "workflow_dispatch": OneOf((Null(), MapOf({"inputs": _DISPATCH_INPUTS}))),
}
EVENT_NAMES: Final = tuple(EVENT_RULES)

ON_RULE: Final = OneOf((Text(values=EVENT_NAMES), ListOf(Text(values=EVENT_NAMES)), MapOf(EVENT_RULES)))
"""What may stand under `on`."""
