"""Problem matchers, in jobs with real output."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pwf.errors import UsageError
from p2pwf.runner import matchers
from p2pwf.runner.jobfiles import read_file
from p2pwf.runner.matchers import MAX_MATCHERS, Matchers
from tests.runner.kit import Bench, Ran

PATIENCE_S = 20.0
SIMPLE = {
    "owner": "cc",
    "pattern": [{"regexp": r"^(.+):(\d+):(\d+): (?:fatal )?(error|warning|note): (.*)$",
                 "file": 1, "line": 2, "column": 3, "severity": 4, "message": 5}],
}  # fmt: skip
LOOP = {
    "owner": "lint",
    "severity": "notice",
    "pattern": [
        {"regexp": r"^(\S+\.js)$", "file": 1},
        {"regexp": r"^\s+(\d+):(\d+)\s+(?:(error|warning)\s+)?(.+)$",
         "line": 1, "column": 2, "severity": 3, "message": 4, "loop": True},
    ],
}  # fmt: skip


def files(*matchers: object, **more: str) -> dict[str, str]:
    """A source with a matcher file and other files."""
    return {"m.json": json.dumps({"problemMatcher": matchers}), **more}


def places(ran: Ran) -> list[tuple[str, str, str, int | None, int | None]]:
    return [(a.level, a.message, a.file, a.line, a.column) for a in ran.result.annotations]


async def run(bench: Bench, source: dict[str, str], script: str, more: str = "") -> Ran:
    body = "\n".join(f"    {line}" for line in script.splitlines())
    return await bench.run(
        f"- uses: actions/checkout@v4\n- run: |\n    echo ::add-matcher::m.json\n{body}\n{more}", source=source
    )


async def test_a_matcher_makes_annotations_with_places_of_this_step_and_those_after(bench: Bench) -> None:
    ran = await run(
        bench,
        files(SIMPLE, **{"src/a.c": ""}),
        """
        printf '\\033[31msrc/a.c:3:7: error: no such thing\\033[0m\\n'
        echo "$PWD/src/a.c:4:1: warning: odd"
        echo 'gone.c:1:1: error: its file is not there'
        echo '/etc/passwd:1:1: error: no file of the workspace'
        echo 'src/a.c:9:9: note: no level of ours'
        echo 'nothing to see'
        """,
        "- run: 'echo src/a.c:5:5: error: later; echo ::remove-matcher owner=CC::; echo src/a.c:6:6: error: over'",
    )
    assert places(ran) == [
        ("error", "no such thing", "src/a.c", 3, 7),
        ("warning", "odd", "src/a.c", 4, 1),
        ("error", "its file is not there", "", 1, 1),
        ("error", "no file of the workspace", "", 1, 1),
        ("error", "later", "src/a.c", 5, 5),
    ]
    assert "##[error]src/a.c:3:7: error: no such thing" in ran.said(), "as it stood, without its colours"
    assert ran.text(2).splitlines() == ["src/a.c:9:9: note: no level of ours", "nothing to see"]
    assert ran.text(3) == "src/a.c:6:6: error: over"
    assert ran.result.outcome == "success"


async def test_the_last_of_several_patterns_may_loop(bench: Bench) -> None:
    ran = await run(
        bench,
        files(LOOP, **{"a.js": "", "b.js": ""}),
        "printf 'a.js\\n  1:2  error  one\\n  3:4  two\\n\\n  5:6 warning lost\\nb.js\\n  7:8 warning three\\n'",
    )
    assert places(ran) == [
        ("error", "one", "a.js", 1, 2),
        ("notice", "two", "a.js", 3, 4),
        ("warning", "three", "b.js", 7, 8),
    ]


async def test_patterns_without_loop_match_lines_in_a_row_once(bench: Bench) -> None:
    matcher = {
        "owner": "three",
        "pattern": [
            {"regexp": "^(E|W)$", "severity": 1},
            {"regexp": "^at (.*)$", "file": 1},
            {"regexp": "^(.+)$", "message": 1},
        ],
    }
    for long, short in (("error", "E"), ("warning", "W")):
        matcher["pattern"][0]["regexp"] = f"^({long})$"  # type: ignore[index]
        ran = await run(
            bench, files(matcher, x=""), f"printf '{long}\\nat x\\nfirst\\nsecond\\n{long}\\nno\\nat x\\nthird\\n'"
        )
        assert places(ran) == [(long, "first", "x", None, None)], short


async def test_from_path_tells_where_files_are_from(bench: Bench) -> None:
    matcher = {
        "owner": "ms",
        "pattern": [
            {"regexp": r"^(.*)\((\d+)\): (.*) \[(.*)\]$", "file": 1, "line": 2, "message": 3, "fromPath": 4},
        ],
    }
    ran = await run(
        bench, files(matcher, **{"lib/p/a.cs": ""}), "echo 'a.cs(3): broken [lib/p/p.proj]'; echo 'a.cs(3): x [p.proj]'"
    )
    assert [(file, line) for _, _, file, line, _ in places(ran)] == [("lib/p/a.cs", 3), ("", 3)]


async def test_a_newer_matcher_of_an_owner_takes_the_olders_place(bench: Bench) -> None:
    newer = {"owner": "CC", "pattern": [{"regexp": "^(x.*)$", "message": 1}]}
    ran = await run(
        bench,
        files(SIMPLE, **{"n.json": json.dumps({"problemMatcher": [newer]})}),
        "echo ::add-matcher::n.json; echo 'a:1:1: error: no'; echo xyz; echo '::remove-matcher::n.json'; echo xyz",
    )
    assert places(ran) == [("error", "xyz", "", None, None)]


@pytest.mark.parametrize(
    ("matcher", "said"),
    [
        ({"pattern": [{"regexp": "(a)", "message": 1}]}, "Owner must not be empty"),
        ({"owner": "x", "pattern": []}, "does not contain any patterns"),
        ({"owner": "x", "pattern": [{"regexp": "(a)", "file": 1}]}, "At least one pattern must set 'message'"),
        ({"owner": "x", "pattern": [{"regexp": "(a)", "message": 2}]}, "out of range"),
        ({"owner": "x", "pattern": [{"regexp": "(a", "message": 1}]}, "Invalid pattern"),
        ({"owner": "x", "pattern": [{"regexp": "(?L)a", "message": 0}]}, "Invalid pattern"),
        (
            {"owner": "x", "severity": "bad", "pattern": [{"regexp": "(a)", "message": 1}]},
            "unexpected default severity",
        ),
        ({"owner": "x", "pattern": [{"regexp": "(a)", "message": 1, "loop": True}]}, "Only the last pattern"),
        (
            {"owner": "x", "pattern": [{"regexp": "a", "message": 0}, {"regexp": "b", "message": 0}]},
            "The property 'message' is set twice",
        ),
    ],
)
async def test_a_matcher_that_cannot_be_fails_the_step(bench: Bench, matcher: object, said: str) -> None:
    ran = await run(bench, files(matcher), "true")
    assert ran.outcomes() == ["success", "failure"]
    assert said in ran.messages()[0]


@pytest.mark.parametrize("content", ["[", "3", '{"problemMatcher": 3}', "[" * 100_000])
async def test_any_bytes_in_a_matcher_file_do_no_harm(bench: Bench, content: str) -> None:
    ran = await run(bench, {"m.json": content}, "echo on")
    assert ran.text() == "on"


async def test_t33_a_pattern_that_takes_for_ever_is_removed_and_the_node_lives(bench: Bench) -> None:
    evil = {"owner": "evil", "pattern": [{"regexp": "^((a+)+)+$", "message": 1}]}
    with trio.fail_after(PATIENCE_S):
        ran = await run(bench, files(evil, SIMPLE), f"echo {'a' * 60}b; echo 'x:1:1: error: still seen'")
    assert "Removing issue matcher 'evil': its patterns take too long" in ran.messages()
    assert ran.messages()[-1] == "still seen"
    assert ran.result.outcome == "success"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("problemMatcher", "owner", "severity", "pattern", "regexp", "message", "loop", "file")),
            inner,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=50)
@given(st.lists(st.fixed_dictionaries({"owner": JSON, "pattern": JSON | st.lists(JSON)}) | JSON, max_size=3), st.text())
def test_any_matchers_are_taken_or_refused(listed: list[object], line: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "m.json").write_text(json.dumps({"problemMatcher": listed}))
        matchers = Matchers(Path(folder), print)
        with suppress(UsageError):
            matchers.add_file("m.json")
        matchers.begin()
        matchers.look(1, line)


def test_the_matchers_of_a_job_are_bounded(tmp_path: Path) -> None:
    many = [{"owner": f"o{n}", "pattern": [{"regexp": "(a)", "message": 1}]} for n in range(MAX_MATCHERS + 1)]
    (tmp_path / "m.json").write_text(json.dumps({"problemMatcher": many}))
    matchers = Matchers(tmp_path, print)
    with pytest.raises(UsageError, match="more than 64"):
        matchers.add_file("m.json")


async def test_without_a_file_a_matcher_is_warned_of(bench: Bench) -> None:
    ran = await bench.run(
        "- run: 'echo ::add-matcher::; echo ::remove-matcher::'\n- run: echo ::add-matcher::none.json"
    )
    assert ran.outcomes() == ["success", "failure"]
    assert "##[warning]File path must be specified." in ran.said()
    assert "no such problem matcher file" in ran.messages()[0]


async def test_only_so_many_files_are_read_for_matchers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is read while the event loop waits."""
    read: list[Path] = []

    def counted(path: Path, bound: int) -> bytes | None:
        read.append(path)
        return read_file(path, bound)

    monkeypatch.setattr("p2pwf.runner.matchers.read_file", counted)
    ran = await bench.run('- run: for _ in $(seq 500); do echo "::add-matcher::none"; echo "::remove-matcher::x"; done')
    assert len(read) == matchers.MAX_READ
    assert any("files of problem matchers" in message for message in ran.messages())
