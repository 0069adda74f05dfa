"""The payload of an event that nobody sent: what GitHub's would say, as far as the source knows it.

Source of the shapes: GitHub's documentation of webhook payloads. What only a forge knows, such as URLs and ids of
people, is left out. A pull request has the number 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from p2pwf.workflow.model import Workflow

ZEROS: Final = "0" * 40
MAX_MESSAGE: Final = 8192
"""Characters of a commit message: a payload has a bound of its own."""
_BRANCH: Final = "refs/heads/"


@attrs.frozen(slots=True, kw_only=True)
class Commit:
    """A commit as git shows it. Times in ISO 8601; `parent` is zeros for the first one."""

    sha: str
    tree: str = ZEROS
    parent: str = ZEROS
    message: str = ""
    timestamp: str = ""
    author: tuple[str, str] = ("", "")
    committer: tuple[str, str] = ("", "")


def make_payload(
    event: str, workflow: Workflow, *, ref: str, repository: str, actor: str, commit: Commit | None
) -> dict[str, Any]:
    """The payload of `event` for a source at `ref`; `commit` None: the source has none."""
    owner, _, name = repository.partition("/")
    branch = ref.removeprefix(_BRANCH)
    person = {"login": actor, "type": "User"}
    payload: dict[str, Any] = {
        "repository": {
            "name": name,
            "full_name": repository,
            "owner": {"login": owner, "name": owner},
            "default_branch": branch if ref.startswith(_BRANCH) else "main",
            "private": True,
        },
        "sender": person,
    }
    sha = commit.sha if commit is not None else ZEROS
    head = None if commit is None else _head(commit)
    if event == "push":
        payload |= {
            "ref": ref,
            "before": commit.parent if commit is not None else ZEROS,
            "after": sha,
            "created": False,
            "deleted": False,
            "forced": False,
            "base_ref": None,
            "head_commit": head,
            "commits": [] if head is None else [head],
            "pusher": {"name": actor, "email": commit.committer[1] if commit is not None else ""},
        }
    elif event in ("pull_request", "pull_request_target"):
        side = {"ref": branch, "sha": sha, "repo": payload["repository"], "user": person}
        types = _filter(workflow, event, "types")
        payload |= {
            "action": types[0] if types else "opened",
            "number": 1,
            "pull_request": {
                "number": 1,
                "state": "open",
                "draft": False,
                "merged": False,
                "title": commit.message.partition("\n")[0] if commit is not None else "",
                "body": "",
                "user": person,
                "head": side,
                "base": {**side, "ref": payload["repository"]["default_branch"]},
                "labels": [],
            },
        }
    elif event == "schedule":
        trigger = workflow.trigger(event)
        payload["schedule"] = trigger.crons[0] if trigger is not None and trigger.crons else ""
    elif event == "workflow_dispatch":
        payload |= {"ref": ref, "workflow": workflow.path}
    elif types := _filter(workflow, event, "types"):
        payload["action"] = types[0]
    return payload


def _filter(workflow: Workflow, event: str, name: str) -> tuple[str, ...]:
    trigger = workflow.trigger(event)
    filters: Mapping[str, tuple[str, ...]] = {} if trigger is None else trigger.filters
    return filters.get(name, ())


def _head(commit: Commit) -> dict[str, Any]:
    return {
        "id": commit.sha,
        "tree_id": commit.tree,
        "message": commit.message,
        "timestamp": commit.timestamp,
        "author": {"name": commit.author[0], "email": commit.author[1]},
        "committer": {"name": commit.committer[0], "email": commit.committer[1]},
        "distinct": True,
    }
