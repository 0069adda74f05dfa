"""Workflow commands in a step's output, and the files a step writes."""

from __future__ import annotations

import pytest

from p2pwf.workflow import Command, CommandReader, StepFileError, parse_command, parse_pairs, parse_paths


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("::set-output name=x::v", Command("set-output", {"name": "x"}, "v")),
        ("  ::SET-OUTPUT NAME=x::v", Command("set-output", {"name": "x"}, "v")),
        ("::debug::", Command("debug", {}, "")),
        ("::group::a::b", Command("group", {}, "a::b")),
        ("::add-mask::%25%0A%0D%3A", Command("add-mask", {}, "%\n\r%3A")),
        (
            "::error file=a.py,line=1,title=%3A%2C::bad",
            Command("error", {"file": "a.py", "line": "1", "title": ":,"}, "bad"),
        ),
        ("::error file=,line=2::x", Command("error", {"line": "2"}, "x")),
        ("::warning ::x", Command("warning", {}, "x")),
        ("::notice file=a=b::x", Command("notice", {"file": "a=b"}, "x")),
        ("::debug::%250A", Command("debug", {}, "%0A")),
        ("text ##[error file=a;line=2]bad%5D%3B", Command("error", {"file": "a", "line": "2"}, "bad];")),
        ("##[group]name", Command("group", {}, "name")),
    ],
)
def test_line_is_a_command(line: str, command: Command) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize(
    "line", ["", "text", "x ::error::y", "::error", ":: error::x", "::unknown::x", "::::", "##[unknown]x", "##[error"]
)
def test_line_is_only_text(line: str) -> None:
    assert parse_command(line) is None


def test_stopped_commands_resume_at_their_token_only() -> None:
    reader = CommandReader()
    assert reader.feed("::stop-commands::My-Token")[0] == "stopped"
    assert reader.stop_token == "my-token"
    assert reader.feed("::error::not now") == ("text", None)
    assert reader.feed("::stop-commands::other") == ("text", None)
    assert reader.feed("::MY-TOKEN::")[0] == "resumed"
    assert reader.feed("::error::now")[0] == "command"


@pytest.mark.parametrize("token", ["", "error", "Set-Output", "pause-logging"])
def test_token_that_could_be_guessed_is_refused_and_nothing_stops(token: str) -> None:
    reader = CommandReader()
    assert reader.feed(f"::stop-commands::{token}")[0] == "refused"
    assert reader.feed("::debug::x")[0] == "command"


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("a=1\nb=\n\nc=x=y", [("a", "1"), ("b", ""), ("c", "x=y")]),
        ("a=1\r\nb=2\r\n", [("a", "1"), ("b", "2")]),
        ("\ufeffa=1\n", [("a", "1")]),
        ("a<<EOF\none\ntwo\nEOF\nb=2\n", [("a", "one\ntwo"), ("b", "2")]),
        ("a<<EOF\r\none\r\ntwo\r\nEOF\r\n", [("a", "one\r\ntwo")]),
        ("a<<EOF\nEOF", [("a", "")]),
        ("a<<EOF\n\nEOF\n", [("a", "")]),
        ("a<<EOF\n EOF\nEOF \nEOF\n", [("a", " EOF\nEOF ")]),
        ("a<<=\nx\n=\n", [("a", "x")]),
        ("a=<<EOF\n", [("a", "<<EOF")]),
        ("a=1\na=2\n", [("a", "1"), ("a", "2")]),
    ],
)
def test_file_of_names_and_values_is_read(text: str, pairs: list[tuple[str, str]]) -> None:
    assert parse_pairs(text) == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("word\n", "line 1: Invalid format 'word'"),
        ("a=1\n=2\n", "line 2: Invalid format '=2'"),
        ("a<<\nx\n", "Invalid format 'a<<'"),
        ("<<EOF\nx\nEOF\n", "Invalid format '<<EOF'"),
        ("a<<EOF\none\n", "Matching delimiter not found 'EOF'"),
        ("a<<EOF\none\nEOF2\n", "Matching delimiter not found"),
        ("a<<EOF", "Matching delimiter not found"),
        ("a<<EOF\none", "Matching delimiter not found"),
        ("x" * (1024 * 1024 + 1), "too large"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_file_that_cannot_be_read_fails_the_step(text: str, message: str) -> None:
    with pytest.raises(StepFileError, match=message):
        parse_pairs(text, "GITHUB_ENV")


def test_lines_after_a_heredoc_keep_their_numbers() -> None:
    with pytest.raises(StepFileError, match="line 5"):
        parse_pairs("a<<E\n1\n2\nE\nbroken\n")


def test_paths_are_lines() -> None:
    assert parse_paths("/a\n\n/b c\r\n/a") == ["/a", "/b c", "/a"]
