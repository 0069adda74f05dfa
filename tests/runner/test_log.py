from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import attrs
import trio

from p2pwf.runner import FileLog, Limits, LogLine, read_log, run_job
from p2pwf.runner.masking import Masker
from p2pwf.runner.output import LineSplitter
from tests.runner.kit import FAST, Bench, make_request, now_ms, workflow

PATIENCE_S = 20.0


async def test_every_line_has_time_step_and_stream(bench: Bench) -> None:
    before = now_ms()
    ran = await bench.run("- run: echo out\n- run: echo err >&2")
    after = now_ms()
    assert [(line.step, line.stream, line.text) for line in ran.lines if line.stream in ("stdout", "stderr")] == [
        (1, "stdout", "out"),
        (2, "stderr", "err"),
    ]
    assert all(before <= line.time_ms <= after for line in ran.lines)
    assert [line.time_ms for line in ran.lines] == sorted(line.time_ms for line in ran.lines)


async def test_lines_end_at_line_feeds_and_carriage_returns(bench: Bench) -> None:
    ran = await bench.run("- run: printf 'a\\r\\nb\\rc\\nd'")
    assert ran.text().split("\n") == ["a", "b", "c", "d"]


async def test_bytes_that_are_no_text_are_replaced(bench: Bench) -> None:
    ran = await bench.run("- run: printf 'a\\377\\000b\\n'")
    assert ran.text() == "a\ufffd\x00b"


async def test_a_long_line_is_logged_in_pieces(bench: Bench) -> None:
    ran = await bench.run("- run: head -c 200000 /dev/zero | tr '\\0' x", limits=attrs.evolve(FAST, line_bytes=65536))
    pieces = [line.text for line in ran.lines if line.stream == "stdout"]
    assert "".join(pieces) == "x" * 200000
    assert max(map(len, pieces)) <= 65536


async def test_t38_a_log_beyond_its_bound_is_cut_off_with_a_word_and_the_job_goes_on(bench: Bench) -> None:
    """T38."""
    ran = await bench.run(
        "- id: a\n  run: |\n    yes | head -n 200000\n    echo '::set-output name=y::2'\n"
        "    yes | tr -d '\\n' | head -c 200000\n    echo '::set-output name=y::3'\n    echo x=1 >> $GITHUB_OUTPUT\n"
        "- run: echo later",
        job="outputs: {x: '${{ steps.a.outputs.x }}', y: '${{ steps.a.outputs.y }}'}",
        limits=attrs.evolve(FAST, log_bytes=10_000),
    )
    assert ran.result.outcome == "success"
    assert ran.result.outputs == {"x": "1", "y": "2"}, "the second stood at the end of a line, not at its start"
    assert ran.lines[-1].text.startswith("##[warning]The log is cut off here")
    assert (ran.root / "log-1.ndjson").stat().st_size < 11_000
    assert ran.result.dropped_log_bytes > 150_000


async def test_t38_without_the_bound_a_log_takes_all_that_is_written(bench: Bench) -> None:
    ran = await bench.run("- run: yes | head -n 200000", limits=attrs.evolve(FAST, log_bytes=10**9))
    assert (ran.root / "log-1.ndjson").stat().st_size > 1_000_000


async def test_t38_an_endless_log_ends_with_its_step(bench: Bench) -> None:
    """T38: a timeout gets through to a step that writes as fast as it can."""
    with trio.fail_after(PATIENCE_S):
        ran = await bench.run("- {run: 'yes', timeout-minutes: 0.004}", limits=attrs.evolve(FAST, log_bytes=100_000))
    assert ran.outcomes() == ["failure"]


async def test_a_running_job_is_followed_line_by_line(bench: Bench, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    seen: list[str] = []
    with trio.fail_after(PATIENCE_S), closing(bench.new_log()) as log:
        async with trio.open_nursery() as nursery:

            async def follow() -> None:
                async for line in log.follow():
                    seen.append(line.text)
                    if line.text == "before":
                        await trio.Path(fifo).write_text("go\n")

            nursery.start_soon(follow)
            text = workflow(f"- run: echo before; read x < {fifo}; echo after")
            result = await run_job(make_request(text), bench.env(log))
            log.close()
    assert result.outcome == "success"
    assert "after" in seen
    assert seen == [line.text for line in read_log(log.path)]


async def test_following_starts_at_any_line_and_ends_with_the_log(tmp_path: Path) -> None:
    log = FileLog(tmp_path / "log")
    for number in range(5):
        log.write(LogLine(number, 0, "system", f"line {number} \ud800 ü"))
    log.flush()
    log.close()
    texts = [line.text[:6] async for line in log.follow(3)]
    assert texts == ["line 3", "line 4"]
    assert [line.text for line in read_log(log.path, 4)] == ["line 4 ? ü"]


def test_a_line_of_the_log_is_the_json_it_says() -> None:
    line = LogLine(1700000000000, 3, "stderr", 'a "quoted" \\ \x00\x1b[1m \u2028 ü 😀')
    assert json.loads(line.to_json()) == {"time": line.time_ms, "step": 3, "stream": "stderr", "text": line.text}


class FullDisk:
    """A sink whose disk is full after some lines."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, line: LogLine) -> None:
        if self.room == 0:
            raise OSError(28, "No space left on device")
        self.room -= 1

    def flush(self) -> None:
        return


async def test_a_full_disk_under_the_log_fails_the_job_and_says_so(bench: Bench) -> None:
    with closing(bench.new_log()) as log:
        env = attrs.evolve(bench.env(log), log=FullDisk(4))
        result = await run_job(make_request(workflow("- run: echo on")), env)
    assert result.outcome == "failure"
    assert result.error == "the log cannot be written: No space left on device (is the disk full?)"


def test_lines_are_the_same_however_the_bytes_are_cut() -> None:
    data = "one\r\ntwo\rthree\n\nfünf\n".encode() + b"x" * 50 + b"\nlast"
    expected: list[str] | None = None
    for size in range(1, 12):
        splitter = LineSplitter(Limits().line_bytes, lambda: 0, str)
        lines = [text for at in range(0, len(data), size) for text, _ in splitter.feed(data[at : at + size])]
        lines += [text for text, _ in splitter.finish()]
        expected = expected or ["one", "two", "three", "", "fünf", "x" * 50, "last"]
        assert lines == expected


def test_t46_a_hidden_value_is_found_at_every_place_of_a_cut_line() -> None:
    masker = Masker()
    masker.add("päss-word")
    for padding in range(90):
        splitter = LineSplitter(32, lambda: masker.longest, masker.mask)
        data = ("." * padding + "päss-word" + "," * 90 + "\n").encode()
        text = ""
        for at in range(0, len(data), 7):
            text += "".join(masker.mask(line) for line, _ in splitter.feed(data[at : at + 7]))
        assert text == "." * padding + "***" + "," * 90


def test_t46_a_hidden_value_shows_where_a_line_is_cut_without_the_guard() -> None:
    masker = Masker()
    masker.add("päss-word")
    splitter = LineSplitter(32, lambda: 0, str)  # nothing is held back
    data = ("." * 28 + "päss-word" + "," * 90 + "\n").encode()
    pieces = [splitter.feed(data[at : at + 7]) for at in range(0, len(data), 7)]
    assert "***" not in "".join(masker.mask(line) for piece in pieces for line, _ in piece)
