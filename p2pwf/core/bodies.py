"""The form of each event type's body: fields, types, bounds. Knows nothing of other events.

`FORMS` is the table; protocols/cddl/events.cddl says the same in CDDL, and a test holds the two together. A body has
exactly the fields of its form. Bounds are here so that whatever is stored has been counted once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, cast

from p2pwf.core.dagcbor import Value, size
from p2pwf.core.forms import (
    Form,
    boolean,
    has_form,
    integer,
    link,
    list_of,
    mapping,
    number,
    of_form,
    one_of,
    optional,
    peer,
    set_of,
    text,
)

MAX_PLAN: Final = 256 * 1024
MAX_WORKFLOW: Final = 256 * 1024
MAX_PAYLOAD: Final = 96 * 1024
MAX_OUTPUTS: Final = 64 * 1024
"""Bytes of the outputs of one job, keys and values in UTF-8."""
MAX_NAME: Final = 256
MAX_TEXT: Final = 4096
MAX_LABELS: Final = 64
MAX_SLOTS: Final = 4096
MAX_LEGS: Final = 4096
"""Job instances of one run, a job whose legs are not known yet counting as MAX_MATRIX."""
MAX_MATRIX: Final = 256
MAX_JOBS: Final = 1024
"""Jobs of one run: what is looked at with every step stays small."""
MAX_PEERS: Final = 4096
MAX_ACTIONS: Final = 256
MAX_SUPERSEDED: Final = 64
MAX_ARTIFACTS: Final = 256
MAX_CACHES: Final = 64
"""Of one job."""
MAX_SIZE: Final = 2**53
"""Bytes of an artifact or a cache, as far as form goes; what a node keeps is its own to bound."""
MAX_ATTEMPTS: Final = 8
MAX_CARRIED: Final = 128 * 1024
"""Bytes of what a rerun carries over, so that a submission fits a frame whatever the rest of it takes."""
MAX_RERUNS: Final = 10_000
MAX_CRONS: Final = 16
"""Ways in which one schedule may come due."""
MAX_VALUE: Final = 48 * 1024
"""Bytes of the value of one secret or variable, in UTF-8: GitHub's bound."""
SEALED_OVER: Final = 24 + 256 + 16
"""Bytes that a sealed value may have more than the value: its nonce, its padding, its tag."""
BOX: Final = 80
"""Bytes of a sealed box around a key of 32."""
MAX_BOXES: Final = 1024
"""Boxes that one secret.seal adds: for a new member, of all secrets that a network may be expected to have."""
MAX_SUBMITTERS: Final = 256
SMALL: Final = 4 * MAX_TEXT
"""Bytes of a leg's matrix: the least of the bounds on maps."""
_SIZED: Final = ("run.submit", "schedule.add")
_SIZES: Final = {"plan": MAX_PLAN, "payload": MAX_PAYLOAD, "inputs": MAX_PAYLOAD, "vars": MAX_PAYLOAD}

ROLES: Final = ("admin", "run", "submit")
CONCLUSIONS: Final = ("success", "failure", "cancelled", "skipped")


def outputs_size(outputs: Mapping[str, str]) -> int:
    """Bytes that a job's outputs count against MAX_OUTPUTS: keys and values in UTF-8."""
    texts = (text for pair in outputs.items() for text in pair)
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _outputs(value: Value) -> bool:
    if type(value) is not dict or not all(type(item) is str for item in value.values()):
        return False
    return not value or outputs_size(cast("dict[str, str]", value)) <= MAX_OUTPUTS


def has_sizes(kind: str, body: Mapping[str, Value]) -> bool:
    """Whether the maps in a body that has its form take no more bytes than they may. None does in a block that is no
    larger than SMALL."""
    if any(size(body[name]) > limit for name, limit in _SIZES.items() if kind in _SIZED and name in body):
        return False
    expands: list[dict[str, Value]] = []
    if kind == "job.expand":
        expands = [cast("dict[str, Value]", body)]
    elif kind == "run.submit":
        plan, rerun = cast("dict[str, Value]", body["plan"]), cast("dict[str, Value] | None", body["rerun"])
        expands = [*cast("list[dict[str, Value]]", plan["jobs"])]
        if rerun is not None:
            expands += cast("list[dict[str, Value]]", rerun["expands"])
    legs = [leg for one in expands for leg in cast("list[dict[str, Value]]", one["legs"] or ())]
    return all(leg["matrix"] is None or size(leg["matrix"]) <= SMALL for leg in legs)


_name = text(MAX_NAME, 1)
_labels = set_of(text(MAX_NAME, 1), MAX_LABELS)
_slots = integer(0, MAX_SLOTS)
_index = integer(0, MAX_LEGS)
_attempt = integer(1, MAX_ATTEMPTS)
_finishes = list_of(link, MAX_LEGS)
_peers = set_of(peer, MAX_PEERS)

