"""P13: resident memory of an idle node, and what 100,000 events add to it; the reference is importing libp2p alone.

Each is measured in a process of its own, after what it made has been used once. Values in MB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from p5_ingest import history

from p2pwf.core.events import parse
from p2pwf.node.loop import stored_event
from p2pwf.store.events import Commit, EventStore

EVENTS = 100_000
RSS = "print(int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6)"
IDLE = f"""
import trio
from p2pwf.config import NodeSettings
from p2pwf.node.start import make_ready, open_node
async def main(folder):
    settings = NodeSettings(data_dir=folder, listen=("/ip4/127.0.0.1/tcp/0",))
    async with open_node(settings) as node:
        await make_ready(node)
        {RSS}
import sys
trio.run(main, sys.argv[1])
"""
LOADED = f"""
import sys, gc
sys.path.insert(0, sys.argv[2])
from p5_ingest import history
from p2pwf.core.sign import Signer
from p2pwf.engine import Engine, EngineConfig
from p2pwf.engine.inputs import Now
from p2pwf.core.events import SignedBlock
from p2pwf.store.events import EventStore
from p2pwf.core.ids import Cid
from p2pwf.testing import SimPlanner
from pathlib import Path
store = EventStore.open(Path(sys.argv[1]) / "events.db")
network = Cid(store.meta_all()["network"])
engine = Engine(Signer(b"\\1" * 32), network, EngineConfig(b"boot" * 2, "b", 2, SimPlanner()), Now(0, 0))
if sys.argv[3] == "load":
    engine.load((SignedBlock(e.block, e.signature) for e in store.load()), {{}})
gc.collect()
{RSS}
"""


def measure(program: str, *arguments: str) -> float:
    """The MB that a program says it has."""
    line = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=True)
    return float(done.stdout.splitlines()[-1])


def fill(folder: Path) -> int:
    """A store with EVENTS events; how many there are."""
    desk, blocks = history(EVENTS)
    store = EventStore.open(folder / "events.db")
    for start in range(0, len(blocks), 1000):
        events = tuple(stored_event(parse(signed)) for signed in blocks[start : start + 1000])
        store.commit(Commit(events, {"network": bytes(desk.network)}))
    store.close()
    return len(blocks)


def main() -> None:
    """Measure each and print one JSON line for each."""
    here = str(Path(__file__).parent)
    with tempfile.TemporaryDirectory() as name:
        imports = measure(f"import libp2p\n{RSS}")
        idle = measure(IDLE, name + "/node")
        line = {"name": "P13 idle node / import libp2p", "ours": round(idle, 1), "reference": round(imports, 1)}
        print(json.dumps({**line, "ratio": round(idle / imports, 2), "unit": "MB", "n": 1}), flush=True)
        count = fill(Path(name))
        empty = measure(LOADED, name, here, "empty")
        loaded = measure(LOADED, name, here, "load")
        added = loaded - empty
        line = {"name": "P13 index of 100,000 events / 40 MB", "ours": round(added, 1), "reference": 40.0}
        print(json.dumps({**line, "ratio": round(added / 40.0, 2), "unit": "MB", "n": count}))


if __name__ == "__main__":
    main()
