"""What lists show of ended runs that are no longer held whole: one packed row for each. Knows no store.

A row is JSON of some 900 bytes, most of them names of fields: deflated against a row that stands for all, it is a third
of that, and a node may hold tens of thousands.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from p2pwf.core.ids import Cid
from p2pwf.runs import Run
from p2pwf.runs.view import owners, summary

TYPICAL: Final = (
    b'{"workflow_id":"bafyrei","name":"build","title":"","status":"failed","status":"cancelled","status":"completed",'
    b'"conclusion":"cancelled","conclusion":"failure","conclusion":"success","priority":3.0,"tags":["offline-workflow",'
    b'"p2p-workflow"],"submitted_by":"12D3KooW","assigned_peer":"12D3KooW","result":{"build":{"result":"success",'
    b'"outputs":{}},"test":{"result":"success","outputs":{}}},"error":null,"cancel_requested":false,"inputs":{},"event":'
    b'"workflow_dispatch","event":"push","path":".github/workflows/build.yml","ref":"refs/heads/main",'
    b'"sha":"0000000000000000000000000000000000000000","created_at":1700000000000,"started_at":1700000000000,'
    b'"completed_at":1700000000000,"owners":["12D3KooW"]}'
)
"""What deflate looks back at: changing it changes nothing on disk or on the wire."""


class ColdRuns:
    """Rows by run. `counts`: how many there are of each status."""

    def __init__(self) -> None:
        self._rows: dict[Cid, bytes] = {}
        self.counts: Counter[str] = Counter()

    def __contains__(self, run: object) -> bool:
        return run in self._rows

    def __iter__(self) -> Iterator[Cid]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, run: Run) -> None:
        """Keep of a run what lists show of it."""
        self.put_row(run.id, {**summary(run), "owners": sorted(owners(run))})

    def put_row(self, run: Cid, row: Mapping[str, Any]) -> None:
        """Keep a row, such as `row` gives, in place of any other of this run."""
        self.discard(run)
        text = json.dumps(row, separators=(",", ":")).encode()
        packer = zlib.compressobj(level=6, wbits=-15, zdict=TYPICAL)
        self._rows[run] = packer.compress(text) + packer.flush()
        self.counts[row["status"]] += 1

    def row(self, run: Cid) -> dict[str, Any]:
        """What `summary` gave of a run, and its `owners`; raises KeyError for one that is not here."""
        row: dict[str, Any] = json.loads(zlib.decompressobj(wbits=-15, zdict=TYPICAL).decompress(self._rows[run]))
        return row

    def discard(self, run: Cid) -> None:
        """A run is held whole again, or was never here."""
        if run in self._rows:
            self.counts[self.row(run)["status"]] -= 1
            del self._rows[run]
