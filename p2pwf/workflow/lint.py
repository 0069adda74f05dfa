"""What a schema cannot say: ids, the graph of jobs, matrices, references. Knows nodes, the file's keys and no run.

Works on trees that may hold schema errors too, so that all findings of a file come in one go: whatever has the wrong
shape was already told, and is passed over here. Names that lead nowhere are warnings, since GitHub takes them as null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from p2pwf.workflow.build import step_kind
from p2pwf.workflow.diagnostics import Findings, Place
from p2pwf.workflow.effort import COMPARISON, EDGE, JOB, Effort
from p2pwf.workflow.expr import Parsed, fold, has_expression
from p2pwf.workflow.graph import find_cycles
from p2pwf.workflow.matrix import MatrixError, check_legs
from p2pwf.workflow.mistakes import check_expression, check_script, check_shell
from p2pwf.workflow.nodes import MappingNode, Node, Scalar, SequenceNode, scalars, to_value, walk
from p2pwf.workflow.references import Names, Use, check_references
from p2pwf.workflow.triggerlint import IDENTIFIER, check_triggers

MAX_ID: Final = 100
"""Characters of a job or step id, GitHub's bound (exclusive)."""
MAX_GROUP: Final = 400
"""Characters of the name of a concurrency group, GitHub's bound."""
_VERSION = re.compile(r"[0-9]{1,9}\.\*", re.ASCII)
_REMOTE_WORKFLOW = re.compile(
    r"[\w.-]+/[\w.-]+/\.github/workflows(-lab)?/[^/@]+\.ya?ml@(?P<ref>[^@\s?*\[\]\\~^:]+)", re.ASCII
)
_WAITING: Final = frozenset(("WAIT", "WAIT-ALL", "CANCEL"))
"""Keys of steps that name others, folded."""
_PATH_SEPARATORS = re.compile(r"[/\\]")


