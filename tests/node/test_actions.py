"""What a submission brings along: actions and workflows of other repositories, pinned from real git repositories."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest

from p2pwf.core.ids import Cid
from p2pwf.errors import InvalidWorkflow, NotFound, P2pwfError, TryAgain, UsageError
from p2pwf.node import actions, repositories
from p2pwf.node.actions import Library, source_reader
from p2pwf.node.repositories import Repositories
from p2pwf.node.submission import SourceFacts, Wanted, make_body
from p2pwf.oneshot.blobs import FolderBlobs
from p2pwf.runner.manifest import LINK, PROGRAM, parse
from p2pwf.runner.pack import pack

COMPOSITE = "name: c\nruns: {using: composite, steps: [{run: 'true', shell: bash}]}\n"


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", "-C", str(folder), *settings, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def commit(folder: Path, files: dict[str, str], *tags: str) -> str:
    """Add a commit with these files to the repository at `folder`, made if need be; its sha."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "x")
    for tag in tags:
        git(folder, "tag", "--force", "-a", "-m", "x", tag)
    return git(folder, "rev-parse", "HEAD")


@attrs.frozen
class Bench:
    """A server of repositories, a folder of mirrors, a cache and blobs, all below one folder."""

    root: Path

    @property
    def server(self) -> Path:
        return self.root / "server"

    @property
    def blobs(self) -> FolderBlobs:
        return FolderBlobs(self.root / "blobs")

    def repositories(self, offline: bool = False) -> Repositories:
        mirror = self.root / "mirror"
        return Repositories(
            cache=self.root / "cache",
            mirror=mirror if mirror.exists() else None,
            url=f"file://{self.server}",
            offline=offline,
        )

    def body(self, text: str, source: dict[str, str] | None = None) -> dict[str, object]:
        """The body of a submission of a workflow, with a source of these files."""
        folder = self.root / "source"
        write(folder, source or {})
        folder.mkdir(exist_ok=True)
        manifest = pack(folder, None, self.blobs).link
        library = Library(self.repositories(), source_reader(manifest, self.blobs), self.blobs)
        return make_body(Wanted(text=text.encode(), source=SourceFacts(manifest=manifest), force=True), library)[0]

    def files(self, manifest: Cid) -> dict[str, bytes]:
        listed = parse(self.blobs.path(manifest).read_bytes()).files
        return {file.path: self.blobs.path(file.cid).read_bytes() for file in listed if file.cid is not None}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def steps(*uses: str, head: str = "on: push\n") -> str:
    return head + "jobs:\n  a:\n    runs-on: x\n    steps:\n" + "".join(f"      - uses: {one}\n" for one in uses)


def pins(body: dict[str, object]) -> dict[str, Any]:
    found = body["actions"]
    assert isinstance(found, dict)
    return found


def test_an_action_is_pinned_to_the_commit_of_its_tag_branch_or_sha(bench: Bench) -> None:
    first = commit(bench.server / "o/r", {"action.yml": COMPOSITE, "v": "1"}, "v1")
    second = commit(bench.server / "o/r", {"v": "2"})
    made = pins(bench.body(steps("o/r@v1", "o/r@main", f"o/r/deep@{first}")))
    assert {uses: pin["sha"] for uses, pin in made.items()} == {
        "o/r@v1": first,
        "o/r@main": second,
        f"o/r/deep@{first}": first,
    }
    assert bench.files(made["o/r@v1"]["source"])["v"] == b"1"
    assert bench.files(made["o/r@main"]["source"])["v"] == b"2"
    assert made[f"o/r/deep@{first}"]["source"] == made["o/r@v1"]["source"]


def test_a_tag_that_moved_is_asked_for_anew(bench: Bench) -> None:
    commit(bench.server / "o/r", {"action.yml": COMPOSITE}, "v1")
    bench.body(steps("o/r@v1"))
    moved = commit(bench.server / "o/r", {"v": "2"}, "v1")
    assert pins(bench.body(steps("o/r@v1")))["o/r@v1"]["sha"] == moved


