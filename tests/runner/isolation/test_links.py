"""T40, T42: what a job plants where the runner itself works for it: links to the node's key, hooks of git, pipes."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from p2pwf.core.ids import Cid
from p2pwf.runner.hand import Hand
from p2pwf.runner.manifest import parse
from p2pwf.runner.native import checkout, gitcommit
from p2pwf.runner.state import JobState
from tests.runner.isolation.conftest import Apart
from tests.runner.kit import Bench, Ran
from tests.runner.native import Place

KEY: Final = "THE-NODES-KEY"
FILES: Final[dict[str, str]] = {
    "an action": "- run: mkdir a; ln -s KEY a/action.yml\n- {uses: ./a, continue-on-error: true}",
    "a version file": "- run: ln -s KEY .python-version\n"
    "- {uses: actions/setup-python@v5, continue-on-error: true, with: {python-version-file: .python-version}}",
    "a version file of node": "- run: ln -s KEY .nvmrc\n"
    "- {uses: actions/setup-node@v4, continue-on-error: true, with: {node-version-file: .nvmrc}}",
    "a matcher": "- run: ln -s KEY m.json; echo '::add-matcher::m.json'",
    "an output file": '- {id: a, run: "rm $GITHUB_OUTPUT; ln -s KEY $GITHUB_OUTPUT", continue-on-error: true}\n'
    '- run: echo "${{ toJSON(steps) }}"',
    "a summary": '- {run: "rm $GITHUB_STEP_SUMMARY; ln -s KEY $GITHUB_STEP_SUMMARY", continue-on-error: true}',
    "an artifact": "- run: ln -s KEY out\n"
    "- {uses: actions/upload-artifact@v4, continue-on-error: true, with: {path: out}}",
    "an artifact in a folder": "- run: ln -s FOLDER out\n"
    "- {uses: actions/upload-artifact@v4, continue-on-error: true, with: {path: out/*}}",
    "a cache": "- run: ln -s FOLDER out\n"
    "- {uses: actions/cache@v4, continue-on-error: true, with: {path: out, key: k}}",
    "a cache by name": "- {uses: actions/cache@v4, continue-on-error: true, with: {path: FOLDER, key: k}}",
    "an artifact by name": "- {uses: actions/upload-artifact@v4, continue-on-error: true, with: {path: KEY}}",
}
WRITES: Final[dict[str, str]] = {
    "a checkout": "- run: ln -s FOLDER out\n- {uses: actions/checkout@v4, continue-on-error: true, with: {path: out}}",
    "the workspace": '- run: cd ..; rmdir "$GITHUB_WORKSPACE"; ln -s FOLDER "$GITHUB_WORKSPACE"\n'
    "  continue-on-error: true\n- {uses: actions/checkout@v4, continue-on-error: true}",
    "a download": "- run: echo x > planted; ln -s FOLDER out\n"
    "- {uses: actions/upload-artifact@v4, with: {name: mine, path: planted}}\n"
    "- {uses: actions/download-artifact@v4, continue-on-error: true, with: {name: mine, path: out}}",
    "the folder of step files": "- run: |\n    d=$(dirname $GITHUB_OUTPUT); mv $d $d.x; ln -s FOLDER $d\n"
    "- {run: echo on, continue-on-error: true}",
    "an npm registry": "- run: rm -rf $RUNNER_TEMP/.npmrc; ln -s KEY $RUNNER_TEMP/.npmrc\n"
    "- {uses: actions/setup-node@v4, continue-on-error: true, with: {registry-url: 'https://r.example'}}",
}


@pytest.fixture
def folder(bench: Bench) -> Path:
    """The node's own folder, with its key."""
    folder = bench.root / "data"
    folder.mkdir(0o700)
    (folder / "key").write_text(KEY)
    (folder / "key").chmod(0o600)
    return folder


async def run(place: Place, folder: Path, steps: str) -> Ran:
    asked = steps.replace("KEY", str(folder / "key")).replace("FOLDER", str(folder))
    return await place.run(asked, source={"README": "a source\n"})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def all_kept(place: Place, ran: Ran) -> str:
    """All that got out of a job: its log, its result, the content of what it stored."""
    found = [repr(ran.result), *(line.text for line in ran.lines)]
    links = [*(one.link for one in ran.result.artifacts), *(one.link for one in ran.result.caches)]
    for link in links:
        files = parse(await raw(place, link)).files
        found += [(await raw(place, file.cid)).decode() for file in files if file.cid is not None]
    return "\n".join(found)


async def raw(place: Place, cid: Cid) -> bytes:
    return await trio.Path(await place.fetch(cid)).read_bytes()


