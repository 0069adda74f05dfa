"""One value has one encoding, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.core.dagcbor import MAX_DEPTH, DagCborError, decode, encode
from p2pwf.core.ids import Cid, blob_cid, block_cid

links = st.binary(max_size=8).map(block_cid) | st.binary(max_size=8).map(blob_cid)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | links
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(values)
def test_what_is_encoded_is_read_back_as_it_was(value: object) -> None:
    again = decode(encode(value))
    assert again == value
    assert encode(again) == encode(value)


@given(st.binary(max_size=64))
def test_bytes_are_refused_or_are_the_one_encoding_of_their_value(data: bytes) -> None:
    try:
        value = decode(data)
    except DagCborError:
        return
    assert encode(value) == data


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ("1800", "an integer longer than it need be"),
        ("190001", "an integer longer than it need be"),
        ("f90000", "a half float"),
        ("fa00000000", "a single float"),
        ("fb7ff8000000000000", "NaN"),
        ("fb7ff0000000000000", "infinity"),
        ("9f01ff", "an indefinite list"),
        ("bf6161 01ff", "an indefinite map"),
        ("7f6161ff", "indefinite text"),
        ("a2616201616101", "keys out of order"),
        ("a262616101 6162 02", "a longer key before a shorter one"),
        ("a2616101616102", "a key twice"),
        ("a10101", "a key that is not text"),
        ("c249010000000000000000", "a big integer"),
        ("c100", "a time tag"),
        ("d8234161", "a regular expression tag"),
        ("d82a4100", "a link that is not a CID"),
        ("d82a5825000171122000000000000000000000000000000000000000000000000000000000000000", "a link cut short"),
        ("0000", "a byte too many"),
        ("61ff", "text that is not UTF-8"),
        ("f7", "undefined"),
        ("f0", "a simple value"),
        ("", "nothing"),
        ("5b7fffffffffffffff00", "a length beyond the data"),
        ("9b7fffffffffffffff", "a list longer than memory"),
    ],
)
def test_t15_what_other_readers_accept_is_refused(data: str, what: str) -> None:
    with pytest.raises(DagCborError):
        decode(bytes.fromhex(data))


@pytest.mark.parametrize("tag", [*range(42), *range(43, 300), 1004, 43000, 55799])
def test_no_tag_but_that_of_a_link_is_read(tag: int) -> None:
    head = bytes([0xC0 | tag]) if tag < 24 else bytes([0xD8, tag]) if tag < 256 else b"\xd9" + tag.to_bytes(2)
    for content in (b"\x01", b"\x41a", b"\x61a", b"\x82\x01\x02", b"\x00", b"\xa0"):
        with pytest.raises(DagCborError):
            decode(head + content)


@pytest.mark.parametrize("head", ["d9d82a", "da0001d82a", "db00000001ffffd82a", "c0d82a"])
def test_a_tag_that_ends_like_that_of_a_link_is_none(head: str) -> None:
    link = encode(block_cid(b"x"))
    assert decode(link) == block_cid(b"x")
    with pytest.raises(DagCborError):
        decode(bytes.fromhex(head) + link[2:])


def test_t16_depth_and_size_are_bounded_before_anything_is_built() -> None:
    with pytest.raises(DagCborError):
        decode(b"\x81" * (MAX_DEPTH + 2) + b"\x00")
    with pytest.raises(DagCborError):
        decode(b"\x81" * 100_000 + b"\x00")
    with pytest.raises(DagCborError, match="the bound"):
        decode(encode("x" * 100), max_size=50)
    nested: object = 0
    for _ in range(MAX_DEPTH + 2):
        nested = [nested]
    with pytest.raises(DagCborError):
        encode(nested)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**64, -(2**64) - 1, {1: 2}, {3, 4}, object()])
def test_what_the_data_model_does_not_hold_is_not_written(value: object) -> None:
    with pytest.raises(DagCborError):
        encode(value)


def test_a_link_is_told_from_bytes() -> None:
    link = block_cid(b"block")
    assert type(decode(encode(link))) is Cid
    assert type(decode(encode(bytes(link)))) is bytes
    assert encode(link) != encode(bytes(link))
