"""actions/upload-artifact and actions/download-artifact, from one job to the next."""

from __future__ import annotations

import attrs
import pytest

from p2pwf.runner import RunnerEnv
from tests.runner.kit import Bench
from tests.runner.native import Place, lost


@pytest.fixture
def place(bench: Bench) -> Place:
    return Place.at(bench)


async def test_a_later_job_has_what_an_earlier_one_uploaded(place: Place) -> None:
    first = await place.run(
        """
        - run: mkdir -p out/deep; echo one > out/a.txt; echo two > out/deep/b.txt; chmod +x out/a.txt
        - {id: up, uses: actions/upload-artifact@v4, with: {name: result, path: out}}
        - run: echo "${{ steps.up.outputs.artifact-id }} ${{ steps.up.outputs.artifact-digest }}"
        - run: test -z "${{ steps.up.outputs.artifact-url }}"
        """
    )
    assert first.outcomes() == ["success"] * 4
    number, digest = first.text(3).split()
    assert number.isdecimal()
    assert len(digest) == 64
    assert [(one.name, one.size, one.job) for one in first.result.artifacts] == [("result", 8, "j")]
    second = await place.run(
        """
        - {id: down, uses: actions/download-artifact@v4, with: {name: result, path: in}}
        - run: cd in; find . -type f | sort; cat a.txt deep/b.txt; test -x a.txt
        - run: test "${{ steps.down.outputs.download-path }}" = "$GITHUB_WORKSPACE/in"
        - {uses: actions/download-artifact@v5, with: {artifact-ids: NUMBER, path: by-id}}
        - run: ls by-id
        """.replace("NUMBER", number),
        job_id="j",
    )
    assert second.outcomes() == ["success"] * 5
    assert second.text(2).splitlines() == ["./a.txt", "./deep/b.txt", "one", "two"]
    assert second.text(5).split() == ["a.txt", "deep"]


async def test_a_job_sees_its_own_uploads_at_once(place: Place) -> None:
    ran = await place.run(
        """
        - run: echo hi > x.txt
        - {uses: Actions/Upload-Artifact@main, with: {path: x.txt}}
        - {uses: actions/download-artifact@v3, with: {path: back}}
        - run: cat back/artifact/x.txt
        """
    )
    assert ran.text(4) == "hi"


async def test_a_name_that_holds_a_secret_is_kept_without_it_and_found_by_the_same_secret(place: Place) -> None:
    up = "- {uses: actions/upload-artifact@v4, with: {path: x.txt, name: 'for-${{ steps.s.outputs.who }}'}}"
    say = "- {id: s, run: 'echo ::add-mask::s3cret; echo who=s3cret >> $GITHUB_OUTPUT; echo hi > x.txt'}\n"
    first = await place.run(say + up)
    assert [one.name for one in first.result.artifacts] == ["for-___"]
    assert [one.message for one in first.result.annotations] == [
        "The name of the artifact holds a secret: it is kept as 'for-___'"
    ]
    second = await place.run(
        say
        + """
        - {uses: actions/download-artifact@v4, with: {name: 'for-${{ steps.s.outputs.who }}', path: a}}
        - {uses: actions/download-artifact@v4, with: {pattern: '*-${{ steps.s.outputs.who }}', path: b}}
        - run: find a b -type f
        """.replace("\n        ", "\n")
    )
    assert second.text(4).splitlines() == ["a/x.txt", "b/for-___/x.txt"]


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a/one.txt", ["one.txt"]),
        ("a/*.txt", ["one.txt", "two.txt"]),
        ("a/", ["one.txt", "sub/three.md", "two.txt"]),
        ("a/**/*.md", ["sub/three.md"]),
        ("|\n      a/one.txt\n      b/four.txt", ["a/one.txt", "b/four.txt"]),
        ("|\n      a\n      !a/sub", ["one.txt", "two.txt"]),
        ("|\n      a\n      !**/*.txt", ["sub/three.md"]),
        ("|\n      a/sub\n      a/two.txt", ["sub/three.md", "two.txt"]),
        ("${{ github.workspace }}/a/t?o.txt", ["two.txt"]),
        ("~/*", ["home.txt"]),
        ("links", ["again/three.md", "file.txt"]),
    ],
)
async def test_patterns_say_which_files_and_where_the_artifact_begins(
    place: Place, path: str, names: list[str]
) -> None:
    ran = await place.run(
        f"""
        - run: |
            mkdir -p a/sub b links a/.hidden
            touch a/one.txt a/two.txt a/sub/three.md b/four.txt a/.dot a/.hidden/x $HOME/home.txt
            ln -s ../a/sub links/again; ln -s ../a/one.txt links/file.txt; ln -s ../links links/loop
            ln -s nowhere links/broken
        - uses: actions/upload-artifact@v4
          with:
            path: {path.replace(chr(10), chr(10) + "        ")}
        - uses: actions/download-artifact@v4
          with: {{name: artifact, path: got}}
        - run: cd got; find . -type f -o -type l | sort | cut -c3-; test -z "$(find . -type l)"
        """
    )
    assert ran.outcomes() == ["success"] * 4, ran.messages()
    assert ran.text(4).splitlines() == names


