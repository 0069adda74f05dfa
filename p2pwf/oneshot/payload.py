"""The payload of an event that nobody sent: what GitHub's would say, as far as the source knows it; and where a run
stands by its payload.

Source of the shapes: GitHub's documentation of webhook payloads, and of the events that start workflows, which says
what GITHUB_REF and GITHUB_SHA are for each. What only a forge knows, such as URLs and ids of people, is left out. A
pull request has the number 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from p2pwf.core.bodies import MAX_TEXT
from p2pwf.workflow.model import Workflow

ZEROS: Final = "0" * 40
MAX_MESSAGE: Final = 8192
"""Characters of a commit message: a payload has a bound of its own."""
_BRANCH: Final = "refs/heads/"
_PULLS: Final = ("pull_request", "pull_request_review", "pull_request_review_comment")
"""The events that run on what a pull request would become: its merge with its base."""
_SHA: Final = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


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


def place_of(event: str, payload: Mapping[str, Any], ref: str, sha: str) -> tuple[str, str]:
    """The ref and the commit that a run of `event` stands on: as its payload says, else those of the source."""
    if event in _PULLS:
        pull = _map(payload, "pull_request")
        number = pull.get("number", payload.get("number"))
        if isinstance(number, int) and not isinstance(number, bool):
            ref = f"refs/pull/{number}/merge"
        return ref, _commit(pull, "merge_commit_sha") or sha
    if event == "pull_request_target":
        return _ref(_map(payload, "repository"), "default_branch", _BRANCH) or ref, sha
    if event == "push":
        return _ref(payload, "ref") or ref, _commit(payload, "after") or sha
    if event == "workflow_dispatch":
        return _ref(payload, "ref") or ref, sha
    if event == "create":
        return _ref(payload, "ref", "refs/tags/" if payload.get("ref_type") == "tag" else _BRANCH) or ref, sha
    if event == "release":
        return _ref(_map(payload, "release"), "tag_name", "refs/tags/") or ref, sha
    return ref, sha


def _map(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, Mapping) else {}


def _ref(payload: Mapping[str, Any], name: str, before: str = "") -> str | None:
    """A ref that a payload names, in full; None for none, and for what cannot be one."""
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        return None
    whole = before + value.removeprefix(before)
    if not whole.startswith("refs/"):
        whole = _BRANCH + whole
    return whole if len(whole) <= MAX_TEXT else None


def _commit(payload: Mapping[str, Any], name: str) -> str | None:
    """A commit that a payload names; None for none, for what cannot be one, and for the zeros of one that is gone."""
    value = payload.get(name)
    return value if isinstance(value, str) and _SHA.fullmatch(value) and value.strip("0") else None


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
