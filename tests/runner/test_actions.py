"""Where actions come from, and how composite ones run: real manifests, real bash."""

from __future__ import annotations

import pytest

from tests.runner.kit import Bench

HELLO = """
name: hello
inputs:
  who: {default: world}
outputs:
  said: {value: '${{ steps.say.outputs.said }}'}
runs:
  using: composite
  steps:
    - id: say
      shell: bash
      run: |
        echo "hello ${{ inputs.who }}"
        echo "said=hello ${{ inputs.who }}" >> "$GITHUB_OUTPUT"
"""


def composite(steps: str, more: str = "") -> str:
    """An action of these steps, indented by nothing."""
    body = "\n".join(f"    {line}" for line in steps.strip("\n").splitlines())
    return f"name: a\n{more}\nruns:\n  using: composite\n  steps:\n{body}\n"


async def test_a_local_action_comes_from_the_source_of_the_run_without_a_checkout(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {id: a, uses: ./.github/actions/hello, with: {who: you}}
        - run: echo "[${{ steps.a.outputs.said }}]"; ls -A | wc -l
        """,
        source={".github/actions/hello/action.yml": HELLO},
    )
    assert ran.text() == "hello you\n[hello you]\n0"
    assert ran.result.steps[0].name == "Run ./.github/actions/hello"


async def test_the_source_itself_may_be_an_action(bench: Bench) -> None:
    ran = await bench.run("- uses: ./\n- uses: ./sub@dir/", source={"action.yml": HELLO, "sub@dir/action.yml": "x"})
    assert ran.text() == "hello world"
    assert ran.messages()[0].startswith("sub@dir/action.yml:1:1: ")


async def test_a_local_action_of_the_workspace_comes_before_the_sources(bench: Bench) -> None:
    ran = await bench.run(
        """
        - uses: ./a
        - uses: actions/checkout@v4
        - run: sed -i s/hello/servus/ a/action.yaml
        - uses: ./a
        """,
        source={"a/action.yaml": HELLO},
    )
    assert ran.text() == "hello world\nservus world"


async def test_a_pinned_action_is_laid_out_once_under_its_name_and_knows_where_it_is(bench: Bench) -> None:
    files = {
        "action.yml": composite(
            """
- {shell: bash, run: '"$GITHUB_ACTION_PATH/hi.sh"; echo "${{ github.action_path }}"'}
- {shell: bash, run: 'echo "$R ${{ github.action_ref }}"', env: {R: '${{ github.action_repository }}'}}
"""
        ),
        "hi.sh": "#!/bin/sh\necho hi from a file\n",
        "sub/action.yml": HELLO,
    }
    ran = await bench.run(
        "- {id: me, uses: some/tool@v1}\n- uses: some/tool/sub@v1\n- run: ls ../../_actions/some/tool",
        actions={"some/tool@v1": files, "some/tool/sub@v1": files},
    )
    lines = ran.text(1).splitlines()
    assert lines[0] == "hi from a file"
    assert lines[1].endswith("/_actions/some/tool/v1")
    assert lines[2] == "some/tool ", "as on GitHub: env sees the action, run does not"
    assert ran.text(2) == "hello world"
    assert ran.text(3) == "v1"


async def test_an_action_that_did_not_come_with_the_run_fails_the_job_before_it_begins(bench: Bench) -> None:
    ran = await bench.run("- run: echo never\n- uses: some/thing@v9")
    assert ran.result.outcome == "failure"
    assert ran.text() == ""
    assert ran.result.error is not None
    assert "'some/thing@v9' did not come with this run" in ran.result.error
    assert "submit it from where" in ran.result.error


@pytest.mark.parametrize(
    ("uses", "said"),
    [
        ("./nowhere", "Can't find 'action.yml', 'action.yaml' or 'Dockerfile'"),
        ("./../../..", "lies outside"),
        ("./link", "lies outside"),
        ("./broken", "broken/action.yml:3:10: 'using: node99' is not supported"),
        ("./noshell", "Required property is missing: shell"),
    ],
)
async def test_a_local_action_that_cannot_be_fails_its_step(bench: Bench, uses: str, said: str) -> None:
    ran = await bench.run(
        f"- run: ln -s /etc link\n- uses: {uses}\n- {{if: always(), run: echo on}}",
        source={
            "broken/action.yml": "name: x\nruns:\n  using: node99\n  main: a.js\n",
            "noshell/action.yml": composite("- run: 'true'"),
        },
    )
    assert ran.outcomes() == ["success", "failure", "success"]
    assert said in ran.messages()[0]


async def test_a_composite_has_steps_inputs_and_a_status_of_its_own(bench: Bench) -> None:
    action = composite(
        """
- {id: one, shell: bash, run: 'echo "v=inner" >> "$GITHUB_OUTPUT"'}
- {shell: bash, run: 'echo "[${{ steps.one.outputs.v }}] [${{ steps.outer.outputs.v }}] [${{ inputs.level }}]"'}
- {id: bad, shell: bash, run: exit 3, continue-on-error: true}
- {shell: bash, run: 'echo "${{ steps.bad.outcome }} ${{ steps.bad.conclusion }} ${{ job.status }}"'}
- {shell: bash, run: exit 1}
- {shell: bash, run: echo never}
- {if: failure(), shell: bash, run: 'echo "failed here, ${{ github.action_status || job.status }}"'}
- {if: cancelled(), shell: bash, run: echo never}
"""
    )
    ran = await bench.run(
        """
        - {id: outer, run: 'echo "v=outer" >> "$GITHUB_OUTPUT"'}
        - {run: exit 1, continue-on-error: true}
        - {id: c, uses: ./a, continue-on-error: true}
        - run: echo "${{ steps.c.outcome }} ${{ steps.c.conclusion }} [${{ steps.one.outputs.v }}] ${{ inputs.level }}"
        """,
        source={"a/action.yml": action},
        facts={"inputs": {"level": "of the run"}},
    )
    assert ran.text(3).splitlines() == ["[inner] [] []", "failure success success", "failed here, success"]
    assert ran.text(4) == "failure success [] of the run"


async def test_a_composite_that_runs_always_does_not_see_the_jobs_failure(bench: Bench) -> None:
    """success() in an action asks for the action: the job may have failed long before."""
    ran = await bench.run(
        "- run: exit 1\n- {if: always(), uses: ./a}",
        source={"a/action.yml": composite("- {shell: bash, run: 'echo ran, ${{ job.status }}'}")},
    )
    assert ran.text(2) == "ran, failure"


async def test_each_inner_step_has_fresh_files_and_what_it_sets_stays(bench: Bench) -> None:
    look = 'for v in OUTPUT ENV PATH STATE STEP_SUMMARY; do n=GITHUB_$v; [ -s "${!n}" ] && echo "$v is full"; done'
    action = composite(
        f"""
- shell: bash
  run: |
    {look}
    echo "A=1" >> "$GITHUB_ENV"; echo "/p" >> "$GITHUB_PATH"; echo "x=1" >> "$GITHUB_OUTPUT"
    echo "one" >> "$GITHUB_STEP_SUMMARY"; echo "::add-mask::sesame-open"; echo "::warning file=a.c,line=3::careful"
- shell: bash
  run: |
    {look}
    echo "$A $OUTER $INNER sesame-open"; echo "two" >> "$GITHUB_STEP_SUMMARY"
  env: {{INNER: i}}
"""
    )
    ran = await bench.run(
        """
        - {uses: ./a, env: {OUTER: o, A: fixed}}
        - run: echo "$A [$OUTER] [$INNER] sesame-open $PATH"
        """,
        source={"a/action.yml": action},
    )
    assert ran.text(1) == "fixed o i ***", "the step's own env lies over what its inner steps set"
    assert ran.text(2).startswith("1 [] [] *** /p:")
    assert ran.result.steps[0].summary == "one\ntwo\n"
    assert [(a.message, a.file, a.line, a.step) for a in ran.result.annotations] == [("careful", "a.c", 3, 1)]


async def test_defaults_of_the_job_do_not_reach_into_an_action(bench: Bench) -> None:
    ran = await bench.run(
        "- {run: mkdir sub, shell: bash, working-directory: .}\n- uses: ./a",
        job="defaults: {run: {working-directory: sub, shell: python}}",
        source={"a/action.yml": composite("- {shell: sh, run: 'basename \"$PWD\"'}")},
        facts={"repository": "me/tool"},
    )
    assert ran.text(2) == "tool"


async def test_composites_nest_ten_deep_and_no_deeper(bench: Bench) -> None:
    source = {f"a{depth}/action.yml": composite(f"- uses: ./a{depth + 1}") for depth in range(1, 11)}
    bottom = composite("- {shell: bash, run: echo bottom}")
    ran = await bench.run("- uses: ./a1", source=source | {"a10/action.yml": bottom})
    assert ran.text() == "bottom"
    ran = await bench.run("- uses: ./a1", source=source | {"a11/action.yml": bottom})
    assert ran.outcomes() == ["failure"]
    assert "Composite action depth exceeded max depth 10" in ran.messages()[0]


async def test_pinned_actions_that_use_each_other_without_end_are_refused(bench: Bench) -> None:
    ran = await bench.run("- uses: a/b@v1", actions={"a/b@v1": {"action.yml": composite("- uses: a/b@v1")}})
    assert ran.result.error is not None
    assert "max depth 10" in ran.result.error


async def test_actions_that_multiply_are_bounded(bench: Bench) -> None:
    actions = {f"a/b@v{n}": {"action.yml": composite(f"- uses: a/b@v{n + 1}\n" * 6)} for n in range(9)}
    actions["a/b@v9"] = {"action.yml": composite("- {shell: bash, run: 'true'}")}
    ran = await bench.run("- uses: a/b@v0", actions=actions)
    assert ran.result.error is not None
    assert "more than 1000 times" in ran.result.error


async def test_an_actions_action_must_come_with_the_run_as_well(bench: Bench) -> None:
    ran = await bench.run("- uses: a/b@v1", actions={"a/b@v1": {"action.yml": composite("- uses: c/d@v2")}})
    assert ran.result.error is not None
    assert "'c/d@v2' did not come" in ran.result.error


async def test_inputs_that_nobody_declared_or_that_are_deprecated_are_warned_of(bench: Bench) -> None:
    action = composite(
        "- {shell: bash, run: 'echo ${{ inputs.old }} ${{ inputs.where }}'}",
        "inputs: {old: {deprecationMessage: use new}, where: {default: '${{ runner.os }}'}}",
    )
    ran = await bench.run("- {uses: ./a, with: {OLD: x, other: y}}", source={"a/action.yml": action})
    assert ran.text() == "x Linux"
    assert ran.messages() == [
        "Input 'old' has been deprecated with message: use new",
        "Unexpected input(s) 'other', valid inputs are ['old', 'where']",
    ]


async def test_a_timeout_ends_all_of_a_composite(bench: Bench) -> None:
    action = composite("- {shell: bash, run: sleep 1000}\n- {if: always(), shell: bash, run: echo never}")
    ran = await bench.run(
        "- {uses: ./a, timeout-minutes: 0.005}\n- {if: always(), run: echo on}", source={"a/action.yml": action}
    )
    assert ran.outcomes() == ["failure", "success"]
    assert ran.messages() == ["The action 'Run ./a' has timed out after 0.005 minutes."]
    assert ran.text() == "on"


async def test_checkout_works_inside_of_a_composite(bench: Bench) -> None:
    action = composite(
        "- {id: co, uses: actions/checkout@v4, with: {path: here}}\n"
        "- {shell: bash, run: 'ls here; echo ${{ steps.co.outputs.ref }}'}"
    )
    ran = await bench.run("- uses: ./a", source={"a/action.yml": action, "f": ""}, facts={"ref": "refs/heads/x"})
    assert ran.text() == "a\nf\nrefs/heads/x"
