"""What a user gives: events, inputs, secrets, variables, files of them; and where each is seen, or never."""

from __future__ import annotations

import json

import pytest

from tests.oneshot.kit import Here

NEEDLE = "hunter-2-needle"


def test_the_event_is_push_if_that_is_declared(here: Here) -> None:
    here.write(
        "on: [workflow_dispatch, push]\njobs: {j: {runs-on: x, steps: [{run: 'echo ${{ github.event_name }}'}]}}"
    )
    assert here.run().printed() == ["push"]
    assert here.run("--event", "workflow_dispatch").printed() == ["workflow_dispatch"]


def test_the_event_is_the_only_one_declared(here: Here) -> None:
    here.write("on: issues\njobs: {j: {runs-on: x, steps: [{run: 'echo ${{ github.event_name }}'}]}}")
    assert here.run().printed() == ["issues"]


def test_of_several_events_one_must_be_named(here: Here) -> None:
    here.write("on: [issues, fork]\njobs: {j: {runs-on: x, steps: [{run: 'true'}]}}")
    ran = here.run(code=2)
    assert json.loads(ran.err)["error"]["hint"] == "--event NAME; declared: issues, fork"
    assert "does not declare the event 'release'" in here.run("--event", "release", code=2).error()


def test_a_payload_is_made_from_the_source(here: Here) -> None:
    here.write(
        """
        on: push
        jobs:
          j:
            runs-on: x
            steps:
              - run: |
                  echo "${{ github.event.head_commit.message }} by ${{ github.event.head_commit.author.name }}"
                  echo "${{ github.sha == github.event.after }} ${{ github.ref }} ${{ github.event.ref }}"
                  echo "${{ github.event.before }} ${{ github.repository }} ${{ github.event.repository.full_name }}"
                  echo "${{ github.event.pusher.name }} ${{ github.event.sender.login == github.actor }}"
                  cat "$GITHUB_EVENT_PATH"
        """
    )
    for words in (["init"], ["remote", "add", "origin", "https://example.org/ada/engine.git"], ["add", "."]):
        here.git(*words)
    here.git("config", "user.name", "Ada")
    here.git("commit", "-m", "First\n\nAnd more.")
    before = here.git("rev-parse", "HEAD")
    here.git("commit", "--allow-empty", "-m", "Second")
    *lines, payload = here.run().printed()
    assert lines == [
        "Second by Ada",
        "true refs/heads/main refs/heads/main",
        f"{before} ada/engine ada/engine",
        "Ada true",
    ]
    assert json.loads(payload)["head_commit"]["id"] == here.git("rev-parse", "HEAD")


def test_a_payload_can_be_given(here: Here) -> None:
    here.steps("- run: echo ${{ github.event.thing.deep }}")
    here.write('{"thing": {"deep": "as given"}}', "event.json")
    assert here.run("--event-file", "event.json").printed() == ["as given"]


SHOW = """
on: [push, pull_request, pull_request_target, release, create, workflow_dispatch]
jobs:
  j:
    runs-on: x
    steps:
      - run: >-
          echo ${{ github.ref }} ${{ github.ref_name }} ${{ github.ref_type }} "${{ github.head_ref }}"
          "${{ github.base_ref }}" $GITHUB_SHA
"""
ONE_SHA, OTHER_SHA = "1" * 40, "a" * 40
PULL = {"number": 7, "head": {"ref": "topic", "sha": ONE_SHA}, "base": {"ref": "dev"}}