def test_what_was_fetched_once_needs_no_server_again(bench: Bench) -> None:
    sha = commit(bench.server / "o/r", {"action.yml": COMPOSITE}, "v1")
    bench.body(steps("o/r@v1"))
    bench.server.rename(bench.root / "gone")
    for head in ("on: push\n", "on: push\nlabels: offline-workflow\n"):
        assert pins(bench.body(steps("o/r@v1", head=head)))["o/r@v1"]["sha"] == sha


def test_programs_and_links_travel_and_what_archives_leave_out_does_not(bench: Bench) -> None:
    folder = bench.server / "o/r"
    folder.mkdir(parents=True)
    write(folder, {"run.sh": "x", "secret": "x", ".gitattributes": "secret export-ignore\n"})
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    commit(folder, {"action.yml": COMPOSITE}, "v1")
    manifest = pins(bench.body(steps("o/r@v1")))["o/r@v1"]["source"]
    files = {file.path: file for file in parse(bench.blobs.path(manifest).read_bytes()).files}
    assert "secret" not in files
    assert files["run.sh"].mode == PROGRAM
    assert (files["link"].mode, files["link"].target) == (LINK, "run.sh")


def test_the_mirror_comes_first_in_each_of_its_forms(bench: Bench) -> None:
    mirror = bench.root / "mirror"
    write(mirror / "o/plain@v1", {"action.yml": COMPOSITE, "v": "plain"})
    tree = commit(mirror / "o/tree", {"action.yml": COMPOSITE}, "v1")
    git(mirror / "o", "clone", "--quiet", "--bare", "tree", "bare.git")
    made = pins(bench.body(steps("o/plain@v1", "o/tree@v1", "O/Bare@main")))
    assert bench.files(made["o/plain@v1"]["source"])["v"] == b"plain"
    assert [pin["sha"] for pin in made.values()] == ["0" * 40, tree, tree]


def test_composite_actions_bring_along_what_they_use_local_ones_too(bench: Bench) -> None:
    inner = "runs: {using: composite, steps: [{uses: o/inner/sub@v1}, {uses: 'actions/cache@v4'}]}\n"
    commit(bench.server / "o/outer", {"a/action.yaml": inner}, "v1")
    deep = "runs: {using: composite, steps: [{uses: 'o/last@v1'}, {uses: o/outer/a@v1}]}\n"
    commit(bench.server / "o/inner", {"sub/action.yml": deep}, "v1")
    commit(bench.server / "o/last", {"action.yml": COMPOSITE}, "v1")
    local = "runs: {using: composite, steps: [{uses: 'o/outer/a@v1'}]}\n"
    made = pins(bench.body(steps("./tools/local"), {"tools/local/action.yml": local}))
    assert list(made) == ["o/outer/a@v1", "o/inner/sub@v1", "o/last@v1"]


def test_what_the_runner_does_itself_and_images_need_no_pin(bench: Bench) -> None:
    uses = ("actions/checkout@v4", "Actions/Cache/Restore@v3", "actions/setup-node@main", "docker://alpine:3")
    assert bench.body(steps(*uses))["actions"] == {}


def test_actions_of_called_workflows_are_pinned_and_the_files_travel(bench: Bench) -> None:
    sha = commit(bench.server / "o/r", {"action.yml": COMPOSITE}, "v1")
    far = "on: workflow_call\njobs: {x: {uses: ./.github/workflows/near.yml}}\n"
    near = steps("o/r@v1", head="on: workflow_call\n")
    commit(bench.server / "o/flows", {".github/workflows/far.yml": far, ".github/workflows/near.yml": near}, "v2")
    text = "on: push\njobs: {a: {uses: ./lib.yml}, b: {uses: o/flows/.github/workflows/far.yml@v2}}\n"
    body = bench.body(text, {"lib.yml": steps("o/r@v1", head="on: workflow_call\n")})
    assert body["called"] == {
        "lib.yml": steps("o/r@v1", head="on: workflow_call\n"),
        "o/flows/.github/workflows/far.yml@v2": far,
        "o/flows/.github/workflows/near.yml@v2": near,
    }
    assert pins(body)["o/r@v1"]["sha"] == sha
    plan: Any = body["plan"]
    assert [job["id"] for job in plan["jobs"]] == ["a/a", "a", "b/x/a", "b/x", "b"]


def call(uses: str, head: str = "on: push\n") -> str:
    return f"{head}jobs: {{b: {{uses: {uses}}}}}\n"


