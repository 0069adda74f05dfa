"""Which files travel with a workflow, on real trees and with the real git."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from p2pwf.errors import Refused, StorageError, UsageError
from p2pwf.runner import gittree, source, sourcetree
from p2pwf.runner.manifest import FILE, LINK, MAX_BYTES, MAX_FILES, PROGRAM, Manifest, parse
from p2pwf.runner.source import Source, origin, snapshot
from p2pwf.store.blobs import BlobStore

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

ZEROS = "0" * 40


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """git as a fresh user would have it."""
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[BlobStore]:
    with closing(BlobStore(tmp_path / "blobs", 10**9)) as store:
        yield store


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    return path


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _workflow(folder: Path) -> Path:
    path = folder / ".github" / "workflows" / "ci.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("on: push\n")
    return path


def _repository(folder: Path) -> Path:
    """A repository with a workflow and a commit; returns the workflow's path."""
    _git(folder, "init", "-q")
    workflow = _workflow(folder)
    _git(folder, "add", "-A")
    _git(folder, "commit", "-qm", "first")
    return workflow


def _taken(file: Path, blobs: BlobStore, named: Path | None = None) -> Source:
    taken = snapshot(file, named, False, blobs)
    assert taken is not None
    return taken


def _manifest(taken: Source, blobs: BlobStore) -> Manifest:
    with blobs.open(taken.manifest) as file:
        return parse(file.read())


def _paths(taken: Source, blobs: BlobStore) -> list[str]:
    return [file.path for file in _manifest(taken, blobs).files]


def test_tracked_files_and_untracked_ones_that_are_not_ignored_travel(tree: Path, blobs: BlobStore) -> None:
    _write(tree, {".gitignore": "build/\n*.log\n", "src/main.py": "print(1)"})
    workflow = _repository(tree)
    _write(tree, {"new.txt": "new", "build/out": "x", "a.log": "x", "src/more.py": "more"})
    taken = _taken(workflow, blobs)
    expected = [".github/workflows/ci.yml", ".gitignore", "new.txt", "src/main.py", "src/more.py"]
    assert _paths(taken, blobs) == expected
    assert (taken.files, taken.left_out) == (5, ())
    assert taken.bytes == sum((tree / name).stat().st_size for name in expected)
    assert (taken.root, taken.rel_workflow_path) == (tree, ".github/workflows/ci.yml")


def test_the_content_is_that_of_the_working_tree_not_of_the_commit(tree: Path, blobs: BlobStore) -> None:
    _write(tree, {"a": "committed", "gone": "x"})
    workflow = _repository(tree)
    (tree / "a").write_text("changed")
    (tree / "gone").unlink()
    manifest = _manifest(_taken(workflow, blobs), blobs)
    file = next(file for file in manifest.files if file.path == "a")
    assert file.cid is not None
    with blobs.open(file.cid) as content:
        assert content.read() == b"changed"
    assert "gone" not in [file.path for file in manifest.files]


