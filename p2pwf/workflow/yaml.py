"""The loader: bytes in, a tree of nodes with places out. Knows YAML, and nothing of workflows.

It builds on PyYAML's event stream (libyaml where the wheel has it), never on its constructors: those recurse on
input, read YAML 1.1 (`on` is true) and drop duplicate keys. The event parser itself keeps its own stack, hands out
an event at a time, and is left at once when a bound is passed, so no count of brackets beforehand is needed.
Scalars follow the core schema of the YAML 1.2.2 specification, chapter 10.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NoReturn, Protocol, cast

import attrs
import yaml as pyyaml

from p2pwf.workflow.diagnostics import Findings, Place
from p2pwf.workflow.expr.values import INFINITY, MAX_INT32, NAN, fold
from p2pwf.workflow.nodes import MappingNode, Mark, Node, Plain, Scalar, SequenceNode

MAX_BYTES: Final = 256 * 1024
"""Size of a workflow file: what a submission carries; real ones are a hundredth of it."""
MAX_DEPTH: Final = 50
"""Lists and mappings within each other, GitHub's bound."""
MAX_ALIASES: Final = 1000
"""Aliases in one file; GitHub bounds only what they stand for."""
MAX_NODES: Final = 50_000
"""Events of the YAML stream, each alias counted as all that it stands for: GitHub's own bound."""
MAX_READ: Final = 40_000
"""Of these those that stand in the file: more could not be read and judged in a tenth of a second. A file of full size
with jobs as people write them has half as many."""
FRAME_EVENTS: Final = 4
"""Of these the beginnings and ends of the stream and of its document."""

