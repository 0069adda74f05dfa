"""What jobs use and leave: actions of the source, background steps, artifacts and caches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from p2pwf.oneshot import shell
from p2pwf.runner import JobRequest, JobResult, LogLine, RunnerEnv
from p2pwf.runner.values import Artifact, Cache
from tests.oneshot.kit import Here


def test_actions_are_found_anywhere_in_the_source(here: Here) -> None:
    here.steps(
        """
        - id: greet
          uses: ./deep/in/the/tree
          with: {who: Ada}
        - run: echo ${{ steps.greet.outputs.said }}
        """
    )
    here.write(
        """
        name: greet
        inputs: {who: {default: nobody}}
        outputs: {said: {value: "${{ steps.s.outputs.said }}"}}
        runs:
          using: composite
          steps:
            - id: s
              shell: bash
              run: echo "said=hello ${{ inputs.who }}" >> $GITHUB_OUTPUT
            - uses: ./other
        """,
        "deep/in/the/tree/action.yml",
    )
    here.write("name: o\nruns: {using: composite, steps: [{run: echo other, shell: sh}]}", "other/action.yml")
    ran = here.run()
    assert ran.printed() == ["other", "hello Ada"]
    assert [one["step"] for one in ran.of("step_finished")] == [1, 2]


def test_steps_in_the_background_keep_their_lines_together_where_they_fail(here: Here) -> None:
    here.steps(
        """
        - {id: bg, run: "echo back; exit 3", background: true, continue-on-error: true}
        - run: echo front
        - wait: bg
        """
    )
    ran = here.run()
    assert {one["step"]: one["outcome"] for one in ran.of("step_finished")}[1] == "failure"
    assert sorted(ran.printed()) == ["back", "front"]


async def leaves_an_artifact(request: JobRequest, env: RunnerEnv) -> JobResult:
    """A runner whose jobs leave an artifact and a cache, and say what they found of the others'."""
    assert env.store_folder is not None
    assert env.artifacts is not None
    assert env.find_cache is not None
    known = [f"{one.name} of {one.job}" for one in await env.artifacts()]
    cache = await env.find_cache((f"key-{request.job_id}", "key-"), "v")
    env.log.write(LogLine(0, 1, "stdout", f"{known} {cache and cache.key}"))
    folder = env.work_root / f"made-{request.job_id}"
    folder.mkdir()
    (folder / "file").write_text(f"by {request.job_id}")
    stored = await env.store_folder(folder, None)
    return JobResult(
        outcome="success",
        conclusion="success",
        artifacts=(Artifact(name=f"out/{request.job_id}", link=stored.link, size=stored.size),),
        caches=(Cache(key=f"key-{request.job_id}", version="v", link=stored.link, size=stored.size),),
    )


def test_artifacts_and_caches_reach_later_jobs_later_runs_and_the_user(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "run_job", leaves_an_artifact)
    here.write(
        """
        on: push
        jobs:
          a: {runs-on: x, steps: [{run: 'true'}]}
          b: {needs: a, runs-on: x, steps: [{run: 'true'}]}
        """
    )
    first = here.run()
    assert first.printed() == ["[] None", "['out/a of a'] key-a"]
    kept = {one["name"]: Path(one["path"]) for one in first.end["artifacts"]}
    assert {name: (path / "file").read_text() for name, path in kept.items()} == {"out/a": "by a", "out/b": "by b"}
    assert all(path.is_relative_to(here.cache) for path in kept.values())
    named = here.run_plain("--artifacts", "here")
    assert "key-a" in named.out  # of the first run
    place = here.root / "here" / "out_a"
    assert (place / "file").read_text() == "by a"
    assert re.search(rf"\n  artifact out/a  {re.escape(str(place))}\n", named.out)


def test_artifacts_that_cannot_be_kept_are_said(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "run_job", leaves_an_artifact)
    here.steps("- run: 'true'")
    here.write("a file", "taken")
    ran = here.run("--artifacts", "taken")
    assert ran.end["artifacts"] == []
    (told,) = ran.of("annotation")
    assert told["message"].startswith("artifacts are not kept: ")
