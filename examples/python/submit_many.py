"""Hand in many workflow files at once, give them to peers, and say who has what.

    python submit_many.py --peer attic --peer desk ../p2p_workflows/*.yml

Files that are not for peers are passed over. Needs no node: the state lies in the folder of --data-dir (or
P2P_DATA_DIR), under this peer's name (P2P_PEER_ID, or this machine's).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from p2pwf import P2pwfError, P2PWorkflowCoordinator


def main() -> int:
    arguments = argparse.ArgumentParser(description="Hand in many workflow files at once.")
    arguments.add_argument("files", nargs="+", type=Path, metavar="FILE")
    arguments.add_argument("--peer", action="append", default=[], help="who may have workflows besides this peer")
    arguments.add_argument("--priority", type=float, default=3.0, help="1 is critical, 3 normal, 5 background")
    arguments.add_argument("--data-dir")
    given = arguments.parse_args()

    failed = 0
    with P2PWorkflowCoordinator(data_dir=given.data_dir) as coordinator:
        for peer in given.peer:
            coordinator.add_peer(peer)
        for file in given.files:
            try:
                about = coordinator.parse_workflow_file(file)
                if not coordinator.is_p2p_workflow(about):
                    print(f"passed over {file}: no p2p-workflow tag")
                    continue
                coordinator.submit_workflow(file, priority=given.priority)
            except P2pwfError as error:
                print(f"refused {file}: {error} ({error.hint})")
                failed += 1
        for id in coordinator.assign_workflows():
            found = coordinator.get_workflow_status(id)
            assert found is not None
            print(f"{found['name']} → {found['assigned_peer']}  {id}")
        counts = coordinator.get_stats()["status_counts"]
    print(", ".join(f"{count} {status}" for status, count in counts.items() if count))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
