"""The keys of a workflow file: what may stand under each, and which contexts its expressions may use. Tables only.

Source: the published workflow schema of the open runner and of the language services (both 2026; where they differ,
the newer keys are taken in), and our one extension, `labels`. GitHub's rule: contexts add up from the outside in.
"""

from __future__ import annotations

from typing import Final

from p2pwf.workflow.events import ON_RULE
from p2pwf.workflow.expr.parser import MANY
from p2pwf.workflow.schema import (
    Anything,
    Boolean,
    Later,
    ListOf,
    MapOf,
    Null,
    Number,
    OneOf,
    Rule,
    Scope,
    Text,
)


def _scope(names: str) -> Scope:
    return Scope(frozenset(names.upper().split()))


RUN: Final = _scope("github inputs vars")
SECRETS: Final = _scope("secrets")
NEEDS: Final = RUN | _scope("needs")
STRATEGY: Final = NEEDS | _scope("strategy matrix")
RUNNER: Final = STRATEGY | _scope("steps job runner env")
HASH_FILES: Final = Scope(frozenset(), {"HASHFILES": (1, MANY)})
STEP: Final = RUNNER | SECRETS | HASH_FILES
JOB_STATUS: Final = Scope(
    frozenset(), {"ALWAYS": (0, 0), "CANCELLED": (0, 0), "FAILURE": (0, MANY), "SUCCESS": (0, MANY)}
)
STEP_STATUS: Final = Scope(frozenset(), dict.fromkeys(("ALWAYS", "CANCELLED", "FAILURE", "SUCCESS"), (0, 0)))


def _words(*lines: str) -> list[str]:
    return [word for line in lines for word in line.split()]


_WORD: Final = Text(non_empty=True)
_WORDS: Final = ListOf(_WORD)
_WORD_OR_WORDS: Final = OneOf((_WORD, _WORDS))
_SCALAR: Final = OneOf((Text(), Boolean(), Number()))


def _env(scope: Scope) -> Rule:
    return MapOf(other=Text(), scope=scope)


LABELS: Final[Rule] = _WORD_OR_WORDS
"""Our extension: tags of a workflow or of a job."""

_LEVELS: Final = Text(values=("read", "write", "none"))
_READ_OR_NONE: Final = Text(values=("read", "none"))
_WRITE_OR_NONE: Final = Text(values=("write", "none"))
_PERMISSIONS: Final = OneOf(
    (
        Text(values=("read-all", "write-all")),
        MapOf(
            {
                **dict.fromkeys(
                    _words(
                        "actions artifact-metadata attestations checks code-quality contents deployments discussions",
                        "drives issues packages pages pull-requests repository-projects security-events statuses",
                    ),
                    _LEVELS,
                ),
                "copilot-requests": _WRITE_OR_NONE,
                "id-token": _WRITE_OR_NONE,
                "models": _READ_OR_NONE,
                "vulnerability-alerts": _READ_OR_NONE,
            }
        ),
    )
)


def _defaults(scope: Scope) -> Rule:
    return MapOf({"run": MapOf({"shell": _WORD, "working-directory": _WORD}, scope=scope)})


def _concurrency(scope: Scope, group: Text) -> Rule:
    mapping = MapOf(
        {"group": _WORD, "cancel-in-progress": Boolean(), "queue": Text(values=("single", "max"))}, required=("group",)
    )
    return OneOf((group, mapping), scope)


_CREDENTIALS: Final = MapOf({"username": _WORD, "password": _WORD}, scope=_scope("github inputs vars secrets env"))
_CONTAINER_KEYS: Final[dict[str, Rule]] = {
    "image": Text(),
    "options": Text(),
    "env": MapOf(other=Text(RUNNER | SECRETS)),
    "ports": _WORDS,
    "volumes": _WORDS,
    "credentials": _CREDENTIALS,
}
_CONTAINER: Final = OneOf((Text(), MapOf(_CONTAINER_KEYS)), STRATEGY)
_SERVICE: Final = OneOf((Text(), MapOf({**_CONTAINER_KEYS, "entrypoint": Text(), "command": Text()})))

