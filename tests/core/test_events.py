"""An event says one thing in one way, and a changed bit is another event, or none."""

from __future__ import annotations

import pytest

from p2pwf.core.bodies import FORMS, MAX_OUTPUTS
from p2pwf.core.events import Event, EventError, SignedBlock, author_event, parse
from p2pwf.core.ids import PeerId, block_cid, parse_cid, peer_id_of, public_key_of
from p2pwf.core.sign import verify
from p2pwf.core.tickets import Ticket, parse_ticket
from p2pwf.errors import UsageError
from tests.kit import Writer, network, signer


def an_event() -> Event:
    writer = Writer(1)
    return writer.add(signer(2).peer_id)


def test_an_event_comes_back_from_its_block_as_it_was_written() -> None:
    event = an_event()
    again = parse(event.signed)
    assert (again.cid, again.author, again.seq, again.body) == (event.cid, event.author, event.seq, event.body)
    assert again.cid == block_cid(event.signed.block)
    assert verify(again.author, again.signed.block, again.signed.signature)


def test_t12_no_flipped_bit_of_an_event_goes_unnoticed() -> None:
    event = an_event()
    block, signature = event.signed.block, event.signed.signature
    for position in range(len(block)):
        for bit in (0x01, 0x20, 0x80):
            changed = bytearray(block)
            changed[position] ^= bit
            try:
                other = parse(SignedBlock(bytes(changed), signature))
            except EventError:
                continue
            assert not verify(other.author, other.signed.block, other.signed.signature)
    for position in range(len(signature)):
        changed = bytearray(signature)
        changed[position] ^= 0x01
        assert not verify(event.author, block, bytes(changed))


def test_every_known_body_has_exactly_its_fields() -> None:
    one, *_ = network(2)
    run = one.submit({"a": [], "b": ["a"]})
    good = one.write("run.priority", {"run": run.id, "priority": 1.0}, run)
    wrong: list[dict[str, object]] = [
        {"run": run.id},
        {"run": run.id, "priority": "1"},
        {"run": run.id, "priority": 1.0, "more": 0},
    ]
    for body in wrong:
        with pytest.raises(EventError, match="form"):
            one.write("run.priority", body, run)
    assert good.type in FORMS


@pytest.mark.parametrize(
    "plan",
    [
        {"jobs": []},
        {"jobs": [{"id": "a", "needs": ["b"]}]},
        "no plan",
    ],
)
def test_a_plan_without_form_is_refused(plan: object) -> None:
    writer = Writer(1)
    body = {**writer.submit({"a": []}).submission.body, "plan": plan}
    with pytest.raises(EventError, match="form"):
        writer.write("run.submit", body)


def test_a_plan_whose_needs_go_in_a_circle_or_nowhere_is_refused() -> None:
    writer = Writer(1)
    for jobs in ({"a": ["a"]}, {"a": ["b"], "b": ["a"]}, {"a": ["gone"]}):
        with pytest.raises(EventError, match="form"):
            writer.submit(jobs)


def test_outputs_are_bounded_in_bytes_not_characters() -> None:
    one, *_ = network(2)
    run = one.submit({"a": []})
    body = {
        "run": run.id,
        "job": "a",
        "leg": 0,
        "attempt": 1,
        "uses": [],
        "conclusion": "success",
        "outcome": "success",
        "log": None,
        "report": None,
        "artifacts": [],
        "caches": [],
        "error": None,
    }
    with pytest.raises(EventError, match="form"):
        one.write("job.finish", {**body, "outputs": {"k": "é" * (MAX_OUTPUTS // 2)}}, run)


def test_an_event_of_an_unknown_type_passes_with_any_body() -> None:
    event = Writer(1).write("future.thing", {"any": [1, {"thing": None}]})
    assert parse(event.signed).type == "future.thing"


def test_t19_t21_the_envelope_is_bounded() -> None:
    key = signer(1)
    genesis = Writer(1).events[0]

    def write(**changes: object) -> Event:
        fields = {
            "net": genesis.cid,
            "seq": 1,
            "prev": genesis.cid,
            "parents": [genesis.cid],
            "lamport": 2,
            "time": 0,
            "type": "future.thing",
            "body": {},
        }
        return author_event(key, **{**fields, **changes})  # type: ignore[arg-type]

    assert write().seq == 1
    changes: list[dict[str, object]] = [
        {"seq": 0},
        {"prev": None},
        {"parents": []},
        {"net": None},
        {"lamport": 0},
        {"lamport": 2**63},
        {"time": -1},
        {"type": ""},
        {"parents": [block_cid(bytes([n])) for n in range(17)]},
        {"type": "run.cancel", "body": {"run": genesis.cid}},
        {"after": [genesis.cid], "type": "member.update", "body": {"name": "n", "labels": [], "slots": 0}},
    ]
    for wrong in changes:
        with pytest.raises(EventError):
            write(**wrong)


def test_ids_are_those_of_ipld_and_libp2p() -> None:
    assert block_cid(bytes.fromhex("a0")).text == "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
    assert parse_cid("bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua") == block_cid(bytes.fromhex("a0"))
    key = bytes(range(32))
    peer = peer_id_of(key)
    assert peer.startswith("12D3KooW")
    assert public_key_of(peer) == key
    for wrong in ("", "12D3KooW", "Qm" + "a" * 44, peer[:-1], peer + "1", "1" * 5000):
        with pytest.raises(UsageError, match="peer id"):
            public_key_of(PeerId(wrong))
    for wrong in ("", "bafy", "zdpuAk", "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swub"):
        with pytest.raises(UsageError, match="CID"):
            parse_cid(wrong)


def test_a_ticket_survives_pasting_and_nothing_else_does() -> None:
    ticket = Ticket(block_cid(b"net"), ("/ip4/10.0.0.1/tcp/4070/p2p/12D3KooWx",), b"s" * 16, b"p" * 32)
    text = ticket.to_text()
    assert parse_ticket(f"  {text[:40]}\n{text[40:]} ") == parse_ticket(text.upper()) == ticket
    for wrong in ("", "hello", text[:-3], text[:20] + "7" + text[21:], "p2pwf1" + "a" * 5000):
        with pytest.raises(UsageError, match="ticket"):
            parse_ticket(wrong)
