"""Reusable workflows: how calls become jobs of the plan, what they are given, and what comes of them."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from p2pwf.core.dagcbor import decode, encode
from p2pwf.errors import InvalidWorkflow
from p2pwf.workflow import Flow, RunFacts, Workflow, parse, resolve_job
from p2pwf.workflow.calls import called_key

Needs = dict[str, dict[str, object]]
STEPS = "runs-on: x, steps: [{run: x}]"
PATH = ".github/workflows/lib.yml"
USES = f"uses: ./{PATH}"


def outcome(result: str = "success", **outputs: str) -> dict[str, object]:
    return {"result": result, "outputs": outputs}


def main(jobs: str, head: str = "on: push\n") -> Workflow:
    return parse(head + "jobs:\n" + textwrap.indent(textwrap.dedent(jobs), "  ")).require()


def library(jobs: str, call: str = "") -> str:
    on = "on: workflow_call\n"
    if call:
        on = "on:\n  workflow_call:\n" + textwrap.indent(textwrap.dedent(call), "    ").rstrip() + "\n"
    return on + "jobs:\n" + textwrap.indent(textwrap.dedent(jobs), "  ")


def flow(jobs: str, *files: str, **facts: Any) -> Flow:
    called = dict(zip((PATH, *(f"lib{number}.yml" for number in range(2, 20))), files, strict=False))
    return Flow(main(jobs), RunFacts(**facts), called)


def needs_of(made: Flow) -> dict[str, list[str]]:
    return {job["id"]: job["needs"] for job in made.plan()["jobs"]}  # type: ignore[union-attr,index,call-overload,misc]


def legs_of(made: Flow, job: str) -> Any:
    return next(one["legs"] for one in made.plan()["jobs"] if one["id"] == job)  # type: ignore[union-attr,index,call-overload]


# -- the plan -------------------------------------------------------------------------------------------------------


def test_called_jobs_stand_before_the_call_and_need_what_their_caller_needs() -> None:
    made = flow(
        f"""
        first: {{{STEPS}}}
        call: {{needs: first, {USES}}}
        last: {{needs: call, {STEPS}}}
        """,
        library(f"a: {{{STEPS}}}\nb: {{needs: a, {STEPS}}}\n"),
    )
    assert needs_of(made) == {
        "first": [],
        "call/a": ["first"],
        "call/b": ["first", "call/a"],
        "call": ["call/a", "call/b", "first"],
        "last": ["call"],
    }
    assert [leg["name"] for job in ("call/a", "call/b", "call") for leg in legs_of(made, job)] == [
        "call / a",
        "call / b",
        "call",
    ]
    assert legs_of(made, "call")[0]["labels"] == []
    assert decode(encode(made.plan())) == made.plan()


def test_a_matrix_on_a_call_gives_every_leg_its_own_jobs() -> None:
    made = flow(
        f"""
        call:
          name: On
          strategy: {{matrix: {{os: [l, m], n: [1]}}}}
          {USES}
        """,
        library(f"build: {{strategy: {{matrix: {{k: [1, 2]}}}}, {STEPS}}}\n"),
    )
    assert list(needs_of(made)) == ["call (l, 1)/build", "call (m, 1)/build", "call"]
    assert [leg["name"] for leg in legs_of(made, "call (m, 1)/build")] == [
        "On (m, 1) / build (1)",
        "On (m, 1) / build (2)",
    ]
    assert legs_of(made, "call")[0]["name"] == "On"


def test_legs_of_a_call_that_look_alike_have_ids_of_their_own() -> None:
    made = flow(f"call: {{strategy: {{matrix: {{v: [{{a: 1}}, {{b: 1}}]}}}}, {USES}}}\n", library(f"a: {{{STEPS}}}\n"))
    assert list(needs_of(made)) == ["call (1)/a", "call (1) #2/a", "call"]


def test_nested_calls_nest_their_ids_and_gather_their_needs() -> None:
    inner = library(f"x: {{{STEPS}}}\n")
    outer = library(f"pre: {{{STEPS}}}\nin: {{needs: pre, uses: ./lib2.yml}}\npost: {{needs: in, {STEPS}}}\n")
    made = flow(f"first: {{{STEPS}}}\ncall: {{needs: first, {USES}}}\n", outer, inner)
    assert needs_of(made) == {
        "first": [],
        "call/pre": ["first"],
        "call/in/x": ["first", "call/pre"],
        "call/in": ["call/in/x", "first", "call/pre"],
        "call/post": ["first", "call/in"],
        "call": ["call/pre", "call/in", "call/post", "first"],
    }
    assert legs_of(made, "call/in/x")[0]["name"] == "call / in / x"


def test_what_depends_on_outcomes_through_an_input_is_left_open_and_nothing_else() -> None:
    made = flow(
        f"""
        first: {{{STEPS}}}
        call: {{needs: first, {USES}, with: {{late: '${{{{ needs.first.outputs.v }}}}', early: gpu}}}}
        """,
        library(
            """
            fixed: {runs-on: '${{ inputs.early }}', steps: [{run: x}]}
            open: {runs-on: '${{ inputs.LATE }}', steps: [{run: x}]}
            all: {runs-on: "${{ fromJSON(toJSON(inputs)).late }}", steps: [{run: x}]}
            """,
            "inputs: {late: {type: string}, early: {type: string}}",
        ),
    )
    assert legs_of(made, "call/fixed")[0]["labels"] == ["gpu"]
    assert legs_of(made, "call/open") is None
    assert legs_of(made, "call/all") is None
    needs: Needs = {"first": outcome(v="Big")}
    assert made.expand("call/open", needs)[0]["labels"] == ["big"]
    assert made.expand("call/all", needs)[0]["labels"] == ["big"]


def test_a_file_of_another_repository_calls_its_neighbours_there() -> None:
    assert called_key("./.github/workflows/a.yml") == ".github/workflows/a.yml"
    assert called_key("o/r/.github/workflows/a.yml@v1") == "o/r/.github/workflows/a.yml@v1"
    assert called_key("./.github/workflows/b.yml", "o/r/.github/workflows/a.yml@v1/x") == (
        "o/r/.github/workflows/b.yml@v1/x"
    )
    remote = "o/r/.github/workflows/a.yml@v1"
    called = {
        remote: library("in: {uses: ./.github/workflows/b.yml}\n"),
        "o/r/.github/workflows/b.yml@v1": library(f"x: {{{STEPS}}}\n"),
    }
    made = Flow(main(f"call: {{uses: {remote}}}\n"), RunFacts(), called)
    assert list(made.layout.jobs) == ["call/in/x", "call/in", "call"]


# -- what does not fit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "call", "message"),
    [
        ("", "inputs: {a: {type: string, required: true}}", "Input a is required, but not provided while calling"),
        (", with: {b: 1}", "inputs: {a: {type: string}}", "Invalid input, b is not defined"),
        (", with: {a: 'yes'}", "inputs: {a: {type: boolean}}", "Unexpected value 'yes'"),
        (", with: {a: 'true'}", "inputs: {a: {type: boolean}}", "Unexpected value 'true'"),
        (", with: {a: '${{ github.nope }}'}", "inputs: {a: {type: boolean}}", "Unexpected value ''"),
        (", with: {a: '3'}", "inputs: {a: {type: number}}", "Unexpected value '3'"),
        (", with: {a: '${{ github.event }}'}", "inputs: {a: {type: string}}", "Unexpected value ''"),
        (
            "",
            "inputs: {a: {type: number, default: '${{ github.ref }}'}}",
            "lib.yml: .*value 'refs/heads/main'",
        ),
        ("", "secrets: {s: {required: true}}", "Secret s is required, but not provided while calling"),
        (", secrets: {t: x}", "secrets: {s: {required: false}}", "Invalid secret, t is not defined"),
    ],
)
def test_a_call_that_the_file_does_not_take_is_an_error(caller: str, call: str, message: str) -> None:
    with pytest.raises(InvalidWorkflow, match=message):
        flow(f"call: {{{USES}{caller}}}\n", library(f"a: {{{STEPS}}}\n", call))


def test_all_that_is_wrong_with_calls_is_told_at_once_each_at_its_place() -> None:
    spec = """
    inputs: {a: {type: string, required: true}, n: {type: number}, b: {type: boolean}, d: {type: number, default: x}}
    secrets: {s: {required: true}, t: {}}
    """.replace("default: x", "default: '${{ github.ref }}'")
    with pytest.raises(InvalidWorkflow, match=r"^line 4, column 3: Input a is required.* \(and 7 more\)$") as caught:
        flow(
            f"""
            one:
              strategy: {{matrix: {{k: [1, 2]}}}}
              {USES}
              with:
                n: few
                b: 'yes'
                c: 1
              secrets:
                u: x
            two:
              uses: ./nowhere.yml
            """,
            library(f"a: {{{STEPS}}}\n", spec),
        )
    assert [(one["line"], one["column"], str(one["message"])[:40]) for one in caught.value.diagnostics] == [
        (4, 3, "Input a is required, but not provided wh"),
        (4, 3, "Secret s is required, but not provided w"),
        (4, 3, f"{PATH}:4:115: Unexpected"[:40]),
        (8, 10, "Unexpected value 'few' for the input 'n'"),
        (9, 10, "Unexpected value 'yes' for the input 'b'"),
        (10, 7, "Invalid input, c is not defined in the r"),
        (12, 7, "Invalid secret, u is not defined in the "),
        (13, 3, "The job 'two' calls 'nowhere.yml', which"),
    ]


def test_what_is_wrong_in_a_called_file_stands_where_it_is_called() -> None:
    with pytest.raises(InvalidWorkflow) as caught:
        flow(f"call: {{{USES}}}\n", "on: workflow_call\njobs: {a: {runs-on: x}, bbbb: {}}\n")
    assert [(one["line"], str(one["message"])[:40]) for one in caught.value.diagnostics] == [
        (3, f"{PATH}:2:8: No steps defined"[:40]),
        (3, f"{PATH}:2:31: There's not enough"[:40]),
    ]


def test_a_file_that_is_not_there_or_not_to_be_called_is_an_error() -> None:
    with pytest.raises(InvalidWorkflow, match=r"'\.github/workflows/lib\.yml', which is not there") as caught:
        flow(f"call: {{{USES}}}\n")
    assert caught.value.diagnostics[0]["line"] == 3
    with pytest.raises(InvalidWorkflow, match="workflow_call key is not defined"):
        flow(f"call: {{{USES}}}\n", f"on: push\njobs: {{a: {{{STEPS}}}}}\n")
    with pytest.raises(InvalidWorkflow, match=r"lib.yml:2:8: .*steps"):
        flow(f"call: {{{USES}}}\n", "on: workflow_call\njobs: {a: {runs-on: x}}\n")


def test_a_matrix_of_a_call_that_depends_on_outcomes_is_an_error_that_says_so() -> None:
    jobs = f"""
    first: {{{STEPS}}}
    call: {{needs: first, {USES}, strategy: {{matrix: {{v: '${{{{ fromJSON(needs.first.outputs.v) }}}}'}}}}}}
    """
    with pytest.raises(InvalidWorkflow, match="matrix of the job 'call', which calls a workflow, depends on"):
        flow(jobs, library(f"a: {{{STEPS}}}\n"))


def test_files_in_a_circle_are_an_error() -> None:
    again = library(f"in: {{{USES}}}\n")
    with pytest.raises(InvalidWorkflow, match="calls itself"):
        flow(f"call: {{{USES}}}\n", again)
    with pytest.raises(InvalidWorkflow, match="calls itself"):
        flow(f"call: {{{USES}}}\n", library("in: {uses: ./lib2.yml}\n"), again)
    with pytest.raises(InvalidWorkflow, match="calls itself"):
        flow(f"call: {{{USES}}}\n", again, workflow_path=PATH)


@pytest.mark.parametrize(("files", "fits"), [(9, True), (10, False)])
def test_ten_files_may_call_each_other_in_a_row(files: int, fits: bool) -> None:
    texts = [library(f"in: {{uses: ./lib{number + 2}.yml}}\n") for number in range(files - 1)]
    texts.append(library(f"end: {{{STEPS}}}\n"))
    if fits:
        assert len(flow(f"call: {{{USES}}}\n", *texts).layout.jobs) == 10
    else:
        with pytest.raises(InvalidWorkflow, match="depth exceeded 10"):
            flow(f"call: {{{USES}}}\n", *texts)


def test_calls_that_multiply_are_bounded() -> None:
    wide = "strategy: {matrix: {a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]}}"
    texts = [library(f"in: {{{wide}, uses: ./lib{number + 2}.yml}}\n") for number in range(6)]
    with pytest.raises(InvalidWorkflow, match="more than 1024 jobs"):
        flow(f"call: {{{wide}, {USES}}}\n", *texts, library(f"end: {{{STEPS}}}\n"))


# -- what a called job is given -------------------------------------------------------------------------------------

ECHO = library(
    """
    job:
      runs-on: x
      env: {V: "${{ toJSON(inputs) }}"}
      steps: [{run: x}]
    """,
    """
    inputs:
      text: {type: string, default: "${{ github.ref_name }}"}
      flag: {type: boolean}
      count: {type: number}
    secrets: {Token: {required: false}}
    """,
)


def given(made: Flow, job: str, needs: Needs | None = None, secrets: dict[str, str] | None = None) -> Any:
    root = made.layout.jobs[job].frame
    while root.parent is not None:
        root = root.parent
    called = made.layout._called
    return resolve_job(root.workflow, job, made.layout.facts, needs or {}, secrets=secrets, called=called)


def test_inputs_are_typed_and_have_defaults_by_type() -> None:
    made = flow(
        f"""
        plain: {{{USES}}}
        full: {{{USES}, with: {{TEXT: 1.50, Flag: '${{{{ true }}}}', count: '${{{{ fromJSON(3) }}}}'}}}}
        """,
        ECHO,
    )
    assert given(made, "plain/job").contexts["inputs"] == {"text": "main", "flag": False, "count": 0}
    assert given(made, "full/job").contexts["inputs"] == {"text": "1.5", "flag": True, "count": 3}


def test_inputs_come_from_outcomes_and_the_matrix_of_the_caller() -> None:
    made = flow(
        f"""
        first: {{{STEPS}}}
        call:
          needs: first
          strategy: {{matrix: {{v: [a, b]}}}}
          with: {{text: "${{{{ needs.first.outputs.o }}}}-${{{{ matrix.v }}}}-${{{{ strategy.job-index }}}}"}}
          {USES}
        """,
        ECHO,
    )
    resolved = given(made, "call (b)/job", {"first": outcome(o="done")})
    assert resolved.contexts["inputs"]["text"] == "done-b-1"
    assert resolved.contexts["matrix"] is None
    assert resolved.contexts["needs"] == {}


def test_github_is_the_callers_and_env_and_defaults_are_the_called_files_own() -> None:
    called = "env: {A: called}\n" + ECHO
    workflow = main(f"call: {{{USES}}}\n", "on: push\nenv: {A: caller, B: caller}\n")
    facts = RunFacts(event="push", payload={"x": 1}, workflow_name="Caller")
    resolved = resolve_job(workflow, "call/job", facts, {}, called={PATH: called})
    github = resolved.contexts["github"]
    assert isinstance(github, dict)
    assert (github["workflow"], github["event"], github["event_name"]) == ("Caller", {"x": 1}, "push")
    assert resolved.env()["A"] == "called"
    assert "B" not in resolved.env()


def test_needs_of_a_called_job_are_those_of_its_own_file() -> None:
    made = flow(f"a: {{{STEPS}}}\ncall: {{needs: a, {USES}}}\n", library(f"a: {{{STEPS}}}\nb: {{needs: a, {STEPS}}}\n"))
    resolved = given(made, "call/b", {"a": outcome(o="outer"), "call/a": outcome(o="inner")})
    assert resolved.contexts["needs"] == {"a": {"result": "success", "outputs": {"o": "inner"}}}


def test_secrets_are_those_that_are_passed_or_all_that_are_inherited() -> None:
    secrets = {"ONE": "1", "TWO": "2"}
    made = flow(
        f"""
        none: {{{USES}}}
        some: {{{USES}, secrets: {{token: '${{{{ secrets.one }}}}'}}}}
        all: {{{USES}, secrets: inherit}}
        """,
        ECHO,
    )
    assert given(made, "none/job", secrets=secrets).contexts["secrets"] == {}
    assert given(made, "some/job", secrets=secrets).contexts["secrets"] == {"Token": "1"}
    assert given(made, "all/job", secrets=secrets).contexts["secrets"] == secrets


def test_secrets_go_one_file_further_only_if_passed_on() -> None:
    outer = library("a: {uses: ./lib2.yml}\nb: {uses: ./lib2.yml, secrets: inherit}\n", "secrets: {t: {}}")
    made = flow(f"call: {{{USES}, secrets: {{t: '${{{{ secrets.one }}}}'}}}}\n", outer, ECHO)
    assert given(made, "call/a/job", secrets={"ONE": "1"}).contexts["secrets"] == {}
    assert given(made, "call/b/job", secrets={"ONE": "1"}).contexts["secrets"] == {"t": "1"}


# -- which jobs run, and what comes of a call -----------------------------------------------------------------------


def test_a_caller_that_does_not_run_skips_all_that_it_calls() -> None:
    made = flow(
        f"""
        first: {{{STEPS}}}
        never: {{if: false, {USES}}}
        after: {{needs: first, {USES}}}
        always: {{needs: first, if: always(), {USES}}}
        """,
        library(f"a: {{{STEPS}}}\nb: {{if: always(), {STEPS}}}\nc: {{if: failure(), {STEPS}}}\n"),
    )
    failed: Needs = {"first": outcome("failure")}
    above = {"first": "failure"}
    assert not made.should_run("never/b", {}, {}, cancelled=False)
    assert not made.should_run("after/b", failed, above, cancelled=False)
    assert made.should_run("after/b", {"first": outcome()}, {"first": "success"}, cancelled=False)
    # Within the called file success() and failure() look at its own jobs.
    assert made.should_run("always/a", failed, above, cancelled=False)
    assert not made.should_run("always/c", failed, above, cancelled=False)


def test_a_job_after_a_call_looks_at_the_call_and_not_into_it() -> None:
    made = flow(
        f"call: {{{USES}}}\nlast: {{needs: call, {STEPS}}}\n", library(f"a: {{{STEPS}}}\nb: {{if: false, {STEPS}}}\n")
    )
    above = {"call/a": "success", "call/b": "skipped", "call": "success"}
    assert made.should_run("last", {"call": outcome()}, above, cancelled=False)


@pytest.mark.parametrize(
    ("results", "joint"),
    [
        (("success", "success"), "success"),
        (("success", "skipped"), "success"),
        (("skipped", "skipped"), "skipped"),
        (("cancelled", "success"), "cancelled"),
        (("cancelled", "failure"), "failure"),
    ],
)
def test_the_result_of_a_call_is_the_joint_one_of_its_jobs(results: tuple[str, str], joint: str) -> None:
    made = flow(f"call: {{{USES}}}\n", library(f"a: {{{STEPS}}}\nb: {{{STEPS}}}\n"))
    needs: Needs = {"call/a": outcome(results[0]), "call/b": outcome(results[1])}
    finish = made.finish("call", needs)
    assert finish is not None
    assert finish.conclusion == joint
    assert made.finish("call/a", {}) is None


GIVES = library(
    f"a: {{{STEPS}}}\n",
    """
    inputs: {v: {type: string}}
    outputs:
      out: {value: "${{ jobs.a.outputs.o }}"}
      all: {value: "${{ inputs.v }}/${{ jobs.A.result }}/${{ github.ref_name }}"}
    """,
)


def test_outputs_of_a_call_are_made_of_its_jobs() -> None:
    made = flow(f"call: {{{USES}, with: {{v: x}}}}\n", GIVES)
    finish = made.finish("call", {"call/a": outcome(o="deep")})
    assert finish is not None
    assert finish.outputs == {"out": "deep", "all": "x/success/main"}
    skipped = made.finish("call", {"call/a": outcome("skipped")})
    assert skipped is not None
    assert skipped.outputs == {}


def test_of_a_matrix_of_calls_the_last_to_end_with_a_value_gives_the_output() -> None:
    made = flow(f"call: {{strategy: {{matrix: {{v: [1, 2, 3]}}}}, {USES}}}\n", GIVES)
    legs: Needs = {
        "call (3)/a": outcome(o="third"),
        "call (1)/a": outcome(o="first"),
        "call (2)/a": outcome(),
    }
    finish = made.finish("call", legs)
    assert finish is not None
    assert finish.outputs["out"] == "first"


def test_a_run_is_laid_out_alike_whoever_asks() -> None:
    jobs = f"call: {{strategy: {{matrix: {{v: ['${{{{ github.run_id }}}}']}}}}, {USES}}}\n"
    known = [flow(jobs, ECHO, run_id=run, attempt=attempt) for run, attempt in (("0", 1), ("bafy", 3))]
    assert list(known[0].layout.jobs) == list(known[1].layout.jobs)
