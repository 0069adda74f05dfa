"""How peers behave: offences, bans for a while, and how much of anything one peer may ask for. Knows no protocol.

An offence adds points to a score, and time takes them away: what comes seldom enough to do no harm never adds up, be it
a detail in which another version differs, or bad luck. A score that reaches BAN_AT is a flood, and bans.

Members are scored by peer id, wherever they connect from. A stranger's id costs it nothing, so it loses its connection
at the first offence, and what is scored is its address; a banned address keeps strangers out and lets members in,
since both may be behind one router.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address

import attrs
import trio

from p2pwf.core.ids import PeerId
from p2pwf.errors import RemoteError
from p2pwf.net.counters import Counters
from p2pwf.net.framing import BrokenFrame

BAN_AT = 20.0
"""Points. A correct peer makes none; twenty at once are no accident."""
FORGIVEN = 1.0
"""Points that a second takes away: an offence a second costs next to nothing, and may be a newer version's habit."""
OFFENCE = 1.0
BROKEN_FRAME = 7.0
"""A frame that cannot be read at all: no version of any peer sends one, so three are enough."""
STREAM_REFUSED = 0.25
"""An eager client may well open some streams too many before it hears that it may not."""
FLOODED = 0.05
"""One thing asked for beyond an allowance, for which the asker waits as well: some hundreds are no accident."""
CAME_FOR_NOTHING = 0.1
"""A stranger's connection that asked for nothing. Who was just admitted is a stranger for a moment to all who have not
heard of it, and an office full of machines may be admitted at once."""
NO_HANDSHAKE = 0.1
"""A socket that never became a connection: health checks do that every few seconds."""
OFFENDERS_KEPT = 1024
"""Entries of each table. The oldest makes room; whoever is lost with it is forgiven, no more."""
NETWORK_BITS = 64
"""Of an IPv6 address: the rest of it is the holder's to choose."""


def points_of(error: RemoteError) -> float:
    """What the error costs the peer that caused it."""
    return BROKEN_FRAME if isinstance(error, BrokenFrame) else OFFENCE


class Allowance:
    """A token bucket: `rate` a second in the long run, `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = trio.current_time()

    def spend(self, amount: float = 1.0) -> bool:
        """Take `amount` if there is so much; False, and nothing taken, if not."""
        now = trio.current_time()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < amount:
            return False
        self._left -= amount
        return True

    async def pace(self, amount: float = 1.0) -> bool:
        """Take `amount`, which must not be above `burst`, once there is so much; whether that took a wait."""
        waited = False
        while not self.spend(amount):
            waited = True
            await trio.sleep(max(amount - self._left, 1e-3) / self._rate)
        return waited


class InFlight:
    """What was given out and is not handled yet, bounded in number and bytes; one piece of any size always may be."""

    def __init__(self, pieces: int, size: int) -> None:
        self._limits = pieces, size
        self._pieces = self._size = 0
        self._less = trio.Event()

    def is_full(self, size: int) -> bool:
        """Whether a piece of `size` bytes would have to wait."""
        pieces, most = self._limits
        return self._pieces > 0 and (self._pieces >= pieces or self._size + size > most)

    async def add(self, size: int) -> Callable[[], None]:
        """Wait until there is room for a piece of `size` bytes; what to call once it is handled."""
        while self.is_full(size):
            await self._less.wait()
        self._pieces += 1
        self._size += size

        def handled() -> None:
            self._pieces -= 1
            self._size -= size
            self._less.set()
            self._less = trio.Event()

        return handled


class Allowances:
    """One allowance for each peer, of bounded number; it outlives the peer's connections."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._of: OrderedDict[str, Allowance] = OrderedDict()

    def of(self, peer: str) -> Allowance:
        """What is left to `peer`."""
        allowance = self._of.get(peer)
        if allowance is None:
            allowance = self._of[peer] = Allowance(self._rate, self._burst)
            if len(self._of) > OFFENDERS_KEPT:
                self._of.popitem(last=False)
        self._of.move_to_end(peer)
        return allowance


@attrs.frozen(slots=True)
class Standing:
    """What is known of one peer: its `offences` since it was first noted, and seconds for which it is still banned."""

    offences: int = 0
    banned_for: float | None = None


@attrs.define(slots=True)
class _Score:
    offences: int = 0
    points: float = 0.0
    at: float = 0.0
    banned_until: float = 0.0


