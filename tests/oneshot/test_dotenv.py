from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pwf.errors import UsageError
from p2pwf.oneshot.dotenv import NAME, parse_dotenv


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("# a comment\n\n  \nA=1", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=\nB = spaced out  \n", {"A": "", "B": "spaced out"}),
        ("export A=1\n", {"A": "1"}),
        ("A=a=b#c # comment", {"A": "a=b#c"}),
        ("A=# nothing", {"A": ""}),
        ("A='$HOME \\n # kept'", {"A": "$HOME \\n # kept"}),
        ('A="tab\\tnewline\\nquote\\" dollar\\$ back\\\\ other\\d" # comment', {
            "A": 'tab\tnewline\nquote" dollar$ back\\ other\\d'
        }),
        ('KEY="--BEGIN--\nabc=\n--END--\n"\nB=2', {"KEY": "--BEGIN--\nabc=\n--END--\n", "B": "2"}),
        ("A='two\nlines'\nA=last", {"A": "last"}),
        ("\ufeffA=1", {"A": "1"}),
        ("A=it's", {"A": "it's"}),
    ],
)  # fmt: skip
def test_a_line_is_a_name_and_its_value(text: str, found: dict[str, str]) -> None:
    assert parse_dotenv(text, "x.env") == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nnonsense", "x.env:2: not a line of the form KEY=VALUE"),
        ("=1", "x.env:1: not a line of the form KEY=VALUE"),
        ("A-B=1", "x.env:1: a name that no variable can have"),
        ('A=1\n\nB="open\nmore\n', 'x.env:3: a value that begins with " and has no end'),
        ("A='x\ny' z", "x.env:2: more after the end of a quoted value"),
        ("A=\0", "x.env:1: a NUL in a value"),
        ('A="two\nlines"\n!', "x.env:3: not a line of the form KEY=VALUE"),
    ],
)
def test_an_error_names_the_file_and_the_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_dotenv(text, "x.env")
    assert caught.value.message == message


@given(st.text(alphabet=st.sampled_from("A=b'\"\\\n #$x\r\0"), max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_dotenv(text, "x.env")
    except UsageError:
        return
    assert all(NAME.fullmatch(name) and "\0" not in value for name, value in found.items())


@given(st.dictionaries(st.from_regex(NAME, fullmatch=True), st.text().filter(lambda text: "\0" not in text)))
def test_any_value_can_be_written(values: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r") + '"'

    text = "".join(f"{name}={quoted(value)}\n" for name, value in values.items())
    assert parse_dotenv(text, "x.env") == values
