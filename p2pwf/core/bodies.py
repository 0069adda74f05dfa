"""The form of each event type's body: fields, types, bounds. Knows nothing of other events.

`FORMS` is the table; protocols/cddl/events.cddl says the same in CDDL, and a test holds the two together. A body has
exactly the fields of its form. Bounds are here so that whatever is stored has been counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Final, cast

from p2pwf.core.dagcbor import Value, size
from p2pwf.core.ids import Cid, public_key_of
from p2pwf.errors import UsageError

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
SMALL: Final = 4 * MAX_TEXT
"""Bytes of a leg's matrix: the least of the bounds on maps."""
_SIZED: Final = ("run.submit", "schedule.add")
_SIZES: Final = {"plan": MAX_PLAN, "payload": MAX_PAYLOAD, "inputs": MAX_PAYLOAD, "vars": MAX_PAYLOAD}

ROLES: Final = ("admin", "run", "submit")
CONCLUSIONS: Final = ("success", "failure", "cancelled", "skipped")

Check = Callable[[Value], bool]
Form = Mapping[str, Check]


def _text(limit: int, least: int = 0) -> Check:
    return lambda v: type(v) is str and least <= len(v) <= limit


def _integer(low: int, high: int) -> Check:
    return lambda v: type(v) is int and low <= v <= high


def _boolean(value: Value) -> bool:
    return type(value) is bool


def _link(value: Value) -> bool:
    return type(value) is Cid


def _number(value: Value) -> bool:
    return type(value) is float or type(value) is int


def _optional(check: Check) -> Check:
    return lambda v: v is None or check(v)


def _one_of(*choices: str) -> Check:
    return lambda v: v in choices


def _list_of(check: Check, limit: int, least: int = 0) -> Check:
    return lambda v: type(v) is list and least <= len(v) <= limit and (not v or all(map(check, v)))


def _set_of(check: Check, limit: int, least: int = 0) -> Check:
    entries = _list_of(check, limit, least)

    def strictly_rising(value: Value) -> bool:
        if not entries(value):
            return False
        items = cast("list[str]", value)
        return len(items) < 2 or all(a < b for a, b in pairwise(items))

    return strictly_rising


def _map(value: Value) -> bool:
    return type(value) is dict


def _peer(value: Value) -> bool:
    if type(value) is not str:
        return False
    try:
        public_key_of(value)
    except UsageError:
        return False
    return True


def outputs_size(outputs: Mapping[str, str]) -> int:
    """Bytes that a job's outputs count against MAX_OUTPUTS: keys and values in UTF-8."""
    texts = (text for pair in outputs.items() for text in pair)
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _outputs(value: Value) -> bool:
    if type(value) is not dict or not all(type(item) is str for item in value.values()):
        return False
    return not value or outputs_size(cast("dict[str, str]", value)) <= MAX_OUTPUTS


def _of_form(form: Form) -> Check:
    return lambda v: type(v) is dict and has_form(v, form)


def has_form(body: Mapping[str, Value], form: Form) -> bool:
    """Whether `body` has exactly the fields of `form`, each as it must be."""
    if body.keys() != form.keys():
        return False
    for name, check in form.items():  # noqa: SIM110 - a generator would take as long as the checks
        if not check(body[name]):
            return False
    return True


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


_name = _text(MAX_NAME, 1)
_labels = _set_of(_text(MAX_NAME, 1), MAX_LABELS)
_slots = _integer(0, MAX_SLOTS)
_index = _integer(0, MAX_LEGS)
_attempt = _integer(1, MAX_ATTEMPTS)
_finishes = _list_of(_link, MAX_LEGS)
_peers = _set_of(_peer, MAX_PEERS)

GROUP: Final[Form] = {
    "group": _text(MAX_TEXT, 1),
    "cancel_in_progress": _boolean,
    "queue": _one_of("single", "max"),
}
LEG: Final[Form] = {
    "name": _text(1024, 1),
    "matrix": _optional(_map),
    "labels": _labels,
    "continue_on_error": _boolean,
    "concurrency": _optional(_of_form(GROUP)),
}
ARTIFACT: Final[Form] = {"name": _name, "link": _link, "size": _integer(0, MAX_SIZE)}
CACHE: Final[Form] = {"key": _text(MAX_TEXT, 1), "version": _name, "link": _link, "size": _integer(0, MAX_SIZE)}
ACTION: Final[Form] = {"sha": _text(MAX_NAME), "source": _link}
CARRIED: Final[Form] = {
    "job": _name,
    "leg": _index,
    "finish": _link,
    "author": _peer,
    "time": _integer(0, MAX_SIZE),
    "conclusion": _one_of(*CONCLUSIONS),
    "outcome": _one_of(*CONCLUSIONS),
    "outputs": _outputs,
    "log": _optional(_link),
    "report": _optional(_link),
    "artifacts": _list_of(_of_form(ARTIFACT), MAX_ARTIFACTS),
}
CARRIED_EXPAND: Final[Form] = {
    "job": _name,
    "expand": _link,
    "author": _peer,
    "time": _integer(0, MAX_SIZE),
    "legs": _list_of(_of_form(LEG), MAX_MATRIX),
    "conclusion": _optional(_one_of("failure", "cancelled", "skipped")),
}
RERUN: Final[Form] = {
    "run": _link,
    "attempt": _integer(2, MAX_RERUNS),
    "expands": _list_of(_of_form(CARRIED_EXPAND), MAX_JOBS),
    "carries": _list_of(_of_form(CARRIED), MAX_LEGS),
}
CRON: Final[Form] = {"cron": _text(MAX_NAME, 1), "timezone": _optional(_name)}
JOB: Final[Form] = {
    "id": _name,
    "needs": _list_of(_name, MAX_LEGS),
    "legs": _optional(_list_of(_of_form(LEG), MAX_MATRIX, 1)),
    "fail_fast": _boolean,
    "max_parallel": _integer(0, MAX_LEGS),
}


