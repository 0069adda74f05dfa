"""How things read: durations, times, ids, columns; and that foreign text stays text."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.cli import text
from p2pwf.cli.base import print_line
from p2pwf.cli.peers import roles_of, seconds_of
from p2pwf.errors import UsageError


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"), (-5, "0.0s"), (0.04, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1m 00s"),
        (61, "1m 01s"), (3599.6, "1h 00m"), (3600 * 26, "1d 02h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, words: str) -> None:
    assert text.duration(seconds) == words


def test_a_time_of_another_day_has_its_date() -> None:
    now = 1_700_000_000.0
    assert len(text.moment(now * 1000, now)) == len("12:00:00")
    assert len(text.moment(now * 1000, now + 86_400 * 3)) == len("2023-11-14 22:13")
    assert text.moment(None) == "-"


def test_ids_keep_their_end() -> None:
    assert text.short("12D3KooWADt5TZUHQSqou4VRdWzwJcQHhuttKYKtfiF1kqS3Paek").endswith("kqS3Paek")
    assert text.short("abc") == "abc"
    assert text.short(None) == "-"


@given(st.text())
def test_clean_text_has_nothing_that_acts_on_a_terminal(given_text: str) -> None:
    for made in (text.clean(given_text), text.clean_log(given_text)):
        assert not any((ord(one) < 32 and one != "\t") or 127 <= ord(one) < 160 for one in made)


@given(st.text())
def test_json_holds_any_text_and_nothing_that_acts_on_a_terminal(given_text: str) -> None:
    for encoding in ("utf-8", "ascii"):
        output = io.TextIOWrapper(io.BytesIO(), encoding)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", output)
            print_line({"name": given_text})
        assert isinstance(output.buffer, io.BytesIO)
        written = output.buffer.getvalue().decode(encoding)
        assert json.loads(written) == {"name": given_text}
        assert not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in written.removesuffix("\n"))
        assert text.clean(written.removesuffix("\n")) == written.removesuffix("\n")


def test_escapes_vanish_whole() -> None:
    assert text.clean("a\x1b[31mb\x1b]8;;http://x\x1b\\c\x1b[?25ld\x9b5me") == "abcd5me"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])), st.integers(min_value=1, max_value=30))
def test_cut_text_fits(given_text: str, columns: int) -> None:
    assert text.width(text.cut(given_text, columns)) <= columns


def test_wide_letters_stay_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    text.table(("NAME", "X"), [("東京", "1"), ("abcd", "2"), ("é", "3")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME  X", "東京  1", "abcd  2", "é     3"]


def test_spans_and_roles() -> None:
    assert [seconds_of(one) for one in ("90s", "15m", "24h", "7d", "1.5h")] == [90, 900, 86400, 604800, 5400]
    assert roles_of("run, submit") == ["run", "submit"]
    for wrong in ("", "5", "h", "0s", "-1h", "1w"):
        with pytest.raises(UsageError):
            seconds_of(wrong)


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colour_gets_none(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert text.style("word", "red") == "\x1b[31mword\x1b[0m"
    monkeypatch.setenv(variable, value)
    assert text.style("word", "red") == "word"
    assert text.clean_log("\x1b[31mred\x1b[0m") == "red"
