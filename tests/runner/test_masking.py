from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.runner import masking
from p2pwf.runner.masking import MAX_CHARACTERS, MAX_SECRET, TOO_MUCH, Masker, forms_of


def masked(secret: str, text: str) -> str:
    masker = Masker()
    masker.add(secret)
    return masker.mask(text)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=6, max_size=40), st.binary(max_size=5))
def test_t46_a_secret_is_hidden_in_every_encoding_and_offset(secret: str, before: bytes) -> None:
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


def test_t46_each_line_of_a_secret_is_hidden() -> None:
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


def test_no_value_is_forgotten_however_many_there_are() -> None:
    masker = Masker()
    for number in range(3000):
        masker.add(f"secret number {number}")
        masker.add(f"secret number {number}")
    masker.add("a+")
    assert not masker.overflow
    assert masker.mask("secret number 2999, secret number 0; secret") == "***, ***; secret"
    assert masker.mask(f"<{b64encode(b'secret number 1234').decode()}> a+b") == "<***> ***b"


def test_what_cannot_be_looked_for_shows_nothing_more() -> None:
    for much in (["x" * (MAX_SECRET + 1)], [f"{number:08}" * 100 for number in range(MAX_CHARACTERS // 800 + 1)]):
        masker = Masker()
        for value in much:
            masker.add(value)
        assert masker.overflow
        assert masker.mask(f"innocent {much[0]}") == TOO_MUCH


def test_a_text_of_many_lines_is_hidden_by_its_lines() -> None:
    masker = Masker()
    masker.add("\n".join(f"line number {number} of a certificate" for number in range(3000)))
    assert not masker.overflow
    assert masker.mask("line number 2999 of a certificate") == "***"


@given(
    st.lists(st.text("abc&", min_size=1, max_size=7), min_size=1, max_size=200),
    st.text("abc&", max_size=60),
)
def test_many_values_are_hidden_as_few_are(values: list[str], text: str) -> None:
    """The longest of those that begin at the first place, as one pattern of all forms finds them."""
    masker = Masker()
    for value in values:
        masker.add(value)
    every = {form for value in values for form in forms_of(value)}
    pattern = "|".join(map(re.escape, sorted(every, key=len, reverse=True)))
    assert masker.mask(text) == re.sub(pattern, "***", text)
    for number in range(20):
        masker.add(f"something else {number}")
    assert masker.mask(text) == re.sub(pattern, "***", text)


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("a<b>&c'd pass", "a&lt;b&gt;&amp;c'd pass"),
        ("a<b>&c'd pass", "a&lt;b&gt;&amp;c&#x27;d pass"),
        ("it's secret", "it''s secret"),
        ('"quoted secret"', "quoted secret"),
        ("path/with a secret", quote("path/with a secret")),
        ("one part&another part", "another part"),
        ("one part&+another part", "one part&"),
    ],
)
def test_the_forms_that_tools_show_a_secret_in_are_hidden(secret: str, shown: str) -> None:
    assert masked(secret, f"[{shown}]") == "[***]"


@pytest.mark.parametrize("width", [64, 76])
def test_t46_the_base64_text_of_a_long_secret_is_hidden_line_by_line(width: int) -> None:
    secret = "-----BEGIN PRIVATE KEY-----\n" + "".join(f"{number:05}abcdefg" for number in range(60))
    shown = b64encode(secret.encode() + b"\n").decode()
    for at in range(0, len(shown), width):
        assert len(masked(secret, shown[at : at + width]).replace("***", "")) <= 4, at


def test_t46_what_is_encoded_shows_without_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "forms_of", lambda value: iter((value,)))
    for form in (b64encode(b"a secret value"), b"a secret value".hex().encode(), quote("a secret value").encode()):
        assert "***" not in masked("a secret value", form.decode())


def test_t46_the_lines_of_a_secret_show_without_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Masker, "add", lambda self, secret: self._forms.add(secret) or self._fresh.add(secret))
    assert masked("one line\nanother line", "x one line") == "x one line"


def test_t46_what_is_turned_round_or_spaced_out_cannot_be_found() -> None:
    """The limit that the documents tell of: a mask hides what shows by accident."""
    for shown in ("eulav terces a", "a  s e c r e t  v a l u e", "n frperg inyhr"):
        assert masked("a secret value", shown) == shown
