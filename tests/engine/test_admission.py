"""Who is let in, by what, and who decides it: the attacks of THREATS on admission and rights, and their twins."""

from __future__ import annotations

from hashlib import sha256

import attrs
import pytest

from p2pwf.clock.messages import encode_message
from p2pwf.core.ids import PeerId, block_cid
from p2pwf.core.sign import Signer
from p2pwf.engine.config import MAX_REQUESTS
from p2pwf.engine.inputs import Frame, Invite, JoinAsked, PeerDown, RemoveMember, Tick
from p2pwf.engine.membership import Ticket
from p2pwf.engine.outputs import Send, StartJob
from p2pwf.errors import Refused
from tests.engine.test_engine import Bench, founder, only, pair, replies, run_owned_by
from tests.kit import network

SECRET = b"s" * 16


def invited(seconds: float = 60.0) -> Bench:
    bench = founder()
    expires = bench.now().wall + int(seconds * 1000)
    bench.give(Invite("i", sha256(SECRET).digest(), ("run",), expires))
    return bench


def ask(bench: Bench, number: int, secret: bytes | None = SECRET, net: bytes | None = None) -> str:
    peer = Signer(number.to_bytes(32, "big")).peer_id
    asked = JoinAsked("ask", peer, None if net is None else block_cid(net), secret, "new", ("linux",), 1)
    return str(next(replies(bench.give(asked))).result["status"])


def members(bench: Bench) -> list[PeerId]:
    return list(bench.engine.desk.roster.members)


def test_t03_an_expired_ticket_another_network_and_a_removed_peer_are_not_let_in() -> None:
    bench = invited(seconds=60)
    assert ask(bench, 5, net=b"another") == "refused"
    assert ask(bench, 5) == "admitted"
    bench.give(RemoveMember("r", Signer((5).to_bytes(32, "big")).peer_id))
    assert ask(bench, 5) == "removed"
    late = invited(seconds=60)
    late.time += 61
    assert ask(late, 6) == "refused"
    assert len(members(bench)) == len(members(late)) == 1


@pytest.fixture
def tickets_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard taken away: what an issuer keeps of a ticket says that nobody used it, and that it never ends."""
    read = Ticket.from_bytes
    monkeypatch.setattr(Ticket, "from_bytes", lambda data: attrs.evolve(read(data), by=None, expires=2**60))


@pytest.mark.usefixtures("tickets_for_ever")
def test_t03_t04_without_what_is_kept_of_a_ticket_it_works_late_and_again() -> None:
    bench = invited(seconds=60)
    bench.time += 61
    assert [ask(bench, 5), ask(bench, 6)] == ["admitted", "admitted"]


def test_t05_a_thousand_keys_and_one_ticket_are_one_member() -> None:
    bench = invited()
    answers = [ask(bench, number) for number in range(1000, 2000)]
    assert answers == ["admitted", *["refused"] * 999]
    assert len(members(bench)) == 2
    for number in range(3000, 4000):
        assert ask(bench, number, secret=None) == "pending"
    assert len(bench.engine.membership.requests) == MAX_REQUESTS


@pytest.mark.usefixtures("tickets_for_ever")
def test_t05_without_what_is_kept_of_a_ticket_they_are_a_thousand_members() -> None:
    bench = invited()
    assert {ask(bench, number) for number in range(1000, 1100)} == {"admitted"}
    assert len(members(bench)) == 101


def test_t09_the_last_admin_can_neither_be_removed_nor_leave_nor_give_the_role_up() -> None:
    bench = founder()
    refused = next(replies(bench.give(RemoveMember("r", bench.peer))))
    assert isinstance(refused.error, Refused)
    assert "last admin" in str(refused.error)
    one, two = network(2)
    one.remove(one.peer)  # an event that says so has no effect, whoever wrote it
    two.learn(*[event for event in one.events if event.cid not in two.desk.clock.dag])
    for each in (one, two):
        assert each.desk.clock.roster.holds(one.peer, "admin")
    one.remove(one.peer, "admin")
    assert one.desk.clock.roster.holds(one.peer, "admin")


def test_t22_a_wall_clock_that_is_an_hour_off_moves_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is counted on each peer's own monotonic clock; what others say the time is decides nothing."""
    from tests.engine import test_engine

    for skew in (-3_600_000, 3_600_000):
        one, two = pair()
        run, _ = run_owned_by(two, one)
        monkeypatch.setattr(test_engine, "WALL", test_engine.WALL + skew)
        taken = []
        for _ in range(60):
            taken += only(one.give(Tick()), StartJob)
            one.time += 0.5
            beats = two.wait(0.5)
            frames = [encode_message(each.message) for each in only(beats, Send) if each.peer == one.peer]
            for frame in frames:
                taken += only(one.give(Frame(two.peer, frame)), StartJob)
        assert not [each for each in taken if each.attempt.run.text == run], skew
        monkeypatch.undo()


def test_t22_without_beats_the_job_does_move() -> None:
    """The twin: it is the beats that keep it."""
    one, two = pair()
    run, _ = run_owned_by(two, one)
    one.give(PeerDown(two.peer))
    taken = only(one.wait(60), StartJob)
    assert [each.attempt.run.text for each in taken] == [run]
