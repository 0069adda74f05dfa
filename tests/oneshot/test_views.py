"""What people see: blocks of lines in a file, a moving picture on a terminal, and what a terminal forbids."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

from tests.oneshot.kit import COMMAND, Here

COLOUR = re.compile("\x1b\\[[0-9;]*m")
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def on_terminal(here: Here, *words: str, columns: int = 80, **environment: str) -> tuple[int, str]:
    """The exit code, and all that a terminal of so many columns was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    settings = here.environment(TERM="xterm-256color", LANG="C.UTF-8", PYTHONUTF8="1")
    for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR"):
        settings.pop(name, None)
    settings.update(environment)
    process = subprocess.Popen(
        [*COMMAND, "w.yml", *words], stdin=theirs, stdout=theirs, stderr=theirs, cwd=here.root, env=settings
    )
    os.close(theirs)
    sent = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # what Linux says of a terminal that nobody has open
            break
        if not data:
            break
        sent += data
    os.close(ours)
    return process.wait(), sent.decode().replace("\r\n", "\n")


TWO = """
    name: demo
    on: push
    jobs:
      good:
        runs-on: x
        steps:
          - name: quiet
            run: echo not worth a line
          - run: echo "::warning file=a.py,line=3::careful"
      bad:
        needs: good
        runs-on: x
        steps:
          - name: noisy
            run: for number in $(seq 30); do echo line $number; done; exit 4
          - name: unreached
            run: 'true'
"""


def test_a_terminal_shows_steps_and_of_a_failing_one_its_last_lines(here: Here) -> None:
    here.write(TWO)
    code, sent = on_terminal(here)
    assert code == 1
    lines = [line.rstrip() for line in COLOUR.sub("", sent).splitlines()]
    took = re.compile(r"  \d+\.\ds$")
    shown = [took.sub("", line) for line in lines]
    start = shown.index("✓ good  success")
    assert shown[start + 1] == "  ✓ quiet"
    assert "    warning: a.py:3: careful" in shown
    assert "not worth a line" not in sent
    bad = shown.index("✗ bad  failure")
    assert shown[bad + 1] == "  ✗ noisy"
    tail = [line for line in shown if "│ line" in line]
    assert (tail[0], tail[-1], len(tail)) == ("    │ line 12", "    │ line 30", 19)
    assert shown[bad + 21 :][0] == "    │ error: Process completed with exit code 4."
    assert "  » unreached" in shown
    assert re.search(r"\n✗ demo  failure  in \d+\.\ds  1 error  1 warning\n", "\n".join(lines))


def test_a_job_that_takes_a_while_has_a_line_that_moves_and_goes(here: Here) -> None:
    """The job ends when the picture has been drawn: it is told by the test, which reads it."""
    os.mkfifo(here.tmp / "go")
    here.steps(f"- {{name: patience, run: 'echo the last word; cat {here.tmp}/go'}}")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "w.yml"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=here.root,
        env=here.environment(TERM="xterm-256color", LANG="C.UTF-8", PYTHONUTF8="1", COLUMNS="100", LINES="24"),
    )  # fmt: skip
    os.close(theirs)
    sent = ""
    while not {*SPINNER} & {*sent} or "the last word" not in sent:
        sent += os.read(ours, 1 << 16).decode("utf-8", "replace")
    picture = COLOUR.sub("", sent)
    assert re.search(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]\s+j\s+\d+\.\ds\s+patience\s+the last word", picture)
    (here.tmp / "go").write_text("on\n")
    rest = ""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:
            break
        if not data:
            break
        rest += data.decode("utf-8", "replace")
    os.close(ours)
    assert process.wait() == 0
    assert "\x1b[2K" in rest  # the picture was wiped
    assert "✓ patience" in COLOUR.sub("", rest)


def test_without_colour_a_terminal_gets_none(here: Here) -> None:
    here.write(TWO)
    _, sent = on_terminal(here, NO_COLOR="1")
    assert "\x1b" not in sent


def test_a_terminal_that_cannot_move_gets_lines(here: Here) -> None:
    here.write(TWO)
    _, sent = on_terminal(here, TERM="dumb")
    assert "\x1b" not in sent
    assert "    not worth a line\n" in sent


