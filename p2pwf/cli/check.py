"""`p2pwf check`: what is wrong with workflow files, before anything runs. Needs no node."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from p2pwf.cli.base import Session, anywhere, complete_files, print_line
from p2pwf.cli.text import colour_of, style

if TYPE_CHECKING:
    from p2pwf.workflow import Diagnostic

STDIN = "-"
ACTION_FILES = ("action.yml", "action.yaml", "Dockerfile")


@click.command()
@click.argument("files", metavar="FILE...", shell_complete=complete_files, nargs=-1, required=True)
@anywhere
@click.pass_obj
def check(session: Session, files: tuple[str, ...]) -> int:
    """Check workflow files as GitHub does; `-` is stdin. Exits with 1 if any has an error.

    \b
      p2pwf check .github/workflows/*.yml
      p2pwf check --json - < ci.yml
    """
    failed = 0
    warned = 0
    for file in files:
        source, findings = judge(file)
        errors = sum(finding.severity == "error" for finding in findings)
        failed += errors > 0
        warned += errors == 0 and bool(findings)
        if session.json:
            found = [finding.to_json() for finding in findings]
            print_line({"file": file, "ok": not errors, "diagnostics": found})
        else:
            _draw(file, source, findings)
    if not session.json:
        good = len(files) - failed
        told = f"{good} of {len(files)} {'file checks' if good == len(files) == 1 else 'files check'}"
        click.echo(style(told, "red" if failed else "green") + (f", {warned} with warnings" if warned else ""))
    return 1 if failed else 0


def judge(file: str) -> tuple[str, Sequence[Diagnostic]]:
    """The text of a file and all that is to be said of it; a file that cannot be read is one error."""
    from p2pwf.workflow import Diagnostic, parse
    from p2pwf.workflow.references import local_uses
    from p2pwf.workflow.yaml import MAX_BYTES

    try:
        if file == STDIN:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        hint = "name the files in it" if isinstance(error, IsADirectoryError) else None
        return "", [Diagnostic(1, 1, "error", "unreadable", f"The file cannot be read: {reason}", hint)]
    parsed = parse(data, file)
    findings = list(parsed.diagnostics)
    if parsed.workflow is not None:
        root = source_root(file)
        for place, path, is_action in local_uses(parsed.workflow):
            if not _is_there(root, path, is_action):
                what = "action" if is_action else "workflow"
                message = f"There is no {what} at './{path}'"
                hint = f"looked in {root}"
                findings.append(Diagnostic(place.line, place.column, "warning", f"no-{what}", message, hint))
        findings.sort(key=lambda finding: (finding.line, finding.column))
    return data.decode("utf-8", "replace"), findings


def source_root(file: str) -> Path:
    """The folder that `./` of a file's actions means: its repository's, else that above `.github`, else its own."""
    folder = (Path() if file == STDIN else Path(file).absolute().parent).absolute()
    for above in (folder, *folder.parents):
        if (above / ".git").exists():
            return above
    if folder.name == "workflows" and folder.parent.name == ".github":
        return folder.parent.parent
    return folder


def _is_there(root: Path, path: str, is_action: bool) -> bool:
    if ".." in PurePosixPath(path).parts:
        return True  # it may lie anywhere in what is checked out
    try:
        target = root / path
        return any((target / name).is_file() for name in ACTION_FILES) if is_action else target.is_file()
    except (OSError, ValueError):
        return False


def _draw(file: str, source: str, findings: Sequence[Diagnostic]) -> None:
    from p2pwf.workflow.diagnostics import render

    for finding, lines in zip(findings, render(findings, file, source), strict=True):
        head, *rest = lines
        colour = colour_of("failure" if finding.severity == "error" else "cancelled")
        before, word, after = head.partition(f" {finding.severity}: ")
        click.echo(style(before, bold=True) + style(word, colour) + after)
        for line in rest:
            click.echo(line)