_CORE_TAGS: Final = {f"tag:yaml.org,2002:{name}": name for name in ("null", "bool", "int", "float", "str")}
_WORDS: Final[dict[str, Plain]] = {
    **dict.fromkeys(("", "null", "Null", "NULL", "~"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NUMBER_START: Final = frozenset("+-.0123456789")
MAX_BASED: Final = 13
"""Characters of a number of 32 bits in base eight, `0o` and all."""
_BASES: Final = frozenset("xo")
_BASED = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_SPECIAL = re.compile(r"[+-]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Events(Protocol):
    """PyYAML's parser, by hand or libyaml's."""

    def get_event(self) -> pyyaml.Event | None: ...

    def dispose(self) -> None: ...


class _Stop(Exception):
    """Loading cannot go on; the finding is recorded."""


@attrs.define(slots=True)
class _Frame:
    """A collection under construction: a sequence has `items`, a mapping has None there."""

    mark: Mark
    anchor: str | None
    items: list[Node] | None
    size: int
    height: int = 1
    key: Scalar | None = None
    entries: dict[object, tuple[Scalar, Node]] = attrs.Factory(dict)


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


def _parser(text: str) -> _Events:
    # Wheels of PyYAML have libyaml in them; a build from source without it is slower, and the same otherwise.
    return cast(_Events, getattr(pyyaml, "CSafeLoader", pyyaml.SafeLoader)(text))


class _Loader:
    """Takes one event after the other. What is done for every node is written out in `load`: it decides the speed."""

    def __init__(self, text: str, findings: Findings) -> None:
        self.text = text
        self.findings = findings
        self.anchors: dict[str, _Anchored | None] = {}
        self.folded: dict[str, str] = {}
        self.aliases = 0
        self.size = FRAME_EVENTS
        self.limit = MAX_READ  # and what aliases stand for, which is not read again
        self.root: Node | None = None
        self.stack: list[_Frame] = []

    def load(self) -> Node | None:
        parser = _parser(self.text)
        try:
            self._read(parser.get_event)
        finally:
            parser.dispose()
        if self.root is None or (isinstance(self.root, Scalar) and self.root.value is None):
            self._stop(Place(), "empty", "The file is empty", "a workflow needs at least 'on' and 'jobs'")
        return self.root

    def _read(self, next_event: Callable[[], pyyaml.Event | None]) -> None:
        documents = 0
        stack, is_scalar, may_be_other = self.stack, pyyaml.ScalarEvent, _MAY_BE_OTHER
        frame: _Frame | None = None
        items: list[Node] | None = None
        size, limit, folded = self.size, self.limit, self.folded
        while (event := next_event()) is not None:
            if type(event) is is_scalar:
                text: str = event.value
                mark: Mark = event.start_mark  # type: ignore[assignment]  # the parser always gives one
                if event.tag is not None or "${{" in text:
                    scalar = self._scalar(event, mark)
                elif event.style or text[:1] not in may_be_other:
                    scalar = Scalar(mark, text)
                else:
                    scalar = Scalar(mark, self._resolve(text, mark))
                size += 1
                if size > limit:
                    self._too_many(mark)
                if event.anchor is not None:
                    self.anchors[event.anchor] = _Anchored(scalar, 1, 0)
                if items is not None:
                    items.append(scalar)
                elif frame is None:
                    self.root = scalar
                elif (key := frame.key) is None:
                    frame.key = scalar
                else:
                    name = folded.get(key.value)  # type: ignore[arg-type]  # one that is no string is not in it
                    if name is not None and name not in frame.entries:
                        frame.entries[name] = (key, scalar)
                    else:
                        self._entry(frame, key, scalar)
                    frame.key = None
                continue
            self.size = size
            if isinstance(event, pyyaml.CollectionStartEvent):
                self._begin(event, isinstance(event, pyyaml.MappingStartEvent))
            elif isinstance(event, pyyaml.CollectionEndEvent):
                self._end()
            elif isinstance(event, pyyaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, pyyaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(_place_of(event), "yaml-documents", "The file holds more than one document")
            size, limit = self.size, self.limit
            frame = stack[-1] if stack else None
            items = None if frame is None else frame.items

    def _too_many(self, mark: Mark) -> NoReturn:
        if self.limit < MAX_NODES and self.size <= MAX_NODES:
            self.findings.too_complex()
            raise _Stop
        hint = "GitHub counts keys, values, and both ends of lists and mappings, aliases expanded; split the file"
        self._stop(
            Place(mark.line + 1, mark.column + 1),
            "yaml-nodes",
            f"Maximum YAML nodes exceeded: more than {MAX_NODES}",
            hint,
        )

    def _stop(self, place: Place, code: str, message: str, hint: str | None = None) -> NoReturn:
        self.findings.error(place, code, message, hint)
        raise _Stop

    def _begin(self, event: pyyaml.CollectionStartEvent, is_mapping: bool) -> None:
        stack = self.stack
        if len(stack) >= MAX_DEPTH:
            self._too_deep(_place_of(event))
        anchor = event.anchor
        if anchor is not None:
            self.anchors[anchor] = None  # known, and not finished: an alias to it from inside is a cycle
        if stack and stack[-1].items is None and stack[-1].key is None:
            self._bad_key(_place_of(event))
        self.size += 1
        if self.size > self.limit:
            self._too_many(cast(Mark, event.start_mark))
        stack.append(_Frame(cast(Mark, event.start_mark), anchor, None if is_mapping else [], self.size))

    def _too_deep(self, place: Place) -> NoReturn:
        self._stop(place, "yaml-depth", f"Nested deeper than {MAX_DEPTH} levels")

    def _bad_key(self, place: Place) -> NoReturn:
        self._stop(place, "yaml-key", "A key must be a scalar", "put quotes around a key that starts with [ or {")

    def _end(self) -> None:
        frame = self.stack.pop()
        self.size += 1
        node: Node
        if frame.items is not None:
            node = SequenceNode(frame.mark, tuple(frame.items))
        else:
            node = MappingNode(frame.mark, tuple(frame.entries.values()), frame.entries)
        if self.size > self.limit:
            self._too_many(frame.mark)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = _Anchored(node, self.size - frame.size + 1, frame.height)
        self._add(node, frame.height)

    def _alias(self, event: pyyaml.AliasEvent) -> None:
        place = _place_of(event)
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            self._stop(place, "yaml-aliases", f"More than {MAX_ALIASES} aliases")
        name = str(event.anchor)
        if name not in self.anchors:
            self._stop(place, "yaml-alias", f"Unknown anchor '{name}'")
        anchored = self.anchors[name]
        if anchored is None:
            self._stop(place, "yaml-alias", f"The anchor '{name}' holds an alias to itself")
        if len(self.stack) + anchored.height > MAX_DEPTH:
            self._too_deep(place)
        self.size += anchored.size
        if self.size > MAX_NODES:
            self._too_many(cast(Mark, event.start_mark))
        self.limit = min(MAX_NODES, self.limit + anchored.size)
        self._add(anchored.node, anchored.height)

    def _add(self, node: Node, height: int) -> None:
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        if height >= frame.height:
            frame.height = height + 1
        if frame.items is not None:
            frame.items.append(node)
        elif frame.key is None:
            if not isinstance(node, Scalar):
                self._bad_key(node.place)
            frame.key = node
        else:
            self._entry(frame, frame.key, node)
            frame.key = None

    def _entry(self, frame: _Frame, key: Scalar, value: Node) -> None:
        text = key.value if type(key.value) is str else key.text
        name = self.folded.get(text)
        if name is None:
            name = fold(text)
            if text != "<<":
                self.folded[text] = name
        entries = frame.entries
        if name not in entries and text != "<<":
            entries[name] = (key, value)
            return
        if text == "<<" and key.value is not None:
            hint = "GitHub does not know merge keys: repeat the entries, or alias the whole value"
            self.findings.error(key, "yaml-merge", "Merge keys are not supported", hint)
        elif "${{" in text:
            entries[name, len(entries)] = (key, value)  # two expressions may be alike: each is evaluated
        elif self.findings.full:
            self.findings.error(key, "duplicate-key", "")  # counted
        elif name in entries:
            first = entries[name][0]
            hint = f"it stands first on line {first.place.line}"
            if first.text != text:
                hint += f" as '{first.text}'; keys that differ only in case are the same"
            self.findings.error(key, "duplicate-key", f"'{text}' is already defined", hint)

    def _scalar(self, event: pyyaml.ScalarEvent, mark: Mark) -> Scalar:
        """A scalar that has a tag or an expression."""
        text: str = event.value
        raw = self.text[mark.index : cast(Mark, event.end_mark).index] if "${{" in text else ""
        tag = event.tag
        if tag is None or tag == "!":
            if event.style or tag or text[:1] not in _MAY_BE_OTHER:
                return Scalar(mark, text, raw)
            return Scalar(mark, self._resolve(text, mark), raw)
        name = _CORE_TAGS.get(tag)
        if name is None:
            self._stop(_place_of(event), "yaml-tag", f"Unexpected tag '{tag}'")
        if name == "str":
            return Scalar(mark, text, raw)
        value = self._resolve(text, mark)
        if event.style or _name_of(value, text) not in (name, _WIDER.get(name)):
            self._stop(_place_of(event), "yaml-tag", f"The value '{text[:80]}' is invalid for the type '{tag}'")
        return Scalar(mark, value, raw)

    def _resolve(self, text: str, mark: Mark) -> Plain:
        if text[:1] not in _NUMBER_START:
            return _WORDS.get(text, text)
        if text[1:2] not in _BASES and _FLOAT.fullmatch(text):  # whole numbers are such as well
            return float(text)
        if _BASED.fullmatch(text):
            short = text if len(text) <= MAX_BASED else text[:2] + (text[2:].lstrip("0") or "0")
            number = int(short, 0) if len(short) <= MAX_BASED else 2**32
            if number >= 2**32:
                place = Place(mark.line + 1, mark.column + 1)
                self._stop(place, "yaml-number", f"The number {text[:80]} is out of range", "put quotes around it")
            return float(number - 2**32 if number > MAX_INT32 else number)
        if _SPECIAL.fullmatch(text):
            if text[-1] in "nN":
                return NAN
            return -INFINITY if text[0] == "-" else INFINITY
        return text


def _place_of(event: pyyaml.Event) -> Place:
    mark = cast(Mark, event.start_mark)
    return Place(mark.line + 1, mark.column + 1)


_MAY_BE_OTHER: Final = frozenset(("", *"+-.0123456789~nNtTfF"))
"""First characters of plain scalars that may be no strings."""
_WIDER: Final = {"float": "int"}


def _name_of(value: Plain, text: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, float):
        return "int" if _INT.fullmatch(text) or _BASED.fullmatch(text) else "float"
    return "str"
