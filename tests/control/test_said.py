"""What a node says on its terminal, where names and reasons are those of others."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = r"""
import logging, structlog
from p2pwf.control import daemon
from p2pwf.errors import Refused

evil = "a\x1b]0;title\x07b\x1b[2Jc\x9b31md\u202ee\nf\x7f"
daemon._configure_log()
structlog.get_logger().warning(evil, reason=evil)
logging.getLogger("libp2p").warning("of %s", evil)
daemon._say(Refused(evil, evil), False)
try:
    raise ValueError("its place is told")
except ValueError:
    structlog.get_logger().exception("broken")
"""


def test_nothing_in_errors_or_the_log_acts_on_the_terminal() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True)
    said = done.stderr.decode()
    assert said.count("31md") == 5
    assert not [one for one in said if not one.isprintable() and one != "\n"]
    assert [line.split()[0] for line in said.splitlines()[1:4]] == ["WARNING", "error:", "hint:"]
    assert "ValueError: its place is told" in said