GROUP: Final[Form] = {
    "group": text(MAX_TEXT, 1),
    "cancel_in_progress": boolean,
    "queue": one_of("single", "max"),
}
LEG: Final[Form] = {
    "name": text(1024, 1),
    "matrix": optional(mapping),
    "labels": _labels,
    "continue_on_error": boolean,
    "concurrency": optional(of_form(GROUP)),
}
ARTIFACT: Final[Form] = {"name": _name, "link": link, "size": integer(0, MAX_SIZE)}
CACHE: Final[Form] = {"key": text(MAX_TEXT, 1), "version": _name, "link": link, "size": integer(0, MAX_SIZE)}
ACTION: Final[Form] = {"sha": text(MAX_NAME), "source": link}
CARRIED: Final[Form] = {
    "job": _name,
    "leg": _index,
    "finish": link,
    "author": peer,
    "time": integer(0, MAX_SIZE),
    "conclusion": one_of(*CONCLUSIONS),
    "outcome": one_of(*CONCLUSIONS),
    "outputs": _outputs,
    "log": optional(link),
    "report": optional(link),
    "artifacts": list_of(of_form(ARTIFACT), MAX_ARTIFACTS),
}
CARRIED_EXPAND: Final[Form] = {
    "job": _name,
    "expand": link,
    "author": peer,
    "time": integer(0, MAX_SIZE),
    "legs": list_of(of_form(LEG), MAX_MATRIX),
    "conclusion": optional(one_of("failure", "cancelled", "skipped")),
}
RERUN: Final[Form] = {
    "run": link,
    "attempt": integer(2, MAX_RERUNS),
    "expands": list_of(of_form(CARRIED_EXPAND), MAX_JOBS),
    "carries": list_of(of_form(CARRIED), MAX_LEGS),
}
CRON: Final[Form] = {"cron": text(MAX_NAME, 1), "timezone": optional(_name)}
JOB: Final[Form] = {
    "id": _name,
    "needs": list_of(_name, MAX_LEGS),
    "legs": optional(list_of(of_form(LEG), MAX_MATRIX, 1)),
    "fail_fast": boolean,
    "max_parallel": integer(0, MAX_LEGS),
}


def _called(value: Value) -> bool:
    """The files of reusable workflows by path, with the bound of one workflow together."""
    if type(value) is not dict or not all(type(text) is str for text in value.values()):
        return False
    return not value or outputs_size(cast("dict[str, str]", value)) <= MAX_WORKFLOW


_action = of_form(ACTION)


def _actions(value: Value) -> bool:
    return type(value) is dict and len(value) <= MAX_ACTIONS and all(map(_action, value.values()))


_jobs = list_of(of_form(JOB), MAX_JOBS, 1)


def _plan(value: Value) -> bool:
    """A plan within its bounds but for its bytes: known needs, no cycle, not too many legs."""
    if type(value) is not dict or value.keys() != {"jobs"} or not _jobs(value["jobs"]):
        return False
    jobs = cast("list[dict[str, Value]]", value["jobs"])
    needs = {cast(str, job["id"]): cast("list[str]", job["needs"]) for job in jobs}
    legs = sum(MAX_MATRIX if job["legs"] is None else len(cast("list[Value]", job["legs"])) for job in jobs)
    return len(needs) == len(jobs) and legs <= MAX_LEGS and (not any(needs.values()) or _acyclic(needs))


def _acyclic(needs: Mapping[str, list[str]]) -> bool:
    """Whether every need is a job and none waits for itself (Kahn's algorithm)."""
    missing = {name: len(wanted) for name, wanted in needs.items()}
    dependents: dict[str, list[str]] = {}
    for name, wanted in needs.items():
        for need in wanted:
            if need not in needs:
                return False
            dependents.setdefault(need, []).append(name)
    ready = [name for name, number in missing.items() if number == 0]
    done = 0
    while ready:
        done += 1
        for name in dependents.get(ready.pop(), ()):
            missing[name] -= 1
            if missing[name] == 0:
                ready.append(name)
    return done == len(needs)


def _rerun(value: Value) -> bool:
    """What a rerun names and carries over, with the bound of all together."""
    return type(value) is dict and has_form(value, RERUN) and size(value) <= MAX_CARRIED


SETTING: Final = re.compile("(?!GITHUB_)[A-Z_][A-Z0-9_]{0,255}")
"""Names of secrets and variables: GitHub's, which are the same in any case, in upper case."""


def _setting(value: Value) -> bool:
    return type(value) is str and SETTING.fullmatch(value) is not None


def _sealed(value: Value) -> bool:
    return type(value) is bytes and SEALED_OVER <= len(value) <= MAX_VALUE + SEALED_OVER


def _box(value: Value) -> bool:
    return type(value) is bytes and len(value) == BOX


def _boxes(value: Value) -> bool:
    """For each peer its box, at least one."""
    return type(value) is dict and 1 <= len(value) <= MAX_PEERS and all(peer(p) and _box(b) for p, b in value.items())


def _value(value: Value) -> bool:
    return type(value) is str and len(value.encode("utf-8", "surrogatepass")) <= MAX_VALUE


_PLACE: Form = {"name": _setting, "environment": optional(_name)}
_ATTEMPT_OF: Form = {"run": link, "job": _name, "leg": _index, "attempt": _attempt}

