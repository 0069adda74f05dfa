from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.runner.masking import MAX_SECRET, MAX_SECRETS, Masker


def masked(secret: str, text: str) -> str:
    masker = Masker()
    masker.add(secret)
    return masker.mask(text)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=6, max_size=40), st.binary(max_size=5))
def test_a_secret_is_hidden_in_every_encoding_and_offset(secret: str, before: bytes) -> None:
    raw = secret.encode()
    forms = [
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        raw.hex(),
        raw.hex().upper(),
    ]
    for form in forms:
        assert masked(secret, f"<{form}>") == "<***>"
    for encode in (b64encode, urlsafe_b64encode):
        assert "***" in masked(secret, encode(before + raw + b"after").decode())


def test_each_line_of_a_secret_is_hidden() -> None:
    assert masked("one line\r\nanother line\n", "x one line y another line") == "x *** y ***"


def test_a_longer_secret_hides_whole_where_a_shorter_one_starts_alike() -> None:
    masker = Masker()
    masker.add("abc")
    masker.add("abcdef")
    assert masker.mask("abcdef abc") == "*** ***"


@pytest.mark.parametrize("blank", ["", " ", "\n", "\r\n \n"])
def test_blank_secrets_hide_nothing(blank: str) -> None:
    assert masked(blank, "a b\nc") == "a b\nc"


def test_short_secrets_hide_only_themselves() -> None:
    assert masked("a+", "a+ a%2B 612b") == "*** a%2B 612b"


def test_what_is_beyond_the_bounds_is_refused_and_counted() -> None:
    masker = Masker()
    masker.add("x" * (MAX_SECRET + 1))
    assert masker.refused == 1
    for number in range(MAX_SECRETS + 2):
        masker.add(f"secret number {number}")
    assert masker.refused == 3
