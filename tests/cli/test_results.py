"""Artifacts, reports and reruns on the command line, against a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.cli.test_commands import answer, cli, here, submitted
from tests.control.kit import node

REPORT = {
    "version": 1,
    "steps": [
        {"number": 1, "id": "a", "name": "compile", "outcome": "success", "conclusion": "success", "summary": ""},
        {
            "number": 2,
            "id": "b",
            "name": "test it",
            "outcome": "failure",
            "conclusion": "failure",
            "summary": "# Two\x1b[2J",
        },
    ],
    "annotations": [
        {"level": "notice", "message": "by the way", "file": "", "line": None},
        {"level": "error", "message": "no such\x1b[31m name", "file": "src/a.c", "line": 7, "title": "E7"},
    ],
}


@pytest.mark.parametrize("name", ["../out", "..", ".", "a/b", "/absolute", ""])
async def test_an_artifact_is_written_nowhere_but_into_a_folder_of_its_name(name: str, tmp_path: Path) -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        api.left = {str(tmp_path) + name if name == "/absolute" else name: b"x"}
        code, out, err = await cli(folder, "workflow", "download", run, "--dir", str(tmp_path / "dir"))
        assert (code, out) == (6, "")
        assert err.startswith("error: an artifact")
        assert list(await trio.Path(tmp_path).iterdir()) == []


async def test_artifacts_are_listed_and_written_with_their_links_and_modes(tmp_path: Path) -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        assert await answer(folder, "workflow", "artifacts", run) == []
        api.left = {"one": b"0123456789", "two": b""}
        listed = await answer(folder, "workflow", "artifacts", run)
        assert [(row["name"], row["size"]) for row in listed] == [("one", 10), ("two", 0)]
        code, out, err = await cli(folder, "workflow", "artifacts", run, "--download", str(tmp_path / "out"))
        assert (code, err) == (0, "")
        assert str(tmp_path / "out/one") in out
        assert (tmp_path / "out/one/deep/file.txt").read_bytes() == b"0123456789"
        assert (tmp_path / "out/one/deep/file.txt").stat().st_mode & 0o777 == 0o755
        assert (tmp_path / "out/one/link").readlink() == Path("deep/file.txt")
        assert (tmp_path / "out/two/deep/file.txt").read_bytes() == b""


async def test_a_download_overwrites_nothing_and_knows_what_there_is(tmp_path: Path) -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        api.left = {"one": b"1", "two": b"2"}
        (tmp_path / "two").mkdir()
        (tmp_path / "two/mine").write_text("mine")
        code, _, err = await here(folder, "workflow", "artifacts", run, "--download", str(tmp_path))
        assert (code, "is not empty" in err, (tmp_path / "one").exists()) == (2, True, False)
        code, _, err = await here(folder, "workflow", "artifacts", run, "--name", "three")
        assert (code, "its artifacts: one, two" in err) == (4, True)
        code, _, _ = await here(folder, "workflow", "artifacts", run, "--name", "one", "--download", str(tmp_path))
        assert code == 0


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a//b", "a/../../b", ""])
async def test_a_file_outside_of_its_artifact_is_refused(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        api.left = {"one": b"1"}

        async def files(name: str, artifact: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
            yield {"path": path, "mode": "file", "size": 0, "target": None}

        monkeypatch.setattr(api, "artifact_files", files)
        code, _, err = await here(folder, "workflow", "artifacts", run, "--download", str(tmp_path / "in"))
        assert code != 0
        assert "outside of itself" in err
    assert [one.name for one in tmp_path.iterdir()] == ["in"]  # noqa: ASYNC240 - nothing else goes on here


async def test_the_status_of_a_failed_run_says_where_and_what_was_said() -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        api.told = REPORT
        api.end(api.run(run)["workflow_id"], "failure")
        _, out, _ = await here(folder, "workflow", "status", run)
        assert "test it" in out
        assert "compile" not in out
        assert out.index("no such") < out.index("by the way")
        assert "src/a.c:7" in out
        assert "\x1b" not in out
        _, out, _ = await here(folder, "workflow", "status", run, "--report")
        assert "compile" in out
        assert "# Two" in out
        assert "\x1b" not in out
        found = await answer(folder, "workflow", "status", run, "--report")
        assert found["jobs"][0]["report"] == REPORT


async def test_a_rerun_is_a_run_of_its_own() -> None:
    async with node() as (api, folder):
        run = await submitted(folder)
        code, _, err = await here(folder, "workflow", "rerun", run)
        assert (code, "cancel it first" in err) == (5, True)
        api.end(api.run(run)["workflow_id"], "failure")
        made = await answer(folder, "workflow", "rerun", run, "--job", "m")
        assert made["rerun_of"] == api.run(run)["workflow_id"]
        assert {job["job"] for job in api.run(made["workflow_id"])["jobs"]} == {"m"}
        code, _, err = await here(folder, "workflow", "rerun", run, "--job", "m", "--failed")
        assert (code, "exclude each other" in err) == (2, True)
