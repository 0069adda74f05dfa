"""The index of the DAG: nodes, chains of authors, heads. Knows no rule about who may write what.

A node is the little that must be in memory of an event (about 300 bytes); blocks stay on disk. Lamport numbers rise
along every link, so (lamport, id) is a topological order, and nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256

from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId


class Frontier:
    """A causally closed set of membership events, as a bit mask; one object per set, shared by many nodes."""

    __slots__ = ("mask",)

    def __init__(self, mask: int) -> None:
        self.mask = mask


class Node:
    """One event in the DAG. `frontier`: the membership events below it. `void`: without effect since a cut. `unknown`:
    bytes of the events of unknown type in its author's chain up to here. `pruned`: only a stub of it is here."""

    __slots__ = (
        "author", "bit", "cid", "frontier", "lamport", "links", "pruned", "role", "run", "seq", "unknown", "void",
    )  # fmt: skip

    def __init__(
        self,
        event: Event,
        links: tuple[Node, ...],
        frontier: Frontier,
        role: str | None,
        author: PeerId,
        run: Cid | None,
        unknown: int,
    ) -> None:
        self.cid = event.cid
        self.author = author
        self.seq = event.seq
        self.lamport = event.lamport
        self.links = links
        self.frontier = frontier
        self.role = role
        self.run = run
        self.unknown = unknown
        self.bit = 0
        self.void = False
        self.pruned = event.pruned

    @property
    def order(self) -> tuple[int, Cid]:
        return self.lamport, self.cid

    @property
    def below(self) -> int:
        """The mask of the membership events at or below this node."""
        return self.frontier.mask | self.bit


class Past:
    """A causally closed set, in little: of each author how far up its chain; of one that forked, which events."""

    __slots__ = ("_events", "_highest")

    def __init__(self, highest: dict[PeerId, int], events: dict[PeerId, set[Cid]]) -> None:
        self._highest = highest
        self._events = events

    def put(self, node: Node) -> None:
        """Count a node in; the whole of a closed set has to be put."""
        if node.author in self._events:
            self._events[node.author].add(node.cid)
        else:
            self._highest[node.author] = max(node.seq, self._highest.get(node.author, -1))

    def knows_fork(self, author: PeerId) -> bool:
        """Whether the events of this author are told one by one."""
        return author in self._events

    def __contains__(self, node: Node) -> bool:
        events = self._events.get(node.author)
        return node.cid in events if events is not None else node.seq <= self._highest.get(node.author, -1)


class Dag:
    """All accepted events. Iterating gives the nodes in order of acceptance, which is a topological order."""

    def __init__(self) -> None:
        self._nodes: dict[Cid, Node] = {}
        self._chains: dict[PeerId, list[Node]] = {}
        """Of each author the first event of each seq to be accepted."""
        self._twins: dict[PeerId, dict[int, list[Node]]] = {}
        """Of an author that forked, the others."""
        self._heads: dict[Cid, Node] = {}
        self._tips: dict[PeerId, list[Node]] = {}
        """Of an author that forked, what `tips` found; until its chain or what is void changes."""

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, cid: object) -> bool:
        return cid in self._nodes

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def get(self, cid: Cid) -> Node | None:
        return self._nodes.get(cid)

    def __getitem__(self, cid: Cid) -> Node:
        return self._nodes[cid]

    def add(self, node: Node) -> None:
        """Put in a node whose links are all here."""
        self._nodes[node.cid] = node
        chain = self._chains.setdefault(node.author, [])
        self._tips.pop(node.author, None)
        if node.seq == len(chain):
            chain.append(node)
        else:
            self._twins.setdefault(node.author, {}).setdefault(node.seq, []).append(node)

    def crown(self, node: Node) -> None:
        """Make a node that was just put in a head, in place of what it stands on; unless it is void."""
        self._tips.pop(node.author, None)
        if not node.void:
            for link in node.links:
                self._heads.pop(link.cid, None)
            self._heads[node.cid] = node

    def authors(self) -> Iterable[PeerId]:
        return self._chains.keys()

    def is_forked(self, author: PeerId) -> bool:
        return author in self._twins

    def forked(self) -> Iterable[PeerId]:
        """The authors of two events of one seq."""
        return self._twins.keys()

    def at(self, author: PeerId, seq: int) -> list[Node]:
        """The events of an author at one seq: none, one, or more than one if it forked."""
        chain = self._chains.get(author, [])
        if not 0 <= seq < len(chain):
            return []
        return [chain[seq], *self._twins.get(author, {}).get(seq, ())]

    def forks(self, author: PeerId) -> Iterator[list[Node]]:
        """The events of each seq at which an author wrote more than one, by seq."""
        for seq in sorted(self._twins.get(author, ())):
            yield self.at(author, seq)

    def length(self, author: PeerId) -> int:
        """One more than the highest seq of an author; 0 for one never heard."""
        return len(self._chains.get(author, ()))

    def of(self, author: PeerId, since: int = 0) -> Iterator[Node]:
        """An author's events from seq `since` on, by seq."""
        twins = self._twins.get(author, {})
        for node in self._chains.get(author, [])[since:]:
            yield node
            yield from twins.get(node.seq, ())

    def tips(self, author: PeerId) -> list[Node]:
        """The ends of an author's chain that are not void: one, or several if it forked; by (lamport, id)."""
        if author not in self._twins:
            newest = next((node for node in reversed(self._chains.get(author, [])) if not node.void), None)
            return [] if newest is None else [newest]
        found = self._tips.get(author)
        if found is None:
            alive = [node for node in self.of(author) if not node.void]
            followed = {link.cid for node in alive for link in node.links if link.author == author}
            found = sorted((node for node in alive if node.cid not in followed), key=lambda node: node.order)
            self._tips[author] = found
        return found

    def heads(self) -> list[Node]:
        """The events that no event of effect stands on, sorted by id."""
        return [self._heads[cid] for cid in sorted(self._heads)]

    def digest(self) -> bytes:
        """SHA-256 over the concatenated binary ids of the sorted heads: equal digests, equal sets of effect."""
        return sha256(b"".join(sorted(self._heads))).digest()

    def rebuild_heads(self) -> None:
        """Find the heads anew, after a cut made events void. Cost: linear in the log; cuts are rare."""
        self._tips.clear()
        covered = {link.cid for node in self._nodes.values() if not node.void for link in node.links}
        self._heads = {cid: node for cid, node in self._nodes.items() if not node.void and cid not in covered}

    def past(self, cid: Cid) -> Past:
        """What is at or below `cid`. Cost: linear in it. Asked once for each cut that took effect."""
        start = self._nodes[cid]
        seen = {start.cid}
        stack = [start]
        past = Past({}, {author: set() for author in self._twins})
        while stack:
            node = stack.pop()
            past.put(node)
            for link in node.links:
                if link.cid not in seen:
                    seen.add(link.cid)
                    stack.append(link)
        return past

    def chain(self, tips: Iterable[Node]) -> Callable[[Node], bool]:
        """A test whether an event of one author is among `tips`, or one of them stands on it by events of this author.

        Cost: linear in the chain for an author that forked, else none.
        """
        tips = list(tips)
        if not tips:
            return lambda _: False
        tips_author = tips[0].author
        if tips_author not in self._twins:
            highest = max(tip.seq for tip in tips)
            return lambda node: node.seq <= highest
        covered = {tip.cid for tip in tips}
        stack = tips
        while stack:
            for link in stack.pop().links:
                if link.author == tips_author and link.cid not in covered:
                    covered.add(link.cid)
                    stack.append(link)
        return lambda node: node.cid in covered