@pytest.mark.parametrize(
    ("event", "payload", "shown"),
    [
        ("push", {"ref": "refs/tags/v1", "after": ONE_SHA}, f"refs/tags/v1 v1 tag   {ONE_SHA}"),
        ("push", {"ref": "refs/heads/a/b", "after": "0" * 40}, "refs/heads/a/b a/b branch   HEAD"),
        ("push", {"ref": 1, "after": "x"}, "refs/heads/main main branch   HEAD"),
        ("push", None, "refs/heads/main main branch   HEAD"),
        ("pull_request", None, "refs/pull/1/merge 1/merge branch main main HEAD"),
        ("pull_request", {"number": 7, "pull_request": PULL}, "refs/pull/7/merge 7/merge branch topic dev HEAD"),
        (
            "pull_request",
            {"pull_request": {**PULL, "merge_commit_sha": OTHER_SHA}},
            f"refs/pull/7/merge 7/merge branch topic dev {OTHER_SHA}",
        ),
        ("pull_request", {"number": "7"}, "refs/heads/main main branch   HEAD"),
        (
            "pull_request_target",
            {"pull_request": PULL, "repository": {"default_branch": "trunk"}},
            "refs/heads/trunk trunk branch topic dev HEAD",
        ),
        ("release", {"release": {"tag_name": "v2"}}, "refs/tags/v2 v2 tag   HEAD"),
        ("create", {"ref": "v3", "ref_type": "tag"}, "refs/tags/v3 v3 tag   HEAD"),
        ("workflow_dispatch", {"ref": "refs/heads/dev"}, "refs/heads/dev dev branch   HEAD"),
    ],
)
def test_a_run_stands_where_its_event_says(
    here: Here, event: str, payload: dict[str, object] | None, shown: str
) -> None:
    here.write(SHOW)
    for words in (["init"], ["add", "."], ["commit", "-m", "First"]):
        here.git(*words)
    words = ["--event", event]
    if payload is not None:
        (here.tmp / "event.json").write_text(json.dumps(payload))
        words += ["--event-file", str(here.tmp / "event.json")]
    wanted = shown.replace("HEAD", here.git("rev-parse", "HEAD")).split()
    assert here.run(*words).printed() == [" ".join(wanted) if "   " not in shown else shown.replace("HEAD", wanted[-1])]


def test_inputs_have_their_types_and_are_split_at_the_first_equals_sign(here: Here) -> None:
    here.write(
        """
        on:
          workflow_dispatch:
            inputs:
              text: {type: string, required: true}
              deep: {type: boolean, default: false}
              count: {type: number, default: 3}
        jobs:
          j:
            runs-on: x
            steps:
              - run: echo '${{ toJSON(inputs.text) }} ${{ inputs.deep == true }} ${{ inputs.count + 0 == 3 }}'
              - run: echo '${{ github.event.inputs.text }}'
        """.replace("inputs.count + 0", "inputs.count")
    )
    ran = here.run("--input", "text=a=b", "--input", "deep=true")
    assert ran.printed() == ['"a=b" true true', "a=b"]
    assert "input 'text' is required" in here.run(code=2).error()
    assert "unknown input 'nope'" in here.run("--input", "text=1", "--input", "nope=1", code=2).error()
    assert "must be true or false" in here.run("--input", "text=1", "--input", "deep=2", code=2).error()


def test_a_step_sees_the_variable_that_is_nearest_to_it(here: Here) -> None:
    here.write(
        """
        on: push
        env: {B: workflow, C: workflow, D: workflow}
        jobs:
          j:
            runs-on: x
            env: {C: job, D: job}
            steps:
              - env: {D: step}
                run: echo "$F $A $B $C $D ${{ env.A }} $GITHUB_JOB"
        """
    )
    here.write("F=file\nA=file\n", "vars.env")
    given = [word for name in "ABCD" for word in ("--env", f"{name}=given")]
    ran = here.run("--env-file", "vars.env", *given, "--env", "GITHUB_JOB=mine")
    assert ran.printed() == ["file given workflow job step given j"]


def test_vars_reach_expressions_also_in_the_plan(here: Here) -> None:
    here.write(
        """
        on: push
        jobs:
          j:
            runs-on: x
            strategy: {matrix: {v: "${{ fromJSON(vars.LIST) }}"}}
            steps: [{run: "echo ${{ matrix.v }} ${{ vars.WORD }}"}]
        """
    )
    assert here.run("--var", 'LIST=["a"]', "--var", "WORD=x=y").printed() == ["a x=y"]


def test_secrets_come_from_the_environment_the_line_and_a_file(here: Here) -> None:
    here.steps(
        """
        - run: test "$A-$B-$C" = "one-two=2-three"
          env: {A: "${{ secrets.A }}", B: "${{ secrets.B }}", C: "${{ secrets.C }}"}
        """
    )
    here.write("C=three\nB=overridden\n", "secrets.env")
    here.patch.setenv("A", "one")
    here.run("--secret", "A", "--secret", "B=two=2", "--secret-file", "secrets.env")


