"""actions/checkout as a step of a job: from a real source manifest in a real blob store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio

from p2pwf.core.ids import Cid
from p2pwf.runner import read_log, run_job
from p2pwf.runner.source import snapshot
from p2pwf.store.blobs import BlobStore
from tests.runner.kit import Bench, Ran, make_request, workflow


@attrs.frozen
class Source:
    blobs: BlobStore
    manifest: Cid

    async def fetch(self, cid: Cid) -> Path:
        return self.blobs.path(cid)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "ci.yml").write_text("on: push")
    (tree / "sub" / "hello.sh").write_text("echo hello from the source\n")
    (tree / "sub" / "hello.sh").chmod(0o755)
    blobs = BlobStore(tmp_path / "blobs", 10**9)
    taken = snapshot(tree / "ci.yml", tree, no_source=False, blobs=blobs)
    assert taken is not None
    return Source(blobs, taken.manifest)


async def run(bench: Bench, source: Source | None, steps: str) -> Ran:
    request = attrs.evolve(
        make_request(workflow(steps), facts={"sha": "a" * 40, "ref": "refs/heads/main", "repository": "me/tool"}),
        source=source.manifest if source else None,
    )
    with closing(bench.new_log()) as log:
        env = bench.env(log)
        if source:
            env = attrs.evolve(env, fetch_blob=source.fetch)
        result = await run_job(request, env)
    return Ran(result, tuple(read_log(log.path)), bench.root)


async def test_checkout_lays_the_source_out_in_the_workspace(bench: Bench, source: Source) -> None:
    ran = await run(
        bench,
        source,
        """
        - run: ls | wc -l
        - {id: co, uses: actions/checkout@v4, with: {fetch-depth: 0}}
        - run: sub/hello.sh; echo "${{ steps.co.outputs.commit }} ${{ steps.co.outputs.ref }}"
        """,
    )
    assert ran.text(1) == "0"
    assert ran.text(3).splitlines() == ["hello from the source", "a" * 40 + " refs/heads/main"]
    assert ran.result.steps[1].name == "Run actions/checkout@v4"


async def test_checkout_cleans_up_and_takes_a_path(bench: Bench, source: Source) -> None:
    ran = await run(
        bench,
        source,
        """
        - run: mkdir -p a/b; touch a/old a/b/old; ln -s /etc a/link
        - {uses: Actions/Checkout@main, with: {path: a}}
        - run: find a -path a/.git -prune -o -type f -print -o -type l -print | sort; ls /etc/passwd
        """,
    )
    assert ran.text(3).splitlines() == ["a/ci.yml", "a/sub/hello.sh", "/etc/passwd"]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("{path: ../../../out}", "outside of the workspace"),
        ("{path: /tmp/out}", "outside of the workspace"),
        ("{path: link/out}", "outside of the workspace"),
        ("{repository: you/other}", "of another repository: you/other"),
        ("{ref: v9}", "of another ref: v9"),
    ],
)
async def test_checkout_refuses_what_it_cannot_or_must_not_do(
    bench: Bench, source: Source, inputs: str, said: str
) -> None:
    ran = await run(bench, source, f"- run: ln -s /tmp link\n- {{uses: actions/checkout@v4, with: {inputs}}}")
    assert ran.outcomes() == ["success", "failure"]
    assert said in ran.result.annotations[0].message
    assert not await trio.Path("/tmp/out").exists()  # noqa: S108 - that nothing is there is the point


async def test_checkout_without_a_source_says_so(bench: Bench) -> None:
    ran = await run(bench, None, "- uses: actions/checkout@v4")
    assert "this run has no source to check out" in ran.result.annotations[0].message


async def test_another_action_fails_with_its_name(bench: Bench) -> None:
    ran = await run(bench, None, "- uses: someone/thing@v1")
    assert "someone/thing@v1" in ran.result.annotations[0].message
