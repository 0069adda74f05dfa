from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from p2pwf.errors import UsageError
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
        (["b.txt", "a.txt"], ["a.txt", "b.txt"]),
        (["**/a.txt"], ["a.txt", "lib/a.txt"]),
        (["lib"], ["lib/a.txt", "lib/deep/[y].txt", "lib/deep/x.txt"]),
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


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../x", "a/../../x", "~/x"])
def test_patterns_that_lead_out_are_refused(tree: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="outside of the workspace"):
        hash_files(tree, [pattern])