def test_a_secret_that_is_not_set_is_an_error(here: Here) -> None:
    here.steps("- run: 'true'")
    here.patch.delenv("UNSET_SECRET", raising=False)
    assert here.run("--secret", "UNSET_SECRET", code=2).error() == (
        "the secret 'UNSET_SECRET' is not set in the environment"
    )


def test_a_secret_is_in_nothing_that_is_told(here: Here) -> None:
    here.patch.setenv("TOKEN", NEEDLE)
    here.write(
        """
        on: push
        jobs:
          j:
            runs-on: x
            outputs: {leak: "${{ steps.s.outputs.leak }}", kept: "${{ steps.s.outputs.kept }}"}
            steps:
              - id: s
                name: has ${{ secrets.TOKEN }}
                env: {T: "${{ secrets.TOKEN }}"}
                run: |
                  echo "plain $T"; echo "::warning title=$T::annotated $T"; printf '%s' "$T" | base64
                  echo "# $T" >> $GITHUB_STEP_SUMMARY
                  echo "leak=$T" >> $GITHUB_OUTPUT; echo "kept=fine" >> $GITHUB_OUTPUT
              - run: exit 1 # ${{ secrets.TOKEN }}
        """
    )
    ran = here.run("--secret", "TOKEN", code=1)
    assert NEEDLE not in ran.out + ran.err
    assert ran.printed(step=1)[0] == "plain ***"
    (job,) = ran.of("job_finished")
    assert job["outputs"] == {"kept": "fine"}
    plain = here.run_plain("--secret", "TOKEN", code=1)
    assert NEEDLE not in plain.out + plain.err


def test_t47_a_secret_is_in_no_processes_arguments(here: Here) -> None:
    here.patch.setenv("TOKEN", NEEDLE)
    here.steps(
        """
        - env: {T: "${{ secrets.TOKEN }}"}
          run: |
            : ${{ secrets.TOKEN }}
            shopt -s nullglob
            looked=0
            for file in /proc/[0-9]*/cmdline; do
              while IFS= read -r -d '' word; do
                looked=$((looked + 1))
                if [[ "$word" == *"$T"* ]]; then echo "found in $file"; fi
              done < "$file" || true
            done 2> /dev/null
            test $looked -gt 0 && echo looked
          shell: bash
        """
    )
    assert here.run("--secret", "TOKEN").printed() == ["looked"]


def test_no_more_of_the_users_environment_reaches_a_step_than_a_node_gives(here: Here) -> None:
    here.patch.setenv("PRIVATE_THING", "private")
    here.steps('- run: echo "[$PRIVATE_THING]"')
    assert here.run().printed() == ["[]"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--env", "A"), "--env 'A': not of the form KEY=VALUE"),
        (("--input", "=x"), "--input '=x': not of the form KEY=VALUE"),
        (("--secret", "=hush"), "--secret …: not of the form KEY=VALUE"),
        (("--env", "A-B=1"), "not a name for --env: 'A-B'"),
        (("--secret", "1=x"), "not a name for --secret: '1'"),
        (("--env-file", "none.env"), "--env-file: cannot read 'none.env': No such file or directory"),
        (("--secret-file", "bad.env"), "bad.env:2: not a line of the form KEY=VALUE"),
        (("--secret-file", "raw.env"), "raw.env:2: not UTF-8"),
        (("--event-file", "bad.json"), "bad.json:1: the event is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (("--event-file", "list.json"), "list.json: the event is no object"),
        (("--source", "none"), "none is not a folder"),
        (("--isolation", "box"), "no isolation level 'box' here"),
        (("--job", "none"), "the workflow has no job 'none'"),
    ],
)
def test_what_cannot_be_taken_is_refused_before_anything_runs(here: Here, words: tuple[str, str], message: str) -> None:
    here.steps(f"- run: touch {here.tmp}/ran")
    here.write("A=1\nnonsense with hush\n", "bad.env")
    (here.root / "raw.env").write_bytes(b"A=1\nB=\xff\n")
    here.write("nonsense", "bad.json")
    here.write("[]", "list.json")
    ran = here.run(*words, code=2)
    assert ran.error().endswith(message)
    assert "hush" not in ran.err
    assert not (here.tmp / "ran").exists()