FLOWS = "o/flows/.github/workflows"
CALLED = "on: workflow_call\n"


def test_a_called_workflow_is_what_the_ref_is_when_it_is_submitted(bench: Bench) -> None:
    first = steps("actions/checkout@v4", head=CALLED)
    commit(bench.server / "o/flows", {".github/workflows/a.yml": first}, "v1")
    assert bench.body(call(f"{FLOWS}/a.yml@v1"))["called"] == {f"{FLOWS}/a.yml@v1": first}
    moved = steps("actions/checkout@v5", head=CALLED)
    sha = commit(bench.server / "o/flows", {".github/workflows/a.yml": moved}, "v1")
    for ref in ("v1", "main", sha):
        assert bench.body(call(f"{FLOWS}/a.yml@{ref}"))["called"] == {f"{FLOWS}/a.yml@{ref}": moved}
    bench.server.rename(bench.root / "gone")
    offline = call(f"{FLOWS}/a.yml@v1", head="on: push\nlabels: offline-workflow\n")
    assert bench.body(offline)["called"] == {f"{FLOWS}/a.yml@v1": moved}


def test_called_workflows_come_from_the_mirror_in_each_of_its_forms(bench: Bench) -> None:
    text = steps("actions/checkout@v4", head=CALLED)
    near = call("./.github/workflows/a.yml", head=CALLED)
    write(bench.root / "mirror/o/plain@v1/.github/workflows", {"a.yml": text, "near.yml": near})
    commit(bench.root / "mirror/o/tree", {".github/workflows/a.yml": text}, "v1")
    jobs = "b: {uses: o/plain/.github/workflows/near.yml@v1}, c: {uses: O/Tree/.github/workflows/a.yml@v1}"
    body = bench.body(f"on: push\njobs: {{{jobs}}}\n")
    assert list(body["called"]) == [  # type: ignore[call-overload]
        "o/plain/.github/workflows/near.yml@v1",
        "o/plain/.github/workflows/a.yml@v1",
        "O/Tree/.github/workflows/a.yml@v1",
    ]


def test_a_file_of_another_repository_never_reads_the_source(bench: Bench) -> None:
    commit(bench.server / "o/flows", {".github/workflows/a.yml": call("./.github/workflows/b.yml", head=CALLED)}, "v1")
    mine = {".github/workflows/b.yml": steps("actions/checkout@v4", head=CALLED)}
    with pytest.raises(InvalidWorkflow, match=rf"^{FLOWS}/a.yml@v1: .*calls '{FLOWS}/b.yml@v1', which is not there"):
        bench.body(call(f"{FLOWS}/a.yml@v1"), mine)


@pytest.mark.parametrize(
    ("uses", "kind", "message"),
    [
        (f"{FLOWS}/a.yml@nope", NotFound, r"job 'b' calls '.*@nope': .* has no branch, tag or commit 'nope'"),
        ("o/none/.github/workflows/a.yml@v1", TryAgain, r"job 'b' calls 'o/none/.*': cannot fetch file://"),
        (f"{FLOWS}/none.yml@v1", InvalidWorkflow, "job 'b' calls '.*/none.yml@v1', which is not there"),
        (f"{FLOWS}/push.yml@v1", InvalidWorkflow, "workflow_call key is not defined in the referenced workflow"),
        (f"{FLOWS}/bad.yml@v1", InvalidWorkflow, f"{FLOWS}/bad.yml@v1:2:"),
        (f"{FLOWS}/loop.yml@v1", InvalidWorkflow, "calls itself, directly or not"),
    ],
)
def test_a_called_workflow_that_cannot_be_had_or_run_is_an_error_that_names_it(
    bench: Bench, uses: str, kind: type[P2pwfError], message: str
) -> None:
    files = {
        "push.yml": steps("actions/checkout@v4"),
        "bad.yml": "on: workflow_call\njobs: {x: {runs-on: x}}\n",
        "loop.yml": call("./.github/workflows/loop.yml", head=CALLED),
    }
    commit(bench.server / "o/flows", {f".github/workflows/{name}": text for name, text in files.items()}, "v1")
    with pytest.raises(kind, match=message):
        bench.body(call(uses))


