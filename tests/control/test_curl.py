"""The control API from a shell: curl on the node's socket, as protocols/control.md shows it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.control.kit import ME, node

PAGE = (Path(__file__).parents[2] / "protocols" / "control.md").read_text(encoding="utf-8")
CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(CURL is None, reason="no curl here")


async def curl(folder: Path, *words: str) -> tuple[int, str]:
    """Status and body of one request."""
    assert CURL is not None
    line = [CURL, "--silent", "--max-time", "60", "--unix-socket", str(folder / "control.sock")]
    done = await trio.run_process([*line, "--write-out", "\n%{http_code}", *words], capture_stdout=True)
    body, _, code = done.stdout.decode().rpartition("\n")
    return int(code), body


async def value(folder: Path, *words: str) -> Any:
    code, body = await curl(folder, *words)
    assert code == 200, body
    return json.loads(body)


async def test_the_page_s_own_lines_work(tmp_path: Path) -> None:
    (tmp_path / "ci.yml").write_text("jobs:\n")
    lines = re.findall(r"\$ curl --unix-socket \$SOCKET (.*)", PAGE)
    assert len(lines) == 3
    async with node() as (api, folder):
        status, submit, watch = (line.replace("'", "").split(" ") for line in lines)
        assert (await value(folder, *status))["peer_id"] == ME
        body = re.search(r"-d '(.*)'", lines[1])
        assert body is not None
        asked = body[1].replace("/home/you/ci.yml", str(tmp_path / "ci.yml"))
        run = (await value(folder, submit[0], "-d", asked))["workflow_id"]
        api.end(run, "success")
        code, text = await curl(folder, "-N", watch[-1].replace("RUN", run))
        assert code == 200
        assert json.loads(text.splitlines()[-1])["status"] == "completed"


async def test_errors_have_a_status_and_a_hint() -> None:
    async with node() as (_, folder):
        code, body = await curl(folder, "http://p2pwf/v1/runs/nope")
        assert code == 404
        assert json.loads(body)["error"]["code"] == "not_found"
        code, body = await curl(folder, "-X", "POST", "-d", "{", "http://p2pwf/v1/runs")
        assert code == 400
        assert json.loads(body)["error"]["message"]
