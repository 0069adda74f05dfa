"""What GitHub takes and nobody means: in expressions and in scripts. All are warnings. Knows nodes and trees.

Source: GitHub's guide to secure use (untrusted input), its changes of workflow commands, and the rules by which the
expression language compares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from p2pwf.workflow.diagnostics import Findings
from p2pwf.workflow.effort import Effort
from p2pwf.workflow.expr import ExpressionError, fold
from p2pwf.workflow.expr.functions import check_format
from p2pwf.workflow.expr.jsonread import read_json
from p2pwf.workflow.expr.jsontext import JsonError
from p2pwf.workflow.expr.tree import Constant, Index, way_of
from p2pwf.workflow.nodes import Inside, MappingNode, Scalar
from p2pwf.workflow.references import Names, Use

_UNTRUSTED: Final = frozenset(
    tuple(way.upper().split("."))
    for way in (
        *("head_ref", "event.issue.title", "event.issue.body", "event.comment.body", "event.review.body"),
        *("event.review_comment.body", "event.discussion.title", "event.discussion.body", "event.pages.*.page_name"),
        *("event.pull_request.title", "event.pull_request.body", "event.pull_request.head.ref"),
        *("event.pull_request.head.label", "event.pull_request.head.repo.default_branch"),
        *("event.head_commit.message", "event.head_commit.author.email", "event.head_commit.author.name"),
        *("event.head_commit.committer.email", "event.head_commit.committer.name", "event.commits.*.message"),
        *("event.commits.*.author.email", "event.commits.*.author.name", "event.commits.*.committer.email"),
        *("event.commits.*.committer.name", "event.workflow_run.head_branch", "event.workflow_run.display_title"),
        *("event.workflow_run.head_commit.message", "event.workflow_run.pull_requests.*.head.ref"),
    )
)
"""What anybody may write who can open an issue or a pull request, folded, `*` for any item."""
_OLD_COMMANDS: Final[Mapping[str, str]] = {
    "set-output": "write name=value to the file $GITHUB_OUTPUT",
    "save-state": "write name=value to the file $GITHUB_STATE",
    "set-env": "write name=value to the file $GITHUB_ENV; the command is an error unless it is allowed",
    "add-path": "write the folder to the file $GITHUB_PATH; the command is an error unless it is allowed",
}
_COMMAND = re.compile("::(set-output|save-state|set-env|add-path)(?: [^\n]{0,200}?)?::", re.IGNORECASE)
_SHELLS: Final = ("bash", "pwsh", "python", "sh", "cmd", "powershell", "node")
_SCRIPTS: Final = ("actions/github-script@",)


def check_expression(use: Use, names: Names, root: MappingNode, findings: Findings, effort: Effort) -> None:
    """Warn of what is surely a mistake in one expression that parses; raises TooComplex."""
    if _is_script(use, root):
        _check_injection(use, findings)
    for call in use.expression.calls:
        first = call.arguments[0] if call.arguments else None
        if not isinstance(first, Constant) or not isinstance(first.value, str):
            continue
        try:
            if call.key == "FORMAT":
                check_format(first.value, len(call.arguments) - 1)
            elif call.key == "FROMJSON":
                read_json(first.value, effort.spend)
        except (ExpressionError, JsonError) as error:
            message = error.message if isinstance(error, ExpressionError) else f"Error parsing fromJson: {error}"
            hint = error.hint if isinstance(error, ExpressionError) else None
            findings.warning(Inside(use.node, use.offset + first.offset), "always-fails", message, hint)
    for compared in use.expression.equalities:
        for one, other in (compared.operands, reversed(compared.operands)):
            if isinstance(one, Index) and isinstance(other, Constant):
                _check_equality(one, other, use, names, findings)


def _is_script(use: Use, root: MappingNode) -> bool:
    path = use.path
    if len(path) > 4 and path[2] == "steps":
        if path[-1] == "run":
            return True
        if path[-2:] == ("with", "script"):
            uses = _at(root, (*path[:-2], "uses"))
            return isinstance(uses, Scalar) and uses.text.lower().startswith(_SCRIPTS)
    return False


def _at(root: MappingNode, path: Sequence[str]) -> object:
    node: object = root
    for key in path:
        if isinstance(node, MappingNode):
            node = node.get(key)
        else:
            items = getattr(node, "items", ())
            node = items[int(key)] if key.isdigit() and int(key) < len(items) else None
    return node


def _check_injection(use: Use, findings: Findings) -> None:
    for chain in use.expression.chains:
        name, keys = way_of(chain)
        if name is None or name.key != "GITHUB":
            continue
        way = tuple("*" if key is None else fold(key) for key, _ in keys)
        if way in _UNTRUSTED:
            written = ".".join("*" if key is None else key for key, _ in keys)
            message = f"github.{written} is text that anybody may write, and here it becomes part of a script"
            hint = "hand it over in env, and use the variable in the script"
            findings.warning(Inside(use.node, use.offset + name.offset), "untrusted-input", message, hint)


def _check_equality(one: Index, other: Constant, use: Use, names: Names, findings: Findings) -> None:
    name, keys = way_of(one)
    if name is None:
        return
    way = [None if key is None else fold(key) for key, _ in keys]
    place = Inside(use.node, use.offset + other.offset)
    if name.key == "INPUTS" and len(way) == 1 and way[0] and other.value in ("true", "false"):
        types = (names.inputs or {}).get(way[0])
        if types == {"boolean"} and isinstance(other.value, str):
            message = f"The input '{keys[0][0]}' is a boolean, which is never equal to the string '{other.value}'"
            findings.warning(place, "never-equal", message, f"write {other.value} without quotes")
    is_output = name.key in ("STEPS", "NEEDS") and len(way) == 3 and way[1] == "OUTPUTS"
    if other.value is True and (is_output or (name.key in ("ENV", "VARS") and len(way) == 1)):
        what = "An output" if is_output else "A variable"
        message = f"{what} is a string, which is never equal to true unless it is 1"
        findings.warning(place, "never-equal", message, "write 'true' in quotes")


def check_script(run: Scalar, findings: Findings) -> None:
    """Warn of workflow commands that are gone or going."""
    for found in _COMMAND.finditer(run.text):
        name = found[1].lower()
        findings.warning(run, "old-command", f"The workflow command '{name}' is disused", _OLD_COMMANDS[name])


def check_shell(shell: Scalar, findings: Findings) -> None:
    """Warn of a shell that is none: its name is that of a program, so case counts, and arguments have a `{0}`."""
    text = shell.text
    program, _, arguments = text.partition(" ")
    if not text or "{0}" in arguments or "${{" in text or (program in _SHELLS and not arguments.strip()):
        return
    hint = f"known: {', '.join(_SHELLS)}; or a command line with {{0}} for the script"
    if program.lower() in _SHELLS:
        hint = f"write {program.lower()}" + (f" {arguments.strip()} {{0}}" if arguments.strip() else "")
    findings.warning(shell, "shell", f"There is no shell '{text}'", hint)
