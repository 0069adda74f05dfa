from __future__ import annotations

import re
from pathlib import Path

from p2pwf.core.ids import PeerId
from p2pwf.net.counters import OFFENDERS_KEPT, STRIKES_TO_BAN, Conduct, Counters
from p2pwf.net.meanings import MEANINGS
from tests.net.kit import network, networks, peer

SOURCE = Path(__file__).parents[2] / "p2pwf" / "net"


def test_every_count_has_its_meaning_and_no_meaning_is_left_over() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.glob("*.py") if path.name != "meanings.py")
    names = set(re.findall(r"\bcount(?:\(|,)\s*\"([a-z_]+)\"", text))
    names |= {f"strike_{name}" for name in re.findall(r"strike\([^\"\n]*\"([a-z_]+)\"", text)}
    refusals = re.search(r"def _refusal\(.*?(?=\n    async def )", text, re.DOTALL)
    assert refusals is not None
    names |= {f"connection_{name}" for name in re.findall(r"return \"([a-z_]+)\"", refusals.group())}
    assert names == set(MEANINGS)


async def test_statistics_tell_what_there_is() -> None:
    async with networks(1, 2) as (net, _):
        got = net.statistics()
        assert (got["links"], got["connections"], got["banned"]) == (1, 1, [])
        assert got["addresses"] == net.addresses()
        assert {"counts", "events_waiting", "frames_waiting", "gossip_waiting", "streams_served"} <= set(got)


async def test_strikes_are_forgotten_in_time_and_a_ban_ends(autojump_clock: object) -> None:
    import trio

    del autojump_clock
    conduct = Conduct(60.0, Counters())
    banned: list[PeerId] = []
    conduct.on_ban = banned.append
    for _ in range(STRIKES_TO_BAN - 1):
        conduct.strike(peer(1), "protocol")
    await trio.sleep(301)
    for _ in range(STRIKES_TO_BAN - 1):
        conduct.strike(peer(1), "protocol")
    assert not banned
    conduct.strike(peer(1), "protocol")
    assert banned == [peer(1)] == conduct.banned()
    await trio.sleep(61)
    assert conduct.banned() == []


async def test_peers_that_cost_nothing_do_not_fill_the_memory() -> None:
    conduct = Conduct(60.0, Counters())
    for number in range(2 * OFFENDERS_KEPT):
        conduct.strike(f"peer {number}", "protocol")  # type: ignore[arg-type]
    assert len(conduct._strikes) == OFFENDERS_KEPT


async def test_the_node_may_report_a_peer() -> None:
    async with network(1) as net:
        for _ in range(STRIKES_TO_BAN):
            net.strike(peer(2))
        assert net.statistics()["banned"] == [peer(2)]
