"""A node that is attacked while it works: a small part of what scripts/hostile.py does, on real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = ("stranger's join mutated", "clock mutated", "clock forged", "gossip unsigned", "past the window")


def test_a_node_under_attack_lives_serves_others_and_throws_the_offender_out() -> None:
    """The script says as well how fast all that is; a busy machine is slower, and no worse."""
    words = ["--frames", "2000", "--seconds", "1", "--only", ",".join(KINDS)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "hostile.py"), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["alive"], report["alarms"], report["bugs"]) == (True, [], {})
    assert {kind["kind"] for kind in report["kinds"]} == set(KINDS)
    assert [kind for kind in report["kinds"] if kind["gone_after"] is None] == []
    assert report["honest_lost"] == 0
    assert report["honest_events"] > 20
    assert report["memory_growth_mb"] <= 50
    assert report["banned_shown"] > 0
