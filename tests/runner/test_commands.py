from __future__ import annotations

import attrs
import pytest

from p2pwf.runner.masking import Masker
from p2pwf.workflow.commands import CommandReader
from tests.runner.kit import FAST, Bench


async def test_annotations_are_kept_with_their_place(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: |
            echo "::error file=app.js,line=1,endLine=2,col=5,endColumn=7,title=Oh::it broke%0Ahere"
            echo "::warning::careful"
            echo "::notice::look" >&2
        """
    )
    first, *rest = sorted(ran.result.annotations, key=lambda a: a.level)
    assert (first.level, first.message, first.title) == ("error", "it broke\nhere", "Oh")
    assert (first.file, first.line, first.end_line, first.column, first.end_column) == ("app.js", 1, 2, 5, 7)
    assert [(a.level, a.message) for a in rest] == [("notice", "look"), ("warning", "careful")]
    assert ran.result.outcome == "success"


async def test_groups_show_as_groups_and_debug_only_when_asked_for(bench: Bench) -> None:
    steps = '- run: echo "::group::Mine"; echo "::debug::hidden"; echo "::endgroup::"'
    ran = await bench.run(steps)
    assert "##[group]Mine" in ran.said()
    assert not any("hidden" in line for line in ran.said()[8:])
    ran = await bench.run(steps, facts={"vars": {"ACTIONS_STEP_DEBUG": "true"}})
    assert "##[debug]hidden" in ran.said()


async def test_set_output_by_command_works_and_a_file_wins(bench: Bench) -> None:
    ran = await bench.run(
        """
        - id: a
          run: |
            echo "::set-output name=x::command"
            echo "::set-output name=y::command"
            echo "x=file" >> "$GITHUB_OUTPUT"
        - run: echo "${{ steps.a.outputs.x }} ${{ steps.a.outputs.y }}"
        """
    )
    assert ran.text() == "file command"


async def test_set_env_and_add_path_are_errors_unless_allowed(bench: Bench) -> None:
    steps = """
        - run: |
            echo "::set-env name=A::1"
            echo "::add-path::/somewhere"
        - {if: always(), run: 'echo "[$A] $PATH"'}
        """
    ran = await bench.run(steps)
    assert ran.outcomes() == ["failure", "success"]
    assert ran.text(2).startswith("[] ")
    assert "/somewhere" not in ran.text(2)
    ran = await bench.run(steps, job="env: {ACTIONS_ALLOW_UNSECURE_COMMANDS: true}")
    assert ran.text(2).startswith("[1] /somewhere:")


async def test_t44_stop_commands_stops_them_until_its_token(bench: Bench) -> None:
    """T44."""
    ran = await bench.run(
        """
        - id: a
          run: |
            echo "::stop-commands::tok"
            echo "::set-output name=x::no"
            echo "::add-mask::visible"
            echo "::tok::"
            echo "::set-output name=x::yes"
        - run: echo "${{ steps.a.outputs.x }} visible"
        """
    )
    assert ran.text(2) == "yes visible"


async def test_t44_without_the_stop_what_is_printed_sets_outputs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = CommandReader.feed

    def deaf(self: CommandReader, line: str) -> object:
        self._token = None
        return genuine(self, line)

    monkeypatch.setattr(CommandReader, "feed", deaf)
    steps = "- id: a\n  run: |\n    echo '::stop-commands::tok'\n    echo '::set-output name=x::no'\n"
    assert (await bench.run(f"{steps}- run: echo ${{{{ steps.a.outputs.x }}}}")).text(2) == "no"


async def test_an_empty_stop_token_or_a_commands_name_fails_the_step(bench: Bench) -> None:
    ran = await bench.run(
        '- run: echo "::stop-commands::"\n- {if: always(), run: \'echo "::stop-commands::add-mask"\'}'
    )
    assert ran.outcomes() == ["failure", "failure"]


async def test_masks_hide_values_lines_and_encodings_from_then_on(bench: Bench) -> None:
    """T46."""
    ran = await bench.run(
        """
        - run: |
            echo "::add-mask::s3cr3t value"
            printf '::add-mask::first line%%0Asecond line\\n'
            echo "x s3cr3t value y"
            echo "first line / second line"
            printf 's3cr3t value' | base64
            printf 'as3cr3t value' | base64
            printf 'aas3cr3t valueb' | base64
            printf 's3cr3t value' | xxd -p
            echo "s3cr3t%20value s3cr3t+value"
        """
    )
    lines = ran.text().splitlines()
    assert lines[:2] == ["x *** y", "*** / ***"]
    assert all("***" in line for line in lines)
    whole = "\n".join(line.text for line in ran.lines if line.stream == "stdout")
    assert "s3cr3t" not in whole
    assert "czNjcjN0" not in whole


async def test_t46_secrets_are_masked_everywhere_from_the_start(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {name: 'uses ${{ secrets.TOKEN }}', env: {T: '${{ secrets.TOKEN }}'}, run: 'echo "$T"; echo "::error::$T"'}
        - {id: o, run: 'echo "x=$T" >> $GITHUB_OUTPUT', env: {T: '${{ secrets.TOKEN }}'}}
        """,
        job="outputs: {x: '${{ steps.o.outputs.x }}'}",
        secrets={"TOKEN": "p4ssw0rd-p4ssw0rd"},
    )
    assert "p4ssw0rd" not in repr(ran.result)
    assert not any("p4ssw0rd" in line.text for line in ran.lines)
    assert ran.result.outputs == {}
    assert any("since it may contain secret" in line for line in ran.said())


