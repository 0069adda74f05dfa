"""The files a step writes: GITHUB_OUTPUT, GITHUB_ENV, GITHUB_STATE (names and values) and GITHUB_PATH (lines).

Pure: text in, pairs out. Source: GitHub's documentation of environment files and the open runner's
`EnvFileKeyValuePairs`: `name=value`, or `name<<delimiter`, lines, `delimiter`.
"""

from __future__ import annotations

from typing import Final

from p2pwf.errors import UsageError

MAX_FILE: Final = 1024 * 1024
"""Characters of one file: GitHub's bound for all outputs of a job."""
BLOCKED: Final = frozenset(("NODE_OPTIONS",))
"""Variables that a step may not set for those after it: they would run code in every node action."""


class StepFileError(UsageError):
    """A step wrote a file that cannot be read: the step fails."""


def parse_pairs(text: str, file: str = "GITHUB_OUTPUT") -> list[tuple[str, str]]:
    """The names and values in a file, in order; a later one of the same name is meant to win.

    `file` names the file in errors. Raises StepFileError for a line of another form, an empty name or delimiter,
    a delimiter that is missing, and for more than MAX_FILE characters.
    """
    if len(text) > MAX_FILE:
        raise StepFileError(f"{file} is too large: {len(text)} characters, the bound is {MAX_FILE}")
    pairs: list[tuple[str, str]] = []
    index, number = _skip_mark(text), 0
    while index < len(text):
        line, end, _ = _line(text, index)
        index = end
        number += 1
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            if equals == 0:
                raise _invalid(file, number, line, "the name may not be empty")
            pairs.append((line[:equals], line[equals + 1 :]))
        elif heredoc >= 0:
            name, delimiter = line[:heredoc], line[heredoc + 2 :]
            if not name or not delimiter:
                raise _invalid(file, number, line, "the name and the delimiter may not be empty")
            value, index, lines = _heredoc(text, index, delimiter, file, number)
            number += lines
            pairs.append((name, value))
        else:
            raise _invalid(file, number, line, "write name=value, or name<<EOF, the value's lines, EOF")
    return pairs


def _skip_mark(text: str) -> int:
    return 1 if text.startswith("\ufeff") else 0


def _line(text: str, index: int) -> tuple[str, int, int]:
    """The line at an index, the index after its end, and the length of that end (0 at the end of the text)."""
    feed = text.find("\n", index)
    if feed < 0:
        return text[index:], len(text), 0
    if feed > index and text[feed - 1] == "\r":
        return text[index : feed - 1], feed + 1, 2
    return text[index:feed], feed + 1, 1


def _heredoc(text: str, start: int, delimiter: str, file: str, number: int) -> tuple[str, int, int]:
    index, value_end, lines = start, start, 0
    while index < len(text):
        line, after, ending = _line(text, index)
        lines += 1
        if line == delimiter:
            return text[start:value_end], after, lines
        if not ending:
            break
        index, value_end = after, after - ending
    hint = "the delimiter must stand alone on a line after the value"
    raise StepFileError(f"{file} line {number}: Matching delimiter not found '{delimiter[:80]}'", hint)


def _invalid(file: str, number: int, line: str, hint: str) -> StepFileError:
    return StepFileError(f"{file} line {number}: Invalid format '{line[:80]}'", hint)


def parse_paths(text: str) -> list[str]:
    """The folders in a GITHUB_PATH file, in order, blank lines left out; raises StepFileError beyond MAX_FILE."""
    if len(text) > MAX_FILE:
        raise StepFileError(f"GITHUB_PATH is too large: {len(text)} characters, the bound is {MAX_FILE}")
    lines = text[_skip_mark(text) :].replace("\r\n", "\n").split("\n")
    return [line for line in lines if line]
