"""Clients on stdio that go away, interrupt, or say nonsense: the server ends with them, and only with them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.kit import PATIENCE
from tests.mcp.kit import arguments, short_folder, silent_node

HELLO = {
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "plain", "version": "1"}},
}


class Plain:
    """A server, and lines of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin, self.stdout = process.stdin, process.stdout
        self.say({"id": 0, **HELLO})
        assert self.hear()["result"]["serverInfo"]["name"] == "p2pwf"
        self.say({"method": "notifications/initialized"})

    def say(self, message: dict[str, Any]) -> None:
        self.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.stdin.flush()

    def call(self, tool: str, **arguments: Any) -> None:
        self.say({"id": tool, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})

    def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.stdout.readline())
        return message

    def ends(self) -> tuple[int, str]:
        """The exit code, and what was said on stderr."""
        assert self.process.stderr is not None
        return self.process.wait(PATIENCE), self.process.stderr.read()


@contextmanager
def plain(folder: Path) -> Iterator[Plain]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *arguments(folder)], text=True, **pipes) as process:  # type: ignore[call-overload]
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        try:
            yield Plain(process)
        finally:
            timer.cancel()
            process.kill()


def test_a_server_whose_client_is_gone_in_the_middle_of_its_calls_ends_too() -> None:
    with short_folder() as folder, silent_node(folder) as node, plain(folder) as server:
        server.call("get_p2p_stats")
        asked, _ = node.accept()
        with asked:
            server.stdout.close()
            server.call("parse_workflow_tags", workflow_file="/nowhere")
            server.stdin.close()
            assert server.ends() == (0, "")


def test_an_interrupt_ends_it_whatever_it_waits_for() -> None:
    with short_folder() as folder, silent_node(folder) as node, plain(folder) as server:
        server.call("get_p2p_stats")
        asked, _ = node.accept()
        with asked:
            server.process.send_signal(signal.SIGINT)
            assert server.ends() == (-signal.SIGINT, "")


def test_nonsense_is_passed_over_and_what_follows_is_answered(tmp_path: Path) -> None:
    with plain(tmp_path / "data") as server:
        for line in ("", "nonsense", "{}", "[]", "null", "{" * 1000, '{"jsonrpc": "2.0", "id": 1}', "\ud83d\ude00"):
            server.stdin.write(line.encode("utf-8", "replace").decode() + "\n")
        server.say({"id": 2, "method": "nobody/knows"})
        server.call("parse_workflow_tags", workflow_file="/nowhere")
        answers = {message["id"]: message for message in (server.hear(), server.hear())}
        assert answers[2]["error"]["code"] == -32601
        assert answers["parse_workflow_tags"]["result"]["structuredContent"]["code"] == "usage"
        server.stdin.close()
        assert server.stdout.read() == ""
        assert server.ends()[0] == 0


def test_without_the_sdk_it_says_what_to_install(tmp_path: Path) -> None:
    script = """
import sys
sys.modules[sys.argv.pop()] = None
from p2pwf.cli.main import main
main()
"""
    for missing, *words in (("mcp",), ("mcp_types", "--http", "127.0.0.1:0")):
        line = [sys.executable, "-c", script, "mcp", "--data-dir", str(tmp_path / "data"), *words, missing]
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "p2pwf[mcp]" in done.stderr
    assert not (tmp_path / "data").exists()
