"""Filters of events: whether something that happened starts a workflow. Knows the model, refs and paths; no I/O.

Source: GitHub's documentation of `on` and its cheat sheet of filter patterns: patterns are tried in order and the last
that matches decides; `!` takes out; `*` stays within a name, `**` does not; `?` and `+` are about the character or
bracket before them. A pattern runs as a set of places in it (Thompson's simulation of an automaton), so that no
pattern takes longer than its length times that of the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

import attrs

from p2pwf.workflow.expr import Value, to_string
from p2pwf.workflow.facts import RunFacts
from p2pwf.workflow.model import Trigger, Workflow

MAX_PATTERN: Final = 1024
"""Characters of a pattern; a longer one matches nothing. Git refuses longer names of refs."""
DEFAULT_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "pull_request": ("opened", "synchronize", "reopened"),
    "pull_request_target": ("opened", "synchronize", "reopened"),
}
"""Activity types of events that do not start a workflow by all of theirs."""
_BRANCH: Final = "refs/heads/"
_TAG: Final = "refs/tags/"

_Repeat = Literal["once", "optional", "any"]


@attrs.frozen(slots=True)
class _Atom:
    """One place of a pattern: the characters that fit (None for all, or all but `/`), and how often."""

    fits: frozenset[str] | None
    slash: bool = True
    repeat: _Repeat = "once"

    def takes(self, character: str) -> bool:
        if self.fits is None:
            return self.slash or character != "/"
        return character in self.fits


_GATE: Final = _Atom(frozenset(), repeat="optional")
"""Stands before a `**/`: who is here may go past it, or into it."""


class Pattern:
    """One filter pattern, without its `!`. Raises ValueError for one that has no meaning."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise ValueError(f"longer than {MAX_PATTERN} characters")
        self._atoms, folders = _read(text)
        self._skip = sum(1 << place for place, atom in enumerate(self._atoms) if atom.repeat != "once")
        self._stay = sum(1 << place for place, atom in enumerate(self._atoms) if atom.repeat == "any")
        self._folders = sum(1 << place for place in folders)
        self._takes: dict[str, int] = {}

    def matches(self, text: str) -> bool:
        """Whether the whole text fits."""
        places = self._closed(1)
        for character in text:
            takes = self._takes.get(character)
            if takes is None:
                takes = sum(1 << place for place, atom in enumerate(self._atoms) if atom.takes(character))
                self._takes[character] = takes
            live = places & takes
            places = self._closed((live & self._stay) | ((live & ~self._stay) << 1))
            if not places:
                return False
        return bool(places >> len(self._atoms) & 1)

    def _closed(self, places: int) -> int:
        """With all places that are reached without a character."""
        while True:
            more = places | ((places & self._skip) << 1) | ((places & self._folders) << 3)
            if more == places:
                return places
            places = more


def _read(text: str) -> tuple[list[_Atom], list[int]]:
    """The atoms of a pattern, and the places where `**/` may stand for no folder at all."""
    atoms: list[_Atom] = []
    folders: list[int] = []
    repeatable = False
    index = 0
    while index < len(text):
        character = text[index]
        if character == "*":
            double = text.startswith("**", index)
            if text.startswith("**/", index) and (index == 0 or text[index - 1] == "/"):
                folders.append(len(atoms))
                atoms.append(_GATE)
            atoms.append(_Atom(None, slash=double, repeat="any"))
            index += 2 if double else 1
            repeatable = False
            continue
        if character in "?+":
            if not repeatable:
                raise ValueError(f"'{character}' repeats the character before it, and there is none")
            last = atoms.pop()
            if character == "?":
                atoms.append(attrs.evolve(last, repeat="optional"))
            else:
                atoms += [last, attrs.evolve(last, repeat="any")]
            index += 1
            repeatable = False
            continue
        if character == "[":
            fits, index = _bracket(text, index)
            atoms.append(_Atom(fits))
        else:
            if character == "\\":
                index += 1
                if index == len(text):
                    raise ValueError("nothing follows the last '\\'")
            atoms.append(_Atom(frozenset(text[index])))
            index += 1
        repeatable = True
    return atoms, folders