async def test_t46_secrets_show_everywhere_without_the_guard(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Masker, "mask", lambda _, text: text)
    step = """
        - {name: 'uses ${{ secrets.TOKEN }}', run: 'printf p4ss; echo w0rd'}
        - {run: 'echo "::error::$T"; echo $T', env: {T: '${{ secrets.TOKEN }}'}}
    """
    ran = await bench.run(step, secrets={"TOKEN": "p4ssw0rd"})
    assert ran.result.steps[0].name == "uses p4ssw0rd"
    assert "p4ssw0rd" in ran.messages()
    assert (ran.text(1), ran.text(2)) == ("p4ssw0rd", "p4ssw0rd")


async def test_t46_a_secret_written_in_parts_is_masked(bench: Bench) -> None:
    ran = await bench.run(
        "- run: printf abc; printf 'def'; printf 'ghi\\n'; printf 'abcdefghi' >&2", secrets={"S": "abcdefghi"}
    )
    assert ran.text() == "***\n***"


async def test_t46_a_secret_across_the_cut_of_a_long_line_is_masked(bench: Bench) -> None:
    limits = attrs.evolve(FAST, line_bytes=4096)
    for padding in (4079, 4083, 4095):
        ran = await bench.run(
            f"- shell: python\n  run: |\n    print('x' * {padding} + 'top-secret-value' + 'y' * 5000, end='')",
            secrets={"S": "top-secret-value"},
            limits=limits,
        )
        text = "".join(line.text for line in ran.lines if line.stream == "stdout")
        assert text == "x" * padding + "***" + "y" * 5000


async def test_a_process_left_behind_may_talk_but_sets_nothing(bench: Bench) -> None:
    ran = await bench.run(
        """
        - id: a
          run: (while [ ! -e go ]; do sleep 0.02; done; echo "::set-output name=x::late"; touch gone) &
        - run: |
            touch go
            while [ ! -e gone ]; do sleep 0.02; done
            echo "[${{ steps.a.outputs.x }}]"
        """
    )
    assert ran.text(2) == "[]"
    assert "::set-output name=x::late" in ran.text(1)


async def test_annotations_are_bounded(bench: Bench) -> None:
    step = '- run: for i in $(seq 80); do echo "::notice::$i"; done'
    ran = await bench.run("\n".join([step] * 6))
    assert [sum(one.step == number for one in ran.result.annotations) for number in range(1, 7)] == [10] * 5 + [0]
    assert sum(line.text.startswith("##[notice]") for line in ran.lines) == 6 * 80
