"""The user's own files: a job has a copy of them, and nothing that it does is done to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.oneshot.kit import Here


def picture(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """All files below a folder: mode, time of last change, content."""
    return {
        str(path.relative_to(root)): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_copy_of_the_source_lies_in_the_workspace_before_the_first_step(here: Here) -> None:
    here.steps(
        """
        - run: cat data/a.txt; test -x tool && echo tool; readlink link; test "$PWD" = "$GITHUB_WORKSPACE" && echo here
        """
    )
    here.write("content\n", "data/a.txt")
    here.write("#!/bin/sh\n", "tool").chmod(0o755)
    (here.root / "link").symlink_to("data/a.txt")
    assert here.run().printed() == ["content", "tool", "data/a.txt", "here"]


def test_whatever_a_job_does_the_users_tree_stays_as_it_is(here: Here) -> None:
    here.steps(
        """
        - run: |
            echo changed >> data/a.txt; rm -rf data/b.txt .git; mv w.yml x.yml; echo new > new.txt; chmod -R a+x .
            mkdir deep; touch deep/file; chmod 0 deep
        """
    )
    for name in ("data/a.txt", "data/b.txt"):
        here.write(name, name)
    here.git("init")
    here.git("add", ".")
    here.git("commit", "-m", "one")
    here.write("not committed", "data/a.txt")
    before = picture(here.root)
    here.run()
    assert picture(here.root) == before


def test_each_job_has_a_copy_of_its_own(here: Here) -> None:
    here.write(
        """
        on: push
        jobs:
          a: {runs-on: x, steps: [{run: "rm data.txt"}]}
          b: {needs: a, runs-on: x, steps: [{run: "cat data.txt"}]}
        """
    )
    here.write("still here\n", "data.txt")
    assert here.run().printed() == ["still here"]


def test_ignored_files_and_keys_are_left_out_and_that_is_told(here: Here) -> None:
    here.steps("- run: ls -A")
    here.git("init")
    here.write("ignored.txt\n", ".gitignore")
    here.write("x", "ignored.txt")
    here.write("KEY=1", ".env")
    ran = here.run()
    assert ran.printed() == [".gitignore", "w.yml"]
    (told,) = ran.of("annotation", level="notice")
    assert told["message"] == "not in the job's copy of the source: .env"


def test_another_tree_can_be_named(here: Here) -> None:
    here.steps("- run: ls")
    other = here.tmp / "other"
    other.mkdir()
    (other / "there.txt").touch()
    assert here.run("--source", str(other)).printed() == ["there.txt"]


def test_checkout_works_as_on_the_network(here: Here) -> None:
    here.steps(
        """
        - run: rm data.txt
        - uses: actions/checkout@v4
        - run: cat data.txt
        """
    )
    here.write("again\n", "data.txt")
    assert here.run().printed() == ["again"]


def test_processes_that_a_step_leaves_are_gone_at_the_end(here: Here) -> None:
    here.steps("- run: sleep 3141 > /dev/null 2>&1 & echo $!")
    (pid,) = here.run().printed()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_run_imports_no_network_no_server_and_no_database(here: Here) -> None:
    import subprocess
    import sys

    here.steps("- run: 'true'")
    heavy = ("libp2p", "rich", "starlette", "hypercorn", "h11", "sqlite3", "asyncio", "p2pwf.net")
    code = (
        "import sys\nfrom p2pwf.cli.main import run\n"
        "assert run(['run', 'w.yml', '--json']) == 0\n"
        f"print('|'.join(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here.root, env=here.environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == ""
