"""actions/checkout as a step of a job: from a real source manifest in a real blob store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio

from p2pwf.core.ids import Cid
from p2pwf.runner import read_log, run_job
from p2pwf.runner.source import snapshot
from p2pwf.store.blobs import BlobStore
from p2pwf.workflow import Value
from tests.runner.kit import Bench, Ran, make_request, workflow
from tests.runner.native import Place


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


@pytest.mark.parametrize(
    ("inputs", "warned"), [("{fetch-depth: 0}", 1), ("{ref: main}", 1), ("{fetch-depth: 1}", 0), ("{path: .}", 0)]
)
async def test_who_expects_other_commits_is_warned_that_there_are_none(
    bench: Bench, source: Source, inputs: str, warned: int
) -> None:
    ran = await run(bench, source, f"- {{uses: actions/checkout@v4, with: {inputs}}}")
    assert ran.outcomes() == ["success"]
    said = [one.message for one in ran.result.annotations if "HEAD is not GITHUB_SHA" in one.message]
    assert len(said) == warned


async def test_checkout_without_a_source_says_so(bench: Bench) -> None:
    ran = await run(bench, None, "- uses: actions/checkout@v4")
    assert "this run has no source to check out" in ran.result.annotations[0].message


async def test_another_action_fails_with_its_name(bench: Bench) -> None:
    ran = await run(bench, None, "- uses: someone/thing@v1")
    assert "someone/thing@v1" in ran.result.annotations[0].message


PUSHED: Mapping[str, Value] = {
    "head_commit": {
        "message": "Add a greeting\n\nIt says hello.",
        "timestamp": "2020-02-03T04:05:06+01:00",
        "author": {"name": "Ada <x>", "email": "ada@example.org"},
        "committer": {"name": "Bob", "email": "bob@example.org"},
    }
}
FILES = {"a.txt": "a", ".gitignore": "*.log\n", "kept.log": "kept", "sub/b.txt": "b", "sub/deep/c.txt": "c"}


async def test_git_works_in_what_was_checked_out(bench: Bench) -> None:
    ran = await Place.at(bench).run(
        """
        - uses: actions/checkout@v5
        - run: |
            git status --porcelain; git ls-files | wc -l; git rev-parse --abbrev-ref HEAD origin/main
            git log --format='%an %ae %cn %cI %s'; git remote get-url origin; git rev-parse --is-shallow-repository
            echo new > a.txt; git diff --stat | tail -1; git fsck --strict
            git -c user.name=x -c user.email=x@y commit -qam more; git rev-list --count HEAD
        """,
        source=FILES,
        facts={"payload": PUSHED},
    )
    assert ran.text(2).splitlines() == [
        *("5", "main", "origin/main"),
        "Ada x ada@example.org Bob 2020-02-03T04:05:06+01:00 Add a greeting",
        *("https://github.com/me/tool", "false"),
        *(" 1 file changed, 1 insertion(+), 1 deletion(-)", "2"),
    ]


@pytest.mark.parametrize(
    ("ref", "head"),
    [
        ("refs/tags/v1", "HEAD v1"),
        ("refs/pull/7/merge", "HEAD "),
        ("refs/heads/../../../x", "HEAD "),
        ("HEAD", "HEAD "),
    ],
)
async def test_other_refs_than_branches_leave_no_branch(bench: Bench, ref: str, head: str) -> None:
    ran = await Place.at(bench).run(
        "- uses: actions/checkout@v4\n- run: echo $(git rev-parse --abbrev-ref HEAD) $(git tag)",
        source=FILES,
        facts={"ref": ref},
    )
    assert ran.text(2).strip() == head.strip()


async def test_settings_of_the_workspace_have_no_say_in_how_git_runs_here(bench: Bench) -> None:
    mark = bench.root / "ran"
    ran = await Place.at(bench).run(
        f"""
        - run: |
            git init -q .; git config core.fsmonitor 'touch {mark}'; git config filter.x.clean 'touch {mark}; cat'
            echo '* filter=x' > .git/info/attributes; mkdir -p .git/hooks; echo 'touch {mark}' > .git/hooks/post-commit
            chmod +x .git/hooks/post-commit; echo "GIT_DIR=$PWD/.git" >> $GITHUB_ENV; rm -f {mark}
        - {{uses: actions/checkout@v4, with: {{clean: false}}}}
        - run: unset GIT_DIR; git config filter.x.clean || git status --porcelain
        """,
        source={**FILES, ".gitattributes": "* filter=x\n"},
    )
    assert ran.outcomes() == ["success"] * 3
    assert ran.text(3) == ""
    assert not mark.exists()


async def test_without_git_the_source_comes_all_the_same(bench: Bench) -> None:
    place = Place.at(bench)
    (bench.root / "bin").mkdir()
    for name in ("bash", "ls"):
        (bench.root / "bin" / name).symlink_to(f"/bin/{name}")
    ran = await place.run(
        "- uses: actions/checkout@v4\n- run: ls -A",
        source={"a.txt": "a"},
        base={**place.base(), "PATH": str(bench.root / "bin")},
    )
    assert ran.text(2) == "a.txt"
    assert "There is no git on PATH, so the source is no git repository" in ran.said()


@pytest.mark.parametrize(("clean", "left"), [("true", []), ("false", ["mine"])])
async def test_clean_takes_out_what_was_there_unless_it_is_false(bench: Bench, clean: str, left: list[str]) -> None:
    ran = await Place.at(bench).run(
        f"- run: touch mine\n- {{uses: actions/checkout@v4, with: {{clean: {clean}}}}}\n- run: ls; git ls-files mine",
        source={"a.txt": "a"},
    )
    assert ran.text(3).splitlines() == ["a.txt", *left]


@pytest.mark.parametrize("ref", ["main", "refs/heads/main", "a" * 40, "aaaaaaa", "feature", "b" * 40, "''"])
async def test_refs_of_the_source_are_fine(bench: Bench, ref: str) -> None:
    pull: Mapping[str, Value] = {"pull_request": {"head": {"ref": "feature", "sha": "b" * 40}}}
    ran = await Place.at(bench).run(
        f"- {{id: c, uses: actions/checkout@v4, with: {{ref: {ref}}}}}\n- run: echo ${{{{ steps.c.outputs.commit }}}}",
        source=FILES,
        facts={"payload": pull},
    )
    assert ran.text(2) == "a" * 40


async def test_what_asks_for_history_or_rights_is_accepted(bench: Bench) -> None:
    ran = await Place.at(bench).run(
        """
        - uses: actions/checkout@v4
          with:
            repository: Me/Tool
            fetch-depth: 0
            fetch-tags: true
            submodules: recursive
            lfs: true
            token: t
            ssh-key: k
            ssh-known-hosts: h
            ssh-strict: true
            persist-credentials: false
            set-safe-directory: true
            github-server-url: https://example.org
        - run: ls
        """,
        source={"a.txt": "a"},
    )
    assert ran.outcomes() == ["success", "success"]
    assert any("Submodules are in the source" in line for line in ran.said())


async def test_pointers_of_large_files_are_noticed(bench: Bench) -> None:
    ran = await Place.at(bench).run(
        "- {uses: actions/checkout@v4, with: {lfs: true}}",
        source={"big.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n"},
    )
    assert "pointers of Git LFS" in ran.messages()[0]


@pytest.mark.parametrize(
    ("inputs", "files"),
    [
        ("sparse-checkout: sub", [".gitignore", "a.txt", "kept.log", "sub/b.txt", "sub/deep/c.txt"]),
        ("sparse-checkout: sub/deep", [".gitignore", "a.txt", "kept.log", "sub/b.txt", "sub/deep/c.txt"]),
        ("sparse-checkout: nothing", [".gitignore", "a.txt", "kept.log"]),
        ("{sparse-checkout: 'sub', sparse-checkout-cone-mode: false}", ["sub/b.txt", "sub/deep/c.txt"]),
        ("{sparse-checkout: '*.txt', sparse-checkout-cone-mode: false}", ["a.txt", "sub/b.txt", "sub/deep/c.txt"]),
        ('{sparse-checkout: "/*\\n!/sub/", sparse-checkout-cone-mode: false}', [".gitignore", "a.txt", "kept.log"]),
        ("{sparse-checkout: 'sub/**/c.txt', sparse-checkout-cone-mode: false}", ["sub/deep/c.txt"]),
        ("{sparse-checkout: 'sub/**', sparse-checkout-cone-mode: false}", ["sub/b.txt", "sub/deep/c.txt"]),
    ],
)
async def test_a_sparse_checkout_lays_out_less(bench: Bench, inputs: str, files: list[str]) -> None:
    inputs = inputs if inputs.startswith("{") else f"{{{inputs}}}"
    ran = await Place.at(bench).run(
        f"- {{uses: actions/checkout@v4, with: {inputs}}}\n- run: git ls-files; git status --porcelain", source=FILES
    )
    assert ran.text(2).splitlines() == files


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("{fetch-depth: all}", "fetch-depth is no number"),
        ("{submodules: some}", "the input 'submodules' cannot be: some"),
        ("{clean: perhaps}", "the input 'clean' is no boolean"),
    ],
)
async def test_inputs_that_cannot_be(bench: Bench, inputs: str, said: str) -> None:
    ran = await Place.at(bench).run(f"- {{uses: actions/checkout@v4, with: {inputs}}}", source=FILES)
    assert said in ran.messages()[0]


async def test_git_works_in_a_tree_of_many_files(bench: Bench) -> None:
    files = {f"d{number % 7}/f{number}": f"{number}\n" for number in range(60)}
    ran = await Place.at(bench).run(
        """
        - uses: actions/checkout@v4
        - run: git status --porcelain; git fsck --strict; git show HEAD:d3/f3; git ls-files | wc -l
        """,
        source={**files, "empty": "", ".gitattributes": "* text=auto\n", "dos.txt": "a\r\nb\r\n"},
    )
    assert ran.text(2).splitlines() == ["3", "63"]
