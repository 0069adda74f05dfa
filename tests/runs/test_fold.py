"""The fold of a run: who owns what, which outcome counts, when it has ended; the same in every order of arrival."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, cast

import pytest

from p2pwf.clock import Pending
from p2pwf.core.events import Event
from p2pwf.core.ids import Cid, PeerId
from p2pwf.errors import NotFound, UsageError
from p2pwf.runs import Run
from p2pwf.runs.run import Key, end_list
from p2pwf.runs.view import decision, detail, explain, find_leg, find_legs, keys_of, status, unowned
from p2pwf.testing import make_submission
from tests.kit import Writer, arrivals, network, share


def owner_by_hand(run: Run, job: str, leg: int, peers: list[PeerId]) -> PeerId:
    """Minimum Hamming distance, from the words of the protocol page alone."""
    head = sha256(b"".join(sorted(bytes(cid) for cid in run.submission.parents))).digest()
    block = b"\x83\xd8\x2a\x58\x25\x00" + bytes(run.id)
    block += bytes([0x60 + len(job)]) + job.encode() + bytes([leg])
    combined = sha256(head + sha256(block).digest()).digest()

    def rank(peer: PeerId) -> tuple[int, bytes]:
        other = sha256(peer.encode()).digest()
        bits = (int.from_bytes(combined) ^ int.from_bytes(other)).bit_count()
        return bits, sha256(combined + peer.encode()).digest()

    return min(peers, key=rank)


def start(writer: Writer, run: Run, job: str, leg: int = 0, attempt: int = 1, uses: tuple[Cid, ...] = ()) -> Event:
    body = {"run": run.id, "job": job, "leg": leg, "attempt": attempt, "uses": list(uses)}
    return writer.write("job.start", body, writer.run(run))


def finish(
    writer: Writer,
    run: Run,
    job: str,
    leg: int = 0,
    attempt: int = 1,
    conclusion: str = "success",
    outputs: dict[str, str] | None = None,
) -> Event:
    body = {
        "run": run.id,
        "job": job,
        "leg": leg,
        "attempt": attempt,
        "uses": [],
        "conclusion": conclusion,
        "outcome": conclusion,
        "outputs": outputs or {},
        "log": None,
        "report": None,
        "artifacts": [],
        "caches": [],
        "error": None,
    }
    return writer.write("job.finish", body, writer.run(run))


def reassign(writer: Writer, run: Run, job: str, to: Writer, attempt: int, absent: list[PeerId]) -> Event:
    body = {
        "run": run.id,
        "job": job,
        "leg": 0,
        "attempt": attempt,
        "owner": to.peer,
        "absent": sorted(absent),
        "reason": "silent",
    }
    return writer.write("job.reassign", body, writer.run(run))


def owner_among(writers: list[Writer], run: Run, job: str, leg: int = 0) -> Writer:
    owner = writers[0].run(run).owner((job, leg))
    return next(writer for writer in writers if writer.peer == owner)


def ordered(writers: list[Writer], run: Run, job: str) -> list[Writer]:
    order = writers[0].run(run).order((job, 0), writers[0].desk.roster)
    return [next(writer for writer in writers if writer.peer == peer) for peer in order]


def test_every_peer_names_the_owner_that_the_page_says() -> None:
    writers = network(5)
    for number in range(20):
        run = writers[number % 5].submit({"build": []})
        share(*writers)
        expected = owner_by_hand(run, "build", 0, [writer.peer for writer in writers])
        assert {writer.run(run).owner(("build", 0)) for writer in writers} == {expected}


def test_the_owner_stays_when_the_clock_moves_on_and_members_come() -> None:
    writers = network(3)
    run = writers[0].submit({"build": []})
    share(*writers)
    before = writers[1].run(run).owner(("build", 0))
    late = Writer(9, writers[0].desk.network)
    writers[0].add(late.peer)
    writers[1].rename("other")
    share(*writers, late)
    assert {writer.run(run).owner(("build", 0)) for writer in [*writers, late]} == {before}


def test_a_wave_spreads_over_the_peers_before_any_gets_two() -> None:
    writers = network(4)
    run = writers[0].submit({"m": []}, legs={"m": 8})
    owners = [run.owner(("m", leg)) or "" for leg in range(8)]
    assert sorted(owners[:4]) == sorted(writer.peer for writer in writers)
    assert all(owners.count(writer.peer) == 2 for writer in writers)


def owner_of_a_job_that_wants(writer: Writer, label: str) -> PeerId | None:
    body = make_submission({"a": []})
    body["plan"]["jobs"][0]["legs"][0]["labels"] = [label]  # type: ignore[index,call-overload]
    event = writer.write("run.submit", {**body, "absent": []})
    return writer.desk.runs[event.cid].owner(("a", 0))


def test_only_peers_that_fit_are_candidates() -> None:
    one, two, three = network(3)
    one.write("member.update", {"name": "gpu", "labels": ["gpu", "linux"], "slots": 1})
    two.write("member.update", {"name": "none", "labels": ["linux"], "slots": 0})
    share(one, two, three)
    assert owner_of_a_job_that_wants(one, "gpu") == one.peer
    assert owner_of_a_job_that_wants(one, "ubuntu-latest") in (one.peer, three.peer)
    assert owner_of_a_job_that_wants(one, "self-hosted") in (one.peer, three.peer)
    assert owner_of_a_job_that_wants(one, "windows-latest") is None


def test_absent_members_are_passed_over_unless_nobody_else_is_left() -> None:
    one, two = network(2)
    body = dict(one.submit({"a": []}).submission.body)
    event = one.write("run.submit", {**body, "absent": [one.peer]})
    assert one.desk.runs[event.cid].owner(("a", 0)) == two.peer
    event = one.write("run.submit", {**body, "absent": sorted([one.peer, two.peer])})
    assert one.desk.runs[event.cid].owner(("a", 0)) in (one.peer, two.peer)


def test_a_run_goes_from_assigned_to_its_end() -> None:
    writers = network(3)
    run = writers[0].submit({"a": [], "b": ["a"]})
    share(*writers)
    assert status(run) == "assigned"
    first = owner_among(writers, run, "a")
    start(first, run, "a")
    share(*writers)
    assert status(run) == "in_progress"
    done = finish(first, run, "a", outputs={"v": "1"})
    share(*writers)
    second = owner_among(writers, run, "b")
    start(second, run, "b", uses=(done.cid,))
    finish(second, run, "b")
    tally = second.run(run).tally
    end: dict[str, object] = {"run": run.id, "conclusion": "success", "finishes": end_list(tally)}
    second.write("run.end", end, second.run(run))
    share(*writers)
    for writer in writers:
        view = detail(writer.run(run))
        assert view["status"] == "completed"
        assert view["result"]["a"] == {"result": "success", "outputs": {"v": "1"}}
        assert [job["conclusion"] for job in view["jobs"]] == ["success", "success"]


def test_t10_what_who_never_owned_the_job_says_of_it_has_no_effect() -> None:
    writers = network(3)
    run = writers[0].submit({"a": []})
    share(*writers)
    owner = owner_among(writers, run, "a")
    thief = next(writer for writer in writers if writer is not owner)
    lie = finish(thief, run, "a")
    share(*writers)
    assert all(not writer.run(run).events[lie.cid].counts for writer in writers)
    assert writers[0].run(run).tally.finish(("a", 0)) is None


def test_of_two_outcomes_the_earlier_attempt_stands_everywhere() -> None:
    writers = network(3)
    run = writers[0].submit({"a": []})
    share(*writers)
    owner, heir, witness = ordered(writers, run, "a")
    assert owner.peer == run.owner(("a", 0))
    start(owner, run, "a")
    share(*writers)
    late = finish(owner, run, "a", conclusion="failure")  # not heard by the others yet
    reassign(heir, run, "a", heir, 2, [owner.peer])
    start(heir, run, "a", attempt=2)
    finish(heir, run, "a", attempt=2)
    share(*writers)
    for writer in writers:
        chosen = writer.run(run).tally.finish(("a", 0))
        assert chosen is not None
        assert chosen.cid == late.cid
    assert witness.run(run).owner(("a", 0)) == heir.peer


def test_an_outcome_that_was_built_upon_stands_before_one_that_was_not() -> None:
    writers = network(3)
    while True:  # until a draw in which the second job does not fall to the peer that is cut off
        run = writers[0].submit({"a": [], "b": ["a"]})
        share(*writers)
        owner, heir, _ = ordered(writers, run, "a")
        after = owner_among(writers, run, "b")
        if after is not owner and run.owner(("a", 0)) == owner.peer:
            break
    start(owner, run, "a")
    share(*writers)
    finish(owner, run, "a", conclusion="failure")
    reassign(heir, run, "a", heir, 2, [owner.peer])
    second = finish(heir, run, "a", attempt=2)
    share(*[writer for writer in writers if writer is not owner])
    start(after, run, "b", uses=(second.cid,))
    share(*writers)
    for writer in writers:
        chosen = writer.run(run).tally.finish(("a", 0))
        assert chosen is not None
        assert chosen.cid == second.cid


def test_who_knows_that_its_job_moved_on_has_no_say_any_more() -> None:
    writers = network(3)
    run = writers[0].submit({"a": []})
    share(*writers)
    owner, heir, _ = ordered(writers, run, "a")
    start(owner, run, "a")
    share(*writers)
    reassign(heir, run, "a", heir, 2, [owner.peer])
    share(*writers)
    late = finish(owner, run, "a")
    share(*writers)
    assert not heir.run(run).events[late.cid].counts


def test_a_takeover_names_whom_the_rule_names_or_has_no_effect() -> None:
    writers = network(4)
    run = writers[0].submit({"a": []})
    share(*writers)
    owner, heir, third, fourth = ordered(writers, run, "a")
    wrong = reassign(third, run, "a", third, 2, [owner.peer])
    share(*writers)
    assert not heir.run(run).events[wrong.cid].counts
    skipping = reassign(third, run, "a", third, 2, [owner.peer, heir.peer])
    share(*writers)
    assert fourth.run(run).events[skipping.cid].counts
    assert fourth.run(run).owner(("a", 0)) == third.peer
    again = reassign(fourth, run, "a", heir, 2, [owner.peer])
    share(*writers)
    assert not heir.run(run).events[again.cid].counts  # the attempt has its owner already


def in_every_order(writer: Writer, news: list[Event], run: Run) -> dict[str, object]:
    """What a run comes to for who knows all that `writer` knows: the same, in whatever order `news` arrive."""
    known = [event for event in writer.events if event not in news]
    results: dict[str, dict[str, object]] = {}
    for order in arrivals(news):
        reader, pending = Writer(9, writer.desk.network), Pending()
        reader.learn(*sorted(known, key=lambda event: event.order))
        for arriving in order:
            ready = [arriving]
            while ready:
                event = ready.pop()
                missing = [cid for cid in event.links() if cid not in reader.desk.clock.dag]
                if missing:
                    pending.add(event, missing)
                else:
                    reader.learn(event)
                    ready.extend(waiter for waiter, _ in pending.arrived(event.cid))
        assert len(pending) == 0
        mine = reader.run(run)
        counting = sorted(cid.text for cid, entry in mine.events.items() if entry.counts)
        placed = {key: (mine.owner(key), mine.order(key, mine.roster)) for key in keys_of(mine)}
        end = mine.tally.end.cid if mine.tally.end else None
        found: dict[str, object] = {"detail": detail(mine), "counting": counting, "placed": placed, "end": end}
        results[repr(sorted(found.items()))] = found
    assert len(results) == 1
    return next(iter(results.values()))


def test_placement_and_outcome_are_the_same_in_every_order_of_arrival() -> None:
    writers = network(3)
    run = writers[0].submit({"a": [], "b": ["a"]}, legs={"b": 2})
    share(*writers)
    owner, heir, third = ordered(writers, run, "a")
    news = [run.submission, start(owner, run, "a")]
    share(owner, heir)
    news.append(reassign(heir, run, "a", heir, 2, [owner.peer]))
    news.append(finish(owner, run, "a"))
    share(owner, third)
    news.append(finish(heir, run, "a", attempt=2, conclusion="failure"))
    share(*writers)
    come_to = in_every_order(writers[0], news, run)
    assert come_to["placed"] == {key: (run.owner(key), run.order(key, run.roster)) for key in keys_of(run)}
    assert owner.run(run).tally.result("a") == "success"  # the lower attempt


def test_placement_stands_whatever_a_cut_does_and_whenever_it_arrives() -> None:
    founder, two, three = network(3)
    run = two.submit({"a": [], "b": []})
    share(founder, two, three)
    before = {key: run.owner(key) for key in keys_of(run)}
    news = [run.submission, *(start(w, run, job) for w in (founder, two, three) for job in owned(w, run))]
    news += [founder.remove(two.peer), finish(two, run, next(iter(owned(two, run)), "a"))]
    share(founder, three)
    founder.learn(*[event for event in news if event.cid not in founder.desk.clock.dag])
    come_to = in_every_order(founder, news, run)
    assert {key: owner for key, (owner, _) in cast("dict[Key, Any]", come_to["placed"]).items()} == before


def test_of_several_ends_the_same_one_holds_in_every_order_of_arrival() -> None:
    writers = network(3)
    run = writers[0].submit({"a": []})
    share(*writers)
    owner, heir, third = ordered(writers, run, "a")
    news = [start(owner, run, "a"), finish(owner, run, "a")]
    share(*writers)
    for writer in (owner, heir, third):
        tally = writer.run(run).tally
        body: dict[str, object] = {"run": run.id, "conclusion": "success", "finishes": end_list(tally)}
        news.append(writer.write("run.end", body, writer.run(run)))
    share(*writers)
    assert len(news) == 5
    assert in_every_order(writers[0], news, run)["end"] == min(news[2:], key=lambda event: event.order).cid


def owned(writer: Writer, run: Run) -> list[str]:
    """The plain jobs that a writer owns."""
    return [job for job, leg in keys_of(run) if run.owner((job, leg)) == writer.peer]


def test_only_the_submitter_or_an_admin_steers_a_run() -> None:
    admin, two, three = network(3)
    run = two.submit({"a": []})
    share(admin, two, three)
    three.write("run.cancel", {"run": run.id}, three.run(run))
    share(admin, two, three)
    assert not admin.run(run).tally.cancels
    admin.write("run.cancel", {"run": run.id}, admin.run(run))
    share(admin, two, three)
    assert three.run(run).tally.cancels


def test_an_end_that_does_not_name_the_outcomes_has_no_effect() -> None:
    writers = network(2)
    run = writers[0].submit({"a": []})
    share(*writers)
    owner = owner_among(writers, run, "a")
    early = owner.write("run.end", {"run": run.id, "conclusion": "success", "finishes": []}, owner.run(run))
    finish(owner, run, "a", conclusion="failure")
    named = end_list(owner.run(run).tally)
    lie = owner.write("run.end", {"run": run.id, "conclusion": "success", "finishes": named}, owner.run(run))
    assert not owner.run(run).events[early.cid].counts
    assert not owner.run(run).events[lie.cid].counts
    owner.write("run.end", {"run": run.id, "conclusion": "failure", "finishes": named}, owner.run(run))
    assert status(owner.run(run)) == "failed"


def test_a_cut_owner_loses_its_say_and_its_job() -> None:
    writers = network(3)
    run = writers[0].submit({"a": []})
    share(*writers)
    owner = owner_among(writers, run, "a")
    while owner is writers[0]:  # the founder alone is admin: it cannot be cut
        run = writers[0].submit({"a": []})
        share(*writers)
        owner = owner_among(writers, run, "a")
    writers[0].remove(owner.peer)
    late = finish(owner, run, "a")
    share(writers[0], *[writer for writer in writers[1:] if writer is not owner])
    writers[0].learn(late)
    assert writers[0].run(run).tally.finish(("a", 0)) is None


def test_a_leg_is_found_by_each_of_its_names() -> None:
    one, *_ = network(2)
    run = one.submit({"build": [], "m": [], "later": ["m"]}, legs={"m": 3, "later": None})
    assert find_leg(run, "build") == ("build", 0)
    assert find_leg(run, "m (1)") == ("m", 1)
    assert find_leg(run, "m#2") == ("m", 2)
    with pytest.raises(UsageError, match="several"):
        find_leg(run, "m")
    with pytest.raises(NotFound, match="not known yet"):
        find_leg(run, "later")
    with pytest.raises(NotFound, match="no job"):
        find_leg(run, "ghost")


def test_by_its_id_a_job_means_all_its_legs() -> None:
    one, *_ = network(2)
    run = one.submit({"build": [], "m": [], "later": ["m"]}, legs={"m": 3, "later": None})
    assert find_legs(run, "m") == [("m", 0), ("m", 1), ("m", 2)]
    assert find_legs(run, "m (1)") == find_legs(run, "m#1") == [("m", 1)]
    assert find_legs(run, "later") == []
    with pytest.raises(NotFound, match="no job"):
        find_legs(run, "ghost")


def test_explain_shows_who_was_passed_over_and_why() -> None:
    writers = network(4)
    run = writers[0].submit({"m": []}, legs={"m": 4})
    rows = [explain(run, ("m", leg), writers[0].desk.roster) for leg in range(4)]
    for row in rows:
        owner = next(one for one in row["candidates"] if one["peer_id"] == row["owner"])
        nearer = [one for one in row["candidates"] if one["order"] < owner["order"]]
        assert all(one["passed_over"] == "slots" for one in nearer)
        assert owner["passed_over"] is None
        distances = [one["distance"] for one in row["candidates"]]
        assert distances == sorted(distances)


def test_a_decision_names_the_owner_and_how_far_it_is_or_why_nobody_is_one() -> None:
    writers = network(3)
    roster = writers[0].desk.roster
    run = writers[0].submit({"m": []}, legs={"m": 3})
    assert unowned(run) == []
    for leg in range(3):
        told = decision(run, ("m", leg), roster)
        why = explain(run, ("m", leg), roster)
        assert told["owner"] == why["owner"]
        assert told["distance"] == next(one["distance"] for one in why["candidates"] if one["peer_id"] == why["owner"])
    nowhere = writers[0].submit({"far": []}, legs={"far": 1}, labels={"far": ["gpu"]})
    assert unowned(nowhere) == [("far", 0)]
    told = decision(nowhere, ("far", 0), roster)
    assert (told["owner"], told["distance"]) == (None, None)
    assert {one["peer_id"]: one["reason"] for one in told["passed_over"]} == {one.peer: "labels" for one in writers}


def test_explain_speaks_of_who_joined_after_the_submission_too() -> None:
    founder = network(1)[0]
    run = founder.submit({"far": []}, legs={"far": 1}, labels={"far": ["gpu"]})
    late = Writer(41, founder.desk.network)
    founder.add(late.peer, slots=0)
    told = decision(run, ("far", 0), founder.desk.roster)
    assert {one["peer_id"]: one["reason"] for one in told["passed_over"]} == {
        founder.peer: "labels",
        late.peer: "slots",
    }


def test_who_may_only_submit_can_cancel_a_run_that_many_wrote_about() -> None:
    founder, *others = network(19)
    guest = Writer(40, founder.desk.network)
    founder.add(guest.peer, "submit")
    share(founder, guest, *others)
    run = guest.submit({"m": []}, legs={"m": 18})
    share(founder, guest, *others)
    for leg in range(18):
        start(owner_among([founder, *others], run, "m", leg), run, "m", leg)
    share(founder, guest, *others)
    assert len(guest.run(run).heads) > 16
    guest.write("run.cancel", {"run": run.id}, guest.run(run))
    share(founder, guest)
    assert founder.run(run).tally.cancels
    assert len(founder.run(run).heads) == 1


def test_a_flood_of_notes_costs_who_goes_on_with_the_run_nothing() -> None:
    founder, other = network(2)
    run = founder.submit({"a": []})
    share(founder, other)
    notes = []
    for number in range(100):
        fresh = Writer(100 + number, founder.desk.network)
        founder.add(fresh.peer, "submit")
        share(founder, fresh)
        notes.append(fresh.write("run.note", {"run": run.id}, fresh.run(run)))
    share(founder, other)
    founder.learn(*notes)
    before = len(founder.events)
    founder.write("run.cancel", {"run": run.id}, founder.run(run))
    assert len(founder.events) == before + 1
    assert founder.run(run).tally.cancels