_STEP_HEAD: Final[dict[str, Rule]] = {
    "name": Text(STEP),
    "id": _WORD,
    "continue-on-error": Boolean(STEP),
}
_STEP_WORK: Final[dict[str, Rule]] = {
    **_STEP_HEAD,
    "if": Text(RUNNER | HASH_FILES | STEP_STATUS, condition=True),
    "timeout-minutes": Number(STEP),
    "env": _env(STEP),
    "background": Boolean(),
}
_STEP: Final[Rule] = OneOf(
    (
        MapOf({**_STEP_WORK, "run": Text(STEP), "working-directory": Text(STEP), "shell": _WORD}, required=("run",)),
        MapOf({**_STEP_WORK, "uses": _WORD, "with": _env(STEP)}, required=("uses",)),
        MapOf({**_STEP_HEAD, "wait": _WORD_OR_WORDS}, required=("wait",)),
        MapOf({**_STEP_HEAD, "wait-all": OneOf((Null(), Boolean()))}, required=("wait-all",)),
        MapOf({**_STEP_HEAD, "cancel": _WORD}, required=("cancel",)),
        MapOf({"parallel": ListOf(Later(lambda: _STEP))}, required=("parallel",)),
    )
)

_MATRIX_FILTER: Final = ListOf(MapOf(other=Anything()))
_MATRIX: Final = MapOf({"include": _MATRIX_FILTER, "exclude": _MATRIX_FILTER}, other=ListOf(Anything()))
_STRATEGY: Final = MapOf({"fail-fast": Boolean(), "max-parallel": Number(), "matrix": _MATRIX}, scope=NEEDS)

_JOB_COMMON: Final[dict[str, Rule]] = {
    "name": Text(STRATEGY),
    "needs": _WORD_OR_WORDS,
    "if": Text(NEEDS | JOB_STATUS, condition=True),
    "strategy": _STRATEGY,
    "permissions": _PERMISSIONS,
    "concurrency": _concurrency(STRATEGY, _WORD),
    "labels": LABELS,
}
_RUNS_ON: Final = OneOf((_WORD, _WORDS, MapOf({"group": _WORD, "labels": _WORD_OR_WORDS})), STRATEGY)
_SNAPSHOT: Final = OneOf(
    (
        _WORD,
        MapOf(
            {
                "image-name": _WORD,
                "if": Text(RUNNER | HASH_FILES | STEP_STATUS, condition=True),
                "version": _WORD,
            },
            required=("image-name",),
        ),
    ),
    STRATEGY,
)
_ENVIRONMENT: Final = OneOf(
    (Text(), MapOf({"name": Text(), "url": Text(RUNNER), "deployment": Boolean()}, required=("name",))), STRATEGY
)
_STEPS_JOB_KEYS: Final[dict[str, Rule]] = {
    **_JOB_COMMON,
    "runs-on": _RUNS_ON,
    "timeout-minutes": Number(STRATEGY),
    "cancel-timeout-minutes": Number(STRATEGY),
    "continue-on-error": Boolean(STRATEGY),
    "container": _CONTAINER,
    "services": MapOf(other=_SERVICE, scope=STRATEGY),
    "env": _env(STRATEGY | SECRETS),
    "environment": _ENVIRONMENT,
    "outputs": MapOf(other=Text(RUNNER | SECRETS)),
    "defaults": _defaults(STRATEGY | _scope("env")),
    "steps": ListOf(_STEP),
    "snapshot": _SNAPSHOT,
}
_CALL_JOB_KEYS: Final[dict[str, Rule]] = {
    **_JOB_COMMON,
    "uses": _WORD,
    "with": MapOf(other=OneOf(_SCALAR.options, STRATEGY)),
    "secrets": OneOf((Text(values=("inherit",)), MapOf(other=OneOf(_SCALAR.options, STRATEGY | SECRETS)))),
}


def _workflow(tagged: bool) -> Rule:
    required = () if tagged else ("runs-on",)
    job = OneOf((MapOf(_STEPS_JOB_KEYS, required=required), MapOf(_CALL_JOB_KEYS, required=("uses",))))
    if tagged:
        # Without runs-on nothing tells a job with steps from a call but `steps` and `uses` themselves.
        job = OneOf((MapOf(_STEPS_JOB_KEYS, required=("steps",)), MapOf(_CALL_JOB_KEYS, required=("uses",))))
    keys: dict[str, Rule] = {
        "name": Text(),
        "description": Text(),
        "run-name": Text(RUN),
        "on": OneOf((Null(), ON_RULE)) if tagged else ON_RULE,
        "labels": LABELS,
        "permissions": _PERMISSIONS,
        "env": _env(RUN | SECRETS),
        "defaults": _defaults(Scope()),
        "concurrency": _concurrency(RUN, Text()),
        "jobs": MapOf(other=job),
    }
    return MapOf(keys, required=("jobs",) if tagged else ("on", "jobs"))


WORKFLOW: Final = _workflow(tagged=False)
TAGGED_WORKFLOW: Final = _workflow(tagged=True)
"""The rule of a file with one of our tags: `on` and `runs-on` may be left out."""
