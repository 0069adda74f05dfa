"""Tables of peers: integers and numpy columns must give the same answers, through any adding and removing."""

from __future__ import annotations

import sys
from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.assign import BadDigest, PeerTable, combined, distance, order, peer_hash, select_task_owner, tie_break
from p2pwf.assign.table import COLUMNS_FROM

POINTS = st.binary(min_size=32, max_size=32)
NAMES = st.text(st.characters(codec="utf-8"), max_size=4)


def expected(point: bytes, peers: set[str]) -> list[tuple[str, int]]:
    ranked = sorted((distance(point, peer_hash(peer)), tie_break(point, peer), peer) for peer in peers)
    return [(peer, found) for found, _, peer in ranked]


@given(
    st.lists(NAMES, max_size=30),
    st.lists(st.tuples(st.booleans(), st.integers(0, 40), NAMES), max_size=40),
    st.lists(POINTS, min_size=1, max_size=3),
    st.sampled_from([1, 8, 10**9]),
)
def test_answers_are_those_of_the_rule_through_any_adding_and_removing(
    start: list[str], changes: list[tuple[bool, int, str]], points: list[bytes], columns_from: int
) -> None:
    table = PeerTable(start, columns_from=columns_from)
    peers = set(start)
    for adds, index, name in changes:
        if adds:
            table.add(name)
            peers.add(name)
        else:
            name = sorted(peers)[index % len(peers)] if peers and index % 5 else name  # noqa: PLW2901
            table.discard(name)
            peers.discard(name)
    assert len(table) == len(peers)
    assert set(table) == peers
    assert all(peer in table for peer in peers)
    for point in points:
        ranked = expected(point, peers)
        for count in (0, 1, 3, len(peers), len(peers) + 5):
            assert table.nearest(point, count) == ranked[:count]
        if peers:
            assert table.owner(point) == ranked[0]
        assert order(point, peers) == [peer for peer, _ in ranked]


@pytest.mark.parametrize("number", [COLUMNS_FROM - 1, COLUMNS_FROM, 2_000, 40_000])
def test_integers_and_columns_agree_on_many_peers(number: int) -> None:
    peers = [f"peer {index}" for index in range(number)]
    wide, narrow = PeerTable(peers), PeerTable(peers, columns_from=10**9)
    for index in range(20):
        point = sha256(b"%d" % index).digest()
        assert wide.owner(point) == narrow.owner(point)
        assert wide.nearest(point, 7) == narrow.nearest(point, 7)


@pytest.mark.parametrize("columns_from", [1, 10**9])
def test_distances_of_0_and_256_are_told_apart(columns_from: int) -> None:
    digest = peer_hash("a")
    opposite = bytes(byte ^ 0xFF for byte in digest)
    table = PeerTable(["a"], columns_from=columns_from)
    assert table.owner(digest) == ("a", 0)
    assert table.owner(opposite) == ("a", 256)
    for name in ("b", "c", "d"):
        table.add(name)
    assert table.owner(digest) == ("a", 0)
    assert table.owner(opposite) == expected(opposite, {"a", "b", "c", "d"})[0]
    assert table.nearest(opposite, 4) == expected(opposite, {"a", "b", "c", "d"})


@pytest.mark.parametrize("columns_from", [1, 10**9])
def test_nobody_is_nearest_in_an_empty_table_and_a_point_has_32_bytes(columns_from: int) -> None:
    table: PeerTable[str] = PeerTable(columns_from=columns_from)
    assert table.nearest(bytes(32), 3) == []
    with pytest.raises(BadDigest):
        table.owner(bytes(32))
    table.add("a")
    table.discard("a")
    with pytest.raises(BadDigest):
        table.owner(bytes(32))
    table.add("a")
    for use in (table.owner, lambda point: table.nearest(point, 1)):
        with pytest.raises(BadDigest):
            use(bytes(31))


def test_without_numpy_the_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [f"peer {index}" for index in range(COLUMNS_FROM + 10)]
    point = sha256(b"x").digest()
    before = PeerTable(peers).nearest(point, 9)
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.delitem(sys.modules, "p2pwf.assign.columns", raising=False)
    table = PeerTable(peers)
    assert table._columns is None
    assert table.nearest(point, 9) == before


def test_the_owner_of_a_task_is_the_same_in_hex_and_bytes_and_whatever_the_order_of_peers() -> None:
    head, task = sha256(b"head").digest(), sha256(b"task").digest()
    peers = [f"peer-{index}" for index in range(50)]
    owner = select_task_owner(head.hex(), task.hex(), peers)
    assert owner == expected(combined(head, task), set(peers))[0]
    shuffled = Random(1).sample(peers, 50)
    assert select_task_owner(head, task, iter(shuffled + peers)) == owner
    for bad in ("head", head[:31], head.hex()[:-1]):
        with pytest.raises(BadDigest):
            select_task_owner(bad, task, peers)
    with pytest.raises(BadDigest):
        select_task_owner(head, task, [])


def test_a_removed_owner_gives_way_to_the_next_in_order_and_moves_nothing_else() -> None:
    peers = [f"peer-{index}" for index in range(20)]
    points = [sha256(b"%d" % index).digest() for index in range(200)]
    before = {point: order(point, peers) for point in points}
    table = PeerTable(peers)
    table.discard("peer-7")
    for point in points:
        assert table.owner(point)[0] == next(peer for peer in before[point] if peer != "peer-7")


def test_ties_for_the_first_place_favour_nobody() -> None:
    # With ties broken by the lowest id, the first half of the ids would win every tie between the halves.
    peers = [f"peer-{index:02}" for index in range(50)]
    table = PeerTable(peers)
    ties = low = 0
    for index in range(6_000):
        (first, near), (second, next_near) = table.nearest(sha256(b"tie %d" % index).digest(), 2)
        if near == next_near:
            ties += 1
            low += first < second
    assert ties > 500
    assert 0.45 < low / ties < 0.55
