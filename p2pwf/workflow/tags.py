"""Our tags: words in a workflow's or job's name or labels that mark a file as meant for a peer-to-peer network.

Knows only nodes, so that the tags are known before the file is checked: a tagged file is checked more leniently.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from p2pwf.workflow.nodes import MappingNode, Node, Scalar, SequenceNode

TAGS: Final = ("p2p-workflow", "offline-workflow")


def tags_in(texts: Iterable[str]) -> tuple[str, ...]:
    """The tags that occur, as substrings and without regard to case, in any of some names or labels."""
    lowered = [text.lower() for text in texts]
    return tuple(tag for tag in TAGS if any(tag in text for text in lowered))


def tags_of(root: Node) -> tuple[str, ...]:
    """The tags of a file: in the workflow's `name` and `labels`, and in those of its jobs. Never fails."""
    texts: list[str] = []
    if not isinstance(root, MappingNode):
        return ()
    _collect(root, texts)
    jobs = root.get("jobs")
    if isinstance(jobs, MappingNode):
        for key, job in jobs.entries:
            texts.append(key.text)
            if isinstance(job, MappingNode):
                _collect(job, texts)
    return tags_in(texts)


def words_of(node: Node | None) -> tuple[str, ...]:
    """The strings of a scalar or of a sequence of scalars; nothing else counts."""
    if isinstance(node, Scalar):
        return (node.text,) if node.text else ()
    if isinstance(node, SequenceNode):
        return tuple(item.text for item in node.items if isinstance(item, Scalar) and item.text)
    return ()


def _collect(mapping: MappingNode, texts: list[str]) -> None:
    name = mapping.get("name")
    if isinstance(name, Scalar):
        texts.append(name.text)
    texts.extend(words_of(mapping.get("labels")))
