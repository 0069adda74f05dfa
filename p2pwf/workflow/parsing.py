"""Parsing a workflow file: bytes in, a `Workflow` or the whole list of what is wrong with it out.

The order: YAML to nodes, tags, the schema (`language`), what a schema cannot say (`lint`), and only then the model.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Final

import attrs

from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow import language
from p2pwf.workflow.build import build_workflow
from p2pwf.workflow.diagnostics import Diagnostic, Findings, Place, errors_of
from p2pwf.workflow.effort import Effort, TooComplex
from p2pwf.workflow.lint import Linter
from p2pwf.workflow.model import Workflow
from p2pwf.workflow.nodes import MappingNode, Scalar
from p2pwf.workflow.rules import Checker
from p2pwf.workflow.tags import tags_of
from p2pwf.workflow.yaml import load

PARSED_KEPT: Final = 8
"""Files remembered."""
MANY_NODES: Final = 10_000
"""Objects made by reading a file from which on looking through them for garbage would be felt."""
MAX_KEPT: Final = 32 * 1024
"""Characters of a file that is remembered: its tree may weigh seventy times as much."""


@attrs.frozen(slots=True)
class Parsed:
    """What became of a file: the workflow, unless there are errors, and all diagnostics in file order."""

    path: str
    workflow: Workflow | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        """Whether the file checks; warnings do not count against it."""
        return self.workflow is not None

    def require(self) -> Workflow:
        """The workflow; raises InvalidWorkflow, which carries the diagnostics and names the first error."""
        if self.workflow is not None:
            return self.workflow
        errors = errors_of(self.diagnostics)
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        message = f"{self.path}:{first.line}:{first.column}: {first.message}{more}"
        raise InvalidWorkflow(message, first.hint, tuple(finding.to_json() for finding in self.diagnostics))


def parse(data: bytes | str, path: str = "workflow.yml") -> Parsed:
    """Parse and check one workflow file of at most 256 KiB of UTF-8. Never raises, whatever the input.

    `path` is shown in messages and kept in the workflow; nothing is read from it. The last few files of ordinary size
    are remembered: whoever submits, plans and runs a workflow in one process reads it once.
    """
    if len(data) > MAX_KEPT:
        return _parse(data, path)
    if isinstance(data, bytes):
        with suppress(UnicodeDecodeError):
            data = data.decode("utf-8")
    parsed = _remembered(data)
    workflow = parsed.workflow and attrs.evolve(parsed.workflow, path=path)
    return attrs.evolve(parsed, path=path, workflow=workflow)


@lru_cache(PARSED_KEPT)
def _remembered(data: bytes | str) -> Parsed:
    return _parse(data, "")


def _parse(data: bytes | str, path: str) -> Parsed:
    with _undisturbed():
        return _judge(data, path)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No search for garbage while thousands of nodes are made, none of which is garbage: it takes half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if gc.get_count()[0] > MANY_NODES and not gc.get_freeze_count():
                gc.freeze()  # what was made counts as old from now on: no search through all of it at once
                gc.unfreeze()
            gc.enable()


def _judge(data: bytes | str, path: str) -> Parsed:
    findings = Findings()
    root = load(data, findings)
    if root is None:
        return Parsed(path, None, findings.result())
    tags = tags_of(root)
    effort = Effort()
    linter = Linter(findings, effort)
    rule = language.TAGGED_WORKFLOW if tags else language.WORKFLOW
    try:
        Checker(findings, linter.expression, effort).check(root, rule)
        if isinstance(root, MappingNode):
            if tags:
                _tagged_omissions(root, tags, findings)
            linter.workflow(root)
    except TooComplex:
        findings.too_complex()
    if findings.failed or not isinstance(root, MappingNode):
        return Parsed(path, None, findings.result())
    return Parsed(path, build_workflow(root, path, tags), findings.result())


def _tagged_omissions(root: MappingNode, tags: tuple[str, ...], findings: Findings) -> None:
    """Warn of what a tagged file leaves out and GitHub would ask for."""
    on = root.get("on")
    if on is None or (isinstance(on, Scalar) and on.value is None):
        message = f"No 'on': this {tags[0]} starts by workflow_dispatch only"
        findings.warning(root.place if on is None else Place(on.place.line, 1), "no-on", message)
    jobs = root.get("jobs")
    for key, job in jobs.entries if isinstance(jobs, MappingNode) else ():
        if isinstance(job, MappingNode) and job.get("runs-on") is None and job.get("uses") is None:
            findings.warning(key.place, "no-runs-on", f"No 'runs-on': any runner may take the job '{key.text}'")
