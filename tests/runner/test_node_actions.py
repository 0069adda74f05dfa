"""JavaScript actions with the real node: inputs, state, and the stages before and after the steps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.runner.kit import Bench

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")

STAGES = """
name: staged
inputs: {who: {default: nobody}, a b: {default: '2'}}
outputs: {greeting: {description: what was said}}
runs: {using: node20, pre: pre.js, main: main.js, post: post.js}
"""
APPEND = "const fs = require('fs'); const append = (v, t) => fs.appendFileSync(process.env['GITHUB_' + v], t + '\\n');"
STAGED = {
    "action.yml": STAGES,
    "pre.js": f"{APPEND} console.log('pre ' + process.env.INPUT_WHO); append('STATE', 'from_pre=1');",
    "main.js": f"""
        {APPEND}
        console.log('main', process.env.INPUT_WHO, process.env.INPUT_A_B, process.env.STATE_from_pre);
        append('OUTPUT', 'greeting=hi'); append('STATE', 'from_main=2'); append('ENV', 'SET_BY=node');
        console.log('::save-state name=by_command::3');
        process.exit(process.env.INPUT_WHO === 'bad' ? 1 : 0);
    """,
    "post.js": "console.log('post', process.env.INPUT_WHO, ['from_pre', 'from_main', 'by_command']"
    ".map(n => process.env['STATE_' + n]).join(' '), process.cwd() === process.env.GITHUB_WORKSPACE);",
}


def staged(**changes: str) -> dict[str, str]:
    """The action with keys of `runs` added."""
    more = "".join(f", {key.replace('_', '-')}: {value}" for key, value in changes.items())
    return {**STAGED, "action.yml": STAGES.replace("post: post.js", f"post: post.js{more}")}


async def test_pre_main_and_post_share_state_and_post_comes_last(bench: Bench) -> None:
    ran = await bench.run(
        """
        - run: echo first
        - {id: s, uses: my/staged@v1, with: {who: me}}
        - name: Show
          run: echo "${{ steps.s.outputs.greeting }} $SET_BY [$INPUT_WHO] [$STATE_from_main]"
        """,
        actions={"my/staged@v1": STAGED},
    )
    assert ran.text().splitlines() == [
        "pre me",
        "first",
        "main me 2 1",
        "hi node [] []",
        "post me 1 2 3 true",
    ]
    assert [(step.number, step.name, step.id) for step in ran.result.steps] == [
        (1, "Pre Run my/staged@v1", ""),
        (2, "Run echo first", "__run"),
        (3, "Run my/staged@v1", "s"),
        (4, "Show", "__run_2"),
        (5, "Post Run my/staged@v1", ""),
    ]


async def test_posts_run_from_the_last_to_the_first_also_after_failures(bench: Bench) -> None:
    ran = await bench.run(
        """
        - {uses: my/staged@v1, with: {who: one}}
        - {uses: my/staged@v1, with: {who: bad}}
        - {uses: my/staged@v1, with: {who: skipped}}
        """,
        actions={"my/staged@v1": staged(pre_if="failure()")},
    )
    posts = [line for line in ran.text().splitlines() if line.startswith("post")]
    assert posts == ["post bad  2 3 true", "post one  2 3 true"], "a step that was skipped leaves nothing to do"
    assert ran.outcomes() == [*["skipped"] * 3, "success", "failure", "skipped", "success", "success"]
    assert "Process completed with exit code 1." in ran.said()
    assert ran.messages() == [], "an action says itself why it fails"


@pytest.mark.parametrize(
    ("post_if", "fails", "runs"),
    [
        ("success()", "0", True),
        ("success()", "1", False),
        ("failure()", "1", True),
        ("env.SET_BY == 'node'", "0", True),
        ("env.SET_BY == 'no'", "0", False),
    ],
)
async def test_post_if_asks_for_the_job(bench: Bench, post_if: str, fails: str, runs: bool) -> None:
    ran = await bench.run(
        f"- uses: my/staged@v1\n- run: exit {fails}", actions={"my/staged@v1": staged(post_if=f'"{post_if}"')}
    )
    assert ("post nobody" in ran.text()) == runs


async def test_a_composite_gathers_the_stages_of_its_actions(bench: Bench) -> None:
    outer = """
name: outer
inputs: {who: {required: true}}
runs:
  using: composite
  steps:
    - {uses: my/staged@v1, with: {who: '${{ inputs.who }} 1'}}
    - {if: "inputs.who == 'x'", uses: my/staged@v1, with: {who: never}}
    - {id: two, uses: my/staged@v1, with: {who: '${{ inputs.who }} 2'}}
"""
    ran = await bench.run(
        "- {uses: my/outer@v1, with: {who: o}}\n- run: echo between",
        actions={"my/staged@v1": STAGED, "my/outer@v1": {"action.yml": outer}},
    )
    assert ran.text().splitlines() == [
        *("pre o 1", "pre never", "pre o 2"),
        *("main o 1 2 1", "main o 2 2 1", "between"),
        *("post o 2 1 2 3 true", "post never 1   true", "post o 1 1 2 3 true"),
    ]
    assert [step.name for step in ran.result.steps] == [
        *("Pre Run my/outer@v1", "Run my/outer@v1", "Run echo between", "Post Run my/outer@v1"),
    ]


async def test_a_local_action_has_no_pre_and_says_so(bench: Bench) -> None:
    source = {f"a/{name}": text for name, text in STAGED.items()}
    ran = await bench.run("- uses: ./a", source=source)
    assert ran.text().splitlines() == ["main nobody 2 undefined", "post nobody  2 3 true"]
    assert ran.messages() == ["`pre` execution is not supported for local action from './a'"]


async def test_without_node_on_path_one_error_says_so(bench: Bench, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("bash", "sh"):
        (empty / name).symlink_to(str(shutil.which(name)))
    ran = await bench.run(
        "- uses: my/staged@v1\n- {if: always(), run: echo on}",
        actions={"my/staged@v1": {k: v.replace("pre: pre.js, ", "") for k, v in STAGED.items()}},
        base={"PATH": str(empty)},
    )
    assert ran.messages()[0].startswith("the action 'my/staged@v1' needs Node.js, and there is no `node` on PATH (")
    assert ran.text() == "on"


async def test_a_missing_script_is_said(bench: Bench) -> None:
    ran = await bench.run("- uses: a/b@v1", actions={"a/b@v1": {"action.yml": STAGES.replace("pre: pre.js, ", "")}})
    assert "has no file main.js" in ran.messages()[0]


async def test_cancelling_lets_post_run(bench: Bench) -> None:
    slow = {**STAGED, "main.js": "setInterval(() => {}, 1000);", "pre.js": ""}
    ran = await bench.run("- uses: my/staged@v1", job="timeout-minutes: 0.01", actions={"my/staged@v1": slow})
    assert ran.result.outcome == "cancelled"
    assert ran.outcomes() == ["success", "cancelled", "success"]
    assert ran.text() == "post nobody    true"
