"""The hashes of assignment: what they take, what they refuse, what they depend on."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.assign import (
    BadDigest,
    clock_head,
    combined,
    create_task_hash,
    distance,
    hamming_distance,
    task_hash,
)
from p2pwf.core.ids import block_cid

RUN = block_cid(b"a run")


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_distance_counts_differing_bits_of_equally_long_hashes(first: bytes, second: bytes) -> None:
    if len(first) != len(second):
        with pytest.raises(BadDigest):
            distance(first, second)
        return
    expected = sum((one ^ other).bit_count() for one, other in zip(first, second, strict=True))
    assert distance(first, second) == distance(second, first) == expected
    assert hamming_distance(first.hex(), second.hex()) == hamming_distance(first, second.hex().upper()) == expected


def test_the_distance_of_a_hash_to_itself_is_0_and_to_its_complement_256() -> None:
    digest = sha256(b"x").digest()
    assert hamming_distance(digest, digest) == 0
    assert hamming_distance(digest, bytes(byte ^ 0xFF for byte in digest)) == 256


@pytest.mark.parametrize("bad", ["abc", "0x12", "zz", "12 34", "ab\n", None, 17])
def test_what_is_no_hex_digest_is_refused(bad: object) -> None:
    with pytest.raises(BadDigest):
        hamming_distance(bad, "abcd")  # type: ignore[arg-type]


def test_every_part_of_a_task_matters() -> None:
    tasks = [task_hash(RUN, "a", 0), task_hash(RUN, "a", 1), task_hash(RUN, "b"), task_hash(block_cid(b"other"), "a")]
    assert len(set(tasks)) == 4
    assert task_hash(RUN, "a") == tasks[0]


@pytest.mark.parametrize("leg", [-1, 2**64])
def test_a_leg_that_cannot_be_is_refused(leg: int) -> None:
    with pytest.raises(BadDigest):
        task_hash(RUN, "a", leg)


def test_heads_and_points_are_made_of_whole_hashes_only() -> None:
    with pytest.raises(BadDigest):
        clock_head([RUN, RUN[:-1]])
    with pytest.raises(BadDigest):
        combined(bytes(32), bytes(31))
    with pytest.raises(BadDigest):
        combined(bytes(64), b"")


def test_a_task_hash_is_of_text_bytes_or_plain_values_and_does_not_depend_on_key_order() -> None:
    assert create_task_hash("é") == create_task_hash("é".encode()) == sha256("é".encode()).hexdigest()
    assert create_task_hash({"a": 1, "b": [None, 2.5]}) == create_task_hash({"b": [None, 2.5], "a": 1})
    assert create_task_hash({"a": 1}) != create_task_hash({"a": 2})
    with pytest.raises(BadDigest):
        create_task_hash({"a": {1, 2}})  # type: ignore[dict-item]