def test_modes_and_links_are_kept_and_no_link_is_followed(tree: Path, blobs: BlobStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    _write(tree, {"run": "#!/bin/sh\n", "folder/file": "x"})
    (tree / "run").chmod(0o755)
    links = {"to-file": "folder//file", "to-folder": "./folder/", "dangling": "nowhere", "away": str(outside)}
    for name, target in links.items():
        (tree / name).symlink_to(target)
    workflow = _repository(tree)
    files = {file.path: file for file in _manifest(_taken(workflow, blobs), blobs).files}
    assert files["run"].mode == PROGRAM
    assert files["folder/file"].mode == FILE
    assert {name: files[name].target for name in links} == links
    assert all(files[name].mode == LINK and files[name].cid is None for name in links)
    assert not any("secret" in path for path in files)


def test_a_tracked_folder_that_became_a_link_is_not_followed(tree: Path, blobs: BlobStore, tmp_path: Path) -> None:
    _write(tree, {"data/file": "inside"})
    workflow = _repository(tree)
    shutil.move(tree / "data", tmp_path / "moved")
    (tree / "data").symlink_to(tmp_path / "moved")
    files = {file.path: file.mode for file in _manifest(_taken(workflow, blobs), blobs).files}
    assert files == {".github/workflows/ci.yml": FILE, "data": LINK}


def test_untracked_keys_are_left_out_and_named_and_tracked_ones_travel(tree: Path, blobs: BlobStore) -> None:
    _write(tree, {"id_tracked": "x", "sub/.env": "TRACKED=1"})
    workflow = _repository(tree)
    _write(
        tree, {".env": "KEY=1", "ca.pem": "x", "CB.PEM": "x", "sub/id_ed25519": "x", "environment": "x", ".envrc": "x"}
    )
    taken = _taken(workflow, blobs)
    assert taken.left_out == (".env", "CB.PEM", "ca.pem", "sub/id_ed25519")
    assert _paths(taken, blobs) == [".envrc", ".github/workflows/ci.yml", "environment", "id_tracked", "sub/.env"]


def test_without_a_repository_the_folder_of_the_file_travels_but_for_what_tools_make(
    tree: Path, blobs: BlobStore
) -> None:
    _write(
        tree,
        {
            "flow.yml": "on: push",
            "sub/a": "a",
            "sub/node_modules/x": "x",
            ".venv/x": "x",
            "__pycache__/x": "x",
            "a.pyc": "x",
            ".git_": "x",
            ".env": "KEY=1",
        },
    )
    (tree / "link").symlink_to("sub")
    taken = _taken(tree / "flow.yml", blobs)
    assert _paths(taken, blobs) == [".git_", "flow.yml", "link", "sub/a"]
    assert taken.left_out == (".env",)
    assert (taken.sha, taken.ref, taken.repository) == (ZEROS, "refs/heads/main", "local/tree")
    assert (taken.actor, taken.rel_workflow_path) == ("Ada Lovelace", "flow.yml")


def test_without_a_repository_a_folder_of_workflows_stands_where_one_would(blobs: BlobStore, tmp_path: Path) -> None:
    top = tmp_path / "plain"
    _write(top, {".github/workflows/ci.yml": "on: push", "main.py": "pass"})
    taken = _taken(top / ".github" / "workflows" / "ci.yml", blobs)
    assert (taken.root, taken.rel_workflow_path) == (top, ".github/workflows/ci.yml")
    assert _paths(taken, blobs) == [".github/workflows/ci.yml", "main.py"]


def test_without_git_the_folder_of_the_file_travels(
    tree: Path, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    workflow = _repository(tree)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    taken = _taken(workflow, blobs)
    assert _paths(taken, blobs) == ["ci.yml"]
    assert (taken.root, taken.sha, taken.repository) == (workflow.parent, ZEROS, "local/workflows")
    assert taken.actor


def test_a_named_tree_travels_instead(tree: Path, blobs: BlobStore, tmp_path: Path) -> None:
    _write(tree, {".gitignore": "build/\n", "src/a": "a", "src/a.log": "x", "src/.gitignore": "*.log"})
    _write(tree, {"build/out": "built"})
    workflow = _repository(tree)
    taken = _taken(workflow, blobs, tree / "src")
    assert _paths(taken, blobs) == [".gitignore", "a"]
    assert (taken.root, taken.rel_workflow_path) == (tree / "src", "ci.yml")
    assert taken.sha == _git(tree, "rev-parse", "HEAD")
    assert _paths(_taken(workflow, blobs, tree / "build"), blobs) == ["out"]  # ignored, but it was named
    _write(tmp_path, {"elsewhere/b": "b"})
    assert _paths(_taken(workflow, blobs, tmp_path / "elsewhere"), blobs) == ["b"]
    with pytest.raises(UsageError, match="not a folder"):
        snapshot(workflow, tmp_path / "nowhere", False, blobs)


def test_no_source_takes_nothing_and_still_tells_the_facts(
    tree: Path, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = _repository(tree)
    assert snapshot(workflow, None, True, blobs) is None
    assert blobs.statistics()["blobs"] == 0
    assert origin(workflow, None, True).sha == _git(tree, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert origin(workflow, None, True).sha == ZEROS
    with pytest.raises(UsageError):
        snapshot(workflow, tree, True, blobs)


def test_a_repository_of_another_user_is_an_error_with_the_way_out(
    tree: Path, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = _repository(tree)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests of this check
    with pytest.raises(Refused) as raised:
        snapshot(workflow, None, False, blobs)
    assert "another user" in raised.value.message
    assert raised.value.hint is not None
    assert f"git config --global --add safe.directory {tree}" in raised.value.hint
    assert "--no-source" in raised.value.hint
    assert blobs.statistics()["blobs"] == 0


def test_a_broken_repository_is_an_error_that_says_what_git_says(tree: Path, blobs: BlobStore) -> None:
    workflow = _repository(tree)
    (tree / ".git" / "index").write_bytes(b"not an index")
    with pytest.raises(Refused, match="index") as raised:
        snapshot(workflow, None, False, blobs)
    assert "\n" not in raised.value.message
    (tree / ".git" / "config").write_text("[core\n")
    with pytest.raises(Refused, match="config"):
        snapshot(workflow, None, False, blobs)


def test_too_many_files_are_refused_before_anything_is_stored(
    tree: Path, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = _repository(tree)
    monkeypatch.setattr(sourcetree, "MAX_FILES", 20)
    for number in range(19):
        (tree / f"f{number}").write_text("x")
    assert _taken(workflow, blobs).files == 20
    held = blobs.statistics()["blobs"]
    (tree / "one-more").write_text("something new")
    with pytest.raises(UsageError, match="over 20 files") as raised:
        snapshot(workflow, None, False, blobs)
    assert raised.value.hint is not None
    assert "--source DIR" in raised.value.hint
    assert "--no-source" in raised.value.hint
    assert blobs.statistics()["blobs"] == held


def test_too_many_bytes_are_refused_before_anything_is_stored(tree: Path, blobs: BlobStore) -> None:
    workflow = _repository(tree)
    for name in ("a", "b"):
        with (tree / name).open("wb") as file:
            file.truncate(MAX_BYTES // 2)  # a hole: it takes no room on the disk
    with pytest.raises(UsageError, match="over 256 MiB"):
        snapshot(workflow, None, False, blobs)
    assert blobs.statistics()["blobs"] == 0


def test_the_bounds_are_those_of_the_protocol() -> None:
    assert (MAX_FILES, MAX_BYTES) == (10_000, 256 * 2**20)


def test_names_that_are_not_utf8_and_things_that_are_no_files_are_left_out_and_named(
    tree: Path, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = _repository(tree)
    odd = os.fsdecode(b"caf\xe9")
    (tree / odd).write_text("x")
    (tree / "link").symlink_to(odd)
    _git(tree, "add", "-A")
    _write(tree, {"tr.yml": "x"})
    monkeypatch.chdir(tree)  # a socket's name must be short
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        taken = _taken(workflow, blobs)
        assert taken.left_out == ("caf\\xe9", "link")  # git itself passes over pipes and sockets
        assert _paths(taken, blobs) == [".github/workflows/ci.yml", "tr.yml"]
        shutil.rmtree(tree / ".git")
        taken = _taken(tree / "tr.yml", blobs)
        assert taken.left_out == ("caf\\xe9", "link", "pipe", "socket")


def test_names_with_odd_characters_travel(tree: Path, blobs: BlobStore) -> None:
    workflow = _repository(tree)
    names = ["a b", "new\nline", "tab\t", 'quo"te', "back\\slash", "-dash", "ünï", ":colon", "*star"]
    for name in names:
        (tree / name).write_text(name)
    assert set(_paths(_taken(workflow, blobs), blobs)) == {*names, ".github/workflows/ci.yml"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_unreadable_files_are_named_if_untracked_and_an_error_if_tracked(tree: Path, blobs: BlobStore) -> None:
    _write(tree, {"tracked": "x"})
    workflow = _repository(tree)
    _write(tree, {"untracked": "x"})
    (tree / "untracked").chmod(0)
    assert _taken(workflow, blobs).left_out == ("untracked",)
    (tree / "tracked").chmod(0)
    with pytest.raises(StorageError, match="tracked"):
        snapshot(workflow, None, False, blobs)


def test_submodules_travel_as_they_are_checked_out(tree: Path, blobs: BlobStore, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    _write(library, {"lib.c": "lib", ".gitignore": "*.o"})
    _repository(library)
    workflow = _repository(tree)
    _git(tree, "submodule", "--quiet", "add", str(library), "vendor/library")
    _git(tree, "commit", "-qm", "library")
    _write(tree, {"vendor/library/lib.o": "x", "vendor/library/new.c": "new", "vendor/library/.env": "x"})
    taken = _taken(workflow, blobs)
    assert _paths(taken, blobs) == [
        ".github/workflows/ci.yml",
        ".gitmodules",
        "vendor/library/.github/workflows/ci.yml",
        "vendor/library/.gitignore",
        "vendor/library/lib.c",
        "vendor/library/new.c",
    ]
    assert taken.left_out == ("vendor/library/.env",)
    inner = _taken(tree / "vendor" / "library" / ".github" / "workflows" / "ci.yml", blobs)
    assert inner.root == tree / "vendor" / "library"

    _git(tree, "submodule", "--quiet", "deinit", "--force", "--all")
    taken = _taken(workflow, blobs)
    assert _paths(taken, blobs) == [".github/workflows/ci.yml", ".gitmodules"]
    assert taken.left_out == ("vendor/library/",)


def test_a_submodule_that_became_a_link_is_not_followed(tree: Path, blobs: BlobStore, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    _repository(library)
    workflow = _repository(tree)
    _git(tree, "submodule", "--quiet", "add", str(library), "library")
    shutil.rmtree(tree / "library")
    (tree / "library").symlink_to(library)
    taken = _taken(workflow, blobs)
    assert _paths(taken, blobs) == [".github/workflows/ci.yml", ".gitmodules"]
    assert taken.left_out == ("library/",)


def test_a_file_in_conflict_travels_once_as_it_stands(tree: Path, blobs: BlobStore) -> None:
    _write(tree, {"a": "base"})
    workflow = _repository(tree)
    for branch in ("one", "two"):
        _git(tree, "checkout", "-qb", branch, "main")
        _write(tree, {"a": branch})
        _git(tree, "commit", "-qam", branch)
    with pytest.raises(subprocess.CalledProcessError):
        _git(tree, "merge", "one")
    assert _paths(_taken(workflow, blobs), blobs) == [".github/workflows/ci.yml", "a"]


def test_a_repository_inside_that_is_no_submodule_is_left_out_and_named(tree: Path, blobs: BlobStore) -> None:
    workflow = _repository(tree)
    (tree / "other").mkdir()
    _repository(tree / "other")
    taken = _taken(workflow, blobs)
    assert _paths(taken, blobs) == [".github/workflows/ci.yml"]
    assert taken.left_out == ("other/",)


@pytest.mark.parametrize("repository", [True, False])
def test_the_data_folder_of_a_node_never_travels(tree: Path, blobs: BlobStore, repository: bool) -> None:
    workflow = _repository(tree) if repository else _workflow(tree)
    _write(
        tree,
        {"node1/events.db": "x", "node1/lock": "1", "node1/key": "secret", "node1/blobs/a": "x", "node2/lock": "x"},
    )
    taken = _taken(workflow if repository else tree / "any.yml", blobs)
    assert _paths(taken, blobs) == [".github/workflows/ci.yml", "node2/lock"]
    assert taken.left_out == ("node1/",)


def test_the_facts_are_those_of_the_repository(tree: Path) -> None:
    workflow = _workflow(tree)
    _git(tree, "init", "-q")
    assert (origin(workflow, None, False).ref, origin(workflow, None, False).sha) == ("refs/heads/main", ZEROS)
    _git(tree, "add", "-A")
    _git(tree, "commit", "-qm", "first")
    _git(tree, "checkout", "-qb", "topic/ünï")
    _git(tree, "remote", "add", "origin", "git@forge.example:owner/name.git")
    _git(tree, "config", "user.name", "  Grace   Hopper ")
    facts = origin(workflow, None, False)
    assert (facts.ref, facts.sha) == ("refs/heads/topic/ünï", _git(tree, "rev-parse", "HEAD"))
    assert (facts.repository, facts.actor) == ("owner/name", "Grace Hopper")
    _git(tree, "checkout", "-q", "--detach")
    assert origin(workflow, None, False).ref == "HEAD"
    _git(tree, "tag", "v1")
    assert origin(workflow, None, False).ref == "refs/tags/v1"


def test_without_a_name_in_git_the_login_is_the_actor(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "gitconfig").write_text("")
    assert origin(_workflow(tree), None, False).actor == source._login()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://forge.example/owner/name.git", "owner/name"),
        ("https://user:password@forge.example:8443/owner/name/", "owner/name"),
        ("git@forge.example:owner/name.git", "owner/name"),
        ("ssh://git@forge.example:22/owner/name", "owner/name"),
        ("https://forge.example/group/sub/name.git", "sub/name"),
        ("https://forge.example/name.git", None),
        ("https://forge.example/own er/name", None),
        ("/srv/git/name.git", None),
        ("../name", None),
        ("file:///srv/git/name.git", None),
        ("", None),
    ],
)
def test_owner_and_name_come_from_the_remote_of_any_forge(url: str, expected: str | None) -> None:
    assert gittree.repository_of(url) == expected


def test_settings_of_a_hook_that_runs_us_do_not_lead_astray(
    tree: Path, blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    _repository(other)
    workflow = _repository(tree)
    _git(tree, "commit", "--allow-empty", "-qm", "second")
    sha = _git(tree, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert _taken(workflow, blobs).sha == sha


def test_a_repository_cannot_start_a_program_by_its_settings(tree: Path, blobs: BlobStore, tmp_path: Path) -> None:
    workflow = _repository(tree)
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    _git(tree, "config", "core.fsmonitor", str(hook))
    _taken(workflow, blobs)
    assert not (tmp_path / "started").exists()


def test_an_unchanged_tree_has_the_same_manifest_and_stores_nothing_new(tree: Path, blobs: BlobStore) -> None:
    _write(tree, {"a": "a", "b": "b"})
    workflow = _repository(tree)
    first = _taken(workflow, blobs)
    held = blobs.statistics()
    assert _taken(workflow, blobs) == first
    assert blobs.statistics() == held
    (tree / "a").write_text("changed")
    assert _taken(workflow, blobs).manifest != first.manifest
    assert blobs.statistics()["blobs"] == held["blobs"] + 2  # the file and the manifest


def test_a_long_list_of_what_is_left_out_is_cut_and_counted(tree: Path, blobs: BlobStore) -> None:
    workflow = _repository(tree)
    for number in range(sourcetree.MAX_LEFT_OUT + 5):
        (tree / f"id_{number}").write_text("x")
    left_out = _taken(workflow, blobs).left_out
    assert len(left_out) == sourcetree.MAX_LEFT_OUT + 1
    assert left_out[-1] == "and 5 more"
