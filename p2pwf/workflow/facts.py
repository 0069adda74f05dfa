"""The facts of a run: what is known when it is submitted, and the contexts and variables that follow from it.

Knows no machine: what only a runner can say (workspace, paths, tokens) it adds itself.
Source: GitHub's documentation of the github context and of the default environment variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from p2pwf.workflow.expr import Value, to_string

SERVER_URL: Final = "https://github.com"
"""What `github.server_url` says: actions and scripts build links from it; nothing here ever connects to it."""
RETENTION_DAYS: Final = "90"
_BRANCH: Final = "refs/heads/"
_TAG: Final = "refs/tags/"
_PULL: Final = "refs/pull/"


@attrs.frozen(slots=True)
class RunFacts:
    """What a run is about. `inputs` are typed (str, bool, number); `payload` is the event's, as webhooks carry it."""

    event: str = "workflow_dispatch"
    payload: Mapping[str, Value] = attrs.field(factory=dict)
    ref: str = "refs/heads/main"
    sha: str = "0" * 40
    repository: str = "local/workflow"
    actor: str = "local"
    inputs: Mapping[str, Value] = attrs.field(factory=dict)
    vars: Mapping[str, str] = attrs.field(factory=dict)
    workflow_name: str = ""
    workflow_path: str = ""
    run_id: str = "0"
    run_number: int = 1
    attempt: int = 1

    @property
    def ref_name(self) -> str:
        """The short name of the ref: `main`, `v1`, `7/merge`."""
        for prefix in (_BRANCH, _TAG, _PULL):
            if self.ref.startswith(prefix):
                return self.ref[len(prefix) :]
        return self.ref

    @property
    def ref_type(self) -> str:
        """`tag` or `branch`."""
        return "tag" if self.ref.startswith(_TAG) else "branch"

    @property
    def owner(self) -> str:
        """The part of the repository's name before the slash."""
        return self.repository.partition("/")[0]

    def _from_payload(self, *keys: str) -> str:
        value: Value = self.payload
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return to_string(value) if value is None or isinstance(value, (str, int, float)) else ""

    def github(self) -> dict[str, Value]:
        """The `github` context, without what only the runner knows (workspace, token, event_path, action, job, …)."""
        workflow_ref = f"{self.repository}/{self.workflow_path}@{self.ref}"
        return {
            "actor": self.actor,
            "actor_id": self._from_payload("sender", "id"),
            "api_url": "https://api.github.com",
            "base_ref": self._from_payload("pull_request", "base", "ref"),
            "event": self.payload,
            "event_name": self.event,
            "graphql_url": "https://api.github.com/graphql",
            "head_ref": self._from_payload("pull_request", "head", "ref"),
            "ref": self.ref,
            "ref_name": self.ref_name,
            "ref_protected": False,
            "ref_type": self.ref_type,
            "repository": self.repository,
            "repository_id": self._from_payload("repository", "id"),
            "repository_owner": self.owner,
            "repository_owner_id": self._from_payload("repository", "owner", "id"),
            "repositoryUrl": f"git://github.com/{self.repository}.git",
            "retention_days": RETENTION_DAYS,
            "run_attempt": str(self.attempt),
            "run_id": self.run_id,
            "run_number": str(self.run_number),
            "secret_source": "Actions",
            "server_url": SERVER_URL,
            "sha": self.sha,
            "triggering_actor": self.actor,
            "workflow": self.workflow_name or self.workflow_path,
            "workflow_ref": workflow_ref,
            "workflow_sha": self.sha,
        }

    def contexts(self) -> dict[str, Value]:
        """The contexts `github`, `inputs` and `vars`."""
        return {"github": self.github(), "inputs": self.inputs, "vars": self.vars}

    def environment(self) -> dict[str, str]:
        """The default variables of every step that follow from these facts: CI and GITHUB_*.

        The runner adds what is its own: GITHUB_ACTION, _ENV, _EVENT_PATH, _JOB, _OUTPUT, _PATH, _STATE,
        _STEP_SUMMARY, _WORKSPACE and RUNNER_*.
        """
        github = self.github()
        hidden = ("event", "repositoryUrl", "secret_source")
        variables = {f"GITHUB_{name.upper()}": to_string(github[name]) for name in github if name not in hidden}
        return {"CI": "true", "GITHUB_ACTIONS": "true", **variables}
