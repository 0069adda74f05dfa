"""The control API as an OpenAPI 3.1 document: what `GET /v1/openapi.json` gives. A test holds routes.py to it."""

from __future__ import annotations

from typing import Any, Final

import attrs

from p2pwf import __version__
from p2pwf.config import MAX_HISTORY_DAYS

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NEEDED: Final[Schema] = {"type": "string", "minLength": 1}
"""A text that has to say something."""
FLAG: Final[Schema] = {"type": "boolean", "default": False}
NUMBER: Final[Schema] = {"type": "number"}
OBJECT: Final[Schema] = {"type": "object"}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
STATUS: Final[Schema] = {"enum": ["pending", "assigned", "in_progress", "completed", "failed", "cancelled"]}


def _object(**properties: Schema) -> Schema:
    """An object with these properties at least."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _fields(**properties: Schema) -> Schema:
    """An object with these properties and no others."""
    return {**_object(**properties), "additionalProperties": False}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _or_null(of: Schema) -> Schema:
    return {"anyOf": [of, {"type": "null"}]}


@attrs.frozen(slots=True)
class Operation:
    """One route: its answer is one JSON value, or with `stream` a JSON line for each."""

    method: str
    path: str
    name: str
    summary: str
    answer: Schema
    query: dict[str, Schema] = attrs.field(factory=dict)
    body: Schema | None = None
    stream: bool = False


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_CHECKPOINT: Final = _object(
    checkpoint=_or_null(TEXT), applied=_or_null(TEXT), missing=TEXTS, pruned_runs=NUMBER,
)  # fmt: skip
_JOB: Final = _object(
    job=TEXT, name=TEXT, matrix=_or_null(OBJECT), index=NUMBER, needs=TEXTS, status=TEXT, conclusion=_or_null(TEXT),
    owner=_or_null(TEXT), attempt=NUMBER, outputs=OBJECT, error=_or_null(TEXT), log=_or_null(TEXT),
    started_at=_or_null(NUMBER), completed_at=_or_null(NUMBER),
)  # fmt: skip
_SUMMARY: Final = _object(
    workflow_id=TEXT, name=TEXT, status=STATUS, conclusion=_or_null(TEXT), priority=NUMBER, tags=TEXTS,
    submitted_by=TEXT, assigned_peer=_or_null(TEXT), result=_or_null(OBJECT), error=_or_null(TEXT),
    created_at=NUMBER, started_at=_or_null(NUMBER), completed_at=_or_null(NUMBER),
)  # fmt: skip
_PEER: Final = _object(
    peer_id=TEXT, name=_or_null(TEXT), roles=TEXTS, labels=TEXTS, slots=_or_null(NUMBER), connected={"type": "boolean"},
    last_seen=_or_null(NUMBER), latency=_or_null(NUMBER), offences=NUMBER, banned_for=_or_null(NUMBER),
)  # fmt: skip
_PEER["properties"].update(  # of members, not of who asks to be one
    self={"type": "boolean"}, load=_or_null(NUMBER), version=_or_null(TEXT), addrs=TEXTS, clock_ahead=_or_null(NUMBER)
)
_REASONS: Final = ("slots", "labels", "absent", "policy", "attempted")
_CANDIDATE: Final = _object(
    peer_id=TEXT, distance=_or_null(NUMBER), order=_or_null(NUMBER),
    passed_over={"enum": [None, *_REASONS]},
)  # fmt: skip
_ERROR: Final = _object(error=_object(code=TEXT, message=TEXT, hint=_or_null(TEXT)))
_INFO: Final = _object(
    peer_id=TEXT, name=_or_null(TEXT), addrs=TEXTS, network=TEXT, control=TEXT, version=TEXT, started_at=NUMBER,
    ready={"type": "boolean"}, removed={"type": "boolean"},
)  # fmt: skip
SCHEMAS: Final[dict[str, Schema]] = {
    "Info": _INFO,
    "Peer": _PEER,
    "Summary": _SUMMARY,
    "Run": {"allOf": [_ref("Summary"), _object(jobs=_list(_ref("Job")))]},
    "Job": _JOB,
    "Submission": {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {
            "file": {**NEEDED, "pattern": "^/", "description": "absolute path, read by the node"},
            "name": TEXT,
            "priority": {**NUMBER, "default": 3.0},
            "event": TEXT,
            "payload": OBJECT,
            "inputs": OBJECT,
            "peer": {**TEXT, "description": "the peer, by id or name, that all jobs are to run on"},
            "labels": {**TEXTS, "description": "what every job asks of its peer beside its own runs-on"},
            "source_dir": {**TEXT, "pattern": "^/", "description": "absolute path"},
            "no_source": FLAG,
            "force": {**FLAG, "description": "also a workflow without a tag"},
            "key": {**TEXT, "description": "of two submissions with one key the first is run"},
        },
    },
    "Submitted": _object(
        workflow_id=TEXT, status=STATUS, copies=NUMBER, name=TEXT, left_out=TEXTS, warnings=_list(OBJECT)
    ),
    "Explanation": _object(
        workflow_id=TEXT, job=TEXT, matrix=_or_null(OBJECT), attempt=NUMBER, clock_head=TEXT, task=TEXT, combined=TEXT,
        candidates=_list(_CANDIDATE), owner=_or_null(TEXT),
    ),
    "LogLine": _object(job=TEXT, name=TEXT, attempt=NUMBER, time=NUMBER, step=NUMBER, stream=TEXT, text=TEXT),
    "Error": _ERROR,
}  # fmt: skip

_PLACED: Final = _object(
    workflow_id=TEXT, job=TEXT, name=TEXT, owner=_or_null(TEXT), distance=_or_null(NUMBER),
    passed_over=_list(_object(peer_id=TEXT, reason={"enum": list(_REASONS)})),
)  # fmt: skip
_UPDATE: Final = {
    "type": "object", "additionalProperties": False,
    "properties": {"status": STATUS, "priority": NUMBER, "result": {}, "error": TEXT, "job": TEXT},
}  # fmt: skip
_SCHEDULE: Final = _object(
    schedule_id=TEXT, name=TEXT, path=TEXT, crons=_list(_object(cron=TEXT, timezone=_or_null(TEXT))), author=TEXT,
    priority=NUMBER, created_at=NUMBER, active=FLAG, next=_or_null(NUMBER), missed=_list(NUMBER), error=_or_null(TEXT),
    last=_or_null(_object(tick=NUMBER, workflow_id=TEXT)),
)  # fmt: skip
_ARTIFACT: Final = _object(name=TEXT, size=NUMBER, job=TEXT, attempt=NUMBER, link=TEXT)
_PART: Final = {"oneOf": [
    _object(path=TEXT, mode={"enum": ["file", "program", "link"]}, size=NUMBER, target=_or_null(TEXT)),
    _object(data={**TEXT, "description": "base64"}),
]}  # fmt: skip
_REPORT: Final = _object(job=TEXT, name=TEXT, index=NUMBER, attempt=NUMBER, report=_or_null(OBJECT))
_CANCEL: Final = {
    "type": "object", "additionalProperties": False,
    "properties": {"force": {**FLAG, "description": "also what its `if` lets go on"}},
}  # fmt: skip
_RERUN: Final = {
    "type": "object", "additionalProperties": False,
    "properties": {"failed": {**FLAG, "description": "only what failed, and what needs that"}, "jobs": TEXTS},
}  # fmt: skip
_PAUSE: Final = {"type": "object", "additionalProperties": False, "required": ["on"], "properties": {"on": FLAG}}
_LEAVE: Final = {"type": "object", "additionalProperties": False, "properties": {"keep_runs": FLAG}}
_INVITE: Final = {
    "type": "object", "additionalProperties": False,
    "properties": {"ttl": {**NUMBER, "description": "seconds", "default": 86400}, "roles": TEXTS},
}  # fmt: skip
_ADD: Final = {
    "type": "object", "additionalProperties": False, "required": ["peer_id"],
    "properties": {"peer_id": NEEDED, "name": TEXT, "roles": TEXTS},
}  # fmt: skip

_PLACE: Final = _object(name=TEXT, environment=_or_null(TEXT))
_SET: Final = {"updated_at": NUMBER, "updated_by": TEXT}
_SECRET: Final = _object(
    name=TEXT, environment=_or_null(TEXT), **_SET, submitters=TEXTS, sealed_to=TEXTS, lacking=TEXTS, rotate=TEXTS
)  # fmt: skip
_VARIABLE: Final = _object(name=TEXT, environment=_or_null(TEXT), **_SET, value=TEXT)
_SET_SECRET: Final = {
    "type": "object", "additionalProperties": False, "required": ["name", "value"],
    "properties": {
        "name": NEEDED, "value": {**NEEDED, "writeOnly": True, "format": "password"}, "environment": TEXT,
        "submitters": {**TEXTS, "description": "peers, by id or name: only runs of these get it; none: all do"},
    },
}  # fmt: skip
_SET_VARIABLE: Final = {
    "type": "object", "additionalProperties": False, "required": ["name"],
    "properties": {"name": NEEDED, "value": TEXT, "environment": TEXT},
}  # fmt: skip

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation("GET", "/info", "info", "Who this node is", _ref("Info")),
    Operation("GET", "/status", "status", "How this node is", _ref("Info")),
    Operation("GET", "/stats", "stats", "Counts of runs, events, queues and parts", OBJECT),
    Operation("POST", "/shutdown", "shutdown", "Stop the node", _object(stopping={"type": "boolean"})),
    Operation("POST", "/pause", "pause", "Start no more jobs here, or go on",
              _object(paused=FLAG, running_jobs=NUMBER), body=_PAUSE),
    Operation("POST", "/policy/reload", "policy_reload", "Read the policy of this machine anew",
              _object(origin=TEXT, rules=_list(OBJECT))),
    Operation("POST", "/leave", "leave", "Leave the network, and stop", _object(peer_id=TEXT, removed=FLAG),
              body=_LEAVE),
    Operation("GET", "/openapi.json", "openapi", "This document", OBJECT),
    Operation("POST", "/invites", "invite", "Make a ticket that admits one peer",
              _object(ticket=TEXT, roles=TEXTS, expires=NUMBER, addrs=TEXTS), body=_INVITE),
    Operation("GET", "/peers", "peers", "The members, or who asks to be one", _list(_ref("Peer")), {"pending": FLAG}),
    Operation("POST", "/peers", "peer_add", "Admit a peer", _object(peer_id=TEXT), body=_ADD),
    Operation("DELETE", "/peers/{peer}", "peer_remove", "Remove a member",
              _object(peer_id=TEXT), {"keep_runs": FLAG}),
    Operation("POST", "/peers/{peer}/ping", "peer_ping", "One round trip to a member",
              _object(peer_id=TEXT, name=_or_null(TEXT), latency=NUMBER)),
    Operation("POST", "/runs", "submit", "Start a run", _ref("Submitted"), body=_ref("Submission")),
    Operation("GET", "/runs", "list_runs", "The runs, newest first, without their jobs", _list(_ref("Summary")),
              {"status": STATUS, "peer_id": TEXT}),
    Operation("POST", "/assign", "assign", "Look again at every job without an owner", _list(_PLACED)),
    Operation("GET", "/runs/{run}", "run_status", "One run with its jobs", _ref("Run")),
    Operation("PATCH", "/runs/{run}", "update", "Change a run", _ref("Run"), body=_UPDATE),
    Operation("POST", "/runs/{run}/cancel", "cancel", "Ask for a run to be cancelled", _object(workflow_id=TEXT),
              body=_CANCEL),
    Operation("POST", "/runs/{run}/rerun", "rerun", "Submit an ended run once more",
              _object(workflow_id=TEXT, status=STATUS, copies=NUMBER, rerun_of=TEXT), body=_RERUN),
    Operation("GET", "/runs/{run}/watch", "watch", "The run whenever it looks different, until it is final",
              _ref("Run"), stream=True),
    Operation("GET", "/runs/{run}/logs", "logs", "The log lines of a run", _ref("LogLine"),
              {"job": TEXT, "follow": FLAG}, stream=True),
    Operation("GET", "/runs/{run}/artifacts", "artifacts", "What the jobs of a run have left", _list(_ARTIFACT)),
    Operation("GET", "/runs/{run}/artifacts/{name}", "artifact_files", "The files of an artifact, with their bytes",
              _PART,
              stream=True),
    Operation("GET", "/runs/{run}/report", "reports", "What the steps of a run's jobs came to", _list(_REPORT)),
    Operation("GET", "/runs/{run}/explain", "explain", "Why a job is where it is", _ref("Explanation"),
              {"job": NEEDED}),
    Operation("POST", "/schedules", "schedule_add", "Have a workflow submitted whenever it is due", _SCHEDULE,
              body=_ref("Submission")),
    Operation("GET", "/schedules", "schedules", "The schedules that fire", _list(_SCHEDULE), {"all": FLAG}),
    Operation("DELETE", "/schedules/{schedule}", "schedule_remove", "End a schedule", _SCHEDULE),
    Operation("POST", "/secrets", "secret_set", "Seal a secret to all that run jobs", _SECRET, body=_SET_SECRET),
    Operation("GET", "/secrets", "secrets", "The secrets, without their values", _list(_SECRET)),
    Operation("DELETE", "/secrets/{name}", "secret_remove", "Remove a secret", _PLACE, {"environment": TEXT}),
    Operation("POST", "/variables", "variable_set", "Set a variable", _VARIABLE, body=_SET_VARIABLE),
    Operation("GET", "/variables", "variables", "The variables", _list(_VARIABLE)),
    Operation("DELETE", "/variables/{name}", "variable_remove", "Remove a variable", _PLACE, {"environment": TEXT}),
    Operation("GET", "/clock/heads", "clock_heads", "The heads of the Merkle clock",
              _list(_object(cid=TEXT, author=TEXT, seq=NUMBER, lamport=NUMBER))),
    Operation("GET", "/clock/log", "clock_log", "Every event, in an order that respects its parents",
              _object(cid=TEXT), {"raw": FLAG}, stream=True),
    Operation("GET", "/clock/verify", "clock_verify", "Check every event on disk anew",
              _object(ok={"type": "boolean"}, events=NUMBER, problems=_list(OBJECT))),
    Operation("POST", "/clock/checkpoint", "clock_checkpoint", "Write a checkpoint of runs that ended so long ago",
              _CHECKPOINT, body=_fields(days={"type": "number", "minimum": 0, "maximum": MAX_HISTORY_DAYS})),
    Operation("POST", "/clock/prune", "clock_prune", "Prune at once what may be, and say where that stands",
              _CHECKPOINT),
    Operation("POST", "/clock/import", "clock_import", "Take in an archive of this network's clock",
              _object(events=NUMBER, new=NUMBER, blobs=NUMBER), body=_fields(file={**NEEDED, "pattern": "^/"})),
)  # fmt: skip
NEEDED_QUERY: Final = {("explain", "job")}
"""Parameters of a query that must be there."""


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for one in OPERATIONS:
        paths.setdefault("/v1" + one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "p2pwf control API",
            "version": __version__,
            "description": "HTTP/1.1 on the Unix socket of a node. Streams are one JSON value a line.",
        },
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def _operation(one: Operation) -> dict[str, Any]:
    in_path = [part[1:-1] for part in one.path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in in_path]
    parameters += [
        {"name": name, "in": "query", "required": (one.name, name) in NEEDED_QUERY, "schema": schema}
        for name, schema in one.query.items()
    ]
    kind = "application/x-ndjson" if one.stream else "application/json"
    made: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "the answer", "content": {kind: {"schema": one.answer}}},
            "default": {"description": "an error", "content": {"application/json": {"schema": _ref("Error")}}},
        },
    }
    if one.body is not None:
        needed = "$ref" in one.body or "required" in one.body  # the one that is referred to needs a file
        made["requestBody"] = {"required": needed, "content": {"application/json": {"schema": one.body}}}
    return made