@pytest.mark.parametrize("steps", FILES.values(), ids=FILES)
async def test_t40_a_planted_link_does_not_have_the_runner_read_the_key(
    bench: Bench, apart: Apart, folder: Path, steps: str
) -> None:
    place = Place.at(bench)
    assert KEY not in await all_kept(place, await run(place, folder, steps))


@pytest.mark.parametrize("steps", WRITES.values(), ids=WRITES)
async def test_t40_a_planted_link_does_not_have_the_runner_write_elsewhere(
    bench: Bench, apart: Apart, folder: Path, steps: str
) -> None:
    before = (folder / "key").stat()
    await run(Place.at(bench), folder, steps)
    after = (folder / "key").stat()
    assert names(folder) == {"key"}
    assert (folder / "key").read_text() == KEY
    assert (before.st_uid, before.st_mode) == (after.st_uid, after.st_mode)


async def test_t40_the_runner_reads_the_key_for_the_job_without_the_guard(
    bench: Bench, apart: Apart, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hand, "_become", lambda *_: None)
    place = Place.at(bench)
    assert KEY in await all_kept(place, await run(place, folder, FILES["an artifact"]))


async def test_t40_the_runner_writes_where_a_link_leads_without_the_guard(
    bench: Bench, apart: Apart, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hand, "_become", lambda *_: None)
    await run(Place.at(bench), folder, WRITES["a download"])
    assert names(folder) == {"key", "planted"}


PLANT: Final = """\
- run: |
    cat > "$RUNNER_TEMP/plant.py" <<'PLANT'
    import glob, os
    hook = os.environ["RUNNER_TEMP"] + "/hook"
    open(hook, "w").write("#!/bin/sh\\ntouch $RUNNER_TEMP/hooked\\n".replace("$RUNNER_TEMP", os.environ["RUNNER_TEMP"]))
    os.chmod(hook, 0o755)
    while True:
        for place in ("/tmp/*", os.environ.get("TMPDIR", "/tmp") + "/*", os.path.dirname(hook) + "/../*/*"):
            for folder in glob.glob(place):
                if os.path.exists(folder + "/objects"):
                    try:
                        os.mkdir(folder + "/hooks")
                        os.symlink(hook, folder + "/hooks/post-index-change")
                    except OSError:
                        pass
    PLANT
    python3 "$RUNNER_TEMP/plant.py" &
- uses: actions/checkout@v4
- run: sleep 0.2; git log --oneline | wc -l; [ -e "$RUNNER_TEMP/hooked" ] && echo HOOKED || echo not hooked
"""


async def hooked(bench: Bench) -> str:
    place = Place.at(bench)
    ran = await place.run(PLANT, source={f"{number}": f"file {number}\n" for number in range(800)})
    return ran.text()


async def test_t42_no_hook_of_a_job_runs_in_the_runners_git(bench: Bench, apart: Apart) -> None:
    assert (await hooked(bench)).split("\n") == ["1", "not hooked"]


async def test_t42_a_hook_of_a_job_runs_in_the_runners_git_without_the_guards(
    bench: Bench, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def within_reach(state: JobState) -> AsyncIterator[Path]:
        yield state.folders.scratch

    monkeypatch.setattr(checkout, "scratch", within_reach)
    monkeypatch.setattr(gitcommit, "ALONE", ())
    assert "HOOKED" in await hooked(bench)


async def test_a_pipe_in_place_of_a_file_of_the_runners_is_not_waited_for(bench: Bench, apart: Apart) -> None:
    steps = """\
    - run: mkfifo "$RUNNER_TEMP/.npmrc" "$RUNNER_TEMP/_python-matchers.json" m.json .python-version a
    - {uses: actions/setup-node@v4, with: {registry-url: 'https://r.example'}}
    - {uses: actions/setup-python@v5}
    - {run: "echo ::add-matcher::m.json", continue-on-error: true}
    - {uses: actions/upload-artifact@v4, with: {path: ., if-no-files-found: ignore}}
    - run: '[ -f "$RUNNER_TEMP/.npmrc" ] && echo "hashed <${{ hashFiles(''*'') }}>"'
    """
    with trio.fail_after(60):
        ran = await Place.at(bench).run(textwrap.dedent(steps))
    assert ran.text().strip() == "hashed <>"
    assert any("no such problem matcher file" in message for message in ran.messages())


async def test_a_nest_of_folders_goes_with_its_job(bench: Bench, apart: Apart) -> None:
    nest = "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')"
    ran = await Place.at(bench).run(f'- run: |\n    python3 -c "{nest}"\n- run: echo on'.replace("\nfor", "\n    for"))
    assert ran.result.outcome == "success" or "nested deeper" in (ran.result.error or "")
    assert not list(apart.keeper.root(apart.level).iterdir())
