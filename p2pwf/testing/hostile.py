"""What a hostile member writes and sends: a machine with our own engine as its eyes, and no scruples.

Each lie is a function of the world, the liar and a source of chance. Most events are well-formed and signed, since
others are dropped at the door.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Final

from p2pwf.clock.messages import Events, encode_message
from p2pwf.core.events import SignedBlock, author_event
from p2pwf.core.ids import block_cid
from p2pwf.engine.desk import Desk
from p2pwf.engine.inputs import Frame
from p2pwf.errors import P2pwfError
from p2pwf.runs import Run
from p2pwf.testing.machines import SimNode
from p2pwf.testing.planner import make_submission
from p2pwf.testing.sim import World

FLOOD: Final = 40
"""Events without links that one lie sends."""
JUNK_BYTES: Final = 200

Lie = Callable[[World, SimNode, Random], None]


def _desk(node: SimNode) -> Desk | None:
    return None if node.engine is None else node.engine.desk


def _open_run(desk: Desk, choose: Random) -> Run | None:
    runs = sorted(desk.active.values(), key=lambda run: run.id)
    return choose.choice(runs) if runs else None


def _tell(world: World, node: SimNode) -> None:
    """Send what the liar has written to everyone, as an honest node would."""
    if node.engine is not None:
        world.perform(node, node.engine.desk.drain())


def _about_a_leg(make: Callable[[Desk, Run, dict[str, object]], tuple[str, dict[str, object]]]) -> Lie:
    """A lie about a job of an open run that the liar need not own."""

    def lie(world: World, node: SimNode, choose: Random) -> None:
        desk = _desk(node)
        run = None if desk is None else _open_run(desk, choose)
        if desk is None or run is None:
            return
        keys = [(job, index) for job in run.plan.jobs for index in range(len(run.tally.job_legs(job) or ()))]
        if not keys:
            return
        job, index = choose.choice(keys)
        attempt = max(1, run.tally.leg((job, index)).attempt + choose.choice((0, 0, 0, 1)))
        about: dict[str, object] = {"run": run.id, "job": job, "leg": index, "attempt": min(8, attempt)}
        _write(desk, *make(desk, run, about), run)
        _tell(world, node)

    return lie


def _write(desk: Desk, type: str, body: Mapping[str, object], run: Run | None = None) -> None:
    with suppress(P2pwfError):  # its own clock refuses it, or it is frozen
        desk.write(type, body, run, must_count=False)


def _finish(_: Desk, __: Run, about: dict[str, object]) -> tuple[str, dict[str, object]]:
    nothing: dict[str, object] = {"log": None, "report": None, "artifacts": [], "caches": [], "error": None}
    ended = {"conclusion": "failure", "outcome": "failure", "outputs": {"value": "a lie"}, "uses": []}
    return "job.finish", {**about, **ended, **nothing}


def _start(_: Desk, __: Run, about: dict[str, object]) -> tuple[str, dict[str, object]]:
    return "job.start", {**about, "uses": []}


def _steal(desk: Desk, run: Run, about: dict[str, object]) -> tuple[str, dict[str, object]]:
    owner = run.owner((str(about["job"]), int(str(about["leg"]))))
    absent = sorted({peer for peer in (owner,) if peer is not None and peer != desk.me})
    attempt = min(8, int(str(about["attempt"])) + 1)
    return "job.reassign", {**about, "attempt": attempt, "owner": desk.me, "absent": absent, "reason": "silent"}


def _refuse(_: Desk, __: Run, about: dict[str, object]) -> tuple[str, dict[str, object]]:
    return "job.refuse", {**about, "reason": "it is not mine to refuse"}


def _lost(_: Desk, __: Run, about: dict[str, object]) -> tuple[str, dict[str, object]]:
    return "job.lost", about


def _end(world: World, node: SimNode, choose: Random) -> None:
    desk = _desk(node)
    run = None if desk is None else _open_run(desk, choose)
    if desk is not None and run is not None:
        _write(desk, "run.end", {"run": run.id, "conclusion": "success", "finishes": []}, run)
        _tell(world, node)


def _expand(world: World, node: SimNode, choose: Random) -> None:
    desk = _desk(node)
    run = None if desk is None else _open_run(desk, choose)
    if desk is None or run is None:
        return
    for job in run.plan.jobs.values():
        if run.tally.job_legs(job.id) is None:
            body = {"run": run.id, "job": job.id, "uses": [], "legs": [], "conclusion": "failure", "error": "a lie"}
            _write(desk, "job.expand", body, run)
    _tell(world, node)


def _cancel(world: World, node: SimNode, choose: Random) -> None:
    desk = _desk(node)
    run = None if desk is None else _open_run(desk, choose)
    if desk is not None and run is not None:
        _write(desk, "run.cancel", {"run": run.id}, run)
        _tell(world, node)


def _promote(world: World, node: SimNode, _: Random) -> None:
    """It makes itself an admin: no honest node may take this for an event."""
    desk = _desk(node)
    if desk is not None:
        body = {"peer": node.peer, "roles": ["admin"], "name": "liar", "labels": [], "slots": 1, "tip": None}
        _send_alone(world, node, "member.add", body)


def _forge(world: World, node: SimNode, choose: Random) -> None:
    """The next event of another member, signed by the liar."""
    desk = _desk(node)
    others = [other for other in world.nodes.values() if other is not node and other.engine is not None]
    if desk is None or not others:
        return
    victim = choose.choice(others)
    tip = desk.clock.parents(victim.peer)[1]
    if tip is not None:
        body = {**make_submission({"one": []}, name="forged"), "absent": []}
        mine = author_event(
            victim.signer, net=world.network, seq=tip.seq + 1, prev=tip.cid, parents=[tip.cid], lamport=tip.lamport + 1,
            time=1, type="run.submit", body=body,
        )  # fmt: skip
        forged = SignedBlock(mine.signed.block, node.signer.sign(mine.signed.block))
        _send_raw(world, node, encode_message(Events((forged,))))


def _equivocate(world: World, node: SimNode, _: Random) -> None:
    """Two events of one number, one to each half of the others."""
    desk = _desk(node)
    if desk is not None and desk.frozen is None:
        for half in (0, 1):
            body = {**make_submission({"one": []}, name=f"half {half}"), "absent": []}
            _send_alone(world, node, "run.submit", body, half)


def _send_alone(world: World, node: SimNode, type: str, body: Mapping[str, object], half: int | None = None) -> None:
    """An event at the tip of the liar's chain that its own engine never hears of."""
    assert node.engine is not None
    desk = node.engine.desk
    parents, tip = desk.clock.parents(desk.me)
    links = [*parents, *([tip] if tip else [])]
    event = author_event(
        node.signer,
        net=world.network,
        seq=tip.seq + 1 if tip else 0,
        prev=tip.cid if tip else None,
        parents=[one.cid for one in parents],
        lamport=1 + max(one.lamport for one in links),
        time=1,
        type=type,
        body=body,
    )
    data = encode_message(Events((event.signed,)))
    for number, other in enumerate(world.nodes.values()):
        if other is not node and half in (None, number % 2):
            world.give(other, Frame(node.peer, data))


