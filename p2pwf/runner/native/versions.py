"""Versions of tools and ranges of them, as npm writes ranges; those of Python's packaging are understood as well.

Pure. Source: the documentation of npm's `semver` (ranges) and of Python's version specifiers (`~=`, `==3.9.*`, `!=`,
commas). A version before its release counts only where a range names one of the same release, or they are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import attrs

from p2pwf.errors import UsageError

_VERSION: Final = re.compile(r"[vV=]?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-?(\w[\w.-]*))?\+?")
_PART: Final = r"(?:\d+|[xX*])"
_COMPARATOR: Final = re.compile(
    rf"(?P<sign>\^|~=|~>|~|>=|<=|==|!=|>|<|=)?\s*[vV]?(?P<at>{_PART}(?:\.{_PART}){{0,3}})(?P<pre>-?[A-Za-z][\w.-]*|-\w[\w.-]*)?"
)
_HYPHEN: Final = re.compile(r"(\S+)\s+-\s+(\S+)")
MAX_TEXT: Final = 256


@attrs.frozen(slots=True, order=True)
class Version:
    """A version; `final` is False for one before its release, which `pre` tells apart from others."""

    major: int
    minor: int = 0
    patch: int = 0
    final: bool = True
    pre: str = ""

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}{'-' if self.pre else ''}{self.pre}"

    @property
    def release(self) -> tuple[int, int, int]:
        """The three numbers."""
        return self.major, self.minor, self.patch


def read_version(text: str) -> Version | None:
    """The version that a text names, with or without a `v` before it; None if it names none."""
    match = _VERSION.fullmatch(text.strip())
    if match is None or match[2] is None:
        return None
    pre = match[4] or ""
    return Version(int(match[1]), int(match[2]), int(match[3] or 0), not pre, pre)


Test = Callable[[Version], bool]


@attrs.frozen(slots=True)
class Range:
    """A range: one of `sets` is to hold, all of its tests. `pres`: releases whose earlier versions count."""

    text: str
    sets: tuple[tuple[Test, ...], ...]
    pres: frozenset[tuple[int, int, int]]

    def holds(self, version: Version, early: bool = False) -> bool:
        """Whether a version is in it; `early`: also one before its release."""
        if not version.final and not early and version.release not in self.pres:
            return False
        return any(all(test(version) for test in tests) for tests in self.sets)


def read_range(text: str) -> Range:
    """The range that a text writes; raises UsageError for a text that writes none."""
    pres: set[tuple[int, int, int]] = set()
    if len(text) > MAX_TEXT:
        raise _not_a_range(text)
    sets = tuple(tuple(_tests(part.strip(), text, pres)) for part in text.split("||"))
    return Range(text, sets, frozenset(pres))


def _not_a_range(text: str) -> UsageError:
    return UsageError(f"not a version or a range of versions: {text[:80]!r}", "write one like 3.12, 20.x or >=3.10 <4")


def _tests(part: str, text: str, pres: set[tuple[int, int, int]]) -> list[Test]:
    hyphen = _HYPHEN.fullmatch(part)
    if hyphen is not None:
        part = f">={hyphen[1]} <={hyphen[2]}"
    tests: list[Test] = []
    at = 0
    while at < len(part):
        if part[at] in " \t,":
            at += 1
            continue
        match = _COMPARATOR.match(part, at)
        if match is None or (match.end() < len(part) and part[match.end()] not in " \t,<>=~^!"):
            raise _not_a_range(text)
        at = match.end()
        tests.append(_test(match["sign"] or "", match["at"], (match["pre"] or "").removeprefix("-"), pres))
    return tests


def _test(sign: str, at: str, pre: str, pres: set[tuple[int, int, int]]) -> Test:
    given: list[int] = []
    for word in at.split(".")[:3]:
        if not word.isdigit():
            break
        given.append(int(word))
    count = len(given)
    low = Version(*_three(given), not pre, pre)
    if pre:
        pres.add(low.release)
    if count == 0:
        return lambda _: sign not in ("<", ">", "!=")
    after = _after(given, count)  # the first version past all that the numbers given stand for
    match sign:
        case "" | "=" | "==":
            return (lambda version: version == low) if count == 3 else lambda version: low <= version < after
        case "!=":
            return (lambda version: version != low) if count == 3 else lambda version: not low <= version < after
        case ">=":
            return lambda version: version >= low
        case "<":
            return lambda version: version < low
        case ">":
            return (lambda version: version > low) if count == 3 else lambda version: version >= after
        case "<=":
            return (lambda version: version <= low) if count == 3 else lambda version: version < after
        case "~" | "~>":
            end = _after(given, min(count, 2))
            return lambda version: low <= version < end
        case "~=":
            end = _after(given, max(1, count - 1))
            return lambda version: low <= version < end
        case _:  # ^: up to the next change of the first number that is not 0
            first = next((index for index, number in enumerate(given) if number), count - 1)
            end = _after(given, first + 1)
            return lambda version: low <= version < end


def _after(given: list[int], count: int) -> Version:
    """The version that follows all those whose first `count` numbers are the given ones, even its own early ones."""
    numbers = given[:count]
    numbers[-1] += 1
    return Version(*_three(numbers), final=False)


def _three(numbers: list[int]) -> tuple[int, int, int]:
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major, minor, patch