def _bracket(text: str, start: int) -> tuple[frozenset[str], int]:
    end = text.find("]", start + 1)
    if end <= start + 1:
        raise ValueError("'[' needs characters and a ']' after it")
    inner = text[start + 1 : end]
    fits: set[str] = set()
    index = 0
    while index < len(inner):
        if inner[index + 1 : index + 2] == "-" and index + 2 < len(inner):
            first, last = inner[index], inner[index + 2]
            if not (first.isascii() and last.isascii() and first <= last):
                raise ValueError(f"the range '{first}-{last}' is empty")
            fits.update(map(chr, range(ord(first), ord(last) + 1)))
            index += 3
        else:
            fits.add(inner[index])
            index += 1
    return frozenset(fits), end + 1


@lru_cache(512)
def _pattern(text: str) -> Pattern | None:
    try:
        return Pattern(text)
    except ValueError:
        return None


def pattern_fault(text: str) -> str | None:
    """What is wrong with a pattern of `branches`, `tags` or `paths`, in a few words; None if nothing is."""
    try:
        Pattern(text.removeprefix("!"))
    except ValueError as error:
        return str(error)
    return None


def selects(patterns: Sequence[str], text: str) -> bool:
    """Whether patterns, in order, the last match deciding, select a name or path; one without meaning matches none."""
    for written in reversed(patterns):
        pattern = _pattern(written.removeprefix("!"))
        if pattern is not None and pattern.matches(text):
            return not written.startswith("!")
    return False


def is_triggered(workflow: Workflow, facts: RunFacts, changed: Sequence[str] | None = None) -> bool:
    """Whether what happened starts a workflow: its event is declared and passes the filters there.

    `facts` give event, ref and payload (`action`, `pull_request.base.ref`, `workflow_run`, …); `changed` are the
    paths that a push or pull request touches, None where they are not known: then filters of paths let it pass.
    """
    trigger = workflow.trigger(facts.event)
    return trigger is not None and passes(trigger, facts, changed)


def passes(trigger: Trigger, facts: RunFacts, changed: Sequence[str] | None = None) -> bool:
    """Whether what happened passes the filters of one event, see `is_triggered`."""
    if not _passes_type(trigger, facts):
        return False
    filters = trigger.filters
    if "workflows" in filters and not selects(filters["workflows"], _said(facts.payload, "workflow_run", "name")):
        return False
    if facts.event == "push":
        tag = facts.ref.startswith(_TAG)
        if not _passes_ref(filters, "tags" if tag else "branches", "branches" if tag else "tags", facts.ref_name):
            return False
        return tag or _passes_paths(filters, changed)
    branch = _branch(facts)
    return _passes_names(filters, "branches", branch) and _passes_paths(filters, changed)


def _branch(facts: RunFacts) -> str:
    if facts.event in ("pull_request", "pull_request_target"):
        return _said(facts.payload, "pull_request", "base", "ref")
    if facts.event == "workflow_run":
        return _said(facts.payload, "workflow_run", "head_branch")
    if facts.event == "merge_group":
        return _said(facts.payload, "merge_group", "base_ref").removeprefix(_BRANCH)
    return facts.ref_name


def _said(value: Value, *keys: str) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return to_string(value) if isinstance(value, (str, int, float)) else ""


def _passes_type(trigger: Trigger, facts: RunFacts) -> bool:
    wanted = trigger.filters.get("types") or DEFAULT_TYPES.get(facts.event)
    action = _said(facts.payload, "action")
    return not wanted or not action or action in wanted


def _passes_ref(filters: Mapping[str, tuple[str, ...]], kind: str, other: str, name: str) -> bool:
    declared = any(key in filters for key in (kind, f"{kind}-ignore"))
    if not declared:  # who filters only branches does not want tags, and the other way round
        return not any(key in filters for key in (other, f"{other}-ignore"))
    return _passes_names(filters, kind, name)


def _passes_names(filters: Mapping[str, tuple[str, ...]], kind: str, name: str) -> bool:
    if kind in filters:
        return selects(filters[kind], name)
    return not selects(filters.get(f"{kind}-ignore", ()), name)


def _passes_paths(filters: Mapping[str, tuple[str, ...]], changed: Sequence[str] | None) -> bool:
    if changed is None:
        return True
    if "paths" in filters:
        return any(selects(filters["paths"], path) for path in changed)
    if "paths-ignore" in filters:
        return not changed or any(not selects(filters["paths-ignore"], path) for path in changed)
    return True
