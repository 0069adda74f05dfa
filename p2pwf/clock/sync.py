"""Anti-entropy: what a peer says it has, and what it therefore lacks. Pure functions over the DAG.

One line for each author is enough because accepted sets are causally closed: who has event n of a chain has all below
it. A line is a hint: a wrong one costs a resend or a request by id, never a wrong set, since ids are hashes. Bytes grow
with the number of authors and the difference, not with the log. Source: protocols/clock.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from p2pwf.clock.dag import Dag, Node
from p2pwf.clock.messages import MAX_TIPS, TAG_LENGTH
from p2pwf.core.ids import PeerId

Frontier = Mapping[PeerId, tuple[tuple[int, bytes], ...]]

MAX_LINES = 12_288
"""Tips in a frontier: with 54 bytes for the author and 20 for the tip, 909 KB."""
FORK_REACH = 256
"""How far below a tip that we do not know the resend starts: half of what one message holds, more is asked for."""


def tag(node: Node) -> bytes:
    """The first bytes of an event's digest, as a frontier names it."""
    return bytes(node.cid[4 : 4 + TAG_LENGTH])


def frontier(dag: Dag) -> dict[PeerId, tuple[tuple[int, bytes], ...]]:
    """Of each author, (seq, tag) of the tips of its chain; at most MAX_TIPS of a forked one.

    A frame has room for MAX_LINES tips: of more authors, those with the longest chains are named.
    """
    lines = {}
    room = MAX_LINES
    authors = list(dag.authors())
    if len(authors) > room // MAX_TIPS:
        authors.sort(key=dag.length, reverse=True)
    for author in authors:
        tips = dag.tips(author)[-MAX_TIPS:]
        if tips and len(tips) <= room:
            lines[author] = tuple((tip.seq, tag(tip)) for tip in tips)
            room -= len(tips)
    return lines


def lacking(dag: Dag, theirs: Frontier, within: Callable[[Node], bool] | None = None) -> list[Node]:
    """The events of effect that a peer with frontier `theirs` lacks, in topological order.

    `within` names other events instead, void ones among them: a causally closed set, so that no link is missing.
    Cost: proportional to the authors and the difference.
    """
    wanted = within or (lambda node: not node.void)
    nodes: list[Node] = []
    for author in dag.authors():
        tips = theirs.get(author, ())
        known = [node for seq, mark in tips for node in dag.at(author, seq) if tag(node) == mark]
        if known or not tips:
            since = 0 if dag.is_forked(author) or not known else max(node.seq for node in known) + 1
            has = dag.chain(known)
            nodes.extend(node for node in dag.of(author, since) if wanted(node) and not has(node))
        else:
            nodes.extend(node for node in _beside(dag, author, min(seq for seq, _ in tips)) if wanted(node))
    nodes.sort(key=lambda node: node.order)
    return nodes


def _beside(dag: Dag, author: PeerId, lowest: int) -> Iterator[Node]:
    """What of a chain a peer may lack that names no tip which is known here, the lowest of them at seq `lowest`.

    Beyond our end they are ahead of us, else they have another branch, which left ours not far below. Either way their
    tips stand on one of our branches at the most: what is on none but the others they lack, whatever its depth.
    """
    end = dag.length(author)
    since = end if lowest >= end else max(0, lowest - FORK_REACH)
    if not dag.is_forked(author):
        yield from dag.of(author, since)
        return
    longest = dag.chain(dag.tips(author)[-1:])
    yield from (node for node in dag.of(author) if node.seq >= since or not longest(node))
