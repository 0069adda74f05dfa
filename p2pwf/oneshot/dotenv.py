"""Files of variables, `KEY=VALUE` a line: for `--env-file` and `--secret-file`. Pure: text in, values out.

The form is what dotenv files have in common: blank lines and lines that begin with `#` say nothing, `export ` before a
name is passed over, a value is cut at ` #`. In single quotes a value stands as it is; in double quotes `\\n`, `\\r`,
`\\t`, `\\"`, `\\\\` and `\\$` are escapes; either may go over several lines. Nothing is expanded.
"""

from __future__ import annotations

import re
from typing import Final

from p2pwf.errors import UsageError

MAX_FILE: Final = 1024 * 1024
"""Bytes of such a file."""
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEAD: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([^=\s#'\"]+)[ \t]*=[ \t]*")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_REST: Final = re.compile(r"[ \t]*(?:#.*)?")
_QUOTED: Final = {'"': re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL), "'": re.compile(r"'([^']*+)'")}


def parse_dotenv(text: str, path: str) -> dict[str, str]:
    """The variables of a file, the last one of a name; raises UsageError, which names the file and the line."""
    found: dict[str, str] = {}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    at, line = 0, 1
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        start = text[at:end].strip()
        if not start or start.startswith("#"):
            at, line = end + 1, line + 1
            continue
        head = _HEAD.match(text, at, end)
        if head is None:
            raise _error(path, line, "not a line of the form KEY=VALUE")
        if not NAME.fullmatch(head[1]):
            # Not the line itself: it may hold a secret.
            raise _error(path, line, "a name that no variable can have")
        value, stop = _value(text, head.end(), end, path, line)
        found[head[1]] = value
        line += text.count("\n", at, stop) + 1
        at = stop + 1
    return found


def _value(text: str, at: int, end: int, path: str, line: int) -> tuple[str, int]:
    """The value that begins at `at`, and where the line that it ends on ends."""
    quote = text[at : at + 1]
    if quote not in _QUOTED or at >= end:
        plain = re.split(r"(?:^|[ \t])#", text[at:end], maxsplit=1)[0]
        if "\0" in plain:
            raise _error(path, line, "a NUL in a value")
        return plain.strip(), end
    match = _QUOTED[quote].match(text, at)
    if match is None:
        raise _error(path, line, f"a value that begins with {quote} and has no end")
    stop = text.find("\n", match.end())
    stop = len(text) if stop < 0 else stop
    if not _REST.fullmatch(text, match.end(), stop):
        raise _error(path, line + text.count("\n", at, match.end()), "more after the end of a quoted value")
    if "\0" in match[1]:
        raise _error(path, line, "a NUL in a value")
    value = match[1]
    if quote == '"':
        value = _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[0]), value)
    return value, stop


def _error(path: str, line: int, what: str) -> UsageError:
    return UsageError(f"{path}:{line}: {what}", "a line is KEY=VALUE, a comment, or empty")
