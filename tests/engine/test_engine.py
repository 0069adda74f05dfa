"""The seam: what an engine asks of its shell, and in which order."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import TypeVar

import pytest

from p2pwf.clock.messages import TAG_LENGTH, Attempt, Beat, Digest, Events, Hello, Probe, Stored, encode_message
from p2pwf.core.dagcbor import Value
from p2pwf.core.events import Event, SignedBlock
from p2pwf.core.ids import PeerId, parse_cid
from p2pwf.core.sign import Signer
from p2pwf.engine import Engine, EngineConfig, found
from p2pwf.engine.config import DIGEST_EVERY, LEASE, MAX_ROUNDS, RECEIPT_WAIT
from p2pwf.engine.desk import KEPT_ENDED
from p2pwf.engine.inputs import (
    AddMember,
    Frame,
    Gossip,
    Input,
    Invite,
    JobEnded,
    JoinAsked,
    Now,
    PeerDown,
    PeerUp,
    Recalled,
    RemoveMember,
    SetPriority,
    Stop,
    Submit,
    Tick,
)
from p2pwf.engine.outputs import (
    Alarm,
    CancelJob,
    Misbehaved,
    Output,
    Publish,
    Ready,
    Recall,
    Reply,
    Send,
    SendEvents,
    StartJob,
    Store,
    WakeAt,
)
from p2pwf.errors import Refused, UsageError
from p2pwf.runs.view import summary
from p2pwf.testing import SimPlanner, make_submission
from tests.kit import signer

WALL = 1_700_000_000_000


class Bench:
    """One engine on a bench: its disk is a list, its time stands still until told."""

    def __init__(self, key: Signer, genesis: Event, slots: int = 2, policy: object = None) -> None:
        self.key = key
        self.genesis = genesis
        self.slots = slots
        self.policy = policy
        self.time = 100.0
        self.disk: list[Event] = []
        self.meta: dict[str, bytes] = {}
        self.engine = self.boot()

    def boot(self, also: frozenset[PeerId] = frozenset()) -> Engine:
        options = {} if self.policy is None else {"policy": self.policy}
        config = EngineConfig(b"boot" + bytes(4), "test", self.slots, SimPlanner(), **options)  # type: ignore[arg-type]
        self.engine = Engine(self.key, self.genesis.cid, config, self.now())
        self.engine.load([event.signed for event in self.disk], self.meta, also)
        return self.engine

    @property
    def peer(self) -> PeerId:
        return self.key.peer_id

    def now(self) -> Now:
        return Now(self.time, WALL + int(self.time * 1000))

    def give(self, input: Input) -> list[Output]:
        outputs = self.engine.handle(input, self.now())
        for output in outputs:
            if isinstance(output, Store):
                self.disk.extend(output.events)
                for name, value in output.meta.items():
                    if value is None:
                        self.meta.pop(name, None)
                    else:
                        self.meta[name] = value
        return outputs

    def wait(self, seconds: float) -> list[Output]:
        """Let time pass in ticks; all outputs of them."""
        outputs = []
        until = self.time + seconds
        while self.time < until:
            self.time = min(until, self.time + 0.5)
            outputs += self.give(Tick())
        return outputs

    def hear(self, sender: Bench, events: list[Event]) -> list[Output]:
        message = Events(tuple(event.signed for event in events))
        return self.give(Gossip(sender.peer, encode_message(message)))


def founder(slots: int = 2, policy: object = None) -> Bench:
    key = signer(1)
    about = {"name": "one", "labels": ["linux"], "slots": slots}
    genesis = found(key, Now(0, WALL), nonce=b"n" * 16, name="bench", private=False, founder=about)
    bench = Bench(key, genesis, slots, policy)
    bench.disk.append(genesis)
    bench.boot()
    return bench


def pair() -> tuple[Bench, Bench]:
    """Two members that know each other, connected, synced and past every wait."""
    one = founder(slots=64)
    two = Bench(signer(2), one.genesis, slots=64)
    one.give(AddMember("add", two.peer, ("run", "submit"), "two", ("linux",), 64))
    two.disk = list(one.disk)
    two.boot()
    connect(one, two)
    for bench in (one, two):
        bench.wait(LEASE + 1)
    return one, two


def connect(one: Bench, two: Bench) -> None:
    """Bring the streams up and let both say that they have the same."""
    for here, there in ((one, two), (two, one)):
        here.give(PeerUp(there.peer))
    digest = encode_message(Digest(one.engine.desk.clock.dag.digest()))
    one.give(Frame(two.peer, digest))
    two.give(Frame(one.peer, digest))


Kind = TypeVar("Kind")


def only(outputs: Sequence[object], kind: type[Kind]) -> list[Kind]:
    return [output for output in outputs if isinstance(output, kind)]


def replies(outputs: list[Output]) -> Iterator[Reply]:
    return (output for output in outputs if isinstance(output, Reply))


def submit(bench: Bench, jobs: dict[str, list[str]], **options: object) -> list[Output]:
    return bench.give(Submit("submit", make_submission(jobs, **options)))  # type: ignore[arg-type]


def exchange(one: Bench, two: Bench) -> list[Output]:
    """Each hears all that the other has stored; what they then ask for, all together."""
    outputs: list[Output] = []
    for _ in range(4):
        outputs += two.hear(one, one.disk)
        outputs += one.hear(two, two.disk)
    return outputs


def test_a_founder_alone_is_ready_and_runs_its_own_job_at_once() -> None:
    bench = founder()
    assert only(bench.give(Tick()), Ready)
    outputs = submit(bench, {"a": []})
    kinds = [type(output) for output in outputs]
    assert kinds.index(Store) == 0
    assert kinds.count(Store) == 1
    start = only(outputs, StartJob)[0]
    reply = next(replies(outputs))
    assert reply.result["copies"] == 1
    done = bench.give(JobEnded(start.attempt, "success", "success", {"k": "v"}))
    types = [event.type for store in only(done, Store) for event in store.events]
    assert types == ["job.finish", "run.end"]


def test_what_must_be_durable_comes_before_whatever_tells_of_it() -> None:
    one, two = pair()
    for outputs in (submit(one, {"a": [], "b": ["a"]}), exchange(one, two)):
        for position, output in enumerate(outputs):
            if isinstance(output, (Publish, StartJob)) and not (
                isinstance(output, Publish) and not isinstance(output.message, Events)
            ):
                assert any(isinstance(before, Store) for before in outputs[:position])


def test_a_submission_is_acknowledged_with_the_receipt_of_another_peer() -> None:
    one, two = pair()
    outputs = submit(one, {"a": []})
    assert not list(replies(outputs))
    heard = two.hear(one, one.disk)
    receipt = next(output for output in only(heard, Send) if isinstance(output.message, Stored))
    assert heard.index(receipt) > [type(output) for output in heard].index(Store)
    answered = one.give(Frame(two.peer, encode_message(receipt.message)))
    assert next(replies(answered)).result["copies"] == 2


def test_without_a_receipt_it_is_acknowledged_with_one_copy_after_a_moment() -> None:
    one, _ = pair()
    outputs = submit(one, {"a": []})
    wake = only(outputs, WakeAt)[-1]
    assert wake.mono == pytest.approx(one.time + RECEIPT_WAIT)
    one.time = wake.mono
    assert next(replies(one.give(Tick()))).result["copies"] == 1


def test_the_same_key_is_the_same_run() -> None:
    bench = founder()
    first = next(replies(submit(bench, {"a": []}, key="nightly")))
    bench.boot()
    again = next(replies(submit(bench, {"a": []}, key="nightly")))
    assert first.result["workflow_id"] == again.result["workflow_id"]
    assert len(bench.engine.desk.runs) == 1


def run_owned_by(owner: Bench, other: Bench) -> tuple[str, StartJob]:
    """A run of one job that falls to `owner`, submitted by `other` and started; its id and its start."""
    while True:
        submit(other, {"a": []})
        run = list(other.engine.desk.runs.values())[-1]
        if run.owner(("a", 0)) == owner.peer:
            break
    outputs = owner.hear(other, other.disk)
    start = next(one for one in only(outputs, StartJob) if one.attempt.run == run.id)
    other.hear(owner, owner.disk)
    return run.id.text, start


def test_a_silent_owner_is_taken_over_after_its_lease_and_not_before() -> None:
    one, two = pair()
    run, start = run_owned_by(two, one)
    quiet = one.wait(LEASE - 0.6)
    assert not only(quiet, StartJob)
    assert any(isinstance(output.message, Probe) for output in only(quiet, Send))
    later = one.wait(1.6)
    taken = only(later, StartJob)
    assert [each.attempt.number for each in taken if each.attempt.run.text == run] == [2]
    stopped = two.hear(one, one.disk)
    assert CancelJob(start.attempt, "it was given to another peer") in stopped


def test_beats_keep_a_job_with_its_owner() -> None:
    one, two = pair()
    _, start = run_owned_by(two, one)
    for _ in range(20):
        assert not only(one.wait(1.5), StartJob)
        one.give(Frame(two.peer, encode_message(Beat((start.attempt,)))))


def test_an_attempt_that_its_owner_does_not_list_is_silent() -> None:
    one, two = pair()
    run, _ = run_owned_by(two, one)
    taken: list[StartJob] = []
    other = Beat((Attempt(one.genesis.cid, "else", 0, 1),))
    for _ in range(6):
        taken += only(one.wait(1.5), StartJob)
        one.give(Frame(two.peer, encode_message(other)))
    assert [each.attempt.number for each in taken if each.attempt.run.text == run] == [2]


def test_an_owner_beats_to_who_watches_and_answers_a_probe_at_once() -> None:
    one, two = pair()
    _, start = run_owned_by(two, one)
    beats = only([output.message for output in only(two.wait(2.5), Send)], Beat)
    assert beats
    assert all(start.attempt in beat.held for beat in beats)
    answer = two.give(Frame(one.peer, encode_message(Probe((start.attempt,)))))
    assert Send(one.peer, Beat((start.attempt,))) in answer


def test_t22_a_node_that_slept_takes_nothing_over_before_it_has_synced() -> None:
    one, two = pair()
    run_owned_by(two, one)
    one.time += 1000  # a lid closed and opened
    woken = one.give(Tick())
    assert not only(woken, Store)
    one.give(Frame(two.peer, encode_message(Beat(()))))
    digest = encode_message(Digest(one.engine.desk.clock.dag.digest()))
    one.give(Frame(two.peer, digest))
    assert not only(one.wait(LEASE - 1), StartJob)


def test_t22_without_the_rule_for_who_wakes_the_job_is_taken_from_its_live_owner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for rule in ("WAKE_GAP", "STUMBLE"):
        monkeypatch.setattr(f"p2pwf.engine.liveness.{rule}", math.inf)
    one, two = pair()
    run, _ = run_owned_by(two, one)
    one.time += 1000
    taken = only([*one.give(Tick()), *one.wait(LEASE - 1)], StartJob)
    assert [each.attempt.number for each in taken if each.attempt.run.text == run] == [2]


def test_a_restarted_owner_closes_its_own_attempt_and_goes_on_with_the_next() -> None:
    bench = founder()
    start = only(submit(bench, {"a": []}), StartJob)[0]
    bench.boot()
    outputs = bench.give(Tick())
    again = only(outputs, StartJob)
    assert [each.attempt.number for each in again] == [2]
    late = bench.give(JobEnded(start.attempt, "success", "success"))
    assert not only(late, Store)


def test_a_policy_that_refuses_hands_the_job_on() -> None:
    one, two = pair()
    two.policy = lambda submission, *_: None if submission.author == two.peer else "own submissions only"
    two.boot()
    connect(one, two)
    two.wait(LEASE + 1)
    while True:
        submit(one, {"a": []})
        run = list(one.engine.desk.runs.values())[-1]
        if run.owner(("a", 0)) == two.peer:
            break
    refused = two.hear(one, one.disk)
    types = [event.type for store in only(refused, Store) for event in store.events]
    assert types[-2:] == ["job.refuse", "job.reassign"]
    assert not only(refused, StartJob)
    started = only(one.hear(two, two.disk), StartJob)
    assert run.id in [each.attempt.run for each in started]


def test_no_more_runs_at_a_time_than_there_are_slots_and_the_most_urgent_first() -> None:
    bench = founder(slots=1)
    first = only(submit(bench, {"a": []}), StartJob)[0]
    slow = next(replies(submit(bench, {"slow": []}, priority=5.0))).result["workflow_id"]
    submit(bench, {"normal": []}, priority=3.0)
    bench.give(SetPriority("up", parse_cid(slow), 1.0))
    order = []
    current = first
    for _ in range(2):
        outputs = bench.give(JobEnded(current.attempt, "success", "success"))
        started = only(outputs, StartJob)
        assert len(started) == 1
        current = started[0]
        order.append(current.attempt.job)
    assert order == ["slow", "normal"]


def test_max_parallel_and_fail_fast_hold() -> None:
    bench = founder(slots=8)
    outputs = submit(bench, {"m": []}, legs={"m": 5}, max_parallel=2)
    started = only(outputs, StartJob)
    assert [each.attempt.leg for each in started] == [0, 1]
    failed = bench.give(JobEnded(started[0].attempt, "failure", "failure"))
    assert CancelJob(started[1].attempt, "another leg failed") in failed
    run = next(iter(bench.engine.desk.runs.values()))
    conclusions = [finish.body["conclusion"] for leg in range(2, 5) if (finish := run.tally.finish(("m", leg)))]
    assert conclusions == ["cancelled"] * 3


def test_t04_a_ticket_works_once_at_its_issuer_only_and_until_it_expires() -> None:
    bench = founder()
    secret, late = b"s" * 16, b"l" * 16
    until = bench.now().wall + 60_000
    bench.give(Invite("i", sha256(secret).digest(), ("run",), until))
    bench.give(Invite("j", sha256(late).digest(), ("run",), until))

    def ask(number: int, word: bytes | None) -> str:
        outputs = bench.give(JoinAsked("ask", signer(number).peer_id, None, word, "new", ("linux",), 1))
        return str(next(replies(outputs)).result["status"])

    assert ask(5, b"wrong" * 3) == "refused"
    assert ask(5, secret) == "admitted"
    assert ask(5, secret) == "admitted"  # a repeated request of the same peer, whose answer was lost
    assert ask(6, secret) == "refused"
    bench.boot()
    assert ask(6, secret) == "refused"
    bench.time += 61
    assert ask(7, late) == "refused"
    assert ask(8, None) == "pending"
    assert list(bench.engine.membership.requests) == [signer(8).peer_id]
    assert not any(secret in value or late in value for value in bench.meta.values())


def test_t03_a_former_member_is_told_so_and_let_in_again_only_by_a_ticket_that_is_good() -> None:
    bench = founder()
    old, new = b"o" * 16, b"n" * 16
    for secret in (old, new):
        bench.give(Invite("i", sha256(secret).digest(), ("run",), bench.now().wall + 60_000))

    def ask(word: bytes | None) -> str:
        outputs = bench.give(JoinAsked("ask", signer(5).peer_id, None, word, "new", ("linux",), 1))
        return str(next(replies(outputs)).result["status"])

    assert ask(old) == "admitted"
    bench.give(RemoveMember("r", signer(5).peer_id))
    assert (ask(None), ask(old), ask(b"x" * 16)) == ("removed",) * 3
    assert not bench.engine.membership.requests
    assert ask(new) == "admitted"


def test_what_runs_at_a_member_that_is_removed_is_stopped_and_its_end_is_written_by_nobody_there() -> None:
    one, two = pair()
    _, start = run_owned_by(two, one)
    one.give(RemoveMember("r", two.peer))
    assert [each.attempt for each in only(two.hear(one, one.disk), CancelJob)] == [start.attempt]
    outputs = two.give(JobEnded(start.attempt, "cancelled", "cancelled")) + two.wait(20)
    assert not only(outputs, Store)
    assert not only(outputs, StartJob)
    assert not only(outputs, Alarm)
    assert isinstance(next(replies(submit(two, {"a": []}))).error, Refused)


def test_how_far_a_node_has_caught_up_is_counted_in_events_of_the_one_that_has_most() -> None:
    one, two = pair()
    syncer = one.engine.syncer
    assert syncer.progress() == (0, 0)
    here = len(one.engine.desk.clock.dag)
    said = {two.peer: ((9, b"t" * TAG_LENGTH),), one.peer: ((0, b"u" * TAG_LENGTH),)}
    one.give(Frame(two.peer, encode_message(Hello(one.genesis.cid, b"b" * 16, b"d" * 32, said, False, "test"))))
    assert syncer.progress() == (1 + one.engine.desk.clock.dag.length(two.peer), 11)
    assert here == len(one.engine.desk.clock.dag)
    one.give(PeerDown(two.peer))
    assert syncer.progress() == (0, 0)


def test_t28_of_one_peer_only_so_many_rounds_of_sync_are_answered_and_more_later() -> None:
    one, two = pair()
    hello = Hello(one.genesis.cid, b"b" * 16, b"d" * 32, {}, True, "test")
    other = encode_message(Digest(b"e" * 32))
    for frame in (encode_message(hello), other):
        one.time += DIGEST_EVERY
        answers = [one.give(Frame(two.peer, frame)) for _ in range(MAX_ROUNDS + 5)]
        sent = [any(isinstance(each.message, Hello) for each in only(outputs, Send)) for outputs in answers]
        assert sent == [True] * MAX_ROUNDS + [False] * 5
        assert not any(only(outputs, SendEvents) for outputs in answers[MAX_ROUNDS:])
    assert one.engine.syncer.dropped == 10
    one.time += DIGEST_EVERY
    assert only(one.give(Frame(two.peer, other)), Send)


def test_t07_t09_rights_are_checked_where_they_count() -> None:
    one, two = pair()
    one.give(RemoveMember("r", two.peer))
    one.give(AddMember("a", two.peer, ("run",), "two", ("linux",), 1))
    two.hear(one, one.disk)
    refusal = next(replies(submit(two, {"a": []})))
    assert isinstance(refusal.error, Refused)
    for request in (AddMember("x", signer(9).peer_id, ("run",)), Invite("y", b"d" * 32, ("run",), 10**14)):
        answer = next(replies(two.give(request)))
        assert isinstance(answer.error, Refused)
    assert not two.engine.desk.roster.holds(signer(9).peer_id, None)


def test_t50_an_own_event_that_this_node_does_not_know_stops_it_from_writing() -> None:
    one, two = pair()
    twin = Bench(signer(1), one.genesis)
    twin.disk = list(one.disk)
    twin.boot()
    submit(twin, {"a": []})
    outputs = one.hear(two, twin.disk)
    assert only(outputs, Alarm)
    refusal = next(replies(submit(one, {"b": []})))
    assert isinstance(refusal.error, Refused)


def test_malformed_frames_are_counted_against_their_sender() -> None:
    one, two = pair()
    for data in (b"", b"\xff" * 50, b"\xa1\x61t\x65hello", encode_message(Digest(b"d" * 32)) + b"\x00"):
        outputs = one.give(Frame(two.peer, data))
        assert [each.peer for each in only(outputs, Misbehaved)] == [two.peer]


def test_gossip_of_strangers_is_not_even_read() -> None:
    bench = founder()
    assert not only(bench.give(Gossip(signer(9).peer_id, b"\xff")), Misbehaved)


def test_a_lost_connection_alone_moves_no_job() -> None:
    one, two = pair()
    run_owned_by(two, one)
    outputs = one.give(PeerDown(two.peer)) + one.wait(1.0)
    assert not only(outputs, StartJob)


def test_a_node_that_stops_hands_its_jobs_on_at_once() -> None:
    one, two = pair()
    run, start = run_owned_by(two, one)
    left = two.give(Stop("stop"))
    assert CancelJob(start.attempt, "this node is stopping") in left
    taken = only(one.hear(two, two.disk), StartJob)
    assert [each.attempt.number for each in taken if each.attempt.run.text == run] == [2]


def test_old_ended_runs_leave_memory_and_come_back_when_asked_for() -> None:
    bench = founder(slots=64)
    for _ in range(KEPT_ENDED + 10):
        start = only(submit(bench, {"a": []}), StartJob)[0]
        bench.give(JobEnded(start.attempt, "success", "success"))
    desk = bench.engine.desk
    assert len(desk.runs) == KEPT_ENDED
    assert len(desk.cold) == 10
    bench.boot()
    desk = bench.engine.desk
    assert (len(desk.runs), len(desk.cold), len(desk.active)) == (KEPT_ENDED, 10, 0)
    oldest = next(iter(desk.cold))
    events = tuple(event.signed for event in bench.disk if event.run == oldest)
    assert len(events) == 4
    row = desk.cold.row(oldest)
    assert desk.cold.counts == {"completed": 10}
    answer = next(replies(bench.give(Recalled("back", oldest, events))))
    assert answer.error is None
    assert row == {**summary(desk.runs[oldest]), "owners": [bench.peer]}
    assert desk.cold.counts == {"completed": 10}  # another one took its place
    assert desk.runs[oldest].tally.conclusion() == "success"
    assert len(desk.runs) == KEPT_ENDED
    assert oldest not in desk.cold


def test_a_late_event_of_a_run_that_left_memory_brings_it_back() -> None:
    one, two = pair()
    run, start = run_owned_by(two, one)
    one.wait(LEASE + 2)
    taken = only(one.hear(two, []), StartJob)
    assert not taken
    run_id = start.attempt.run
    ours = next(attempt for attempt in one.engine.conductor.work.local.values() if attempt.run == run_id)
    one.give(JobEnded(ours, "success", "success"))
    for _ in range(KEPT_ENDED):
        other = only(submit(one, {"a": []}), StartJob)
        for each in other:
            one.give(JobEnded(each.attempt, "success", "success"))
    one.engine.desk.retire(one.engine.desk.runs.get(run_id) or next(iter(one.engine.desk.runs.values())))
    if run_id not in one.engine.desk.cold:
        one.engine.desk.cold.put(one.engine.desk.runs.pop(run_id))
    read = tuple(event.signed for event in one.disk if event.run == run_id)  # by somebody who asked before
    two.give(JobEnded(start.attempt, "failure", "failure"))
    (late,) = (event for event in two.disk if event.run == run_id and event.type == "job.finish")
    asked = only(one.hear(two, two.disk), Recall)
    assert [each.run for each in asked] == [run_id]
    assert run == run_id.text
    one.give(Recalled(None, run_id, read))
    assert late.cid in one.engine.desk.runs[run_id].events


def test_t14_a_fork_that_is_seen_is_proven_by_the_first_live_member() -> None:
    one, two = pair()
    third = Bench(signer(3), one.genesis)
    one.give(AddMember("third", third.peer, ("run", "submit"), "three", ("linux",), 1))
    known = list(one.disk)
    for twin in range(2):
        third.disk = list(known)
        third.meta = {}
        third.boot()
        third.time = one.time + 100  # past every wait
        third.give(Tick())
        third.wait(LEASE + 1)
        submit(third, {f"job{twin}": []})
        one.hear(two, third.disk)
    assert one.engine.desk.clock.dag.is_forked(third.peer)
    proofs = [event.type for store in only(one.wait(4.0), Store) for event in store.events]
    assert proofs.count("member.fork") == 1
    assert not one.engine.desk.roster.holds(third.peer, None)
    later = [event.type for store in only(one.wait(4.0), Store) for event in store.events]
    assert "member.fork" not in later


def test_a_forged_copy_takes_no_place_and_blames_no_honest_peer() -> None:
    one, two = pair()
    known = len(one.disk)
    submit(two, {"a": []})
    submit(two, {"b": []})
    first, *_, last = two.disk[known:]
    forged = SignedBlock(last.signed.block, bytes(64))
    blamed = one.give(Gossip(two.peer, encode_message(Events((forged,)))))
    assert [each.peer for each in only(blamed, Misbehaved)] == [two.peer]
    assert len(one.engine.intake.pending) == 0
    assert not only(one.hear(two, two.disk[known:]), Misbehaved)
    assert last.cid in one.engine.desk.clock.dag
    assert first.cid in one.engine.desk.clock.dag


def test_a_bug_met_in_a_frame_is_said_and_the_node_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = pair()

    def broken(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(one.engine.syncer, "digest", broken)
    outputs = one.give(Frame(two.peer, encode_message(Digest(b"d" * 32))))
    assert only(outputs, Alarm)
    assert one.engine.bugs == 1
    assert list(replies(submit(one, {"a": []}) + one.wait(1)))


def test_a_beat_of_who_does_not_own_the_job_counts_for_nothing() -> None:
    one, two = pair()
    run, start = run_owned_by(two, one)
    other = signer(7)
    one.give(AddMember("third", other.peer_id, ("run", "submit"), "three", ("linux",), 0))
    taken: list[StartJob] = []
    for _ in range(8):
        taken += only(one.wait(1.0), StartJob)
        one.give(Frame(other.peer_id, encode_message(Beat((start.attempt,)))))
    assert [each.attempt.number for each in taken if each.attempt.run.text == run] == [2]


def test_legs_that_no_event_can_hold_fail_their_job_and_not_the_node() -> None:
    bench = founder()
    outputs = submit(bench, {"find": [], "each": ["find"]}, legs={"each": None}, payload={"legs": {"each": 300}})
    start = only(outputs, StartJob)[0]
    bench.give(JobEnded(start.attempt, "success", "success"))
    run = next(iter(bench.engine.desk.runs.values()))
    assert run.tally.result("each") == "failure"
    assert run.tally.conclusion() == "failure"
    assert run.tally.end is not None


def test_text_that_is_no_unicode_fails_a_job_and_not_the_node() -> None:
    bench = founder()
    start = only(submit(bench, {"a": []}), StartJob)[0]
    bench.give(JobEnded(start.attempt, "success", "success", {"v": "\ud800"}))
    run = next(iter(bench.engine.desk.runs.values()))
    assert run.tally.result("a") == "failure"
    assert only(submit(bench, {"b": []}), StartJob)


def test_a_priority_that_no_event_can_hold_is_refused() -> None:
    bench = founder()
    run = next(replies(submit(bench, {"a": []}))).result["workflow_id"]
    (reply,) = replies(bench.give(SetPriority("up", parse_cid(run), 1e300)))
    assert isinstance(reply.error, UsageError)


def test_a_node_that_may_run_jobs_no_more_drops_what_it_had_queued() -> None:
    one, two = pair()
    two.slots = 1
    two.boot()
    connect(one, two)
    two.wait(LEASE + 1)
    for number in range(8):
        submit(two, {f"job{number}": []})
    assert len(two.engine.conductor.work.ready) > 0
    exchange(one, two)
    one.give(RemoveMember("remove", two.peer, keep_runs=False))
    exchange(one, two)
    two.wait(5.0)
    assert len(two.engine.conductor.work.ready) == 0


def test_bytes_in_the_inputs_of_a_run_are_shown_and_break_nothing() -> None:
    bench = founder()
    inputs: dict[str, Value] = {"x": b"\0\x01", "run": bench.genesis.cid}
    body = {**make_submission({"a": []}), "inputs": inputs}
    bench.give(Submit("submit", body))
    (run,) = bench.engine.desk.runs.values()
    assert json.loads(json.dumps(summary(run)))["inputs"] == {"x": "0001", "run": bench.genesis.cid.text}


def test_a_hello_tells_how_far_another_s_clock_is_ahead() -> None:
    one, two = pair()
    hello = Hello(one.genesis.cid, b"b" * 16, b"d" * 32, {}, False, "test", (), one.now().wall - 7000)
    one.give(Frame(two.peer, encode_message(hello)))
    assert one.engine.liveness.ahead == {two.peer: -7000}
    one.give(PeerDown(two.peer))
    assert one.engine.liveness.ahead == {}
