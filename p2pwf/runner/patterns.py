"""Patterns of paths as regular expressions that take no longer than length times length. Reads no files.

`*`, `?` and `[…]` stay within a name, `**` goes over folders. Python's engine tries again what it has matched, so that
a pattern of many `*` would take years, and the whole process with it: no thread runs while an expression matches. But
what stands between two `*`, or two `**`, may as well match at the first place where it can: whatever comes after has
only more room then. So each such part is atomic, and never tried again. Source: the argument is that of glob matching
with one remembered place; atomic groups are those of Python's `re` since 3.11.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from p2pwf.errors import UsageError

MAX_PATTERN: Final = 1024
"""Characters of one pattern: what it costs to match grows with it, and nobody has a path this long."""
_FOLDERS: Final = "(?:/[^/]++)*?"
_ENDS: Final = r"(?=/|\Z)"


def check_length(pattern: str) -> None:
    """Raises UsageError for a pattern that is too long."""
    if len(pattern) > MAX_PATTERN:
        raise UsageError(f"a pattern of {len(pattern)} characters", f"the bound is {MAX_PATTERN}")


def segment_expression(segment: str) -> str:
    """The regular expression of one name's pattern: `*`, `?` and `[…]`."""
    parts = [""]
    index = 0
    while index < len(segment):
        character = segment[index]
        index += 1
        if character == "*":
            if parts[-1] or len(parts) == 1:
                parts.append("")
        elif character == "?":
            parts[-1] += "[^/]"
        elif character == "[" and (end := segment.find("]", index + 1)) > 0:
            body = segment[index:end]
            negated = body[0] in "!^"
            inner = re.sub(r"([\\\[\]^&~|])", r"\\\1", body[1:] if negated else body)
            parts[-1] += _checked(f"[{'^/' if negated else ''}{inner}]", segment)
            index = end + 1
        else:
            parts[-1] += re.escape(character)
    first, *middle = parts
    if not middle:
        return first
    *middle, last = middle
    return first + "".join(f"(?>[^/]*?{part})" for part in middle) + "[^/]*" + last


def _checked(inner: str, segment: str) -> str:
    try:
        re.compile(inner)
    except re.error as error:
        raise UsageError(f"Invalid pattern '{segment}': {error}", "a range goes from less to more") from error
    return inner


def path_expression(segments: Sequence[str]) -> str:
    """The regular expression of a pattern's segments, for a path of which each name has a `/` before it."""
    blocks = [""]
    for segment in segments:
        if segment != "**":
            blocks[-1] += "/" + segment_expression(segment)
        elif blocks[-1] or len(blocks) == 1:
            blocks.append("")
    first, *middle = blocks
    if not middle:
        return first
    *middle, last = middle
    return first + "".join(f"(?>{_FOLDERS}{block}{_ENDS})" for block in middle) + _FOLDERS + last
