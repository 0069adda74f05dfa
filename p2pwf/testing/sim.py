"""A seeded world of production engines: virtual time, a network that loses and delays, disks, processes, crashes.

One random generator, made from the seed, decides everything, and events of the world are handled one at a time in the
order of their virtual time, so the same seed gives the same history on any machine. What is simulated is the shell:
durable stores, streams, gossip, timers and jobs. What is run is the engine, as shipped. A crash may fall between any
two outputs of a step: what was stored stays, what was not told is never told.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Hashable, Iterable, Mapping
from hashlib import sha256
from math import inf, nextafter

from p2pwf.clock.messages import MAX_FRAME, Attempt, Events, Message, encode_message
from p2pwf.core.dagcbor import Value
from p2pwf.core.events import SignedBlock
from p2pwf.core.ids import Cid, PeerId, parse_cid
from p2pwf.core.sign import Signer, verify
from p2pwf.engine import Engine, EngineConfig, found
from p2pwf.engine.desk import chunks
from p2pwf.engine.inputs import (
    Frame,
    Gossip,
    Input,
    Invite,
    JobEnded,
    JoinAsked,
    Now,
    PeerDown,
    PeerUp,
    Sealed,
    Submit,
    Tick,
)
from p2pwf.engine.outputs import (
    Alarm,
    CancelJob,
    FetchBase,
    MakeBase,
    MembersChanged,
    Misbehaved,
    Output,
    Publish,
    Reply,
    Reseal,
    Send,
    SendEvents,
    StartJob,
    Store,
    WakeAt,
)
from p2pwf.errors import InternalError
from p2pwf.testing import bases
from p2pwf.testing.machines import Conditions, Execution, SimNode
from p2pwf.testing.planner import SimPlanner

EPOCH = 1_700_000_000_000
BOX = b"b" * 80
"""A sealed box, as far as an engine looks into one."""
FULLY = 16
"""Other nodes up to which each is connected to every other."""
LINKED = 10
"""Connections of a node of a larger network that it made, or has."""
_verified: dict[bytes, bool] = {}


def verify_once(author: PeerId, block: bytes, signature: bytes) -> bool:
    """Verify each event once per process: many simulated nodes see the same one."""
    key = sha256(signature + block).digest()
    if key not in _verified:
        if len(_verified) > 200_000:
            _verified.clear()
        _verified[key] = verify(author, block, signature)
    return _verified[key]


class World:
    """A network of nodes, the first of which founds it and admits the others by ticket."""

    def __init__(
        self, seed: int, nodes: int = 3, slots: int = 2, conditions: Conditions | None = None, admins: int = 1
    ) -> None:
        """`seed`: of the weather. `admins`: how many of the nodes may admit and remove, the founder included."""
        self.seed = seed
        self.random = random.Random(seed)
        self._slots = slots
        self.time = 0.0
        self.pruned: dict[Cid, SignedBlock] = {}
        """What disks have let go, for the oracle."""
        self.haste = 1.0
        self._asked = 0
        """How many times faster wall clocks go than everything else."""
        self.conditions = conditions or Conditions()
        self.executions: list[Execution] = []
        self.acknowledged: dict[Cid, tuple[PeerId, int]] = {}
        """Where each run was acknowledged, and with how many copies."""
        self.replies: dict[Hashable, Reply] = {}
        self.alarms: list[tuple[PeerId, Alarm]] = []
        self.misbehaved: list[tuple[PeerId, Misbehaved]] = []
        self.unopened: list[StartJob] = []
        """Jobs that were started by who had no box of a secret that they name."""
        self.granted: dict[PeerId, frozenset[str]] = {}
        """The roles that an admin gave each peer."""
        self.crashes = 0
        self.steps = 0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._up: set[frozenset[PeerId]] = set()
        self._arrivals: dict[tuple[PeerId, PeerId], float] = {}
        self._blocked: set[tuple[PeerId, PeerId]] = set()
        self._digest = sha256()
        self.nodes: dict[PeerId, SimNode] = {}
        self._links: dict[PeerId, set[PeerId]] = {}
        self._found(nodes, admins)

    # -- birth --------------------------------------------------------------------------------------------------

    def _found(self, nodes: int, admins: int) -> None:
        first = self._machine()
        founder = {"name": "n0", "labels": ["linux"], "slots": first.slots}
        genesis = found(
            first.signer, self._now(first), nonce=self.random.randbytes(16), name="sim", private=False, founder=founder
        )
        self.network = genesis.cid
        first.blocks[genesis.cid] = genesis.signed
        self.granted[first.peer] = frozenset(("admin", "run", "submit"))
        self.start(first)
        for number in range(1, nodes):
            self.join(first, ("admin", "run", "submit") if number < admins else ("run", "submit"))

    def _machine(self) -> SimNode:
        node = SimNode(Signer(self.random.randbytes(32)), self._slots)
        self.nodes[node.peer] = node
        return node

    def join(self, admin: SimNode, roles: tuple[str, ...] = ("run", "submit")) -> SimNode | None:
        """A machine more, admitted by a ticket of `admin`; None if that one cannot."""
        node = self._machine()
        node.admitted_by = admin.peer
        node.left = admin.left  # by one that was removed and has not heard of it: it is in a network of its own
        self.granted[node.peer] = frozenset(roles)  # an admin that crashes now may have admitted it all the same
        self._asked += 1  # not the number of machines: one that is refused, or answered late, is none
        number = self._asked
        secret = self.random.randbytes(16)
        asked = JoinAsked(("join", number), node.peer, None, secret, f"n{number}", ("linux",), node.slots)
        self.give(admin, Invite(("invite", number), sha256(secret).digest(), roles, EPOCH + 10**9))
        self.give(admin, asked)
        reply = self.replies.get(("join", number))
        if reply is None or reply.error is not None or reply.result["status"] != "admitted":
            del self.nodes[node.peer]
            return None
        self.start(node)
        return node

    def _now(self, node: SimNode) -> Now:
        return Now(self.time * node.rate, EPOCH + int(self.time * 1000 * self.haste) + node.skew_wall)

    def start(self, node: SimNode) -> None:
        """Boot a node from its disk."""
        node.life += 1
        boot = node.life.to_bytes(8) + bytes(node.peer[-8:], "ascii")
        config = EngineConfig(
            boot=boot,
            version="sim",
            slots=node.slots,
            planner=SimPlanner(),
            policy=node.policy,
            history_days=node.history_days,
        )
        node.engine = Engine(node.signer, self.network, config, self._now(node), verify_once)
        node.engine.load(bases.in_order(node, self.network), node.meta)
        self._tick_later(node, self.time + self.random.uniform(0, 0.1))
        self._dial_for_ever(node)

    def restart(self, node: SimNode) -> None:
        """Boot a node unless it is up."""
        if node.engine is None and not node.gone:
            self.start(node)

    def crash(self, node: SimNode) -> None:
        """Power off: memory, streams and processes are gone, the disk stays."""
        self.crashes += 1
        node.engine = None
        node.life += 1
        node.next_tick = -1.0
        node.paused = node.busy = False
        node.held_back.clear()
        for execution in node.jobs.values():
            execution.ended = self.time
        node.jobs.clear()
        for other in self.nodes.values():
            self._disconnect(node.peer, other.peer, detect=0.05)

    # -- the network --------------------------------------------------------------------------------------------

    def reachable(self, a: PeerId, b: PeerId) -> bool:
        """Whether what `a` sends comes to `b`."""
        return (a, b) not in self._blocked

    def partition(self, cells: Mapping[PeerId, int]) -> None:
        """Split the network: only peers of one cell reach each other."""
        self.block((a, b) for a in cells for b in cells if cells[a] != cells[b])

    def block(self, pairs: Iterable[tuple[PeerId, PeerId]]) -> None:
        """Let nothing pass from the first to the second of each pair; a stream between them goes down when noticed."""
        self._blocked = set(pairs)
        for pair in sorted(map(sorted, self._up)):
            a, b = pair
            if not (self.reachable(a, b) and self.reachable(b, a)):
                self._disconnect(a, b, detect=self.random.uniform(2, 8))

    def heal(self) -> None:
        self._blocked = set()

    def _wanted(self, node: SimNode) -> list[SimNode]:
        """Whom a node keeps a connection to: all of a small network, some of a large one."""
        others = [other for other in self.nodes.values() if other is not node]
        if len(others) <= FULLY:
            return others
        linked = self._links.setdefault(node.peer, set())
        up = [other for other in others if frozenset((node.peer, other.peer)) in self._up]
        linked.intersection_update(other.peer for other in others if other.engine is not None)
        missing = [other for other in others if other.engine is not None and other not in up]
        while missing and len(linked) < LINKED and len(up) + len(linked) < LINKED:
            linked.add(missing.pop(self.random.randrange(len(missing))).peer)
        return [other for other in others if other.peer in linked]

    def _dial_for_ever(self, node: SimNode) -> None:
        """Try every peer that is not connected, again and again, as a node's reconnect loop does."""
        life = node.life

        def dial() -> None:
            if node.life != life:
                return
            for other in self._wanted(node):
                self._connect(node, other)
            self.at(self.time + self.random.uniform(0.5, 1.5), dial)

        self.at(self.time + self.random.uniform(0.01, 0.2), dial)

    def _connect(self, node: SimNode, other: SimNode) -> None:
        pair = frozenset((node.peer, other.peer))
        if node.engine is None or other.engine is None or pair in self._up:
            return
        if not (self.reachable(node.peer, other.peer) and self.reachable(other.peer, node.peer)):
            return
        if not (_takes(node.engine, other.peer) and _takes(other.engine, node.peer)):
            return
        self._up.add(pair)
        self.give(node, PeerUp(other.peer))
        self.give(other, PeerUp(node.peer))

    def _disconnect(self, a: PeerId, b: PeerId, detect: float) -> None:
        pair = frozenset((a, b))
        if pair not in self._up:
            return
        self._up.discard(pair)

        def noticed() -> None:
            for here, there in ((a, b), (b, a)):
                if pair not in self._up:
                    self.give(self.nodes[here], PeerDown(there))

        self.at(self.time + detect, noticed)

    def _deliver(self, sender: PeerId, receiver: PeerId, input: Input, ordered: bool) -> None:
        conditions = self.conditions
        copies = 2 if not ordered and self.random.random() < conditions.duplicate else 1
        pair = frozenset((sender, receiver))

        def arrive() -> None:
            if self.reachable(sender, receiver) and (not ordered or pair in self._up):
                self.give(self.nodes[receiver], input)

        for _ in range(copies):
            lost = self.random.random() < conditions.loss
            if lost and not ordered:
                continue
            arrival = self.time + self.random.uniform(*conditions.delay)
            if ordered:
                arrival += 0.2 if lost else 0.0  # a stream sends again what was lost
                arrival = max(arrival, self._arrivals.get((sender, receiver), 0.0) + 1e-6)
                self._arrivals[sender, receiver] = arrival
            self.at(arrival, arrive)

    # -- time ---------------------------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at a virtual time."""
        self._count += 1
        heapq.heappush(self._agenda, (when, self._count, action))

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> None:
        """Let the world go on until a virtual time, or until `stop` holds (looked at once a second)."""
        next_look = self.time
        while self._agenda and self._agenda[0][0] <= until:
            when, _, action = heapq.heappop(self._agenda)
            self.time = max(self.time, when)
            if stop is not None and self.time >= next_look:
                if stop():
                    return
                next_look = self.time + 1.0
            action()
        self.time = until

    def _tick_later(self, node: SimNode, when: float) -> None:
        """Wake a node then, unless it is to be woken before."""
        if self.time < node.next_tick <= when:
            return
        node.next_tick = when
        life = node.life

        def tick() -> None:
            if node.life == life and node.next_tick == when:
                self.give(node, Tick())

        self.at(when, tick)

    # -- the shell ----------------------------------------------------------------------------------------------

    def give(self, node: SimNode, input: Input) -> None:
        """Hand an input to a node's engine and perform what it asks for."""
        if node.engine is None:
            return
        if node.paused or node.busy:
            node.held_back.append(input)
            return
        self.steps += 1
        outputs = node.engine.handle(input, self._now(node))
        if node.full and any(isinstance(output, Store) for output in outputs):
            self.crash(node)
            self.at(self.time + self.random.uniform(0.5, 5), lambda: self.restart(node))
        elif node.commit_seconds and any(isinstance(output, Store) for output in outputs):
            self._commit_slowly(node, outputs)
        else:
            self.perform(node, outputs)

    def _commit_slowly(self, node: SimNode, outputs: list[Output]) -> None:
        """What is to be stored takes its time, and the node waits for it, as its loop does."""
        life, node.busy = node.life, True

        def committed() -> None:
            if node.life == life:
                node.busy = False
                self.perform(node, outputs)
                self._go_on(node)

        self.at(self.time + self.random.uniform(0.1, 1.0) * node.commit_seconds, committed)

    def _go_on(self, node: SimNode) -> None:
        """Hand in what was held back."""
        held, node.held_back = node.held_back, []
        for input in held:
            self.give(node, input)

    def perform(self, node: SimNode, outputs: list[Output]) -> None:
        """Do what a node's engine asks for; it may crash between any two of them."""
        for output in outputs:
            self._perform(node, output)
            chance = self.conditions.crash_between
            if chance and len(outputs) > 1 and self.random.random() < chance:
                self.crash(node)
                self.at(self.time + self.random.uniform(0.5, 20), lambda: self.restart(node))
                return

    def _perform(self, node: SimNode, output: Output) -> None:
        match output:
            case Store():
                self._store(node, output)
            case Publish():
                self._publish(node, output.message)
            case Send():
                self._send(node, output.peer, output.message)
            case SendEvents():
                for chunk in chunks([node.blocks[cid] for cid in output.ids if node.blocks[cid].signature]):
                    self._send(node, output.peer, Events(chunk))
            case MakeBase() | FetchBase():
                self._give_base(node, output)
            case StartJob():
                self._start_job(node, output)
            case Reseal():
                made = Sealed([(one.cid, peer, BOX) for one, _, peers in output.secrets for peer in peers])
                life = node.life
                later = self.time + self.random.uniform(0.01, 0.3)
                self.at(later, lambda: self.give(node, made) if node.life == life else None)
            case CancelJob():
                self._end_job(node, output.attempt, "cancelled", self.time + self.random.uniform(0.01, 0.5))
            case Reply():
                self.replies[output.token] = output
                if output.error is None and isinstance(output.token, tuple) and output.token[0] == "submit":
                    self.acknowledged[run_of(output)] = (node.peer, output.result["copies"])
            case WakeAt():
                self._tick_later(node, _when(output.mono, node.rate))
            case MembersChanged():
                self._part(node)
            case Alarm():
                self.alarms.append((node.peer, output))
            case Misbehaved():
                self.misbehaved.append((node.peer, output))
            case _:
                pass

    def _store(self, node: SimNode, output: Store) -> None:
        for event in output.events:
            node.blocks[event.cid] = event.signed
            self._digest.update(event.cid)
            if event.type == "member.remove" and event.author == node.peer:
                self._cut(node, PeerId(str(event.body["peer"])))
        for stub in output.stubs:
            self.pruned.setdefault(stub.cid, node.blocks[stub.cid])
            node.blocks[stub.cid] = stub.signed
        for name, value in output.meta.items():
            if value is None:
                node.meta.pop(name, None)
            else:
                node.meta[name] = value

    def _give_base(self, node: SimNode, output: MakeBase | FetchBase) -> None:
        """Make or get the base of a checkpoint, as a node's threads do, in a while."""
        life = node.life

        def done() -> None:
            if node.life != life:
                return
            if isinstance(output, MakeBase):
                self.give(node, bases.make(node, self.network, output))
                return
            up = output.peer is not None and frozenset((node.peer, output.peer)) in self._up
            other = self.nodes[output.peer] if output.peer is not None and up else None
            self.give(node, bases.read(node, other, self.network, output))

        self.at(self.time + self.random.uniform(0.05, 1.0), done)

    def _cut(self, by: SimNode, peer: PeerId) -> None:
        """A member is removed, and so is whom it had admitted if `by` does not know of that: it might be backdated."""
        self.nodes[peer].left = True
        for other in self.nodes.values():
            if (
                other.admitted_by == peer
                and by.engine is not None
                and not by.engine.desk.roster.holds(other.peer, None)
            ):
                other.left = True

    def _part(self, node: SimNode) -> None:
        """Let go of peers that are no members any more; they are shown why before that."""
        for pair in sorted(map(sorted, self._up)):
            if node.peer not in pair:
                continue
            other = self.nodes[pair[0] if pair[1] == node.peer else pair[1]]
            if node.engine is not None and not _takes(node.engine, other.peer):
                for chunk in chunks([signed for signed in node.blocks.values() if signed.signature]):
                    self._send(node, other.peer, Events(chunk))
                self._disconnect(node.peer, other.peer, detect=0.5)

    def _publish(self, node: SimNode, message: Message) -> None:
        data = encode_message(message)
        if len(data) > MAX_FRAME:
            raise InternalError(f"a gossip message of {len(data)} bytes")
        for other in self.nodes.values():
            if other is not node and other.engine is not None:
                self._deliver(node.peer, other.peer, Gossip(node.peer, data), ordered=False)

    def _send(self, node: SimNode, peer: PeerId, message: Message) -> None:
        if frozenset((node.peer, peer)) in self._up:
            self._deliver(node.peer, peer, Frame(node.peer, encode_message(message)), ordered=True)

    def _start_job(self, node: SimNode, output: StartJob) -> None:
        execution = Execution(output.attempt, node.peer, self.time)
        if node.engine is not None:
            desk, key = node.engine.desk, (output.attempt.job, output.attempt.leg)
            given = node.engine.sealing.given(desk.runs[output.attempt.run], key).values()
            if any(node.peer not in desk.settings.holders(secret) for secret in given):
                self.unopened.append(output)
        node.jobs[output.attempt] = execution
        self.executions.append(execution)
        fails = output.submission.body["payload"].get("fail", [])  # type: ignore[union-attr]
        concluded = "failure" if output.attempt.job in fails else "success"  # type: ignore[operator]
        self._end_job(node, output.attempt, concluded, self.time + self.random.uniform(*self.conditions.job_seconds))

    def _end_job(self, node: SimNode, attempt: Attempt, concluded: str, when: float) -> None:
        life = node.life

        def end() -> None:
            execution = node.jobs.pop(attempt, None) if node.life == life else None
            if execution is not None:
                execution.ended = self.time
                outputs = {"value": f"{attempt.job}-{attempt.leg}"}
                self.give(node, JobEnded(attempt, concluded, concluded, outputs))

        self.at(when, end)

    # -- for schedules ------------------------------------------------------------------------------------------

    def submit(self, node: SimNode, body: Mapping[str, Value], number: int) -> None:
        """Submit a run at a node; `replies` will have the answer under ("submit", number)."""
        self.give(node, Submit(("submit", number), body))

    def submitted(self, number: int) -> Cid | None:
        """The run that the submission of this number was acknowledged as."""
        reply = self.replies.get(("submit", number))
        return None if reply is None or reply.error is not None else run_of(reply)

    def pause(self, node: SimNode, seconds: float) -> None:
        """Stop a node's process (SIGSTOP, a sleeping laptop) for a while; what arrives waits, its jobs go on."""
        if node.engine is None or node.paused:
            return
        node.paused = True
        life = node.life

        def resume() -> None:
            if node.life == life and node.engine is not None:
                node.paused = False
                node.held_back.insert(0, Tick())
                self._go_on(node)

        self.at(self.time + seconds, resume)

    def alive(self) -> list[SimNode]:
        return [node for node in self.nodes.values() if node.engine is not None and not node.paused]

    def settled(self) -> bool:
        """Whether the honest members that there are agree, and nothing is left to do."""
        nodes = [node for node in self.nodes.values() if not node.gone]
        if any(node.engine is None or node.paused for node in nodes):
            return False
        engines = [node.engine for node in nodes if node.honest and node.engine is not None]
        digests = {engine.desk.clock.dag.digest() for engine in engines}
        ended = all(not engine.desk.active for engine in engines)
        ended = ended and len({frozenset(engine.desk.pruned) for engine in engines}) == 1
        return ended and len(digests) == 1 and all(not node.jobs for node in nodes)

    def fingerprint(self) -> str:
        """A digest of the whole history: equal for equal seeds."""
        return self._digest.hexdigest()


def _when(mono: float, rate: float) -> float:
    """The virtual time at which a clock that runs at `rate` shows `mono`, and not a rounding before: a node that is
    woken too early would ask to be woken at the same moment again, for ever."""
    when = mono / rate
    while when * rate < mono:
        when = nextafter(when, inf)
    return when


def _takes(engine: Engine, peer: PeerId) -> bool:
    """Whether a node lets a peer have a clock stream: a member, or whoever its introducer is if it knows none yet."""
    roster = engine.desk.roster
    return roster.holds(peer, None) or not roster.members


def run_of(reply: Reply) -> Cid:
    """The run that the reply to a submission names."""
    return parse_cid(reply.result["workflow_id"])
