"""Logs and reports of jobs that others ran: what is none is an error of theirs, and nothing of it is gathered."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from p2pwf.errors import RemoteError
from p2pwf.node import loglines
from p2pwf.node.loglines import LogLines, lines_in
from p2pwf.node.results import read_report

LINE = {"time": 5, "step": 1, "stream": "stdout", "text": "hello"}


def raw(**changes: object) -> bytes:
    return json.dumps(LINE | changes).encode() + b"\n"


async def read(path: Path, first: int = 0) -> list[dict[str, Any]]:
    async with aclosing(lines_in(path, first)) as lines:
        return [line async for line in lines]


async def test_lines_are_those_that_were_written_however_they_are_cut(tmp_path: Path) -> None:
    given = raw() + raw(text="\u00e9 \ud800", more="is left out") + raw(step=2)
    wanted = [LINE, LINE | {"text": "\u00e9 \ud800"}, LINE | {"step": 2}]
    for size in (1, 7, 1000):
        lines = LogLines()
        assert [one for at in range(0, len(given), size) for one in lines.feed(given[at : at + size])] == wanted
    path = tmp_path / "log"
    path.write_bytes(given + b'{"half')
    assert await read(path) == wanted
    assert await read(path, 2) == wanted[2:]
    assert await read(path, 9) == []


async def test_many_lines_come_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loglines, "AT_ONCE", 3)
    (tmp_path / "log").write_bytes(b"".join(raw(step=number) for number in range(10)))
    for first in range(11):
        assert [line["step"] for line in await read(tmp_path / "log", first)] == list(range(first, 10))


@pytest.mark.parametrize(
    "line",
    [
        *(b"\n", b"3\n", b"{\n", b"[" * 100_000 + b"\n", b"\xff\n", b"1" * 5000 + b"\n"),
        *(raw(time=-1), raw(time=True), raw(step=1 << 60), raw(stream="web"), raw(text=None)),
    ],
)
async def test_t28_what_is_no_line_of_a_log_is_an_error_of_who_sent_it(line: bytes, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="malformed"):
        LogLines().feed(line)
    (tmp_path / "log").write_bytes(raw() + line)
    with pytest.raises(RemoteError, match="malformed"):
        await read(tmp_path / "log")


async def test_t28_a_line_that_never_ends_is_not_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loglines, "MAX_BYTES", 1000)
    lines = LogLines()
    with pytest.raises(RemoteError, match="over 1,000 bytes"):
        for _ in range(20):
            lines.feed(b"x" * 100)
    (tmp_path / "log").write_bytes(b"x" * 2000)
    with pytest.raises(RemoteError, match="over 1,000 bytes"):
        await read(tmp_path / "log")


async def test_t28_without_the_bound_a_line_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loglines, "MAX_BYTES", 1 << 40)
    lines = LogLines()
    for _ in range(20):
        assert lines.feed(b"x" * (1 << 20)) == []
    assert len(lines._rest) == 20 << 20


STEP: dict[str, object] = {
    "number": 1,
    "id": "a",
    "name": "Run a",
    "outcome": "success",
    "conclusion": "success",
    "started_ms": None,
}


def report(**changes: object) -> bytes:
    return json.dumps({"version": 1, "steps": [STEP], "annotations": [], "dropped": {"steps": 0}, **changes}).encode()


def test_a_report_is_its_known_fields() -> None:
    told = read_report(report(steps=[STEP | {"later": [[]]}], later={"x": 1}))
    assert told == {"version": 1, "steps": [STEP], "annotations": [], "dropped": {"steps": 0}}


NO_NUMBERS: list[object] = [1.5, float("nan"), float("inf"), 1 << 70, [1], {}, True]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"[" * 100_000, report(version=2), report(steps={}), report(steps=[STEP] * 200_000 + [1])),
        *(report(steps=[STEP | {"number": value}]) for value in NO_NUMBERS),
        *(report(annotations=[{"level": ["error"]}]), report(dropped={"steps": {}})),
    ],
    ids=range(15),
)
def test_t28_what_is_no_report_is_none(content: bytes) -> None:
    with pytest.raises(RemoteError):
        read_report(content)
