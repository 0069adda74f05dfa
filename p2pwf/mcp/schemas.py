"""What an assistant reads of the ten tools: what each is for, what it takes, what it gives. Data; needs no MCP SDK.

JSON Schema, 2020-12. A failed call gives `success: false` with error, hint and code in place of what the tool gives.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from p2pwf.ledger import WorkflowStatus

Schema = dict[str, Any]

INSTRUCTIONS: Final = (
    "p2pwf runs GitHub Actions workflow files on the machines of a peer-to-peer network. Submit a file with "
    "submit_p2p_workflow, then ask get_p2p_workflow_status until its status is completed, failed or cancelled. What "
    "its jobs wrote is the resource p2pwf://runs/{workflow_id}/logs. Needs a node on this machine (`p2pwf up`); "
    "parse_workflow_tags does not."
)
STATUSES: Final = [status.value for status in WorkflowStatus]


@attrs.frozen
class ToolSpec:
    """One tool: its title and description, the schemas of its arguments and of its answer, and what it may change."""

    title: str
    about: str
    takes: Schema
    gives: Schema
    reads_only: bool = False
    destroys: bool = False
    again: bool = False
    """Whether a second call with the same arguments changes nothing more."""


def _text(about: str) -> Schema:
    return {"type": "string", "minLength": 1, "description": about}


def _maybe(kind: str, about: str, **more: Any) -> Schema:  # noqa: ANN401 - JSON
    """Something that may be left out, or be null."""
    return {"type": [kind, "null"], "default": None, "description": about, **more}


def _takes(*needed: str, **fields: Schema) -> Schema:
    return {"type": "object", "properties": fields, "required": list(needed), "additionalProperties": False}


def _gives(**fields: Schema) -> Schema:
    """An answer that has all of these fields, or says what went wrong."""
    return {
        "type": "object",
        "properties": {
            "success": {"type": "boolean"},
            "error": {"type": ["string", "null"], "description": "What went wrong."},
            "hint": {"type": ["string", "null"], "description": "What to do about an error."},
            "code": {"type": "string", "description": "The kind of error, one word."},
            **fields,
        },
        "required": ["success"],
        "anyOf": [
            {"properties": {"success": {"const": True}}, "required": list(fields)},
            {"properties": {"success": {"const": False}}, "required": ["error", "hint", "code"]},
        ],
    }


TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
OBJECT: Final[Schema] = {"type": "object"}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
MAYBE_TEXT: Final[Schema] = {"type": ["string", "null"]}
TIME: Final[Schema] = {"type": ["number", "null"], "description": "Seconds since 1970."}
STATUS: Final[Schema] = {"type": "string", "enum": STATUSES}
FILE: Final = _text("Path of the workflow file on this machine; best an absolute one.")
WORKFLOW_ID: Final = _text("The id that submit_p2p_workflow gave, or a unique beginning or end of it.")
WORKFLOW: Final[dict[str, Schema]] = {
    "workflow_id": TEXT,
    "name": MAYBE_TEXT,
    "status": STATUS,
    "priority": {"type": "number"},
    "tags": TEXTS,
    "assigned_peer": {**MAYBE_TEXT, "description": "The peer that has its first job."},
    "inputs": OBJECT,
    "result": {"description": "Per job its result and outputs, once it has ended."},
    "error": {**MAYBE_TEXT, "description": "Why it failed."},
    "created_at": TIME,
    "started_at": TIME,
    "completed_at": TIME,
}
ROWS: Final[dict[str, Schema]] = {
    "count": {**COUNT, "description": "How many there are in all."},
    "workflows": {"type": "array", "items": {"type": "object", "properties": WORKFLOW, "required": ["workflow_id"]}},
    "left_out": {**COUNT, "description": "How many of the oldest are not listed here."},
}

SPECS: Final[dict[str, ToolSpec]] = {
    "submit_p2p_workflow": ToolSpec(
        "Submit a workflow",
        "Submit a GitHub Actions workflow file for the peers to run, with the source tree around it. The workflow, one "
        "of its jobs or their labels must carry the tag p2p-workflow or offline-workflow.",
        _takes(
            "workflow_file",
            workflow_file=FILE,
            name=_maybe("string", "A name for this run; by default the workflow's."),
            inputs=_maybe("object", "Inputs that the workflow declares, by name."),
            priority=_maybe(
                "number", "1.0 critical, 2.0 high, 3.0 normal (the default), 4.0 low, 5.0 background; lower first."
            ),
        ),
        _gives(workflow_id=TEXT, status=STATUS, message=TEXT),
    ),
    "assign_p2p_workflows": ToolSpec(
        "Assign workflows",
        "Look again at every workflow that no peer has, and give those to peers that can be given. Nodes do so by "
        "themselves whenever something changes.",
        _takes(),
        _gives(assigned_count=COUNT, workflow_ids=TEXTS, message=TEXT),
        again=True,
    ),
    "get_p2p_workflow_status": ToolSpec(
        "Status of a workflow",
        "Look at one workflow: its status, who has it, its result or why it failed.",
        _takes("workflow_id", workflow_id=WORKFLOW_ID),
        _gives(**WORKFLOW),
        reads_only=True,
    ),
    "list_p2p_workflows": ToolSpec(
        "List workflows",
        "List workflows in order of submission; of very many the newest.",
        _takes(
            status=_maybe("string", "Only those of this status.", enum=[*STATUSES, None]),
            peer_id=_maybe("string", "Only those of which this peer has a job: its id, or its name."),
        ),
        _gives(**ROWS, filters=OBJECT),
        reads_only=True,
    ),
    "update_p2p_workflow_status": ToolSpec(
        "Change a workflow's status",
        "Cancel a workflow (status cancelled). Any other status follows from the workflow's jobs and is refused, "
        "unless this node's jobs are run from outside.",
        _takes(
            "workflow_id",
            "status",
            workflow_id=WORKFLOW_ID,
            status={**STATUS, "description": "The status that it is to have."},
            result=_maybe("object", "What it came to, with the status completed."),
            error=_maybe("string", "Why it failed, with the status failed."),
        ),
        _gives(workflow_id=TEXT, new_status=STATUS, message=TEXT),
        destroys=True,
    ),
    "add_p2p_peer": ToolSpec(
        "Admit a peer",
        "Admit a peer to this node's network: from then on it may run jobs. It must be one that the user trusts.",
        _takes("peer_id", peer_id=_text("The peer's libp2p id (12D3Koo…), as `p2pwf status` shows it there.")),
        _gives(peer_id=TEXT, message=TEXT),
        again=True,
    ),
    "remove_p2p_peer": ToolSpec(
        "Remove a peer",
        "Remove a peer from the network: it runs nothing any more, and the workflows that it submitted are cancelled.",
        _takes("peer_id", peer_id=_text("The peer's id, or its name.")),
        _gives(peer_id=TEXT, message=TEXT),
        destroys=True,
    ),
    "get_p2p_stats": ToolSpec(
        "Figures of this node",
        "Count workflows by status, peers, what waits, and the height of the Merkle clock.",
        _takes(),
        _gives(
            peer_id=TEXT,
            total_workflows=COUNT,
            queue_size={**COUNT, "description": "Jobs that wait for a slot of this node."},
            peer_count={**COUNT, "description": "Members of the network, this node among them."},
            merkle_clock_height=COUNT,
            status_counts={"type": "object", "additionalProperties": COUNT},
            my_workflows={**COUNT, "description": "Workflows of which this node has a job that has not ended."},
        ),
        reads_only=True,
    ),
    "parse_workflow_tags": ToolSpec(
        "Tags of a workflow file",
        "Check a workflow file, and see whether it is tagged for peers. Needs no node.",
        _takes("workflow_file", workflow_file=FILE),
        _gives(
            workflow_file=TEXT,
            is_p2p={"type": "boolean", "description": "Whether submit_p2p_workflow takes it."},
            metadata={
                "type": "object",
                "properties": {"name": MAYBE_TEXT, "tags": TEXTS, "jobs": TEXTS, "triggers": TEXTS, "labels": TEXTS},
            },
        ),
        reads_only=True,
    ),
    "get_my_p2p_workflows": ToolSpec(
        "Workflows of this node",
        "List the workflows of which this node has a job, ended ones too; of very many the newest.",
        _takes(),
        _gives(**ROWS, peer_id=TEXT),
        reads_only=True,
    ),
}  # fmt: skip
"""The tools by name, in the order in which they are listed."""
