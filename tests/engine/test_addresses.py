"""What a node learns at second hand of where the others are."""

from __future__ import annotations

from p2pwf.clock.messages import Events, Peers, encode_message
from p2pwf.engine.inputs import Frame, PeerUp, Tick
from p2pwf.engine.outputs import Learned, Output
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
