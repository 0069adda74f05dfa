"""Who is alive, as far as this node can tell, on its own monotonic clock; beats, probes, presence.

Silence counts from the latest of: last heard, own start, own wake (a gap in ticks), own first completed sync. After
such a gap this node judges nothing and writes no outcome until it has synced with a member or waited a lease. A shorter
gap, in which this node stood still, is no silence of others: what they said meanwhile waits to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from p2pwf.clock.messages import MAX_PEERS, Attempt, Beat, Peers, Presence, Probe
from p2pwf.core.ids import Cid, PeerId
from p2pwf.engine.config import (
    BEAT,
    GRACE,
    GREETING,
    PRESENCE_EVERY,
    PRESENCE_LASTS,
    PROBE_LEAD,
    RESUME_WAIT,
    STUMBLE,
    WAKE_GAP,
    WATCHERS,
)
from p2pwf.engine.desk import Desk
from p2pwf.engine.outputs import Learned, Publish, Send
from p2pwf.engine.syncer import Syncer
from p2pwf.runs import Run

BEAT_CHUNK = 1024
"""Attempts in one beat: a frame holds several times as many."""
TOLD_PEERS = 128
TOLD_ADDRESSES = 4
"""Of how many members, and how many addresses each, a new connection is told: well within one frame."""
PASSED_ON = 8
"""To how many a member's own addresses are passed on: whoever dials it is told of the rest, and tells them of it."""


@attrs.define(slots=True, eq=False)
class _Watched:
    """Times of an attempt of another peer, in attended seconds: when it was first seen here, when its owner was last
    heard of it, since when beats are expected, when it was last asked for."""

    known: float
    heard: float
    expecting: float | None = None
    probed: float = -PROBE_LEAD
    started: bool = False