def _orphans(world: World, node: SimNode, choose: Random) -> None:
    """Events that stand on what nobody has."""
    made = []
    for _ in range(FLOOD):
        missing = [block_cid(choose.randbytes(32))]
        event = author_event(
            node.signer, net=world.network, seq=choose.randrange(10**6), prev=missing[0], parents=missing,
            lamport=choose.randrange(1, 10**6), time=1, type="run.note", body={"run": missing[0]}, after=missing,
        )  # fmt: skip
        made.append(event.signed)
    _send_raw(world, node, encode_message(Events(tuple(made))))


def _junk(world: World, node: SimNode, choose: Random) -> None:
    _send_raw(world, node, choose.randbytes(choose.randrange(JUNK_BYTES)))


def _send_raw(world: World, node: SimNode, data: bytes) -> None:
    for other in list(world.nodes.values()):
        if other is not node:
            world.give(other, Frame(node.peer, data))


LIES: Final[Mapping[str, Lie]] = {
    "finish": _about_a_leg(_finish),
    "start": _about_a_leg(_start),
    "steal": _about_a_leg(_steal),
    "refuse": _about_a_leg(_refuse),
    "lost": _about_a_leg(_lost),
    "end": _end,
    "expand": _expand,
    "cancel": _cancel,
    "promote": _promote,
    "forge": _forge,
    "equivocate": _equivocate,
    "orphans": _orphans,
    "junk": _junk,
}