def _called(value: Value) -> bool:
    """The files of reusable workflows by path, with the bound of one workflow together."""
    if type(value) is not dict or not all(type(text) is str for text in value.values()):
        return False
    return not value or outputs_size(cast("dict[str, str]", value)) <= MAX_WORKFLOW


_action = _of_form(ACTION)


def _actions(value: Value) -> bool:
    return type(value) is dict and len(value) <= MAX_ACTIONS and all(map(_action, value.values()))


_jobs = _list_of(_of_form(JOB), MAX_JOBS, 1)


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


_ATTEMPT_OF: Form = {"run": _link, "job": _name, "leg": _index, "attempt": _attempt}

FORMS: Final[Mapping[str, Form]] = {
    "net.genesis": {
        "name": _name,
        "nonce": lambda v: type(v) is bytes and len(v) == 16,
        "private": _boolean,
        "founder": _of_form({"name": _name, "labels": _labels, "slots": _slots}),
    },
    "member.add": {
        "peer": _peer,
        "roles": _set_of(_one_of(*ROLES), len(ROLES), 1),
        "name": _name,
        "labels": _labels,
        "slots": _slots,
        "tip": _optional(_link),
    },
    "member.update": {"name": _name, "labels": _labels, "slots": _slots},
    "member.remove": {
        "peer": _peer,
        "roles": _set_of(_one_of(*ROLES), len(ROLES), 1),
        "keep_runs": _boolean,
    },
    "member.fork": {"first": _link, "second": _link},
    "run.submit": {
        "name": _name,
        "title": _text(MAX_TEXT),
        "workflow": _text(MAX_WORKFLOW, 1),
        "path": _text(MAX_TEXT),
        "plan": _plan,
        "event": _name,
        "payload": _map,
        "ref": _text(MAX_TEXT),
        "sha": _text(MAX_NAME),
        "repository": _text(MAX_TEXT),
        "actor": _text(MAX_NAME),
        "inputs": _map,
        "vars": _map,
        "tags": _set_of(_name, MAX_LABELS),
        "priority": _number,
        "source": _optional(_link),
        "called": _called,
        "actions": _actions,
        "concurrency": _optional(_of_form({**GROUP, "supersedes": _list_of(_link, MAX_SUPERSEDED)})),
        "pins": _labels,
        "rerun": _optional(_rerun),
        "schedule": _optional(
            _of_form({"schedule": _link, "tick": _integer(0, MAX_SIZE), "cron": _of_form(CRON)}),
        ),
        "absent": _peers,
        "key": _optional(_name),
    },
    "run.cancel": {"run": _link},
    "run.priority": {"run": _link, "priority": _number},
    "run.note": {"run": _link},
    "run.end": {"run": _link, "conclusion": _one_of(*CONCLUSIONS), "finishes": _finishes},
    "job.expand": {
        "run": _link,
        "job": _name,
        "uses": _finishes,
        "legs": _list_of(_of_form(LEG), MAX_MATRIX),
        "conclusion": _optional(_one_of("failure", "cancelled", "skipped")),
        "error": _optional(_text(MAX_TEXT)),
    },
    "job.start": {**_ATTEMPT_OF, "uses": _finishes},
    "job.finish": {
        **_ATTEMPT_OF,
        "uses": _finishes,
        "conclusion": _one_of(*CONCLUSIONS),
        "outcome": _one_of(*CONCLUSIONS),
        "outputs": _outputs,
        "log": _optional(_link),
        "report": _optional(_link),
        "artifacts": _list_of(_of_form(ARTIFACT), MAX_ARTIFACTS),
        "caches": _list_of(_of_form(CACHE), MAX_CACHES),
        "error": _optional(_text(MAX_TEXT)),
    },
    "job.refuse": {**_ATTEMPT_OF, "reason": _text(MAX_TEXT)},
    "job.reassign": {**_ATTEMPT_OF, "owner": _peer, "absent": _peers, "reason": _text(MAX_NAME)},
    "job.lost": {**_ATTEMPT_OF},
    "schedule.add": {
        "name": _name,
        "crons": _list_of(_of_form(CRON), MAX_CRONS, 1),
        "workflow": _text(MAX_WORKFLOW, 1),
        "path": _text(MAX_TEXT),
        "ref": _text(MAX_TEXT),
        "sha": _text(MAX_NAME),
        "repository": _text(MAX_TEXT),
        "actor": _text(MAX_NAME),
        "vars": _map,
        "priority": _number,
        "source": _optional(_link),
        "called": _called,
        "actions": _actions,
        "pins": _labels,
    },
    "schedule.remove": {"schedule": _link},
}

RUN_TYPES: Final = frozenset(name for name in FORMS if name.startswith(("run.", "job.")) and name != "run.submit")
MEMBERSHIP_TYPES: Final = frozenset(("net.genesis", "member.add", "member.update", "member.remove", "member.fork"))
ROLE_FOR: Final[Mapping[str, str]] = {
    "member.add": "admin",
    "member.remove": "admin",
    "run.submit": "submit",
    "schedule.add": "submit",
    "job.expand": "run",
    "job.start": "run",
    "job.finish": "run",
    "job.refuse": "run",
    "job.reassign": "run",
    "job.lost": "run",
    "run.end": "run",
}
"""The role that an author must hold at its own frontier; a type that is not listed asks for membership alone."""
