"""Write protocols/vectors/{archive,checkpoint,events,clock,tickets,roster,runs,secrets}.json: the core, for others.

    python scripts/vectors_core.py [--check]

Deterministic: all keys derive from fixed names by SHA-256. `--check` writes nothing and exits 1 if a file differs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.core_vectors.archive import archive_vectors  # noqa: E402 - needs the path above
from scripts.core_vectors.checkpoint import checkpoint_vectors  # noqa: E402
from scripts.core_vectors.clock import clock_vectors  # noqa: E402 - needs the path above
from scripts.core_vectors.events import event_vectors  # noqa: E402
from scripts.core_vectors.roster import roster_vectors  # noqa: E402
from scripts.core_vectors.runs import run_vectors  # noqa: E402
from scripts.core_vectors.secrets import secret_vectors  # noqa: E402
from scripts.core_vectors.tickets import ticket_vectors  # noqa: E402

FOLDER = ROOT / "protocols" / "vectors"
MAKERS: dict[str, Callable[[], dict[str, object]]] = {
    "archive": archive_vectors,
    "checkpoint": checkpoint_vectors,
    "events": event_vectors,
    "clock": clock_vectors,
    "tickets": ticket_vectors,
    "roster": roster_vectors,
    "runs": run_vectors,
    "secrets": secret_vectors,
}


def texts() -> dict[str, str]:
    """The content of each file."""
    return {name: json.dumps(make(), indent=1, ensure_ascii=False) + "\n" for name, make in MAKERS.items()}


def main() -> int:
    """Write the files, or compare them."""
    check = "--check" in sys.argv[1:]
    differ = False
    for name, text in texts().items():
        target = FOLDER / f"{name}.json"
        if check:
            differ |= not target.exists() or target.read_text(encoding="utf-8") != text
        else:
            target.write_text(text, encoding="utf-8")
    return int(differ)


if __name__ == "__main__":
    raise SystemExit(main())
