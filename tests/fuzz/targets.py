"""What is fuzzed: each function takes any bytes and fails only if the promise about bad input is broken.

The promise: diagnostics with a place, or an error of ours with a message of one line, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from p2pwf.cli.expr import answer
from p2pwf.errors import InvalidWorkflow
from p2pwf.runner.log import LogLine
from p2pwf.runner.masking import Masker
from p2pwf.runner.matchers import Matchers
from p2pwf.runner.output import Annotations, JobLog, StepOutput
from p2pwf.workflow import (
    CommandReader,
    ExpressionError,
    RunFacts,
    StepFileError,
    build_plan,
    evaluate,
    interpolate,
    parse,
    parse_pairs,
    parse_paths,
    title_of,
)
from p2pwf.workflow.diagnostics import render
from p2pwf.workflow.expr import Value
from p2pwf.workflow.outline import outline
from tests.fuzz.content_targets import backup
from tests.fuzz.file_targets import FILE_TARGETS

LONG: Final = 1_000_000
SHORT: Final = 100
"""Characters of a line of output: none is longer than the first, many are longer than the second."""
NOWHERE: Final = Path("/dev/null/workspace")
CONTEXTS: Final[dict[str, Value]] = {
    "a": {"b": [1, 2.5, None, {"c": "x"}], "B": True},
    "b": [[1], ["x", {"b": "y"}]],
    "github": {"ref": "refs/heads/main", "event": {"commits": [{"message": "m"}]}},
}


def loader(data: bytes) -> None:
    """A workflow file, checked and, where it checks, planned."""
    parsed = parse(data)
    assert parsed.ok != any(finding.severity == "error" for finding in parsed.diagnostics)
    assert len(parsed.diagnostics) <= 101
    lines = data.count(b"\n") + data.count(b"\r") + data.count(b"\xc2\x85") + data.count(b"\xe2\x80") + 2
    for finding in parsed.diagnostics:
        assert 1 <= finding.line <= lines
        assert finding.column >= 1
        assert "\n" not in finding.message
    for block in render(parsed.diagnostics, "x.yml", data.decode("utf-8", "replace")):
        assert all(line.isprintable() or "\n" not in line for line in block)
    if parsed.workflow is not None:
        outline(parsed.workflow)
        for use in (build_plan, title_of):
            try:
                use(parsed.workflow, RunFacts())
            except InvalidWorkflow as error:
                assert error.diagnostics  # noqa: PT017 - raising is as good as returning here


def expression(data: bytes) -> None:
    """An expression, a text with expressions in it, and a line of a batch."""
    text = data.decode("utf-8", "replace")
    for read in (evaluate, interpolate):
        try:
            read(text, CONTEXTS)
        except ExpressionError as error:
            assert 0 <= error.offset <= len(text)  # noqa: PT017 - as above
            assert "\n" not in error.message or "\n" in text  # noqa: PT017
    for line in (data, json.dumps({"expr": text, "contexts": CONTEXTS}).encode()):
        told = answer(line)
        json.dumps(told, allow_nan=False)
        assert set(told) in ({"kind", "value"}, {"error", "message"})


def step_file(data: bytes) -> None:
    """The files that a step writes."""
    text = data.decode("utf-8", "replace")
    for name in ("GITHUB_OUTPUT", "GITHUB_ENV"):
        try:
            pairs = parse_pairs(text, name)
        except StepFileError as error:
            assert error.message.startswith(name)  # noqa: PT017 - as above
        else:
            assert all(key for key, _ in pairs)
            assert sum(len(key) + len(value) for key, value in pairs) <= len(text)
    assert all(parse_paths(text))


class _Sink:
    def __init__(self) -> None:
        self.lines: list[LogLine] = []

    def write(self, line: LogLine) -> None:
        self.lines.append(line)

    def flush(self) -> None:
        pass


def output(data: bytes) -> None:
    """What a step says, cut where its first byte says; a secret in it never reaches the log."""
    cut = data[0] + 1 if data else 1
    assert _said(data, len(data) + 1, LONG) == _said(data, cut, LONG)
    assert not any("s3cret" in text for text in _said(data, cut, SHORT))
    reader = CommandReader()
    for line in data.decode("utf-8", "replace").splitlines():
        kind, command = reader.feed(line)
        assert (command is None) == (kind == "text")


def _said(data: bytes, cut: int, bound: int) -> list[str]:
    sink, masker = _Sink(), Masker()
    masker.add("s3cret")
    log = JobLog(sink, masker, lambda: 0, bound, 1_000_000)
    matchers = Matchers(NOWHERE, lambda _step, _text: None)
    said = StepOutput(1, log, masker, Annotations(masker), matchers, debug=True, insecure=True, line=bound)
    for start in range(0, len(data), cut):
        said.feed("stdout", data[start : start + cut])
    said.feed("stdout", b"")
    return [line.text for line in sink.lines]


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "loader": loader,
    "expression": expression,
    "step_file": step_file,
    "output": output,
    "backup": backup,
    **FILE_TARGETS,
}