class Liveness:
    """Beliefs about peers and attempts. `seen`: when a peer was last heard, on this node's clock."""

    def __init__(self, desk: Desk, syncer: Syncer) -> None:
        self._desk = desk
        self._syncer = syncer
        self._watched: dict[Cid, dict[Attempt, _Watched]] = {}
        self.ahead: dict[PeerId, int] = {}
        """Of connected members, how many ms their wall clocks are ahead of this node's, less what a hello takes."""
        self.seen: dict[PeerId, float] = {}
        self.last_heard: dict[PeerId, float] = {}
        """As `seen`, but never taken back: for people to look at."""
        self.lost_peers: set[PeerId] = set()
        self._first_seen: dict[PeerId, float] = {}
        self.presence: dict[PeerId, Presence] = {}
        self._own_word: dict[PeerId, tuple[str, ...]] = {}
        """Addresses of members as they told them on a stream of theirs, by the newest connection that did."""
        self._has_told: dict[PeerId, bool] = {}
        """Who is connected, the newest last, and whether it has told its own addresses since it is."""
        self._hints: dict[PeerId, tuple[str, ...]] = {}
        """Addresses at second hand of peers that are no members, as far as is known here."""
        self._addresses: tuple[str, ...] = ()
        self._paused = False
        self._last_step = desk.now.mono
        self._attended = 0.0
        """Seconds since the start without the gaps in which this node stood still."""
        self._trusted_since = 0.0
        """In attended seconds, from when on silence counts at all."""
        self._awake_since = desk.now.mono
        self._first_sync: float | None = None
        self._next_beat = 0.0
        self._next_presence = 0.0
        self.load = 0

    # -- peers --------------------------------------------------------------------------------------------------

    def heard_from(self, peer: PeerId) -> None:
        self.seen[peer] = self.last_heard[peer] = self._desk.now.mono
        self.lost_peers.discard(peer)

    def told_time(self, peer: PeerId, time: int | None) -> None:
        """A member says what its wall clock shows. Judges nothing: it is for people to look at."""
        if time is not None:
            self.ahead[peer] = time - self._desk.now.wall

    def lost(self, peer: PeerId) -> None:
        """Its connection ended: until it is heard again it is not held alive."""
        self.seen.pop(peer, None)
        self.ahead.pop(peer, None)
        self._has_told.pop(peer, None)
        self.lost_peers.add(peer)

    def present(self, peer: PeerId, message: Presence) -> None:
        self.heard_from(peer)
        before = self.presence.get(peer)
        self.presence[peer] = message
        if before is None or before.addresses != message.addresses:
            self._desk.emit(Learned(peer, message.addresses))

    def is_alive(self, peer: PeerId) -> bool:
        """Whether a member is connected, or was heard within a few presence intervals."""
        if peer == self._desk.me or peer in self._syncer.connected:
            return True
        last = self.seen.get(peer)
        return last is not None and self._desk.now.mono - last < PRESENCE_LASTS * self._presence_every()

    def is_absent(self, peer: PeerId) -> bool:
        """Whether a member is to be passed over by a submission: paused; or not alive, and not just new to this node,
        which may have had no time to hear it."""
        told = self.presence.get(peer)
        if (peer == self._desk.me and self._paused) or (told is not None and told.slots == 0):
            return True
        since = self._first_seen.setdefault(peer, self._desk.now.mono)
        return not self.is_alive(peer) and (peer in self.lost_peers or self._desk.now.mono - since >= GRACE)

    def _presence_every(self) -> float:
        return max(PRESENCE_EVERY, len(self._desk.roster.members) / 20)

    def set_paused(self, on: bool) -> None:
        """Tell the others, at once, that this node starts nothing, or does again."""
        self._paused = on
        self._next_presence = self._desk.now.mono

    def set_addresses(self, addresses: tuple[str, ...]) -> None:
        if addresses != self._addresses:
            self._addresses = addresses
            self._next_presence = self._desk.now.mono

    # -- own state ----------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Before anything else of every input: notice a gap, and the first sync after one."""
        now = self._desk.now.mono
        gap, self._last_step = now - self._last_step, now
        if gap <= STUMBLE:
            self._attended += gap
        if gap > WAKE_GAP:
            self._awake_since = now
            self._first_sync = None
            self._trusted_since = self._attended
        synced = self._syncer.synced_at
        if self._first_sync is None and synced is not None and synced >= self._awake_since:
            self._first_sync = synced
            self._trusted_since = self._attended

    @property
    def suspended(self) -> bool:
        """Whether this node has just started or woken, and has neither waited a lease nor synced with a member.

        After that sync it waits RESUME_WAIT more: who was about to take over its attempts has heard its beats by then,
        or its takeover has come in."""
        now = self._desk.now.mono
        if len(self._desk.roster.members) <= 1 or now - self._awake_since >= self._desk.config.lease:
            return False
        return self._first_sync is None or now - self._first_sync < RESUME_WAIT

    def tick(self, held: Callable[[], Iterable[tuple[Run, Attempt]]]) -> None:
        """Send what is due: beats for what this node holds, its presence."""
        now = self._desk.now.mono
        if now >= self._next_beat:
            self._next_beat = now + BEAT
            self._beat(held())
        self._take_hints()
        for peer in self._desk.roster.members:
            self._first_seen.setdefault(peer, now)
        if now >= self._next_presence and self._desk.roster.holds(self._desk.me, None):
            self._next_presence = now + self._presence_every()
            config = self._desk.config
            message = Presence(
                config.boot, self._addresses, config.version, self.load, config.slots if self._starts() else 0
            )
            self._desk.emit(Publish(message))

    # -- attempts -----------------------------------------------------------------------------------------------

    def watchers(self, run: Run, attempt: Attempt) -> list[PeerId]:
        """Who expects this node's beats for an attempt: the next live candidates, and the submitter."""
        order = run.order((attempt.job, attempt.leg), self._desk.roster)
        alive = [peer for peer in order if peer != self._desk.me and self.is_alive(peer)]
        return list(dict.fromkeys([*alive[:WATCHERS], run.submitter]))

    def expects_beats(self, attempt: Attempt, owner: PeerId, rank: int) -> bool:
        """Whether this node may judge an attempt silent: its owner is not alive at all, or beats to this node, being
        connected and this node near enough in order. Silence counts from when that began: who is not told of beats
        cannot tell silence from not being told."""
        watched = self._watch(attempt)
        if self.is_alive(owner) and not (rank < WATCHERS and owner in self._syncer.connected):
            watched.expecting = None
            return False
        if watched.expecting is None:
            watched.expecting = self._attended
        return True

    def _watch(self, attempt: Attempt) -> _Watched:
        """What is remembered of an attempt, from the first time on that it is asked for."""
        watched = self._watched.setdefault(attempt.run, {})
        found = watched.get(attempt)
        if found is None:
            found = watched[attempt] = _Watched(self._attended, self._attended)
        return found

    def greet(self, peer: PeerId) -> None:
        """A peer has just connected: it may be about to judge our attempts, and may know few others."""
        now = self._desk.now.mono
        self._next_beat = now
        self._next_presence = min(self._next_presence, now + GREETING)
        self._has_told[peer] = False
        heard = {other: presence.addresses for other, presence in self.presence.items()}
        known = {**self._own_word, **heard}
        members = {other: told for other, told in known.items() if self._desk.roster.holds(other, None)}
        self._tell(peer, {**members, self._desk.me: self._addresses})

    def told(self, peer: PeerId, message: Peers) -> None:
        """Hear addresses from a connected member: its own, and those of others at second hand.

        Its own, if they are news, are passed on at once to those who connected last. Gossip does not reach a member in
        its first moments, and if the one that it knows died in these, it and the rest would never find each other. Once
        a connection, so that nobody makes us talk.

        Those of others are taken where the member itself has not been heard. A node that has just joined is told them
        before the events that say who is a member, so those of strangers wait: the newest MAX_PEERS.
        """
        own = message.addresses.get(peer, ())[:TOLD_ADDRESSES]
        if own and self._has_told.get(peer) is False:
            self._has_told[peer] = True
            presence = self.presence.get(peer)
            is_news = own not in (self._own_word.get(peer), presence and presence.addresses[:TOLD_ADDRESSES])
            self._own_word[peer] = own
            others = [other for other in self._has_told if other != peer]
            for other in others[-PASSED_ON:] if is_news else ():
                self._tell(other, {peer: own})
        self._hints.update(message.addresses)
        for old in list(self._hints)[:-MAX_PEERS]:
            del self._hints[old]
        self._take_hints()

    def _tell(self, peer: PeerId, addresses: Mapping[PeerId, tuple[str, ...]]) -> None:
        """Tell a peer where others are, the newest TOLD_PEERS of them, as far as there is anything to tell."""
        known = {other: told[:TOLD_ADDRESSES] for other, told in addresses.items() if told and other != peer}
        if known:
            self._desk.emit(Send(peer, Peers(dict(list(known.items())[-TOLD_PEERS:]))))

    def _take_hints(self) -> None:
        for peer in [peer for peer in self._hints if self._desk.roster.holds(peer, None)]:
            addresses = self._hints.pop(peer)
            if peer != self._desk.me and peer not in self.presence:
                self._desk.emit(Learned(peer, addresses))

    def _starts(self) -> bool:
        """Whether this node starts jobs at all."""
        return not self._paused and self._desk.frozen is None

    def _beat(self, held: Iterable[tuple[Run, Attempt]]) -> None:
        by_peer: dict[PeerId, list[Attempt]] = {}
        # Who may not write cannot say how an attempt ended: others are to take it over.
        for run, attempt in held if self._desk.frozen is None else ():
            for peer in self.watchers(run, attempt):
                if peer in self._syncer.connected:
                    by_peer.setdefault(peer, []).append(attempt)
        for peer, attempts in by_peer.items():
            for start in range(0, len(attempts), BEAT_CHUNK):
                self._desk.emit(Send(peer, Beat(tuple(attempts[start : start + BEAT_CHUNK]))))

    def beat(self, peer: PeerId, message: Beat) -> None:
        """Hear a peer of the attempts that it owns; what it says of any other counts for nothing."""
        for attempt in message.held:
            run = self._desk.active.get(attempt.run)
            key = (attempt.job, attempt.leg)
            if run is None or run.leg(key) is None or run.owner(key) != peer:
                continue
            if run.tally.leg(key).attempt == attempt.number:
                self._watch(attempt).heard = self._attended

    def probe(self, peer: PeerId, message: Probe, holds: Callable[[Attempt], bool]) -> None:
        """Answer at once for what this node holds of what it is asked for."""
        held = tuple(attempt for attempt in message.asked if self._desk.frozen is None and holds(attempt))
        if held:
            self._desk.emit(Send(peer, Beat(held)))

    def note(self, attempt: Attempt, started: bool) -> None:
        """Remember when this node first saw that another peer owns an attempt; and hear its owner in the start."""
        watched = self._watch(attempt)
        if started and not watched.started:
            watched.started, watched.heard = True, self._attended

    def silence(self, attempt: Attempt) -> float:
        """Attended seconds for which nothing was heard of an attempt that another peer owns."""
        watched = self._watch(attempt)
        expecting = watched.known if watched.expecting is None else watched.expecting
        return self._attended - max(watched.heard, expecting, self._trusted_since)

    def ask(self, owner: PeerId, attempt: Attempt, deadline: float) -> None:
        """Shortly before a takeover, ask the owner once more."""
        now, watched = self._attended, self._watch(attempt)
        if self.silence(attempt) >= deadline - PROBE_LEAD and now - watched.probed >= PROBE_LEAD:
            watched.probed = now
            if owner in self._syncer.connected:
                self._desk.emit(Send(owner, Probe((attempt,))))

    def forget(self, run: Run) -> None:
        """Drop what is remembered of a run's attempts, once it has ended."""
        self._watched.pop(run.id, None)
