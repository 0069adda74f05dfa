"""The loader: bytes in, a tree of nodes with places out. Knows YAML, and nothing of workflows.

It builds on PyYAML's event stream (libyaml where the wheel has it), never on its constructors: those recurse on
input, read YAML 1.1 (`on` is true) and drop duplicate keys. The event parser itself keeps its own stack, hands out
an event at a time, and is left at once when a bound is passed, so no count of brackets beforehand is needed.
Scalars follow the core schema of the YAML 1.2.2 specification, chapter 10.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Protocol, cast

import attrs
import yaml as pyyaml

from p2pwf.workflow.diagnostics import Findings, Place
from p2pwf.workflow.expr.values import INFINITY, MAX_INT32, NAN, fold
from p2pwf.workflow.nodes import MappingNode, Node, Plain, Scalar, SequenceNode

MAX_BYTES: Final = 256 * 1024
"""Size of a workflow file: what a submission carries; real ones are a hundredth of it."""
MAX_DEPTH: Final = 64
"""Nesting; the deepest place the language gives a meaning to is about ten down."""
MAX_ALIASES: Final = 100
"""Aliases in one file."""
MAX_NODES: Final = 50_000
"""Nodes, each alias counted as all that it stands for: GitHub's own bound."""

_CORE_TAGS: Final = {f"tag:yaml.org,2002:{name}": name for name in ("null", "bool", "int", "float", "str")}
_COLLECTION_TAGS: Final = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_NULLS: Final = frozenset(("", "null", "Null", "NULL", "~"))
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[+-]?[0-9]+", re.ASCII)
_BASED = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_SPECIAL = re.compile(r"[+-]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Mark(Protocol):
    index: int
    line: int
    column: int


class _Stop(Exception):
    """Loading cannot go on; the finding is recorded."""


@attrs.define(slots=True)
class _Frame:
    """A collection under construction."""

    start: pyyaml.CollectionStartEvent
    place: Place
    depth: int
    items: list[Node] = attrs.Factory(list)
    key: Scalar | None = None
    entries: list[tuple[Scalar, Node]] = attrs.Factory(list)
    seen: dict[str, Scalar] = attrs.Factory(dict)
    by_name: dict[str, Node] = attrs.Factory(dict)
    size: int = 1
    height: int = 1


@attrs.frozen(slots=True)
class _Anchored:
    node: Node
    size: int
    height: int


def decode(data: bytes, findings: Findings) -> str | None:
    """The text of a file: UTF-8 with or without a mark; None, and a finding, for anything else."""
    if len(data) > MAX_BYTES:
        size = f"{len(data)} bytes"
        findings.error(Place(), "too-large", f"The file is too large: {size}, the bound is {MAX_BYTES}")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        hint = "save the file as UTF-8"
        findings.error(_place_in(before, len(before)), "not-utf8", "The file is not UTF-8 text", hint)
        return None
    bad = _FORBIDDEN.search(text)
    if bad:
        message = f"The file holds a character that YAML does not allow: U+{ord(bad[0]):04X}"
        findings.error(_place_in(text, bad.start()), "yaml-character", message)
        return None
    return text


def _place_in(text: str, index: int) -> Place:
    return Place(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def load(data: bytes | str, findings: Findings) -> Node | None:
    """The tree of the one document in a file; None if it is empty or broken, and then there is a finding.

    `data` is at most MAX_BYTES of UTF-8. Never raises for any input.
    """
    text = decode(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data, findings)
    if text is None:
        return None
    try:
        return _Loader(text, findings).load()
    except _Stop:
        return None
    except pyyaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place()
        message = ", ".join(part for part in (error.context, error.problem) if part)
        findings.error(place, "yaml-syntax", f"Not valid YAML: {message or 'syntax error'}", _syntax_hint(text, place))
        return None
    except pyyaml.YAMLError as error:
        findings.error(Place(), "yaml-syntax", f"Not valid YAML: {error}")
        return None


def _syntax_hint(text: str, place: Place) -> str | None:
    lines = text.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if line[: len(line) - len(line.lstrip())].find("\t") >= 0:
        return "YAML is indented with spaces, never with tabs"
    if ": " in line or line.rstrip().endswith(":"):
        return "check the indentation, and put quotes around a value that holds ': ' or starts with a special character"
    return None


def _events(text: str) -> Iterator[pyyaml.Event]:
    # Wheels of PyYAML have libyaml in them; a build from source without it is slower, and the same otherwise.
    return pyyaml.parse(text, getattr(pyyaml, "CSafeLoader", pyyaml.SafeLoader))


class _Loader:
    def __init__(self, text: str, findings: Findings) -> None:
        self.text = text
        self.findings = findings
        self.anchors: dict[str, _Anchored | None] = {}
        self.aliases = 0
        self.size = 0
        self.root: Node | None = None
        self.stack: list[_Frame] = []

    def load(self) -> Node | None:
        documents = 0
        for event in _events(self.text):
            if isinstance(event, pyyaml.ScalarEvent):
                node = self._scalar(event)
                self._count(node.place, 1)
                self._keep(event.anchor, node, 1, 1)
                self._add(node, 1, 1)
            elif isinstance(event, pyyaml.CollectionStartEvent):
                self._begin(event)
            elif isinstance(event, pyyaml.CollectionEndEvent):
                self._end()
            elif isinstance(event, pyyaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, pyyaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(self._place(event), "yaml-documents", "The file holds more than one document")
        if self.root is None or (isinstance(self.root, Scalar) and self.root.value is None):
            self._stop(Place(), "empty", "The file is empty", "a workflow needs at least 'on' and 'jobs'")
        return self.root

    def _count(self, place: Place, nodes: int) -> None:
        self.size += nodes
        if self.size > MAX_NODES:
            self._stop(place, "yaml-nodes", f"Maximum YAML nodes exceeded: more than {MAX_NODES}, aliases expanded")

    def _stop(self, place: Place, code: str, message: str, hint: str | None = None) -> None:
        self.findings.error(place, code, message, hint)
        raise _Stop

    @staticmethod
    def _place(event: pyyaml.Event) -> Place:
        mark = cast(_Mark, event.start_mark)  # the parser always gives one
        return Place(mark.line + 1, mark.column + 1)

    def _begin(self, event: pyyaml.CollectionStartEvent) -> None:
        place = self._place(event)
        if len(self.stack) >= MAX_DEPTH:
            self._stop(place, "yaml-depth", f"Nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None and event.tag not in _COLLECTION_TAGS and event.tag != "!":
            self._stop(place, "yaml-tag", f"Unexpected tag '{event.tag}'")
        if event.anchor is not None:
            self.anchors[event.anchor] = None  # known, and not finished: an alias to it from inside is a cycle
        self._check_key(place)
        self._count(place, 1)
        self.stack.append(_Frame(event, place, len(self.stack) + 1))

    def _check_key(self, place: Place) -> None:
        frame = self.stack[-1] if self.stack else None
        if frame and isinstance(frame.start, pyyaml.MappingStartEvent) and frame.key is None:
            self._stop(place, "yaml-key", "A key must be a scalar", "put quotes around a key that starts with [ or {")

    def _end(self) -> None:
        frame = self.stack.pop()
        node: Node
        if isinstance(frame.start, pyyaml.MappingStartEvent):
            node = MappingNode(frame.place, tuple(frame.entries), frame.by_name)
        else:
            node = SequenceNode(frame.place, tuple(frame.items))
        self._keep(frame.start.anchor, node, frame.size, frame.height)
        self._add(node, frame.size, frame.height)

    def _keep(self, anchor: str | None, node: Node, size: int, height: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = _Anchored(node, size, height)

    def _alias(self, event: pyyaml.AliasEvent) -> None:
        place = self._place(event)
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            self._stop(place, "yaml-aliases", f"More than {MAX_ALIASES} aliases")
        name = str(event.anchor)
        if name not in self.anchors:
            self._stop(place, "yaml-alias", f"Unknown anchor '{name}'")
        anchored = self.anchors[name]
        if anchored is None:
            self._stop(place, "yaml-alias", f"The anchor '{name}' holds an alias to itself")
            return
        if len(self.stack) + anchored.height > MAX_DEPTH:
            self._stop(place, "yaml-depth", f"Nested deeper than {MAX_DEPTH} levels")
        self._count(place, anchored.size)
        self._add(anchored.node, anchored.size, anchored.height)

    def _add(self, node: Node, size: int, height: int) -> None:
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.size += size
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.start, pyyaml.SequenceStartEvent):
            frame.items.append(node)
        elif frame.key is None:
            if not isinstance(node, Scalar):
                self._check_key(node.place)
                return
            frame.key = node
        else:
            self._entry(frame, frame.key, node)
            frame.key = None

    def _entry(self, frame: _Frame, key: Scalar, value: Node) -> None:
        text = key.text
        if text == "<<" and key.value is not None:
            hint = "GitHub does not know merge keys: repeat the entries, or alias the whole value"
            self.findings.error(key.place, "yaml-merge", "Merge keys are not supported", hint)
            return
        name = fold(text)
        first = frame.seen.get(name)
        if first is not None and "${{" not in text:
            hint = f"it stands first on line {first.place.line}"
            if first.text != text:
                hint += f" as '{first.text}'; keys that differ only in case are the same"
            self.findings.error(key.place, "duplicate-key", f"'{text}' is already defined", hint)
            return
        frame.seen[name] = key
        frame.entries.append((key, value))
        frame.by_name[text] = value

    def _scalar(self, event: pyyaml.ScalarEvent) -> Scalar:
        place = self._place(event)
        text: str = event.value
        raw = ""
        if "${{" in text:
            raw = self.text[cast(_Mark, event.start_mark).index : cast(_Mark, event.end_mark).index]
        name = None
        if event.tag is not None and event.tag != "!":
            name = _CORE_TAGS.get(event.tag)
            if name is None:
                self._stop(place, "yaml-tag", f"Unexpected tag '{event.tag}'")
        elif event.tag == "!" or event.style:  # a plain scalar has the style "" or None, as the parser has it
            name = "str"
        if name == "str":
            return Scalar(place, text, raw)
        value = self._resolve(text, place)
        if name is not None and (event.style or _name_of(value, text) not in (name, _WIDER.get(name))):
            self._stop(place, "yaml-tag", f"The value '{text[:80]}' is invalid for the type '{event.tag}'")
        return Scalar(place, value, raw)

    def _resolve(self, text: str, place: Place) -> Plain:
        if text in _NULLS:
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        if text[0] not in "+-.0123456789":
            return text
        if _INT.fullmatch(text) or _FLOAT.fullmatch(text):
            return float(text)
        if _BASED.fullmatch(text):
            digits = text[2:].lstrip("0") or "0"
            number = int(digits, 16 if text[1] == "x" else 8) if len(digits) <= 11 else 2**32
            if number >= 2**32:
                self._stop(place, "yaml-number", f"The number {text[:80]} is out of range", "put quotes around it")
            return float(number - 2**32 if number > MAX_INT32 else number)
        if _SPECIAL.fullmatch(text):
            if text[-1] in "nN":
                return NAN
            return -INFINITY if text[0] == "-" else INFINITY
        return text


_WIDER: Final = {"float": "int"}


def _name_of(value: Plain, text: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, float):
        return "int" if _INT.fullmatch(text) or _BASED.fullmatch(text) else "float"
    return "str"