async def test_hidden_files_come_along_when_asked_for(place: Place) -> None:
    ran = await place.run(
        """
        - run: mkdir -p a/.git; touch a/.dot a/b
        - {uses: actions/upload-artifact@v4, with: {path: a, include-hidden-files: true}}
        - {uses: actions/download-artifact@v4, with: {name: artifact, path: got}}
        - run: ls -A got
        - {uses: actions/upload-artifact@v4, with: {path: a/.dot, name: other, if-no-files-found: error}}
        """
    )
    assert ran.text(4).split() == [".dot", "b"]
    assert "No files were found" in ran.messages()[0]


@pytest.mark.parametrize(
    ("word", "outcome", "annotations"), [("warn", "success", 1), ("error", "failure", 1), ("ignore", "success", 0)]
)
async def test_no_files_found(place: Place, word: str, outcome: str, annotations: int) -> None:
    ran = await place.run(
        f"- {{uses: actions/upload-artifact@v4, with: {{path: nothing/*, if-no-files-found: {word}}}}}"
    )
    assert ran.outcomes() == [outcome]
    assert len(ran.messages()) == annotations
    assert ran.result.artifacts == ()
    assert any("No files were found with the provided path: nothing/*" in line for line in ran.said())


async def test_a_name_is_had_once_in_a_run_unless_it_is_to_be_overwritten(place: Place) -> None:
    steps = """
        - run: echo WORD > f
        - {uses: actions/upload-artifact@v4, with: {name: n, path: f, overwrite: FLAG}}
    """
    await place.run(steps.replace("WORD", "one").replace("FLAG", "false"), job_id="j")
    again = await place.run(steps.replace("WORD", "two").replace("FLAG", "false"))
    assert again.outcomes() == ["success", "failure"]
    assert "an artifact with the name 'n' already exists" in again.messages()[0]
    over = await place.run(steps.replace("WORD", "three").replace("FLAG", "true"))
    assert over.outcomes() == ["success", "success"]
    read = await place.run("- {uses: actions/download-artifact@v4, with: {name: n}}\n- run: cat f")
    assert read.text(2) == "three"


async def test_the_next_attempt_of_a_job_may_upload_again(place: Place) -> None:
    steps = "- run: echo hi > f\n- {uses: actions/upload-artifact@v4, with: {path: f}}"
    await place.run(steps)
    assert (await place.run(steps, attempt=2)).outcomes() == ["success", "success"]
    twice = await place.run(steps + "\n- {uses: actions/upload-artifact@v4, with: {path: f}}", attempt=3)
    assert twice.outcomes() == ["success", "success", "failure"]


async def test_all_artifacts_or_those_of_a_pattern_each_in_a_folder_or_together(place: Place) -> None:
    ran = await place.run(
        """
        - run: touch one two three
        - {uses: actions/upload-artifact@v4, with: {name: log-1, path: one}}
        - {uses: actions/upload-artifact@v4, with: {name: log-2, path: two}}
        - {uses: actions/upload-artifact@v4, with: {name: else, path: three}}
        - {uses: actions/download-artifact@v4, with: {path: all}}
        - {uses: actions/download-artifact@v4, with: {path: logs, pattern: log-*}}
        - {uses: actions/download-artifact@v4, with: {path: together, pattern: "log-?", merge-multiple: true}}
        - {uses: actions/download-artifact@v4, with: {path: none, pattern: zzz*}}
        - run: find all logs together -type f | sort
        """
    )
    assert ran.text(9).split() == [
        *("all/else/three", "all/log-1/one", "all/log-2/two"),
        *("logs/log-1/one", "logs/log-2/two", "together/one", "together/two"),
    ]