FORMS: Final[Mapping[str, Form]] = {
    "net.genesis": {
        "name": _name,
        "nonce": lambda v: type(v) is bytes and len(v) == 16,
        "private": boolean,
        "founder": of_form({"name": _name, "labels": _labels, "slots": _slots}),
    },
    "member.add": {
        "peer": peer,
        "roles": set_of(one_of(*ROLES), len(ROLES), 1),
        "name": _name,
        "labels": _labels,
        "slots": _slots,
        "tip": optional(link),
    },
    "member.update": {"name": _name, "labels": _labels, "slots": _slots},
    "member.remove": {
        "peer": peer,
        "roles": set_of(one_of(*ROLES), len(ROLES), 1),
        "keep_runs": boolean,
    },
    "member.fork": {"first": link, "second": link},
    "run.submit": {
        "name": _name,
        "title": text(MAX_TEXT),
        "workflow": text(MAX_WORKFLOW, 1),
        "path": text(MAX_TEXT),
        "plan": _plan,
        "event": _name,
        "payload": mapping,
        "ref": text(MAX_TEXT),
        "sha": text(MAX_NAME),
        "repository": text(MAX_TEXT),
        "actor": text(MAX_NAME),
        "inputs": mapping,
        "vars": mapping,
        "tags": set_of(_name, MAX_LABELS),
        "priority": number,
        "source": optional(link),
        "called": _called,
        "actions": _actions,
        "concurrency": optional(of_form({**GROUP, "supersedes": list_of(link, MAX_SUPERSEDED)})),
        "pins": _labels,
        "rerun": optional(_rerun),
        "schedule": optional(
            of_form({"schedule": link, "tick": integer(0, MAX_SIZE), "cron": of_form(CRON)}),
        ),
        "absent": _peers,
        "key": optional(_name),
    },
    "run.cancel": {"run": link},
    "run.priority": {"run": link, "priority": number},
    "run.note": {"run": link},
    "run.end": {"run": link, "conclusion": one_of(*CONCLUSIONS), "finishes": _finishes},
    "job.expand": {
        "run": link,
        "job": _name,
        "uses": _finishes,
        "legs": list_of(of_form(LEG), MAX_MATRIX),
        "conclusion": optional(one_of("failure", "cancelled", "skipped")),
        "error": optional(text(MAX_TEXT)),
    },
    "job.start": {**_ATTEMPT_OF, "uses": _finishes},
    "job.finish": {
        **_ATTEMPT_OF,
        "uses": _finishes,
        "conclusion": one_of(*CONCLUSIONS),
        "outcome": one_of(*CONCLUSIONS),
        "outputs": _outputs,
        "log": optional(link),
        "report": optional(link),
        "artifacts": list_of(of_form(ARTIFACT), MAX_ARTIFACTS),
        "caches": list_of(of_form(CACHE), MAX_CACHES),
        "error": optional(text(MAX_TEXT)),
    },
    "job.refuse": {**_ATTEMPT_OF, "reason": text(MAX_TEXT)},
    "job.reassign": {**_ATTEMPT_OF, "owner": peer, "absent": _peers, "reason": text(MAX_NAME)},
    "job.lost": {**_ATTEMPT_OF},
    "schedule.add": {
        "name": _name,
        "crons": list_of(of_form(CRON), MAX_CRONS, 1),
        "workflow": text(MAX_WORKFLOW, 1),
        "path": text(MAX_TEXT),
        "ref": text(MAX_TEXT),
        "sha": text(MAX_NAME),
        "repository": text(MAX_TEXT),
        "actor": text(MAX_NAME),
        "vars": mapping,
        "priority": number,
        "source": optional(link),
        "called": _called,
        "actions": _actions,
        "pins": _labels,
    },
    "schedule.remove": {"schedule": link},
    "secret.set": {**_PLACE, "value": _sealed, "boxes": _boxes, "submitters": set_of(peer, MAX_SUBMITTERS)},
    "secret.seal": {"boxes": list_of(of_form({"secret": link, "peer": peer, "box": _box}), MAX_BOXES, 1)},
    "secret.remove": _PLACE,
    "var.set": {**_PLACE, "value": _value},
    "var.remove": _PLACE,
}

RUN_TYPES: Final = frozenset(name for name in FORMS if name.startswith(("run.", "job.")) and name != "run.submit")
MEMBERSHIP_TYPES: Final = frozenset(("net.genesis", "member.add", "member.update", "member.remove", "member.fork"))
SETTING_TYPES: Final = frozenset(name for name in FORMS if name.startswith(("secret.", "var.")))
ROLE_FOR: Final[Mapping[str, str]] = {
    "member.add": "admin",
    "member.remove": "admin",
    "run.submit": "submit",
    "schedule.add": "submit",
    **dict.fromkeys(("secret.set", "secret.seal", "secret.remove", "var.set", "var.remove"), "admin"),
    "job.expand": "run",
    "job.start": "run",
    "job.finish": "run",
    "job.refuse": "run",
    "job.reassign": "run",
    "job.lost": "run",
    "run.end": "run",
}
"""The role that an author must hold at its own frontier; a type that is not listed asks for membership alone."""