class Linter:
    """Collects the expressions of a file while it is checked, then looks at the file as a whole.

    `workflow` raises TooComplex where that costs more than `effort` has.
    """

    def __init__(self, findings: Findings, effort: Effort) -> None:
        self._findings = findings
        self._effort = effort
        self._expressions: list[Use] = []

    def expression(self, expression: Parsed, node: Scalar, offset: int, path: tuple[str, ...]) -> None:
        """Take note of one expression that parses."""
        self._expressions.append(Use(expression, node, offset, path))

    def workflow(self, root: MappingNode) -> None:
        """Look at the whole file."""
        check_triggers(root.get("on"), self._findings, self._effort)
        self._concurrency(root.get("concurrency"))
        self._defaults(root.get("defaults"))
        jobs = root.get("jobs")
        if isinstance(jobs, MappingNode):
            self._jobs(jobs)
            names = Names.of(root)
            for use in self._expressions:
                check_references(use, names, self._findings)
                check_expression(use, names, root, self._findings, self._effort)
        self._group_of_jobs(root)

    def _concurrency(self, node: Node | None) -> None:
        group = node.get("group") if isinstance(node, MappingNode) else node
        if isinstance(group, Scalar) and len(group.text) > MAX_GROUP and not has_expression(group.text):
            message = f"Concurrency group name must be less than {MAX_GROUP} characters"
            self._findings.error(group, "concurrency-group", message)
        if (
            isinstance(node, Scalar)
            and not node.text.strip()
            and not self._findings.has(node.place, "unexpected-value")
        ):
            self._findings.error(node, "concurrency-group", "Concurrency group name cannot be empty")
        if isinstance(node, MappingNode):
            queue, cancel = node.get("queue"), node.get("cancel-in-progress")
            if (
                isinstance(queue, Scalar)
                and queue.text == "max"
                and isinstance(cancel, Scalar)
                and cancel.value is True
            ):
                message = "'queue: max' cannot be combined with 'cancel-in-progress: true'"
                self._findings.error(queue, "concurrency-queue", message)

    def _defaults(self, node: Node | None) -> None:
        run = node.get("run") if isinstance(node, MappingNode) else None
        shell = run.get("shell") if isinstance(run, MappingNode) else None
        if isinstance(shell, Scalar):
            check_shell(shell, self._findings)

    def _group_of_jobs(self, root: MappingNode) -> None:
        whole = _group(root.get("concurrency"))
        jobs = root.get("jobs")
        for key, job in jobs.entries if isinstance(jobs, MappingNode) and whole else ():
            own = _group(job.get("concurrency")) if isinstance(job, MappingNode) else None
            if whole and own and fold(own.text) == fold(whole.text):
                message = f"The job '{key.text}' waits for its own run: both have the concurrency group '{own.text}'"
                self._findings.warning(own, "deadlock", message, "give the job's group another name")

    def _jobs(self, jobs: MappingNode) -> None:
        if not jobs.entries:
            self._findings.error(jobs, "no-jobs", "No jobs defined in `jobs`")
        needs: dict[str, list[Scalar]] = {}
        declared = {fold(key.text): key for key, _ in jobs.entries}
        for key, job in jobs.entries:
            if not self._findings.has(key.place, "empty-key", "expression-not-allowed"):
                self._id(key)
            if isinstance(job, MappingNode):
                needs[fold(key.text)] = wanted = list(scalars(job.get("needs")))
                self._effort.spend(JOB + EDGE * len(wanted))
                self._job(key, job)
        self._graph(jobs, declared, needs)

    def _id(self, key: Scalar) -> bool:
        text = key.text
        if not IDENTIFIER.fullmatch(text) or len(text) >= MAX_ID:
            message = (
                f"The identifier '{text}' is invalid. IDs may only contain alphanumeric characters, '_', and '-'. "
                f"IDs must start with a letter or '_' and must be less than {MAX_ID} characters."
            )
        elif text.startswith("__"):
            message = f"The identifier '{text}' is invalid. IDs starting with '__' are reserved."
        else:
            return True
        self._findings.error(key, "id", message)
        return False

    def _graph(self, jobs: MappingNode, declared: dict[str, Scalar], needs: dict[str, list[Scalar]]) -> None:
        hint = f"jobs: {', '.join([key.text for key in declared.values()][:30])}"
        for name, wanted in needs.items():
            for need in wanted:
                if fold(need.text) not in declared and not has_expression(need.text):
                    message = f"Job '{declared[name].text}' depends on unknown job '{need.text}'."
                    self._findings.error(need, "unknown-need", message, hint)
        edges = {
            name: [fold(need.text) for need in wanted if fold(need.text) in declared] for name, wanted in needs.items()
        }
        for cycle in find_cycles(edges):
            for name in cycle:
                for need in needs[name]:
                    if fold(need.text) in cycle:
                        message = (
                            f"Job '{declared[name].text}' depends on job '{need.text}' which creates a cycle in the "
                            "dependency graph."
                        )
                        self._findings.error(need, "needs-cycle", message)
        if needs and all(needs.values()) and len(needs) == len(jobs.entries):
            message = "The workflow must contain at least one job with no dependencies."
            self._findings.error(jobs, "no-first-job", message)

    def _job(self, key: Scalar, job: MappingNode) -> None:
        steps = job.get("steps")
        without = steps is None or (isinstance(steps, SequenceNode) and not steps.items)
        if without and job.get("uses") is None and not self._findings.has(job.place, "ambiguous"):
            message = f"No steps defined in `steps` and no workflow called in `uses` for the job '{key.text}'"
            self._findings.error(key, "no-steps", message)
        self._concurrency(job.get("concurrency"))
        self._defaults(job.get("defaults"))
        self._runner_group(job.get("runs-on"))
        self._container(job.get("container"), service=False)
        services = job.get("services")
        for _, service in services.entries if isinstance(services, MappingNode) else ():
            self._container(service, service=True)
        self._snapshot(job.get("snapshot"))
        strategy = job.get("strategy")
        matrix = strategy.get("matrix") if isinstance(strategy, MappingNode) else None
        if isinstance(matrix, MappingNode):
            self._matrix(matrix)
        uses = job.get("uses")
        if isinstance(uses, Scalar) and uses.text and not has_expression(uses.text):
            self._call(uses)
        seen: dict[str, Scalar] = {}
        for step in _steps(steps):
            self._step(step, seen)
        if isinstance(steps, SequenceNode):
            self._targets(steps)

    def _runner_group(self, runs_on: Node | None) -> None:
        group = runs_on.get("group") if isinstance(runs_on, MappingNode) else None
        if not isinstance(group, Scalar) or has_expression(group.text) or "/" not in group.text:
            return
        owner, _, name = group.text.partition("/")
        if not name or "/" in name or owner not in ("org", "organization", "ent", "enterprise"):
            hint = "write 'organization/' or 'enterprise/' before the name of a group, or the name alone"
            self._findings.error(group, "runs-on-group", f"Invalid runs-on group name '{group.text}'.", hint)

    def _container(self, container: Node | None, service: bool) -> None:
        image = container.get("image") if isinstance(container, MappingNode) else container
        if service and isinstance(container, MappingNode) and image is None:
            self._findings.error(container, "empty-image", "Container image cannot be empty")
            return
        if not isinstance(image, Scalar) or has_expression(image.text):
            return
        if image.text == "docker://" or (service and not image.text):
            self._findings.error(image, "empty-image", "Container image cannot be empty")

    def _snapshot(self, snapshot: Node | None) -> None:
        version = snapshot.get("version") if isinstance(snapshot, MappingNode) else None
        if isinstance(version, Scalar) and not has_expression(version.text) and not _VERSION.fullmatch(version.text):
            message = f"Expected format '{{major-version}}.*' Actual '{version.text}'"
            self._findings.error(version, "snapshot-version", message)

    def _targets(self, steps: SequenceNode) -> None:
        """The steps that `wait` and `cancel` name: they stand before, and run in the background."""
        if all(isinstance(step, MappingNode) and _WAITING.isdisjoint(step.by_name) for step in steps.items):
            return
        known: dict[str, bool] = {}
        for step in steps.items:
            if not isinstance(step, MappingNode):
                continue
            given = step.get("id")
            own = given.text if isinstance(given, Scalar) else ""
            for target in (*scalars(step.get("wait")), *scalars(step.get("cancel"))):
                self._target(target, own, known)
            background = step.get("background")
            known[own] = isinstance(background, Scalar) and background.value is True
            every = step.get("wait-all")
            if isinstance(every, Scalar) and every.value is False:
                message = "The value of 'wait-all' must be true or omitted"
                self._findings.error(every, "wait-all", message, "take the step out to wait for nothing")

    def _target(self, target: Scalar, own: str, known: dict[str, bool]) -> None:
        text = target.text
        if has_expression(text):
            return
        if text.startswith("__"):
            message = f"The identifier '{text}' is invalid. IDs starting with '__' are reserved."
            self._findings.error(target, "id", message)
        elif own and fold(text) == fold(own):
            self._findings.error(target, "step-target", f"Step '{own}' cannot reference itself")
        elif text not in known:
            hint = f"steps before it: {', '.join([name for name in known if name][:20])}" if any(known) else None
            self._findings.error(target, "step-target", f"Step references unknown step ID '{text}'", hint)
        elif not known[text]:
            message = f"The step '{text}' does not run in the background: it has ended by then"
            self._findings.warning(target, "not-background", message, "give that step background: true")

    def _matrix(self, matrix: MappingNode) -> None:
        for key, value in matrix.entries:
            if key.text in ("includes", "excludes") and isinstance(value, SequenceNode):
                maps = [item for item in value.items if isinstance(item, MappingNode)]
                if maps and len(maps) == len(value.items):
                    message = f"'{key.text}' is a matrix key like any other"
                    self._findings.warning(key, "matrix-key", message, f"did you mean '{key.text[:-1]}'?")
        if not all(isinstance(value, SequenceNode) for _, value in matrix.entries):
            return
        for part in walk(matrix):
            if isinstance(part, Scalar) and isinstance(part.value, str) and has_expression(part.value):
                return
        try:
            check_legs(to_value(matrix), lambda work: self._effort.spend(COMPARISON * work))
        except MatrixError as error:
            place = _place_at(matrix, error.path)
            if not self._findings.has(place, "unexpected-value", "unexpected-sequence"):
                self._findings.error(place, "matrix", error.message)

    def _call(self, uses: Scalar) -> None:
        text = uses.text
        if text.startswith(("./", "$/")):
            fits = text.endswith((".yml", ".yaml")) and "@" not in text
            if fits and not re.fullmatch(r"[.$]/\.github/workflows(-lab)?/[^/]+", text):
                message = f"GitHub runs reusable workflows from .github/workflows only, not from '{text}'"
                self._findings.warning(uses, "workflow-folder", message, "the same file is taken here")
        else:
            found = _REMOTE_WORKFLOW.fullmatch(text)
            fits = found is not None
            if found is not None:
                self._short_sha(uses, found["ref"])
        if not fits:
            message = f"Invalid workflow reference '{text}'"
            hint = "write owner/repo/.github/workflows/file.yml@ref, or ./.github/workflows/file.yml"
            self._findings.error(uses, "uses", message, hint)

    def _short_sha(self, uses: Scalar, ref: str) -> None:
        if re.fullmatch("[0-9a-fA-F]{7,8}", ref):
            message = f"'{ref}' looks like the beginning of a commit's SHA, which is not looked for"
            self._findings.warning(uses, "short-sha", message, "write all 40 digits")

    def _step(self, step: MappingNode, seen: dict[str, Scalar]) -> None:
        # By the keys that are there: a file may hold thousands of steps, each with few of them.
        part = {key.text: value for key, value in step.entries}
        given = part.get("id")
        if isinstance(given, Scalar) and given.text and not has_expression(given.text) and self._id(given):
            first = seen.setdefault(fold(given.text), given)
            if first is not given:
                message = f"The identifier '{given.text}' may not be used more than once within the same scope."
                hint = f"it stands first on line {first.place.line}"
                self._findings.error(given, "duplicate-id", message, hint)
        uses = part.get("uses")
        if isinstance(uses, Scalar) and uses.text and not has_expression(uses.text):
            self._action(uses)
        run, shell = part.get("run"), part.get("shell")
        if isinstance(run, Scalar) and "::" in run.text:
            check_script(run, self._findings)
        if isinstance(shell, Scalar):
            check_shell(shell, self._findings)
        inner = part.get("parallel")
        for nested in inner.items if isinstance(inner, SequenceNode) else ():
            if isinstance(nested, MappingNode):
                self._parallel(nested)

    def _action(self, uses: Scalar) -> None:
        text = uses.text
        if text.startswith(("docker://", "./", ".\\", "$/")):
            return
        name, *refs = text.split("@")
        segments = [segment for segment in _PATH_SEPARATORS.split(name) if segment]
        if len(refs) != 1 or not refs[0] or len(segments) < 2:
            message = f"Expected format {{org}}/{{repo}}[/path]@ref. Actual '{text}'"
            self._findings.error(uses, "uses", message, "for example actions/checkout@v4")
            return
        if segments[2:4] == [".github", "workflows"]:
            hint = "write it under `uses` of the job"
            self._findings.warning(uses, "uses", "A reusable workflow is called by a job, not by a step", hint)
        self._short_sha(uses, refs[0])

    def _parallel(self, step: MappingNode) -> None:
        if step.get("background") is not None:
            hint = "steps of a parallel block run in the background anyway"
            message = "'background' is not allowed inside a parallel block"
            self._findings.error(step, "parallel", message, hint)
        if step_kind(step) not in ("run", "uses"):
            self._findings.error(step, "parallel", f"'{step_kind(step)}' is not allowed inside a parallel block")


def _group(node: Node | None) -> Scalar | None:
    """The written-out group of a `concurrency`."""
    group = node.get("group") if isinstance(node, MappingNode) else node
    return group if isinstance(group, Scalar) and group.text and not has_expression(group.text) else None


def _steps(node: Node | None) -> Iterator[MappingNode]:
    for step in node.items if isinstance(node, SequenceNode) else ():
        if isinstance(step, MappingNode):
            yield step
            yield from _steps(step.get("parallel"))


def _place_at(node: Node, path: tuple[str | int, ...]) -> Place:
    """The place of the part of a tree that a path of keys and indexes leads to, as far as it leads."""
    place = node.place
    for key in path:
        if isinstance(node, MappingNode):
            found = next(((name, value) for name, value in node.entries if name.text == key), None)
            if found is None:
                break
            place, node = found[0].place, found[1]
        elif isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.items):
            node = node.items[key]
            place = node.place
        else:
            break
    return place