@pytest.mark.parametrize(
    ("uses", "inputs", "said"),
    [
        ("upload", '{path: f, name: "a/b"}', "The artifact name is not valid"),
        ("upload", "{path: f, name: '..'}", "The artifact name is not valid"),
        ("upload", "{path: ../f}", "Relative pathing '..' is not allowed"),
        ("upload", "{name: x}", "Input required and not supplied: path"),
        ("upload", "{path: 'odd:name'}", "The path for one of the files in artifact is not valid"),
        ("upload", "{path: f, overwrite: maybe}", "no boolean"),
        ("upload", "{path: f, retention-days: soon}", "Invalid retention-days"),
        ("upload", "{path: f, if-no-files-found: cry}", "Unrecognized if-no-files-found"),
        ("download", "{name: missing}", "Artifact not found for name: missing"),
        ("download", "{artifact-ids: 12}", "Artifact not found for ids: 12"),
        ("download", "{run-id: 77}", "of another run (77) is not supported"),
        ("download", "{repository: you/other}", "another repository (you/other) is not supported"),
    ],
)
async def test_what_cannot_be_is_said(place: Place, uses: str, inputs: str, said: str) -> None:
    ran = await place.run(f"- run: touch f odd:name\n- {{uses: actions/{uses}-artifact@v4, with: {inputs}}}")
    assert ran.outcomes() == ["success", "failure"]
    assert said in ran.messages()[0]


async def test_retention_and_compression_are_accepted(place: Place) -> None:
    ran = await place.run(
        """
        - run: touch f
        - {uses: actions/upload-artifact@v4, with: {path: f, retention-days: 5, compression-level: 0}}
        """
    )
    assert ran.outcomes() == ["success", "success"]


async def test_an_artifact_that_nobody_holds_fails_the_step(place: Place) -> None:
    await place.run("- run: touch f\n- {uses: actions/upload-artifact@v4, with: {path: f}}")

    def without_blobs(env: RunnerEnv) -> RunnerEnv:
        return attrs.evolve(env, fetch_blob=lost)

    ran = await place.run("- uses: actions/download-artifact@v4", env=without_blobs)
    assert "no peer that holds" in ran.messages()[0]


async def test_where_artifacts_are_not_kept_it_says_so(place: Place) -> None:
    def without_a_store(env: RunnerEnv) -> RunnerEnv:
        return attrs.evolve(env, store_folder=None, artifacts=None)

    ran = await place.run("- run: touch f\n- {uses: actions/upload-artifact@v4, with: {path: f}}", env=without_a_store)
    assert "artifacts are not kept here" in ran.messages()[0]


async def test_steps_in_the_background_keep_artifacts_and_only_one_gets_a_name(place: Place) -> None:
    ran = await place.run(
        """
        - run: echo x > f
        - {uses: actions/upload-artifact@v4, with: {name: same, path: f}, background: true, continue-on-error: true}
        - {uses: actions/upload-artifact@v4, with: {name: same, path: f}, background: true, continue-on-error: true}
        - {uses: actions/upload-artifact@v4, with: {name: other, path: f}, background: true}
        - wait-all: true
        """
    )
    assert sorted(one.name for one in ran.result.artifacts) == ["other", "same"]
    assert sorted(ran.outcomes()[1:3]) == ["failure", "success"]


async def test_names_that_cannot_travel_fail_an_upload_and_only_warn_for_a_cache(place: Place) -> None:
    ran = await place.run(
        r"""
        - run: mkdir d; touch "d/$(printf 'a\377')"
        - {uses: actions/cache/save@v4, with: {path: d, key: k}}
        - {uses: actions/upload-artifact@v4, with: {path: d}}
        """
    )
    assert ran.outcomes() == ["success", "success", "failure"]
    assert all("is there a name that is not UTF-8?" in message for message in ran.messages())
    assert len(ran.messages()) == 2