def test_a_narrow_terminal_has_no_line_that_wraps_in_the_summary(here: Here) -> None:
    long = "n" * 60
    here.write(
        f"on: push\njobs:\n  a: {{name: {long}, runs-on: x, steps: [{{run: 'true'}}]}}\n"
        "  b: {runs-on: x, steps: [{run: 'true'}]}\n"
    )
    _, sent = on_terminal(here, columns=40)
    summary = COLOUR.sub("", sent).split("\n\n")[-1].splitlines()
    assert any("nnn" in line and line.rstrip().endswith("s") for line in summary)
    assert max(len(line) for line in summary) <= 40


def test_a_file_gets_every_line_grouped_by_job_and_no_escapes(here: Here) -> None:
    here.write(TWO)
    ran = here.run_plain(code=1)
    assert "\x1b" not in ran.out
    lines = [re.sub(r"  \d+\.\ds$", "", line) for line in ran.out.splitlines()]
    assert lines[:7] == [
        "good",
        "  quiet",
        "    not worth a line",
        "  ✓ quiet",
        '  Run echo "::warning file=a.py,line=3::careful"',
        "    warning: careful",
        '  ✓ Run echo "::warning file=a.py,line=3::careful"',
    ]
    assert lines[7:10] == ["✓ good  success", "bad", "  noisy"]
    assert "    line 1" in lines


def test_the_title_of_a_run_is_shown_and_told(here: Here) -> None:
    here.write(
        "name: CI\nrun-name: Deploy ${{ inputs.to }} by ${{ github.event_name }}\n"
        "on: {workflow_dispatch: {inputs: {to: {default: near}}}}\njobs: {j: {runs-on: x, steps: [{run: 'true'}]}}"
    )
    end = here.run("--input", "to=far").end
    assert (end["name"], end["title"]) == ("CI", "Deploy far by workflow_dispatch")
    assert re.search(r"\n\S Deploy near by workflow_dispatch  success  in \d+\.\ds  CI\n", here.run_plain().out)


def test_jobs_that_run_at_once_are_not_mixed(here: Here) -> None:
    """They print in turns, each waiting for the other at a pipe; what is shown is one after the other."""
    here.patch.setattr(os, "cpu_count", lambda: 2)
    for name in ("ping", "pong"):
        os.mkfifo(here.tmp / name)
    ping, pong = here.tmp / "ping", here.tmp / "pong"
    here.write(
        f"""
        on: push
        jobs:
          a: {{runs-on: x, steps: [{{run: "for i in 1 2 3; do echo a$i; echo > {ping}; read < {pong}; done"}}]}}
          b: {{runs-on: x, steps: [{{run: "for i in 1 2 3; do read < {ping}; echo b$i; echo > {pong}; done"}}]}}
        """
    )
    words = here.run_plain().out.split()
    said = [word for word in words if re.fullmatch("[ab][123]", word)]
    assert said in ([f"{job}{i}" for job in order for i in (1, 2, 3)] for order in ("ab", "ba"))


def test_groups_of_a_step_are_indented_and_colours_of_programs_are_dropped(here: Here) -> None:
    here.steps(
        r"""
        - run: |
            echo "::group::Details"; echo inner; echo "::endgroup::"; printf 'outer \033[31mred\033[0m \033[2Jwiped\n'
        """
    )
    out = here.run_plain().out
    assert "    Details\n      inner\n    outer red wiped\n" in out


def test_a_jobs_own_error_is_shown(here: Here) -> None:
    here.write("on: push\njobs: {j: {runs-on: x, timeout-minutes: \"${{ fromJSON('x') }}\", steps: [{run: 'true'}]}}")
    ran = here.run_plain(code=1)
    assert "error: " in ran.out
    assert "fromJson" in ran.out


def test_what_an_output_has_no_sign_for_shows_as_a_question_mark(here: Here) -> None:
    here.steps("- run: printf 'caf\\u00e9 \\xff\\n'")
    done = subprocess.run(
        [*COMMAND, "w.yml"], cwd=here.root, env=here.environment(PYTHONIOENCODING="ascii"), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert "    caf? ?\n" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("+ w.yml  success")
