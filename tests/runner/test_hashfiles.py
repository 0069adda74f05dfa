from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from p2pwf.errors import UsageError
from p2pwf.runner import hashfiles
from p2pwf.runner.hashfiles import hash_files

TREE = ("a.txt", "b.txt", "c.md", "lib/a.txt", "lib/deep/x.txt", "lib/deep/[y].txt", ".hidden/z.txt")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in TREE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "loop").symlink_to(tmp_path)
    return tmp_path


def digest(*names: str) -> str:
    return sha256(b"".join(sha256(name.encode()).digest() for name in names)).hexdigest() if names else ""


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["*.txt"], ["a.txt", "b.txt"]),
        (["b.txt", "a.txt"], ["b.txt", "a.txt"]),
        (["lib/deep/x.txt", "*.txt"], ["a.txt", "b.txt", "lib/deep/x.txt"]),
        (["lib/deep/x.txt", "lib/*.txt", "lib/a.txt", "c.md"], ["lib/a.txt", "lib/deep/x.txt", "c.md"]),
        (["**/*.txt", "!.hidden"], ["a.txt", "b.txt", "lib/a.txt", "lib/deep/[y].txt", "lib/deep/x.txt"]),
        (["**/a.txt"], ["a.txt", "lib/a.txt"]),
        (["lib"], ["lib/a.txt", "lib/deep/[y].txt", "lib/deep/x.txt"]),
        (["a.txt/"], []),
        (["lib/deep/**/**"], ["lib/deep/[y].txt", "lib/deep/x.txt"]),
        (["a.txt/**", "c.md/**/"], ["a.txt"]),
        (["lib/"], ["lib/a.txt", "lib/deep/[y].txt", "lib/deep/x.txt"]),
        (["lib/**"], ["lib/a.txt", "lib/deep/[y].txt", "lib/deep/x.txt"]),
        (["lib/**/x.txt"], ["lib/deep/x.txt"]),
        (["**/x.txt", "!lib/**"], []),
        (["**\n!**/a.txt\n!lib\n!.hidden"], ["b.txt", "c.md"]),
        (["?.md"], ["c.md"]),
        (["[ab].txt"], ["a.txt", "b.txt"]),
        (["[!a].txt"], ["b.txt"]),
        (["**/[[]y].txt"], ["lib/deep/[y].txt"]),
        (["./a.txt", "# a comment", ""], ["a.txt"]),
        ([".hidden"], [".hidden/z.txt"]),
        (["none"], []),
    ],
)
def test_patterns_find_what_they_name(tree: Path, patterns: list[str], found: list[str]) -> None:
    assert hash_files(tree, patterns) == digest(*found)


def test_absolute_patterns_below_the_workspace_are_fine(tree: Path) -> None:
    assert hash_files(tree, [f"{tree}/a.txt"]) == digest("a.txt")


def test_files_come_in_the_order_of_names_a_folders_content_where_its_name_stands(tmp_path: Path) -> None:
    names = ("Z.lock", "a/x.lock", "a.lock", "b.lock", "c/a.lock", "c-d/a.lock", "package.lock", "ä.lock")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert hash_files(tmp_path, ["**/*.lock"]) == digest(*names)
    top = ("Z.lock", "a.lock", "b.lock", "c-d/a.lock", "package.lock", "ä.lock")
    assert hash_files(tmp_path, ["c-d/*.lock", "*.lock"]) == digest(*top)


@pytest.mark.parametrize("pattern", ["/etc/passwd", "~/x", "/"])
def test_what_lies_outside_of_the_workspace_is_not_seen(tree: Path, pattern: str) -> None:
    assert hash_files(tree, [pattern]) == ""
    assert hash_files(tree, [pattern, "a.txt"]) == digest("a.txt")


@pytest.mark.parametrize("pattern", ["../x", "a/../../x"])
def test_patterns_that_lead_up_are_refused(tree: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="Relative pathing"):
        hash_files(tree, [pattern])


def test_a_large_folder_that_no_pattern_leads_to_is_not_looked_at(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashfiles, "MAX_FILES", 10)
    (tree / "big").mkdir()
    for number in range(20):
        (tree / "big" / f"{number}.txt").touch()
    assert hash_files(tree, ["*.txt"]) == digest("a.txt", "b.txt")
    with pytest.raises(UsageError, match="more than 10 files"):
        hash_files(tree, ["**/*.md"])


def test_what_takes_too_long_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashfiles, "TIMEOUT_S", -1)
    with pytest.raises(UsageError, match="hashFiles took over"):
        hash_files(tree, ["*.txt"])


def test_hashing_ends_when_nobody_wants_it_any_more(tree: Path) -> None:
    with (tree / "large").open("wb") as file:
        file.truncate(1 << 43)  # takes hours to read
    asked = iter(range(10))
    with pytest.raises(UsageError, match="ended with its job"):
        hash_files(tree, ["large"], lambda: next(asked) == 9)


def test_a_pipe_is_no_file_and_is_not_waited_for(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    assert hash_files(tree, ["*.md", "pipe"]) == digest("c.md")