def test_called_workflows_that_are_too_large_together_are_refused_in_words(bench: Bench) -> None:
    text = steps("actions/checkout@v4", head=CALLED) + f"# {'a' * 140_000}\n"
    jobs = "on: push\njobs: {a: {uses: ./a.yml}, b: {uses: ./b.yml}}\n"
    with pytest.raises(InvalidWorkflow, match=r"the 2 workflows that it calls are too large: 28\d,\d+ bytes together"):
        bench.body(jobs, {"a.yml": text, "b.yml": text})


@pytest.mark.parametrize(("files", "fits"), [(9, True), (10, False)])
def test_ten_files_may_call_each_other_wherever_they_are(bench: Bench, files: int, fits: bool) -> None:
    texts = {f"{n}.yml": call(f"./.github/workflows/{n + 1}.yml", head=CALLED) for n in range(1, files)}
    texts[f"{files}.yml"] = steps("actions/checkout@v4", head=CALLED)
    commit(bench.server / "o/flows", {f".github/workflows/{name}": text for name, text in texts.items()}, "v1")
    if fits:
        assert len(bench.body(call(f"{FLOWS}/1.yml@v1"))["called"]) == files  # type: ignore[arg-type]
    else:
        with pytest.raises(InvalidWorkflow, match="depth exceeded 10"):
            bench.body(call(f"{FLOWS}/1.yml@v1"))


@pytest.mark.parametrize(
    ("uses", "kind", "message"),
    [
        ("o/r@nope", NotFound, "has no branch, tag or commit 'nope'"),
        ("o/none@v1", TryAgain, "cannot fetch file://"),
        ("o/r@a..b", UsageError, "no branch, tag or commit can be called"),
        ("../r@v1", UsageError, "no repository can be called"),
        ("o/r@--upload-pack=x", UsageError, "no branch, tag or commit can be called"),
    ],
)
def test_an_action_that_cannot_be_had_is_an_error_that_names_the_step(
    bench: Bench, uses: str, kind: type[P2pwfError], message: str
) -> None:
    commit(bench.server / "o/r", {"action.yml": COMPOSITE}, "v1")
    with pytest.raises(kind, match=message) as caught:
        bench.body(steps("actions/checkout@v4", uses))
    assert f"the step 2 of the job 'a' (line 7) uses '{uses}'" in caught.value.message


def test_an_offline_workflow_fetches_nothing(bench: Bench) -> None:
    commit(bench.server / "o/r", {"action.yml": COMPOSITE}, "v1")
    with pytest.raises(NotFound, match=r"step 1 of the job 'a' .*nothing is fetched for an offline workflow"):
        bench.body(steps("o/r@v1", head="on: push\nlabels: offline-workflow\n"))
    assert not (bench.root / "cache").exists()
    text = "on: push\nlabels: offline-workflow\njobs: {b: {uses: o/flows/.github/workflows/a.yml@v1}}\n"
    with pytest.raises(NotFound, match="the job 'b' calls"):
        bench.body(text)


def test_a_fetch_is_bounded_in_size_and_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = random.Random(1).randbytes(200_000).hex()
    commit(bench.server / "o/large", {"action.yml": COMPOSITE, "noise": noise}, "v1")
    commit(bench.server / "o/small", {"action.yml": COMPOSITE}, "v1")
    monkeypatch.setattr(repositories, "FETCH_BYTES", 50_000)
    assert pins(bench.body(steps("o/small@v1")))
    with pytest.raises(TryAgain, match=r"cannot fetch file://.* at v1"):
        bench.body(steps("o/large@v1"))
    monkeypatch.setattr(actions, "FETCH_SECONDS", 0.0)
    with pytest.raises(TryAgain, match=r"step 1 of the job 'a' .*: fetching actions took over 0 s"):
        bench.body(steps("o/small@v1"))


def test_hooks_and_settings_of_a_repository_run_nothing(bench: Bench) -> None:
    folder = bench.root / "mirror/o/r"
    commit(folder, {"action.yml": COMPOSITE, ".gitattributes": "* filter=evil\n"}, "v1")
    ran = bench.root / "ran"
    git(folder, "config", "filter.evil.smudge", f"touch {ran}")
    git(folder, "config", "core.fsmonitor", f"touch {ran}")
    bench.body(steps("o/r@v1"))
    assert not ran.exists()
