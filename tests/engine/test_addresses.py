"""What a node learns at second hand of where the others are."""

from __future__ import annotations

from collections.abc import Mapping

from p2pwf.clock.messages import MAX_PEERS, Events, Peers, encode_message
from p2pwf.core.ids import PeerId
from p2pwf.core.sign import Signer
from p2pwf.engine.inputs import Addresses, Frame, PeerDown, PeerUp, Tick
from p2pwf.engine.outputs import Learned, Output, Send
from tests.engine.kit import Net
from tests.kit import signer


def learned(outputs: list[Output]) -> dict[str, tuple[str, ...]]:
    return {output.peer: output.addresses for output in outputs if isinstance(output, Learned)}


def test_addresses_that_are_told_before_the_events_that_make_their_peers_members_are_kept_until_then() -> None:
    net = Net(3)
    first, second, new = net.members
    events = Events(tuple(event.signed for event in first.disk))
    new.disk.clear()
    new.boot()  # it has just joined, and knows of nobody but who let it in
    new.give(PeerUp(first.peer))
    told = Peers({second.peer: ("/ip4/10.0.0.2/tcp/4070",), signer(9).peer_id: ("/ip4/10.0.0.9/tcp/4070",)})
    assert learned(new.give(Frame(first.peer, encode_message(told)))) == {}
    outputs = new.give(Frame(first.peer, encode_message(events)))
    net.time += 1
    assert learned([*outputs, *new.give(Tick())]) == {second.peer: ("/ip4/10.0.0.2/tcp/4070",)}


def sent(outputs: list[Output]) -> dict[str, Mapping[PeerId, tuple[str, ...]]]:
    return {
        output.peer: output.message.addresses
        for output in outputs
        if isinstance(output, Send) and isinstance(output.message, Peers)
    }


def test_what_a_member_says_of_itself_is_passed_on_at_once_if_it_is_news_and_once_a_connection() -> None:
    net = Net(3)
    first, second, third = net.members
    first.give(Addresses(("/ip4/10.0.0.1/tcp/4070",)))
    first.give(PeerUp(third.peer))
    assert sent(first.give(PeerUp(second.peer))) == {second.peer: {first.peer: ("/ip4/10.0.0.1/tcp/4070",)}}

    def tells(port: int) -> list[Output]:
        told = Peers({second.peer: (f"/ip4/10.0.0.2/tcp/{port}",), third.peer: ("/ip4/10.0.0.66/tcp/1",)})
        return first.give(Frame(second.peer, encode_message(told)))

    outputs = tells(4070)
    assert learned(outputs)[second.peer] == ("/ip4/10.0.0.2/tcp/4070",)
    assert sent(outputs) == {third.peer: {second.peer: ("/ip4/10.0.0.2/tcp/4070",)}}
    assert sent(tells(4071)) == {}, "a member makes us talk as often as it likes"
    for port, news in ((4070, {}), (4072, {third.peer: {second.peer: ("/ip4/10.0.0.2/tcp/4072",)}})):
        first.give(PeerDown(second.peer))
        first.give(PeerUp(second.peer))
        assert sent(tells(port)) == news
    first.give(PeerDown(third.peer))
    assert sent(first.give(PeerUp(third.peer)))[third.peer][second.peer] == ("/ip4/10.0.0.2/tcp/4072",)


def test_addresses_of_strangers_are_kept_up_to_a_bound() -> None:
    net = Net(2)
    first, second = net.members
    first.give(PeerUp(second.peer))
    strangers = [Signer(number.to_bytes(32)).peer_id for number in range(1, MAX_PEERS + 40)]
    for start in range(0, len(strangers), 40):
        told = Peers(dict.fromkeys(strangers[start : start + 40], ("/ip4/10.0.0.9/tcp/1",)))
        assert learned(first.give(Frame(second.peer, encode_message(told)))) == {}
    assert len(first.engine.liveness._hints) == MAX_PEERS