class _Scores:
    """Scores by name, of bounded number."""

    def __init__(self, ban_seconds: float) -> None:
        self._ban_seconds = ban_seconds
        self._scores: OrderedDict[str, _Score] = OrderedDict()

    def add(self, name: str, points: float) -> bool:
        """Add points; whether that bans."""
        now = trio.current_time()
        score = self._scores.setdefault(name, _Score())
        self._scores.move_to_end(name)
        if len(self._scores) > OFFENDERS_KEPT:
            self._scores.popitem(last=False)
        score.offences += 1
        score.points = max(0.0, score.points - (now - score.at) * FORGIVEN) + points
        score.at = now
        if score.points < BAN_AT or now < score.banned_until:
            return False
        score.banned_until = now + self._ban_seconds
        score.points = 0.0
        return True

    def left(self, name: str) -> float:
        """Seconds that a ban lasts still; 0 if there is none."""
        score = self._scores.get(name)
        return 0.0 if score is None else max(0.0, score.banned_until - trio.current_time())

    def offences(self, name: str) -> int:
        """Offences counted."""
        score = self._scores.get(name)
        return 0 if score is None else score.offences

    def banned(self) -> list[str]:
        """Who is banned now."""
        return [name for name in self._scores if self.left(name)]


class Conduct:
    """Scores of members by id and of everyone else by address."""

    def __init__(self, ban_seconds: float, counters: Counters, is_member: Callable[[PeerId], bool]) -> None:
        self._counters = counters
        self._is_member = is_member
        self._members = _Scores(ban_seconds)
        self._hosts = _Scores(ban_seconds)
        self.throw_out: Callable[[PeerId], None] = _nobody_is_connected
        """Closes every connection with a peer, without waiting."""
        self.hosts_of: Callable[[PeerId], Iterable[str]] = _nowhere
        """The addresses from which a peer has connected to us."""

    def strike(self, peer: PeerId, reason: str, points: float = OFFENCE) -> None:
        """Note that `peer` broke the protocol; `reason` is a name for the count."""
        self._counters.count(f"strike_{reason}")
        if not self._is_member(peer):
            for host in list(self.hosts_of(peer)):
                self.strike_host(host, points)
            self.throw_out(peer)
        elif self._members.add(peer, points):
            self._counters.count("banned")
            self.throw_out(peer)

    async def pace(self, peer: PeerId, allowances: Allowances) -> None:
        """Wait until `peer` may have one thing more; one that makes us wait again and again is a flood."""
        if await allowances.of(peer).pace():
            self.strike(peer, "flood", FLOODED)

    def strike_host(self, host: str, points: float) -> None:
        """Note what a stranger, or somebody who never said who it was, did from an address ("" if it is not known)."""
        if host and self._hosts.add(_network_of(host), points):
            self._counters.count("banned_address")

    def is_banned(self, peer: PeerId) -> bool:
        """Whether a member has to stay out for now."""
        return self._members.left(peer) > 0

    def is_host_banned(self, host: str) -> bool:
        """Whether strangers of an address have to stay out for now."""
        return bool(host) and self._hosts.left(_network_of(host)) > 0

    def is_shut_out(self, peer: PeerId, host: str) -> bool:
        """Whether `peer` is a stranger at an address whose strangers have to stay out."""
        return self.is_host_banned(host) and not self._is_member(peer)

    def standing(self, peer: PeerId) -> Standing:
        """What is known of a member."""
        return Standing(self._members.offences(peer), self._members.left(peer) or None)

    def banned(self) -> list[PeerId]:
        """The members that have to stay out for now."""
        return [PeerId(name) for name in self._members.banned()]

    def banned_hosts(self) -> list[str]:
        """The addresses from which strangers have to stay out for now."""
        return self._hosts.banned()


def _network_of(host: str) -> str:
    """What is scored of an address: all of an IPv4 one, the network of an IPv6 one."""
    try:
        address = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    bits = 128 - NETWORK_BITS
    return f"{IPv6Address(int(address) >> bits << bits)}/{NETWORK_BITS}"


def _nobody_is_connected(_peer: PeerId) -> None:
    """Until there is a network, which is at once."""


def _nowhere(_peer: PeerId) -> tuple[str, ...]:
    return ()
